"""The pytest plugin: fixtures, the network guard, and the options of the conformance suite.

It is loaded in every session of an environment that has this distribution, so it imports nothing by itself: the kit
resolves its names on first use.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

import pegboard_testing as kit

if TYPE_CHECKING:
    from pegboard import Pegboard

_CONFORMANCE = Path(__file__).parent / "conformance"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of `pytest --pyargs pegboard_testing.conformance`."""
    group = parser.getgroup("pegboard")
    group.addoption("--plugin", metavar="DIST", help="plugin or distribution to check for conformance")
    group.addoption(
        "--tier", choices=["bronze", "silver"], default="silver", help="how much to check (default: silver)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "network: may reach beyond this machine")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The conformance suite needs a plugin to check; without one it is no test."""
    if config.getoption("--plugin") is None and collection_path == _CONFORMANCE:
        return True
    return None


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("network") is not None:
        yield
        return
    guard = kit.NetworkGuard()
    with guard.active():
        yield
    if guard.attempts:
        pytest.fail(f"the test tried to reach {', '.join(guard.attempts)}", pytrace=False)


@pytest.fixture
def fake_clock() -> kit.FakeClock:
    """Time that passes only by `advance`."""
    return kit.FakeClock()


@pytest.fixture
def plugin_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that this process and its children import from, for `plugin_dist` and `broken_plugin`."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    with kit.on_path(site):
        yield site


@pytest.fixture
def plugin_dist(plugin_site: Path) -> Callable[..., kit.PluginDist]:
    """Installs a plugin: `plugin_dist(manifest, files, …)`."""
    return partial(kit.plugin_dist, plugin_site)


@pytest.fixture
def broken_plugin(plugin_site: Path) -> kit.BrokenPlugin:
    """Installs a plugin that is broken: `broken_plugin("hook", hook="tool_call")`."""
    return partial(kit.broken_plugin, plugin_site)


@pytest_asyncio.fixture
async def make_board() -> AsyncIterator[kit.MakeBoard]:
    """Opens boards with the options of `Pegboard`; each is closed at the end of the test."""
    async with kit.board_maker() as make:
        yield make


@pytest_asyncio.fixture
async def board(make_board: kit.MakeBoard) -> Pegboard:
    """A board with no plugins."""
    return await make_board()


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> kit.Wheelhouse:
    """Wheels, each built once in a session."""
    return kit.Wheelhouse(tmp_path_factory.mktemp("wheelhouse"))


@pytest.fixture
def installed_host(tmp_path: Path, wheelhouse: kit.Wheelhouse) -> Callable[..., kit.InstalledHost]:
    """A throw-away environment with the wheels of source trees: `installed_host(core, plugin)`."""

    def make(*sources: Path, requirements: tuple[str, ...] = ()) -> kit.InstalledHost:
        host = kit.InstalledHost(tmp_path / "host")
        host.install(*map(wheelhouse.add, sources), *requirements)
        return host

    return make


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per rule of the tier."""
    if "conformance_rule" not in metafunc.fixturenames:
        return
    rules: list[Any] = kit.rules_of(metafunc.config.getoption("--tier"))
    metafunc.parametrize("conformance_rule", rules, ids=[rule.id for rule in rules])
