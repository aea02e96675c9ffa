"""Where the members of a wheel land, and whether what they become there takes what belongs to others.

A member lies below site-packages, or in `X.data/SCHEME/` and then wherever the scheme leads: `data` is the whole
environment. So a member is judged by its target and not by its name.
"""

# ruff: noqa: PTH118, PTH119, PTH120, PTH206
# A wheel may have thousands of members; pathlib would be most of the time.

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pegboard.plugins.discovery.index import normalised
from pegboard.plugins.packages import present

_SCHEMES = ("purelib", "platlib", "scripts", "data", "headers")
_AT_START = ("sitecustomize", "usercustomize")


class Target(NamedTuple):
    """Where a member of a wheel lands."""

    member: str
    path: str
    """Absolute; the folders that it leads through are followed to where they really are."""
    scheme: str


class Installed(NamedTuple):
    """What is installed already and must not be overwritten by somebody else's wheel."""

    owners: Mapping[str, str]
    """Path as seen from site-packages, and the distribution that owns it."""
    packages: Mapping[str, str]
    """Top-level package with an `__init__`, and the distribution that owns it."""
    scripts: Mapping[str, str]

    @classmethod
    def here(cls) -> Installed:
        """What is installed in the environment of this process."""
        owners: dict[str, str] = {}
        packages: dict[str, str] = {}
        scripts: dict[str, str] = {}
        for name, _, dist in present.distributions():
            for file in dist.files or ():
                owners.setdefault(file.as_posix(), name)
                if len(file.parts) == 2 and file.name == "__init__.py":
                    packages.setdefault(file.parts[0], name)
            for point in dist.entry_points:
                if point.group in ("console_scripts", "gui_scripts"):
                    scripts.setdefault(point.name, name)
        return cls(owners, packages, scripts)


@lru_cache(maxsize=1)
def roots() -> Mapping[str, str]:
    """The folder of each scheme, as an installer of this environment chooses it."""
    paths = sysconfig.get_paths()
    shared = sys.prefix == sys.base_prefix and site.ENABLE_USER_SITE
    if shared and not os.access(paths["purelib"], os.W_OK):
        paths = sysconfig.get_paths(sysconfig.get_preferred_scheme("user"))
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    headers = os.path.join(paths["data"], "include", "site", version)
    found = {**{scheme: paths[scheme] for scheme in _SCHEMES if scheme in paths}, "headers": headers}
    return {scheme: os.path.realpath(path) for scheme, path in found.items()}


def site_folder() -> Path:
    """The folder that pure Python packages are installed into."""
    return Path(roots()["purelib"])


def targets(members: Iterable[str], dist: str) -> Iterator[Target]:
    """Where each member lands; those of a scheme that does not exist are left out."""
    folders = roots()
    real: dict[str, str] = {}
    for member in members:
        scheme, rest = _scheme(member)
        if scheme not in folders:
            continue
        parts = [dist] if scheme == "headers" else []
        path = os.path.normpath(os.path.join(folders[scheme], *parts, rest))
        parent, name = os.path.split(path)
        if parent not in real:
            real[parent] = os.path.realpath(parent)
        yield Target(member, os.path.join(real[parent], name), scheme)


def commands(scripts: Iterable[str]) -> Iterator[str]:
    """The files that an installer writes for entry points that are commands."""
    endings = (".exe", ".exe.manifest", "-script.py", "-script.pyw") if os.name == "nt" else ("",)
    for script in scripts:
        yield from (os.path.join(roots()["scripts"], script + ending) for ending in endings)


def judge(members: Sequence[str], scripts: Sequence[str], dist: str, installed: Installed) -> Iterator[str]:
    """Why these members and commands of a distribution must not be installed."""
    faults = {member: fault for member in members if (fault := _escape(member))}
    yield from faults.values()
    found = list(targets([member for member in members if member not in faults], dist))
    yield from _outside(found)
    yield from _start_code(found)
    yield from _overwritten(found, dist, installed)
    yield from _shadows(found, dist, installed)
    files = [os.path.basename(item.path) for item in found if os.path.dirname(item.path) == roots()["scripts"]]
    yield from _taken(sorted({*scripts, *files}), dist, installed)


# --- does it stay in its place --------------------------------------------------------------------------------------


