"""What tests of the plugin host share: a home of their own, and hosts that are stopped at the end."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
from pegboard.plugins.host import PluginHost


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of pegboard's own, so that no test reads or writes the person's."""
    folder = tmp_path / "home"
    monkeypatch.setenv("PEGBOARD_HOME", str(folder))
    for name in [name for name in os.environ if name.startswith("PEGBOARD_") and name != "PEGBOARD_HOME"]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return folder


class StartHost(Protocol):
    """The fixture `start_host`."""

    async def __call__(self, *installed: str, **options: Any) -> PluginHost:
        """A started host that sees, of what is installed, these plugins."""


@pytest_asyncio.fixture
async def start_host(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StartHost]:
    """Starts hosts; each is stopped at the end of the test."""
    async with AsyncExitStack() as stack:

        async def start(*installed: str, **options: Any) -> PluginHost:
            monkeypatch.setenv("PEGBOARD_PLUGINS", ",".join(installed))
            host = PluginHost(autoload=bool(installed), **options)
            await host.start()
            stack.push_async_callback(host.stop)
            return host

        yield start


@pytest.fixture
def age() -> Callable[[Path], None]:
    """Makes a folder and all in it look an hour older, so that a cache written now may trust it."""

    def older(folder: Path) -> None:
        for path in (folder, *folder.rglob("*")):
            stat = path.stat()
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - 3600 * 10**9))

    return older
