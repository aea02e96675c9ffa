"""Runs a plugin's import and activation where they can do little harm: in a daemon thread, under a deadline.

An import that never returns costs its thread and nothing else; nobody waits for it, not even the end of the process.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from pegboard.errors import PluginLoadError, PluginTimeoutError
from pegboard.interfaces import Clock
from pegboard.plugins.discovery.index import PluginRecord
from pegboard.plugins.peg import Peg
from pegboard.threads import DaemonPool

WARN_AFTER_S = 2.0
ABANDON_AFTER_S = 30.0
DEACTIVATE_WITHIN_S = 5.0
T = TypeVar("T")
_log = logging.getLogger("pegboard.plugins")


class Caught:
    """What a plugin's code raised, carried as a value: a task that raises `SystemExit` would end the event loop."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Loader:
    """Imports plugins and calls their `activate` and `deactivate`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pool = DaemonPool(size=64, name="pegboard-plugin")

    async def load(self, peg: Peg, dependants: list[str]) -> Any:
        """The plugin object, imported and made.

        Raises:
            PluginTimeoutError: it did not finish; its thread was abandoned.
            BaseException: whatever its code raised.
        """
        return await self._watched(peg, self._in_thread(peg, make, peg.record), ABANDON_AFTER_S, dependants)

    async def call(self, peg: Peg, name: str, limit_s: float, dependants: list[str]) -> None:
        """Call `activate(ctx)` or `deactivate(ctx)`, where the plugin has it. Raises as `load` does."""
        function = getattr(peg.object, name, None)
        if function is None:
            return
        if inspect.iscoroutinefunction(function):
            work = _caught(function(peg.context))
        else:
            work = self._in_thread(peg, function, peg.context)
        await self._watched(peg, work, limit_s, dependants)

    async def undo(self, peg: Peg, function: Callable[[], object]) -> None:
        """Call what a plugin gave to `ctx.undo`. Raises as `load` does."""
        result = await self._watched(peg, self._in_thread(peg, function), DEACTIVATE_WITHIN_S, [])
        if inspect.isawaitable(result):
            await self._watched(peg, _caught(result), DEACTIVATE_WITHIN_S, [])

    def close(self) -> None:
        """Let idle threads end; a hanging one is left behind."""
        self._pool.close()

    async def _in_thread(self, peg: Peg, function: Callable[..., Any], *args: Any) -> Any:
        def attempt() -> Any:
            try:
                return function(*args)
            except (KeyboardInterrupt, asyncio.CancelledError, GeneratorExit) as exc:
                # No Ctrl-C and no cancellation ever reaches this thread: the plugin made it.
                return Caught(_made_by(peg, exc))
            except BaseException as exc:
                return Caught(exc)

        return await self._pool.run(attempt)

    async def _watched(self, peg: Peg, work: Coroutine[Any, Any, Any], limit_s: float, dependants: list[str]) -> Any:
        """The result, with a warning when it takes long and an end to waiting when it takes too long."""
        job = asyncio.create_task(work)
        try:
            if not await self._done_within(job, min(WARN_AFTER_S, limit_s)):
                _log.warning("%s", _slow(peg, dependants))
                if not await self._done_within(job, limit_s - WARN_AFTER_S):
                    raise _abandoned(peg, limit_s, dependants)
        finally:
            job.cancel()
        result = job.result()
        if isinstance(result, Caught):
            raise result.error
        return result

    async def _done_within(self, job: asyncio.Task[Any], seconds: float) -> bool:
        if seconds > 0 and not job.done():
            timer = asyncio.ensure_future(self._clock.sleep(seconds))
            try:
                await asyncio.wait((job, timer), return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
        return job.done()


def make(record: PluginRecord) -> Any:
    """Import what a record points at, and make an object of it where it is a class. This runs the plugin's code."""
    if record.source == "folder" and record.location not in sys.path:
        sys.path.insert(0, record.location)
    target = (record.manifest or {}).get("entry")
    if record.manifest is not None and target is None:
        return None
    module_name, _, attribute = (target or record.package).partition(":")
    found: Any = importlib.import_module(module_name)
    if target is None:
        found = getattr(found, "Plugin", found)
    for name in attribute.split(".") if attribute else ():
        found = getattr(found, name)
    return found() if inspect.isclass(found) else found


def absent_imports(record: PluginRecord) -> dict[str, str]:
    """Optional modules that are not installed, and what would bring them."""
    wanted = (record.manifest or {}).get("optional_imports", {})
    return {module: requirement for module, requirement in wanted.items() if not _is_there(module)}


def _is_there(module: str) -> bool:
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


async def _caught(work: Awaitable[Any]) -> Any:
    try:
        return await work
    except asyncio.CancelledError as exc:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        return Caught(exc)
    except BaseException as exc:
        return Caught(exc)


def _made_by(peg: Peg, cause: BaseException) -> PluginLoadError:
    error = PluginLoadError.from_cause(peg.id, peg.dist, peg.version, cause, imported=peg.object is not None)
    error.__cause__ = cause
    return error


def _slow(peg: Peg, dependants: list[str]) -> str:
    return f"plugin `{peg.id}` ({peg.owner}) takes long to activate{_needed(dependants)}; peg plugins disable {peg.id}"


def _abandoned(peg: Peg, limit_s: float, dependants: list[str]) -> PluginTimeoutError:
    return PluginTimeoutError(
        f"plugin `{peg.id}` ({peg.owner}) did not finish within {limit_s:g} s and was abandoned{_needed(dependants)}",
        hint=f"peg plugins disable {peg.id}",
        plugin=peg.id,
        dist=peg.dist,
        version=peg.version,
    )


def _needed(dependants: list[str]) -> str:
    return f"; needed by {', '.join(f'`{name}`' for name in dependants)}" if dependants else ""
