"""The file tools, each call in a run on a real board, through the real driver."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pegboard.types import ToolResult
from pegboard_file import reading, workspace
from pegboard_file.config import Settings
from pegboard_file.tools import FileTools
from pegboard_files.driver import LocalFiles
from pegboard_testing import MakeBoard, use_tool

Use = Callable[..., Awaitable[ToolResult]]


# --- read


async def test_a_file_is_read_with_lines_and_digest(use: Use, workspace: Path) -> None:
    """A model sees the text as it is, below a line about it."""
    (workspace / "a.txt").write_text("one\ntwo\nthree")

    answer = await use("read", path="a.txt")

    assert answer.text == "[a.txt: lines 1-3 of 3, 13 bytes, digest 058053d87c818d69]\none\ntwo\nthree"
    assert answer.structured["total_lines"] == 3


@pytest.mark.parametrize(
    ("lines", "text", "end"),
    [((2, 2), "two\n", 2), ((2, None), "two\nthree\n", 3), ((3, 99), "three\n", 3), ((4, None), "", 0)],
)
async def test_a_range_of_lines_is_read(
    use: Use, workspace: Path, lines: tuple[int, int | None], text: str, end: int
) -> None:
    """From one to another; the last line feed does not begin one more."""
    (workspace / "a.txt").write_text("one\ntwo\nthree\n")

    answer = await use("read", path="a.txt", start_line=lines[0], end_line=lines[1])

    assert (answer.structured["text"], answer.structured["end_line"], answer.structured["total_lines"]) == (
        text,
        end,
        3,
    )


async def test_what_is_too_long_is_cut_at_a_line(use: Use, workspace: Path, settings: dict[str, object]) -> None:
    """And it is said where to go on; lines and digest are those of the whole file."""
    settings["read_bytes"] = 10
    (workspace / "a.txt").write_text("1234\n" * 100)

    answer = await use("read", path="a.txt")

    assert answer.structured["text"] == "1234\n1234\n"
    assert answer.text.endswith("[cut; go on with start_line=3]")
    assert answer.structured["total_lines"] == 100


async def test_one_endless_line_is_cut_too(use: Use, workspace: Path, settings: dict[str, object]) -> None:
    """Inside, where there is no end of a line."""
    settings["read_bytes"] = 10
    (workspace / "a.txt").write_text("é" * 4_000_000)

    answer = await use("read", path="a.txt")

    assert (answer.structured["text"], answer.structured["truncated"]) == ("ééééé", True)


async def test_a_binary_file_is_described(use: Use, workspace: Path) -> None:
    """By size and digest."""
    (workspace / "a.png").write_bytes(b"\x89PNG\0\0")

    answer = await use("read", path="a.png")

    assert answer.text.startswith("[a.png: not text, 6 bytes, digest ")
    assert answer.structured["text"] is None


async def test_another_encoding_is_shown_or_taken(use: Use, workspace: Path) -> None:
    """What does not fit is marked; named, it is decoded."""
    (workspace / "a.txt").write_bytes("café\n".encode("latin-1"))
    (workspace / "b.txt").write_bytes("café\n".encode("utf-16"))

    assert (await use("read", path="a.txt")).structured["replaced"]
    assert (await use("read", path="a.txt", encoding="latin-1")).structured["text"] == "café\n"
    assert (await use("read", path="b.txt", encoding="utf-16")).structured["text"] == "café\n"
    assert (await use("read", path="a.txt", encoding="none")).code == "file.not_text"


async def test_an_empty_file_is_read(use: Use, workspace: Path) -> None:
    """It has no lines."""
    (workspace / "a.txt").touch()

    assert (await use("read", path="a.txt")).text.startswith("[a.txt: no lines, 0 bytes")


async def test_an_absolute_path_of_the_workspace_is_understood(use: Use, workspace: Path) -> None:
    """Models like them; any other absolute path is refused."""
    (workspace / "a.txt").write_text("x")

    assert (await use("read", path=str(workspace / "a.txt"))).status == "ok"
    answer = await use("read", path="/etc/hostname")
    assert (answer.status, answer.code) == ("error", "files.denied")


async def test_a_missing_file_names_its_neighbours(use: Use, workspace: Path) -> None:
    """So that the next call is right."""
    (workspace / "src").mkdir()
    (workspace / "src" / "main.py").touch()

    answer = await use("read", path="src/mian.py")

    assert answer.code == "file.not_found"
    assert answer.text == "there is no `src/mian.py`; there is `src/main.py`"


async def test_a_huge_file_is_refused(monkeypatch: pytest.MonkeyPatch, use: Use, workspace: Path) -> None:
    """Rather than read for minutes."""
    monkeypatch.setattr(reading, "PASS_BYTES", 1000)
    (workspace / "a.txt").write_text("x" * 1001)

    assert (await use("read", path="a.txt")).code == "file.too_large"


# --- write


async def test_a_file_is_written_in_new_folders(use: Use, workspace: Path) -> None:
    """And the answer has its digest."""
    answer = await use("write", path="a/b.txt", content="é\n")

    assert (workspace / "a" / "b.txt").read_text() == "é\n"
    assert answer.structured["created"] is True
    assert answer.structured["digest"] in answer.text


async def test_folders_are_not_made_unasked(use: Use, workspace: Path) -> None:
    """With `mkdirs` off a missing folder is an error."""
    assert (await use("write", path="a/b.txt", content="x", mkdirs=False)).code == "file.not_found"
    assert not (workspace / "a").exists()


async def test_a_changed_file_is_not_overwritten(use: Use, workspace: Path) -> None:
    """`if_digest` is what somebody saw; `absent` is no file."""
    (workspace / "a.txt").write_text("one")
    seen = (await use("read", path="a.txt")).structured["digest"]
    (workspace / "a.txt").write_text("two")

    for wanted in (seen, "absent"):
        assert (await use("write", path="a.txt", content="x", if_digest=wanted)).code == "file.changed"
    assert (workspace / "a.txt").read_text() == "two"
    assert (await use("write", path="b.txt", content="x", if_digest="absent")).status == "ok"


async def test_appending_twice_appends_once(use: Use, workspace: Path) -> None:
    """A call that is repeated after a crash changes nothing, which is why it needs the digest."""
    (workspace / "a.txt").write_text("one\n")
    seen = (await use("read", path="a.txt")).structured["digest"]

    for _ in range(2):
        answer = await use("write", path="a.txt", content="two\n", append=True, if_digest=seen)
        assert answer.status == "ok"

    assert (workspace / "a.txt").read_text() == "one\ntwo\n"
    assert (await use("write", path="a.txt", content="x", append=True)).code == "file.digest_needed"


@pytest.mark.parametrize("path", [".git/hooks/pre-commit", "../x", ".bashrc"])
async def test_protected_and_outside_paths_are_denied(use: Use, workspace: Path, path: str) -> None:
    """By the driver, with its code."""
    answer = await use("write", path=path, content="x")

    assert (answer.status, answer.code) == ("error", "files.denied")
    assert str(workspace.parent) not in answer.text


async def test_a_full_disk_is_a_typed_error(use: Use, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the file is as it was."""
    (workspace / "a.txt").write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    answer = await use("write", path="a.txt", content="new")

    assert answer.code == "file.failed"
    assert "No space left" in answer.text
    assert (workspace / "a.txt").read_text() == "old"


