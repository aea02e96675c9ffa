"""The console plugin: where its lines go and how they look."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from pegboard.events import Event
from pegboard.interfaces import HostContext
from pegboard_console import plugin as module
from pegboard_console.plugin import Plugin, Settings
from pegboard_console.text import allows_colour, visible
from pegboard_testing.conformance.roles import ManifestSuite


class Context:
    def __init__(self, **config: Any) -> None:
        self.config = config


def active(**config: Any) -> Plugin:
    plugin = Plugin()
    asyncio.run(plugin.activate(cast(HostContext, Context(**config))))
    return plugin


def event(kind: str, /, run: str = "r1", parent: str | None = None, **data: Any) -> Event:
    return Event(id="x", run=run, parent=parent, seq=0, kind=kind, at=0.0, data=data)


def test_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """stdout is for data."""
    active().on_event(event("run.started", agent="adder"))

    assert capsys.readouterr() == ("", "run r1 started adder\n")


def test_lines_can_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """The settings name the stream."""
    active(stream="stdout").on_event(event("run.started", agent="adder"))

    assert capsys.readouterr() == ("run r1 started adder\n", "")


def test_a_child_run_is_indented(capsys: pytest.CaptureFixture[str]) -> None:
    """Each level of the tree is two spaces; the short end of a child has no list of degradations."""
    console = active()
    console.on_event(event("run.started", run="a"))
    console.on_event(event("run.started", run="b", parent="a"))
    console.on_event(event("run.started", run="c", parent="b"))
    console.on_event(event("run.finished", run="c", parent="b", end_reason="completed", degraded=[{"what": "x"}]))

    lines = capsys.readouterr().err.splitlines()
    assert [len(line) - len(line.lstrip()) for line in lines] == [0, 2, 4, 4]


def test_finished_runs_are_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    """A board that runs for weeks keeps nothing of the runs that ended."""
    console = active()
    for kind in ("run.started", "run.finished"):
        console.on_event(event(kind))

    assert console._places == {}


def test_a_degradation_is_said_once_and_counted_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    """When it happens; the summary only has the number."""
    console = active(verbosity="quiet")
    console.on_event(event("run.degraded", what="cut", why="too long"))
    console.on_event(event("run.finished", end_reason="completed", degraded=[{"what": "cut", "why": "too long"}]))

    assert capsys.readouterr().err == (
        "run r1 degraded: cut: too long\nrun r1 finished: completed, cost unknown, 1 degraded\n"
    )


@pytest.mark.parametrize("end_reason", ["completed", "failed"])
def test_a_quiet_command_says_only_what_went_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, end_reason: str
) -> None:
    """`peg --quiet` sets a variable for plugins that talk; approvals and the error that ends it are told by `peg`."""
    monkeypatch.setenv("PEGBOARD_QUIET", "1")
    console = active()
    for kind in (
        "run.started",
        "approval.requested",
        "approval.decided",
        "step.failed",
        "run.degraded",
        "run.finished",
    ):
        console.on_event(event(kind, end_reason=end_reason, resource="rm", what="cut", why="too long"))
    console.on_event(event("plugin.fault", plugin="p", message="boom"))

    assert capsys.readouterr().err == "run r1 plugin `p` failed: boom\n"


def test_a_fault_is_said_once_on_its_way_up(capsys: pytest.CaptureFixture[str]) -> None:
    """Where it happened; neither by the phase around it nor by the runs above. What happens again is said again."""
    console = active()
    for run, kind, data in [
        ("a.1", "step.failed", {"op": "tool.call:x"}),
        ("a.1", "step.failed", {"op": "tool.call:x"}),
        ("a.1", "phase.error", {"phase": "execution_phase"}),
        ("a", "step.failed", {"op": "agent.call:b"}),
        ("a.2", "step.failed", {"op": "tool.call:x"}),
    ]:
        console.on_event(event(kind, run=run, message="the disk is gone", **data))

    told = ["run a.1 tool x failed: the disk is gone"] * 2 + ["run a.2 tool x failed: the disk is gone"]
    assert capsys.readouterr().err.splitlines() == told


def test_what_a_child_did_without_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The run above passes it on; two things of one cause are two."""
    console = active()
    console.on_event(event("run.degraded", run="a.1", what="x.py", why="binary"))
    console.on_event(event("run.degraded", run="a.1", what="y.py", why="binary"))
    console.on_event(event("run.degraded", run="a", what="node `n`: x.py", why="binary"))

    assert capsys.readouterr().err.splitlines() == ["run a.1 degraded: x.py: binary", "run a.1 degraded: y.py: binary"]


