"""Every error has a stable code with a page; codes and event kinds do not vanish."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from pegboard.cli import pages
from pegboard.errors import ExitCode, PegboardError, error_classes
from pegboard.events import EVENT_KINDS, EVENT_VERSION
from pegboard_workflow.errors import PROBLEMS

ROOT = Path(__file__).resolve().parents[2]
_CODE = re.compile(r'\bcode ?= ?"([a-z]+\.[a-z_]+)"')
CLASSES = [cls for cls in error_classes() if cls.__module__ == "pegboard.errors"]
each_error = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.code)


def test_codes_are_golden(golden: Any) -> None:
    """A code, its exit code and whether it is retryable are promises to scripts."""
    table = {cls.code: {"exit_code": cls.exit_code.name, "retryable": cls.retryable} for cls in CLASSES}
    golden("error_codes.lock.json", dict(sorted(table.items())))


def test_exit_codes_are_golden(golden: Any) -> None:
    """The exit codes of `peg` are a closed set."""
    golden("exit_codes.lock.json", {code.name: code.value for code in ExitCode})


def test_event_kinds_are_golden(golden: Any) -> None:
    """The kinds that core writes are what readers of old logs rely on."""
    golden("event_kinds.lock.json", {"version": EVENT_VERSION, "kinds": sorted(EVENT_KINDS)})


def test_codes_are_unique() -> None:
    """One code is one class."""
    codes = [cls.code for cls in CLASSES]
    assert sorted(set(codes)) == sorted(codes)


@each_error
def test_code_has_a_page(cls: type[PegboardError]) -> None:
    """The docstring, which `peg help CODE` prints, is the class's own and a sentence."""
    assert "__doc__" in vars(cls)
    assert re.match(r"[A-Z].+\.", cls.__doc__ or "", re.DOTALL)


@each_error
def test_hint_is_a_command(cls: type[PegboardError]) -> None:
    """A standing hint can be typed as it is."""
    if cls.default_hint is not None:
        assert shlex.split(cls.default_hint)[0] in {"peg", "pip"}


@pytest.mark.parametrize("kind", EVENT_KINDS)
def test_event_kind_is_dotted_and_described(kind: str) -> None:
    """`noun.verb`, with words beside it."""
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", kind)
    assert EVENT_KINDS[kind]


def codes_in(folder: Path) -> set[str]:
    """The codes that the files below a folder say."""
    found = (_CODE.findall(path.read_text(encoding="utf-8")) for path in folder.rglob("*.py"))
    return {code for each in found for code in each}


SAID = sorted(codes_in(ROOT / "core/src").union(PROBLEMS, *map(codes_in, ROOT.glob("plugins_builtin/*/*/src"))))


@pytest.mark.parametrize("code", SAID)
def test_every_code_of_every_distribution_has_a_page(code: str) -> None:
    """`peg help CODE` says what it means and what to do, also where no error class has it."""
    page = pages.plugin_page(code) if code not in pages.classes_by_code() else pages.code_page(code)

    assert page is not None
    assert re.match(r"[A-Z].+\.", str(page["text"]), re.DOTALL)
    assert "say nothing of this code" not in str(page["text"])
