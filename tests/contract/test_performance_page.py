"""The page of benchmarks: each script writes its own section and leaves the others alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, with a page of its own."""
    monkeypatch.syspath_prepend(str(BENCH))
    module = import_module("performance_page")
    monkeypatch.setattr(module, "PAGE", tmp_path / "page.md")
    yield module
    sys.modules.pop("performance_page")


def test_a_section_takes_the_place_of_the_one_before(page: Any) -> None:
    """What stands around it stays."""
    page.write("dispatch", "old")
    page.PAGE.write_text(page.PAGE.read_text() + "last words\n")

    page.write("dispatch", "new", "newer")

    text = page.PAGE.read_text()
    assert text.startswith("# Performance\n\n<!-- dispatch: begin")
    assert "old" not in text
    assert "new\n\nnewer\n\n<!-- dispatch: end -->\nlast words\n" in text


def test_sections_stand_in_their_order_whoever_writes_first(page: Any) -> None:
    """A new one goes behind those that stand before it in the list."""
    for name in ("peers", "workflow", "dispatch", "journal"):
        page.write(name, name)

    begins = [line.split()[1] for line in page.PAGE.read_text().splitlines() if "begin" in line]
    assert begins == ["peers:", "dispatch:", "journal:", "workflow:"]


def test_every_section_has_its_script(page: Any) -> None:
    """And every script says under which conditions its figures were taken."""
    for name in page.SECTIONS:
        text = "".join((BENCH / f"{name}.py").read_text(encoding="utf-8").split())
        assert f'performance_page.write("{name}",' in text
        assert f'performance_page.conditions("{name}",' in text
