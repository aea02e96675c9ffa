"""The error tree as a contract."""

from __future__ import annotations

import json
import re

import pytest
from pegboard.errors import (
    BudgetExceededError,
    ExitCode,
    ModelFault,
    PegboardError,
    PluginLoadError,
    error_classes,
)
from pegboard.types import RunResult

RUN = RunResult(run="r2")
CLASSES = [cls for cls in error_classes() if cls.__module__ == "pegboard.errors"]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_explains_itself(cls: type[PegboardError]) -> None:
    """A class has a docstring of its own, which is its page, a code, and an exit code of the closed set."""
    assert cls.__doc__
    assert cls.__doc__ != (cls.__base__.__doc__ if cls.__base__ else None)
    assert cls.__doc__.strip().splitlines()[0].endswith(".")
    assert re.fullmatch(r"[a-z]+(\.[a-z_]+)?", cls.code)
    assert isinstance(cls.exit_code, ExitCode)
    assert cls.exit_code is not ExitCode.DONE


def test_every_class_has_a_code_of_its_own() -> None:
    """Codes are stable names: two classes never share one."""
    codes = [cls.code for cls in CLASSES]

    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_hint_is_something_to_type(cls: type[PegboardError]) -> None:
    """A default hint is a command and not advice."""
    assert cls.default_hint is None or cls.default_hint.startswith("peg ")


def test_an_error_as_json_has_everything_a_program_needs() -> None:
    """The object is plain JSON, with the run that failed by its id."""
    error = BudgetExceededError("too much", plugin="quota", dist="pegboard-quota", version="1.0")
    error.run = RunResult(run="r1")

    assert json.loads(json.dumps(error.to_json())) == {
        "code": "budget.exceeded",
        "message": "too much",
        "hint": "peg config show",
        "help": "peg help budget.exceeded",
        "plugin": "quota",
        "dist": "pegboard-quota",
        "version": "1.0",
        "retryable": False,
        "exit_code": 6,
        "run": "r1",
    }


@pytest.mark.parametrize(("run", "shown"), [("r1", "r1"), (None, None), (RUN, "r2")])
def test_an_error_names_its_run_where_there_is_one(run: RunResult | str | None, shown: str | None) -> None:
    """By the id that was given, or that of its result."""
    assert PegboardError("x", run=run).to_json()["run"] == shown


def test_a_model_fault_tells_what_the_provider_said() -> None:
    """Status, delay, request and phase are fields, and the message stays a sentence."""
    fault = ModelFault("no", provider="p", model="m", status=429, retry_after_s=3, request_id="q", phase="headers")

    assert (fault.message, fault.status, fault.retry_after_s, fault.phase) == ("no", 429, 3, "headers")
    assert (fault.provider, fault.model, fault.request_id, fault.usage) == ("p", "m", "q", None)


@pytest.mark.parametrize(
    ("dist", "version", "shown"),
    [("pegboard-x", "1.2", "(pegboard-x 1.2)"), (None, None, "(given in code)")],
)
def test_a_broken_plugin_is_named_with_its_distribution(dist: str | None, version: str | None, shown: str) -> None:
    """The message says which plugin of which distribution, and the hint how to switch it off."""
    error = PluginLoadError.from_cause("x", dist, version, SystemExit())

    assert error.message == f"plugin `x` {shown} could not be imported: SystemExit"
    assert error.hint == "peg plugins disable x"


def test_the_tree_is_walked_once() -> None:
    """Each class comes once, with its bases before it."""
    classes = list(error_classes())

    assert len(classes) == len(set(classes))
    assert classes[0] is PegboardError
    for cls in classes[1:]:
        assert any(classes.index(base) < classes.index(cls) for base in cls.__bases__ if base in classes)
