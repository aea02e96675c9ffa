"""Where the project keeps what: top-level packages, the names of modules, and what the project says of itself.

Configuration is read as data. `setup.py` is Python, and so is not run; what only it knows stays unknown.
"""

from __future__ import annotations

import configparser
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pegboard_codeanalysis.analysis import snapshot
from pegboard_codeanalysis.analysis.model import FileEntry, Metadata, Package, Snapshot

_INIT: Final = "__init__.py"
_SOURCE_ROOTS: Final = ("src", "lib")
_MAX_LISTED: Final = 200
_CI: Final = (".github/workflows/", ".gitlab-ci", ".circleci/", "azure-pipelines", ".travis", "jenkinsfile", ".ci/")


class Modules:
    """The Python files of a project by the names under which others import them."""

    def __init__(self, files: Iterable[FileEntry]) -> None:
        self.paths = {entry.path: entry for entry in files}
        self._packages = {path.removesuffix(_INIT).rstrip("/") for path in self.paths if _is_init(path)}
        self.root_of: dict[str, str] = {}
        """Of each file the folder that its name starts from."""
        self.name_of: dict[str, str] = {}
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self.folders: set[str] = set()
        for path in self.paths:
            self._add(path)
        self._ids = self._unique()

    def _add(self, path: str) -> None:
        root, name = self._named(path)
        self.root_of[path], self.name_of[path] = root, name
        self._by_name[name].append(path)
        # A folder without `__init__` may be a namespace package: then the file has longer names too.
        above = root
        while above:
            self.folders.add(above)
            above, _, folder = above.rpartition("/")
            if not folder.isidentifier() or folder in _SOURCE_ROOTS:
                break
            name = f"{folder}.{name}"
            self._by_name[name].append(path)

    def _named(self, path: str) -> tuple[str, str]:
        folder, _, file = path.rpartition("/")
        parts = [] if file == _INIT else [file.rpartition(".")[0]]
        while folder and folder in self._packages:  # what is above the analysed folder has no name here
            folder, _, name = folder.rpartition("/")
            parts.insert(0, name)
        return folder, ".".join(parts)

    def _unique(self) -> dict[str, str]:
        """A name for each file that no other has: its own where it can, else one with the folders before it."""
        counts: dict[str, int] = defaultdict(int)
        for name in self.name_of.values():
            counts[name] += 1
        ids = {}
        for path, name in self.name_of.items():
            plain = path.rpartition(".")[0].removesuffix("/__init__").replace("/", ".")
            ids[path] = name if counts[name] == 1 and name else plain
        return ids

    def id_of(self, path: str) -> str:
        """The unique name of a file."""
        return self._ids[path]

    def is_package(self, path: str) -> bool:
        """Whether a file is the `__init__` of a package."""
        return _is_init(path)

    def find(self, name: str, importer: str) -> str | None:
        """The file that an absolute import gets, seen from another file; `None` for what is not of this project."""
        found = self._by_name.get(name)
        if not found:
            return None
        own = self.root_of[importer]
        return min(found, key=lambda path: _distance(self._start(path, name), own))

    def may_shadow(self, path: str, name: str, importer: str) -> bool:
        """Whether a file really hides the standard library's module of this name: only beside the importer."""
        return self._start(path, name) == self.root_of[importer]

    def _start(self, path: str, name: str) -> str:
        """The folder that a name of a file starts from."""
        plain = path.removesuffix(f"/{_INIT}") if _is_init(path) else path.rpartition(".")[0]
        return plain[: -len(name)].rstrip("/") if len(plain) > len(name) else ""


def _distance(root: str, own: str) -> tuple[int, int, str]:
    """Nearer first: beside the importer's own root, then what every project has on its path, then the shallow ones."""
    if root == own:
        return (0, 0, root)
    if root in ("", *_SOURCE_ROOTS):
        return (1, 0, root)
    above = own == root or own.startswith(f"{root}/")
    return (2 if above else 3, root.count("/"), root)


