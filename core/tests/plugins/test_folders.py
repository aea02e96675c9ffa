"""Folders are computed from the environment, and are those of platformdirs."""

from __future__ import annotations

import platformdirs
import pytest
from pegboard import folders

_ENVIRONMENTS = {
    "plain": {"HOME": "/home/ada"},
    "xdg": {"HOME": "/home/ada", "XDG_CACHE_HOME": "/c", "XDG_CONFIG_HOME": "/k", "XDG_DATA_HOME": "/d"},
    "relative-xdg": {"HOME": "/home/ada", "XDG_CACHE_HOME": "c", "XDG_CONFIG_HOME": "", "XDG_DATA_HOME": "."},
    "slash": {"HOME": "/home/ada/"},
    "no-home": {},
    "relative-home": {"HOME": "ada"},
    "site": {"HOME": "/home/ada", "XDG_CONFIG_DIRS": "relative:/one:/two"},
}


@pytest.fixture(params=_ENVIRONMENTS.values(), ids=list(_ENVIRONMENTS))
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the environments, and nothing else that decides about folders."""
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CONFIG_DIRS", "PEGBOARD_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("environment")
def test_folders_are_those_of_platformdirs() -> None:
    """The same places that other programs and people expect."""
    ours = (folders.cache_dir(), folders.config_dir(), folders.data_dir(), folders.system_config_dir())

    assert ours == (
        platformdirs.user_cache_dir("pegboard"),
        platformdirs.user_config_dir("pegboard"),
        platformdirs.user_data_dir("pegboard"),
        platformdirs.site_config_dir("pegboard"),
    )


def test_pegboard_home_moves_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests, and for installations that are carried around."""
    monkeypatch.setenv("PEGBOARD_HOME", "/stick")

    found = (folders.cache_dir(), folders.config_dir(), folders.data_dir(), folders.system_config_dir())

    assert found == ("/stick/cache", "/stick/config", "/stick/data", "/stick/system")


def test_environments_do_not_share_a_key() -> None:
    """Grants and quarantine of one Python environment are not those of another."""
    assert folders.environment_key("/a/.venv") != folders.environment_key("/b/.venv")
