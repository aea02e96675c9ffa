"""The live display, on a real terminal: what a person sees at each stage of a run."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable

import pytest
from pegboard_testing import plugin_dist

Make = Callable[..., "Terminal"]  # type: ignore[name-defined]  # noqa: F821  # of conftest.py


ASKS_FIRST = (
    "from pegboard import hookimpl, tool\n\n\n@tool(name='dev.act')\ndef act() -> str:\n    'Do it.'\n"
    "    return 'done'\n\n\nclass Plugin:\n    @hookimpl\n    def provide_tools(self, ctx):\n        return [act]\n"
)


def live(text: str) -> bool:
    """Whether the line of the run stands at the bottom."""
    return "execution · " in text or "node-3, node-5 running · " in text


def test_text_scrolls_and_one_line_stays(terminal: Make) -> None:
    """What has happened stays above; the last line is the run, and is gone when the run is."""
    screen = terminal(100, 24)
    screen.gates("begin", "one", "two", "text", "more")
    screen.peg("run", "live_agents:looker", "look around")

    shown = "run ID started looker: look around\nLet me look.\nexecution · turn 1/20 · 00:00"
    assert screen.until("Let me look.\nexecution · turn 1/20") == shown
    screen.open("begin")
    assert screen.until("2 tools running") == (
        "run ID started looker: look around\n"
        "Let me look.\n"
        "run ID model done, TIME, tokens unknown\n"
        "execution · turn 1/20 · cost unknown · 00:00 · 2 tools running"
    )
    screen.open("one")
    screen.open("two")
    assert screen.until("\nseen\nexecution · turn 2/20") == (
        "run ID started looker: look around\n"
        "Let me look.\n"
        "run ID model done, TIME, tokens unknown\n"
        "run ID tool look done, TIME\n"
        "run ID tool look done, TIME\n"
        "I have\n"
        "seen\n"
        "execution · turn 2/20 · cost unknown · 00:00"
    )
    screen.open("text")
    assert "\nseen it\nexecution · turn 2/20" in screen.until("seen it")
    screen.open("more")

    assert screen.end() == 0
    assert screen.text == (
        "run ID started looker: look around\n"
        "Let me look.\n"
        "run ID model done, TIME, tokens unknown\n"
        "run ID tool look done, TIME\n"
        "run ID tool look done, TIME\n"
        "I have\n"
        "seen it all.\n"
        "run ID model done, TIME, tokens unknown\n"
        "run ID finished: completed, TIME, tokens unknown, cost unknown (scripted:script)"
    )


@pytest.mark.parametrize(("columns", "rows"), [(20, 24), (20, 5), (200, 60), (41, 8)])
def test_text_is_whole_on_any_terminal(terminal: Make, columns: int, rows: int) -> None:
    """A line that wraps, and is written on with the live line below it, loses and repeats nothing."""
    screen = terminal(columns, rows)
    screen.gates("one", "text")
    screen.peg("run", "live_agents:talker", "x")
    screen.until(live)
    screen.open("one")
    screen.until("word")
    screen.open("text")

    assert screen.end() == 0
    joined = "".join(line.ljust(columns) for line in screen.history.splitlines())
    assert " ".join(["word"] * 40) + " end" in joined
    assert joined.count("word") == 40
    assert "a warning of somebody" in joined
    assert "00:00" not in screen.history


def test_the_line_fits_a_narrow_terminal(terminal: Make) -> None:
    """What matters most stays: the phase and the time; it never wraps."""
    screen = terminal(20, 24)
    screen.gates("begin", "one", "two")
    screen.peg("run", "live_agents:looker", "x")
    screen.open("begin")

    assert screen.until(lambda text: "00:00" in text).splitlines()[-1] == "execution · 00:00"


@pytest.mark.parametrize("columns", [30, 79, 120])
def test_a_window_may_be_resized(terminal: Make, columns: int) -> None:
    """The display goes on in the new size, and history is neither lost nor does the live line stay in it."""
    screen = terminal()
    screen.gates("begin", "one", "two", "text", "more")
    screen.peg("run", "live_agents:looker", "x")
    screen.open("begin")
    screen.until("2 tools running")
    screen.resize(columns, 24)
    screen.open("one")
    screen.open("two")
    screen.until("\nseen\nexecution · ")
    screen.open("text")
    screen.open("more")

    assert screen.end() == 0
    assert "Let me look.\n" in screen.history
    assert "I have\nseen it all.\n" in screen.history
    assert "turn" not in screen.history


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        (
            24,
            "big: 2 running, 1 failed, 18 waiting, 9 done\n"
            "  node-3  running · 00:00\n"
            "  node-5  running · 00:00\n"
            "  node-7  failed: no disk\n"
            "execution · 00:00",
        ),
        (9, "big: 2 running, 1 failed, 18 waiting, 9 done\n  node-3  running · 00:00\nexecution · 00:00"),
        (3, "node-3, node-5 running · 00:00"),
    ],
)
def test_a_large_workflow_does_not_fill_the_screen(terminal: Make, rows: int, shown: str) -> None:
    """A third of the rows at most: what runs, what failed, and counts of the rest."""
    screen = terminal(80, rows)
    screen.gates("one")
    screen.peg("run", "live_agents:nodes", "x")

    assert screen.until(live).endswith(f"\n{shown}")
    screen.open("one")
    assert screen.end() == 0
    assert "run ID node node-7 failed: no disk\n" in screen.history
    assert "waiting" not in screen.history


def test_a_child_run_is_one_line(terminal: Make) -> None:
    """Under it is the line of the run that called it, which counts what both have used."""
    screen = terminal()
    screen.gates("one")
    screen.peg("run", "live_agents:parent", "x")

    assert screen.until("1 tool running").endswith(
        "\n  looker-two: turn 1/20 · tool look · 00:00\nexecution · cost unknown · 00:00 · 1 tool running"
    )
    screen.open("one")
    assert screen.end() == 0
    assert "all done\nrun ID finished: completed" in screen.text
    assert "turn 1" not in screen.text


@pytest.mark.parametrize(("answer", "exit_code"), [("o", 0), ("d", 0)])
def test_a_question_is_not_drawn_over(terminal: Make, answer: str, exit_code: int) -> None:
    """The live lines are away until the person has answered."""
    screen = terminal()
    screen.gates("one")
    tool = {"name": "dev.act", "effect": "unsafe", "input_schema": {"type": "object"}}
    manifest = {"id": "dev", "hooks": {"provide_tools": {}}, "contributes": {"tools": [tool]}}
    plugin_dist(screen.folder, manifest, {"plugin.py": ASKS_FIRST})
    screen.peg("run", "live_agents:asker", "x")
    asked = screen.until("[d]eny:")

    assert "execution ·" not in asked
    screen.type(f"{answer}\r")
    shown = screen.until(lambda text: "execution ·" in text)
    assert re.search(rf"\[d\]eny: {answer}\nrun ID .*\nexecution · ", shown, re.DOTALL)
    screen.open("one")
    assert screen.end() == exit_code
    assert "execution ·" not in screen.text


def sane(screen: object) -> bool:
    """The cursor can be seen and stands at the beginning of a line, so that a prompt does too."""
    cursor = screen.screen.cursor  # type: ignore[attr-defined]
    return cursor.x == 0 and not cursor.hidden


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_kindly(terminal: Make, signum: signal.Signals) -> None:
    """What is said of it stands alone, and the live line goes with the run."""
    screen = terminal()
    screen.gates("begin", "one", "two")
    screen.peg("run", "live_agents:looker", "x")
    screen.open("begin")
    screen.until("2 tools running")
    os.kill(screen.pid, signum)

    assert screen.end() == 128 + signum
    assert "\nstopping; once more to stop now\n" in screen.text
    assert "finished: cancelled" in screen.text
    assert "tools running" not in screen.text
    assert sane(screen)


def test_a_second_signal_leaves_a_clean_terminal(terminal: Make) -> None:
    """The process ends in the middle of everything, with whole lines behind it."""
    screen = terminal()
    screen.gates("one")
    screen.peg("run", "live_agents:stubborn", "x")
    screen.until("1 tool running")
    screen.type("\x03")
    screen.until("stopping · ")
    screen.type("\x03")

    assert screen.end() == 130
    assert re.search(r"\nstopped now(; .*)?$", screen.text)
    assert "execution ·" not in screen.text
    assert sane(screen)


def test_a_killed_process_leaves_whole_lines(terminal: Make) -> None:
    """Nobody can clear up behind it: the live lines stay, and the prompt comes below them."""
    screen = terminal()
    screen.gates("begin", "one", "two")
    screen.peg("run", "live_agents:looker", "x")
    screen.open("begin")
    screen.until("2 tools running")
    os.kill(screen.pid, signal.SIGKILL)

    assert screen.end() == -signal.SIGKILL
    assert screen.text.splitlines()[-1].startswith("execution · ")
    assert sane(screen)


def test_it_goes_on_below_what_a_shell_has_written(terminal: Make) -> None:
    """While the process was stopped, the terminal was somebody else's."""
    screen = terminal()
    screen.gates("begin", "one", "two")
    screen.peg("run", "live_agents:looker", "x")
    screen.open("begin")
    screen.until("2 tools running")
    os.kill(screen.pid, signal.SIGSTOP)
    screen.feed(b"$ fg\r\n")
    os.kill(screen.pid, signal.SIGCONT)

    assert screen.until(lambda text: text.count("execution ·") == 2).splitlines()[-2] == "$ fg"


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        ([], {"PEGBOARD_PLAIN": "1"}),
        ([], {"TERM": "dumb"}),
        (["--quiet"], {}),
        (["--json"], {}),
        (["--jsonl"], {}),
        ([], {"PYTHONIOENCODING": "ascii"}),
    ],
)
def test_plain_is_plain(terminal: Make, options: list[str], environment: dict[str, str]) -> None:
    """Where it is not wanted no escape sequence is written, and nothing of it is loaded."""
    screen = terminal()
    screen.peg("run", *options, "live_agents:modules", "x", **environment)

    assert screen.end() == 0
    assert b"\x1b" not in screen.raw
    assert b"loaded: []" in screen.raw


