"""What the source of a plugin says, read and never run: its hooks, its tools, and what would fail at its import.

Where reading is not enough, such as a base class of another package, that is said and nothing is claimed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from pegboard.hookspecs import SPECS

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_TOOL_MAKERS = ("tool", "FunctionTool")
_TOOL_DEFAULTS = {"effect": "unsafe", "tier": "core"}


class Reading(NamedTuple):
    """What came of comparing a manifest with the source."""

    problems: list[str]
    warnings: list[str]
    unchecked: list[str]
    """What could not be told without running the code."""


class Entry(NamedTuple):
    """The functions behind an entry."""

    marked: Mapping[str, Function]
    unmarked: tuple[str, ...]
    """Those that have the name of a hook and no `@hookimpl`."""
    partial: str
    """Why there may be more; empty when this is all."""
    is_class: bool


class NotThere(Exception):
    """The entry cannot be imported as the manifest names it."""


class NotReadable(Exception):
    """The entry may be there; the source does not tell."""


def compare(manifest: Mapping[str, Any], folder: Path) -> Reading:
    """Compare a manifest with the source of its package; `folder` holds the manifest."""
    entry = manifest.get("entry")
    found = Reading([], [], [])
    if entry is None:
        return found
    root = _package_root(folder, entry)
    trees = dict(_trees(root, found.problems))
    try:
        _compare_hooks(manifest, entry, _entry(root, entry, trees), found)
    except NotThere as error:
        found.problems.append(f"entry: `{entry}` cannot be imported: {error}")
    except NotReadable as error:
        found.unchecked.append(f"hooks of `{entry}`: {error}")
    _compare_tools(manifest, trees.values(), found)
    return found


# --- hooks ---------------------------------------------------------------------------------------------------------


def _compare_hooks(manifest: Mapping[str, Any], name: str, entry: Entry, found: Reading) -> None:
    listed = set(manifest.get("hooks", {}))
    if entry.partial:
        found.unchecked.append(f"hooks of `{name}`: {entry.partial}")
    else:
        for hook in sorted(listed - entry.marked.keys()):
            found.problems.append(f"hooks.{hook}: is listed, and `{name}` has no `@hookimpl` function of this name")
    for hook in sorted(entry.marked.keys() - listed):
        known = "" if hook in SPECS else ", and there is no such hook"
        text = f"hooks.{hook}: `{name}` has an `@hookimpl` function of this name, and it is not listed{known}"
        found.problems.append(text)
    for hook, function in sorted(entry.marked.items()):
        found.problems.extend(_wrong_arguments(hook, function, is_method=entry.is_class))
    for hook in entry.unmarked:
        found.warnings.append(f"`{name}` has a method `{hook}`, the name of a hook, without `@hookimpl`: not called")


def _wrong_arguments(hook: str, function: Function, *, is_method: bool) -> Iterator[str]:
    spec = SPECS.get(hook)
    if spec is None:
        return
    for name in _needed(function.args, is_method=is_method and not _is_static(function)):
        if name not in spec.args:
            yield f"hooks.{hook}: has no argument `{name}`; it has {', '.join(f'`{each}`' for each in spec.args)}"


def _needed(arguments: ast.arguments, *, is_method: bool) -> Iterator[str]:
    """Names of the arguments that have no default, without `self`."""
    positional = [*arguments.posonlyargs, *arguments.args]
    yield from (each.arg for each in positional[is_method : len(positional) - len(arguments.defaults)])
    for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is None:
            yield each.arg


def _is_static(function: Function) -> bool:
    return any(_name(node) == "staticmethod" for node in function.decorator_list)


def unmarked_hooks(manifest: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """Methods of the entry that have the name of a hook and no `@hookimpl`, so that they are not called.

    Only the module of the entry is read; empty also where that does not tell.
    """
    entry = manifest.get("entry", "")
    root = _package_root(folder, entry)
    try:
        trees = {path: ast.parse(path.read_bytes()) for path in _places(root, entry)[:1]}
        return _entry(root, entry, trees).unmarked
    except (NotThere, NotReadable, SyntaxError, OSError, ValueError, RecursionError):
        return ()


def _places(root: Path, entry: str) -> list[Path]:
    """The file of the entry's module."""
    base = root.joinpath(*entry.partition(":")[0].split(".")[1:])
    return [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]


def _entry(root: Path, entry: str, trees: Mapping[Path, ast.Module]) -> Entry:
    module, _, attribute = entry.partition(":")
    base = root.joinpath(*module.split(".")[1:])
    places = _places(root, entry)
    if not places:
        if any(base.parent.glob(f"{base.name}.*")):
            raise NotReadable(f"`{module}` is compiled")
        raise NotThere(f"there is no module `{module}`")
    if places[0] not in trees:
        raise NotReadable(f"`{module}` cannot be parsed")
    body = trees[places[0]].body
    if not attribute:
        return _functions(body, "it imports with `*`" if _has_star(body) else "", is_class=False)
    return _of_class(body, attribute)


