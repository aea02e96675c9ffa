"""The tools: their arguments and what a model reads of them. What they do is in the modules beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

from pegboard.interfaces import Tool, ToolContext
from pegboard.threads import DaemonPool
from pegboard.tools import FunctionTool, tool
from pegboard.types import Effect, Json, Text, ToolResult, to_json
from pydantic import Field

from pegboard_file import changing, finding, reading, writing
from pegboard_file.config import Settings
from pegboard_file.finding import Entry, Limits
from pegboard_file.workspace import Workspace, digest_of, key, opened, visible

_READ: Final = {"fs_read": ("workspace",)}
_WRITE: Final = {"fs_read": ("workspace",), "fs_write": ("workspace",)}
_POOL: Final = DaemonPool(name="pegboard-file")
_SPARE_S: Final = 20.0

_Line = Annotated[int, Field(ge=1)]
_Count = Annotated[int, Field(ge=1)]


class FileTools:
    """The tools of one board, with its settings. Paths are relative to the workspace of the run."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def all(self) -> Sequence[Tool]:
        """Every tool, in the order of the manifest."""
        return [
            _tool("read", self.read, "pure", resources=_path),
            _tool("write", self.write, "idempotent", resources=_path),
            _tool("edit", self.edit, "keyed", resources=_path),
            _tool("list", self.list, "pure", timeout_s=self._settings.search_s + _SPARE_S),
            _tool("glob", self.glob, "pure", timeout_s=self._settings.search_s + _SPARE_S),
            _tool("search", self.search, "pure", timeout_s=self._settings.search_s + _SPARE_S),
            _tool("mkdir", self.mkdir, "idempotent", resources=_path),
            _tool("move", self.move, "unsafe"),
            _tool("delete", self.delete, "unsafe"),
        ]

    def read(
        self, ctx: ToolContext, path: str, start_line: _Line = 1, end_line: _Line | None = None, encoding: str = "utf-8"
    ) -> ToolResult:
        """Read a text file, or a range of its lines. Tells its digest too; of a binary file only size and digest.

        Args:
            ctx: filled in by the runner
            path: relative to the workspace
            start_line: first line, from 1
            end_line: last line; default is the end
            encoding: of the file
        """
        workspace = opened(ctx)
        with workspace.speaking():
            found = reading.read(
                workspace, workspace.inside(path), start_line, end_line, encoding, self._settings.read_bytes
            )
        return _result(found.shown(), found)

    def write(
        self,
        ctx: ToolContext,
        path: str,
        content: str,
        append: bool = False,
        if_digest: str | None = None,
        mkdirs: bool = True,
    ) -> ToolResult:
        """Write a text file as a whole, or add to its end.

        Args:
            ctx: filled in by the runner
            path: relative to the workspace
            content: the new content, or what is added
            append: add to the end; needs `if_digest`
            if_digest: write only if this is the digest of the file; `absent` if there must be none
            mkdirs: make folders that are missing
        """
        workspace = opened(ctx)
        name = workspace.inside(path)
        with workspace.speaking():
            done = writing.write(workspace, name, content, append=append, if_digest=if_digest, mkdirs=mkdirs)
        verb = "made" if done.created else "wrote"
        return _result(f"{verb} {name}: {done.size_bytes} bytes, digest {done.digest}", done._asdict())

    async def edit(
        self, ctx: ToolContext, path: str, old: str, new: str, count: _Count = 1, if_digest: str | None = None
    ) -> ToolResult:
        """Replace text in a file. `old` must be there exactly `count` times, with its white space.

        Args:
            ctx: filled in by the runner
            path: relative to the workspace
            old: the text to replace, as `file.read` shows it
            new: what comes in its place
            count: how often `old` is in the file
            if_digest: edit only if this is the digest of the file
        """
        workspace = await _POOL.run(opened, ctx)
        name = workspace.inside(path)

        async def planned() -> Json:
            return await _POOL.run(_plan, workspace, name, (old, new, count), if_digest)

        # Recorded before the file changes: after a crash it tells whether the change was made, so none is made twice.
        plan = await ctx.run.step("file.edit", [name, old, new, count, if_digest], planned)
        text = await _POOL.run(_edit, workspace, name, (old, new, count), plan)
        return _result(text, {"path": name, **plan, "diff": text})

    def list(self, ctx: ToolContext, path: str = ".", ignored: bool = False, max: _Count | None = None) -> ToolResult:
        """List a folder.

        Args:
            ctx: filled in by the runner
            path: relative to the workspace
            ignored: also show what `.gitignore` leaves out
            max: most entries
        """
        workspace, limits = opened(ctx), self._limits(max)
        with workspace.speaking():
            found = finding.listed(workspace, workspace.inside(path), limits, ignored=ignored)
        return _entries(found, limits)

    def glob(
        self, ctx: ToolContext, pattern: str, path: str = ".", ignored: bool = False, max: _Count | None = None
    ) -> ToolResult:
        """Find files and folders by name. `*` and `?` stay within a name, `**` is any number of folders: `**/*.py`.

        Args:
            ctx: filled in by the runner
            pattern: compared with the whole path below `path`
            path: folder to look in, relative to the workspace
            ignored: also look at what `.gitignore` leaves out
            max: most entries
        """
        workspace, limits = opened(ctx), self._limits(max)
        with workspace.speaking():
            found = finding.globbed(workspace, pattern, workspace.inside(path), limits, ignored=ignored)
        return _entries(found, limits)

    def search(
        self,
        ctx: ToolContext,
        pattern: str,
        path: str = ".",
        regex: bool = False,
        ignore_case: bool = False,
        glob: str | None = None,
        max: _Count | None = None,
    ) -> ToolResult:
        """Find lines in text files that are not ignored by `.gitignore`.

        Args:
            ctx: filled in by the runner
            pattern: text that the line has in it
            path: file or folder to look in, relative to the workspace
            regex: take `pattern` as a regular expression
            ignore_case: do not tell upper from lower case
            glob: only files whose name or path fits, for example `*.py`
            max: most lines
        """
        workspace, limits = opened(ctx), self._limits(max)
        with workspace.speaking():
            hits = finding.searched(
                workspace,
                pattern,
                workspace.inside(path),
                limits,
                is_regex=regex,
                ignore_case=ignore_case,
                glob=glob,
            )
        lines = [f"{hit.path}:{hit.line}: {hit.text}" for hit in hits] or ["no line has it"]
        return _found(lines, "hits", hits, limits)

    def mkdir(self, ctx: ToolContext, path: str) -> ToolResult:
        """Make a folder and those above it.

        Args:
            ctx: filled in by the runner
            path: relative to the workspace
        """
        workspace = opened(ctx)
        name = workspace.inside(path)
        with workspace.speaking():
            workspace.folder.make(name)
        return _result(f"{name} is there", {"path": name})

    def move(self, ctx: ToolContext, path: str, to: str) -> ToolResult:
        """Move or rename a file or folder; nothing is overwritten.

        Args:
            ctx: filled in by the runner
            path: relative to the workspace
            to: its new path, with its name
        """
        workspace = opened(ctx)
        source, target = workspace.inside(path), workspace.inside(to)
        with workspace.speaking():
            changing.move(workspace, source, target)
        return _result(f"moved {source} to {target}", {"path": source, "to": target})

    def delete(self, ctx: ToolContext, path: str, recursive: bool = False) -> ToolResult:
        """Delete a file or folder.

        Args:
            ctx: filled in by the runner
            path: relative to the workspace
            recursive: a folder with everything in it
        """
        workspace = opened(ctx)
        name, trash = workspace.inside(path), self._settings.trash
        with workspace.speaking():
            to = changing.delete(workspace, name, recursive=recursive, trash=trash, run=ctx.run.run)
        return _result(f"deleted {name}" + (f"; it is in {to}" if to else ""), {"path": name, "to": to})

    def _limits(self, most: int | None) -> Limits:
        settings = self._settings
        return Limits(min(most or settings.entries, settings.entries), settings.search_s)


