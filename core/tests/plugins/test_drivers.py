"""Named drivers: one, chosen by name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
from pegboard.config import load as load_config
from pegboard.errors import DriverCollisionError, DriverLoadError, DriverMissingError
from pegboard.plugins.host import PluginHost
from pegboard_testing import PluginDist, startup_imports

Install = Callable[..., PluginDist]
CODE = "class Store:\n    def __init__(self, ctx):\n        self.ctx = ctx\n"


class StartHost(Protocol):
    async def __call__(self, *installed: str, **options: Any) -> PluginHost: ...


@pytest.fixture
def install(plugin_dist: Install) -> Callable[..., PluginDist]:
    """A distribution with a driver and no plugin."""

    def put(dist: str, driver: str, code: str = CODE) -> PluginDist:
        package = dist.replace("-", "_")
        points = {"pegboard.drivers.store": {driver: f"{package}.plugin:Store"}}
        return plugin_dist(None, {"plugin.py": code}, dist=dist, entry_points=points)

    return put


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Loads a store driver, stevedore included."""
    from pegboard.plugins.drivers import load_driver

    return lambda name: load_driver("store", name)


def test_a_driver_is_loaded_by_its_name(install: Any, load: Any) -> None:
    """And no other is imported."""
    install("my-one", "one")
    install("my-two", "two", "raise ImportError")

    assert load("one").__module__ == "my_one.plugin"
    assert "my_two.plugin" not in sys.modules


def test_a_driver_that_was_installed_a_moment_ago_is_found(install: Any, load: Any) -> None:
    """Within the same second, in the same process; stevedore's own caches would not see it."""
    install("my-one", "one")
    load("one")

    install("my-two", "two")

    assert load("two").__module__ == "my_two.plugin"


def test_stevedore_writes_no_cache(install: Any, load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files can be stale for two minutes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    install("my-one", "one")

    load("one")

    assert not (tmp_path / "cache").exists()


def test_a_missing_driver_has_a_near_name(install: Any, load: Any) -> None:
    """And the command that sets it."""
    install("my-one", "sqlite")

    with pytest.raises(DriverMissingError, match="did you mean `sqlite`") as caught:
        load("sqllite")
    assert caught.value.hint == "peg config set drivers.store sqlite"


def test_two_drivers_of_one_name_collide(install: Any, load: Any) -> None:
    """Both distributions are named, and neither is imported."""
    install("my-one", "one")
    install("my-other", "one")

    with pytest.raises(DriverCollisionError, match=r"my-one 1.0.0 and my-other 1.0.0"):
        load("one")
    assert "my_one.plugin" not in sys.modules


@pytest.mark.parametrize("code", ["raise ImportError('no db')", "raise SystemExit('no db')", "x = 'no db'"])
def test_a_broken_driver_is_named(install: Any, load: Any, code: str) -> None:
    """With its distribution."""
    install("my-one", "one", code)

    with pytest.raises(DriverLoadError, match=r"`one` of my-one 1.0.0") as caught:
        load("one")
    assert caught.value.dist == "my-one"


async def test_the_host_makes_the_configured_driver_once(start_host: StartHost, install: Any) -> None:
    """With a context; `ctx.driver(kind)` gives the same one."""
    install("my-one", "one")
    host = await start_host("none", config=load_config(host={"drivers": {"store": "one"}}, environ={}))

    store = host.driver("store")

    assert host.driver("store") is store
    assert host.context().driver("store") is store
    assert store.ctx.plugin == "pegboard"


async def test_a_driver_gets_the_context_of_its_plugin(start_host: StartHost, plugin_dist: Install) -> None:
    """So it has that plugin's settings and permissions."""
    plugin_dist(
        {
            "id": "demo",
            "entry": "pegboard_demo.plugin:Store",
            "contributes": {"drivers": [{"kind": "store", "name": "d"}]},
        },
        {"plugin.py": CODE},
        entry_points={
            "pegboard.plugins": {"demo": "pegboard_demo"},
            "pegboard.drivers.store": {"d": "pegboard_demo.plugin:Store"},
        },
    )
    host = await start_host("demo")

    assert host.driver("store", "d").ctx.plugin == "demo"


async def test_a_driver_of_a_disabled_plugin_is_not_there(start_host: StartHost, plugin_dist: Install) -> None:
    """What may not run is not loaded by another door."""
    plugin_dist(
        {"id": "demo", "contributes": {"drivers": [{"kind": "store", "name": "d"}]}},
        {"plugin.py": CODE},
        entry_points={
            "pegboard.plugins": {"demo": "pegboard_demo"},
            "pegboard.drivers.store": {"d": "pegboard_demo.plugin:Store"},
        },
    )
    host = await start_host("other")

    with pytest.raises(DriverMissingError):
        host.driver("store", "d")
    assert "pegboard_demo.plugin" not in sys.modules


async def test_no_driver_is_said(start_host: StartHost) -> None:
    """Nothing is installed that could be chosen."""
    host = await start_host()

    assert not host.has_driver("store")
    with pytest.raises(DriverMissingError, match="no store driver is installed"):
        host.driver("store")


async def test_the_only_driver_needs_no_setting(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was installed is used."""
    install("my-one", "one")
    monkeypatch.setenv("PEGBOARD_DISABLE_PLUGINS", "sqlite")
    host = PluginHost(autoload=True)
    await host.start()

    assert host.driver("store").ctx is not None
    await host.stop()


async def test_of_several_drivers_one_must_be_chosen(install: Any) -> None:
    """Nobody guesses where runs are kept; the setting is named."""
    install("my-one", "one")
    install("my-two", "two")
    host = PluginHost(autoload=True)
    await host.start()

    with pytest.raises(DriverMissingError, match="several store drivers") as caught:
        host.driver("store")
    assert caught.value.hint == "peg config set drivers.store one"
    await host.stop()


async def test_a_driver_is_closed_with_the_board(install: Any) -> None:
    """One that has an `aclose`."""
    install("my-one", "one", CODE + "    async def aclose(self):\n        self.closed = True\n")
    host = PluginHost(autoload=True)
    await host.start()
    driver = host.driver("store", "one")
    await host.stop()

    assert driver.closed


def test_stevedore_is_not_imported_with_the_host() -> None:
    """Only when a driver is asked for."""
    startup_imports("import pegboard.plugins.host", forbidden=("stevedore",))