def _of_class(body: list[ast.stmt], attribute: str) -> Entry:
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    if attribute not in classes:
        if attribute.partition(".")[0] in _bound(body) or _has_star(body):
            raise NotReadable(f"`{attribute}` is no class that is written there")
        raise NotThere(f"there is no `{attribute}` in its module")
    bodies: list[ast.stmt] = []
    foreign: list[str] = []
    waiting = [attribute]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        if name not in classes:
            foreign.append(name)
            continue
        bodies = [*classes[name].body, *bodies] if name == attribute else [*bodies, *classes[name].body]
        waiting += [_name(base) or ast.unparse(base) for base in classes[name].bases]
    foreign = [name for name in foreign if name not in ("object", "Protocol", "Generic")]
    return _functions(bodies, f"its base class `{foreign[0]}` is not in its module" if foreign else "", is_class=True)


def _functions(body: list[ast.stmt], partial: str, *, is_class: bool) -> Entry:
    functions: dict[str, Function] = {}
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            functions.setdefault(node.name, node)
    marked = {name: node for name, node in functions.items() if any(map(_is_hookimpl, node.decorator_list))}
    return Entry(marked, tuple(sorted(functions.keys() & SPECS.keys() - marked.keys())), partial, is_class)


def _is_hookimpl(node: ast.expr) -> bool:
    return _name(node) == "hookimpl"


# --- tools ---------------------------------------------------------------------------------------------------------


def _compare_tools(manifest: Mapping[str, Any], trees: Iterable[ast.Module], found: Reading) -> None:
    listed = manifest.get("contributes", {}).get("tools", ())
    coded = {name: said for tree in trees for name, said in _tools(tree)} if listed else {}
    for item in listed:
        name = item["name"]
        if name not in coded:
            found.unchecked.append(f"effect of the tool `{name}`: no `@tool` with this name is written out")
            continue
        for key in ("effect", "tier"):
            said = coded[name][key]
            if said is None:
                found.unchecked.append(f"{key} of the tool `{name}`: it is not written out")
            elif item.get(key, said) != said:
                found.problems.append(f"tool `{name}`: {key} is `{item[key]}`, and `{said}` in code")


def _tools(tree: ast.Module) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Each tool whose name is written out, with effect and tier; `None` where these are not written out."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            calls = [each for each in node.decorator_list if isinstance(each, ast.Call)]
            found = [_said(call.keywords, node.name) for call in calls if _name(call) in _TOOL_MAKERS]
        elif isinstance(node, ast.Call) and _name(node) in _TOOL_MAKERS:
            found = [_said(node.keywords, None)]
        elif isinstance(node, ast.ClassDef):
            found = [_said_of_class(node)]
        else:
            continue
        yield from ((name, said) for name, said in found if name is not None)


def _said(keywords: list[ast.keyword], default_name: str | None) -> tuple[str | None, dict[str, str | None]]:
    given = {each.arg: each.value for each in keywords}
    name = _literal(given["name"]) if "name" in given else default_name
    if None in given:  # `**options`
        return name, dict.fromkeys(_TOOL_DEFAULTS)
    return name, {key: _literal(given[key]) if key in given else value for key, value in _TOOL_DEFAULTS.items()}


def _said_of_class(node: ast.ClassDef) -> tuple[str | None, dict[str, str | None]]:
    given: dict[str, ast.expr] = {}
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.value is not None:
            given[each.target.id] = each.value
        elif isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            given[each.targets[0].id] = each.value
    if not {"name", "effect"} <= given.keys():
        return None, {}
    return _literal(given["name"]), {key: _literal(given[key]) if key in given else None for key in _TOOL_DEFAULTS}


# --- source --------------------------------------------------------------------------------------------------------


def _package_root(folder: Path, entry: str) -> Path:
    """The top-level package; the manifest of one plugin of several lies in a folder of it."""
    top = entry.partition(":")[0].partition(".")[0]
    return folder.parent if folder.name != top and folder.parent.name == top else folder


def _trees(root: Path, problems: list[str]) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(root.rglob("*.py")):
        try:
            yield path, ast.parse(path.read_bytes())
        except SyntaxError as error:
            problems.append(f"`{path.relative_to(root)}` line {error.lineno} is no Python: {error.msg}")
        except (OSError, ValueError) as error:
            problems.append(f"`{path.relative_to(root)}` cannot be read: {error}")


def _bound(body: list[ast.stmt]) -> set[str]:
    """Every name that the statements of a module may bind, also inside of `if` and `try`."""
    found: set[str] = set()
    for node in (each for statement in body for each in ast.walk(statement)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def _has_star(body: list[ast.stmt]) -> bool:
    """Whether names come from elsewhere unseen."""
    stars = any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in body)
    return stars or any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in body)


def _name(node: ast.expr) -> str | None:
    """The last part of a name, of a call the name of what is called."""
    target = node.func if isinstance(node, ast.Call) else node
    target = target.value if isinstance(target, ast.Subscript) else target
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", None)


def _literal(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
