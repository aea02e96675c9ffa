"""What the tools that change something tell git to do. None of it reaches beyond this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pegboard_git import parsing
from pegboard_git.errors import GitError, NothingError
from pegboard_git.repository import Repository, checked_files, checked_ref

StashAction = Literal["push", "pop", "apply", "drop", "list"]


async def add(repository: Repository, files: Sequence[str]) -> None:
    """Stage files as they are now, deleted ones too."""
    if not files:
        raise GitError("name the files to add; `.` is all of the folder")
    await repository.run("add", "--all", *checked_files(files))


async def commit(repository: Repository, message: str, files: Sequence[str]) -> str:
    """Commit what is staged, or only the files that are named; the id of the commit."""
    if not message.strip():
        raise GitError("a commit needs a message")
    flags = ("--quiet", "--no-verify", "--no-gpg-sign", f"--message={message}")
    before = None if await repository.is_empty() else await repository.commit("HEAD")
    done = await repository.run("commit", *flags, *checked_files(files), ok=(0, 1))
    after = None if await repository.is_empty() else await repository.commit("HEAD")
    if done.exit_code and done.stderr.strip():
        raise GitError(f"`git commit` failed: {done.stderr.decode('utf-8', 'replace').strip()[:2000]}")
    if after is None or after == before:
        raise NothingError("there is nothing to commit; stage files with `git.add`")
    return after


async def checkout(repository: Repository, branch: str | None, ref: str | None, create: bool) -> None:
    """Switch to a branch, to a new one, or to a commit without a branch."""
    if branch is None:
        if ref is None:
            raise GitError("name a branch, or a commit as `ref`")
        await repository.run("switch", "--detach", await repository.commit(ref))
        return
    name = await branch_name(repository, branch)
    if create:
        start = [] if ref is None else [await repository.commit(ref)]
        await repository.run("switch", f"--create={name}", *start)
        return
    if ref is not None:
        raise GitError("give a branch or a `ref`; both only with `create`")
    await repository.run("switch", "--no-guess", name)


async def branch(repository: Repository, name: str, ref: str, delete: bool, force: bool) -> None:
    """Make a branch at a commit, or delete one; one that is not merged only by `force`."""
    checked = await branch_name(repository, name)
    if delete:
        await repository.run("branch", "--delete", *(["--force"] if force else []), checked)
    else:
        await repository.run("branch", "--no-track", checked, await repository.commit(ref))


async def restore(repository: Repository, files: Sequence[str], staged: bool, ref: str | None) -> None:
    """Give up changes of files: in the working tree, or in the index."""
    if not files:
        raise GitError("name the files to restore")
    source = [] if ref is None else [f"--source={await repository.commit(ref)}"]
    await repository.run("restore", "--staged" if staged else "--worktree", *source, *checked_files(files))


async def stash(
    repository: Repository, action: StashAction, message: str, files: Sequence[str], number: int
) -> tuple[str, list[str]]:
    """Put changes aside, or take them back; what git said, and files in conflict."""
    if action == "list":
        return parsing.text_of((await repository.run("stash", "list")).stdout), []
    if action == "push":
        flags = ["--include-untracked", *([f"--message={message}"] if message else [])]
        # Not by the variable that takes paths as they are: `git stash` uses patterns of its own.
        paths = checked_files([f":(literal){file}" for file in files])
        done = await repository.run("stash", "push", *flags, *paths, literal=False)
        return parsing.text_of(done.stdout), []
    done = await repository.run("stash", action, f"stash@{{{number}}}", ok=(0, 1), literal=False)
    conflicts = await _conflicts(repository) if done.exit_code else []
    if done.exit_code and not conflicts:
        raise GitError(f"`git stash {action}` failed: {parsing.text_of(done.stderr).strip()[:2000]}")
    return parsing.text_of(done.stdout), conflicts


async def merge(repository: Repository, ref: str | None, message: str, abort: bool) -> list[str]:
    """Merge a commit into the branch, or give up a merge; files in conflict."""
    if abort:
        await repository.run("merge", "--abort")
        return []
    if ref is None:
        raise GitError("name what to merge as `ref`")
    said = message or f"Merge {checked_ref(ref)}"
    flags = ("--no-verify", "--no-edit", "--no-stat", "--no-gpg-sign", "--no-verify-signatures", "-m", said)
    done = await repository.run("merge", *flags, await repository.commit(ref), ok=(0, 1))
    conflicts = await _conflicts(repository) if done.exit_code else []
    if done.exit_code and not conflicts:
        text = parsing.text_of(done.stderr or done.stdout).strip()
        raise GitError(f"`git merge` failed: {text[:2000]}")
    return conflicts


async def branch_name(repository: Repository, name: str) -> str:
    """A name that a branch can have. Raises `UnknownRefError` or `GitError`."""
    checked = checked_ref(name)
    await repository.run("check-ref-format", f"refs/heads/{checked}")
    return checked


async def _conflicts(repository: Repository) -> list[str]:
    return parsing.names((await repository.run("diff", "--name-only", "--diff-filter=U", "-z")).stdout)


__all__ = ["StashAction", "add", "branch", "branch_name", "checkout", "commit", "merge", "restore", "stash"]
