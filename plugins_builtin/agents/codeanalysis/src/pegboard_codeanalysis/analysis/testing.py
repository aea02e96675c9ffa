"""Which tests look at which module, and how sure that is: an import says more than a name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from pegboard_codeanalysis.analysis import snapshot
from pegboard_codeanalysis.analysis.layout import Modules
from pegboard_codeanalysis.analysis.model import FileFacts, Finding, Place, Snapshot
from pegboard_codeanalysis.analysis.results import Edge, TestRow

_COMPLEX: Final = 60
_MOST: Final = 20
_PROJECT: Final = ("pyproject.toml", "setup.py", "setup.cfg")


def test_map(
    taken: Snapshot, modules: Modules, facts: Mapping[str, FileFacts], edges: Sequence[Edge], shipped: Sequence[str]
) -> tuple[TestRow, ...]:
    """For each shipped module the tests that look at it, by the surest way that there is.

    They import it or say its name; they import its package, that hands it on; they are named after it; they import a
    module that imports it; they stand beside it in one distribution, and import the package that it is in.
    """
    ties = _ties(modules, facts, edges)
    beside = _Distributions(taken, modules)
    named = _ByName(modules, ties.tests, beside)
    rows = []
    for path in shipped:
        if not facts.get(path, FileFacts()).functions:
            continue
        ways = {
            "imports": ties.direct[path],
            "package": _by_package(path, ties),
            "name": named.of(path),
            "indirect": {test for importer in ties.importers[path] for test in ties.direct.get(importer, ())},
            "distribution": beside.tests_of(path, ties),
        }
        how = next((name for name, found in ways.items() if found), "")
        complexity = sum(function.complexity for function in facts[path].functions)
        rows.append(TestRow(path=path, complexity=complexity, tests=tuple(sorted(ways.get(how, ())))[:_MOST], how=how))
    return tuple(sorted(rows, key=lambda row: (bool(row.tests), -row.complexity, row.path)))


class _Ties(NamedTuple):
    tests: frozenset[str]
    direct: dict[str, set[str]]
    """Of each file the tests that import it, or have its name in a string."""
    importers: dict[str, set[str]]
    """Of each file what of the program imports it, or has its name in a string."""


def _ties(modules: Modules, facts: Mapping[str, FileFacts], edges: Sequence[Edge]) -> _Ties:
    tests = frozenset(path for path, entry in modules.paths.items() if entry.role == "test")
    direct: dict[str, set[str]] = defaultdict(set)
    importers: dict[str, set[str]] = defaultdict(set)
    pairs = {(edge.importer, edge.imported) for edge in edges if edge.runtime or edge.importer in tests}
    pairs |= {(path, each) for path, known in facts.items() for each in _named(modules, path, known)}
    for importer, imported in pairs:
        if importer != imported:
            (direct if importer in tests else importers)[imported].add(importer)
    return _Ties(tests, direct, importers)


def _named(modules: Modules, path: str, known: FileFacts) -> Iterator[str]:
    """The modules whose names stand in strings of a file: lazy exports, plugins, settings."""
    package = modules.name_of[path] if modules.is_package(path) else modules.name_of[path].rpartition(".")[0]
    for name in known.named:
        full = f"{package}{name}" if name.startswith(".") else name
        found = modules.find(full, path) or modules.find(full.rpartition(".")[0], path)
        if found is not None:
            yield found


def _by_package(path: str, ties: _Ties) -> set[str]:
    """Tests that import a package above, where its `__init__` hands on what is in the module."""
    return {
        test
        for importer in ties.importers[path]
        if importer.endswith("__init__.py") and path.startswith(importer.removesuffix("__init__.py"))
        for test in ties.direct.get(importer, ())
    }


class _Distributions:
    """Which tests and modules belong to one distribution, and which packages one announces as entry points."""

    def __init__(self, taken: Snapshot, modules: Modules) -> None:
        self._taken = taken
        self._modules = modules
        files = {entry.path for entry in taken.files if entry.path.rpartition("/")[2] in _PROJECT}
        self._roots = {path.rpartition("/")[0] for path in files}
        self._announced = {root: self._text(f"{root}/pyproject.toml".lstrip("/"), files) for root in self._roots}
        self._tests: dict[tuple[str, str], set[str]] = {}

    def _text(self, path: str, files: set[str]) -> str:
        try:
            return snapshot.read(f"{self._taken.root}/{path}").decode("utf-8", "replace") if path in files else ""
        except OSError:
            return ""

    def root_of(self, path: str) -> str:
        """The nearest folder above that is a project of its own."""
        folder = path.rpartition("/")[0]
        while folder and folder not in self._roots:
            folder = folder.rpartition("/")[0]
        return folder

    def tests_of(self, path: str, ties: _Ties) -> set[str]:
        """Tests of the same distribution that import the package, or load it through its entry points."""
        root, package = self.root_of(path), self._modules.name_of[path].partition(".")[0]
        if (root, package) not in self._tests:
            own = {test for test in ties.tests if self.root_of(test) == root}
            inside = {each for each, name in self._modules.name_of.items() if name.partition(".")[0] == package}
            using = {test for each in inside - ties.tests for test in ties.direct.get(each, ())} & own
            announced = re.search(rf'=\s*"{re.escape(package)}[":.]', self._announced.get(root, ""))
            self._tests[root, package] = own if announced else using
        return self._tests[root, package]


class _ByName:
    """Tests named after a module: `test_cart`, `test_shop_cart`, and in its distribution `test_cart_prices`."""

    def __init__(self, modules: Modules, tests: frozenset[str], beside: _Distributions) -> None:
        self._modules = modules
        self._beside = beside
        self._by_word: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for path in sorted(tests):
            stem = path.rpartition("/")[2].rpartition(".")[0].removeprefix("test_").removesuffix("_test")
            for word in set(stem.split("_")):
                self._by_word[word].append((stem, path))

    def of(self, path: str) -> set[str]:
        """The tests of one module."""
        folder, _, file = path.rpartition("/")
        stem = file.rpartition(".")[0]
        stem = folder.rpartition("/")[2] if stem == "__init__" else stem.strip("_")
        around = set(re.split(r"[/_]", folder))
        return {
            test
            for name, test in self._by_word.get(stem.split("_")[0], ())
            if name == stem
            or (name.endswith(f"_{stem}") and set(name.removesuffix(f"_{stem}").split("_")) <= around)
            or (name.startswith(f"{stem}_") and self._beside.root_of(test) == self._beside.root_of(path))
        }


def untested(rows: Sequence[TestRow], facts: Mapping[str, FileFacts], test_files: int) -> Iterator[Finding]:
    """Complex modules that no test was found for, and how sure that is."""
    if not test_files and rows:  # one statement, and not one for each module
        lines = sum(facts[row.path].code_lines for row in rows)
        yield Finding(
            rule="no-tests", tool="tests", severity="medium", place=Place(rows[0].path, 1),
            message=f"{lines:,} lines of code in {len(rows)} modules with functions, and not one test",
        )  # fmt: skip
        return
    for row in rows:
        if row.how not in ("", "distribution") or row.complexity < _COMPLEX:
            continue
        worst = max(facts[row.path].functions, key=lambda function: function.complexity)
        near = bool(row.tests)
        how = "tests beside it use its package and may get there" if near else "no test uses its package either"
        yield Finding(
            rule="untested", tool="tests", severity="note" if near else "low", confidence=0.3 if near else 0.6,
            place=Place(row.path, worst.line),
            message=f"no test imports `{row.path}` or is named after it, and {how}; "
            f"cognitive complexity {row.complexity}, most of it in `{worst.name}`",
        )  # fmt: skip
