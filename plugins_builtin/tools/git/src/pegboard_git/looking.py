"""What the pure tools ask git."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from pegboard_git import parsing
from pegboard_git.errors import EmptyRepositoryError, GitError
from pegboard_git.parsing import BlameLine, Branch, Commit, FileChange, Status
from pegboard_git.repository import Repository, checked_files

_PLAIN: Final = ("--no-ext-diff", "--no-textconv", "--find-renames", "--ignore-submodules=dirty", "-O/dev/null")
_EMPTY_TREE: Final = ("hash-object", "-t", "tree", "/dev/null")
_BINARY_HEAD: Final = 8192


class Diff(NamedTuple):
    """Files and lines that differ."""

    files: list[FileChange]
    patch: str
    cut: bool
    """Whether the patch, or even the list of files, is not whole."""


class Content(NamedTuple):
    """A file as it was at a commit."""

    text: str | None
    """`None` for a file that is not text."""
    size_bytes: int
    cut: bool


async def status(repository: Repository, files: Sequence[str]) -> tuple[Status, bool]:
    """Branch, and changed and new files; whether some are left out."""
    flags = ("--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--ignore-submodules=dirty")
    done = await repository.run("status", *flags, *checked_files(files))
    return parsing.status(done.stdout), done.truncated


async def diff(repository: Repository, ref: str | None, staged: bool, files: Sequence[str]) -> Diff:
    """What differs between working tree, index and commits."""
    which = ["--cached"] if staged else []
    if ref is not None:
        which += await _range(repository, ref)
    elif staged and await repository.is_empty():
        which.append((await repository.run(*_EMPTY_TREE)).stdout.decode().strip())
    found = await _diff(repository, ["diff", *_PLAIN, *which], files)
    if not found.files:
        await repository.check_sound()
    return found


async def log(repository: Repository, ref: str, files: Sequence[str], most: int) -> list[Commit]:
    """Commits from a commit, or of a range, the newest first; one more than asked for, when there is."""
    which = await _range(repository, ref)
    done = await repository.run(
        "log",
        "-z",
        f"--format={parsing.LOG_FORMAT}",
        f"--max-count={most + 1}",
        *which,
        *(checked_files(files) or ["--"]),
    )
    return parsing.commits(done.stdout)


async def shown_commit(repository: Repository, ref: str, files: Sequence[str]) -> tuple[Commit, Diff]:
    """A commit and what it changed, of a merge against its first parent."""
    commit = await repository.commit(ref)
    found = await repository.run("log", "-z", f"--format={parsing.LOG_FORMAT}", "--max-count=1", commit, "--")
    flags = ["show", "--format=", "--diff-merges=first-parent", *_PLAIN, commit]
    return parsing.commits(found.stdout)[0], await _diff(repository, flags, files)


async def shown_file(repository: Repository, ref: str, path: str) -> Content:
    """A file as it was at a commit."""
    commit = await repository.commit(ref)
    found = await repository.run(
        "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}:{path}", ok=(0, 1, 128)
    )
    if found.exit_code != 0:
        raise GitError(f"there is no `{path}` in `{ref}`")
    blob = found.stdout.decode().strip()
    if (await repository.run("cat-file", "-t", blob)).stdout.strip() != b"blob":
        raise GitError(f"`{path}` is no file in `{ref}`")
    size = int((await repository.run("cat-file", "-s", blob)).stdout)
    done = await repository.run("cat-file", "blob", blob, limit=repository.settings.patch_bytes)
    text = None if b"\0" in done.stdout[:_BINARY_HEAD] else done.stdout.decode("utf-8", "replace")
    return Content(text, size, done.truncated)


async def branches(repository: Repository, most: int) -> list[Branch]:
    """Branches, the latest first; one more than asked for, when there is."""
    flags = (f"--format={parsing.BRANCH_FORMAT}", "--sort=-committerdate", f"--count={most + 2}")
    return parsing.branches((await repository.run("for-each-ref", *flags, "refs/heads", "refs/remotes")).stdout)


async def blame(repository: Repository, file: str, ref: str | None, start: int, end: int) -> list[BlameLine]:
    """Who wrote the lines of a file, as far as there are any."""
    which = [await repository.commit(ref)] if ref else []
    if not which and await repository.is_empty():
        raise EmptyRepositoryError("the repository has no commit yet")
    flags = ("--line-porcelain", "--no-textconv", f"-L{start},+{end - start + 1}")
    return parsing.blame((await repository.run("blame", *flags, *which, "--", file)).stdout)


async def _range(repository: Repository, ref: str) -> list[str]:
    """`A`, `A..B` or `A...B`, each name as the id that it stands for; a missing one is `HEAD`."""
    for dots in ("...", ".."):
        first, found, last = ref.partition(dots)
        if found:
            return [dots.join([await repository.commit(first or "HEAD"), await repository.commit(last or "HEAD")])]
    return [await repository.commit(ref)]


async def _diff(repository: Repository, command: Sequence[str], files: Sequence[str]) -> Diff:
    paths = checked_files(files) or ["--"]
    counted = await repository.run(*command, "--numstat", "-z", *paths)
    patch = await repository.run(*command, "--patch", *paths, limit=repository.settings.patch_bytes)
    return Diff(parsing.numstat(counted.stdout), parsing.text_of(patch.stdout), counted.truncated or patch.truncated)


__all__ = ["Content", "Diff", "blame", "branches", "diff", "log", "shown_commit", "shown_file", "status"]
