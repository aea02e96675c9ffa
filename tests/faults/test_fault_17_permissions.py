"""Scenario 17: a plugin asks for more, a project hands out more, a secret wants to be seen. None of it happens.

What code in our process does without asking is recorded; nothing can prevent it there.
"""

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


# --- what is done without asking ---------------------------------------------------------------------------------

DOER = '''
import asyncio, json, socket, subprocess, sys, threading
from pathlib import Path
from pegboard import config, hookimpl, tool

CONTEXTS = []


@tool(name="doer.do", effect="pure")
async def do(what: str, target: str = "", port: int = 0) -> str:
    """Do it without asking."""
    [ctx] = CONTEXTS
    if what == "open":
        Path(target).read_text()
    if what == "write":
        Path(target).write_text("x")
    if what == "exec":
        subprocess.run([target], stdout=subprocess.DEVNULL)
    if what == "connect":
        with socket.socket() as sock:
            sock.connect_ex((target, port))
    if what == "look up":
        try:
            socket.create_connection((target, port), timeout=0.01)
        except OSError:
            pass
    if what == "own":
        Path(__file__).with_name("pegboard.toml").read_text()
        Path(json.__file__).read_text()
        (ctx.data_dir / "own").write_text("x")
    if what == "import":
        sys.path.insert(0, target)
        import stray
    if what == "core":
        assert config.load().files
    if what == "services":
        await ctx.exec.run(["env"])
        ctx.fs.read(target)
    return "done"


@tool(name="doer.wait", effect="pure")
def wait(target: str) -> str:
    """Do it in a thread of the pool."""
    return Path(target).read_text()


class Plugin:
    def activate(self, ctx):
        CONTEXTS.append(ctx)

    @hookimpl
    def provide_tools(self):
        return [do, wait]
'''


def doer(place: Place, **permissions: list[str]) -> Any:
    """A plugin whose tools do what they are told to, and ask nobody."""
    tools = [{"name": "doer.do", "effect": "pure"}, {"name": "doer.wait", "effect": "pure"}]
    manifest = {
        "id": "doer",
        "hooks": {"provide_tools": {}},
        "contributes": {"tools": tools},
        "permissions": permissions,
    }
    (place.folder / "file").write_text("done")
    return place.plugin(manifest, {"plugin.py": DOER})


def does(place: Place, *orders: list[Any], **options: Any) -> dict[str, Any]:
    """Runs in which a tool obeys; what the host program tells."""
    told = place.host(*(["run", order] for order in orders), **options)
    assert [did["results"] for did in told["did"]] == [[["ok", "done"]]] * len(orders)
    return told


def do(what: str, target: Any = "", port: int = 0) -> list[Any]:
    """A call of the tool."""
    return ["doer.do", {"what": what, "target": str(target), "port": port}]


def undeclared(told: dict[str, Any]) -> list[list[str]]:
    """What the runs recorded, together."""
    return [entry for did in told["did"] for entry in did["undeclared"]]


ORDERS = {
    "open": (do("open", "FILE"), "open", "FILE"),
    "write": (do("write", "FILE"), "open", "FILE"),
    "open in a thread": (["doer.wait", {"target": "FILE"}], "open", "FILE"),
    "exec": (do("exec", "env"), "exec", "env"),
    "connect": (do("connect", "127.0.0.1", 9), "connect", "127.0.0.1:9"),
    "connect by name": (do("look up", "localhost", 9), "connect", "localhost:9"),
}


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_done_without_asking_is_recorded(place: Place, order: str) -> None:
    """Once: as an event of the run, as one warning, and in `peg plugins info`; and it happens all the same."""
    doer(place)
    call, what, target = json.loads(json.dumps(ORDERS[order]).replace("FILE", str(place.folder / "file")))

    told = does(place, call, call)

    info = place.json("plugins", "info", "doer")["data"]["undeclared"]
    warnings = [line for line in told["log"] if "without permission" in line]
    assert undeclared(told) == [["doer", what, target]]
    assert [[use["what"], use["target"]] for use in info] == [[what, target]]
    assert f"  {what} {target}" in place.peg("plugins", "info", "doer").stdout
    assert len(warnings) == 1
    assert "plugin `doer` (pegboard-doer 1.0.0) " in warnings[0]
    assert "which is recorded and not prevented; peg plugins info doer" in warnings[0]


