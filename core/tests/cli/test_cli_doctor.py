"""`peg doctor`: findings beyond those of plugins, each with the command that mends it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pegboard.plugins.discovery.state import StateFile


def findings(peg: Any, *arguments: str, **environment: str) -> dict[str, str]:
    """Status by what was found."""
    data = peg.json("doctor", *arguments, **environment)["data"]
    return {item["what"]: item["status"] for item in data["findings"]}


def status(found: dict[str, str], part: str) -> str:
    """The status of the finding that has these words."""
    return next(value for what, value in found.items() if part in what)


@pytest.fixture
def port() -> Iterator[int]:
    """A port of this machine that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_network_is_only_touched_when_asked(peg: Any, site: Any, port: int) -> None:
    """With `--network` the hosts that plugins name are tried; without it they are not mentioned."""
    hosts = [f"127.0.0.1:{port}", "127.0.0.1:1", "*.example.org:443"]
    site.plugin("remote", {"permissions": {"net": hosts}})
    found = findings(peg, "--network")

    assert status(found, f"127.0.0.1:{port} can be reached") == "ok"
    assert status(found, "127.0.0.1:1 cannot be reached") == "warn"
    assert not any("can be reached" in what for what in findings(peg))


def test_deep_tries_every_plugin(peg: Any, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--deep` each plugin is activated, and one that cannot be is a `fail` with exit code 3."""
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    site.plugin("ill", {}, {"plugin.py": "raise ValueError('no')"})
    result = peg("doctor", "--deep")

    assert result.exit_code == 3
    assert "plugin `ill` cannot be activated" in result.stdout
    assert "plugin `console` can be activated" in result.stdout


def test_deep_asks_plugins_for_their_health(peg: Any, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--deep` what plugins find about themselves is shown too."""
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    code = (
        "from pegboard import hookimpl\nfrom pegboard.types import HealthFinding\n\n\nclass Plugin:\n"
        "    @hookimpl\n    def check_health(self, ctx):\n"
        "        return [HealthFinding(status='warn', what='the disk is nearly full', fix='rm')]\n"
    )
    site.plugin("disk", {"hooks": {"check_health": {}}}, {"plugin.py": code})

    assert findings(peg, "--deep")["the disk is nearly full"] == "warn"


def test_a_plugin_that_cannot_say_how_it_is_is_a_fault(peg: Any, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--deep` a health check that fails is a `fail` itself."""
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    code = (
        "from pegboard import hookimpl\n\n\nclass Plugin:\n"
        "    @hookimpl\n    def check_health(self, ctx):\n        raise ValueError('ill')\n"
    )
    site.plugin("disk", {"hooks": {"check_health": {}}}, {"plugin.py": code})

    result = peg("doctor", "--deep")

    assert result.exit_code == 3
    assert "plugin `disk` failed when it was asked for its health (`hook.failed`)" in result.stdout


def test_a_board_that_cannot_be_opened_is_a_fault(
    peg: Any, site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `--deep`, and what was found before is said all the same."""
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    monkeypatch.setenv("PEGBOARD__PLUGINS__SQLITE__PATH", "~nobody-of-this-name/store.db")

    found = findings(peg, "--deep")

    assert status(found, "no board can be opened: the store cannot be at `~nobody-of-this-name") == "fail"
    assert status(found, "plugin `console` can be activated") == "ok"


def test_missing_driver_is_found(peg: Any) -> None:
    """A driver that the settings name and nobody has is a `fail`."""
    peg("config", "set", "drivers.store", "nothing")

    assert status(findings(peg), "driver `nothing` for `store` is not installed") == "fail"


def test_folder_that_cannot_be_made_is_found(peg: Any, tmp_path: Path) -> None:
    """A folder that cannot be written is a warning, and the doctor goes on."""
    (tmp_path / "file").write_text("")
    found = findings(peg, PEGBOARD_HOME=str(tmp_path / "file"))

    assert status(found, "the cache folder") == "warn"


def test_permissions_that_grew_are_found(peg: Any, site: Any) -> None:
    """A plugin that asks for more than it was granted is a warning with the command that grants."""
    made = site.plugin("grows", {"permissions": {"exec": ["git"]}})
    peg("plugins", "grant", "grows", "--yes")
    made.write("pegboard.toml", made.manifest.read_text().replace('["git"]', '["git", "rm"]'))

    assert status(findings(peg), "asks for other permissions than it was granted") == "warn"


def test_leftovers_of_permissions_are_found_and_removed(peg: Any, site: Any) -> None:
    """Permissions of a distribution that is gone are found, and `revoke` removes them."""
    made = site.plugin("gone", {"permissions": {"exec": ["git"]}})
    peg("plugins", "grant", "gone", "--yes")
    made.remove()
    assert status(findings(peg), "plugin `gone` is gone and its permissions are still there") == "warn"

    assert peg("plugins", "revoke", "gone").exit_code == 0
    assert not any("`gone`" in what for what in findings(peg))


def test_revoked_permissions_are_told(peg: Any, site: Any) -> None:
    """A plugin without the permissions that it asks for is a warning."""
    site.plugin("poor", {"permissions": {"exec": ["git"]}})
    peg("plugins", "revoke", "poor")

    assert status(findings(peg), "has no permissions") == "warn"


def test_contradicting_wishes_are_found(peg: Any, site: Any) -> None:
    """Plugins that each want to be after the other are found, with the command that shows the order."""
    site.plugin("one", {"hooks": {"authorize": {"after": ["two"]}}})
    site.plugin("two", {"hooks": {"authorize": {"after": ["one"]}}})

    assert status(findings(peg), "hook `authorize`: the wishes of") == "warn"
    assert "contradict one another" in peg("plugins", "order", "authorize").stdout


def test_a_name_given_to_nobody_is_found(peg: Any) -> None:
    """An override for a distribution that is not installed is a warning."""
    peg("config", "set", 'overrides."tool:x"', "pegboard-nobody")

    assert status(findings(peg), "`tool:x` is given to `pegboard-nobody`") == "warn"


def test_unreadable_state_is_found(peg: Any) -> None:
    """A file of remembered states that cannot be read is a `fail`, and the commands still work."""
    path = Path(StateFile().path or "")
    path.parent.mkdir(parents=True)
    path.write_text("{")

    assert status(findings(peg), "is not JSON") == "fail"
    assert peg("plugins", "list").exit_code == 0


def test_unmet_requirements_are_found(peg: Any, site: Any) -> None:
    """A requirement of a plugin's distribution that does not hold is a warning."""
    site.plugin("needy", {}, requires=["click>=99"])

    assert status(findings(peg), "needs `click>=99`") == "warn"


def test_a_model_that_nobody_makes_is_found(peg: Any, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configured model that no installed plugin makes is a warning; scripted models are not chosen for `auto`."""
    monkeypatch.setenv("PEGBOARD_DISABLE_PLUGINS", "anthropic,gemini,local,openai")
    (finding,) = [item for item in peg.json("doctor")["data"]["findings"] if item["what"].startswith("no model: ")]
    assert finding == {
        "status": "warn",
        "what": "no model: `auto` finds none",
        "fix": "peg config set model scripted:demo",
    }

    assert status(findings(peg, PEGBOARD__MODEL="zzz:yyy"), "no model: no installed plugin knows `zzz:yyy`") == "warn"
    site.plugin("cloud", {"hooks": {"provide_model": {}}, "contributes": {"models": [{"name": "cloud"}]}})
    assert not any("no model" in what for what in findings(peg))
    assert not any("no model" in what for what in findings(peg, PEGBOARD__MODEL="scripted:demo"))


def test_the_doctor_of_plugins_can_go_deep(peg: Any, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`peg plugins doctor --deep` activates each plugin too."""
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    site.plugin("ill", {}, {"plugin.py": "raise ValueError('no')"})

    assert peg("plugins", "doctor").exit_code == 0
    assert "plugin `ill` cannot be activated" in peg("plugins", "doctor", "--deep").stdout
