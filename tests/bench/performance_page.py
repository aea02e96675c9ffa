"""The page `docs/reference/performance.md`: each script of this folder owns one section of it and writes it whole.

A section lies between two markers, so that scripts can be run at different times and on different machines; each says
under which conditions its figures were taken.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "performance.md"
SECTIONS = ("peers", "dispatch", "startup", "journal", "workflow", "models", "codeanalysis")
"""Scripts that own a section, in the order of the page."""
TITLE = "# Performance\n"


def conditions(section: str, taken: str, *remarks: str) -> str:
    """What has to be known of a run to compare it with another one.

    Args:
        section: whose figures they are
        taken: how many rounds or runs, and what is shown of them, for example `7 rounds, medians`
        remarks: whatever else matters, for example versions
    """
    machine = f"{os.cpu_count()} CPUs ({_processor()})"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"`tests/bench/{section}.py`: " + "; ".join([taken, machine, python, *remarks]) + "."


def add_option(parser: argparse.ArgumentParser) -> None:
    """The options of every script."""
    parser.add_argument("--write", action="store_true", help=f"write its section of `{PAGE.name}` anew")
    parser.add_argument("--no-fail", action="store_true", help="end with 0 also where an aim was missed")


def exit_code(options: argparse.Namespace, *, met: bool) -> int:
    """1 where an aim was missed and that is to count: on a busy machine it says nothing of the code."""
    return 0 if met or options.no_fail else 1


def load() -> str:
    """How busy the machine is now."""
    return f"load {os.getloadavg()[0]:.1f} at the end"


def rounds(number: int) -> str:
    """How many, in words."""
    return f"{number} round{'' if number == 1 else 's'}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = (head, ("---",) * len(head), *rows)
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def plain(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The same for a terminal."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def short(value: float | None) -> str:
    """A figure with as many digits as it is worth."""
    if value is None:
        return ""
    if value < 0.1:
        return f"{value:.2g}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write(section: str, *parts: str) -> None:
    """Put a section into the page, in the place of the one before, or where it belongs among the others."""
    begin, end = _begin(section), _end(section)
    body = "\n\n".join([begin, *parts, end])
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else TITLE
    if begin in text:
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
    else:
        before, after = _room(text, section)
    PAGE.write_text(f"{before}{body}{after}", encoding="utf-8")


def _room(text: str, section: str) -> tuple[str, str]:
    """The page before and after a section that is not there yet: after the last one that stands before it."""
    earlier = [_end(name) for name in SECTIONS[: SECTIONS.index(section)] if _end(name) in text]
    if not earlier:
        return f"{text.rstrip()}\n\n", "\n"
    before, mark, after = text.partition(earlier[-1])
    return f"{before}{mark}\n\n", after


def _begin(section: str) -> str:
    return f"<!-- {section}: begin, written by tests/bench/{section}.py -->"


def _end(section: str) -> str:
    return f"<!-- {section}: end -->"


def _processor() -> str:
    """The name of the processor, or the kind of machine where nobody tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