def test_what_is_declared_is_not_recorded(place: Place) -> None:
    """Whether it asks the services of the host or not."""
    doer(place, fs_read=[str(place.folder)], exec=["env"], net=["localhost:9", "127.0.0.1:8"])
    file = place.folder / "file"

    told = does(
        place,
        do("open", file),
        do("exec", "env"),
        do("look up", "localhost", 9),
        do("connect", "127.0.0.1", 8),
        do("services", file),
    )

    assert undeclared(told) == []
    assert place.json("plugins", "info", "doer")["data"]["undeclared"] == []


def test_what_needs_no_permission_is_not_recorded(place: Place) -> None:
    """Its own files and folders, those of Python, imports from wherever, and what core reads when it is called."""
    doer(place)
    modules, settings = place.folder / "modules", place.home / "config" / "config.toml"
    for file in (modules / "stray.py", settings):
        file.parent.mkdir()
        file.write_text("")

    told = does(place, do("own"), do("import", modules), do("core"))

    assert undeclared(told) == []


def test_reading_does_not_allow_writing(place: Place) -> None:
    """What is declared for reading and written is recorded."""
    doer(place, fs_read=[str(place.folder)])

    told = does(place, do("write", place.folder / "file"))

    assert undeclared(told) == [["doer", "open", str(place.folder / "file")]]


def test_what_others_do_is_not_the_plugins(place: Place) -> None:
    """The code that is nearest did it, of whatever plugin."""
    doer(place, fs_read=[str(place.folder)])
    file = str(place.folder / "file")
    place.hooking("other", f"async def check_quality(self, ctx):\n    open({file!r}).close()")

    told = does(place, do("open", file))

    assert undeclared(told) == [["other", "open", file]]


def test_what_an_import_does_is_recorded(place: Place) -> None:
    """From the first line of its code on, before it is active: then it is an event of the board."""
    place.plugin(
        {"id": "early", "activation": ["onStartup"], "startup_reason": "a test"},
        {"plugin.py": "open('/etc/passwd').close()\n\nclass Plugin: ...\n"},
    )

    events = place.host(["run"])["events"]

    assert ["plugin.undeclared", "early", {"plugin": "early", "what": "open", "target": "/etc/passwd"}] in events


@pytest.mark.parametrize("board", [{"config": {"record_undeclared": False}}, {"autoload": False}], ids=str)
def test_recording_is_off_where_nobody_wants_it(place: Place, board: dict[str, Any]) -> None:
    """By a setting; and in a program that embeds us and loads no installed plugins, unless it asks."""
    made = doer(place)
    folders = {"folders": [str(made.site / made.package)]} if "autoload" in board else {}

    told = does(place, do("exec", "env"), board={**board, **folders})

    assert undeclared(told) == []


def test_a_program_that_embeds_us_may_ask_for_it(place: Place) -> None:
    """Plugins that it gives as folders are recorded then."""
    made = doer(place)
    board = {"autoload": False, "folders": [str(made.site / made.package)], "config": {"record_undeclared": True}}

    told = does(place, do("exec", "env"), board=board)

    assert undeclared(told) == [["doer", "exec", "env"]]


def test_what_is_recorded_is_bounded(place: Place) -> None:
    """A plugin that opens a new file each time fills neither memory nor disk."""
    place.hooking("busy", "async def check_quality(self):\n    for n in range(500):\n        open(f'{n}', 'w').close()")

    told = place.host(["run"])

    assert len(undeclared(told)) == 100
    assert len(place.json("plugins", "info", "busy")["data"]["undeclared"]) == 50


def test_an_upgrade_begins_with_a_clean_record(place: Place) -> None:
    """What another version did says nothing about this one."""
    made = doer(place)
    does(place, do("exec", "env"))
    made.remove()
    place.plugin({"id": "doer"}, version="2.0.0")

    assert place.json("plugins", "info", "doer")["data"]["undeclared"] == []
