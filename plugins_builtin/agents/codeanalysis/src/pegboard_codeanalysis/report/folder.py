"""Where reports are put: `.pegboard/reports/<run>/` in the workspace, and `latest`, which means the newest."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from pegboard.interfaces import HostContext

FOLDER: Final = ".pegboard/reports"
LATEST: Final = "latest"
_TOOLS: Final = ("pegboard-codeanalysis", "ruff", "bandit", "vulture", "complexipy", "grimp", "griffelib")


def write(workspace: Path, run: str, files: Mapping[str, bytes], host: HostContext | None) -> dict[str, str]:
    """Write the files of a report; their paths by name, the folder, and `latest`."""
    reports = workspace / FOLDER
    folder = reports / _plain(run)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        _put(folder / name, data, host)
    ignore = reports / ".gitignore"
    if not ignore.exists():
        _put(ignore, b"*\n", host)  # a report is nothing to commit by accident
    return {
        **{name.rpartition(".")[2]: str(folder / name) for name in files},
        "folder": str(folder),
        "latest": _point(reports, folder.name),
    }


def _put(path: Path, data: bytes, host: HostContext | None) -> None:
    """Through the service that knows our permissions, where there is one."""
    if host is not None:
        host.fs.write(path, data)
    else:
        path.write_bytes(data)


def _plain(run: str) -> str:
    """A run's id as the name of a folder."""
    return "".join(sign if sign.isalnum() or sign in "-_." else "-" for sign in run).lstrip(".") or "run"


def _point(reports: Path, name: str) -> str:
    """Have `latest` mean this report: a link that is replaced whole; without links, a file with the name."""
    latest = reports / LATEST
    temporary = reports / f".{LATEST}.{os.getpid()}"
    try:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        temporary.symlink_to(name, target_is_directory=True)
        temporary.replace(latest)
    except OSError:
        temporary.unlink(missing_ok=True)
        latest = reports / f"{LATEST}.txt"
        latest.write_text(f"{name}\n", encoding="utf-8")
    return str(latest)


def versions() -> dict[str, str]:
    """What computes, and in which version."""
    found = {}
    for name in _TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
