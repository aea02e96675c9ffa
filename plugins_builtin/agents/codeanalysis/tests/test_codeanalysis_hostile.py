"""Projects that were made to do harm: each costs at most what it brings, and the rest of the analysis goes on."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from pegboard import Pegboard
from pegboard.errors import FilesDeniedError
from pegboard_codeanalysis.agents import words
from pegboard_codeanalysis.analysis import documentation, layout, lint, snapshot
from pegboard_codeanalysis.analysis import git as asked
from pegboard_codeanalysis.analysis.cache import Cache
from pegboard_codeanalysis.report import folder
from pegboard_codeanalysis.work.operations import Operations

from .conftest import FAULTY, PLUGIN, SOUND, Git, Write

LONG_S = 20.0
"""Far more than any of this takes, and far less than what it took."""


def test_a_folder_can_be_a_package_itself(write: Write) -> None:
    """A top-level `__init__.py` ends nothing: modules beside it have their own names."""
    taken = snapshot.take(str(write({"__init__.py": "x = 1\n", "a.py": "x = 1\n", "b/__init__.py": "", "b/c.py": ""})))

    modules = layout.Modules(taken.python())

    assert modules.name_of == {"__init__.py": "", "a.py": "a", "b/__init__.py": "b", "b/c.py": "b.c"}
    assert layout.packages(modules)[0].name == "a"


# --- where the report goes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "link",
    [
        ".pegboard",
        ".pegboard/reports",
        ".pegboard/reports/run",
        ".pegboard/reports/run/report.html",
        ".pegboard/reports/.gitignore",
        ".pegboard/reports/latest.txt",
    ],
)
def test_no_report_is_written_through_a_link(tmp_path: Path, link: str) -> None:
    """What a clone brings may lead to any file of its user; the refusal names the link, and nothing was written."""
    victim = tmp_path / "victim"
    victim.mkdir()
    workspace = tmp_path / "workspace"
    (workspace / link).parent.mkdir(parents=True)
    (workspace / link).symlink_to(victim)

    with pytest.raises(FilesDeniedError, match=f"{link}` is a link"):
        folder.write(workspace, "run", {"report.html": b"x"}, None)

    assert list(victim.iterdir()) == []


def test_latest_that_is_a_folder_stays(tmp_path: Path) -> None:
    """No path is told that leads nowhere: the name of the newest report stands in a file beside it."""
    kept = tmp_path / ".pegboard/reports/latest/kept"
    kept.mkdir(parents=True)

    written = folder.write(tmp_path, "run", {"report.html": b"x"}, None)

    assert written["latest"] == ""
    assert kept.is_dir()
    assert (tmp_path / ".pegboard/reports/latest.txt").read_text() == "run\n"


async def test_a_refused_report_is_files_denied(write: Write, tmp_path: Path) -> None:
    """An agent whose report may not be written fails with the code that says so."""
    root = write(SOUND)
    (root / ".pegboard").symlink_to(tmp_path / "home", target_is_directory=True)
    async with Pegboard(folders=[PLUGIN], workspace=root) as board:
        result = await board.run("documentation_generation", {"path": str(root)}, check=False)

    assert isinstance(result.error, FilesDeniedError)
    assert ".pegboard` is a link" in result.error.message
    assert not (tmp_path / "home/reports").exists()


# --- git ---------------------------------------------------------------------------------------------------------


def test_any_name_and_address_is_in_the_history(write: Write, git: Git) -> None:
    """Controls and line breaks in names of files, and addresses that look like what git puts between commits."""
    names = ["a\x01.py", "a\x02b\x01c.py", "\nb.py", "c\n.py"]
    root = write(dict.fromkeys(names, "x = 1\n"))
    git("init")
    git("add", ".")
    for number, address in enumerate(["a\x01b\x02c", "//", "", "x"]):
        (root / names[0]).write_text(f"x = {number}\n")
        git("-c", f"user.email={address}", "commit", "--all", "--allow-empty", "--message", "one")

    history = asked.history(str(root), names)

    assert (history.commits, history.authors) == (4, 4)
    assert {row.path: row.commits for row in history.files} == {name: 4 if name == names[0] else 1 for name in names}


def test_a_history_that_cannot_be_read_is_told(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever git says, the analysis goes on without it."""
    monkeypatch.setattr(asked, "run", lambda root, command, *_, **__: b"true" if command == "rev-parse" else b"//\0x")

    assert asked.history(str(write(SOUND)), []).reason.startswith("what git tells of it cannot be read: ")


