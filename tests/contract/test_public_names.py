"""`__all__` is the list of a module's public names, no more and no fewer."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAZY = {
    "pegboard": ROOT / "core/src/pegboard/__init__.py",
    "pegboard_testing": ROOT / "plugins_builtin/dev/testing/src/pegboard_testing/__init__.py",
    "pegboard_workflow": ROOT / "plugins_builtin/workflow/workflow/src/pegboard_workflow/__init__.py",
}
"""Packages that build `__all__` from a table of lazy names; `test_lazy_names_resolve` is their test."""
SOURCES = sorted({*ROOT.glob("core/src/**/*.py"), *ROOT.glob("plugins_builtin/*/*/src/**/*.py")} - {*LAZY.values()})
NOT_NAMES = {"TypeVar", "ParamSpec", "LazyModule"}
"""Calls whose result is a tool of the module, not something it offers."""


def declared(tree: ast.Module) -> set[str] | None:
    """The names in `__all__`, where the module has one that is written out."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return {str(ast.literal_eval(item)) for item in node.value.elts if isinstance(item, ast.Constant)}  # type: ignore[attr-defined]  # a list
    return None


def assigned(node: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    """The names that an assignment defines."""
    maker = getattr(getattr(node.value, "func", None), "id", "")
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    yield from (target.id for target in targets if isinstance(target, ast.Name) and maker not in NOT_NAMES)


def offered(node: ast.stmt, own_package: str | None) -> Iterator[str]:
    """The names that a statement adds to the module: what it defines, and what a package takes from its modules."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        yield from assigned(node)
    elif isinstance(node, ast.ImportFrom) and own_package and (node.module or "").startswith(f"{own_package}."):
        yield from (alias.asname or alias.name for alias in node.names)


def package_of(path: Path) -> str | None:
    """The dotted name, for the `__init__.py` of a package."""
    parts = path.parts[path.parts.index("src") + 1 : -1]
    return ".".join(parts) if path.name == "__init__.py" else None


def public_names(path: Path, tree: ast.Module) -> set[str]:
    names = {name for node in tree.body for name in offered(node, package_of(path))}
    return {name for name in names if not name.startswith("_")}


def reexports(path: Path, tree: ast.Module) -> set[str]:
    """Names imported from elsewhere that a module may offer too."""
    return {
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[path.parts.index("src") + 1 :]))
def test_all_equals_public_names(path: Path) -> None:
    """What has no underscore is listed; what is listed exists."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = declared(tree)
    public = public_names(path, tree)
    if names is None:
        assert package_of(path) is None or not public, "a package that offers names lists them in `__all__`"
        return
    assert public - names == set(), "public, but not listed"
    assert names - public - reexports(path, tree) == set(), "listed, but not there"


@pytest.mark.parametrize("name", LAZY)
def test_lazy_names_resolve(name: str) -> None:
    """Every name that the package offers can be imported, and the type checker is told the same."""
    package = import_module(name)

    assert [public for public in package.__all__ if getattr(package, public, None) is None] == []
    block = next(node for node in ast.parse(LAZY[name].read_text(encoding="utf-8")).body if isinstance(node, ast.If))
    seen = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(package.__all__) - {"__version__"}
