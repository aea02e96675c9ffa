"""What the dispatchers of `collect` and `gate` hooks answer with, and whether an answer holds what its type says.

The outer class of an answer is checked by the dispatcher, with the spec; here is the one place where one looks inside,
so that nobody who reads answers has to. A check is called only for what a plugin really gave.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, get_args

import msgspec

from pegboard.types import (
    Alternative,
    Approval,
    ContextBuild,
    Finding,
    Grant,
    HealthFinding,
    Message,
    ModelListing,
    ModelResponse,
    ModelSettings,
    Part,
    Plan,
    Price,
    PriceTable,
    PriceTier,
    Retry,
    RunState,
    Scores,
    Tier,
    ToolResult,
    Unit,
    Usage,
    Verdict,
    content_from_json,
    message_from_json,
    to_json,
)
from pegboard.types.messages import ResultStatus

if TYPE_CHECKING:
    from pegboard.hookspecs import Spec

T = TypeVar("T")
Check: TypeAlias = Callable[..., object]
"""`check(answer, *arguments of the hook)` raises, or returns false, where the answer is none."""

_STATUSES: tuple[str, ...] = get_args(ResultStatus)
_TIERS: tuple[str, ...] = get_args(Tier)


class Collected(list[tuple[str, T]]):
    """`(plugin, value)` for each answer, in the order of the hook."""

    missing: tuple[tuple[str, str], ...] = ()
    """`(plugin, error code)` for each implementation that failed."""


class Verdicts(msgspec.Struct, frozen=True):
    """What a gate says: every opinion, and the one that holds."""

    verdict: Verdict | None
    """Deny beats ask beats allow; `None` when nobody had an opinion, and the hook's default holds."""
    opinions: tuple[tuple[str, Verdict], ...]


# --- looking inside ----------------------------------------------------------------------------------------------


def check_of(spec: Spec) -> Check | None:
    """What looks into the answers of a hook; `None` where the outer class says it all."""
    return _CHECKS.get(spec.name) or (_is_state if spec.returns is RunState else None)


def _is_whole(value: object) -> bool:
    """Whether every field of a struct has the type that it says, to the leaves."""
    msgspec.convert(msgspec.to_builtins(value), type(value))
    return True


def _each(kind: type, look: Callable[[Any], object] = lambda _: True) -> Check:
    return lambda answer, *_: all(isinstance(item, kind) and look(item) for item in answer)


def _are_sources(answer: Sequence[Any], *_: object) -> bool:
    return all(isinstance(item.path, str) and callable(item.read) for item in answer)


def _is_scores(answer: Scores, *_: object) -> bool:
    return _is_whole(msgspec.structs.replace(answer, units=())) and all(isinstance(unit, Unit) for unit in answer.units)


def _is_decision(answer: Any, *_: object) -> bool:
    if isinstance(answer, Alternative):
        if answer.settings.keys() - set(ModelSettings.__struct_fields__):
            return False
        msgspec.convert(answer.settings, ModelSettings)
    return _is_whole(answer) and (not isinstance(answer, Retry) or math.isfinite(answer.delay_s))


def _is_price_table(answer: PriceTable, *_: object) -> bool:
    _is_whole(answer)
    rates: list[Price | PriceTier] = list(answer.prices)
    rates += [tier for price in answer.prices for tier in price.tiers]
    numbers = [n for rate in rates for n in (rate.input, rate.output, rate.cache_read, rate.cache_write)]
    for price in answer.prices:
        re.compile(price.match)
    return all(number is None or (math.isfinite(number) and number >= 0) for number in numbers)


def _is_approval(answer: Approval, *_: object) -> bool:
    return _is_whole(answer)


def _has_messages(answer: Any, *_: object) -> bool:
    return all(isinstance(message, Message) for message in answer.messages)


def _is_build(answer: ContextBuild, *_: object) -> bool:
    return all(isinstance(part, Part) for part in (*answer.parts, *answer.dropped))


def _is_response(answer: ModelResponse, *_: object) -> bool:
    _to_text(answer)
    for part in to_json(answer.parts):
        content_from_json(part)
    return _is_whole(answer.usage) and type(answer.usage) is Usage and type(answer.model) is str


def _is_result(answer: ToolResult, *_: object) -> bool:
    _to_text(answer)
    content_from_json(to_json(answer))
    return answer.status in _STATUSES


def _is_state(answer: RunState, *_: object) -> bool:
    is_plan = answer.plan is None or isinstance(answer.plan, Plan)
    is_share = answer.confidence is None or isinstance(answer.confidence, int | float)
    return is_plan and is_share and answer.tier in _TIERS and isinstance(answer.messages, Sequence)


def _is_redacted(answer: Any, _: object, __: object, sink: str) -> bool:
    """JSON; and messages stay messages, or give way to a marker as a whole."""
    _to_text(answer)
    if sink == "model" and isinstance(answer, list):
        list(map(message_from_json, answer))
    return True


def _to_text(answer: object) -> bytes:
    return msgspec.json.encode(to_json(answer))


_CHECKS: Final[Mapping[str, Check]] = {
    "allocate_budget": _each(Grant, _is_whole),
    "check_health": _each(HealthFinding, _is_whole),
    "check_quality": _each(Finding, _is_whole),
    "context_cache": _is_build,
    "context_chunk": _each(Unit),
    "context_compact": _has_messages,
    "context_compress": lambda answer, *_: _is_whole(answer),
    "context_fuse": _is_scores,
    "context_gather": _are_sources,
    "context_layout": _has_messages,
    "context_offload": lambda answer, *_: _is_whole(answer),
    "context_order": _each(Part),
    "context_score": _is_scores,
    "context_select": _each(Part),
    "label": _each(str),
    "list_models": _each(ModelListing, _is_whole),
    "model_request": _is_response,
    "provide_prices": _is_price_table,
    "recover": _is_decision,
    "redact": _is_redacted,
    "request_approval": _is_approval,
    "tool_call": _is_result,
}
"""By hook."""