def packages(modules: Modules) -> tuple[Package, ...]:
    """The top-level packages and modules of what is shipped, the largest first."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path, name in modules.name_of.items():
        if modules.paths[path].role == "code" and name:
            groups[modules.root_of[path], name.partition(".")[0]].append(path)
    rows = [_package(root, name, paths, modules) for (root, name), paths in groups.items()]
    return tuple(sorted(rows, key=lambda row: (-row.lines, row.path)))


def _package(root: str, name: str, paths: Sequence[str], modules: Modules) -> Package:
    base = f"{root}/{name}" if root else name
    lines = sum(modules.paths[path].lines for path in paths)
    if f"{base}/{_INIT}" in modules.paths:
        kind: Literal["package", "namespace", "module"] = "package"
    else:
        kind = "module" if len(paths) == 1 else "namespace"
    layout: Literal["flat", "src", "nested"] = "flat" if not root else "nested"
    if root in _SOURCE_ROOTS or root.endswith(tuple(f"/{each}" for each in _SOURCE_ROOTS)):
        layout = "src"
    return Package(name, base if kind != "module" else paths[0], len(paths), lines, kind, layout)


def _is_init(path: str) -> bool:
    return path == _INIT or path.endswith(f"/{_INIT}")


# --- what the project says of itself -----------------------------------------------------------------------------


def metadata(taken: Snapshot) -> Metadata:
    """Name, dependencies, entry points and the like, as far as they stand in files that can be read as data."""
    paths = {entry.path: entry for entry in taken.files}
    project = _pyproject(taken, paths)
    table = _mapping(project.get("project"))
    poetry = _mapping(_mapping(project.get("tool")).get("poetry"))
    setup = _setup_cfg(taken, paths)
    top = {path.lower(): path for path in paths if "/" not in path}
    return Metadata(
        name=_text(table.get("name") or poetry.get("name") or setup.get("metadata", {}).get("name")),
        version=_text(table.get("version") or poetry.get("version")),
        description=_text(table.get("description") or poetry.get("description")),
        requires_python=_text(table.get("requires-python")),
        dependencies=tuple(_dependencies(table, poetry, setup, taken, paths)[:_MAX_LISTED]),
        entry_points=tuple(_entry_points(table, poetry)[:_MAX_LISTED]),
        build_backend=_text(_mapping(project.get("build-system")).get("build-backend")),
        readme=next((path for lower, path in sorted(top.items()) if lower.startswith("readme")), ""),
        licence=next((path for lower, path in sorted(top.items()) if lower.startswith(("license", "licence"))), ""),
        ci=tuple(path for path in paths if path.lower().startswith(_CI))[:20],
        test_runner=_test_runner(project, setup, paths),
    )


def _pyproject(taken: Snapshot, paths: Mapping[str, FileEntry]) -> Mapping[str, Any]:
    try:
        return tomllib.loads(_read(taken, paths, "pyproject.toml"))
    except (ValueError, RecursionError):
        return {}


def _setup_cfg(taken: Snapshot, paths: Mapping[str, FileEntry]) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(_read(taken, paths, "setup.cfg"))
    except configparser.Error:
        return {}
    return {section: dict(parser.items(section)) for section in parser.sections()}


def _read(taken: Snapshot, paths: Mapping[str, FileEntry], path: str) -> str:
    if path not in paths:
        return ""
    try:
        return snapshot.read(str(Path(taken.root) / path)).decode("utf-8", "replace")
    except OSError:
        return ""


def _dependencies(
    table: Mapping[str, Any], poetry: Mapping[str, Any], setup: Mapping[str, Mapping[str, str]], taken: Snapshot,
    paths: Mapping[str, FileEntry],
) -> list[str]:  # fmt: skip
    listed = table.get("dependencies")
    if isinstance(listed, list):
        return [item for item in listed if isinstance(item, str)]
    if poetry.get("dependencies"):
        return [name for name in _mapping(poetry["dependencies"]) if name != "python"]
    required = setup.get("options", {}).get("install_requires", "") or _read(taken, paths, "requirements.txt")
    lines = (line.strip() for line in required.splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def _entry_points(table: Mapping[str, Any], poetry: Mapping[str, Any]) -> list[str]:
    scripts = _mapping(table.get("scripts")) or _mapping(poetry.get("scripts"))
    return [f"{name} = {target}" for name, target in scripts.items() if isinstance(target, str)]


def _test_runner(project: Mapping[str, Any], setup: Mapping[str, Any], paths: Mapping[str, FileEntry]) -> str:
    tool = _mapping(project.get("tool"))
    if "pytest" in tool or "tool:pytest" in setup or {"pytest.ini", "conftest.py", "tests/conftest.py"} & paths.keys():
        return "pytest"
    names = (path.rpartition("/")[2] for path in paths)
    return "unknown" if any(re.fullmatch(r"test_\w+\.py|\w+_test\.py|tests\.py", name) for name in names) else "none"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value[:300] if isinstance(value, str) else ""