def test_a_damaged_repository_is_told(write: Write, git: Git) -> None:
    """Objects that are gone are no repository without a commit."""
    root = write(SOUND)
    git("init")
    git("add", ".")
    git("commit", "--message", "one")
    shutil.rmtree(root / ".git/objects")
    (root / ".git/objects").mkdir()

    assert asked.history(str(root), []).reason == "the repository is damaged: its newest commit cannot be read"


def test_git_that_hangs_is_asked_once(write: Write, git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe as the configuration of a repository costs one limit of time, and is told."""
    root = write(SOUND)
    git("init")
    (root / ".git/config").unlink()
    os.mkfifo(root / ".git/config")
    questions: list[object] = []
    assert asked.run.__kwdefaults__ is not None
    monkeypatch.setitem(asked.run.__kwdefaults__, "limit_s", 0.2)
    with Cache(str(tmp_path)) as cache:
        operations = Operations(cache)
        taken = operations.survey(str(root)).snapshot
        monkeypatch.setattr(asked, "run", lambda *given, **_: questions.append(given))
        history = operations.history(taken.root, taken.digest)

    assert [row.what for row in taken.degraded] == ["files that git ignores"]
    assert "took longer than" in history.reason
    assert questions == []


# --- texts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        "[](a" * 250_000,
        "[](" * 330_000,
        "[](" + "a" * 1_000_000,
        "[](" + " " * 1_000_000,
        "`" * 999_999,
    ],
    ids=["brackets", "links", "openings", "one target", "spaces", "ticks"],
)
def test_any_line_of_markdown_is_read_at_once(write: Write, text: str) -> None:
    """The time grows with the length, and not with its square."""
    taken = snapshot.take(str(write({"README.md": text, "a.py": "x = 1\n"})))
    before = time.monotonic()

    documentation.documentation_of(taken, {}, layout.metadata(taken))

    assert time.monotonic() - before < LONG_S


def test_one_file_does_not_end_the_linter(write: Write) -> None:
    """A file that ruff dies of is told, and all others are looked at."""
    bomb = "x = " + "-" * 100_000 + "1\n"
    root = write({**FAULTY, **{f"a{number}.py": "x = 1\n" for number in range(9)}, "bomb.py": bomb})
    taken = snapshot.take(str(root))

    found = lint.linted(taken.root, taken.python())

    assert [row.what for row in found.degraded] == ["bomb.py"]
    assert {"F821", "syntax"} <= {item.rule for item in found.findings}


def test_a_linter_without_time_says_what_is_left(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody looked at is counted, under the name of the tool."""
    monkeypatch.setattr(lint, "LIMIT_S", 0.0)
    taken = snapshot.take(str(write(SOUND)))

    (row,) = lint.linted(taken.root, taken.python()).degraded

    assert (row.what, row.why) == ("ruff", "4 files were not looked at within 0 s")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred.py", "\\x1b[31mred.py"),
        ("\u202egnp.py", "\\u202egnp.py"),
        ("a\x85b\u2067c\x00", "a\\x85b\\u2067c\\x00"),
        ("Grüße\t\n👩‍💻", "Grüße\t\n👩‍💻"),
    ],
    ids=["escape", "right to left", "others", "text"],
)
def test_what_moves_a_cursor_is_shown(text: str, expected: str) -> None:
    """Controls and marks of direction are escapes; letters, tabs and lines stay."""
    assert words.visible(text) == expected


def text_of(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


async def test_a_report_has_no_control_in_it(write: Write, tmp_path: Path) -> None:
    """Neither of its texts has a name of a file that steers a terminal."""
    root = write({**SOUND, "\x1b[31mred.py": "def f(x=[]):\n    return x\n", "\u202egnp.py": "y = undefined\n"})
    (tmp_path / "workspace").mkdir()
    async with Pegboard(folders=[PLUGIN], workspace=tmp_path / "workspace") as board:
        review = (await board.run("code_review", str(root))).output
        result = await board.run("documentation_generation", {"path": str(root), "review": review})

    for text in map(text_of, (result.output["report"][kind] for kind in ("html", "md"))):
        assert "\\x1b[31mred.py" in text or "\\x1b\\[31mred.py" in text
        assert not {"\x1b", "\u202e"} & set(text)
