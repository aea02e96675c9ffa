"""The settings of the plugin; `schemas/config.json` is their JSON Schema, and a test compares them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

_Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands under `[plugins.recovery]`."""

    attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = 4
    """How often one model is asked for one answer; an agent's own `retry` and the operator's limits may allow less."""
    backoff_s: _Seconds = 0.5
    """Before the second attempt at most; doubled before each further one."""
    backoff_most_s: _Seconds = 30.0
    """The longest that is waited where the provider does not ask for more."""
    deadline_s: _Seconds = 300.0
    """Nothing is repeated that would begin later than this after the first failure; no gate is closed for longer."""
    fallbacks: tuple[str, ...] = ()
    """Models, or `agent:NAME`, to go on with where a model fails, in order; an agent's own `fallbacks` lead."""
    at_limit: Literal["stop", "degrade", "ask"] = "stop"
    """Where a request would pass a limit of tokens, money or requests: end the run, go on with what `cheaper` names,
    or ask for as much again as the limit is."""
    cheaper: tuple[str, ...] = ()
    """Models to go on with where the budget is short, in order."""
    most_output_tokens: Annotated[int, msgspec.Meta(ge=1)] = 32_000
    """How far the output limit is raised where an answer was cut at it."""


__all__ = ["Settings"]
