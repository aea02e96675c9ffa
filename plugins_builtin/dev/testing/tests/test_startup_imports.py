"""`startup_imports`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pegboard_testing import startup_imports
from pegboard_testing.startup import StartupError


def test_it_sees_what_is_imported() -> None:
    """Modules of packages too, those of the interpreter itself, and no others."""
    start = startup_imports("import json; print('out')")

    assert {"json", "json.decoder", "sys", "os"} <= start.modules
    assert not {"email", "csv"} & start.modules
    assert start.stdout == "out\n"


@pytest.mark.parametrize(
    ("code", "module"),
    [
        ("import importlib; importlib.import_module('csv')", "csv"),
        ("from pegboard.lazy import LazyModule; LazyModule('csv').reader", "csv"),
        ("__import__('csv')", "csv"),
        ("import _csv", "_csv"),
        ("import sys, csv; del sys.modules['csv']", "csv"),
    ],
    ids=["importlib", "lazy module", "dunder", "extension", "forgotten"],
)
def test_every_way_of_importing_is_seen(code: str, module: str) -> None:
    """The import statement is only one of them."""
    with pytest.raises(StartupError, match=f"imported {module}"):
        startup_imports(code, forbidden=[module])


def test_a_module_that_fails_is_seen(tmp_path: Path) -> None:
    """Its code ran, and whoever catches the error has paid for it."""
    (tmp_path / "failing.py").write_text("raise ImportError")
    code = "try:\n import failing\nexcept ImportError: pass"

    with pytest.raises(StartupError, match="imported failing"):
        startup_imports(code, forbidden=["failing"], env={"PYTHONPATH": str(tmp_path)})


def test_looking_for_a_module_is_no_import() -> None:
    """Whether it is there can be asked without running it."""
    startup_imports("import importlib.util; assert importlib.util.find_spec('csv')", forbidden=["csv"])


def test_the_program_does_not_see_that_it_is_watched(tmp_path: Path) -> None:
    """Its path and environment are those of a start without us, and so are those of its children."""
    code = "import os, sys; print([sys.path, os.environ.get('PYTHONPATH')])"
    alone = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )

    assert startup_imports(code, env={"PYTHONPATH": str(tmp_path)}).stdout == alone.stdout


def test_who_cannot_be_watched_proves_nothing() -> None:
    """An interpreter that ignores the environment is an error and no success."""
    with pytest.raises(StartupError, match="cannot be watched"):
        startup_imports(["-I", "-c", "pass"])


def test_a_forbidden_module_fails() -> None:
    """A package stands for everything inside it."""
    with pytest.raises(StartupError, match=r"imported json, json\.decoder"):
        startup_imports("import json", forbidden=["json"])


def test_a_program_that_fails_is_shown() -> None:
    """Its error is in the message."""
    with pytest.raises(StartupError, match="ended with 1:\nTraceback"):
        startup_imports("1 / 0")


def test_a_status_can_be_expected() -> None:
    """For programs that end with another status on purpose."""
    assert startup_imports("import sys; sys.exit(3)", status=3)


def test_arguments_are_passed_on() -> None:
    """A module with arguments is started as from a shell."""
    assert startup_imports(["-m", "this"]).stdout.startswith("The Zen")


def test_importing_pegboard_imports_nothing_dear() -> None:
    """The promise of `import pegboard`, checked with our own tool."""
    startup_imports("import pegboard", forbidden=["asyncio", "pluggy", "pydantic", "msgspec", "click"])


def test_the_pytest_plugin_is_light() -> None:
    """A session that uses nothing of the kit pays for next to nothing of it."""
    code = "import pytest_asyncio, pegboard_testing.pytest_plugin"
    startup_imports(code, forbidden=["pegboard.model", "pegboard_replay", "pydantic", "tomlkit", "msgspec"])
