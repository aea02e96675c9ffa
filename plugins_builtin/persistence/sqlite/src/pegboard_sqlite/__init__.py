"""Runs, blobs and conversations of pegboard in one SQLite file."""

from __future__ import annotations

from pegboard_sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
