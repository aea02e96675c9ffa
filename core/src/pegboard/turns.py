"""The turns of a model: requests, tool calls, repairs, until there is an output.

This is the default body of `execution_phase`, and what a turn's `TurnHooks` are bound to. Which phases stand around it
is the runner's business; what a model is shown is decided by `context`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from pegboard import calls as tool_calls
from pegboard import context, recovery
from pegboard.budget import Reservation, Unit
from pegboard.errors import (
    BudgetExceededError,
    LoopLimitError,
    ModelEmptyResponseError,
    ModelFault,
    ModelOutputInvalidError,
    ModelOutputLimitError,
    ModelRefusedError,
    ModelStreamError,
    ModelTimeoutError,
    PriceUnknownError,
)
from pegboard.journal import Step
from pegboard.metering import Meter
from pegboard.model import ModelBase, Sink
from pegboard.output import FINAL_OUTPUT, StructuredOutput
from pegboard.prices import cost_of, most_cost
from pegboard.run import Run
from pegboard.spent import count_inside
from pegboard.types import (
    UNSET,
    BudgetRequest,
    Message,
    ModelRequest,
    ModelResponse,
    RunState,
    StreamEvent,
    Tier,
    ToolCall,
    ToolResult,
    Usage,
    evolve,
    message_from_json,
    to_json,
    tool_result,
)

Show = Callable[[StreamEvent], Awaitable[None] | None]
Send = Callable[[ModelRequest], Awaitable[ModelResponse]]
EVALUATE_EVERY_TURNS = 3
LEAST_OUTPUT_TOKENS = 256
"""What must be left in a token budget for an answer; with less a request is not sent."""


async def take_turns(run: Run, state: RunState) -> RunState:
    """Turn after turn until the model gives an output.

    Raises:
        LoopLimitError: `max_turns` was reached.
    """
    binding = TurnBinding(run)
    is_timed = run.seconds_left is not None
    most = min(run.config.max_turns, run.services.bounds.turns)
    while True:
        if run.services.stale:
            await run.services.refresh()
            await run.equip()
        if _is_tier_in_question(run):
            state = await _other_tier(run, state)
        if run.is_cancelled:
            await stop(run)
        if is_timed:
            check_time(run)
        if run.turn >= most:
            raise LoopLimitError(f"run `{run.run}` reached its limit of {most} turns", hint="peg help loop.limit")
        run.turn += 1
        take_messages(run, run.turn)
        if run.resumed:
            await recovery.take_again(run, "model.request")
        model: ModelBase = run.model  # type: ignore[assignment]  # resolved in `initialization`
        request = _request(run, model, await context.prepare(run, model))
        response, results = await model.turn(request, binding)
        if run.builds and run.hooks.context_measure is not None:
            await run.hooks.context_measure(run, run.builds[-1], response.usage)
        output = _output_of(run, binding, response, results)
        if output is not UNSET and not run.inbox:
            return evolve(state, output=output, turn=run.turn, messages=run.log.view(), tier=run.tier)


async def stop(run: Run) -> None:
    """End a run that was asked to stop, where it has not heard of that. Raises `CancelledError`.

    It gives way once: a cancel that is pending comes now, and not wherever its task waits next.
    """
    if not run.cancel.served:
        await asyncio.sleep(0)
        raise asyncio.CancelledError(run.cancel.reason)


def check_time(run: Run) -> None:
    """Also a run that never waits ends when its time is over. Raises `LoopLimitError`."""
    left = run.seconds_left
    if left is not None and left <= 0:
        raise out_of_time(run)


def out_of_time(run: Run) -> LoopLimitError:
    """The error of a run whose time, or that of one above it, is over."""
    return LoopLimitError(
        f"run `{run.run}` reached its limit of {run.budget.time_limit:g} s", hint="peg help loop.limit"
    )


# --- before a request --------------------------------------------------------------------------------------------


def _is_tier_in_question(run: Run) -> bool:
    """Between turns: a call asked for another tier of tools, or it is time to ask."""
    if run.turn == 0:
        return False
    timely = run.hooks.tool_transition_evaluation is not None and run.turn % EVALUATE_EVERY_TURNS == 0
    return timely or run.tier_wanted is not None


async def _other_tier(run: Run, state: RunState) -> RunState:
    layer = run.hooks.tool_transition_evaluation
    before = run.tier
    state = evolve(state, tier=run.tier, turn=run.turn)
    state = await (layer(run, state, _wanted_tier) if layer else _wanted_tier(run, state))
    run.tier_wanted = None
    if state.tier == before:
        return state
    return await raise_tier(run, state, before)


async def _wanted_tier(run: Any, state: RunState) -> RunState:
    return state if run.tier_wanted is None else evolve(state, tier=run.tier_wanted)


async def raise_tier(run: Run, state: RunState, before: Tier) -> RunState:
    """Switch the tools of a higher tier on."""
    denied = await tool_calls.judge_tier(run, state.tier)
    if denied is None and state.tier not in run.config.tiers:
        denied = "the agent does not reach it"
    if denied is not None:
        run.degrade(f"tool tier `{state.tier}`", denied)
        return evolve(state, tier=before)
    layer = run.hooks.toolbelt_activation
    state = await (layer(run, state, _add_tools) if layer else _add_tools(run, state))
    run.tier = state.tier
    run.record("tool.tier", {"from": before, "to": state.tier, "reason": "asked for"})
    return state


async def _add_tools(run: Any, state: RunState) -> RunState:
    return evolve(state, tools=run.tools.names(state.tier))


def take_messages(run: Run, turn: int) -> None:
    """Put into the history what was queued into the run before a turn; a resumed run puts the same there."""
    if run.resumed:
        for data in run.journal.messages_at(turn):
            run.log.append(message_from_json(data))
    while run.inbox:
        message = run.inbox.pop(0)
        run.log.append(message)
        run.record("run.message", {"turn": turn, "message": to_json(message)})


def _request(run: Run, model: ModelBase, prepared: context.Prepared) -> ModelRequest:
    messages, marks = prepared
    instructions = run.config.instructions
    if run.instructions:
        instructions = f"{instructions}\n\n{run.instructions}".lstrip()
    specs = run.tools.specs(run.tier)
    if run.tools.faulty:
        _leave_out_faulty(run)
    request = ModelRequest(
        model=model.id,
        messages=messages,
        instructions=instructions,
        tools=specs,
        settings=run.settings,
        cache_marks=marks,
        run=run.run,
    )
    if run.output is not None:
        request = run.output.ask(request)
    return _final_request(request) if run.wants_final_answer else request


def _leave_out_faulty(run: Run) -> None:
    """Say once in a run which tools its model is not told of."""
    for name, error in run.tools.faulty.items():
        owner = run.tools[name].owner if name in run.tools else error.plugin
        if not any(entry.what == f"tool `{name}`" for entry in run.degraded):
            run.degrade(f"tool `{name}`", f"it is left out: {error.message}", plugin=owner, code=error.code)
            run.services.charge(owner, "provide_tools", error)


def _final_request(request: ModelRequest) -> ModelRequest:
    tools = tuple(spec for spec in request.tools if spec.name == FINAL_OUTPUT)
    instructions = f"{request.instructions}\n\nYou repeat yourself: give the final answer now.".lstrip()
    return msgspec.structs.replace(request, tools=tools, instructions=instructions)


# --- after an answer ---------------------------------------------------------------------------------------------


def _fault_of(response: ModelResponse) -> ModelFault | None:
    """What an answer lacks that came to a proper end; it is void as that of a stream that was cut."""
    provider, _, name = response.model.partition(":")
    told: dict[str, Any] = {"provider": provider, "model": name, "usage": response.usage}
    told["stream_started"] = bool(response.parts)
    if response.finish == "length":
        return ModelOutputLimitError(f"the answer of `{response.model}` was cut at the output limit", **told)
    if response.finish == "refused":
        return ModelRefusedError(f"`{response.model}` refused: {response.text or 'no reason given'}", **told)
    return None


def _output_of(run: Run, binding: TurnBinding, response: ModelResponse, results: Sequence[ToolResult]) -> Any:
    """The output, or `UNSET` when another turn is needed."""
    if binding.final is not UNSET:
        value, binding.final = binding.final, UNSET
        return value
    if results or response.finish == "pause":
        return UNSET
    if run.output is None:
        return response.text
    try:
        return run.output.from_text(response.text)
    except ModelOutputInvalidError as error:
        run.log.append(Message.user(f"{error.message}. Answer again."))  # also for recovery, which may ask once more
        send_back(run, run.output, error)
        return UNSET


def send_back(run: Run, output: StructuredOutput, error: ModelOutputInvalidError) -> None:
    """Count an invalid answer.

    Raises:
        ModelOutputInvalidError: it was the last that is allowed.
    """
    output.invalid += 1
    if output.invalid > run.config.output_retries:
        raise error
    run.record("output.invalid", {"errors": error.message, "attempt": output.invalid})
    run.restart("output_invalid")


async def _send_recorded(run: Run, send: Send, request: ModelRequest) -> ModelResponse:
    """Not before the store knows of it: what a life sent that is cut off may have to be paid."""
    run.journal.requested(request)
    await run.journal.flush()
    return await send(request)


# --- one turn's hooks --------------------------------------------------------------------------------------------


class TurnBinding:
    """The `TurnHooks` of a run: steps and layers around a request, the call pipeline, the sink."""

    __slots__ = ("_attempt", "_failed", "_meter", "_provided", "_run", "final")

    def __init__(self, run: Run) -> None:
        self._run = run
        self._meter = Meter() if run.is_bounded and run.budget.limits_output else None
        """Counts what is streamed, where a budget limits it."""
        self._attempt = 1
        self._failed = NOTHING_SENT
        self._provided: ModelResponse | None = None
        self.final: Any = UNSET

    @property
    def on_event(self) -> Show | None:
        """Where events go, when somebody streams or a budget limits the answer."""
        show = None if self._run.sink is None else self._show
        return show if self._meter is None else self.counted(show)

    def counted(self, show: Show | None) -> Show | None:
        """What takes events, with the meter before it where there is one."""
        meter = self._meter
        if meter is None:
            return show

        def count(event: StreamEvent) -> Awaitable[None] | None:
            meter.count(event)
            return None if show is None else show(event)

        return count

    def _show(self, event: StreamEvent) -> Awaitable[None] | None:
        event.attempt = self._attempt
        sink: Sink = self._run.sink  # type: ignore[assignment]  # asked above
        return sink.put(event)

    def model_request(self, request: ModelRequest, send: Send) -> Coroutine[Any, Any, ModelResponse]:
        """One step: read back, or asked for through the layers."""
        step = self._run.journal.open("model.request", request)
        return self._ask(step, request, send) if step.recorded is None else self._recall(step)

    async def _recall(self, step: Step) -> ModelResponse:
        response: ModelResponse = self._run.journal.result(step)
        asked: ModelRequest = step.params
        cost = await self._run.account_for(response.usage, response.model, asked.messages, response.parts)
        counted = {"requests": 1.0, "tokens": response.usage.total_tokens, "cost_usd": cost}
        if self._run.is_bounded and None in counted.values():  # what was reserved for it stands in this life too
            reserved = await _amounts(self._run, _capped(self._run, asked))
            counted = {unit: reserved.get(unit) if amount is None else amount for unit, amount in counted.items()}
        self._run.charge(**counted)
        await count_inside(self._run, step)
        self._run.log.append(Message("assistant", response.parts))
        return response

    async def tool_calls(self, calls: Sequence[ToolCall]) -> Sequence[ToolResult]:
        """Execute real tools first, then accept a final output."""
        run = self._run
        if run.wants_final_answer and any(call.name != FINAL_OUTPUT for call in calls):
            raise LoopLimitError(f"run `{run.run}` is stuck: it repeats the same calls", hint="peg help tool.loop")
        if run.output is None or run.output.strategy != "tool":
            return await tool_calls.perform_all(run, calls)
        real = [call for call in calls if call.name != FINAL_OUTPUT]
        results = list(await tool_calls.perform_all(run, real)) if real else []
        final = [call for call in calls if call.name == FINAL_OUTPUT]
        return [*results, *self._accept(run.output, final)] if final else results

    def _accept(self, output: StructuredOutput, calls: Sequence[ToolCall]) -> Sequence[ToolResult]:
        results: list[ToolResult] = []
        errors: list[ModelOutputInvalidError] = []
        for call in calls:
            try:
                self.final = output.from_call(call)
                results.append(tool_result(call.id, "accepted"))
            except ModelOutputInvalidError as error:
                results.append(tool_result(call.id, error.message, status="error", code=error.code))
                errors.append(error)
        self._run.tool_results(results)
        for invalid in errors:
            send_back(self._run, output, invalid)
        return results

    async def _ask(self, step: Step, request: ModelRequest, send: Send) -> ModelResponse:
        run = self._run
        self._attempt, self._provided, run.failed_step, run.replaying = step.attempt, None, None, False
        self._failed = NOTHING_SENT
        run.journal.start(step, model=request.model)
        if run.sink is not None:
            run.sink.put(StreamEvent("start", None, run=run.run, attempt=step.attempt, data={"model": request.model}))
        if run.journal.durable:
            send = partial(_send_recorded, run, send)
        layer = run.hooks.model_request
        try:
            if layer is None:
                response = await self._send(request, send)
            else:
                response = await layer(run, request, lambda _, changed: self._send(changed, send))
        except BaseException as error:
            await self._has_failed(step, request, error)
            raise
        cost = await run.account_for(response.usage, response.model, request.messages, response.parts)
        fault = _fault_of(response)
        if fault is not None:
            run.journal.fail(step, fault, usage=to_json(response.usage), held=self._failed.held)
            run.failed_step, run.unfinished = step, response.parts
            raise fault
        run.journal.finish(step, response, usage=response.usage, tokens=response.usage.total_tokens, cost_usd=cost)
        if layer is not None:
            self._say_anew(response)
        if run.journal.flushes:
            await run.journal.flush()
        if response.omitted or response.finish == "other":
            _tell_lacking(run, response)
        run.log.append(Message("assistant", response.parts))
        return response

    async def _has_failed(self, step: Step, request: ModelRequest, error: BaseException) -> None:
        """Record an attempt that failed, with what it used."""
        run, spent = self._run, self._failed.usage(error)
        told = {} if spent is None else {"usage": to_json(spent), "held": self._failed.held}
        run.journal.fail(step, error, **told)
        run.failed_step = step
        if spent is not None:
            await run.account_for(spent, request.model, request.messages)

    def _send(self, request: ModelRequest, send: Send) -> Awaitable[ModelResponse]:
        """Innermost: budget, redaction, provider, settlement."""
        run, hooks = self._run, self._run.hooks
        if run.is_bounded or hooks.reserve_budget is not None:
            return self._paid(request, send)
        if hooks.redact is None and hooks.transform_stream is None and hooks.model_request is None:
            self._failed = SENT
            return send(request)
        return self._deliver(request, send)

    async def _paid(self, request: ModelRequest, send: Send) -> ModelResponse:
        run, meter = self._run, self._meter
        asked, request = request, _capped(run, request)
        wanted = BudgetRequest(
            run=run.run,
            kind="model",
            resource=request.model,
            tokens=_most_tokens(run, request),
            exact=run.counting.exact,
            principal=run.principal,
        )
        reservation = await tool_calls.reserve(
            run, wanted, await _amounts(run, request), made_of=_made_of(run, request)
        )
        if meter is not None:
            meter.begin(_most_output(request))
        if reservation is not None and run.journal.durable:
            run.journal.reserved(reservation.amounts)
        try:
            response = await self._deliver(request, send)
        except BaseException as error:
            overrun = meter is not None and meter.is_over
            await self._settle_failed(reservation, error, request)
            await tool_calls.settle(run, wanted, tokens=wanted.tokens, outcome="failed", estimated=True)
            if overrun and (run.budget.remaining("tokens") or 0) <= 0 and run.budget.limits("tokens"):
                raise _cut(run, request) from error
            raise
        await self._settle(reservation, wanted, request, response)
        if response.finish == "length" and _most_output(request) < _most_output(asked):
            run.unfinished = response.parts
            raise _cut(run, request) from _fault_of(response)
        return response

    async def _settle(
        self, reservation: Reservation | None, wanted: BudgetRequest, request: ModelRequest, response: ModelResponse
    ) -> None:
        run = self._run
        tokens = response.usage.total_tokens
        cost = cost_of(await run.price_of(response.model, request.messages, response.parts), response.usage)
        actual: dict[Any, float] = {}
        if tokens is not None:
            actual["tokens"] = tokens
        if cost is not None:
            actual["cost_usd"] = cost
        if reservation is not None:
            reservation.settle(actual)
            self._failed = Attempt(True, None, reservation.amounts)  # in case that the answer is one of no use
        await tool_calls.settle(run, wanted, tokens=tokens, cost_usd=cost, estimated=tokens is None)

    async def _settle_failed(
        self, reservation: Reservation | None, error: BaseException, request: ModelRequest
    ) -> None:
        """A request that failed may have cost something: what its model says, else what was counted.

        Where nothing came of an answer nobody knows what a model did for it: what was reserved stands.
        """
        run, meter = self._run, self._meter
        usage = self._failed.usage(error)
        if usage is not None and usage.total_tokens is None and meter is not None and _was_read(error):
            counted = (run.counting.request(request), meter.tokens)
            usage = Usage(*counted, requests=usage.requests, source="estimated")
        if reservation is not None:
            reservation.settle(await self._amounts_of(usage, request, reservation))
            self._failed = self._failed._replace(counted=usage, held=reservation.amounts)

    async def _amounts_of(
        self, usage: Usage | None, request: ModelRequest, reserved: Reservation
    ) -> Mapping[Unit, float]:
        """What a failed request counts as, by unit; nothing, where it was not taken."""
        if usage is None:
            return dict.fromkeys(reserved.amounts, 0.0)
        cost = cost_of(await self._run.price_of(request.model, request.messages), usage)
        amounts: dict[Unit, float | None] = {"tokens": usage.total_tokens, "cost_usd": cost}
        return {unit: amount for unit, amount in amounts.items() if amount is not None}

    async def _deliver(self, request: ModelRequest, send: Send) -> ModelResponse:
        """Without what the model must not see, and with the answer's events passing those who transform them."""
        run = self._run
        layer = run.hooks.redact
        if layer is not None:
            plain = await layer(run, [to_json(message) for message in request.messages], "model")
            if not isinstance(plain, list):  # the marker of a redaction that failed
                plain = [to_json(Message.user(str(plain)))]
            request = msgspec.structs.replace(request, messages=tuple(map(message_from_json, plain)))
        self._failed = SENT
        if run.sink is None or run.hooks.transform_stream is None:
            response = await send(request)
        else:
            response = await _through_transformers(run, self, request)
        self._provided = response
        return response

    def _say_anew(self, response: ModelResponse) -> None:
        """Where a layer changed the text after it was streamed, void what was shown and show the new text."""
        run, provided = self._run, self._provided
        if run.sink is None or (provided is not None and provided.text == response.text):
            return
        if provided is not None:
            run.restart("replaced", self._attempt)
        run.sink.put(StreamEvent("text", response.text, run=run.run, buffer=[response.text]))


