"""Where reports are put: `.pegboard/reports/<run>/` in the workspace, and `latest`, which means the newest.

Without links, `latest.txt` has the name of its folder.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from pegboard.errors import FilesDeniedError
from pegboard.interfaces import HostContext

FOLDER: Final = ".pegboard/reports"
LATEST: Final = "latest"
_TOOLS: Final = ("pegboard-codeanalysis", "ruff", "bandit", "vulture", "complexipy", "grimp", "griffelib")


def write(workspace: Path, run: str, files: Mapping[str, bytes], host: HostContext | None) -> dict[str, str]:
    """Write the files of a report; their paths by name, the folder, and `latest`, empty where links cannot be made.

    Raises:
        FilesDeniedError: a link stands where something is to be written.
    """
    reports = workspace / FOLDER
    folder = reports / _plain(run)
    ignore, named = reports / ".gitignore", reports / f"{LATEST}.txt"
    _refuse_links(workspace, (*(folder / name for name in files), ignore, named))
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        _put(folder / name, data, host)
    if not ignore.exists():
        _put(ignore, b"*\n", host)  # a report is nothing to commit by accident
    latest = reports / LATEST
    is_linked = _point(latest, folder.name)
    if not is_linked:
        _put(named, f"{folder.name}\n".encode(), host)
    return {
        **{name.rpartition(".")[2]: str(folder / name) for name in files},
        "folder": str(folder),
        "latest": str(latest) if is_linked else "",
    }


def _refuse_links(workspace: Path, paths: Iterable[Path]) -> None:
    """A clone or an archive can bring links where we write, which lead to any file of its user."""
    for path in paths:
        for part in (path, *path.parents):
            if part == workspace:
                break
            if part.is_symlink():
                raise FilesDeniedError(f"`{part}` is a link, and a report is only written into its own folder",
                                       hint=f"rm {shlex.quote(str(part))}")  # fmt: skip


def _put(path: Path, data: bytes, host: HostContext | None) -> None:
    """Through the service that knows our permissions, where there is one."""
    if host is not None:
        host.fs.write(path, data)
    else:
        path.write_bytes(data)


def _plain(run: str) -> str:
    """A run's id as the name of a folder."""
    return "".join(sign if sign.isalnum() or sign in "-_." else "-" for sign in run).lstrip(".") or "run"


def _point(latest: Path, name: str) -> bool:
    """Have `latest` mean this report: a link that is replaced whole. Whether it does now."""
    temporary = latest.with_name(f".{LATEST}.{os.getpid()}")
    try:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        temporary.symlink_to(name, target_is_directory=True)
        temporary.replace(latest)
    except OSError:  # no links on this system, or a folder of this name
        temporary.unlink(missing_ok=True)
        return False
    return True


def versions() -> dict[str, str]:
    """What computes, and in which version."""
    found = {}
    for name in _TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
