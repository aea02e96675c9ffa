"""One test per exit code, each reaching it through the real command in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pegboard.errors import ExitCode

MODEL = """
import asyncio
import sys

from pegboard import ModelBase, hookimpl
from pegboard.errors import CredentialsMissingError, ModelRefusedError, ModelUnavailableError
from pegboard.types import Finish, ModelCapabilities, ModelChunk, Usage


class Trial(ModelBase):
    provider = "trial"

    def __init__(self, name):
        self.name = name

    def capabilities(self, model):
        return ModelCapabilities()

    async def stream(self, request):
        if self.name == "refuse":
            raise ModelRefusedError("no")
        if self.name == "down":
            raise ModelUnavailableError("nobody there")
        print("waiting", file=sys.stderr, flush=True)
        while self.name in ("wait", "stubborn"):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if self.name == "wait":
                    raise
        yield ModelChunk(text="done")
        yield ModelChunk(finish=Finish("stop", Usage(10, 10, source="provider")))


class Plugin:
    @hookimpl
    async def provide_model(self, ctx, name):
        if name == "trial:key":
            raise CredentialsMissingError("no key", hint="export TRIAL_API_KEY=…")
        return Trial(name.removeprefix("trial:"))
"""


@pytest.fixture
def trial(site: Any) -> Any:
    """A plugin with models that end runs in every way."""
    site.plugin(
        "trial", {"hooks": {"provide_model": {}}, "contributes": {"models": [{"name": "trial"}]}}, {"plugin.py": MODEL}
    )
    return site


def ended(site: Any, *arguments: str) -> tuple[int, str | None]:
    """The exit code, and the code of the error in the object."""
    done = site.peg(*arguments, "--json")
    error = json.loads(done.stdout)["error"]
    assert error is None or error["exit_code"] == done.returncode or error["code"].startswith("run.")
    return done.returncode, error and error["code"]


def test_0_done(trial: Any) -> None:
    """A run that completes its task is 0."""
    assert ended(trial, "run", "hi", "-m", "trial:good") == (ExitCode.DONE, None)


def test_1_task_failed(trial: Any) -> None:
    """A run that ends without completing its task is 1."""
    assert ended(trial, "run", "hi", "-m", "trial:refuse") == (ExitCode.TASK_FAILED, "model.content_refused")


def test_2_usage(site: Any) -> None:
    """A wrong command line is 2."""
    assert ended(site, "plugins", "info") == (ExitCode.USAGE, "usage")


def test_3_plugin(site: Any) -> None:
    """A command of a plugin that cannot be imported is 3."""
    site.plugin("bad", {"contributes": {"commands": [{"name": "bad", "target": "pegboard_bad.gone:command"}]}})

    assert ended(site, "bad") == (ExitCode.PLUGIN, "plugin.load")


def test_4_config(site: Any, place: Path) -> None:
    """Settings that make no sense are 4."""
    (place / ".pegboard").mkdir()
    (place / ".pegboard" / "config.toml").write_text("model = 3\n")

    assert ended(site, "run", "hi") == (ExitCode.CONFIG, "config.invalid")


def test_5_credentials(trial: Any) -> None:
    """A missing key is 5."""
    assert ended(trial, "run", "hi", "-m", "trial:key") == (ExitCode.CREDENTIALS, "credentials.missing")


def test_6_limit(trial: Any) -> None:
    """A budget that does not cover the request is 6, and nothing was sent."""
    assert ended(trial, "run", "hi", "-m", "trial:good", "--budget-tokens", "1") == (ExitCode.LIMIT, "budget.exceeded")


def test_7_approval(trial: Any) -> None:
    """A question that nobody can answer is 7."""
    trial.plugin("asks", {"permissions": {"exec": ["git"]}})

    assert ended(trial, "plugins", "grant", "asks") == (ExitCode.APPROVAL, "approval.needed")


def test_8_unavailable(trial: Any) -> None:
    """A provider that is not there is 8."""
    assert ended(trial, "run", "hi", "-m", "trial:down") == (ExitCode.UNAVAILABLE, "model.unavailable")


def test_70_bug(site: Any) -> None:
    """A fault of ours is 70, with a report and no traceback."""
    code = "from pegboard.cli import pages; pages.code_page = None; from pegboard.__main__ import main; main()"
    done = site.python("-c", f"import sys; sys.argv = ['peg', 'help', 'plugin.load']; {code}")

    assert done.returncode == ExitCode.BUG
    assert "Traceback" not in done.stderr
    assert "the report is in `" in done.stderr


def start(site: Any, model: str, *more: str) -> subprocess.Popen[str]:
    """A run that waits inside of its model."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "pegboard", "run", "hi", "-m", model, *more],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(site.folder)},
    )
    read_until(process, "waiting")
    return process


def read_until(process: subprocess.Popen[str], word: str) -> None:
    """Read stderr up to a word."""
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return
    raise AssertionError(f"the process ended without `{word}`")


def test_130_interrupted(trial: Any) -> None:
    """Ctrl-C once ends a run kindly with 130; without a durable store nothing is promised for later."""
    process = start(trial, "trial:wait")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)

    assert process.returncode == ExitCode.INTERRUPTED
    assert "was cancelled" in told
    assert "--resume" not in told


def test_143_terminated(trial: Any) -> None:
    """SIGTERM ends a run as kindly: its end is told to whoever reads the events."""
    process = start(trial, "trial:wait", "--jsonl")
    process.terminate()
    written, _ = process.communicate(timeout=30)

    *events, answer = map(json.loads, written.splitlines())
    assert process.returncode == ExitCode.TERMINATED
    assert [event["data"]["end_reason"] for event in events if event["kind"] == "run.finished"] == ["cancelled"]
    assert answer["error"]["exit_code"] == ExitCode.TERMINATED


def test_143_before_there_is_a_run(site: Any) -> None:
    """While plugins start nothing is waited for."""
    code = "import asyncio, sys\n\n\nclass Plugin:\n    async def activate(self, ctx):\n"
    code += "        print('waiting', file=sys.stderr, flush=True)\n        await asyncio.sleep(60)\n"
    site.plugin(
        "slow",
        {"hooks": {"provide_tools": {}}, "activation": ["onStartup"], "startup_reason": "a test"},
        {"plugin.py": code},
    )
    process = start(site, "scripted:demo")
    process.terminate()
    process.communicate(timeout=30)

    assert process.returncode == ExitCode.TERMINATED


def test_ctrl_c_twice_is_now(trial: Any) -> None:
    """A second Ctrl-C ends the process at once, also when something does not let itself be stopped."""
    process = start(trial, "trial:stubborn")
    process.send_signal(signal.SIGINT)
    read_until(process, "once more")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)

    assert process.returncode == ExitCode.INTERRUPTED
    assert "stopped now" in told
    assert "--resume" not in told