async def _through_transformers(run: Run, binding: TurnBinding, request: ModelRequest) -> ModelResponse:
    """Send, with the events passing `transform_stream` before they reach the sink."""
    pipe = Sink()
    showing = asyncio.create_task(_show_transformed(run, binding, pipe))
    model: ModelBase = run.model  # type: ignore[assignment]  # resolved in `initialization`
    try:
        response = await model.send(request, binding.counted(pipe.put))
        pipe.close()
        await showing
    except BaseException:
        showing.cancel()
        await asyncio.wait({showing})
        raise
    return response


async def _show_transformed(run: Run, binding: TurnBinding, pipe: Sink) -> None:
    transform = run.hooks.transform_stream
    events: AsyncIterator[StreamEvent] = pipe.__aiter__()
    try:
        async for event in transform(run, events) if transform is not None else events:
            waiting = binding._show(event)
            if waiting is not None:
                await waiting
    except Exception:
        await _drained(pipe)
        raise
    await _drained(pipe)


async def _drained(pipe: Sink) -> None:
    """Take what a transformer that ended early left: the model must not wait for it."""
    async for _ in pipe:
        pass


async def _amounts(run: Run, request: ModelRequest) -> dict[Any, float]:
    """What a request may use at most, in the units that are limited."""
    amounts: dict[Any, float] = {"requests": 1.0}
    if run.budget.limits("tokens"):
        amounts["tokens"] = float(_most_tokens(run, request))
    if run.budget.limits("cost_usd"):
        amounts["cost_usd"] = await _most_cost(run, request)
    return amounts


