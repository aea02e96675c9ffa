"""A repository of the workspace: how it is found and judged, and how git is run in it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pegboard.errors import FilesDeniedError
from pegboard.interfaces import ExecResult, Folder, HostContext, RunContext, ToolContext
from pegboard.threads import DaemonPool

from pegboard_git import places
from pegboard_git.config import Settings
from pegboard_git.errors import (
    DamagedError,
    EmptyRepositoryError,
    GitError,
    GitMissingError,
    GitTimeoutError,
    NoRepositoryError,
    NoWorkspaceError,
    OutsideError,
    OwnerError,
    UnknownRefError,
)
from pegboard_git.harmless import switched_off, variables

OUTPUT_BYTES: Final = 8 * 1024 * 1024
"""Of lists; what does not fit is left out, which is said."""
FILES: Final = 1000
"""That one call names."""
_LISTED: Final = 200
_POINTER_BYTES: Final = 8192
_NAME: Final = 'git config --global user.name "…" && git config --global user.email "…"'
_JUDGE_S: Final = 10.0
"""For what only reads the configuration, and is done at once unless that is a trap."""
_REF: Final = re.compile(r"[^\x00-\x20\x7f~^:?*\[\\-][^\x00-\x20\x7f?*\[\\]{0,250}")
_POOL: Final = DaemonPool(size=4, name="pegboard-git")


class Repository:
    """Runs git in one repository, for one call."""

    def __init__(self, host: HostContext, settings: Settings, workspace: str, cwd: str, *, read_only: bool) -> None:
        self._host = host
        self.settings = settings
        self._workspace = workspace
        self._cwd = cwd
        self._read_only = read_only
        self._off: dict[str, str] = {}

    async def run(
        self,
        *arguments: str,
        ok: Sequence[int] = (0,),
        limit: int = OUTPUT_BYTES,
        literal: bool = True,
        limit_s: float = float("inf"),
    ) -> ExecResult:
        """Run git to its end, or to `limit_s` and what the settings say.

        Without `literal` paths can be patterns, as some commands need for themselves.

        Raises:
            GitError: it ended with another code than one of `ok`; the message is what it said.
        """
        if any("\0" in each for each in arguments):
            raise GitError("an argument has a NUL byte in it")
        timeout_s = min(self.settings.timeout_s, limit_s)
        try:
            done = await self._host.exec.run(
                ["git", "--no-pager", *arguments],
                cwd=self._cwd,
                timeout_s=timeout_s,
                env=variables(self._workspace, self._off, read_only=self._read_only, literal=literal),
                max_output_bytes=limit,
            )
        except FileNotFoundError as exc:
            raise GitMissingError(f"git cannot be started: {exc}") from None
        if done.timed_out:
            raise GitTimeoutError(f"`git {arguments[0]}` did not finish within {timeout_s:g} s")
        if done.exit_code not in ok:
            raise self._failure(arguments[0], done)
        return done

    async def commit(self, ref: str) -> str:
        """The id of the commit that a name stands for. What comes after it in a command line is never a name.

        Raises:
            UnknownRefError: there is none.
            EmptyRepositoryError: there is no commit at all.
        """
        return await self.object(f"{checked_ref(ref)}^{{commit}}", ref)

    async def object(self, expression: str, ref: str) -> str:
        """The id of what an expression stands for, which was made of the name `ref`."""
        found = await self._id_of(expression)
        if found is not None:
            return found
        if await self.is_empty():
            raise EmptyRepositoryError("the repository has no commit yet")
        await self.check_sound(ref)
        raise UnknownRefError(f"there is no commit `{ref}`")

    async def check_sound(self, *refs: str) -> None:
        """Tell a damaged repository from one where there is just nothing: what a name stands for cannot be read.

        Raises:
            DamagedError: that is so for one of the names, or for `HEAD`.
        """
        for ref in (*refs, "HEAD"):
            found = await self._id_of(ref)
            # An id stands for itself, be there such a commit or not. Only `^{}` has git read what it stands for.
            if found not in (None, ref.lower()) and await self._id_of(f"{found}^{{}}") is None:
                raise DamagedError(f"the repository is damaged: what `{ref}` stands for cannot be read")

    async def is_empty(self) -> bool:
        """Whether `HEAD` leads to no commit."""
        return await self._id_of("HEAD") is None

    async def _id_of(self, expression: str) -> str | None:
        done = await self.run("rev-parse", "--verify", "--quiet", "--end-of-options", expression, ok=(0, 1, 128))
        return done.stdout.decode().strip() if done.exit_code == 0 else None

    async def judge(self) -> None:
        """Look at where the repository keeps things, and at the programs that it configures.

        Raises:
            NoRepositoryError, OutsideError, OwnerError: it is not to be used.
        """
        where = ("--show-toplevel", "--absolute-git-dir", "--git-common-dir")
        done = await self.run("rev-parse", "--path-format=absolute", *where, limit_s=_JUDGE_S)
        paths = [os.fsdecode(line) for line in done.stdout.splitlines()]
        if len(paths) != len(where):
            raise OutsideError(places.OUTSIDE)
        await _POOL.run(_check_inside, self._workspace, *paths)
        listing = await self.run("config", "--list", "--null", "--show-scope", limit_s=_JUDGE_S)
        if listing.truncated:
            raise GitError("the configuration of the repository is too large to be looked through")
        self._off = switched_off(listing.stdout)

    def _failure(self, command: str, done: ExecResult) -> GitError:
        said = done.stderr.decode("utf-8", "replace").strip()
        if "not a git repository" in said or "must be run in a work tree" in said or "safe.bareRepository" in said:
            return NoRepositoryError("there is no git repository here that begins inside the workspace")
        if "dubious ownership" in said:
            return OwnerError(
                "the repository belongs to another user",
                hint=f"git config --global --add safe.directory {self._cwd}",
            )
        if "does not have any commits yet" in said or "ambiguous argument 'HEAD'" in said:
            return EmptyRepositoryError("the repository has no commit yet")
        if command == "blame" and "invalid object name" in said:  # git quotes that file, which can be any
            said = "the list of commits to ignore, `blame.ignoreRevsFile`, has something else in it"
        nameless = "empty ident name" in said or "tell me who you are" in said or "user.useConfigOnly" in said
        said = said or done.stdout.decode("utf-8", "replace").strip() or f"it ended with {done.exit_code}"
        return GitError(f"`git {command}` failed: {said[:2000]}", hint=_NAME if nameless else None)


async def opened(ctx: ToolContext, settings: Settings, path: str, *, read_only: bool) -> Repository:
    """The repository that a folder of the workspace is in, judged.

    Raises:
        NoWorkspaceError, NoRepositoryError, OutsideError, OwnerError, GitMissingError: there is none to be used.
        FilesDeniedError: the folder lies outside.
    """
    run: RunContext | None = ctx.run  # none for a call that no run stands around
    host = ctx.host
    if run is None or not run.workspace or host is None:
        raise NoWorkspaceError("this run has no workspace, so there is no repository to work with")
    workspace, cwd = await _POOL.run(_folder, host, run.workspace, path)
    repository = Repository(host, settings, workspace, cwd, read_only=read_only)
    await repository.judge()
    return repository


def checked_ref(ref: str) -> str:
    """A name of a commit, when it can be one; `HEAD~2` and `main@{1}` are. Raises `UnknownRefError`."""
    if not _REF.fullmatch(ref):
        raise UnknownRefError(f"`{ref[:100]}` cannot name a commit")
    return ref


def checked_files(files: Sequence[str]) -> list[str]:
    """Paths for a command line, behind `--`. Raises `GitError` when there are too many."""
    if len(files) > FILES:
        raise GitError(f"a call names at most {FILES} files; name a folder instead")
    return ["--", *files] if files else []


def _folder(host: HostContext, workspace: str, path: str) -> tuple[str, str]:
    root = str(Path(workspace).absolute())
    if path == root or path.startswith(f"{root}/"):
        path = path[len(root) :].strip("/") or "."
    folder = host.driver("files").beneath(root)
    try:
        folder.list(path)
    except FileNotFoundError:
        raise NoRepositoryError(f"there is no folder `{path[:_LISTED]}`") from None
    real, cwd = os.path.realpath(root), os.path.realpath(f"{root}/{path}")
    if not places.below(cwd, real):
        raise FilesDeniedError(f"`{path[:_LISTED]}` leads out of the folder")
    _check_pointer(folder, real, os.path.relpath(cwd, real))
    return real, cwd


def _check_pointer(folder: Folder, root: str, path: str) -> None:
    """Refuse a `.git` that is a file or link and leads out, before git sees it: it writes into where that leads.

    So a worktree whose repository lies elsewhere is refused too. That one knows of it proves nothing, since git writes
    that knowledge when it follows the file.
    """
    parts = [] if path == "." else path.split("/")
    for depth in range(len(parts), -1, -1):
        here = "/".join([*parts[:depth], ".git"])
        try:
            kind = folder.stat(here).kind
        except FileNotFoundError:
            continue
        target = f"{root}/{here}"
        if kind == "other":
            raise GitError(f"`{here}` is neither a file nor a folder")
        if kind == "file":
            with folder.open(here) as file:
                said = os.fsdecode(file.read(_POINTER_BYTES)).removeprefix("gitdir:").strip()
            target = os.path.join(root, *parts[:depth], said)  # noqa: PTH118  # `said` may be absolute, and any text
        real = "" if "\0" in target else os.path.realpath(target)
        if not places.below(real, root):
            raise OutsideError(places.OUTSIDE)
        places.check_top(real)
        return


def _check_inside(workspace: str, top: str, folder: str, common: str) -> None:
    found = [os.path.realpath(path) for path in (top, folder, common)]
    if not all(places.below(path, workspace) for path in found):
        raise OutsideError(places.OUTSIDE)
    places.check(workspace, *found[1:])


__all__ = ["FILES", "OUTPUT_BYTES", "Repository", "checked_files", "checked_ref", "opened"]
