"""The process in which a plugin is tried: `python -P -m pegboard_testing.conformance.probe STAGE PLUGIN`.

One stage per process, one JSON object on stdout; whatever the plugin prints goes to stderr, and its threads are not
waited for. How the plugin is installed and what of it is a fault is not known here.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from pegboard import Agent, Pegboard
from pegboard.errors import PegboardError
from pegboard.events import event_to_json
from pegboard.hookspecs import ImplOptions, options_of
from pegboard_replay import Gate, ScriptedModel, call, turn

from pegboard_testing.conformance.subject import Subject, find_subject
from pegboard_testing.leaks import SNAPSHOTS, differences
from pegboard_testing.tools import FakeTool

SECRET: Final = "conformance-secret-5f3a9c"
_SECRET_VARIABLE: Final = "CONFORMANCE_SECRET"
_WAITING_EVENTS: Final = frozenset({"subprocess.Popen", "os.system", "socket.connect", "urllib.Request"})
_DEFAULTS: Final = msgspec.to_builtins(ImplOptions())


def stage_import(subject: Subject) -> dict[str, Any]:
    """What the import of the entry module costs, loads and leaves behind."""
    kinds = {kind: take for kind, take in SNAPSHOTS.items() if kind != "task"}
    before, known = {kind: take() for kind, take in kinds.items()}, set(sys.modules)
    started = time.process_time()
    importlib.import_module(_entry_module(subject))
    cpu_ms = (time.process_time() - started) * 1000
    left = list(differences(before, {kind: take() for kind, take in kinds.items()}))
    return {"cpu_ms": cpu_ms, "modules": sorted(set(sys.modules) - known), "left": left}


def stage_hooks(subject: Subject) -> dict[str, Any]:
    """The hooks that the plugin's code marks, each with the options that differ from the defaults."""
    module, _, name = subject.manifest["entry"].partition(":")
    plugin: Any = importlib.import_module(module)
    for part in filter(None, name.split(".")):
        plugin = getattr(plugin, part)
    marked = {key: options_of(getattr(plugin, key, None)) for key in dir(plugin)}
    return {"hooks": {key: _chosen(options) for key, options in marked.items() if options is not None}}


def stage_activate(subject: Subject) -> dict[str, Any]:
    """Whether it activates on an empty configuration, and what it writes beside its own folders."""
    before = _written(subject)
    outcome = asyncio.run(_activated(subject))
    return {**outcome, "written": sorted(_written(subject) - before)}


def stage_run(subject: Subject) -> dict[str, Any]:
    """One whole run with a tool call: what blocks the loop, what its tools say of themselves, what it reveals."""
    os.environ[_SECRET_VARIABLE] = SECRET
    return asyncio.run(_whole_run(subject))


def stage_cancel(subject: Subject) -> dict[str, Any]:
    """How long a run takes to end that is cancelled in its model request, and in a tool call."""
    seconds = {where: asyncio.run(_cancelled(subject, where)) for where in ("model request", "tool call")}
    return {"seconds": seconds}


# --- the stages, step by step ---------------------------------------------------------------------------------------


async def _activated(subject: Subject) -> dict[str, Any]:
    async with Pegboard(autoload=True) as board:
        try:
            await board.plugins.activate(subject.plugin)
        except PegboardError as exc:
            return {"state": board.plugins.state(subject.plugin), "code": exc.code, "message": exc.message}
        return {"state": board.plugins.state(subject.plugin), "code": None, "message": ""}


async def _whole_run(subject: Subject) -> dict[str, Any]:
    model = ScriptedModel([call("fake", x=1), "done"])
    blocking: list[str] = []
    said = _Log()
    error = None
    with said.captured():
        async with Pegboard(autoload=True, config=_with_secrets(subject)) as board:
            with _watched(subject, blocking):
                await board.plugins.activate(subject.plugin)
                blocking.clear()  # what the activation does is done in a thread of its own, or is its own business
                result = await board.run(Agent("probe", model=model, tools=[FakeTool()]), "go", check=False)
            error = None if result.ok else str(result.error or result.end_reason)
            limits = {
                name: tool.timeout_s for name, tool in board.plugins.tools().items() if _owns(board, subject, name)
            }
            places = {
                "an event": json.dumps([event_to_json(event) for event in (*result.events, *board.log)], default=repr),
                "its log": said.text,
                "a repr": " ".join(repr(record) for record in board.plugins.records()),
            }
    revealed = [place for place, text in places.items() if SECRET in text]
    return {"blocking": blocking, "tool_limits": limits, "revealed": revealed, "error": error}