def _capped(run: Run, request: ModelRequest) -> ModelRequest:
    """The request with the length of its answer limited to what can be reserved for it.

    That is what the settings say or `DEFAULT_OUTPUT_TOKENS`, and less where less is left in the budget; where not even
    `LEAST_OUTPUT_TOKENS` are, the reservation is refused.
    """
    if not run.is_bounded or not run.budget.limits_output:
        return request
    most = _most_output(request)
    left = run.budget.remaining("tokens")
    if left is not None:
        most = max(min(most, int(left) - run.counting.request(request)), min(most, LEAST_OUTPUT_TOKENS))
    if most == request.settings.max_output_tokens:
        return request
    return evolve(request, settings=evolve(request.settings, max_output_tokens=most))


def _cut(run: Run, request: ModelRequest) -> BudgetExceededError:
    return run.budget.used_up("tokens", f"the answer of `{request.model}` was cut: it used up the budget of tokens")


async def _most_cost(run: Run, request: ModelRequest) -> float:
    price = await run.price_of(request.model, request.messages)
    if price is None:
        if run.services.unknown_price == "allow":
            return 0.0
        raise PriceUnknownError(
            f"a money limit is set and the price of `{request.model}` is not known",
            hint="peg config explain limits.cost_usd",
        )
    return most_cost(price, run.counting.request(request), _most_output(request))


