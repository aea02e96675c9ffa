"""The review of a range of commits: only what is new is judged, and both sides come out of git."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pegboard_codeanalysis.analysis import changes
from pegboard_codeanalysis.analysis.results import Changes
from pegboard_codeanalysis.analysis.rules import SPEED
from pegboard_codeanalysis.analysis.security import Bandit
from pegboard_testing import MakeBoard

from .conftest import FAULTY, PLUGIN, SOUND, Git, Write


@pytest.fixture
def repository(write: Write, git: Git) -> Path:
    """A sound project with one commit, and a second one that brings faults and takes a function away."""
    root = write({**SOUND, "shop/old.py": "import os\n\n\ndef kept():\n    return 1\n\n\ndef gone():\n    return 2\n"})
    git("init")
    git("add", ".")
    git("commit", "--message", "sound")
    (root / "shop/old.py").write_text(
        "import os\n\n\ndef kept(seen=[]):\n    return [item for item in seen if sorted(list(seen))]\n"
    )
    (root / "shop/faulty.py").write_text(FAULTY["shop/faulty.py"])
    (root / "logo.png").write_bytes(b"\0\0")
    git("add", ".")
    git("commit", "--message", "faults")
    return root


def judged(root: Path, range: str = "") -> Changes:
    return changes.changes_of(str(root), range, Bandit())


def test_only_new_lines_are_judged(repository: Path) -> None:
    """The unused import in the first line of `old.py` was there before."""
    found = judged(repository)

    told = {(item.rule, item.place.path) for some in found.findings.values() for item in some}
    assert ("B006", "shop/old.py") in told
    assert ("F401", "shop/faulty.py") in told
    assert ("F401", "shop/old.py") not in told


def test_findings_are_sorted_by_who_reviews(repository: Path) -> None:
    """Faults, weaknesses and slowness, each to its reviewer."""
    found = judged(repository).findings

    assert "F821" in {item.rule for item in found["review"]}
    assert "B602" in {item.rule for item in found["security"]}
    assert {item.rule for item in found["performance"]} <= set(SPEED)


def test_a_public_object_that_is_gone_is_told(repository: Path) -> None:
    """Whoever uses it breaks."""
    told = [item.message for item in judged(repository).findings["review"] if item.rule == "api-removed"]

    assert told == ["the public function `gone` was removed; it stood in line 8"]


def test_the_work_tree_is_not_looked_at(repository: Path) -> None:
    """What is not committed is not part of the range."""
    before = judged(repository)
    (repository / "shop/faulty.py").write_text("eval(input())\n")

    assert judged(repository) == before


def test_skipped_files_are_listed(repository: Path) -> None:
    """A picture is part of the change, and nobody judges it."""
    assert [(item.path, item.reason) for item in judged(repository).skipped] == [("logo.png", "binary")]


@pytest.mark.parametrize("range", ["gone..HEAD", "--output=x", "HEAD..nonsense", "-h"])
def test_what_is_no_range_is_refused(repository: Path, range: str) -> None:
    """An option is no commit, and neither is a name that git does not know."""
    with pytest.raises(changes.RangeError):
        judged(repository, range)


def test_no_repository_is_refused(write: Write) -> None:
    """There is nothing to compare."""
    with pytest.raises(changes.RangeError, match="not a git repository"):
        judged(write(SOUND))


def test_three_dots_are_since_they_parted(repository: Path, git: Git) -> None:
    """What happened on the other side meanwhile is not part of the review."""
    git("checkout", "-b", "topic", "HEAD~1")
    (repository / "shop/mine.py").write_text("x = 1\n")
    git("add", ".")
    git("commit", "--message", "mine")

    assert [each.path for each in judged(repository, "main...topic").files] == ["shop/mine.py"]


async def test_the_chain_comes_to_a_verdict(repository: Path, make_board: MakeBoard, tmp_path: Path) -> None:
    """Grave findings ask for a change; the verdict says why."""
    board = await make_board(folders=[PLUGIN], workspace=tmp_path)
    asked = {"path": str(repository), "range": "HEAD~1..HEAD"}
    parts = {}
    for key, name in (
        ("review", "change_review"),
        ("security", "security_review"),
        ("performance", "performance_review"),
    ):
        parts[key] = (await board.run(name, asked)).output

    output = (await board.run("change_approval", {**asked, **parts})).output

    assert output["verdict"] == "request_changes"
    assert "findings.sarif" in os.listdir(output["report"]["folder"])  # noqa: PTH208  # pathlib is refused in async code
    assert output["text"].startswith("request_changes: something should change")


async def test_a_reviewer_that_is_missing_is_told(repository: Path, make_board: MakeBoard, tmp_path: Path) -> None:
    """Nobody takes two reviews for three."""
    board = await make_board(folders=[PLUGIN], workspace=tmp_path)
    absent = {"absent": True, "reason": "it timed out", "node": "security"}

    output = (await board.run("change_approval", {"path": str(repository), "security": absent})).output

    assert "security_review gave nothing: it timed out" in output["summary"]
    assert output["verdict"] == "comment"


async def test_a_range_alone_is_enough(repository: Path, make_board: MakeBoard) -> None:
    """Where the workspace is the repository, the text is the range."""
    board = await make_board(folders=[PLUGIN], workspace=repository)

    output = (await board.run("change_review", "HEAD~1..HEAD")).output

    assert (output["path"], output["range"]) == (".", "HEAD~1..HEAD")
