"""`startup_imports`: which modules a fresh interpreter imports, and which of them it must not."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

LIMIT_S: Final = 60.0
_SEEN_FILE: Final = "PEGBOARD_STARTUP_SEEN"
# Not `-X importtime`, which does not see what `importlib.import_module` imports; nor a look at `sys.modules` alone,
# where a module is missing whose code ran and failed. Finders are asked for every module, also by those who only want
# to know where it is; so a module counts when its code begins to run.
_SPY: Final = f"""
import os, sys


def install():
    file = os.open(os.environ.pop("{_SEEN_FILE}"), os.O_WRONLY | os.O_APPEND)
    here = os.path.dirname(__file__)
    rest = os.environ.pop("PYTHONPATH", "").partition(os.pathsep)[2]
    if rest:
        os.environ["PYTHONPATH"] = rest
    sys.path[:] = [path for path in sys.path if path != here]
    names = {{}}

    def tell(name):
        os.write(file, name.encode() + b"\\n")

    class Spy:
        @staticmethod
        def find_spec(name, path=None, target=None):
            for finder in sys.meta_path:
                found = finder.find_spec(name, path, target) if finder is not Spy else None
                if found is not None:
                    if found.has_location:
                        names[found.origin] = name
                    else:
                        tell(name)
                    return found
            return None

    def watch(event, arguments):
        if event == "exec" and arguments[0].co_name == "<module>" and arguments[0].co_filename in names:
            tell(names[arguments[0].co_filename])
        elif event == "import" and arguments[1]:
            tell(arguments[0])

    for name in list(sys.modules):
        tell(name)
    sys.addaudithook(watch)
    sys.meta_path.insert(0, Spy)


install()
"""


class StartupError(AssertionError):
    """A start imported what it must not, or failed."""


class Startup(NamedTuple):
    """What one start of an interpreter did."""

    modules: frozenset[str]
    """Every module whose code ran or began to, in whatever way it was imported."""
    stdout: str


def startup_imports(
    run: str | Sequence[str], *, forbidden: Iterable[str] = (), env: Mapping[str, str] | None = None, status: int = 0
) -> Startup:
    """Start a fresh interpreter and see what it imports.

        startup_imports(["-m", "pegboard", "--version"], forbidden=["click", "asyncio"])
        startup_imports("import my_plugin", forbidden=["requests"])

    Args:
        run: code, or the arguments of the interpreter. One that ignores the environment (`-E`, `-I`) cannot be watched.
        forbidden: modules that must not be imported; a package stands for everything inside it.
        env: added to the environment.
        status: the exit status that is expected.

    Raises:
        StartupError: a forbidden module was imported, the exit status is another one, or nothing could be seen.
    """
    arguments = ["-c", run] if isinstance(run, str) else list(run)
    done, modules = _watched(arguments, env or {})
    if done.returncode != status:
        raise StartupError(f"`{' '.join(arguments)}` ended with {done.returncode}:\n{done.stderr}")
    if not modules:
        raise StartupError(f"`{' '.join(arguments)}` ignores the environment and cannot be watched")
    found = sorted(name for name in modules if _is_any(name, tuple(forbidden)))
    if found:
        raise StartupError(f"`{' '.join(arguments)}` imported {', '.join(found)}")
    return Startup(modules, done.stdout)


def _watched(
    arguments: Sequence[str], env: Mapping[str, str]
) -> tuple[subprocess.CompletedProcess[str], frozenset[str]]:
    """Run the interpreter, and the modules that it imported."""
    # A measurement of coverage would import modules of its own.
    own = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment = {**own, **env}
    with tempfile.TemporaryDirectory(prefix="startup-") as folder:
        Path(folder, "sitecustomize.py").write_text(_SPY, encoding="utf-8")
        seen = Path(folder, "seen")
        seen.touch()
        paths = [folder, *filter(None, [environment.get("PYTHONPATH")])]
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**environment, "PYTHONPATH": os.pathsep.join(paths), _SEEN_FILE: str(seen)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        return done, frozenset(seen.read_text(encoding="utf-8").split())


def _is_any(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


__all__ = ["LIMIT_S", "Startup", "StartupError", "startup_imports"]
