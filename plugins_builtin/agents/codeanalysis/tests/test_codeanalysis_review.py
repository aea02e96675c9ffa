"""The review of a range as it is told: who says what, every finding or how many more, and a range of nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pegboard_workflow
import pytest
from pegboard_testing import MakeBoard

from .conftest import FAULTY, PLUGIN, SOUND, Git, Write

FOLDERS = [Path(pegboard_workflow.__file__).parent, PLUGIN]
SLOW = "def pairs(rows):\n    for a in rows:\n        for b in rows:\n            yield a, b\n"


@pytest.fixture
def repository(write: Write, git: Git) -> Path:
    """A sound first commit on `main`, and on `feat` a second one with faults."""
    root = write(SOUND)
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "start")
    git("checkout", "-qb", "feat")
    write({**FAULTY, "shop/pairs.py": SLOW})
    git("add", ".")
    git("commit", "-qm", "faults")
    return root


async def reviewed(make_board: MakeBoard, repository: Path, **inputs: Any) -> Any:
    board = await make_board(folders=FOLDERS, workspace=repository)
    return await board.run("code-review", {"path": ".", **inputs}, check=False)


async def test_every_reviewer_is_named(repository: Path, make_board: MakeBoard) -> None:
    """Nobody has to guess who found nothing."""
    lines = (await reviewed(make_board, repository, range="main..feat")).output["text"].splitlines()

    assert lines[2].startswith("change_review: 1 commit in 3 files, 19 new lines.")
    assert lines[3] == "security_review: In the lines that are new: 1 high, 1 note."
    assert lines[4] == "performance_review: In the lines that are new: 1 low."


async def test_what_is_counted_is_listed(repository: Path, make_board: MakeBoard) -> None:
    """Every finding above a note has its place; of notes, and of what is too much, the number is told."""
    (repository / "shop/many.py").write_text("".join(f"def f{n}(x=[]):\n    return x\n" for n in range(9)))
    output = (await reviewed(make_board, repository, range="main..feat")).output

    found = [row for row in output["findings"] if row["severity"] != "note"]
    assert all(f"{row['place']['path']}:{row['place']['line']}" in output["text"] for row in found)
    assert len(found) == sum(count for name, count in output["counts"].items() if name != "note")
    assert f"and {output['counts']['note']} notes, in `review.json`" in output["text"]


async def test_of_many_places_it_is_told_how_many_more(repository: Path, make_board: MakeBoard, git: Git) -> None:
    """Three are named."""
    (repository / "shop/many.py").write_text("".join(f"def f{n}(x=[]):\n    return x\n" for n in range(9)))
    git("add", ".")
    git("commit", "-qm", "many")

    text = (await reviewed(make_board, repository, range="HEAD~1..HEAD")).output["text"]

    assert "A mutable default argument (9 places in one file)." in text
    assert "        shop/many.py:1  shop/many.py:3  shop/many.py:5  and 6 more\n" in text


async def test_the_threshold_counts_what_is_as_grave(repository: Path, make_board: MakeBoard) -> None:
    """And says so once, in the error, not in the text."""
    result = await reviewed(make_board, repository, range="main..feat", fail_on="high")

    high = result.output["counts"]["high"]
    assert str(result.error).endswith(f"findings as grave as `high`, or worse: {high} high")
    assert (result.output["fails"], "or worse" in result.output["text"]) == (True, False)


@pytest.mark.parametrize("range", ["HEAD", "HEAD..HEAD", "feat...HEAD"])
async def test_where_nothing_changed_there_is_nothing_to_review(
    repository: Path, make_board: MakeBoard, range: str
) -> None:
    """That is no approval."""
    result = await reviewed(make_board, repository, range=range, fail_on="low")

    assert (result.ok, result.output["verdict"]) == (True, None)
    assert result.output["text"] == f"nothing to review: `{range}` changes no file."


async def test_the_result_is_data(repository: Path, make_board: MakeBoard) -> None:
    """The verdict, every finding, the counts and where the report is; the text stands beside."""
    output = (await reviewed(make_board, repository, range="main..feat")).output

    assert (output["verdict"], output["range"]) == ("request_changes", "main..feat")
    assert len(output["findings"]) == sum(output["counts"].values())
    assert set(output["report"]) == {"md", "sarif", "json", "folder", "latest"}
