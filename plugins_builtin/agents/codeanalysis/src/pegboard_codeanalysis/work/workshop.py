"""What the agents ask for, and how it comes about: which worker does what, in which order, and what is shared.

Agents of one tree of runs look at the same snapshot, and what two of them need is computed once.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from pegboard_codeanalysis.analysis.model import Degradation, History
from pegboard_codeanalysis.analysis.results import (
    FILE_LIMIT_S,
    Architecture,
    Changes,
    Documentation,
    Problem,
    Progress,
    Survey,
)
from pegboard_codeanalysis.analysis.review import Review
from pegboard_codeanalysis.errors import TargetError, WorkerError
from pegboard_codeanalysis.work.pool import Workers

STAGE_LIMIT_S: Final = 300.0
CHUNK: Final = 48
CHUNK_LIMIT_S: Final = 180.0
_MOST_PROJECTS: Final = 4
_FAULTS_OF_TARGET: Final = frozenset(("NotAFolderError", "RangeError"))
Told = Callable[[str, float, float], None]


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """When a part of the work was done, in seconds since the epoch."""

    name: str
    start: float
    end: float
    computed: int = 0
    """Files that the cache did not know."""
    cached: int = 0


class Workshop:
    """The workers and the projects that are looked into. One for a plugin, closed with it."""

    def __init__(self, cache_dir: Callable[[], Path]) -> None:
        self._cache_dir = cache_dir
        self._workers: Workers | None = None
        self._projects: OrderedDict[tuple[str, ...], Project] = OrderedDict()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self.degraded: tuple[Degradation, ...] = ()

    def project(self, tree: str, root: str, exclude: Sequence[str] = ()) -> Project:
        """A folder, as the runs of one tree see it."""
        key = (tree, root, *exclude)
        found = self._projects.get(key)
        if found is None:
            found = self._projects[key] = Project(self, root, exclude)
            while len(self._projects) > _MOST_PROJECTS:
                self._projects.popitem(last=False)
        return found

    async def ask(self, op: str, type_: Any, *, limit_s: float = STAGE_LIMIT_S, **arguments: Any) -> Any:
        """Ask a worker. Raises `WorkerError`, or `TargetError` where the fault is the caller's."""
        if self._workers is None:
            self._workers = Workers(self._folder())
        try:
            return await self._workers.ask(op, type_, limit_s=limit_s, **arguments)
        except WorkerError as error:
            if error.kind in _FAULTS_OF_TARGET:
                hint = "peg review --help" if error.kind == "RangeError" else "peg analyse --help"
                raise TargetError(error.message, hint=hint) from error
            raise

    async def aclose(self) -> None:
        """End the workers."""
        workers, self._workers = self._workers, None
        self._projects.clear()
        if workers is not None:
            await workers.aclose()
        if self._temporary is not None:
            self._temporary.cleanup()

    @property
    def pids(self) -> list[int]:
        """The worker processes that run."""
        return [] if self._workers is None else self._workers.pids

    def _folder(self) -> Path:
        """The folder of the cache; one that lasts as long as we do, where nothing can be kept."""
        try:
            folder = self._cache_dir()
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / ".writable"
            probe.write_bytes(b"")
            probe.unlink()
        except Exception as exc:  # no home folder, read-only, full
            self.degraded = (Degradation(what="cache", why=f"nothing is kept for the next time: {exc}"),)
            self._temporary = tempfile.TemporaryDirectory(prefix="pegboard-codeanalysis-")
            folder = Path(self._temporary.name)
        return folder


