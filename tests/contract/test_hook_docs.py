"""Every hook is documented, tested and used."""

from __future__ import annotations

import ast
import inspect
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pegboard.hookspecs import SPECS, Spec

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference" / "hooks"
ENTRIES = {
    "notify": {"When", "Raises", "Cancel"},
    "collect": {"When", "Return", "Raises", "Cancel"},
    "first": {"When", "Return", "Raises", "Cancel"},
    "gate": {"When", "Return", "Raises", "Cancel"},
    "pipeline": {"When", "Value", "Raises", "Cancel"},
    "around": {"When", "Value", "Raises", "Cancel"},
    "stream": {"When", "Value", "Raises", "Cancel"},
}
"""What the docstring of a hook answers, by its kind."""

each_hook = pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.name)


def documented_signature(spec: Spec) -> ast.FunctionDef | ast.AsyncFunctionDef:
    """The signature in the generated reference, parsed."""
    text = (REFERENCE / f"{spec.family}.md").read_text(encoding="utf-8")
    match = re.search(rf"^## `{spec.name}`\n.*?```python\n(.+?)\n```", text, re.MULTILINE | re.DOTALL)
    assert match is not None, f"`{spec.name}` is not in the reference: python docs/generate.py"
    function = ast.parse(f"{match[1]}: ...").body[0]
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    return function


def allowed(name: str) -> set[str]:
    """An allowlist: one hook a line, `#` begins a comment."""
    lines = (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()
    return {line.partition("#")[0].strip() for line in lines} - {""}


def implementations_in(source: str) -> Iterator[str]:
    """Names of the functions that a source marks `@hookimpl`, or hands to `plug(name=function)`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            marks = {ast.unparse(mark).partition("(")[0] for mark in node.decorator_list}
            if marks & {"hookimpl", "pegboard.hookimpl"}:
                yield node.name
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "plug":
            yield from (keyword.arg for keyword in node.keywords if keyword.arg)


def hooks_tested() -> set[str]:
    """Hooks that some test implements and lets the real core call."""
    files = [
        *ROOT.glob("core/tests/**/*.py"),
        *ROOT.glob("plugins_builtin/*/*/tests/**/*.py"),
        *ROOT.glob("tests/**/*.py"),
    ]
    return {name for path in files for name in implementations_in(path.read_text(encoding="utf-8"))} & SPECS.keys()


def hooks_used() -> set[str]:
    """Hooks that a built-in plugin lists in its manifest, or an object of its package implements for one board."""
    manifests = [
        tomllib.loads(path.read_text(encoding="utf-8")) for path in ROOT.glob("plugins_builtin/*/*/src/*/pegboard.toml")
    ]
    listed = {hook for manifest in manifests for hook in manifest.get("hooks", {})}
    objects = ROOT.glob("plugins_builtin/models/replay/src/pegboard_replay/*.py")
    implemented = {hook for path in objects for hook in implementations_in(path.read_text(encoding="utf-8"))}
    return listed | (implemented & SPECS.keys())


@each_hook
def test_reference_has_the_exact_signature(spec: Spec) -> None:
    """Names, order and types of the arguments, and the result, are those of the code."""
    function = documented_signature(spec)
    assert tuple(argument.arg for argument in function.args.args) == spec.args
    documented = {
        argument.arg: ast.unparse(argument.annotation) for argument in function.args.args if argument.annotation
    }
    documented["return"] = ast.unparse(function.returns) if function.returns else ""
    assert documented == inspect.get_annotations(spec.function)


@each_hook
def test_docstring_answers_the_questions(spec: Spec) -> None:
    """When, may the value be changed or what is returned, what an error does, what happens on cancel."""
    found = set(re.findall(r"^(\w+): ", inspect.cleandoc(spec.function.__doc__ or ""), re.MULTILINE))
    assert ENTRIES[spec.kind] - found == set()


def shrink(allowlist: str, covered: set[str]) -> None:
    """Take what is covered out of an allowlist; nothing is ever added."""
    path = Path(__file__).parent / allowlist
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if line.strip() not in covered), encoding="utf-8")


@pytest.mark.parametrize(
    ("allowlist", "covered"),
    [("hooks_without_test.txt", hooks_tested()), ("hooks_without_plugin.txt", hooks_used())],
    ids=["test", "plugin"],
)
def test_allowlist_only_shrinks(allowlist: str, covered: set[str]) -> None:
    """A hook is covered, or stands on the list; one that is covered leaves it (`PEGBOARD_WRITE_GOLDEN=1` does that)."""
    if os.environ.get("PEGBOARD_WRITE_GOLDEN"):
        shrink(allowlist, covered)
    listed = allowed(allowlist)
    assert SPECS.keys() - covered - listed == set(), f"neither covered nor in {allowlist}"
    assert listed - (SPECS.keys() - covered) == set(), f"covered or unknown: take it out of {allowlist}"
