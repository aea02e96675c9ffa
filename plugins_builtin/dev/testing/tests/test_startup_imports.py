"""`startup_imports`."""

from __future__ import annotations

import pytest
from pegboard_testing import startup_imports
from pegboard_testing.startup import StartupError


def test_it_sees_what_is_imported() -> None:
    """Modules are listed with what they cost."""
    start = startup_imports("import json; print('out')")

    assert {"json", "json.decoder"} <= start.modules
    assert start.cumulative_us["json"] > 0
    assert start.stdout == "out\n"


def test_a_forbidden_module_fails() -> None:
    """A package stands for everything inside it."""
    with pytest.raises(StartupError, match=r"imported json, json\.decoder"):
        startup_imports("import json", forbidden=["json"])


def test_a_program_that_fails_is_shown() -> None:
    """Its error is in the message, without the import times."""
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