def _tool(
    name: str,
    function: Callable[..., Any],
    effect: Effect,
    *,
    timeout_s: float = 60.0,
    resources: Callable[[Mapping[str, Any]], frozenset[str] | None] | None = None,
) -> FunctionTool:
    permissions = _READ if effect == "pure" else _WRITE
    return tool(name=f"file.{name}", effect=effect, timeout_s=timeout_s, resources=resources, permissions=permissions)(
        function
    )


def _path(args: Mapping[str, Any]) -> frozenset[str]:
    return key(str(args.get("path", "")))


def _plan(workspace: Workspace, path: str, change: tuple[str, str, int], if_digest: str | None) -> dict[str, str]:
    with workspace.speaking():
        data = workspace.content(path)
    if if_digest is not None:
        writing.check_digest(path, data, if_digest)
    return {"before": digest_of(data), "after": digest_of(writing.edited(path, data, *change))}


def _edit(workspace: Workspace, path: str, change: tuple[str, str, int], plan: Mapping[str, str]) -> str:
    with workspace.speaking():
        data = workspace.content(path)
        if digest_of(data) == plan["after"]:
            return f"{path} has this change already, digest {plan['after']}"
        writing.check_digest(path, data, plan["before"])
        after = writing.edited(path, data, *change)
        workspace.folder.replace(path, after)
    return f"{writing.diff(path, data, after)}\n[digest {plan['after']}]"


def _entries(found: list[Entry], limits: Limits) -> ToolResult:
    marks = {"folder": "/", "link": "@", "other": "?"}
    lines = [
        f"{entry.path}  {entry.size_bytes}" if entry.kind == "file" else entry.path + marks[entry.kind]
        for entry in found
    ]
    return _found(lines or ["nothing"], "entries", found, limits)


def _found(lines: list[str], name: str, found: Sequence[Any], limits: Limits) -> ToolResult:
    remarks = limits.remarks()
    text = "\n".join([*lines, *(f"[{remark}]" for remark in remarks)])
    return _result(text, {name: found, "truncated": limits.stopped is not None, "remarks": remarks})


def _result(text: str, structured: object) -> ToolResult:
    return ToolResult(call_id="", content=(Text(visible(text)),), structured=to_json(structured))


__all__ = ["FileTools"]
