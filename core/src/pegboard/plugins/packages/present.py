"""The distributions of this environment, as far as their metadata can be read.

A pip that was killed leaves folders that begin with `~`, and whoever deletes files by hand leaves metadata without a
name. Neither is installed; neither may end a command that has nothing to do with it.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution
from pathlib import Path
from typing import NamedTuple

from pegboard.errors import PluginInstallError
from pegboard.plugins.discovery.index import normalised
from pegboard.plugins.discovery.unfinished import STASH


class Present(NamedTuple):
    """A distribution that is installed."""

    name: str
    """Normalised."""
    version: str
    dist: Distribution

    @property
    def requires(self) -> list[str]:
        """What it needs; nothing where that cannot be read."""
        try:
            return list(self.dist.requires or ())
        except Exception:  # broken metadata of whatever kind
            return []


def distributions() -> Iterator[Present]:
    """Every distribution that can be read; of two with one name, the one that the import system finds is first."""
    for dist in importlib.metadata.distributions():
        if info_path(dist).name.startswith(STASH):
            continue
        try:
            name, version = dist.metadata["Name"], dist.metadata["Version"]
        except Exception:  # broken metadata of whatever kind
            continue
        if name and version:
            yield Present(normalised(name), version, dist)


def versions() -> dict[str, str]:
    """Versions by normalised name."""
    found: dict[str, str] = {}
    for item in distributions():
        found.setdefault(item.name, item.version)
    return found


def by_name(name: str) -> Present | None:
    """The distribution of this name."""
    return next((item for item in distributions() if item.name == normalised(name)), None)


def info_path(dist: Distribution) -> Path:
    """The folder of its metadata."""
    return Path(str(getattr(dist, "_path", "")))


def check_readable(names: Iterable[str], folder: Path) -> None:
    """Whether what is to be replaced can be read, so that it can be put back.

    Raises:
        PluginInstallError: metadata of one of these names has no name or version, or is that of another distribution.
    """
    for info in infos(folder, names):
        try:
            metadata = Distribution.at(info).metadata
            said, version = metadata["Name"], metadata["Version"]
        except Exception:  # broken metadata of whatever kind
            said, version = None, None
        if not version or not said or infos(folder, [said]).count(info) == 0:
            text = f"`{info}` is there already, and its METADATA is not that of a distribution of this name"
            raise PluginInstallError(text, hint=f"rm -r '{info}'")


def infos(folder: Path, names: Iterable[str]) -> list[Path]:
    """The folders of metadata that are named after these distributions, whatever stands in them."""
    wanted = {normalised(name) for name in names}
    return [path for path in sorted(folder.glob("*.dist-info")) if normalised(path.name.partition("-")[0]) in wanted]
