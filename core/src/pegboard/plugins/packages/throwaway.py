"""Runs a module of ours in a process that is thrown away, and reads the one line of JSON that it answers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pegboard import folders


@contextmanager
def own_home() -> Iterator[Mapping[str, str]]:
    """The environment of a process that reads our settings, and whose death nobody will remember."""
    with tempfile.TemporaryDirectory(prefix="pegboard-") as home:
        for name, folder in (("config", folders.config_dir()), ("system", folders.system_config_dir())):
            file = Path(folder, "config.toml") if folder else None
            if file is not None and file.is_file():
                Path(home, name).mkdir()
                shutil.copy(file, Path(home, name))
        yield {**os.environ, "PEGBOARD_HOME": home}


def ask(module: str, *arguments: str, limit_s: float = 60.0) -> dict[str, Any]:
    """The answer, `{"ok": …, "reason": …}` and more; a process that dies or hangs gives an answer too."""
    with own_home() as environ:
        return _ask([module, *arguments], limit_s, environ)


def _ask(arguments: list[str], limit_s: float, environ: Mapping[str, str]) -> dict[str, Any]:
    # -P: what lies in the working folder must not stand in for a module.
    command = [sys.executable, "-P", "-m", *arguments]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ,
        start_new_session=True,
    )
    try:
        answer, words = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        return {"ok": False, "reason": f"it did not return within {limit_s:g} s"}
    finally:
        _end(process)
    return _parsed(answer, words, process.returncode)


def _parsed(answer: bytes, words: bytes, code: int) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(answer.splitlines()[-1])
    except (IndexError, ValueError):
        last = words.decode(errors="replace").strip().splitlines()[-1:] or ["no word"]
        return {"ok": False, "reason": f"it ended the process with {code}: {last[0]}"}
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started, which could hold our pipes open for ever."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.communicate()