async def _cancelled(subject: Subject, where: str) -> float | None:
    gate = Gate()
    in_tool = where == "tool call"
    model = ScriptedModel([call("fake") if in_tool else turn(gate, "never")])

    async def wait(_: Any) -> str:
        await gate.wait()
        return "never"

    async with Pegboard(autoload=True) as board:
        await board.plugins.activate(subject.plugin)
        agent = Agent("probe", model=model, tools=[FakeTool(returns=wait)])
        run = asyncio.create_task(board.run(agent, "go", run=f"in a {where}", check=False))
        await gate.reached()
        started = time.monotonic()
        await board.cancel(f"in a {where}", "conformance")
        done, _ = await asyncio.wait({run}, timeout=10.0)
        return time.monotonic() - started if done else None


def _with_secrets(subject: Subject) -> dict[str, Any]:
    names = subject.manifest.get("config", {}).get("secrets", ())
    return {"plugins": {subject.plugin: dict.fromkeys(names, f"env:{_SECRET_VARIABLE}")}} if names else {}


def _owns(board: Pegboard, subject: Subject, tool: str) -> bool:
    return bool(board.plugins.owner("tool", tool) == subject.plugin)


@contextmanager
def _watched(subject: Subject, blocking: list[str]) -> Iterator[None]:
    """Note what waits in this thread with a file of the plugin on its stack."""
    loop_thread, root, watching, sleep = threading.get_ident(), str(subject.folder), True, time.sleep

    def note(event: str) -> None:
        if watching and threading.get_ident() == loop_thread:
            frame = next((f for f in reversed(traceback.extract_stack()) if f.filename.startswith(root)), None)
            if frame is not None:
                blocking.append(f"`{event}` in {Path(frame.filename).name}:{frame.lineno}")

    def noted_sleep(seconds: Any) -> None:
        note("time.sleep")
        sleep(seconds)

    # Before Python 3.13 sleeping raises no audit event. An audit hook cannot be removed, only silenced.
    time.sleep = noted_sleep
    sys.addaudithook(lambda event, _: note(event) if event in _WAITING_EVENTS else None)
    try:
        yield
    finally:
        watching, time.sleep = False, sleep


class _Log(logging.Handler):
    """Everything that is logged while it is captured, down to the smallest level."""

    def __init__(self) -> None:
        super().__init__(level=logging.NOTSET)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += self.format(record) + "\n"

    @contextmanager
    def captured(self) -> Iterator[None]:
        root, level = logging.getLogger(), logging.getLogger().level
        root.addHandler(self)
        root.setLevel(logging.NOTSET)
        try:
            yield
        finally:
            root.removeHandler(self)
            root.setLevel(level)


def _entry_module(subject: Subject) -> str:
    return str(subject.manifest["entry"]).partition(":")[0]


def _chosen(options: ImplOptions) -> dict[str, Any]:
    """As in a manifest: lists, and nothing that is the default."""
    data = msgspec.to_builtins(options)
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in data.items()
        if value != _DEFAULTS[name]
    }


def _written(subject: Subject) -> set[str]:
    """Files of its package, and what lies in the current folder."""
    folders = (subject.folder, Path.cwd())
    paths = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in paths if not {"__pycache__", ".git"} & set(path.parts)}


STAGES: Final[dict[str, Callable[[Subject], dict[str, Any]]]] = {
    "import": stage_import,
    "hooks": stage_hooks,
    "activate": stage_activate,
    "run": stage_run,
    "cancel": stage_cancel,
}


def main() -> None:
    """Run the stage that is named on the command line."""
    answer = os.fdopen(os.dup(1), "wb", 0)
    os.dup2(2, 1)
    work = Path(os.environ["PEGBOARD_HOME"]) / "work"
    work.mkdir()
    os.chdir(work)
    answer.write(json.dumps(STAGES[sys.argv[1]](find_subject(sys.argv[2]))).encode())
    os._exit(0)


if __name__ == "__main__":
    main()

__all__ = ["SECRET", "STAGES", "main", "stage_activate", "stage_cancel", "stage_hooks", "stage_import", "stage_run"]
