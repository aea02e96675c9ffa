"""Imports inside core point down only, and none hides inside a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "core" / "src" / "pegboard"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "lazy", "signs", "regular", "file_lock", "threads", "deadline", "folders", "shape", "agent_names"),
    ("types", "events", "wire"),
    (
        "interfaces",
        "clock",
        "locks",
        "schema",
        "output",
        "tools",
        "assembling",
        "model",
        "listing",
        "arguments",
        "metering",
        "history",
        "counting",
        "budget",
        "prices",
        "trouble",
        "views",
    ),
    ("hookspecs",),
    ("config_lines", "config", "config_edit"),
    ("plugins",),
    ("agent", "agent_files"),
    ("memory", "journal", "spent", "state", "toolbox", "run", "context"),
    ("repeats", "calls", "recovery", "turns", "phases", "runner", "conversation"),
    ("runs", "services"),
    ("runtime",),
    ("cli",),
    ("__main__",),
)
"""Rooms of core from the ground up; a room may use those below it and those to its left."""

ORDER = [room for floor in FLOORS for room in floor]
NOT_EVERYWHERE = {"pwd", "fcntl", "msvcrt"}
"""Modules that some platforms lack, so that they cannot be imported at the top."""
INNER_IMPORTS = {"cli", "plugins", "__main__"}
"""Rooms that may import inside a function: what they import is dear, or a plugin's."""
UPWARD_TYPES = {"types", "errors"}
"""Rooms that may name, for the type checker only, what lives above them."""

Import = tuple[str, int, bool, bool]
"""Module, line, whether it stands inside a function, whether only the type checker sees it."""


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def modules_in(node: ast.AST) -> Iterator[str]:
    """The modules that one node imports, now or, as a `LazyModule`, later."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"relative import on line {node.lineno}"
        whole = node.module == "pegboard"
        yield from (f"pegboard.{alias.name}" for alias in node.names) if whole else [node.module or ""]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "LazyModule":
        yield from (str(argument.value) for argument in node.args if isinstance(argument, ast.Constant))


def imports_of(node: ast.AST, inside: bool = False, typing_only: bool = False) -> Iterator[Import]:
    """Every import below `node`; what stands in the `else` of `if TYPE_CHECKING` is for run time."""
    for child in ast.iter_child_nodes(node):
        hidden = typing_only or (is_type_checking(node) and child in node.body)  # type: ignore[attr-defined]  # an `if`
        line = getattr(child, "lineno", 0)
        yield from ((module, line, inside, hidden) for module in modules_in(child))
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from imports_of(child, inside or function, hidden)


def room_of(module: str) -> str | None:
    """`types` for `pegboard.types.runs`; `None` for what is not ours, or is the package itself."""
    parts = module.split(".")
    return parts[1] if parts[0] == "pegboard" and len(parts) > 1 and parts[1] != "__version__" else None


def room_of_file(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def breaches(path: Path, source: str) -> Iterator[str]:
    """What one file does against the rules."""
    here = room_of_file(path)
    for module, line, inside, typing_only in imports_of(ast.parse(source)):
        room = room_of(module)
        if inside and here not in INNER_IMPORTS and module not in NOT_EVERYWHERE:
            yield f"{path.name}:{line} imports `{module}` inside a function"
        if room is None or (typing_only and here in UPWARD_TYPES):
            continue
        if room not in ORDER:
            yield f"{path.name}:{line} imports `{module}`, which has no floor"
        elif ORDER.index(room) > ORDER.index(here):
            yield f"{path.name}:{line} imports `{module}`, which is above it"


FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    """A module imports only what is below it, at its top."""
    assert room_of_file(path) in ORDER, f"give `{room_of_file(path)}` a floor"
    assert list(breaches(path, path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("room", "source", "complaint"),
    [
        ("types", "from pegboard.runner import AgentRunner", "above"),
        ("model", "from pegboard import runtime", "above"),
        ("tools", "model = LazyModule('pegboard.model')", "above"),
        ("tools", "if TYPE_CHECKING:\n    pass\nelse:\n    model = LazyModule('pegboard.model')", "above"),
        ("runner", "def f() -> None:\n    import json", "inside a function"),
        ("runner", "if TYPE_CHECKING:\n    from pegboard.runtime import Pegboard", "above"),
        ("runner", "from pegboard.attic import x", "no floor"),
    ],
)
def test_breach_is_seen(room: str, source: str, complaint: str) -> None:
    """Each way round the rule is noticed."""
    assert complaint in "".join(breaches(SOURCE / f"{room}.py", source))


@pytest.mark.parametrize("room", ["discovery", "dispatch"])
def test_lower_rooms_of_the_host_stand_alone(room: str) -> None:
    """Finding plugins and calling hooks know nothing of the host, so that each can be read, and loaded, without it."""
    imports = [
        module
        for path in (SOURCE / "plugins" / room).glob("*.py")
        for module, *_ in imports_of(ast.parse(path.read_text(encoding="utf-8")))
    ]
    strangers = [name for name in imports if name.startswith("pegboard.plugins.")]
    assert [name for name in strangers if not name.startswith(f"pegboard.plugins.{room}")] == []


def test_package_itself_imports_nothing() -> None:
    """`import pegboard` runs no module of ours, whatever the names it offers."""
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    at_run_time = [module for module, _, _, typing_only in imports_of(tree) if not typing_only]
    assert [module for module in at_run_time if module.startswith("pegboard")] == []
