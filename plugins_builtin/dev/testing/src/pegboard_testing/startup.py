"""`startup_imports`: which modules a fresh interpreter imports, and which of them it must not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

_LINE: Final = re.compile(r"^import time:\s*\d+ \|\s*(\d+) \| +(\S+)$", re.MULTILINE)
LIMIT_S: Final = 60.0


class StartupError(AssertionError):
    """A start imported what it must not, or failed."""


class Startup(NamedTuple):
    """What one start of an interpreter did."""

    modules: frozenset[str]
    cumulative_us: Mapping[str, int]
    """Of each module with everything it imported first."""
    stdout: str


def startup_imports(
    run: str | Sequence[str], *, forbidden: Iterable[str] = (), env: Mapping[str, str] | None = None, status: int = 0
) -> Startup:
    """Start a fresh interpreter and see what it imports.

        startup_imports(["-m", "pegboard", "--version"], forbidden=["click", "asyncio"])
        startup_imports("import my_plugin", forbidden=["requests"])

    Args:
        run: code, or the arguments of the interpreter.
        forbidden: modules that must not be imported; a package stands for everything inside it.
        env: added to the environment.
        status: the exit status that is expected.

    Raises:
        StartupError: a forbidden module was imported, or the exit status is another one.
    """
    arguments = ["-c", run] if isinstance(run, str) else list(run)
    # A measurement of coverage would import modules of its own.
    own = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        env={**own, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    if done.returncode != status:
        said = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("import time:"))
        raise StartupError(f"`{' '.join(arguments)}` ended with {done.returncode}:\n{said}")
    times = {name: int(cumulative) for cumulative, name in _LINE.findall(done.stderr)}
    found = sorted(name for name in times if _is_any(name, tuple(forbidden)))
    if found:
        raise StartupError(f"`{' '.join(arguments)}` imported {', '.join(found)}")
    return Startup(frozenset(times), times, done.stdout)


def _is_any(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


__all__ = ["LIMIT_S", "Startup", "StartupError", "startup_imports"]
