"""`peg plugins`: what is told of plugins, switches, the doctor, the lock; all without importing one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pegboard.plugins.discovery import state

MANIFEST = {
    "summary": "Looks at repositories",
    "permissions": {"exec": ["git"]},
    "hooks": {"tool_call": {}, "provide_tools": {}},
    "contributes": {"tools": [{"name": "git.status"}]},
}


@pytest.fixture
def git(site: Any) -> Any:
    """A plugin with a tool, a hook and permissions, whose module must never be imported here."""
    return site.plugin("git", MANIFEST, {"plugin.py": "raise SystemExit('imported')"})


def row(peg: Any, plugin: str = "git") -> dict[str, Any]:
    """What `list` says of one plugin."""
    rows: list[dict[str, Any]] = peg.json("plugins", "list", "--all")["data"]["plugins"]
    return next(found for found in rows if found["id"] == plugin)


@pytest.mark.usefixtures("git")
def test_list_shows_what_is_ready(peg: Any) -> None:
    """`list` shows id, version, state and summary of plugins that can run, and counts the others."""
    peg("plugins", "disable", "replay")
    shown = peg("plugins", "list").stdout

    assert ["git", "1.0.0", "ready", "Looks", "at", "repositories"] in [line.split() for line in shown.splitlines()]
    assert "replay" not in shown
    assert "1 more cannot run now: peg plugins list --all --why" in shown


@pytest.mark.usefixtures("git")
def test_list_why_names_reason_and_fix(peg: Any) -> None:
    """`list --why` gives each state its reason and the command that changes it."""
    peg("plugins", "disable", "git")

    assert "disabled(user)  switched off by the user  peg plugins enable git" in peg("plugins", "list", "--why").stdout


@pytest.mark.usefixtures("git")
def test_info_takes_the_name_of_a_distribution(peg: Any) -> None:
    """Every ID may also be the name of a distribution, however it is written."""
    assert peg.json("plugins", "info", "Pegboard_Git")["data"]["id"] == "git"


@pytest.mark.usefixtures("git")
def test_info_says_what_permissions_mean(peg: Any) -> None:
    """`info` tells what is asked for, and plainly that code in this process could go around it."""
    shown = peg("plugins", "info", "git").stdout

    assert "  exec: git" in shown
    assert "could go around them" in shown


def test_unknown_plugin_is_told_its_neighbour(peg: Any) -> None:
    """A name that nothing has is wrong usage and names the nearest one."""
    result = peg("plugins", "info", "repla")

    assert result.exit_code == 2
    assert "did you mean `replay`?" in result.stderr


@pytest.mark.usefixtures("git")
@pytest.mark.parametrize(("scope", "told"), [("user", "disabled(user)"), ("project", "disabled(project)")])
def test_disable_and_enable_by_scope(peg: Any, scope: str, told: str) -> None:
    """A plugin is switched off for the person or in a folder, and on again by the same scope."""
    assert told in peg("plugins", "disable", "git", "--scope", scope).stdout
    assert "ready" in peg("plugins", "enable", "git", "--scope", scope, "--yes").stdout
    assert row(peg)["state"] == "ready"


@pytest.mark.usefixtures("git")
def test_enable_tells_when_another_switch_holds(peg: Any) -> None:
    """What is switched off elsewhere stays off, and `enable` says so."""
    shown = peg("plugins", "enable", "git", "--yes", PEGBOARD_DISABLE_PLUGINS="git").stdout

    assert "its state is now disabled(environment)" in shown


@pytest.mark.usefixtures("git")
def test_enable_with_a_test_that_fails_leaves_it_off(peg: Any) -> None:
    """`enable --test` tries the plugin in a process of its own; when that fails it stays off."""
    peg("plugins", "disable", "git")
    result = peg("plugins", "enable", "git", "--test", "--yes", PYTHONPATH=str(Path("../site").resolve()))

    assert result.exit_code == 3
    assert "does not work" in result.stderr
    assert row(peg)["state"] == "disabled"


@pytest.mark.usefixtures("git")
def test_grant_and_revoke(peg: Any) -> None:
    """Permissions are granted with consent, and taken back for good."""
    peg("plugins", "grant", "git", "--yes")
    assert peg.json("plugins", "info", "git")["data"]["granted"] == {"exec": ["git"]}

    peg("plugins", "revoke", "git")
    assert peg.json("plugins", "info", "git")["data"]["granted"] is None


@pytest.mark.usefixtures("git")
def test_a_known_plugin_without_a_grant_says_how_to_give_it(peg: Any) -> None:
    """What was uninstalled and came back gets nothing by itself; `list --why` and `info` say so, and what to run."""
    peg("run", "hello", "-m", "scripted:demo")
    assert "no permissions are granted" not in peg("plugins", "list", "--why").stdout
    state.StateFile().forget("git")

    shown = peg("plugins", "list", "--why").stdout
    assert "ready  no permissions are granted  peg plugins grant git" in shown
    assert "no permissions are granted: peg plugins grant git" in peg("plugins", "info", "git").stdout


@pytest.mark.usefixtures("git")
def test_what_was_revoked_stays_revoked(peg: Any) -> None:
    """The next start does not take the plugin for a newcomer and grant again."""
    peg("plugins", "revoke", "git")
    peg("run", "hello", "-m", "scripted:demo")

    assert peg.json("plugins", "info", "git")["data"]["granted"] is None


@pytest.mark.usefixtures("git")
def test_why_tells_who_and_whether(peg: Any) -> None:
    """`why TOOL` names the plugin that has it, and why it is not offered."""
    assert "of plugin `git` (pegboard-git 1.0.0) is offered" in peg("plugins", "why", "git.status").stdout

    peg("plugins", "disable", "git")
    shown = peg("plugins", "why", "git.status").stdout

    assert "not offered: the plugin is disabled" in shown
    assert "fix: peg plugins enable git" in shown


def test_why_of_something_else(peg: Any) -> None:
    """`why` also answers for models, and says when nobody has a name."""
    assert "of plugin `replay`" in peg("plugins", "why", "model:scripted").stdout
    assert "no installed plugin has a tool `nothing`" in peg("plugins", "why", "nothing").stdout


def test_order_is_that_of_bands_and_wishes(peg: Any, site: Any) -> None:
    """`order HOOK` prints the order and the reason of each place."""
    site.plugin("later", {"hooks": {"authorize": {"after": ["zeal"]}}})
    site.plugin("first", {"hooks": {"authorize": {"band": -60}}})
    site.plugin("zeal", {"hooks": {"authorize": {}}})
    rows = peg.json("plugins", "order", "authorize")["data"]["rows"]

    assert [item["plugin"] for item in rows] == ["first", "zeal", "later"]
    assert "after `zeal`" in rows[2]["reasons"]


def test_doctor_is_content_with_sound_plugins(peg: Any) -> None:
    """With nothing wrong the exit code is 0."""
    assert peg("plugins", "doctor").exit_code == 0


@pytest.mark.parametrize(
    ("manifest", "code", "told"),
    [
        pytest.param({"api": ">=9"}, 3, "needs the hook API >=9", id="api"),
        pytest.param({"nonsense": 1}, 3, "unknown key", id="schema"),
        pytest.param({"requires": ["audit"]}, 3, "requires `audit`, which is not installed", id="requires"),
    ],
)
def test_doctor_names_the_fix(peg: Any, site: Any, manifest: dict[str, Any], code: int, told: str) -> None:
    """A plugin that cannot run is a `fail` with its reason and a command, and exit code 3."""
    site.plugin("ill", manifest)
    result = peg("plugins", "doctor", "--json")
    (finding,) = [item for item in json.loads(result.stdout)["data"]["findings"] if item["status"] == "fail"]

    assert result.exit_code == code
    assert told in finding["what"]
    assert finding["fix"].startswith("peg plugins ")


def test_doctor_sees_a_hook_that_is_not_marked(peg: Any, site: Any) -> None:
    """A method with the name of a hook and no `@hookimpl` is a warning, read from the code and not run."""
    code = "raise SystemExit\n\nclass Plugin:\n    def authorize(self, ctx): ...\n    def other(self): ...\n"
    site.plugin("lax", {}, {"plugin.py": code})
    found = peg.json("plugins", "doctor")["data"]["findings"]

    (finding,) = [item for item in found if "without `@hookimpl`" in item["what"]]
    assert "plugin `lax` (pegboard-lax 1.0.0) has a method `authorize`" in finding["what"]
    assert (finding["status"], finding["fix"]) == ("warn", "peg plugins validate lax")
    assert "authorize" in peg("plugins", "validate", "lax").stdout


@pytest.mark.parametrize("code", ["class Plugin(:", "from x import Plugin", ""])
def test_doctor_claims_nothing_of_code_that_it_cannot_read(peg: Any, site: Any, code: str) -> None:
    """What is no Python or comes from elsewhere is not judged."""
    site.plugin("odd", {}, {"plugin.py": code})

    assert "hookimpl" not in peg("plugins", "doctor").stdout


def test_doctor_sees_settings_of_absent_plugins(peg: Any, place: Path) -> None:
    """Settings of a plugin that is not there are a warning, not an error."""
    peg("config", "set", "plugins.gone.enabled", "true")
    result = peg("plugins", "doctor")

    assert result.exit_code == 0
    assert "settings for the plugin `gone`, which is not installed" in result.stdout


def test_doctor_calls_broken_configuration_by_its_name(peg: Any, place: Path) -> None:
    """Broken settings make it exit code 4."""
    (place / ".pegboard").mkdir()
    (place / ".pegboard/config.toml").write_text("model = [\n")

    assert peg("plugins", "doctor").exit_code == 4


def test_the_large_doctor_shows_everything_and_writes_a_bundle(peg: Any) -> None:
    """`peg doctor --bundle` packs its findings into a file without secrets."""
    result = peg("doctor", "--bundle", "--json", SOME_API_KEY="sk-very-secret-value")
    data = json.loads(result.stdout)["data"]
    report = Path(data["bundle"]).read_text()

    assert result.exit_code == 0
    assert any("SOME_API_KEY" in item["what"] for item in data["findings"])
    assert "very-secret" not in report + result.output


@pytest.mark.usefixtures("git")
def test_lock_holds_until_something_changes(peg: Any, git: Any) -> None:
    """`verify` agrees after `lock`, and names what changed when a manifest did."""
    peg("plugins", "lock")
    assert peg("plugins", "verify").exit_code == 0

    git.write("pegboard.toml", git.manifest.read_text() + "\n# changed\n")
    result = peg("plugins", "verify")

    assert result.exit_code == 3
    assert "plugin `git`: manifest_hash is" in result.stdout


def test_verify_sees_a_changed_file_of_a_wheel(peg: Any, site: Any) -> None:
    """A file that is not the one of its RECORD is named, and the hint puts it right instead of locking it in."""
    dist = site.plugin("demo")
    peg("plugins", "lock")
    assert peg("plugins", "verify").exit_code == 0

    dist.write("plugin.py", "class Plugin: 'another'\n")
    result = peg("plugins", "verify")

    assert result.exit_code == 3
    assert "plugin.py` is not the file that was installed" in result.stdout
    assert "hint: run `pip install --force-reinstall" in result.stderr


def test_verify_sees_a_changed_file_of_a_linked_plugin(peg: Any, site: Any) -> None:
    """Where no RECORD vouches for files, the folder is compared with what it was when it was locked."""
    dist = site.plugin("demo")
    (dist.info / "RECORD").write_text("pegboard_demo/plugin.py,,\n")
    peg("plugins", "lock")
    assert peg("plugins", "verify").exit_code == 0

    dist.write("plugin.py", "class Plugin: 'another'\n")
    result = peg("plugins", "verify")

    assert result.exit_code == 3
    assert "plugin `demo`: files of its linked folder have changed" in result.stdout


def test_verify_without_a_lock_tells_how_to_make_one(peg: Any) -> None:
    """No lock file is a fault of configuration with a hint."""
    result = peg("plugins", "verify")

    assert result.exit_code == 4
    assert "hint: run `peg plugins lock`" in result.stderr


def test_safe_mode_ends_with_the_culprit(peg: Any, site: Any, tmp_path: Path) -> None:
    """After two starts that died, plugins are off and the culprit is named; disabling it ends that."""
    from pegboard.plugins.discovery.state import StateFile

    site.plugin("killer", {})
    file = StateFile()
    file.update(lambda tables: tables["starts"].update({"died": ["killer", "killer"]}))
    assert row(peg, "replay")["reason"] == "safe-mode"
    assert "peg plugins disable killer" in peg("plugins", "doctor").stdout

    peg("plugins", "disable", "killer")

    assert row(peg, "replay")["state"] == "ready"


def test_order_of_an_unknown_hook_names_near_ones(peg: Any) -> None:
    """A hook that does not exist is wrong usage and names its neighbours."""
    assert "did you mean `tool_call`" in peg("plugins", "order", "tool_cal").stderr


def test_order_of_a_hook_without_implementation_says_what_holds(peg: Any) -> None:
    """When nobody implements a hook, what holds then is told."""
    assert "nobody: " in peg("plugins", "order", "validation").stdout


def test_trace_shows_calls_as_they_happen(peg: Any, site: Any) -> None:
    """`trace` runs a task and shows each call of the hook, and all of them in the JSON."""
    code = (
        "from pegboard import hookimpl\n\n\nclass Plugin:\n"
        "    @hookimpl\n    async def model_request(self, ctx, request, call_next):\n"
        "        return await call_next(request)\n"
    )
    site.plugin("around", {"hooks": {"model_request": {}}, "hook_reason": "a test"}, {"plugin.py": code})

    shown = peg("plugins", "trace", "model_request", "hello", "-m", "scripted:demo").stdout
    calls = peg.json("plugins", "trace", "model_request", "hello", "-m", "scripted:demo")["data"]["calls"]

    assert "model_request  around: ok" in shown
    assert [call["plugin"] for call in calls if call["plugin"] != "recovery"] == ["around"]


@pytest.mark.parametrize("text", ["{", '{"schema": 99}'], ids=["no json", "newer"])
def test_verify_refuses_what_is_no_lock(peg: Any, place: Path, text: str) -> None:
    """A file that is no lock file of this version is exit code 4."""
    (place / "lock.json").write_text(text)

    assert peg("plugins", "verify", "--file", "lock.json").exit_code == 4
