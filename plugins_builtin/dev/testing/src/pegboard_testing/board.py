"""Boards for tests: opened on demand, closed at the end of the test, with nothing discovered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

from pegboard import Pegboard


class MakeBoard(Protocol):
    """The fixture `make_board`."""

    async def __call__(self, **options: Any) -> Pegboard:
        """An open board; `options` are those of `Pegboard`."""


@asynccontextmanager
async def board_maker() -> AsyncIterator[MakeBoard]:
    """Makes boards and closes them, the newest first."""
    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> Pegboard:
            return await stack.enter_async_context(Pegboard(**options))

        yield make


__all__ = ["MakeBoard", "board_maker"]