class Project:
    """One folder. Each part is computed at its first use, once, however many wait for it."""

    def __init__(self, workshop: Workshop, root: str, exclude: Sequence[str]) -> None:
        self._workshop = workshop
        self._root = root
        self._exclude = tuple(exclude)
        self._parts: dict[str, asyncio.Task[Any]] = {}
        self._waiting: dict[str, int] = {}
        self.stages: list[Stage] = []
        self.problems: list[Problem] = []

    async def survey(self) -> Survey:
        """What there is."""

        async def make() -> Survey:
            with self._timed("survey"):
                found: Survey = await self._workshop.ask("survey", Survey, root=self._root, exclude=list(self._exclude))
                return found

        return await self._once("survey", make)  # type: ignore[no-any-return]  # as `make` says

    async def history(self) -> History:
        """What git knows."""
        return await self._stage("history", History)  # type: ignore[no-any-return]

    async def architecture(self) -> Architecture:
        """The shape."""
        await self._files("facts")
        head = (await self.history()).head
        return await self._stage("architecture", Architecture, head=head)  # type: ignore[no-any-return]

    async def review(self) -> Review:
        """All findings."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._files("security"))
            group.create_task(self._files("facts"))
        head = (await self.history()).head
        return await self._stage("review", Review, head=head)  # type: ignore[no-any-return]

    async def documentation(self) -> Documentation:
        """The state of the documentation."""
        await self._files("facts")
        return await self._stage("documentation", Documentation)  # type: ignore[no-any-return]

    async def changes(self, range: str) -> Changes:
        """What a range of commits changes."""

        async def make() -> Changes:
            with self._timed("changes"):
                found: Changes = await self._workshop.ask("changes", Changes, root=self._root, range=range)
                return found

        return await self._once(f"changes {range}", make)  # type: ignore[no-any-return]

    @property
    def degraded(self) -> tuple[Degradation, ...]:
        """What went wrong with single files, and with the workshop as a whole."""
        rows = dict.fromkeys((item.path, item.reason) for item in self.problems)
        return (*self._workshop.degraded, *(Degradation(what=path, why=reason) for path, reason in rows))

    # --- inside

    async def _stage(self, name: str, type_: Any, **more: Any) -> Any:
        async def make() -> Any:
            taken = (await self.survey()).snapshot
            with self._timed(name):
                return await self._workshop.ask(name, type_, root=taken.root, digest=taken.digest, **more)

        return await self._once(name, make)

    async def _files(self, kind: str) -> None:
        await self._once(f"files {kind}", lambda: self._all_files(kind))

    async def _all_files(self, kind: str) -> None:
        taken = (await self.survey()).snapshot
        count = len(taken.python())
        with self._timed(kind) as stage:
            done = await asyncio.gather(*(self._chunk(kind, start, start + CHUNK) for start in range(0, count, CHUNK)))
            stage.computed = sum(each.computed for each in done)
            stage.cached = sum(each.cached for each in done)

    async def _chunk(self, kind: str, start: int, stop: int) -> Progress:
        """Some files; when the worker dies of one of them, each by itself, so that one is lost and not all."""
        taken = (await self.survey()).snapshot
        ask: dict[str, Any] = {"root": taken.root, "digest": taken.digest, "kind": kind, "start": start, "stop": stop}
        try:
            # Nobody waits for one file alone: whatever puts results together goes first.
            done: Progress = await self._workshop.ask("files", Progress, limit_s=CHUNK_LIMIT_S, last=True, **ask)
        except WorkerError as error:
            if error.kind not in ("died", "timeout"):
                raise
            done = await self._one_by_one(ask, [entry.path for entry in taken.python()[start:stop]])
        self.problems += done.problems
        return done

    async def _one_by_one(self, ask: dict[str, Any], paths: Sequence[str]) -> Progress:
        rows = []
        for path in paths:
            try:
                rows.append(await self._workshop.ask("files", Progress, limit_s=FILE_LIMIT_S * 2, only=path, **ask))
            except WorkerError as error:
                rows.append(Progress(1, 0, (Problem(path, f"{ask['kind']}: {error.message}"),)))
        return Progress(
            sum(row.computed for row in rows),
            sum(row.cached for row in rows),
            tuple(problem for row in rows for problem in row.problems),
        )

    async def _once(self, name: str, make: Callable[[], Awaitable[Any]]) -> Any:
        """The same answer for all who ask; it is given up when the last of them is cancelled, and asked anew later."""
        task = self._parts.get(name)
        if task is None:
            task = self._parts[name] = asyncio.ensure_future(make())
            self._waiting[name] = 0
        self._waiting[name] += 1
        try:
            return await asyncio.shield(task)
        except BaseException:
            if task.done():
                self._parts.pop(name, None)
            elif self._waiting[name] == 1:
                self._parts.pop(name, None)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            raise
        finally:
            self._waiting[name] -= 1

    def _timed(self, name: str) -> _Timed:
        return _Timed(name, self.stages)


class _Timed:
    """Measures a stage, and adds it to a list when it ends well."""

    def __init__(self, name: str, stages: list[Stage]) -> None:
        self._name = name
        self._stages = stages
        self.computed = self.cached = 0

    def __enter__(self) -> _Timed:
        self._start = time.time()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._stages.append(
                Stage(name=self._name, start=self._start, end=time.time(), computed=self.computed, cached=self.cached)
            )