def test_colour_is_the_terminals(terminal: Make) -> None:
    """With `NO_COLOR` only the cursor moves; without it the same words have colours."""
    raw = []
    for environment in ({"NO_COLOR": "1"}, {"NO_COLOR": ""}):
        screen = terminal()
        screen.peg("run", "live_agents:fails", "x", **environment)
        assert screen.end() > 0
        raw.append(screen.raw)

    assert b"m" not in b"".join(re.findall(rb"\x1b\[[0-9;]*([A-Za-z])", raw[0]))
    assert b"\x1b[31m" in raw[1]


def test_a_degradation_is_said_once(terminal: Make) -> None:
    """When it happens; the summary counts it."""
    screen = terminal()
    screen.peg("run", "live_agents:degraded", "x")

    assert screen.end() == 0
    assert screen.text.count("run ID degraded: the picture: no room") == 1
    assert screen.text.endswith(", 1 degraded")


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"PEGBOARD_PLAIN": "1"}], ids=["dumb", "plain"])
def test_a_line_of_its_own_without_live_lines(terminal: Make, environment: dict[str, str]) -> None:
    """An answer that comes piece by piece would have the next line of a run behind its last piece."""
    screen = terminal()
    screen.peg("run", "-m", "scripted:demo", "hello", **environment)

    assert screen.end() == 0
    lines = re.findall(r"^run ID (\w+)", screen.text, re.MULTILINE)
    assert lines == ["started", "model", "finished"]


def test_a_talk_is_calm(terminal: Make) -> None:
    """Who is answered knows that they asked, and sees that it was answered: what it took is all that is said."""
    screen = terminal()
    screen.peg("chat", "-m", "scripted:demo")
    screen.until(lambda text: text.endswith("\n>"))
    screen.type("hello\r")
    screen.until("context 21 tokens")

    assert re.findall(r"^run ID (\w+)", screen.text, re.MULTILINE) == ["finished"]


def test_settings_that_are_wrong_are_told_once(terminal: Make) -> None:
    """The warning has the command that shows them; the line of the run would be the same without it."""
    screen = terminal(columns=250)
    (screen.folder / "home" / "config").mkdir(parents=True)
    (screen.folder / "home" / "config" / "config.toml").write_text("[plugins.prices]\nnonsense = 1\n")
    home = str(screen.folder / "home")
    screen.peg("run", "-m", "scripted:demo", "x", PEGBOARD_HOME=home, PEGBOARD_PLUGINS="console,prices,replay")

    assert screen.end() == 0
    (line,) = [line for line in screen.text.splitlines() if "plugin `prices`" in line]
    assert line.startswith("warning: plugin `prices`")
