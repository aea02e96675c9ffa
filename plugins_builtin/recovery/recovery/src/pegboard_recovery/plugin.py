"""The plugin: is asked what follows a failure, and stands with its gates before every request."""

from __future__ import annotations

import random

from pegboard import hookimpl
from pegboard.errors import ModelRateLimitedError
from pegboard.interfaces import Call, HostContext, RunContext
from pegboard.types import Failure, ModelRequest, ModelResponse, RecoveryDecision

from pegboard_recovery.config import Settings
from pegboard_recovery.gate import Gate
from pegboard_recovery.policy import Case, Uniform, decide, settings_of


class Plugin:
    """Recovery by rule. Of runs it keeps nothing; of each provider a gate that all runs of the board share.

    A board has one key for each provider, so a provider's name stands for both.
    """

    def __init__(self) -> None:
        self._settings = Settings()
        self._gates: dict[str, Gate] = {}

    def activate(self, ctx: HostContext) -> None:
        """Read the settings."""
        self._settings = settings_of(ctx.config)

    @hookimpl
    async def recover(self, ctx: RunContext, failure: Failure) -> RecoveryDecision | None:
        """Again, otherwise, elsewhere, or not at all."""
        return decide(Case(self._settings, ctx, failure), uniform=_chance(ctx, failure))

    @hookimpl(position="innermost")
    async def model_request(self, ctx: RunContext, request: ModelRequest, call_next: Call) -> ModelResponse:
        """Wait where the provider has refused this or another run, and learn from how it answers now."""
        provider = request.model.partition(":")[0]
        gate = self._gates.setdefault(provider, Gate(self._settings.deadline_s))
        if not gate.is_open:
            await _pass(ctx, gate, provider)
        began = ctx.clock.monotonic()
        try:
            response: ModelResponse = await call_next(request)
        except ModelRateLimitedError as error:
            gate.refused(began, ctx.clock.monotonic(), error.retry_after_s)
            raise
        gate.answered(began)
        return response


def _chance(ctx: RunContext, failure: Failure) -> Uniform:
    """Chance that is the same in a replay of the run, and another one in every other run."""
    return random.Random(f"{ctx.run}/{failure.step}/{failure.attempt}").uniform


async def _pass(ctx: RunContext, gate: Gate, provider: str) -> None:
    """Wait for one's turn, and tell so; whoever is cancelled meanwhile gives up the place."""
    ticket, told = gate.ticket(), False
    try:
        while (wait_s := gate.wait_s(ticket, now := ctx.clock.monotonic())) > 0:
            if not told:
                told = True
                ctx.emit("recovery.waiting", {"provider": provider, "seconds": round(gate.due_s(ticket, now), 3)})
            await ctx.wait(wait_s)
        gate.passed(ctx.clock.monotonic())
    finally:
        gate.leave(ticket)
