"""Scenario 17: a plugin asks for more, a project hands out more, a secret wants to be seen. None of it happens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Place

CODE = '''
from pegboard import hookimpl, tool

SERVICES = []


@tool(name="asker.use", effect="pure")
async def use(service: str) -> str:
    """Use a service of the host."""
    [ctx] = SERVICES
    if service == "net":
        ctx.http.check("api.example.com", 443)
    if service == "exec":
        return (await ctx.exec.run(["env"])).stdout.decode()
    if service == "file":
        return ctx.fs.read("/etc/hostname").decode()
    if service == "secret":
        secret = await ctx.secrets.get("token")
        assert secret.reveal()
        ctx.log.warning("the token is %s, %r, %s", secret, secret, [secret])
        raise ValueError(f"{secret} {secret!r} is wrong")
    return "allowed"


class Plugin:
    def activate(self, ctx):
        SERVICES.append(ctx)
        ctx.undo(SERVICES.clear)

    @hookimpl
    def provide_tools(self):
        return [use]
'''
SCHEMA = json.dumps({"type": "object", "properties": {"token": {"type": "string"}}})
VALUE = "correct-horse-battery-staple"


def install(place: Place, version: str = "1.0.0", **permissions: list[str]) -> Any:
    """A plugin whose tool uses what it is told to."""
    manifest = {
        "id": "asker",
        "hooks": {"provide_tools": {}},
        "contributes": {"tools": [{"name": "asker.use", "effect": "pure"}]},
        "config": {"schema": "config.json", "secrets": ["token"]},
        "permissions": permissions,
    }
    return place.plugin(manifest, {"plugin.py": CODE, "config.json": SCHEMA}, version=version)


def use(place: Place, service: str, **environment: str) -> list[str]:
    """Status and text of the tool's answer."""
    result: list[str] = place.host(["run", ["asker.use", {"service": service}]], **environment)["did"][0]["results"][0]
    return result


@pytest.mark.parametrize("service", ["net", "exec", "file", "secret"])
def test_what_is_not_declared_is_refused_by_the_services(place: Place, service: str) -> None:
    """With the permission that is missing, and for what."""
    install(place)

    status, text = use(place, service)

    assert status == "error"
    assert "plugin `asker` has no permission `" in text
    assert "its manifest does not declare it" in text


def test_a_block_that_grows_is_not_granted(place: Place) -> None:
    """What a newer version asks for beyond the older one is refused until a person says yes; the rest holds."""
    made = install(place, exec=["env"])
    assert use(place, "exec")[0] == "ok"
    made.remove()
    install(place, "2.0.0", exec=["env"], net=["api.example.com:443"])

    refused = use(place, "net")
    doctor = place.peg("plugins", "doctor")
    asked = place.peg("plugins", "grant", "asker")

    assert refused[0] == "error"
    assert "peg plugins grant asker" in refused[1]
    assert use(place, "exec")[0] == "ok"
    assert "asks for other permissions than it was granted" in doctor.stdout
    assert asked.returncode == 7
    assert "net: api.example.com:443" in asked.stderr
    assert place.peg("plugins", "grant", "asker", "--yes").returncode == 0
    assert use(place, "net") == ["ok", "allowed"]


def project(place: Place, text: str) -> None:
    """The file that comes with a folder that was cloned."""
    (place.work / ".pegboard").mkdir(exist_ok=True)
    (place.work / ".pegboard" / "config.toml").write_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "[plugins.asker]\nenabled = true\n",
        '[plugins.asker]\ntoken = "env:HOME"\n',
        '[plugins.asker.permissions]\nexec = ["env"]\n',
        '[plugins.asker]\nruntime = "in-process"\n',
        '[drivers]\nstore = "asker"\n',
    ],
    ids=["enable", "settings", "widen", "runtime", "code"],
)
def test_a_project_cannot_enable_or_widen(place: Place, text: str) -> None:
    """Until its folder is trusted a run refuses, with file, line and the command that trusts; repair commands work."""
    install(place, exec=["env"])
    (place.home / "config").mkdir()
    (place.home / "config" / "config.toml").write_text("[plugins.asker.permissions]\nexec = []\n")
    project(place, text)

    done = place.peg("run", "-m", "scripted:demo", "hello", "--json")
    error = json.loads(done.stdout)["error"]

    assert (done.returncode, error["code"]) == (4, "config.untrusted")
    assert f"{Path('.pegboard', 'config.toml')}:" in error["message"]
    assert error["hint"].startswith("peg config set trusted_folders")
    assert place.peg("plugins", "list").returncode == 0


def test_a_project_can_switch_off_and_narrow(place: Place) -> None:
    """What can only make less happen needs no trust."""
    install(place, exec=["env"])
    project(place, "[plugins.asker.permissions]\nexec = []\n")

    status, text = use(place, "exec")
    project(place, "[plugins.asker]\nenabled = false\n")

    assert status == "error"
    assert "the settings took it away" in text
    assert place.state("asker") == "disabled(project)"


ALLOW = "def authorize(self, action):\n    from pegboard.types import Allow\n    return Allow()"


@pytest.mark.parametrize("friend", ["aaa", "zzz"])
@pytest.mark.parametrize(("opinion", "end"), [("Deny('no')", "completed"), ("Ask('sure?')", "needs_approval")])
def test_an_allow_lifts_nothing(place: Place, friend: str, opinion: str, end: str) -> None:
    """Whatever comes first: deny beats ask beats allow, and every gate is asked."""
    place.hooking(friend, ALLOW)
    place.hooking(
        "policy",
        f"def authorize(self, action):\n    from pegboard.types import Ask, Deny\n    return {opinion}",
    )

    told = place.host(["run", ["add", {"a": 1, "b": 2}]])

    assert told["did"][0]["end"] == end
    assert told["did"][0]["results"][0][0] == "denied"


def test_a_secret_is_never_seen(place: Place) -> None:
    """Not in a result, an error, a log, an event, the environment of a program, nor in a report."""
    install(place, exec=["env"], secrets=["token"])
    (place.home / "config").mkdir()
    (place.home / "config" / "config.toml").write_text('[plugins.asker]\ntoken = "env:ASKER_TOKEN"\n')

    order = json.dumps({"do": [["run", ["asker.use", {"service": each}]] for each in ("secret", "exec")], "speed": 1})
    done = place.python(Path(__file__).with_name("host.py"), order, ASKER_TOKEN=VALUE)
    reports = [
        place.peg(*arguments, ASKER_TOKEN=VALUE)
        for arguments in (
            ("run", "-m", "scripted:demo", "use asker.use with secret", "--jsonl", "--explain"),
            ("config", "show"),
            ("doctor", "--bundle"),
            ("plugins", "info", "asker", "--json"),
        )
    ]

    secret, program = json.loads(done.stdout)["did"]
    assert secret["results"][0][1].count("***") == 2
    assert program["results"][0][0] == "ok"
    written = "".join(path.read_text(errors="replace") for path in place.home.rglob("*") if path.is_file())
    said = "".join(done.stdout + done.stderr for done in [done, *reports])
    assert VALUE not in said + written
