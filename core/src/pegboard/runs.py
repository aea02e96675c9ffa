"""The runs of a board: those under way and the last that ended, so that they can be watched, messaged and resumed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import msgspec

from pegboard.errors import JournalCorruptError, RunBusyError, RunNotFoundError
from pegboard.interfaces import RunRow
from pegboard.journal import Journal
from pegboard.run import Run, RunServices
from pegboard.types import Message, Principal, ResourceLimits, message_from_json

KEPT = 32
"""How many ended runs are remembered; with 256 each new run costs a tenth more, since the memory that the oldest one
frees has left the processor's caches by then."""


class Runs:
    """Every run of a board by its id, from when it begins until it is forgotten."""

    def __init__(self, services: RunServices) -> None:
        self._services = services
        self._active: dict[str, Run] = {}
        self._ended: OrderedDict[str, Run] = OrderedDict()

    @property
    def running(self) -> Sequence[str]:
        """The runs that are under way."""
        return tuple(self._active)

    @property
    def live(self) -> int:
        """How many are under way."""
        return len(self._active)

    def find(self, run: str) -> Run:
        """A run that is under way or ended lately. Raises `RunNotFoundError`."""
        found = self._active.get(run) or self._ended.get(run)
        if found is None:
            raise RunNotFoundError(f"no run `{run}` on this board")
        return found

    def ended(self, run: str) -> Run | None:
        """A run that ended lately."""
        return self._ended.get(run)

    def check_free(self, run: str) -> None:
        """Raises `RunBusyError` while a run of this id is under way."""
        if run in self._active:
            raise RunBusyError(f"run `{run}` is running", hint="peg help run.busy", run=run)

    def check_new(self, run: str) -> None:
        """Raises `RunBusyError` when a run of this id was started before; a store refuses it in other processes too."""
        self.check_free(run)
        if run in self._ended:
            raise RunBusyError(f"run `{run}` was started before", hint=f"peg runs resume {run}", run=run)

    async def earlier(self, run: str) -> Journal | None:
        """What an earlier life of a run recorded, here or in the store."""
        if run in self._ended:
            return self._ended[run].journal.again()
        if self._services.store is None:
            return None
        try:
            return await Journal.load(self._services.store, run, self._services.clock)
        except RunNotFoundError:
            return None

    def tracking(self, run: Run) -> AbstractContextManager[None]:
        """Let a run be seen, messaged and cancelled while it lasts, and be resumed afterwards."""
        return _Tracking(self, run)

    def began(self, run: Run) -> None:
        """From now on the run is under way."""
        self._active[run.run] = run
        self._ended.pop(run.run, None)

    def has_ended(self, run: Run) -> None:
        """From now on the run is one of the last that ended; the oldest of those is forgotten."""
        self._active.pop(run.run, None)
        self._ended[run.run] = run
        if len(self._ended) > KEPT:
            self._ended.popitem(last=False)
        if run.ended is not None:
            run.ended.set()

    async def cancel(self, run: str, reason: str | None) -> None:
        """Ask a run to stop and wait until it has; nothing happens to one that is over."""
        found = self.find(run)
        if run not in self._active or found.is_over:
            return
        found.ended = found.ended or asyncio.Event()
        if not found.cancel.cancelled:  # once: a second one would cut its closing short
            found.cancel.cancelled, found.cancel.reason = True, reason
            if found.driver is not None:
                found.driver.cancel()
        if found.driver is not asyncio.current_task():
            await found.ended.wait()

    def send(self, run: str, message: str | Message) -> None:
        """Queue a message into a run that is under way. Raises `RunNotFoundError`."""
        found = self._active.get(run)
        if found is None:
            raise RunNotFoundError(f"run `{run}` is not running")
        found.inbox.append(Message.user(message) if isinstance(message, str) else message)


class _Tracking:
    """A run is under way inside of it. By hand, since every run has one and a generator costs three times as much."""

    __slots__ = ("_run", "_runs")

    def __init__(self, runs: Runs, run: Run) -> None:
        self._runs = runs
        self._run = run

    def __enter__(self) -> None:
        self._runs.began(self._run)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runs.has_ended(self._run)


def inputs_of(row: RunRow) -> tuple[Any, dict[str, Any]]:
    """The input of a run as it was recorded, and the options that it was started with.

    Raises:
        JournalCorruptError: it is not recorded, since it could not be redacted.
    """
    if not isinstance(row.input, dict) or "options" not in row.input:
        raise JournalCorruptError(
            f"what run `{row.run}` was asked is not in the store: it could not be redacted", hint="peg plugins doctor"
        )
    messages: Any = row.input["messages"]
    inputs = row.input["inputs"] if messages is None else list(map(message_from_json, messages))
    options = dict(row.input["options"])
    options["principal"] = msgspec.convert(options["principal"], Principal)
    options["limits"] = msgspec.convert(options["limits"], ResourceLimits | None)
    return inputs, {"history": list(map(message_from_json, row.input["history"])), **options}
