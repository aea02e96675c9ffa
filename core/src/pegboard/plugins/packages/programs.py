"""pip and uv, run as programs: what would be installed, the wheels of it, and putting them in and taking them out.

Only wheels are ever used, since a source distribution runs code while it is built. pip resolves and downloads: the
environment's own, else the one that Python brings for `ensurepip`, else one that uv lends. Where the environment has
no pip, uv installs. Indexes and mirrors are set by pip's environment variables, which pass through.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from packaging.requirements import InvalidRequirement, Requirement

from pegboard.errors import PluginInstallError
from pegboard.plugins.discovery.index import normalised
from pegboard.plugins.packages import present
from pegboard.plugins.packages.wheels import WheelFile, sha256_of

_LIMIT_S = 600.0
_QUIET = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_NO_COLOR": "1", "UV_NO_PROGRESS": "1"}


class Tool(NamedTuple):
    """A way to call pip or uv."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = {}


class Wanted(NamedTuple):
    """A distribution that would be installed."""

    name: str
    version: str
    url: str
    sha256: str | None


def pip() -> Tool:
    """A pip that works on this environment.

    Raises:
        PluginInstallError: there is neither pip, nor ensurepip, nor uv.
    """
    if importlib.util.find_spec("pip"):
        return Tool("pip", (sys.executable, "-m", "pip"))
    if bundled := _bundled_pip():
        return Tool("pip", (sys.executable, "-m", "pip"), {"PYTHONPATH": str(bundled)})
    if uv := shutil.which("uv"):
        lent = (uv, "run", "--no-project", "--with", "pip", "python", "-m", "pip", "--python", sys.executable)
        return Tool("pip lent by uv", lent)
    raise PluginInstallError("there is neither pip nor uv to install with", hint="python -m ensurepip")


def installing_tool() -> Tool:
    """The environment's own pip; where it has none, uv; else any pip."""
    uv = shutil.which("uv")
    if uv and not importlib.util.find_spec("pip"):
        return Tool("uv", (uv, "pip"))
    return pip()


def resolve(spec: str, folder: Path, *, upgrade: bool = False) -> list[Wanted]:
    """What installing `spec` would bring: itself and what it needs and is not there yet."""
    report = folder / "report.json"
    options = ["--upgrade"] if upgrade else []
    arguments = ["install", "--dry-run", "--quiet", "--only-binary", ":all:", "--report", str(report), *options, spec]
    _run(pip(), arguments, f"`{spec}` could not be resolved")
    found: dict[str, Any] = json.loads(report.read_text("utf-8"))
    return [_wanted(item) for item in found["install"]]


def fetch(wanted: Sequence[Wanted], folder: Path) -> list[Path]:
    """The wheels, in `folder`; each has the hash that was resolved.

    Raises:
        PluginInstallError: a wheel cannot be had, or its hash is missing or another one.
    """
    return [_fetch(item, folder) for item in wanted]


def install(wheels: Sequence[str], *, lock: int | None = None) -> None:
    """Put wheels into this environment as they are; what they replace is removed.

    Args:
        wheels: their paths.
        lock: a descriptor that is left open in the program, so that what is locked stays so if only we are killed.
    """
    tool = installing_tool()
    if tool.name == "uv":
        options = ["-p", sys.executable, "--no-deps", "--offline", "--reinstall", "--compile-bytecode"]
    else:
        options = ["--no-deps", "--no-index", "--force-reinstall", "--quiet", "--no-warn-script-location"]
    _run(tool, ["install", *options, *wheels], "the wheels could not be installed", lock)


def uninstall(names: Sequence[str], *, lock: int | None = None) -> None:
    """Take distributions out of this environment; nothing of them is imported."""
    tool = installing_tool()
    options = ["-p", sys.executable] if tool.name == "uv" else ["--yes", "--quiet"]
    _run(tool, ["uninstall", *options, *names], f"`{', '.join(names)}` could not be uninstalled", lock)


def installed_versions() -> dict[str, str]:
    """Versions by normalised name."""
    return present.versions()


def conflicts(wheels: Sequence[WheelFile]) -> list[str]:
    """Requirements that would not hold after installing `wheels`, of them and of everything that is installed."""
    coming = {wheel.name: wheel.version for wheel in wheels}
    versions = {**present.versions(), **coming}
    needs = [(wheel.name, text) for wheel in wheels for text in wheel.requires]
    for item in present.distributions():
        if item.name not in coming:
            needs += [(item.name, text) for text in item.requires if _touches(text, coming)]
    return sorted({complaint for name, text in needs for complaint in _complaints(name, text, versions)})


