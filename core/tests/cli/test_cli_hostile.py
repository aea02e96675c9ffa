"""Odd surroundings: a stdout that takes nothing, files that are none, plugins that write to the terminal."""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from pegboard.cli.contract import Output, answer_of
from pegboard.cli.render import harmless
from pegboard.errors import ExitCode

PEG = f"{sys.executable} -m pegboard"
EARLY = """
import os, sys
from pegboard.__main__ import main

class Finder:
    @staticmethod
    def find_spec(name, *_):
        if name == "pegboard.cli.app":
            os.kill(os.getpid(), int(sys.argv[1]))

sys.meta_path.insert(0, Finder)
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /dev/full")
@pytest.mark.parametrize("where", [">&-", "> /dev/full"], ids=["closed", "full"])
@pytest.mark.parametrize("command", ["config schema", "plugins list"])
def test_a_stdout_that_takes_nothing_is_told_in_one_line(command: str, where: str) -> None:
    """No traceback, no report of a bug; exit code 1."""
    done = subprocess.run(["bash", "-c", f"{PEG} {command} {where}"], capture_output=True, text=True)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("peg: ")


def test_a_fault_of_the_system_is_no_bug() -> None:
    """A name that is too long, a lock that is held: a typed error that names the place."""
    try:
        Path("x" * 100_000).stat()
    except OSError as error:
        answer = answer_of(error, Output())

    assert answer.exit_code == ExitCode.TASK_FAILED
    assert answer.error is not None
    assert "file name too long" in answer.error.message


def test_texts_of_others_cannot_fool_the_terminal() -> None:
    """Escape sequences and signs that turn the direction are spelled out; lines and letters stay."""
    assert harmless("ä\tb\n\x1b[31m\u202e") == "ä\tb\n\\x1b[31m\\u202e"


def test_our_own_colours_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """And those that somebody put into a text that we colour do not."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Output()
    out.no_color = out.plain = False

    mark = out.style("a\x1b[1m", sys.stdout, fg="red")

    assert out.shown(f"{mark} \x1b[2m") == "\x1b[31ma\\x1b[1m\x1b[0m \\x1b[2m"


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_an_early_end_is_quiet(end: signal.Signals) -> None:
    """Ctrl-C or the end of a service while the command is still being imported: its exit code, no traceback."""
    # Whoever started the tests in the background has them ignore Ctrl-C, and their children with them.
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    argv = [sys.executable, "-c", EARLY, str(int(end))]
    done = subprocess.run(argv, capture_output=True, text=True, preexec_fn=listen)  # no threads here

    assert (done.returncode, done.stderr) == (128 + end, "")


@pytest.mark.parametrize("command", ["plugins list", "run -m scripted:demo hi"])
def test_a_stderr_that_is_closed_is_no_failure(command: str) -> None:
    """Nobody wants to hear the talk; the answer is the same."""
    heard = subprocess.run(["bash", "-c", f"{PEG} {command} 2>/dev/null < /dev/null"], capture_output=True, text=True)
    done = subprocess.run(["bash", "-c", f"{PEG} {command} 2>&- < /dev/null"], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, heard.stdout)


def test_a_reader_that_went_away_is_no_fault_of_a_plugin() -> None:
    """`--jsonl | head -1`: one line, no blame, and the run stops."""
    line = f"set -o pipefail; {PEG} run -m scripted:demo hi --jsonl < /dev/null | head -n 1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)

    assert done.stdout.count("\n") == 1
    assert "cli-events" not in done.stderr
    assert "Traceback" not in done.stderr
