"""The hook API is a promise: a breaking change needs a new major version, any change a new golden file."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pegboard.hookspecs import HOOK_API, SPECS, Spec

LOCK = Path(__file__).parent / "hookspecs.lock.json"
Contract = dict[str, Any]

FIXED = ("kind", "since", "value", "sync_only", "replay", "on_error", "writable")
"""Properties of a hook that an implementation was written against."""


def describe(spec: Spec) -> Contract:
    """One hook as plain data."""
    returns = spec.returns if isinstance(spec.returns, tuple) else (spec.returns,)
    return {
        "family": spec.family,
        "kind": spec.kind,
        "since": spec.since,
        "args": list(spec.args),
        "signature": str(inspect.signature(spec.function)),
        "value": spec.value,
        "timeout_s": spec.timeout_s,
        "timed": spec.timed,
        "sync_only": spec.sync_only,
        "replay": spec.replay,
        "on_error": spec.on_error,
        "returns": [cls.__name__ for cls in returns if cls is not None],
        "writable": list(spec.writable),
        "deprecated": spec.deprecated,
        "nobody": spec.nobody,
    }


def current() -> Contract:
    """The whole contract as plain data."""
    return {"api": HOOK_API, "hooks": {name: describe(SPECS[name]) for name in sorted(SPECS)}}


def seconds(limit: float | None) -> float:
    return float("inf") if limit is None else limit


def breaks_of_hook(name: str, old: Contract, new: Contract) -> Iterator[str]:
    """What an implementation of the old hook would trip over."""
    yield from (f"{name}: argument `{gone}` is gone" for gone in old["args"] if gone not in new["args"])
    yield from (f"{name}: `{key}` was {old[key]}, is {new[key]}" for key in FIXED if old[key] != new[key])
    yield from (f"{name}: `{gone}` is no answer any more" for gone in old["returns"] if gone not in new["returns"])
    if seconds(new["timeout_s"]) < seconds(old["timeout_s"]):
        yield f"{name}: the limit fell from {old['timeout_s']} to {new['timeout_s']} s"


def breaks(old: Contract, new: Contract) -> list[str]:
    """Everything that would break a plugin written against `old`."""
    gone = [f"{name}: the hook is gone" for name in old["hooks"] if name not in new["hooks"]]
    kept = old["hooks"].keys() & new["hooks"].keys()
    return gone + [
        text for name in sorted(kept) for text in breaks_of_hook(name, old["hooks"][name], new["hooks"][name])
    ]


def same_major(old: Contract, new: Contract) -> bool:
    return bool(old["api"].partition(".")[0] == new["api"].partition(".")[0])


def test_no_break_without_a_new_major() -> None:
    """A plugin that fits one minor version of the hook API fits all later ones of that major."""
    old = json.loads(LOCK.read_text(encoding="utf-8"))
    if same_major(old, current()):
        assert breaks(old, current()) == []


def test_golden_file_is_up_to_date(golden: Any) -> None:
    """Any change of the contract is seen in review."""
    old = json.loads(LOCK.read_text(encoding="utf-8")) if LOCK.exists() else current()
    if os.environ.get("PEGBOARD_WRITE_GOLDEN") and same_major(old, current()):
        assert breaks(old, current()) == [], "raise the major version of HOOK_API first"
    golden(LOCK.name, current())


def changed(**properties: Any) -> Contract:
    """The contract, with properties of `tool_call` changed."""
    contract = current()
    contract["hooks"]["tool_call"] = {**contract["hooks"]["tool_call"], **properties}
    return contract


@pytest.mark.parametrize(
    ("new", "complaint"),
    [
        ({**current(), "hooks": {}}, "tool_call: the hook is gone"),
        (changed(args=["ctx", "tool", "call_next"]), "tool_call: argument `call` is gone"),
        (changed(kind="first"), "tool_call: `kind` was around, is first"),
        (changed(timeout_s=1.0), "tool_call: the limit fell from 5.0 to 1.0 s"),
        (changed(sync_only=True), "tool_call: `sync_only` was False, is True"),
        (changed(on_error="closed"), "tool_call: `on_error` was kind, is closed"),
        (changed(returns=["Message"]), "tool_call: `ToolResult` is no answer any more"),
    ],
    ids=["hook removed", "argument renamed", "kind", "limit", "def only", "fails closed", "answer refused"],
)
def test_break_is_seen(new: Contract, complaint: str) -> None:
    """Each kind of break is named."""
    assert complaint in breaks(current(), new)


@pytest.mark.parametrize(
    "new",
    [
        changed(args=["ctx", "call", "call_next", "reason"]),
        changed(timeout_s=None),
        changed(deprecated="use `x`"),
        changed(returns=["ToolResult", "Message"]),
    ],
    ids=["argument added", "limit raised", "deprecated", "another answer"],
)
def test_addition_is_no_break(new: Contract) -> None:
    """What old implementations do not notice is allowed within a major version."""
    assert breaks(current(), new) == []
