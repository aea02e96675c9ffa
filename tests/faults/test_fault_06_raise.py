"""Scenario 6: a hook raises, once or always, early or late, anything at all. The kind of the hook decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Place

ERRORS = ["RuntimeError('x')", "StopIteration", "StopAsyncIteration", "GeneratorExit", "SystemExit(9)", "BaseException"]
CANCELLED = "asyncio.CancelledError"
HOOKS = {
    "notify": "async def settle_budget(self, settlement):\n    raise {error}",
    "sync notify": "def on_event(self, event):\n    raise {error}",
    "collect": "async def check_quality(self, result):\n    raise {error}",
    "first": "def next_phase(self, proposed):\n    raise {error}",
    "around": "async def tool_call(self, call, call_next):\n    raise {error}",
    "phase": "async def planning_phase(self, state, call_next):\n    raise {error}",
    "gate": "async def authorize(self, action):\n    raise {error}",
    "closed pipeline": "def redact(self, value):\n    raise {error}",
    "closed collect": "def label(self, value):\n    raise {error}",
}
"""A hook of each kind; `{error}` is what it raises."""


def told_of(place: Place, kind: str, error: str) -> dict[str, Any]:
    """What comes of a run in which a hook of this kind raises; twice, since the first call may differ."""
    place.sound()
    place.hooking("broken", HOOKS[kind].format(error=error))
    return place.host(["run", place.sound_call], ["run", place.sound_call])


@pytest.mark.parametrize("kind", HOOKS.keys() - {"gate"})
def test_the_run_goes_on(place: Place, kind: str) -> None:
    """Whatever the kind, but for a gate: the tool of the other plugin is called, and the fault names its owner."""
    told = told_of(place, kind, "RuntimeError('on purpose')")

    assert [run["results"] for run in told["did"]] == [[place.sound_result]] * 2
    assert [run["end"] for run in told["did"]] == ["completed"] * 2
    assert {(plugin, code) for plugin, _, _, code in told["faults"]} == {("broken", "hook.failed")}
    assert told["owners"] == ["pegboard-broken 1.0.0"]
    assert told["did"][0]["degraded"][0][0] == "broken"


def test_a_gate_that_raises_denies(place: Place) -> None:
    """A policy that cannot decide is no policy that allows, and the model is told whose it is."""
    told = told_of(place, "gate", "RuntimeError('on purpose')")

    for run in told["did"]:
        [[status, text]] = run["results"]
        assert status == "denied"
        assert "plugin `broken` could not decide: `hook.failed` in `authorize`" in text


@pytest.mark.parametrize("error", [*ERRORS, CANCELLED])
@pytest.mark.parametrize("kind", ["around", "first", "gate"])
def test_whatever_is_raised_is_a_fault_of_the_plugin(place: Place, kind: str, error: str) -> None:
    """Not the end of the process, of the task or of an iteration; `CancelledError` neither, when nobody cancelled."""
    told = told_of(place, kind, error)

    assert told["faults"][0][0] == "broken"
    assert [run["end"] for run in told["did"]] == ["completed"] * 2
    expected = "denied" if kind == "gate" else "ok"
    assert [run["results"][0][0] for run in told["did"]] == [expected] * 2


@pytest.mark.parametrize("error", [*ERRORS, CANCELLED])
def test_after_call_next_the_inner_result_stands(place: Place, error: str) -> None:
    """What the layer goes around has happened; its result is not lost, and it does not happen again."""
    place.sound()
    place.hooking(
        "broken", f"async def tool_call(self, call, call_next):\n    await call_next(call)\n    raise {error}"
    )

    told = place.host(["run", place.sound_call])

    assert told["did"][0]["results"] == [place.sound_result]
    assert told["faults"][0][:2] == ["broken", "tool_call"]


def test_an_inner_error_is_not_the_layers(place: Place) -> None:
    """A model that fails inside a layer is the model's fault: no plugin is charged."""
    place.hooking(
        "broken",
        "async def model_request(self, request, call_next):\n"
        "    try:\n        return await call_next(request)\n    finally:\n        self.seen = True",
    )

    told = place.host(["run_out"])

    assert told["did"][0]["end"] == "failed"
    assert told["did"][0]["error"]["code"] == "replay.exhausted"
    assert told["faults"] == []