# --- edit


async def test_an_edit_shows_what_changed(use: Use, workspace: Path) -> None:
    """As a unified diff with the right lines, also far down in the file."""
    (workspace / "a.txt").write_text("".join(f"line {n}\n" for n in range(1, 101)))

    answer = await use("edit", path="a.txt", old="line 50\n", new="fifty\n")

    assert answer.text.splitlines()[:7] == [
        "--- a/a.txt", "+++ b/a.txt", "@@ -47,7 +47,7 @@", " line 47", " line 48", " line 49", "-line 50",
    ]  # fmt: skip
    assert (workspace / "a.txt").read_text().count("fifty\n") == 1


@pytest.mark.parametrize(
    ("old", "count", "said"),
    [
        ("none", 1, "`old` is not in `a.txt`"),
        ("x", 1, "`old` is 3 times in `a.txt` and not 1 times, in lines 1, 2, 4; give more"),
        ("x", 4, "`old` is 3 times in `a.txt` and not 4 times, in lines 1, 2, 4"),
        ("two  words", 1, "line 3 has the same words with other white space"),
        ("", 1, "`old` is empty"),
    ],
)
async def test_an_edit_that_does_not_fit_says_where(use: Use, workspace: Path, old: str, count: int, said: str) -> None:
    """Nothing is changed unless `old` is there exactly as often as the call says."""
    (workspace / "a.txt").write_text("x\nx\ntwo words\nx\n")

    answer = await use("edit", path="a.txt", old=old, new="y", count=count)

    assert answer.code == "file.match"
    assert said in answer.text
    assert (workspace / "a.txt").read_text() == "x\nx\ntwo words\nx\n"


async def test_an_edit_keeps_the_line_ends_of_the_file(use: Use, workspace: Path) -> None:
    """A model writes line feeds; a file of CR LF stays one."""
    (workspace / "a.txt").write_bytes(b"one\r\ntwo\r\n")

    await use("edit", path="a.txt", old="one\ntwo\n", new="1\n2\n")

    assert (workspace / "a.txt").read_bytes() == b"1\r\n2\r\n"


