"""Faults in Python files, as ruff finds them. The target's own configuration of ruff is not read."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

import msgspec
import ruff  # type: ignore[import-untyped]  # it has no types

from pegboard_codeanalysis.analysis.model import FileEntry, Finding, Place
from pegboard_codeanalysis.analysis.rules import LINT, Rule, told

VERSION: Final = f"4:{version('ruff')}"
LIMIT_S: Final = 120.0
_AT_ONCE: Final = 1000
_SYNTAX: Final = "invalid-syntax"


class LintError(Exception):
    """Ruff gave no answer; the message is the reason."""


def findings(root: str, files: Sequence[FileEntry], rules: Mapping[str, Rule] = LINT) -> tuple[Finding, ...]:
    """What ruff finds in these files by these rules, and what it cannot parse.

    Raises:
        LintError: it is not there, failed, or took too long.
    """
    found: list[Finding] = []
    for start in range(0, len(files), _AT_ONCE):
        some = files[start : start + _AT_ONCE]
        paths = {f"{root}/{entry.path}": entry.path for entry in some}
        found += _findings(_ask(list(paths), rules), paths, rules)
    return tuple(found)


def _ask(paths: Sequence[str], rules: Mapping[str, Rule]) -> Sequence[Mapping[str, Any]]:
    options = ["--isolated", "--no-cache", "--quiet", "--exit-zero", "--output-format=json", "--target-version=py314"]
    selected = f"--select={','.join(rules)}"
    try:
        program = ruff.find_ruff_bin()
        command = [program, "check", *options, "--preview", "--config=lint.explicit-preview-rules=true", selected]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RUFF_")}
        done = subprocess.run(
            [*command, "--", *paths], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, cwd="/",
            env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired as exc:
        raise LintError(f"ruff took longer than {LIMIT_S:g} s") from exc
    except OSError as exc:
        raise LintError(f"ruff cannot be started: {exc}") from exc
    try:
        rows: Sequence[Mapping[str, Any]] = msgspec.json.decode(done.stdout)
    except msgspec.DecodeError as exc:
        said = done.stderr.decode("utf-8", "replace").strip()[:300]
        raise LintError(f"ruff ended with {done.returncode}: {said}") from exc
    return rows


def _findings(
    rows: Sequence[Mapping[str, Any]], paths: Mapping[str, str], rules: Mapping[str, Rule]
) -> Iterator[Finding]:
    seen: set[str] = set()
    for row in rows:
        path = paths.get(row["filename"])
        if path is None:
            continue
        code = row["code"] or _SYNTAX
        place = Place(path, max(1, row["location"]["row"]))
        if code == _SYNTAX:
            if path not in seen:  # the first is the cause, the others follow from it
                seen.add(path)
                yield Finding(rule="syntax", tool="ruff", severity="high", message=_plain(row["message"]), place=place)
        elif code in rules:
            yield Finding(
                rule=code, tool="ruff", severity=rules[code].severity, place=place, confidence=0.95,
                message=told("ruff", code, _plain(row["message"])),
            )  # fmt: skip


def _plain(message: str) -> str:
    return message.removeprefix("SyntaxError: ").removeprefix("invalid-syntax: ").strip()
