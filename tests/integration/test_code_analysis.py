"""The first complete job: the workflows of `pegboard-codeanalysis` on `pegboard-workflow`, on a board and by `peg`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pegboard_codeanalysis
import pegboard_workflow
import pytest
from pegboard_testing import MakeBoard

FOLDERS = [Path(package.__path__[0]) for package in (pegboard_workflow, pegboard_codeanalysis)]
AGENTS = ["context_gathering", "architecture_analysis", "code_review", "documentation_generation"]
PROJECT = {
    "README.md": "# Shop\n",
    "shop/__init__.py": "",
    "shop/cart.py": "import os\n\n\ndef total(items, seen=[]):\n    return undefined\n",
    "tests/test_cart.py": "from shop import cart\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with a grave fault, without a repository."""
    for name, text in PROJECT.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "project"


@pytest.fixture
def surroundings(tmp_path: Path) -> Mapping[str, str]:
    """Those of somebody who has only just installed it: an empty home, and no key."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith(("_KEY", "_TOKEN"))}
    return {**kept, "HOME": str(tmp_path), "PEGBOARD_HOME": str(tmp_path / "home"), "NO_COLOR": "1"}


def peg(*words: str, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`peg` as a person types it."""
    command = [sys.executable, "-m", "pegboard", *words]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)


async def test_four_agents_leave_a_report(make_board: MakeBoard, project: Path) -> None:
    """One after the other and side by side, and the answer says where the report is."""
    board = await make_board(folders=FOLDERS, workspace=project)

    result = await board.run("code-analysis", ".")

    states = [event.data for event in result.events if event.kind == "workflow.node" and event.data["state"] == "done"]
    assert {state["node"] for state in states} == {
        "context_gathering", "architecture_analysis", "code_review", "documentation_generation",
    }  # fmt: skip
    assert "shop/cart.py:5" in result.output["text"]
    assert json.loads((project / ".pegboard/reports/latest/report.json").read_bytes())["run"] == result.run


async def test_an_agent_that_fails_is_absent_and_told(
    make_board: MakeBoard, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report of the others is written all the same, and says who is missing and why."""
    board = await make_board(folders=FOLDERS, workspace=project)
    agent = await board.find_agent("code_review")

    async def fails(*_: object) -> object:
        raise OSError("the disk is gone")

    monkeypatch.setattr(type(agent), "compute", fails)

    result = await board.run("code-analysis", ".")

    report = json.loads((project / ".pegboard/reports/latest/report.json").read_bytes())
    (missing,) = [section for section in report["sections"] if section["absent"]]
    assert missing["agent"] == "code_review"
    assert "the disk is gone" in missing["absent"]
    assert any("code_review" in part.what for part in result.degraded)


def test_the_first_command_works_without_a_key(project: Path, surroundings: Mapping[str, str]) -> None:
    """`peg run code-analysis .`: exit code 0, the answer on stdout, no warning."""
    done = peg("run", "code-analysis", ".", cwd=project, env=surroundings)

    assert (done.returncode, "warning" in done.stderr) == (0, False), done.stderr
    assert "1 high, 1 medium" in done.stdout
    assert (project / ".pegboard/reports/latest/report.html").is_file()


def test_killed_in_the_middle_it_goes_on_where_it_was(project: Path, surroundings: Mapping[str, str]) -> None:
    """After `kill -9` what was finished is read back from the store, and only the rest is computed."""
    killed = killed_at("started code_review", cwd=project, env=surroundings)

    resumed = peg("runs", "resume", "latest", cwd=project, env=surroundings)

    assert (killed.returncode, resumed.returncode) == (-signal.SIGKILL, 0), resumed.stderr
    started = [name for name in AGENTS if f"started {name} " in resumed.stderr]
    assert started == ["architecture_analysis", "code_review", "documentation_generation"]
    assert "1 high" in resumed.stdout
    assert (project / ".pegboard/reports/latest/report.html").is_file()


# The process ends itself: another one would come too late on a busy machine.
KILLED_AT = """
import os, signal, sys
from pegboard.__main__ import main

write = sys.stderr.write

def last_words(text):
    write(text)
    if {moment!r} in text:
        os.kill(os.getpid(), signal.SIGKILL)

sys.stderr.write = last_words
main()
"""


def killed_at(moment: str, *, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`peg run code-analysis .`, killed as it says this."""
    command = [sys.executable, "-c", KILLED_AT.format(moment=moment), "run", "code-analysis", "."]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    "words",
    [["analyse", ".", "--fail-on", "high"], ["run", "code-analysis", ".", "fail_on=high"]],
    ids=["analyse", "run"],
)
def test_a_threshold_fails_the_command(project: Path, surroundings: Mapping[str, str], words: list[str]) -> None:
    """Exit code 1 with the answer on stdout, for the gates of others."""
    done = peg(*words, cwd=project, env=surroundings)

    assert done.returncode == 1, done.stderr
    assert "report: " in done.stdout
    assert "findings as grave as `high`" in done.stderr