async def test_what_is_not_text_is_not_edited(use: Use, workspace: Path) -> None:
    """It would be damaged."""
    (workspace / "a.txt").write_bytes(b"caf\xe9")

    assert (await use("edit", path="a.txt", old="a", new="b")).code == "file.not_text"


async def test_an_edit_that_was_made_is_not_made_again(workspace: Path) -> None:
    """A crash between the change and its record: the plan was recorded first, and tells that the change is there."""
    (workspace / "a.txt").write_text("a")
    context = _Resumed(workspace)
    edit = FileTools(Settings()).edit

    first = await edit(context, "a.txt", "a", "aa")  # type: ignore[arg-type]  # only what the tool asks for
    second = await edit(context, "a.txt", "a", "aa")  # type: ignore[arg-type]  # only what the tool asks for

    assert (workspace / "a.txt").read_text() == "aa"
    assert "already" in second.text
    assert "already" not in first.text


class _Resumed:
    """A call whose run remembers the step of the first attempt."""

    def __init__(self, workspace: Path) -> None:
        self.host = self
        self.run = self
        self.workspace = str(workspace)
        self.driver = lambda kind: LocalFiles()
        self._kept: dict[str, Any] = {}

    async def step(self, op: str, params: Any, call: Callable[[], Awaitable[Any]]) -> Any:
        if op not in self._kept:
            self._kept[op] = await call()
        return self._kept[op]


# --- mkdir, move, delete


async def test_folders_are_made_and_things_moved(use: Use, workspace: Path) -> None:
    """Nothing is overwritten."""
    (workspace / "a.txt").write_text("a")
    (workspace / "b.txt").write_text("b")

    assert (await use("mkdir", path="d/e")).status == "ok"
    assert (await use("move", path="a.txt", to="d/e/f/a.txt")).status == "ok"
    assert (await use("move", path="b.txt", to="d/e/f/a.txt")).code == "file.exists"
    assert (await use("move", path="none", to="x/y")).code == "file.not_found"
    assert (workspace / "d/e/f/a.txt").read_text() == "a"
    assert not (workspace / "x").exists()


async def test_a_folder_is_deleted_only_when_that_is_said(use: Use, workspace: Path) -> None:
    """With everything in it."""
    (workspace / "d" / "e").mkdir(parents=True)
    (workspace / "d" / "e" / "f").touch()
    (workspace / "d" / "link").symlink_to("e")

    assert (await use("delete", path="d")).code == "files.denied"
    assert (await use("delete", path="d", recursive=True)).status == "ok"
    assert (await use("list")).text == "nothing"


async def test_a_folder_with_something_protected_stays_whole(use: Use, workspace: Path) -> None:
    """It is refused before anything is gone."""
    (workspace / "d" / ".git").mkdir(parents=True)
    (workspace / "d" / "a.txt").touch()

    assert (await use("delete", path="d", recursive=True)).code == "files.denied"
    assert (workspace / "d" / "a.txt").exists()


async def test_deleted_things_go_to_the_trash(use: Use, workspace: Path, settings: dict[str, object]) -> None:
    """Where one is configured, by run and path."""
    settings["trash"] = ".trash"
    (workspace / "d").mkdir()
    (workspace / "d" / "a.txt").write_text("x")

    answer = await use("delete", path="d/a.txt")

    assert (workspace / answer.structured["to"]).read_text() == "x"
    assert answer.structured["to"].startswith(".trash/")


# --- the whole


async def test_a_run_without_a_workspace_has_no_files(make_board: MakeBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typed error, and not the folder that the program happens to be in."""
    monkeypatch.setenv("PEGBOARD_DISABLE_PLUGINS", "console,sqlite")
    board = await make_board(autoload=True, config={"drivers": {"files": "local"}})

    assert (await use_tool(board, "file.list")).code == "file.no_workspace"


def test_calls_on_different_files_do_not_wait_for_each_other() -> None:
    """One path is one lock, however it is written; what moves or deletes excludes everything."""
    tools = {tool.name: tool for tool in FileTools(Settings()).all()}

    locks = [tools["file.edit"].resources({"path": path}) for path in ("a/b", "./a//b", "c")]

    assert locks[0] == locks[1] != locks[2]
    assert tools["file.search"].resources({"pattern": "x"}) == frozenset()
    assert tools["file.move"].resources({"path": "a", "to": "b"}) is None


def test_names_that_are_no_utf8_are_escaped() -> None:
    """Results are JSON."""
    assert workspace.visible(os.fsdecode(b"caf\xe9")) == "caf\\xe9"
