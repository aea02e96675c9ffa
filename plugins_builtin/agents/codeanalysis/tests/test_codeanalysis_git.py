"""History, and that a repository is data: nothing that its configuration names is ever executed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pegboard_codeanalysis.analysis import git as asked

from .conftest import SOUND, Git, Write


def test_history_counts_commits_and_authors(write: Write, git: Git) -> None:
    """For each file how often it was changed, and by how many."""
    root = write(SOUND)
    git("init")
    git("add", ".")
    git("commit", "--message", "one")
    (root / "shop/cart.py").write_text("x = 1\n")
    git("-c", "user.email=bob@example.org", "commit", "--all", "--message", "two")

    history = asked.history(str(root), list(SOUND))

    cart = next(row for row in history.files if row.path == "shop/cart.py")
    assert (history.available, history.commits, history.authors) == (True, 2, 2)
    assert (cart.commits, cart.authors) == (2, 2)


def test_files_that_change_together_are_coupled(write: Write, git: Git) -> None:
    """Two files that are in the same commits again and again."""
    root = write(SOUND)
    git("init")
    for number in range(9):
        for name in ("cart", "prices"):
            (root / f"shop/{name}.py").write_text(f"x = {number}\n")
        git("add", ".")
        git("commit", "--message", str(number))

    history = asked.history(str(root), list(SOUND))

    assert [(row.first, row.second, row.together) for row in history.couplings] == [
        ("shop/cart.py", "shop/prices.py", 9)
    ]


def test_no_repository_is_said(write: Write) -> None:
    """A plain folder has no history, and the reason is told."""
    assert asked.history(str(write(SOUND)), []).reason == "it is not a git repository"


def test_no_commit_is_said(write: Write, git: Git) -> None:
    """A repository that was only just made."""
    root = write(SOUND)
    git("init")

    assert asked.history(str(root), []).reason == "the repository has no commit yet"


def test_no_git_is_said(write: Write, git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without git everything works that does not need it."""
    root = write(SOUND)
    git("init")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert asked.history(str(root), []).reason == "git is not installed"
    assert asked.ignored(str(root)) == asked.Ignored(frozenset())


def test_a_hostile_configuration_runs_nothing(write: Write, git: Git, tmp_path: Path) -> None:
    """Monitors, diffs, signature checks, filters and hooks that a repository names are never started."""
    root = write({**SOUND, ".gitattributes": "*.py diff=evil filter=evil\n"})
    git("init")
    git("add", ".")
    git("commit", "--message", "one")
    trap = tmp_path / "trap"
    script = tmp_path / "evil.sh"
    script.write_text(f"#!/bin/sh\ntouch {trap}\ncat\n")
    script.chmod(0o755)
    for key in (
        "core.fsmonitor", "diff.external", "diff.evil.command", "diff.evil.textconv", "filter.evil.clean",
        "filter.evil.smudge", "gpg.program", "core.pager", "core.sshCommand", "core.alternateRefsCommand",
    ):  # fmt: skip
        git("config", key, str(script))
    git("config", "log.showSignature", "true")
    (root / ".git/hooks/post-index-change").write_text(script.read_text())
    (root / ".git/hooks/post-index-change").chmod(0o755)

    history = asked.history(str(root), list(SOUND))
    asked.ignored(str(root))

    assert history.commits == 1
    assert not trap.exists()


def test_variables_of_git_do_not_reach_it(write: Write, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    """`GIT_DIR` of the caller does not make it look at another repository."""
    root = write(SOUND)
    git("init")
    monkeypatch.setenv("GIT_DIR", "/nonexistent")

    assert asked.is_repository(str(root))


def test_a_program_in_the_folder_is_not_git(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative entry of `PATH` does not make the analysed folder bring its own git."""
    root = write({"git": "#!/bin/sh\ntouch trap\n"})
    (root / "git").chmod(0o755)
    monkeypatch.chdir(root)
    monkeypatch.setenv("PATH", ".")

    assert asked.history(str(root), []).reason == "git is not installed"
    assert not (root / "trap").exists()
