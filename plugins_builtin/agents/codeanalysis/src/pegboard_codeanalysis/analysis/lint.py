"""Faults in Python files, as ruff finds them. The target's own configuration of ruff is not read."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from time import monotonic
from typing import Any, Final

import msgspec
import ruff  # type: ignore[import-untyped]  # it has no types

from pegboard_codeanalysis.analysis import snapshot
from pegboard_codeanalysis.analysis.model import Degradation, FileEntry, Finding, Place
from pegboard_codeanalysis.analysis.rules import LINT, Rule, told
from pegboard_codeanalysis.analysis.secret import masked

VERSION: Final = f"5:{version('ruff')}"
LIMIT_S: Final = 200.0
"""For all files; each call has less, by the number of its files."""
_START_S: Final = 20.0
_FILE_S: Final = 0.1
_AT_ONCE: Final = 1000
_SYNTAX: Final = "invalid-syntax"
_MUTATION: Final = "B909"
_GROWS: Final = re.compile(r"\.(?:append|extend)\(|\s*\+=")


class LintError(Exception):
    """Ruff gave no answer; the message is the reason."""


class FailedError(LintError):
    """It failed on these files, and may do well on some of them."""


class Linted(msgspec.Struct, frozen=True):
    """What ruff says of many files."""

    findings: tuple[Finding, ...]
    degraded: tuple[Degradation, ...] = ()
    """Files that it could not deal with; `ruff` itself where there was no time for all."""


def linted(root: str, files: Sequence[FileEntry], rules: Mapping[str, Rule] = LINT) -> Linted:
    """What ruff finds in these files by these rules, and what it cannot parse.

    One file can end it, for example by its depth. Then halves are asked again, so that this file is lost and not all.

    Raises:
        LintError: it is not there, or cannot be started.
    """
    found: list[Finding] = []
    failed: list[Degradation] = []
    ends_at = monotonic() + LIMIT_S
    waiting = [files[start : start + _AT_ONCE] for start in range(0, len(files), _AT_ONCE)][::-1]
    while waiting and monotonic() < ends_at:
        some = waiting.pop()
        paths = {f"{root}/{entry.path}": entry.path for entry in some}
        try:
            rows = _ask(list(paths), rules, min(_START_S + _FILE_S * len(some), ends_at - monotonic()))
        except FailedError as exc:
            half = len(some) // 2
            if half:
                waiting += [some[half:], some[:half]]
            else:
                failed.append(Degradation(what=some[0].path, why=str(exc)))
        else:
            found += _findings(rows, paths, rules)
    if waiting:
        left = sum(map(len, waiting))
        failed.append(Degradation(what="ruff", why=f"{left} files were not looked at within {LIMIT_S:g} s"))
    return Linted(tuple(found), tuple(failed))


def _ask(paths: Sequence[str], rules: Mapping[str, Rule], limit_s: float) -> Sequence[Mapping[str, Any]]:
    options = ["--isolated", "--no-cache", "--quiet", "--exit-zero", "--output-format=json", "--target-version=py314"]
    selected = f"--select={','.join(rules)}"
    try:
        program = ruff.find_ruff_bin()
        command = [program, "check", *options, "--preview", "--config=lint.explicit-preview-rules=true", selected]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RUFF_")}
        done = subprocess.run(
            [*command, "--", *paths], stdin=subprocess.DEVNULL, capture_output=True, timeout=limit_s, cwd="/",
            env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired as exc:
        raise FailedError(f"ruff took longer than {limit_s:.0f} s") from exc
    except OSError as exc:
        raise LintError(f"ruff cannot be started: {exc}") from exc
    try:
        rows: Sequence[Mapping[str, Any]] = msgspec.json.decode(done.stdout)
    except msgspec.DecodeError as exc:
        said = done.stderr.decode("utf-8", "replace").strip()[:300]
        raise FailedError(f"ruff ended with {done.returncode}: {said}") from exc
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
        elif code in rules and not (code == _MUTATION and _is_search(row)):
            yield Finding(
                rule=code, tool="ruff", severity=rules[code].severity, place=place, confidence=0.95,
                message=masked(told("ruff", code, _plain(row["message"]))),
            )  # fmt: skip


def _is_search(row: Mapping[str, Any]) -> bool:
    """Whether a loop only adds to the end of a list that it goes over: the items come by later, which is the idea."""
    try:
        text = snapshot.read(row["filename"]).decode("utf-8", "replace")
    except OSError:
        return False
    name = re.search("`([^`]+)`", row["message"])
    start, lines = row["location"], text.split("\n")
    said = lines[start["row"] - 1][start["column"] - 1 :] if start["row"] <= len(lines) else ""
    if name is None or not said.startswith(name[1]) or not _GROWS.match(said[len(name[1]) :]):
        return False
    # A deque raises when it grows under a loop.
    return re.search(rf"\b{re.escape(name[1])}\s*(?::[^=\n]+)?=\s*(?:\w+\.)?deque\(", text) is None


def _plain(message: str) -> str:
    return message.removeprefix("SyntaxError: ").removeprefix("invalid-syntax: ").strip()
