"""Agents in files through the real `peg`, in processes of their own: run, checked, gone on with, refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
DEMO = ("-m", "scripted:demo")
RINGER = """\
name: ringer
model: scripted:demo
tools: ["bells:ring"]
tiers: []
"""
BELLS = '''
import os
from pathlib import Path

from pegboard import tool


@tool(effect="idempotent")
def ring() -> str:
    """Ring the bell."""
    rung = Path(__file__).with_name("rung")
    if not rung.exists():  # the first time the process dies, as with a lost machine
        rung.touch()
        os.kill(os.getpid(), 9)
    return "ding"
'''


class Peg:
    """Calls `peg` in a process of its own, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder.parent / "home"
        self.plugins = "agentfile,replay,sqlite"

    def __call__(self, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {"PEGBOARD_HOME": str(self.home), "PATH": "", "NO_COLOR": "1", "PEGBOARD_PLUGINS": self.plugins}
        return subprocess.run(
            [sys.executable, "-P", "-m", "pegboard", *arguments],
            cwd=folder or self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def json(self, *arguments: str) -> dict[str, Any]:
        """The data of `--json`."""
        done = self(*arguments, "--json")
        assert done.stdout.count("\n") == 1, done.stdout + done.stderr
        data: dict[str, Any] = json.loads(done.stdout)["data"]
        return data


@pytest.fixture
def peg(tmp_path: Path) -> Peg:
    """A folder with an agent in YAML and one in Markdown."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "clerk.yaml").write_text("description: Files things\ntiers: []\n")
    (folder / "poet.md").write_text("---\nname: poet\nmodel: scripted:demo\ntiers: []\n---\nAnswer in verse.\n")
    return Peg(folder)


# --- the examples ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "task", "answer"),
    [
        ("reviewer.yaml", "rename `add` to `sum`", 'The tool `checklist` answered: ["errors that nobody handles"'),
        ("explainer.md", "what is a mutex?", 'You asked "what is a mutex?"'),
    ],
)
def test_examples_run(peg: Peg, file: str, task: str, answer: str) -> None:
    """Each example of the distribution is sound, and answers."""
    path = str(EXAMPLES / file)

    assert peg("agents", "validate", path).stdout == f"{path}: sound\n"
    done = peg("run", *DEMO, path, task)
    assert (done.returncode, done.stdout.startswith(answer)) == (0, True), done.stderr


def test_the_readme_shows_the_example() -> None:
    """As it is in the file that is executed."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert (EXAMPLES / "reviewer.yaml").read_text(encoding="utf-8") in readme
    assert (EXAMPLES / "explainer.md").read_text(encoding="utf-8") in readme


# --- naming one --------------------------------------------------------------------------------------------------


def test_the_first_word_and_the_option_mean_the_same(peg: Peg) -> None:
    """A file, relative or whole, with `--model` for one that names no model of its own."""
    for words in (
        ["clerk.yaml", "hi"],
        ["--agent", "clerk.yaml", "hi"],
        ["--agent", str(peg.folder / "poet.md"), "hi"],
    ):
        data = peg.json("run", *DEMO, *words)
        assert (data["agent"], data["end_reason"]) == (Path(words[-2]).stem, "completed")


@pytest.mark.parametrize("words", [["crew:clerk", "hi"], ["--agent", "crew:clerk", "hi"]], ids=["word", "option"])
def test_code_is_named_in_both_places(peg: Peg, words: list[str]) -> None:
    """`module:object` too."""
    (peg.folder / "crew.py").write_text('from pegboard import Agent\nclerk = Agent("of_code")\n')

    assert peg.json("run", *DEMO, *words)["agent"] == "of_code"


def test_the_setting_names_a_file(peg: Peg) -> None:
    """Of the project where it is trusted, from any folder of it; else the file of a stranger is not read."""
    (peg.folder / ".pegboard").mkdir()
    (peg.folder / "deep").mkdir()
    (peg.folder / ".pegboard" / "config.toml").write_text('agent = "poet.md"\n')

    refused = peg("run", "hi")
    assert (refused.returncode, "`agent` may only be set in a trusted folder" in refused.stderr) == (4, True)
    peg("config", "set", "trusted_folders", f'["{peg.folder}"]')
    done = peg("run", "hi", folder=peg.folder / "deep")
    assert (done.returncode, done.stdout[:9]) == (0, "You asked"), done.stderr


def test_a_path_with_a_space_is_a_file_where_there_is_one(peg: Peg) -> None:
    """A sentence that ends with the name of a file is a task."""
    (peg.folder / "my clerk.yaml").write_text("name: spaced\n")

    assert peg.json("run", *DEMO, "my clerk.yaml", "hi")["agent"] == "spaced"
    assert peg.json("run", *DEMO, "sum up clerk.yaml")["agent"] == "default"


def test_a_node_of_a_workflow_names_a_file(peg: Peg) -> None:
    """Where a person has named the file of the workflow; the path starts from the working folder."""
    peg.plugins += ",workflow"
    (peg.folder / "flow.yaml").write_text("nodes:\n  verse: {agent: poet.md, inputs: $input}\n")

    assert peg("workflow", "check", "flow.yaml").stdout == "flow.yaml: sound\n"
    assert peg("workflow", "run", "flow.yaml", "hi").stdout.startswith('You asked "hi"')


def test_what_python_beside_a_file_prints_is_no_answer(peg: Peg) -> None:
    """It goes to stderr, from its code and from processes that it starts, so that programs can read the answer."""
    (peg.folder / "ringer.yaml").write_text(RINGER)
    loud = "import os\nfrom pegboard import tool\nprint('LOUD')\nos.system('echo LOUDER')\n"
    (peg.folder / "bells.py").write_text(
        f"{loud}\n@tool(effect='pure')\ndef ring() -> str:\n    'Ring.'\n    return 'ding'\n"
    )
    done = peg("run", "-q", "ringer.yaml", "ring")

    assert (done.stdout, "LOUD\n" in done.stderr, "LOUDER\n" in done.stderr) == (
        "The tool `ring` answered: ding\n",
        True,
        True,
    )
    assert peg.json("agents", "info", "ringer.yaml")["name"] == "ringer"


def test_info_shows_what_is_in_a_file(peg: Peg) -> None:
    """The same as of any other agent."""
    data = peg.json("agents", "info", "poet.md")

    assert (data["name"], data["instructions"], data["tiers"]) == ("poet", "Answer in verse.", [])


# --- what is wrong -----------------------------------------------------------------------------------------------


def test_files_that_are_wrong_are_all_told(peg: Peg) -> None:
    """Each with file and line, however many there are; a tool that nobody has with one that is near."""
    for number in range(5):
        (peg.folder / f"bad{number}.yaml").write_text("name: a\nmodl: b\n")
    (peg.folder / "tool.yaml").write_text('tools: ["recall"]\n')
    names = [f"bad{number}.yaml" for number in range(5)]
    done = peg("agents", "validate", *names, "clerk.yaml", "tool.yaml")

    assert done.returncode == 4
    for name in names:
        assert f"{name}: {peg.folder}/{name}:2: `modl` is an unknown key; did you mean `model`?" in done.stdout
    assert "clerk.yaml: sound" in done.stdout
    assert "tool.yaml: no plugin provides the tool `recall`" in done.stdout


@pytest.mark.parametrize(
    ("name", "text", "told", "hint"),
    [
        ("flow.yaml", "nodes: {a: {}}\n", "flow.yaml:1: this is a workflow, and no agent", "peg workflow run"),
        ("NOTES.md", "# Notes\n", "NOTES.md:1: no front matter, so this is no agent", "peg run -- "),
        ("bad.yml", "name: [\n", "bad.yml:2: is no YAML", "EDITOR"),
    ],
    ids=["workflow", "markdown", "yaml"],
)
def test_a_file_that_is_no_agent_is_refused(peg: Peg, name: str, text: str, told: str, hint: str) -> None:
    """Nothing is asked of a model; what to do instead is the hint."""
    (peg.folder / name).write_text(text)
    done = peg("run", *DEMO, name, "hi")

    assert (done.returncode, done.stdout) == (4, "")
    assert told in done.stderr
    assert hint in done.stderr


def test_a_plugin_that_is_off_is_told(peg: Peg) -> None:
    """With the way to have it on; that of one that is not installed is core's to test."""
    peg("plugins", "disable", "agentfile")
    assert "run `peg plugins enable agentfile`" in peg("run", *DEMO, "clerk.yaml", "hi").stderr
    peg("plugins", "enable", "agentfile")

    assert "leave out `--no-plugins`" in peg("run", "--no-plugins", "clerk.yaml", "hi").stderr


# --- going on ----------------------------------------------------------------------------------------------------


@pytest.fixture
def died(peg: Peg) -> str:
    """A run of an agent in a file, whose process died in a tool."""
    (peg.folder / "ringer.yaml").write_text(RINGER)
    (peg.folder / "bells.py").write_text(BELLS)
    assert peg("run", "--agent", "ringer.yaml", "ring").returncode == -9
    (row,) = peg.json("runs", "list")["runs"]
    return str(row["run"])


def test_a_run_goes_on_from_anywhere(peg: Peg, died: str) -> None:
    """Another process, in another folder, finds the file again."""
    done = peg("run", "--resume", died, folder=peg.folder.parent)

    assert (done.returncode, done.stdout) == (0, "The tool `ring` answered: ding\n"), done.stderr


def test_a_file_that_is_gone_is_told(peg: Peg, died: str) -> None:
    """The run stays as it was, and goes on when the file is back."""
    (peg.folder / "ringer.yaml").rename(peg.folder / "away")
    told = peg("run", "--resume", died)
    (peg.folder / "away").rename(peg.folder / "ringer.yaml")

    assert (told.returncode, f"there is no file `{peg.folder}/ringer.yaml`" in told.stderr) == (4, True)
    assert peg("run", "--resume", died).returncode == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (RINGER + "instructions: Ring twice.\n", "journal.diverged"),
        (RINGER.replace("ringer", "singer"), "holds agent `singer` now, and the run began with `ringer`"),
    ],
    ids=["instructions", "name"],
)
def test_a_file_that_says_something_else_now(peg: Peg, died: str, text: str, told: str) -> None:
    """What was recorded fits no other agent, so the run does not go on."""
    (peg.folder / "ringer.yaml").write_text(text)
    done = peg("run", "--resume", died)

    assert (done.returncode != 0, told in done.stderr) == (True, True), done.stderr
