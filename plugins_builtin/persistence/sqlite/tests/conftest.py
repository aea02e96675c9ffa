"""Stores on one file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pegboard_sqlite import SqliteStore

OpenStore = Callable[..., SqliteStore]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file."""
    return tmp_path / "store.db"


@pytest_asyncio.fixture
async def open_store(path: Path) -> AsyncIterator[OpenStore]:
    """Makes stores on the file, and closes them at the end."""
    made: list[SqliteStore] = []

    def opened(**options: Any) -> SqliteStore:
        made.append(SqliteStore(options.pop("path", path), **options))
        return made[-1]

    yield opened
    for store in made:
        await store.aclose()


@pytest.fixture
def store(open_store: OpenStore) -> SqliteStore:
    """A store."""
    return open_store()