def _most_output(request: ModelRequest) -> int:
    return request.settings.max_output_tokens or context.DEFAULT_OUTPUT_TOKENS


def _most_tokens(run: Run, request: ModelRequest) -> int:
    return run.counting.request(request) + _most_output(request)


def _made_of(run: Run, request: ModelRequest) -> str:
    about = "" if run.counting.exact else "about "
    return f"{about}{run.counting.request(request)} for the request, and up to {_most_output(request)} for the answer"


class Attempt(NamedTuple):
    """A request, as far as it is of interest when it fails."""

    was_sent: bool
    counted: Usage | None = None
    """What is known or was estimated of its usage."""
    held: Mapping[Unit, float] = {}
    """What it counts against the budget in the end, by unit."""

    def usage(self, error: BaseException) -> Usage | None:
        """What it used that failed so: unknown, where it was taken and nobody said; `None` is nothing."""
        if self.counted is not None:
            return self.counted
        if isinstance(error, BudgetExceededError) and error.__cause__ is not None:
            error = error.__cause__  # the answer that was cut
        usage = getattr(error, "usage", None)
        if isinstance(usage, Usage):
            return usage
        stopped = self.was_sent and isinstance(error, asyncio.CancelledError)
        return Usage() if _was_taken(error, otherwise=stopped) else None


NOTHING_SENT, SENT = Attempt(False), Attempt(True)


def _was_read(error: BaseException) -> bool:
    """Whether an answer came as far as it was wanted: to where it broke off, or was stopped from here."""
    return isinstance(error, asyncio.CancelledError) or bool(getattr(error, "stream_started", False))


_SILENT = (ModelStreamError, ModelEmptyResponseError, ModelTimeoutError)
"""Faults of which no provider says that they cost nothing: an answer that is none, or did not come in time."""


def _was_taken(error: BaseException, *, otherwise: bool) -> bool:
    """Whether a model may have worked for a request that failed; `otherwise` where it is no fault of a model."""
    if not isinstance(error, ModelFault):
        return otherwise
    return error.stream_started or (isinstance(error, _SILENT) and error.phase != "connect")


def _tell_lacking(run: Run, response: ModelResponse) -> None:
    """Say once in a run what its model was not given, and that an answer may be less than whole."""
    if response.finish == "other":
        run.degrade("an answer", f"`{response.model}` ended it for a reason that is not known here")
    told = {entry.what for entry in run.degraded}
    for omission in response.omitted:
        if omission.what not in told:
            run.degrade(omission.what, f"not sent to the model: {omission.why}")
