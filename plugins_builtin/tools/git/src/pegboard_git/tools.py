"""The tools: their arguments and what a model reads of them. What git is asked is in `looking` and `changing`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

from pegboard.interfaces import Tool, ToolContext
from pegboard.tools import FunctionTool, tool
from pegboard.types import Effect, Text, ToolResult, to_json
from pydantic import Field

from pegboard_git import changing, looking
from pegboard_git.changing import StashAction
from pegboard_git.config import Settings
from pegboard_git.looking import Diff
from pegboard_git.parsing import Commit, Status
from pegboard_git.repository import Repository, opened

_PERMISSIONS: Final = {"fs_read": ("workspace",), "exec": ("git",)}
_CALLS: Final = 5
"""How many calls of git a tool needs at most, roughly: its own limit is that much longer."""
_SHORT: Final = 12

_Count = Annotated[int, Field(ge=1)]
_Files = tuple[str, ...]


class GitTools:
    """The tools of one board, with its settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def all(self) -> Sequence[Tool]:
        """Every tool, in the order of the manifest."""
        pure = (self.status, self.diff, self.log, self.show, self.branches, self.blame)
        unsafe = (self.add, self.commit, self.checkout, self.branch, self.stash, self.restore, self.merge)
        return [*(self._tool(each, "pure") for each in pure), *(self._tool(each, "unsafe") for each in unsafe)]

    # --- looking

    async def status(
        self,
        ctx: ToolContext,
        repository: str = ".",
        files: _Files = (),
        max: _Count | None = None,
    ) -> ToolResult:
        """Show the branch and which files are changed, staged, new or in conflict.

        Args:
            ctx: filled in by the runner
            repository: folder of the workspace
            files: only these
            max: most files
        """
        found, cut = await looking.status(await self._open(ctx, repository), files)
        changes, left = self._most(found.changes, max)
        lines = [_branch_line(found), *(f"{each.staged}{each.unstaged} {each.kind} {each.path}" for each in changes)]
        return _result(
            lines if changes else [*lines, "nothing is changed"], {**_plain(found), "changes": changes}, cut or left
        )

    async def diff(
        self,
        ctx: ToolContext,
        repository: str = ".",
        ref: str | None = None,
        staged: bool = False,
        files: _Files = (),
    ) -> ToolResult:
        """Show what differs: unstaged changes, or staged ones, or against a commit, or `A..B`. New files do not count.

        Args:
            ctx: filled in by the runner
            repository: folder of the workspace
            ref: a commit, or two as `A..B` or `A...B`
            staged: what would be committed
            files: only these
        """
        return _diff(await looking.diff(await self._open(ctx, repository), ref, staged, files), [], {})

    async def log(
        self,
        ctx: ToolContext,
        repository: str = ".",
        ref: str = "HEAD",
        files: _Files = (),
        max: _Count = 20,
    ) -> ToolResult:
        """List commits, the newest first.

        Args:
            ctx: filled in by the runner
            repository: folder of the workspace
            ref: where to begin, or a range `A..B`
            files: only commits that change these
            max: most commits
        """
        most = min(max, self._settings.entries)
        found = await looking.log(await self._open(ctx, repository), ref, files, most)
        lines = [f"{each.commit[:_SHORT]} {each.at[:10]} {each.author}: {each.subject}" for each in found[:most]]
        return _result(lines or ["no commits"], {"commits": found[:most]}, len(found) > most)

    async def show(
        self,
        ctx: ToolContext,
        ref: str = "HEAD",
        repository: str = ".",
        files: _Files = (),
        path: str | None = None,
    ) -> ToolResult:
        """Show a commit and what it changed, or with `path` a file as it was then.

        Args:
            ctx: filled in by the runner
            ref: the commit
            repository: folder of the workspace
            files: only these
            path: of a file, from the top of the repository
        """
        opened = await self._open(ctx, repository)
        if path is not None:
            content = await looking.shown_file(opened, ref, path)
            text = content.text if content.text is not None else f"not text, {content.size_bytes} bytes"
            return _result([text], {"path": path, **content._asdict()}, content.cut)
        commit, diff = await looking.shown_commit(opened, ref, files)
        return _diff(diff, _commit_lines(commit), _plain(commit))

    async def branches(self, ctx: ToolContext, repository: str = ".", max: _Count | None = None) -> ToolResult:
        """List branches, local ones and those of remotes as last fetched, the latest first.

        Args:
            ctx: filled in by the runner
            repository: folder of the workspace
            max: most branches
        """
        most = min(max or self._settings.entries, self._settings.entries)
        found, left = self._most(await looking.branches(await self._open(ctx, repository), most), max)
        lines = [f"{'*' if each.current else ' '} {each.name} {each.commit[:_SHORT]} {each.subject}" for each in found]
        return _result(lines or ["no branches"], {"branches": found}, left)

    async def blame(
        self,
        ctx: ToolContext,
        file: str,
        repository: str = ".",
        ref: str | None = None,
        start_line: _Count = 1,
        end_line: _Count | None = None,
    ) -> ToolResult:
        """Show who last changed each line of a file.

        Args:
            ctx: filled in by the runner
            file: relative to `repository`
            repository: folder of the workspace
            ref: as of this commit; default is the file as it is now
            start_line: first line, from 1
            end_line: last line
        """
        last = start_line + self._settings.entries - 1
        wanted = last + 1 if end_line is None else min(end_line, last + 1)
        found = await looking.blame(await self._open(ctx, repository), file, ref, start_line, max(wanted, start_line))
        kept, left = self._most(found, None)
        lines = [f"{each.line} {each.commit[:_SHORT]} {each.author}: {each.text}" for each in kept]
        return _result(lines, {"lines": kept}, left)

    # --- changing

    async def add(self, ctx: ToolContext, files: _Files, repository: str = ".") -> ToolResult:
        """Stage files for the next commit.

        Args:
            ctx: filled in by the runner
            files: files or folders, relative to `repository`
            repository: folder of the workspace
        """
        opened = await self._open(ctx, repository, read_only=False)
        await changing.add(opened, files)
        return await self._state(opened, "added")

    async def commit(
        self,
        ctx: ToolContext,
        message: str,
        repository: str = ".",
        files: _Files = (),
    ) -> ToolResult:
        """Commit what is staged, or only `files` as they are now.

        Args:
            ctx: filled in by the runner
            message: first line, then if needed an empty line and more
            repository: folder of the workspace
            files: commit these, whatever else is staged
        """
        opened = await self._open(ctx, repository, read_only=False)
        commit = await changing.commit(opened, message, files)
        found, _ = await looking.shown_commit(opened, commit, [])
        return _result([f"committed {commit[:_SHORT]}: {found.subject}"], _plain(found), False)

    async def checkout(
        self,
        ctx: ToolContext,
        branch: str | None = None,
        repository: str = ".",
        ref: str | None = None,
        create: bool = False,
    ) -> ToolResult:
        """Switch to a branch, or to a commit by `ref`.

        Args:
            ctx: filled in by the runner
            branch: its name
            repository: folder of the workspace
            ref: a commit; with `create` where the branch begins
            create: make the branch
        """
        opened = await self._open(ctx, repository, read_only=False)
        await changing.checkout(opened, branch, ref, create)
        return await self._state(opened, "switched")

    async def branch(
        self,
        ctx: ToolContext,
        branch: str,
        repository: str = ".",
        ref: str = "HEAD",
        delete: bool = False,
        force: bool = False,
    ) -> ToolResult:
        """Make a branch without switching to it, or delete one.

        Args:
            ctx: filled in by the runner
            branch: its name
            repository: folder of the workspace
            ref: where it begins
            delete: delete it
            force: delete it though it is not merged
        """
        opened = await self._open(ctx, repository, read_only=False)
        await changing.branch(opened, branch, ref, delete, force)
        return _result([f"{'deleted' if delete else 'made'} branch {branch}"], {"branch": branch}, False)

    async def stash(
        self,
        ctx: ToolContext,
        action: StashAction = "push",
        repository: str = ".",
        message: str = "",
        files: _Files = (),
        number: Annotated[int, Field(ge=0)] = 0,
    ) -> ToolResult:
        """Put changes aside, new files too, or take them back.

        Args:
            ctx: filled in by the runner
            action: what to do
            repository: folder of the workspace
            message: what they are, for `push`
            files: only these, for `push`
            number: which one, 0 is the latest; not for `push`
        """
        opened = await self._open(ctx, repository, read_only=False)
        said, conflicts = await changing.stash(opened, action, message, files, number)
        return _merged(said.strip() or "done", conflicts)

    async def restore(
        self,
        ctx: ToolContext,
        files: _Files,
        repository: str = ".",
        staged: bool = False,
        ref: str | None = None,
    ) -> ToolResult:
        """Give up changes of files, or with `staged` unstage them.

        Args:
            ctx: filled in by the runner
            files: files or folders, relative to `repository`
            repository: folder of the workspace
            staged: in the index and not in the working tree
            ref: as they are in this commit
        """
        opened = await self._open(ctx, repository, read_only=False)
        await changing.restore(opened, files, staged, ref)
        return await self._state(opened, "restored")

    async def merge(
        self,
        ctx: ToolContext,
        ref: str | None = None,
        repository: str = ".",
        message: str = "",
        abort: bool = False,
    ) -> ToolResult:
        """Merge a branch or commit into the current branch, or give up a merge that has conflicts.

        Args:
            ctx: filled in by the runner
            ref: what to merge
            repository: folder of the workspace
            message: of the merge commit
            abort: give up the merge that is going on
        """
        opened = await self._open(ctx, repository, read_only=False)
        conflicts = await changing.merge(opened, ref, message, abort)
        return _merged("gave up the merge" if abort else f"merged {ref}", conflicts)

    # --- inside

    def _tool(self, function: Callable[..., Any], effect: Effect) -> FunctionTool:
        timeout_s = self._settings.timeout_s * _CALLS
        name = f"git.{function.__name__}"
        return tool(name=name, effect=effect, timeout_s=timeout_s, permissions=_PERMISSIONS)(function)

    async def _open(self, ctx: ToolContext, repository: str, *, read_only: bool = True) -> Repository:
        return await opened(ctx, self._settings, repository, read_only=read_only)

    async def _state(self, repository: Repository, verb: str) -> ToolResult:
        found, cut = await looking.status(repository, [])
        changes, left = self._most(found.changes, None)
        lines = [f"{verb}; {_branch_line(found)}, {len(found.changes)} changed files"]
        return _result(lines, {**_plain(found), "changes": changes}, cut or left)

    def _most(self, found: Sequence[Any], most: int | None) -> tuple[list[Any], bool]:
        limit = min(most or self._settings.entries, self._settings.entries)
        return list(found[:limit]), len(found) > limit


