"""The processes that try and describe plugins, seen from inside; their faults are answers and never ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pegboard.plugins.authoring import describe
from pegboard.plugins.discovery.state import StateFile
from pegboard.plugins.packages import installer, probe, throwaway


@pytest.fixture
def on_pythonpath(site: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A site that child processes see too."""
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    return site


def test_probe_of_a_plugin_that_works(on_pythonpath: Any) -> None:
    """A plugin that can be activated is said to work."""
    on_pythonpath.plugin("sound", {"hooks": {}})

    assert installer.probe("sound")["ok"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        pytest.param("raise ValueError('no')", "could not be imported: ValueError: no", id="raise"),
        pytest.param("import os; os._exit(5)", "ended the process with 5", id="exit"),
        pytest.param("import time; time.sleep(60)", "did not return within 2 s", id="hang"),
        pytest.param("import subprocess; subprocess.run(['sleep', '60'])", "did not return within 2 s", id="child"),
    ],
)
def test_probe_of_a_plugin_that_does_not(on_pythonpath: Any, code: str, told: str) -> None:
    """However a plugin fails, the answer says how, and nothing is waited for longer than allowed."""
    on_pythonpath.plugin("ill", {}, {"plugin.py": code})

    assert told in installer.probe("ill", limit_s=2.0)["reason"]


def test_probe_leaves_no_mark(on_pythonpath: Any) -> None:
    """A trial grants nothing and counts as no start: nothing is remembered of it, also when it kills the process."""
    on_pythonpath.plugin("killer", {}, {"plugin.py": "import os; os._exit(5)"})
    installer.probe("killer")

    assert not Path(StateFile().path or "").exists()


def test_probe_takes_what_a_plugin_requires(site: Any) -> None:
    """A plugin is tried together with what it requires, and with nothing else."""
    site.plugin("base", {"provides": ["ground"]})
    site.plugin("middle", {"requires": ["base"]})
    site.plugin("top", {"requires": ["middle", "cap:ground"]})
    site.plugin("other", {})

    assert probe.needed("top") == {"top", "middle", "base"}


async def test_probe_tells_what_activation_raised(site: Any) -> None:
    """A fault of the plugin is the answer, not an exception."""
    site.plugin("ill", {}, {"plugin.py": "raise ValueError('no')"})
    answer = await probe.probe("ill")

    assert (answer["ok"], "no" in answer["reason"]) == (False, True)


def test_describe_lists_hooks_and_tools(site: Any) -> None:
    """What the code of a plugin offers is found out by asking it."""
    code = (
        "from pegboard import hookimpl, tool\n\n\n"
        "@tool(name='tell.it', effect='pure')\ndef it() -> str:\n    'Tell.'\n\n\n"
        "class Plugin:\n    async def activate(self, ctx):\n        self.ready = True\n\n"
        "    @hookimpl\n    async def provide_tools(self):\n        return [it] if self.ready else []\n\n"
        "    @hookimpl(band=-60)\n    def authorize(self, action):\n        return None\n"
    )
    site.plugin("tell", {}, {"plugin.py": code})
    found = describe.describe("pegboard_tell.plugin:Plugin")

    assert found["ok"], found
    assert found["hooks"] == {"provide_tools": {}, "authorize": {"band": -60}}
    assert [tool["name"] for tool in found["tools"]] == ["tell.it"]


def test_describe_tells_what_the_code_raised(site: Any) -> None:
    """Code that cannot be imported is an answer with the reason."""
    site.plugin("ill", {}, {"plugin.py": "raise SystemExit('no')"})

    assert describe.describe("pegboard_ill.plugin:Plugin")["reason"] == "SystemExit: no"


def test_settings_go_along(peg: Any) -> None:
    """A process that is thrown away reads the settings of the person and has a state of its own."""
    peg("config", "set", "model", "scripted:demo")
    with throwaway.own_home() as environ:
        assert environ["PEGBOARD_HOME"] not in (None, "")
        shown = peg("config", "explain", "model", PEGBOARD_HOME=environ["PEGBOARD_HOME"]).stdout

    assert 'model = "scripted:demo"' in shown