def test_raised_once_it_is_asked_again(place: Place) -> None:
    """One failure is recorded and forgiven."""
    place.sound()
    place.hooking(
        "broken",
        "async def authorize(self, action):\n"
        "    self.calls = getattr(self, 'calls', 0) + 1\n    if self.calls == 1:\n        raise RuntimeError('once')",
    )

    told = place.host(["run", place.sound_call], ["run", place.sound_call])

    assert [run["results"][0][0] for run in told["did"]] == ["denied", "ok"]
    assert told["fault_count"] == 1


TEARDOWN = {
    "deactivate": "class Plugin:\n    def deactivate(self, ctx):\n        raise {error}\n",
    "async deactivate": "class Plugin:\n    async def deactivate(self, ctx):\n        raise {error}\n",
    "undo": (
        "def undo():\n    raise {error}\n\n\nclass Plugin:\n    def activate(self, ctx):\n        ctx.undo(undo)\n"
    ),
}


@pytest.mark.parametrize("error", ["RuntimeError('x')", "SystemExit(9)", "asyncio.CancelledError"])
@pytest.mark.parametrize("way", TEARDOWN)
def test_at_teardown(place: Place, way: str, error: str) -> None:
    """The others are deactivated too, and the program ends as it would have."""
    start = {"activation": ["onStartup"], "startup_reason": "to be met"}
    place.plugin({"id": "broken", **start}, {"plugin.py": "import asyncio\n" + TEARDOWN[way].format(error=error)})
    place.plugin(
        {"id": "afar", **start},
        {"plugin.py": "class Plugin:\n    def deactivate(self, ctx):\n        print('told to go', flush=True)\n"},
    )

    done = place.try_host(["run", ["add", {"a": 1, "b": 2}]])

    assert done.returncode == 0, done.stderr
    assert "told to go" in done.stdout


TOOL = """
import asyncio
from pegboard import hookimpl, tool


@tool(name="broken.tool", effect="pure")
{head} broken() -> int:
    \"\"\"Broken on purpose.\"\"\"
    raise {error}


class Plugin:
    @hookimpl
    def provide_tools(self):
        return [broken]
"""


@pytest.mark.parametrize("error", ["RuntimeError('x')", "SystemExit(9)", "asyncio.CancelledError", "StopIteration"])
@pytest.mark.parametrize("head", ["def", "async def"])
def test_a_tool_that_raises(place: Place, head: str, error: str) -> None:
    """Whatever a tool raises is its result, alone and beside others; a tool that calls `sys.exit` ends nothing."""
    place.sound()
    offer = {"hooks": {"provide_tools": {}}, "contributes": {"tools": [{"name": "broken.tool", "effect": "pure"}]}}
    place.plugin({"id": "broken", **offer}, {"plugin.py": TOOL.format(head=head, error=error)})

    told = place.host(["run", ["broken.tool", {}]], ["run", [["broken.tool", {}], place.sound_call]])

    [alone], [beside, other] = (run["results"] for run in told["did"])
    assert alone[0] == beside[0] == "error"
    assert "`broken.tool` failed" in alone[1]
    assert other == place.sound_result


@pytest.mark.parametrize("hook", ["cleanup", "idle", "board_stopping", "board_started"])
def test_at_the_end_and_the_beginning(place: Place, hook: str) -> None:
    """Neither the last phases of a run nor the board's own moments depend on a plugin."""
    around = hook in ("cleanup", "idle")
    place.hooking(
        "broken", f"async def {hook}(self{', state, call_next' if around else ''}):\n    raise ValueError('x')"
    )

    told = place.host(["activate", "broken"], ["run", ["add", {"a": 1, "b": 2}]])

    assert told["did"][1]["results"] == [["ok", "3"]]
    assert told["did"][1]["end"] == "completed"


@pytest.mark.parametrize("kind", ["around", "gate", "sync notify"])
def test_ctrl_c_inside_a_hook_is_the_persons(place: Place, kind: str) -> None:
    """`KeyboardInterrupt` goes up through every hook and ends the program with 130, without a traceback."""
    place.sound()
    place.hooking("broken", HOOKS[kind].format(error="KeyboardInterrupt"))

    done = place.peg("run", "-m", "scripted:demo", "double 21")

    assert done.returncode == 130
    assert "Traceback" not in done.stderr