def _branch_line(found: Status) -> str:
    where = f"branch {found.branch}" if found.branch else "no branch"
    at = f"at {found.commit[:_SHORT]}" if found.commit else "no commit yet"
    upstream = f", {found.ahead} ahead and {found.behind} behind {found.upstream}" if found.upstream else ""
    return f"{where}, {at}{upstream}"


def _commit_lines(commit: Commit) -> list[str]:
    head = f"commit {commit.commit}\n{commit.author} <{commit.email}>, {commit.at}\n\n{commit.subject}"
    return [f"{head}\n\n{commit.body}\n" if commit.body else f"{head}\n"]


def _diff(diff: Diff, lines: list[str], structured: dict[str, Any]) -> ToolResult:
    files = [
        f"{each.path}: binary" if each.added is None else f"{each.path}: +{each.added} -{each.removed}"
        for each in diff.files
    ]
    text = (
        [*lines, *(files or ["no differences"]), "", diff.patch]
        if diff.patch
        else [*lines, *(files or ["no differences"])]
    )
    return _result(text, {**structured, "files": diff.files, "patch": diff.patch}, diff.cut)


def _merged(said: str, conflicts: list[str]) -> ToolResult:
    if not conflicts:
        return _result([said], {"conflicts": []}, False)
    text = "\n".join([f"{len(conflicts)} files are in conflict; edit and add them, or give up:", *conflicts])
    return ToolResult(
        call_id="", status="error", code="git.conflict", content=(Text(text),), structured={"conflicts": conflicts}
    )


def _plain(value: Any) -> dict[str, Any]:
    data: dict[str, Any] = to_json(value)
    return data


def _result(lines: Sequence[str], structured: dict[str, Any], cut: bool) -> ToolResult:
    text = "\n".join([*lines, *(["[cut; there is more]"] if cut else [])])
    return ToolResult(call_id="", content=(Text(text),), structured=to_json({**structured, "truncated": cut}))


__all__ = ["GitTools"]