def test_a_range_is_reviewed(project: Path, surroundings: Mapping[str, str]) -> None:
    """`peg review`: the chain over what the last commit brought."""
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for words in (
        ["init", "-q"],
        ["commit", "-q", "--allow-empty", "-m", "0"],
        ["add", "."],
        ["commit", "-q", "-m", "1"],
    ):
        subprocess.run(["git", *identity, *words], cwd=project, env=surroundings, check=True)

    done = peg("review", "HEAD~1..HEAD", "--json", cwd=project, env=surroundings)

    answer = json.loads(done.stdout)
    assert answer["schema"] == "peg.review/1"
    assert answer["data"]["verdict"] == "request_changes"
    assert sum(answer["data"]["counts"].values()) == len(answer["data"]["findings"])
    assert Path(answer["data"]["report"]["json"]).is_file()


def test_what_is_no_folder_is_told(project: Path, surroundings: Mapping[str, str]) -> None:
    """In words, with a code that has a page, and without a trace."""
    done = peg("run", "code-analysis", "gone", cwd=project, env=surroundings)

    assert done.returncode in (1, 2)
    assert "gone` is no folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_was_found_is_data(project: Path, surroundings: Mapping[str, str]) -> None:
    """With `--json` findings, counts and report stand in `data`, and the text beside them."""
    done = peg("analyse", ".", "--json", cwd=project, env=surroundings)

    data = json.loads(done.stdout)["data"]
    assert len(data["findings"]) == sum(data["counts"].values())
    assert Path(data["report"]["html"]).is_file()
    assert data["output"].startswith("project")


def test_a_model_that_is_named_must_be_there(project: Path, surroundings: Mapping[str, str]) -> None:
    """Without its key it is refused before the run, also where agents can do without; one that is configured is not."""
    named = peg("run", "-m", "claude-sonnet", "code-analysis", ".", cwd=project, env=surroundings)
    configured = peg("analyse", ".", cwd=project, env={**surroundings, "PEGBOARD_MODEL": "claude-sonnet"})

    assert (named.returncode, named.stdout) == (5, "")
    assert "export ANTHROPIC_API_KEY=" in named.stderr
    assert not (project / ".pegboard/reports").exists() or configured.returncode == 0


def test_an_agent_alone_is_readable(project: Path, surroundings: Mapping[str, str]) -> None:
    """As the workflow is: its text on stdout; the whole output only with `--json`."""
    done = peg("run", "code_review", ".", cwd=project, env=surroundings)
    whole = peg("run", "code_review", ".", "--json", cwd=project, env=surroundings)

    assert done.stdout.startswith("3 files looked into: 1 high, 1 medium")
    assert "{" not in done.stdout
    assert json.loads(whole.stdout)["data"]["output"]["counts"]["high"] == 1


@pytest.mark.parametrize(("quiet", "lines"), [(True, 4), (False, 10)])
def test_one_fault_is_told_once(project: Path, surroundings: Mapping[str, str], quiet: bool, lines: int) -> None:
    """Where it happened, and as the error at the end; stdout has nothing, and the hint is of this command."""
    done = peg("review", "nosuch..HEAD", *(["-q"] if quiet else []), cwd=project, env=surroundings)

    assert (done.returncode != 0, done.stdout) == (True, "")
    assert done.stderr.count("it is not a git repository") == (1 if quiet else 2)
    assert len(done.stderr.splitlines()) <= lines
    assert "hint: run `peg review --help`" in done.stderr


def test_a_threshold_is_told_once(project: Path, surroundings: Mapping[str, str]) -> None:
    """In the error."""
    done = peg("analyse", ".", "--fail-on", "high", cwd=project, env=surroundings)

    assert f"{done.stdout}{done.stderr}".count("findings as grave as") == 1


def test_quiet_says_nothing_of_what_was_done_without(project: Path, surroundings: Mapping[str, str]) -> None:
    """The text on stdout does."""
    done = peg("analyse", ".", "-q", cwd=project, env=surroundings)

    assert done.stderr == ""
    assert "git history: it is not a git repository" in done.stdout


def test_a_demo_model_is_no_judge(project: Path, surroundings: Mapping[str, str]) -> None:
    """In a folder of `peg init` the analysis is the computed one, without a word of answers that do not fit."""
    peg("init", cwd=project, env=surroundings)

    done = peg("analyse", ".", cwd=project, env=surroundings)

    assert (done.returncode, "schema" in done.stderr, "failed" in done.stderr) == (0, False, False)


def test_the_range_is_explained(project: Path, surroundings: Mapping[str, str]) -> None:
    """What it is without one, and which forms there are."""
    told = peg("review", "--help", cwd=project, env=surroundings).stdout

    assert all(form in told for form in ("HEAD~1..HEAD", "A..B", "A...B", "A..HEAD", "COMMIT~1..COMMIT"))
