"""`Tape`: writes a cassette while something is recorded, and is the clock of what is recorded.

What comes from outside comes one at a time, and what it sets off comes to rest before the next. So a replay, which has
the same things come in the same order, sees the same.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from time import monotonic, time
from typing import IO, Final

import msgspec
from pegboard.types import JsonObject

from pegboard_replay.cassette import CASSETTE_VERSION, Entry, ModelEntry, RequestEntry, SleepEntry, shortened, sleep_key
from pegboard_replay.clock import SteppedClock
from pegboard_replay.requests import Forms

SETTLE_STEPS: Final = 64
"""Rounds of the event loop after which what was set off has come to rest. A dozen would do; a round costs some µs."""
_TAIL: Final = b"\n ]\n}\n"


async def settle() -> None:
    """Let what was set off come to rest, as far as it waits for nothing from outside."""
    for _ in range(SETTLE_STEPS):
        await asyncio.sleep(0)


class Tape(SteppedClock):
    """A cassette that is being written to `path`, which is replaced when the first thing is put on it.

    Each entry is appended in place, and the file is whole JSON after each: a run that breaks off leaves what there was,
    and a long one costs no more for each entry than a short one.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(round(time(), 6))
        self.path = Path(path)
        self.came = 0
        """How many things have come."""
        self.forms = Forms()
        self._at = 0.0
        self._since = 0.0
        self._pending = 0
        self._turn: asyncio.Lock | None = None
        self._counts: dict[str, int] = {}
        self._requests = 0
        self._bases: dict[str, tuple[int, JsonObject]] = {}
        """The last request of each run, and which one it was."""
        self._models: set[ModelEntry] = set()
        self._file: IO[bytes] | None = None

    # --- the clock

    async def sleep(self, seconds: float) -> None:
        """Wait, and keep that it came to its end; a timer that is cancelled is none of what a run was given."""
        self._wait()
        try:
            await asyncio.sleep(seconds)
        except BaseException:
            self.leave()
            raise
        n = self._count(sleep_key(seconds))
        await self.arrive(lambda at: SleepEntry(seconds=seconds, n=n, at=at))

    # --- what comes

    def begin(self, key: str) -> int:
        """Something is waited for; which one of its key it is. Each is followed by `arrive`, `put` or `leave`."""
        self._wait()
        return self._count(key)

    async def arrive(self, entry: Callable[[float], Entry]) -> None:
        """It has come: wait until what came before has come to rest, move the clock, and keep the entry of now."""
        if self._turn is None:
            self._turn = asyncio.Lock()
        try:
            async with self._turn:
                await settle()
                now = monotonic()
                self._at = round(self._at + now - self._since, 6)
                self._since = now
                self.came += 1
                self.move(self._at)
                came = entry(self._at)
        except asyncio.CancelledError:  # before its turn: whoever waits for it does not get it
            self.put(msgspec.structs.replace(entry(0.0), cut=True))
            raise
        self.put(came)

    def put(self, entry: Entry) -> None:
        """Keep an entry."""
        if getattr(entry, "key", None) is not None:
            self.leave()
        self._append(msgspec.json.format(msgspec.json.encode(entry, order="sorted"), indent=1))

    def model(self, model: ModelEntry) -> None:
        """Keep what is known of a model, once."""
        if model not in self._models:
            self._models.add(model)
            self.put(model)

    def leave(self) -> None:
        """Something is not waited for any more."""
        self._pending -= 1

    def request(self, run: str, form: JsonObject, digest: str) -> RequestEntry:
        """The entry of a request, as short as what came before it in its run allows."""
        base = self._bases.get(run)
        request, same = shortened(form, None if base is None else base[1])
        self._bases[run] = self._requests, form
        self._requests += 1
        return RequestEntry(digest=digest, request=request, base=None if base is None else base[0], same=same)

    def _wait(self) -> None:
        if not self._pending:
            self._since = monotonic()
        self._pending += 1

    def _count(self, key: str) -> int:
        n = self._counts[key] = self._counts.get(key, 0) + 1
        return n

    # --- the file

    def _append(self, entry: bytes) -> None:
        # In the event loop: an entry is small, and a thread would outlive the test that records.
        text = b"\n  " + entry.replace(b"\n", b"\n  ") + _TAIL
        if self._file is None:
            self._begin(text)
            return
        self._file.seek(-len(_TAIL), os.SEEK_END)
        self._file.write(b"," + text)

    def _begin(self, text: bytes) -> None:
        """Replace the file whole or not at all. From then on it stays open: others may not know that it is ours."""
        head = f'{{\n "pegboard_cassette": {CASSETTE_VERSION},\n "started": {self.started!r},\n "entries": ['.encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        file = os.fdopen(descriptor, "r+b", buffering=0)
        weakref.finalize(self, file.close)
        try:
            file.write(head + text)
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        self._file = file


__all__ = ["SETTLE_STEPS", "Tape", "settle"]
