"""The promises of every store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from pegboard_sqlite import SqliteStore
from pegboard_testing.conformance.roles import ConversationStoreSuite, StoreControlSuite, StoreSuite


class TestSqliteStore(StoreSuite, StoreControlSuite, ConversationStoreSuite):
    @pytest_asyncio.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqliteStore]:  # type: ignore[override]  # a fixture
        store = SqliteStore(tmp_path / "store.db")
        yield store
        await store.aclose()


class TestFullySynced(StoreSuite):
    @pytest_asyncio.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqliteStore]:  # type: ignore[override]  # a fixture
        store = SqliteStore(tmp_path / "store.db", synchronous="full")
        yield store
        await store.aclose()