def test_a_plugin_that_fails_has_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """That the run goes on without that call of it goes without saying; what else it lacks does not."""
    console = active()
    console.on_event(event("plugin.fault", plugin="p", hook="tool_call", message="boom", code="hook.error"))
    console.on_event(event("run.degraded", plugin="p", what="plugin `p`", why="its `tool_call` was skipped"))
    console.on_event(event("run.degraded", plugin="p", what="the index", why="too old"))

    said = capsys.readouterr().err.splitlines()
    assert said == [
        "run r1 plugin `p` failed in tool_call: boom (hook.error)",
        "run r1 degraded: plugin `p` the index: too old",
    ]


def test_what_was_cancelled_did_not_fail(capsys: pytest.CaptureFixture[str]) -> None:
    """The run says that it was cancelled; its steps say so only where everything is said."""
    failed = event("step.failed", op="agent.call:a", code="cancelled", message="CancelledError")
    active().on_event(failed)
    active(verbosity="verbose").on_event(failed)

    assert capsys.readouterr().err == "run r1 agent a cancelled\n"


def test_untrusted_text_cannot_forge_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters are shown as escapes, so one event is one line."""
    active().on_event(event("run.started", agent="a", input="x\nrun r1 finished\x1b[2J\u202eevil"))

    assert capsys.readouterr().err == "run r1 started a: x\\nrun r1 finished\\x1b[2J\\u202eevil\n"


def test_long_text_is_cut() -> None:
    """The length of a line does not depend on the terminal."""
    assert visible("x" * 500) == "x" * 200 + "…"


def test_text_the_stream_cannot_show_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ASCII terminal gets escapes and no error."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii"))

    active().on_event(event("run.started", agent="café"))

    assert raw.getvalue() == b"run r1 started caf\\xe9\n"


def test_a_reader_who_left_does_not_fail_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken pipe ends the output and nothing else."""

    class Broken(io.StringIO):
        tries = 0

        def write(self, text: str) -> int:
            self.tries += 1
            raise BrokenPipeError

    broken = Broken()
    monkeypatch.setattr(sys, "stderr", broken)
    console = active()

    for _ in range(2):
        console.on_event(event("run.started"))

    assert broken.tries == 1


def test_no_stream_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without stderr gets no lines."""
    monkeypatch.setattr(sys, "stderr", None)

    active().on_event(event("run.started"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "terminal", "allowed"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "PEGBOARD_PLAIN": "1"}, True, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
    ],
)
def test_order_of_what_decides_about_colour(environ: dict[str, str], terminal: bool, allowed: bool) -> None:
    """`NO_COLOR`, then plain, then `FORCE_COLOR`, then a dumb terminal, then the stream."""
    assert allows_colour(Terminal() if terminal else io.StringIO(), environ) is allowed


def test_colour_follows_the_tone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is red, where colour is allowed; the words are the same."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    for name in ("NO_COLOR", "PEGBOARD_PLAIN", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)

    active().on_event(event("step.failed", op="tool.call:x", message="no"))

    assert terminal.getvalue() == "run r1 \x1b[31mtool x failed: no\x1b[0m\n"


def test_unknown_settings_are_refused() -> None:
    """A misspelt setting is an error and not silence."""
    with pytest.raises(msgspec.ValidationError, match="verbos"):
        active(verbos="quiet")


class TestConsoleManifest(ManifestSuite):
    @pytest.fixture
    def package(self) -> Path:
        return Path(module.__file__).parent

    @pytest.fixture
    def settings(self) -> type[Settings]:
        return Settings


def test_a_step_that_holds_others_ends_unsaid(capsys: pytest.CaptureFixture[str]) -> None:
    """A child tells of its own end; only one that went wrong is said twice."""
    console = active()
    console.on_event(event("step.done", op="agent.call:a", status="completed"))
    console.on_event(event("step.done", op="plugin:node:a"))
    console.on_event(event("step.done", op="agent.call:b", status="failed"))

    assert capsys.readouterr().err == "run r1 agent b failed\n"


def test_under_quiet_no_run_tells_of_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the outermost nor a child."""
    monkeypatch.setenv("PEGBOARD_QUIET", "1")
    console = active()
    console.on_event(event("run.started", run="a"))
    console.on_event(event("run.finished", run="b", parent="a", end_reason="completed"))
    console.on_event(event("run.finished", run="a", end_reason="completed"))

    assert capsys.readouterr().err == ""