def _scheme(member: str) -> tuple[str, str]:
    """Scheme and path below it."""
    first, _, rest = member.partition("/")
    if not first.endswith(".data"):
        return "purelib", member
    scheme, _, below = rest.partition("/")
    return scheme, below


def _escape(member: str) -> str | None:
    """Why it cannot be said where a member would land."""
    path = PurePosixPath(member)
    odd = "\\" in member or "\0" in member or ":" in member.partition("/")[0]
    if odd or path.is_absolute() or ".." in path.parts or not path.parts:
        return f"`{member}` would be written outside of its folder"
    scheme, rest = _scheme(member)
    if scheme not in _SCHEMES or not rest:
        return f"`{member}` belongs to no scheme, so nobody knows where it would be written"
    return None


def _outside(found: Sequence[Target]) -> Iterator[str]:
    allowed = set(roots().values())
    for item in found:
        if not any(_below(item.path, root) for root in allowed):
            yield f"`{item.member}` would be written outside of the environment"


def _below(path: str, folder: str) -> str | None:
    """The path as seen from a folder that it lies in, else `None`."""
    start = folder.rstrip(os.sep) + os.sep
    return path[len(start) :] if path.startswith(start) else None


def _start_code(found: Sequence[Target]) -> Iterator[str]:
    folders = _read_by_python()
    for item in found:
        for folder in folders:
            parts = (_below(item.path, folder) or "").split(os.sep)
            loose = len(parts) == 1 and parts[0].endswith(".pth")
            if loose or parts[0].partition(".")[0] in _AT_START:
                yield f"`{item.member}` would run at every start of Python"
                break


def _read_by_python() -> frozenset[str]:
    """Folders that modules are looked for in, and path files."""
    paths = sysconfig.get_paths()
    known = {paths[name] for name in ("purelib", "platlib", "stdlib", "platstdlib")}
    known |= {roots()["purelib"], roots()["platlib"], *sys.path, *site.getsitepackages()}
    if site.ENABLE_USER_SITE:
        known.add(site.getusersitepackages())
    return frozenset(os.path.realpath(path) for path in known if path)


# --- does it take what belongs to others ----------------------------------------------------------------------------


def _overwritten(found: Sequence[Target], dist: str, installed: Installed) -> Iterator[str]:
    for item in found:
        inside = _in_site(item.path)
        owner = installed.owners.get(inside or _key(item.path))
        if owner not in (None, dist):
            yield f"`{inside or item.path}` belongs to `{owner}` and would be overwritten"
        elif owner is None and inside is None and os.path.lexists(item.path):
            yield f"`{item.path}` is there already and would be overwritten"


def _key(path: str) -> str:
    """A path as RECORD has it."""
    return os.path.relpath(path, roots()["purelib"]).replace(os.sep, "/")


def _in_site(path: str) -> str | None:
    """The path below site-packages, with `/`."""
    inside = _below(path, roots()["purelib"]) or _below(path, roots()["platlib"])
    return inside and inside.replace(os.sep, "/")


def _shadows(found: Sequence[Target], dist: str, installed: Installed) -> Iterator[str]:
    inside = [name for item in found if (name := _in_site(item.path))]
    tops = {name.partition("/")[0].removesuffix("" if "/" in name else ".py") for name in inside}
    for top in sorted(tops):
        owner = installed.packages.get(top)
        if top in sys.stdlib_module_names:
            yield f"`{top}` would hide a module of Python itself"
        elif owner not in (None, dist):
            yield f"`{top}` is a package of `{owner}`, and files would be added to it"
        elif top.endswith(".dist-info") and normalised(top.partition("-")[0]) != dist:
            yield f"`{top}` would be metadata of another distribution"


def _taken(scripts: Sequence[str], dist: str, installed: Installed) -> Iterator[str]:
    folder = Path(roots()["scripts"])
    for script in scripts:
        owner = installed.scripts.get(script) or installed.owners.get(_key(str(folder / script)))
        if script in ("", ".", "..") or "/" in script or "\\" in script or "\0" in script:
            yield f"`{script}` is no name of a command"
        elif owner not in (None, dist):
            yield f"the command `{script}` belongs to `{owner}` and would be overwritten"
        elif owner is None and (folder / script).exists():
            yield f"the command `{script}` is there already and would be overwritten"
