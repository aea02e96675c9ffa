"""`assert_no_leaks`: what a piece of code left behind in its process."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

_DESCRIPTORS: Final = Path("/proc/self/fd")
_SETTLE_S: Final = 2.0
"""How long a thread that was told to end may take; nothing waits when none is left."""

State = dict[str, Mapping[Any, str]]
"""By kind of thing: each thing that is there, and how to name it."""


class LeakError(AssertionError):
    """Something was left behind."""


class assert_no_leaks:  # noqa: N801  # reads as the statement it is
    """Fails when threads, tasks, descriptors, log or signal handlers, environment or `sys.path` are not as before.

        with assert_no_leaks():                 # or `async with`, inside a loop, which counts its tasks too
            ...

    `ignore` names kinds that may differ, `threads` beginnings of the names of threads that may stay, such as those of a
    pool that keeps its threads on purpose.
    """

    def __init__(self, *, ignore: Iterable[str] = (), threads: Iterable[str] = ("pegboard-tool", "asyncio_")) -> None:
        self._ignore = frozenset(ignore)
        self._threads = tuple(threads)
        self._before: State = {}

    def __enter__(self) -> None:
        self._before = self._state()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._compare()

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in range(10):  # callbacks of tasks that just ended
            await asyncio.sleep(0)
        self.__exit__(kind, error, trace)

    def _compare(self) -> None:
        for thread in self._state().get("thread", {}).keys() - self._before.get("thread", {}).keys():
            thread.join(_SETTLE_S)
        gc.collect()
        found = list(differences(self._before, self._state()))
        if found:
            raise LeakError("left behind: " + "; ".join(found))

    def _state(self) -> State:
        return {kind: self._kept(kind, take()) for kind, take in SNAPSHOTS.items() if kind not in self._ignore}

    def _kept(self, kind: str, things: Mapping[Any, str]) -> Mapping[Any, str]:
        if kind != "thread":
            return things
        return {thing: name for thing, name in things.items() if not name.startswith(self._threads)}


def differences(before: State, after: State) -> Iterable[str]:
    """What is there now and was not, and what is no longer as it was, in words."""
    for kind, things in after.items():
        earlier = before.get(kind, {})
        for thing, name in things.items():
            if thing not in earlier:
                yield f"{kind} `{name}`"
            elif earlier[thing] != name:
                yield f"{kind} `{thing}` was `{earlier[thing]}` and is `{name}`"
        if kind in ("environment", "path", "signal"):
            yield from (f"{kind} `{thing}` is gone" for thing in earlier.keys() - things.keys())


def _threads() -> Mapping[Any, str]:
    return {thread: thread.name for thread in threading.enumerate()}


def _tasks() -> Mapping[Any, str]:
    try:
        return {task: task.get_name() for task in asyncio.all_tasks()}
    except RuntimeError:  # no loop runs here
        return {}


def _descriptors() -> Mapping[Any, str]:
    """Open descriptors by number and target; where there is no `/proc` they are not counted."""
    if not _DESCRIPTORS.is_dir():
        return {}
    found: dict[Any, str] = {}
    for path in _DESCRIPTORS.iterdir():
        try:
            target = str(path.readlink())
        except OSError:  # the one that lists the folder
            continue
        found[(path.name, target)] = f"{path.name} → {target}"
    return found


def _log_handlers() -> Mapping[Any, str]:
    loggers = [
        logging.getLogger(),
        *(x for x in logging.Logger.manager.loggerDict.values() if isinstance(x, logging.Logger)),
    ]
    return {
        (logger.name, handler): f"{handler!r} of {logger.name}" for logger in loggers for handler in logger.handlers
    }


def _environment() -> Mapping[Any, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def _path() -> Mapping[Any, str]:
    return dict.fromkeys(sys.path, "") | {entry: entry for entry in sys.path}


def _signals() -> Mapping[Any, str]:
    return {number.name: repr(signal.getsignal(number)) for number in signal.valid_signals() if hasattr(number, "name")}


def _folder() -> Mapping[Any, str]:
    return {"current": str(Path.cwd())}


SNAPSHOTS: Final[Mapping[str, Callable[[], Mapping[Any, str]]]] = {
    "thread": _threads,
    "task": _tasks,
    "descriptor": _descriptors,
    "log handler": _log_handlers,
    "environment": _environment,
    "path": _path,
    "signal": _signals,
    "folder": _folder,
}
"""Each kind of thing that can be left behind, and how to take stock of it."""

__all__ = ["SNAPSHOTS", "LeakError", "State", "assert_no_leaks", "differences"]
