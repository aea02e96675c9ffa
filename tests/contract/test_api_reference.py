"""The API page describes what can be imported, and what is described can be asked for help."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pegboard
import pytest
from pegboard import types

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "api.md"
OWN = [
    name
    for name in types.__all__
    if isinstance(value := getattr(types, name), type) and value.__module__.startswith("pegboard")
]


@pytest.mark.parametrize("name", [*(name for name in pegboard.__all__ if name[0] != "_"), *OWN])
def test_every_public_name_is_described(name: str) -> None:
    """A name that is exported and not on the page is nobody's."""
    assert f"\n### `{name}`\n" in PAGE.read_text(encoding="utf-8")


def test_fields_come_with_their_meaning() -> None:
    """The string below a field is its documentation."""
    assert "| `output_mode` | `Literal['auto', 'native', 'tool', 'prompt']` |" in PAGE.read_text(encoding="utf-8")
    assert "The error code, when the status is not `ok`." in PAGE.read_text(encoding="utf-8")


def test_properties_and_documented_attributes_are_described() -> None:
    """With their types, in a table: they are no methods."""
    text = PAGE.read_text(encoding="utf-8")
    assert "| `running` | `Sequence[str]` | The runs that are under way. |" in text
    assert "| `log` | `BoardLog` | What happened to plugins outside of any run" in text
    assert "\n#### `Pegboard.running`\n" not in text


def test_overloads_stand_for_what_implements_them() -> None:
    """`**options` tells nobody what the options are."""
    section = PAGE.read_text(encoding="utf-8").partition("\n### `tool`\n")[2].partition("\n### ")[0]
    assert section.count("\ndef tool(") == 2
    assert "effect: Effect = 'unsafe'" in section
    assert "**options" not in section


@pytest.mark.parametrize("name", OWN)
def test_help_works_for_every_value(name: str) -> None:
    """Annotations that only a type checker can resolve would raise `NameError` in `help()`."""
    inspect.signature(getattr(types, name))


def test_hints_install_only_what_exists() -> None:
    """A hint with a name that nobody has registered yet invites somebody else to do so."""
    ours = {path.parents[0].name for path in ROOT.glob("plugins_builtin/*/*/pyproject.toml")}
    sources = (path.read_text(encoding="utf-8") for path in ROOT.glob("core/src/pegboard/**/*.py"))
    named = {name for text in sources for name in re.findall(r"plugins install pegboard-([\w{}()]+)", text)}

    assert named <= ours
