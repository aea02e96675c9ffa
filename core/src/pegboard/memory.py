"""The store of a board that has none: runs and large outputs in memory, for as long as the process lives."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from pegboard.errors import RunBusyError, RunNotFoundError
from pegboard.events import Event
from pegboard.interfaces import RunRow, StepRecord
from pegboard.lazy import LazyModule

if TYPE_CHECKING:
    import hashlib
else:
    hashlib = LazyModule("hashlib")  # not before the first blob


def blob_ref(data: bytes) -> str:
    """The handle of a blob, derived from its content."""
    return f"blob-{hashlib.sha256(data).hexdigest()[:32]}"


class MemoryStore:
    """A `Store` that forgets with the process: for tests, and as the reference that other stores are compared with."""

    durable = False

    def __init__(self, keep: int = 256) -> None:
        self._keep = keep
        self._runs: OrderedDict[str, tuple[RunRow, list[Event], dict[str, StepRecord]]] = OrderedDict()
        self._blobs: dict[str, bytes] = {}

    async def append(
        self, row: RunRow, events: Sequence[Event], steps: Sequence[StepRecord], *, barrier: bool = False
    ) -> None:
        _, known, records = self._runs.get(row.run, (row, [], {}))
        if events and events[0].seq != len(known):
            raise RunBusyError(f"run `{row.run}` was written by somebody else at event {len(known)}")
        known.extend(events)
        records.update({record.step: record for record in steps})
        self._runs[row.run] = (row, known, records)
        while len(self._runs) > self._keep:
            self._runs.popitem(last=False)

    async def load(self, run: str) -> tuple[RunRow, Sequence[Event], Sequence[StepRecord]]:
        if run not in self._runs:
            raise RunNotFoundError(f"no run `{run}`", hint="peg help run.not_found")
        row, events, steps = self._runs[run]
        return row, list(events), list(steps.values())

    async def runs(
        self, *, root: str | None = None, prefix: str | None = None, roots: bool = False, limit: int = 100
    ) -> Sequence[RunRow]:
        rows = [row for row, _, _ in reversed(self._runs.values()) if root is None or row.root == root]
        rows = [row for row in rows if not roots or row.root == row.run]
        if prefix is not None:
            rows = sorted((row for row in rows if row.run.startswith(prefix)), key=lambda row: row.run)
        return [msgspec.structs.replace(row, input=None) for row in rows[:limit]]

    async def put_blob(self, data: bytes) -> str:
        ref = blob_ref(data)
        self._blobs[ref] = data
        return ref

    async def get_blob(self, ref: str, start: int = 0, size: int | None = None) -> bytes:
        if ref not in self._blobs:
            raise RunNotFoundError(f"no blob `{ref}`", hint="peg help run.not_found")
        data = self._blobs[ref]
        return data[start:] if size is None else data[start : start + size]
