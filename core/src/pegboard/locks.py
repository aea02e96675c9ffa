"""Locks on resources that tool calls declare, shared by all runs of a tree.

First come, first served: a call that must wait also holds back later ones, so nobody starves. A child run may use what
the calls of its ancestors hold, or a tool that starts a child would wait for itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

Keys = frozenset[str] | None
"""`None` excludes every other call."""


class Holder(Protocol):
    """A run, as far as locks are concerned."""

    def descends_from(self, other: Holder) -> bool:
        """Whether `other` is a proper ancestor."""


class ResourceLocks:
    """Which call of a run tree holds what."""

    __slots__ = ("_held", "_waiting")

    def __init__(self) -> None:
        self._held: list[tuple[Keys, Holder]] = []
        self._waiting: deque[tuple[Keys, Holder, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, keys: Keys, holder: Holder) -> AsyncIterator[None]:
        """Hold `keys` for the length of a block."""
        entry = (keys, holder)
        if self._free(keys, holder) and (not self._waiting or self._works_for_a_holder(holder)):
            self._held.append(entry)
        else:
            await self._queue(entry)
        try:
            yield
        finally:
            self._held.remove(entry)
            self._wake()

    async def _queue(self, entry: tuple[Keys, Holder]) -> None:
        future = asyncio.get_running_loop().create_future()
        item = (*entry, future)
        self._waiting.append(item)
        try:
            await future
        except asyncio.CancelledError:
            if item in self._waiting:
                self._waiting.remove(item)
            else:
                self._held.remove(entry)
            self._wake()
            raise

    def _free(self, keys: Keys, holder: Holder) -> bool:
        return not any(_clash(keys, held) and not holder.descends_from(who) for held, who in self._held)

    def _works_for_a_holder(self, holder: Holder) -> bool:
        # It must not wait behind somebody who waits for its own ancestor.
        return any(holder.descends_from(who) for _, who in self._held)

    def _wake(self) -> None:
        blocked = False
        for item in list(self._waiting):
            keys, holder, future = item
            if self._free(keys, holder) and (not blocked or self._works_for_a_holder(holder)):
                self._waiting.remove(item)
                self._held.append((keys, holder))
                future.set_result(None)
            else:
                blocked = True


def _clash(a: Keys, b: Keys) -> bool:
    return True if a is None or b is None else not a.isdisjoint(b)
