"""Scenario 11: a plugin that was written for another version of the hooks, or for arguments that were never there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Place

ELSEWHERE = "linux" if sys.platform == "win32" else "windows"
RANGES: dict[str, tuple[dict[str, Any], str, str]] = {
    "too new": ({"api": ">=2"}, "api", "needs the hook API >=2, this core has 1.0"),
    "too old": ({"api": ">=0.1,<1"}, "api", "needs the hook API >=0.1,<1"),
    "python": ({"python": ">=4"}, "python", "needs Python >=4"),
    "platform": ({"platforms": [ELSEWHERE]}, "platform", f"runs on {ELSEWHERE} only"),
    "no range": ({"api": "newest"}, "schema", "`newest` is no version range"),
    "unknown hook": ({"hooks": {"tool_cal": {}}}, "kind", "no hook has this name; did you mean `tool_call`?"),
}


@pytest.mark.parametrize("case", RANGES)
def test_what_does_not_fit_is_rejected_before_the_import(place: Place, case: str) -> None:
    """Alone, with what it needs and what there is; nothing of it is imported."""
    manifest, reason, told = RANGES[case]
    place.sound()
    place.plugin({"id": "broken", **manifest}, {"plugin.py": "raise SystemExit(9)"})

    row = place.rows()["broken"]
    host = place.host(["run", place.sound_call])

    assert (row["state"], row["reason"]) == ("rejected", reason)
    assert told in row["message"]
    assert row["fix"].startswith("peg plugins ")
    assert row["fix"].endswith(" broken")
    assert host["did"][0]["results"] == [place.sound_result]
    assert "pegboard_broken" not in host["modules"]


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("async def tool_call(self, call, retries, call_next):\n    pass", "has no argument `retries`"),
        ("async def tool_calls(self, call, call_next):\n    pass", "has no `@hookimpl` function `tool_call`"),
        ("def tool_call(self, call, call_next):\n    pass", "must be `async def`"),
    ],
    ids=["argument", "name", "sync"],
)
def test_code_that_does_not_fit_is_rejected_at_its_activation(place: Place, function: str, told: str) -> None:
    """Alone, with what the hook has, and the command that tells its author more."""
    place.sound()
    code = "from pegboard import hookimpl\n\n\nclass Plugin:\n    @hookimpl\n    " + function.replace("\n", "\n    ")
    place.plugin({"id": "broken", "hooks": {"tool_call": {}}}, {"plugin.py": code})

    host = place.host(["run", place.sound_call])

    assert host["did"][0]["results"] == [place.sound_result]
    assert host["states"]["broken"] == "rejected(kind)"
    assert told in host["why"]["broken"]
    assert host["fix"]["broken"] == "peg plugins validate broken"
    assert told in place.peg("plugins", "enable", "broken", "--test").stderr


@pytest.mark.parametrize(
    "function",
    [
        "async def tool_call(self, call_next, call):\n    return await call_next(call)",
        "async def tool_call(self, *, call, call_next):\n    return await call_next(call)",
        "async def tool_call(self, call, call_next, ctx, later=None):\n    return await call_next(call)",
    ],
    ids=["some, in any order", "by keyword", "one with a default of its own"],
)
def test_arguments_are_taken_by_name(place: Place, function: str) -> None:
    """So that a hook can get a new argument without a plugin noticing."""
    place.hooking("fine", function)

    host = place.host(["run", ["add", {"a": 1, "b": 2}]])

    assert host["did"][0]["results"] == [["ok", "3"]]
    assert (host["states"]["fine"], host["faults"]) == ("active", [])
