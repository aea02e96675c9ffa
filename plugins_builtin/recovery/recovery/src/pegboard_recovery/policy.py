"""What follows which failure. Everything a decision depends on is in the failure, so another life of a run that is
asked the same decides the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from pegboard.errors import BudgetExceededError, ConfigError, ModelFault, PegboardError, describe
from pegboard.interfaces import RunContext
from pegboard.types import Abort, Alternative, Extend, Failure, Fallback, RecoveryDecision, Retry

from pegboard_recovery.config import Settings
from pegboard_recovery.gate import seconds_asked

SHRINK: Final = 0.6
"""What is left of a conversation that was too long."""
LEAST_CONTEXT_TOKENS: Final = 100
ELSEWHERE: Final = frozenset({
    "credentials.missing", "model.auth", "model.content_refused", "model.none", "model.not_found", "model.not_offered",
    "model.permission", "model.quota_exhausted",
})  # fmt: skip
"""What no second attempt mends, and another model may."""
TUNING: Final = ("temperature", "top_p", "top_k", "seed", "thinking", "parallel_tools", "cache")
"""Settings that a model may lack and a task does not depend on."""
BE_BRIEF: Final = "Your last answer was cut because it was too long. Answer more briefly, or in smaller steps."
Uniform = Callable[[float, float], float]


class Case(NamedTuple):
    """What a decision is made of."""

    settings: Settings
    ctx: RunContext
    failure: Failure


def decide(case: Case, *, uniform: Uniform = random.uniform) -> RecoveryDecision | None:
    """What follows a failure; `None` where it is no concern of this plugin."""
    failure = case.failure
    error = failure.error
    if not isinstance(error, PegboardError):
        return None
    if isinstance(error, BudgetExceededError):
        return _at_limit(case, error)
    if _is_spent(case.ctx):
        return Abort(reason="the budget is used up")
    if isinstance(error, ModelFault) and error.retryable:
        return _again(case, uniform) or _elsewhere(case)
    if failure.code in ALTERNATIVES:
        return (ALTERNATIVES[failure.code](case) if failure.repeatable else None) or _elsewhere(case)
    if failure.code in ELSEWHERE or _is_of_fallback(failure):
        return _elsewhere(case)
    return None


def _is_spent(ctx: RunContext) -> bool:
    limits = (ctx.budget.remaining("cost_usd"), ctx.budget.remaining("tokens"), ctx.budget.remaining("requests"))
    return any(left is not None and left <= 0 for left in limits)


def _is_of_fallback(failure: Failure) -> bool:
    """Whether what was fallen back to is not to be had at all."""
    last = failure.decided[-1] if failure.decided else None
    return isinstance(last, Fallback) and not isinstance(failure.error, ModelFault)


# --- again -------------------------------------------------------------------------------------------------------


def _again(case: Case, uniform: Uniform) -> Retry | None:
    """The same request, later; `None` where there were enough of them, or there is no time for it."""
    settings, ctx, failure = case
    # Without a step the failure is one of a child run that has tried for itself: repeats on two levels multiply.
    if not failure.repeatable or "model.request#" not in (failure.step or ""):
        return None
    if failure.repeats + 1 >= settings.attempts:
        return None
    most_s = min(settings.backoff_s * 2.0**failure.repeats, settings.backoff_most_s)
    delay_s = max(uniform(0.0, most_s), seconds_asked(getattr(failure.error, "retry_after_s", None)) or 0.0)
    left_s = ctx.budget.remaining("seconds")
    if failure.failing_s + delay_s > settings.deadline_s or (left_s is not None and delay_s >= left_s):
        return None
    return Retry(delay_s=delay_s, reason=failure.code)


# --- elsewhere ---------------------------------------------------------------------------------------------------


def _elsewhere(case: Case) -> Fallback | Abort:
    """The next model or agent that was not tried, or the end."""
    settings, ctx, failure = case
    failed = f"{getattr(failure.error, 'provider', None)}:{getattr(failure.error, 'model', None)}"
    targets = [*ctx.agent.config.fallbacks, *settings.fallbacks]
    if failure.code == "model.rate_limited":  # the gate of its provider is closed for its other models too
        refusing = f"{getattr(failure.error, 'provider', None)}:"
        targets.sort(key=lambda target: target.startswith(refusing))
    for target in targets:
        if target not in (*failure.fallbacks, failed, f"agent:{ctx.agent.name}"):
            return Fallback(target=target, reason=f"`{failure.code}`")
    return Abort(reason=f"nothing is left to try after `{failure.code}`")


# --- at the limit ------------------------------------------------------------------------------------------------


def _at_limit(case: Case, short: BudgetExceededError) -> Fallback | Extend | None:
    """A cheaper model, or as much again as the limit is where that is approved; `None` is the end."""
    settings, ctx, failure = case
    if settings.at_limit == "ask":
        return Extend(amount=max(short.limit, short.short), reason=short.message)
    for target in settings.cheaper if settings.at_limit == "degrade" else ():
        if target not in (*failure.fallbacks, ctx.agent.config.model):
            return Fallback(target=target, reason=short.message)
    return None


# --- otherwise ---------------------------------------------------------------------------------------------------


def _shorter_context(case: Case) -> Alternative | None:
    tokens = int(case.failure.context_tokens * SHRINK)
    if tokens < LEAST_CONTEXT_TOKENS:
        return None
    return Alternative(context_tokens=tokens, reason=f"the conversation was cut to about {tokens} tokens")


def _longer_output(case: Case) -> Alternative | None:
    """Twice the room for the answer; where there is no more, the request to be brief, once."""
    settings, failure = case.settings, case.failure
    before = _output_limit(case.ctx, failure)
    if before is not None and before < settings.most_output_tokens:
        more = min(2 * before, settings.most_output_tokens)
        return Alternative(settings={"max_output_tokens": more})
    return None if _has_said(failure, BE_BRIEF) else Alternative(instructions=BE_BRIEF)


def _output_limit(ctx: RunContext, failure: Failure) -> int | None:
    for decision in reversed(failure.decided):
        if isinstance(decision, Alternative) and "max_output_tokens" in decision.settings:
            return int(decision.settings["max_output_tokens"])
    limit = ctx.agent.config.settings.max_output_tokens
    return limit or getattr(getattr(failure.error, "usage", None), "output_tokens", None) or None


def _errors_told(case: Case) -> Alternative | None:
    """The model was told of each wrong answer already; once more, where it cannot overlook it."""
    told = (
        f"Your answers could not be used: {describe(case.failure.error)}. Keep exactly to the format that is asked for."
    )
    return None if _had_alternative(case.failure) else Alternative(instructions=told)


def _plainer(case: Case) -> Alternative | None:
    wanted = case.ctx.agent.config.settings
    tuned = [name for name in TUNING if getattr(wanted, name) is not None]
    if not tuned or _had_alternative(case.failure):
        return None
    named = ", ".join(f"`{name}`" for name in tuned)
    return Alternative(settings=dict.fromkeys(tuned), reason=f"without {named}: {describe(case.failure.error)}")


def _had_alternative(failure: Failure) -> bool:
    return any(isinstance(decision, Alternative) for decision in failure.decided)


def _has_said(failure: Failure, instructions: str) -> bool:
    return any(getattr(decision, "instructions", None) == instructions for decision in failure.decided)


ALTERNATIVES: Final[Mapping[str, Callable[[Case], Alternative | None]]] = {
    "model.context_overflow": _shorter_context,
    "model.output_limit": _longer_output,
    "model.output_invalid": _errors_told,
    "tool.arguments": _errors_told,
    "model.unsupported": _plainer,
}
"""Failures after which the same request makes no sense, and another one may."""


def settings_of(config: Any) -> Settings:
    """The settings, as the board hands them over.

    Raises:
        ConfigError: a cheaper model is to be taken, and none is named.
    """
    settings = msgspec.convert(config or {}, Settings)
    if settings.at_limit == "degrade" and not settings.cheaper:
        raise ConfigError(
            "plugin `recovery`: `at_limit` is `degrade`, and `cheaper` names no model to go on with",
            hint="peg config set plugins.recovery.cheaper '[\"MODEL\"]'",
        )
    return settings


__all__ = [
    "ALTERNATIVES",
    "BE_BRIEF",
    "ELSEWHERE",
    "LEAST_CONTEXT_TOKENS",
    "SHRINK",
    "TUNING",
    "Case",
    "Uniform",
    "decide",
    "settings_of",
]