def unmet(name: str) -> list[str]:
    """Requirements of an installed distribution that do not hold."""
    found = present.by_name(name)
    if found is None:
        return []
    versions = present.versions()
    return [complaint for text in found.requires for complaint in _complaints(found.name, text, versions)]


def dependants(name: str) -> list[str]:
    """The installed distributions that need this one."""
    name = normalised(name)
    others = (item for item in present.distributions() if item.name != name)
    return sorted({item.name for item in others if any(_touches(text, {name: ""}) for text in item.requires)})


def _complaints(name: str, text: str, versions: Mapping[str, str]) -> Iterator[str]:
    requirement = _applicable(text)
    if requirement is None:
        return
    version = versions.get(normalised(requirement.name))
    if version is None:
        yield f"`{name}` needs `{requirement}`, which is missing"
    elif not requirement.specifier.contains(version, prereleases=True):
        yield f"`{name}` needs `{requirement.name}{requirement.specifier}`, and it would be {version}"


def _touches(text: str, names: Mapping[str, str]) -> bool:
    requirement = _applicable(text)
    return requirement is not None and normalised(requirement.name) in names


def _applicable(text: str) -> Requirement | None:
    """The requirement, where it holds here without any extra."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    return requirement if requirement.marker is None or requirement.marker.evaluate({"extra": ""}) else None


def _bundled_pip() -> Path | None:
    found = importlib.util.find_spec("ensurepip")
    if found is None or found.origin is None:
        return None
    return next(iter(sorted(Path(found.origin).parent.glob("_bundled/pip-*.whl"))), None)


def _wanted(item: dict[str, Any]) -> Wanted:
    download = item["download_info"]
    hashes = download.get("archive_info", {}).get("hashes", {})
    meta = item["metadata"]
    return Wanted(normalised(meta["name"]), meta["version"], download["url"], hashes.get("sha256"))


def _fetch(wanted: Wanted, folder: Path) -> Path:
    if urlsplit(wanted.url).scheme == "file":
        source = Path(local_path(wanted.url))
        path = folder / source.name
        if source != path:
            shutil.copyfile(source, path)
    else:
        path = _download(wanted, folder)
    if path.suffix != ".whl":
        raise PluginInstallError(f"`{wanted.name}` {wanted.version} has no wheel, and building it would run its code")
    if wanted.sha256 and wanted.sha256 != sha256_of(path):
        raise PluginInstallError(f"`{path.name}` is not the file that was resolved: its hash differs")
    return path


def _download(wanted: Wanted, folder: Path) -> Path:
    if wanted.sha256 is None:
        raise PluginInstallError(f"`{wanted.name}` {wanted.version} is offered without a hash")
    before = set(folder.iterdir())
    exact = f"{wanted.name}=={wanted.version}"
    arguments = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), exact]
    _run(pip(), arguments, f"`{exact}` could not be downloaded")
    return (set(folder.iterdir()) - before).pop()


def local_path(url: str) -> str:
    """The path of a `file:` address."""
    return url2pathname(unquote(urlsplit(url).path)) if os.name == "nt" else unquote(urlsplit(url).path)


def _run(tool: Tool, arguments: Sequence[str], failure: str, lock: int | None = None) -> str:
    try:
        process = subprocess.Popen(
            [*tool.command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **_QUIET, **tool.environment},
            # A session of its own: the terminal's Ctrl-C must reach us, who can put things back, and not it.
            start_new_session=True,
            pass_fds=() if lock is None else (lock,),
        )
    except OSError as error:
        raise PluginInstallError(f"{failure}: {error}") from error
    try:
        stdout, stderr = process.communicate(timeout=_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise PluginInstallError(f"{failure}: {error}") from error
    finally:
        _end(process)
    if process.returncode:
        raise PluginInstallError(f"{failure}: {_reason(stderr or stdout)}")
    return stdout


def _end(process: subprocess.Popen[str]) -> None:
    """End a program that still runs, with whatever it started."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.communicate()


def _reason(text: str) -> str:
    """What pip or uv said was wrong, without their talk."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return "; ".join(errors[-2:] or lines[-3:]) or "no reason was given"
