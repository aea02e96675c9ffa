"""`ModelBase`: one turn of a model. A provider author writes `stream`; the rest is inherited.

A turn is one request and the tool calls it asks for. Whether another turn is needed, history, retries and recovery
belong to the runner; no provider's message format is known here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from pegboard import deadline
from pegboard.assembling import Assembler
from pegboard.errors import ModelFault, ModelTimeoutError, PegboardError, describe
from pegboard.interfaces import Tool, TurnHooks
from pegboard.tools import DirectToolContext, as_tool, call_tool, spec_for
from pegboard.types import (
    Agent,
    AgentConfig,
    Degradation,
    EndReason,
    Message,
    ModelCapabilities,
    ModelChunk,
    ModelRequest,
    ModelResponse,
    RunResult,
    StreamEvent,
    ToolCall,
    ToolResult,
    tool_result,
)
from pegboard.wire import holds_secret, told

T = TypeVar("T")
Inputs: TypeAlias = str | Message | Sequence[Message]
OnEvent: TypeAlias = Callable[[StreamEvent], Awaitable[None] | None] | None
NOT_KNOWN = ModelCapabilities()
_log = logging.getLogger("pegboard.models")


class ModelBase:
    """A model of a provider.

    Implement `stream`; override `capabilities` and `classify_error`, and `count_tokens` where the provider has a
    counter. Clients of an SDK belong to the instance: make them at first use, close them in `aclose`.

        class Echo(ModelBase):
            provider, name = "demo", "echo"

            async def stream(self, request):
                yield ModelChunk(text=request.messages[-1].text)
                yield ModelChunk(finish=Finish("stop"))
    """

    provider: str = ""
    name: str = ""
    is_demo: bool = False
    """It is there to try things out: an agent that computes is not to take what it says for a judgement."""
    why: str = ""
    """Why this model, where a plugin chose it for `auto`; the run says so in an event."""
    answer_timeout_s: float | None = None
    """Seconds that one answer may take as a whole, however much of it comes; by default there is no limit."""

    @property
    def id(self) -> str:
        """Provider and name, for example `anthropic:claude-x`."""
        return f"{self.provider}:{self.name}"

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """Send one request and yield what comes back; the last chunk carries `finish`."""
        raise NotImplementedError(f"{type(self).__name__}.stream")

    def capabilities(self, model: str) -> ModelCapabilities:
        """What the model can do; what is not known stays `unknown`."""
        return NOT_KNOWN

    def classify_error(self, exc: Exception) -> ModelFault | None:
        """Translate what the SDK raised; `None` becomes `model.unknown`, which is never retried."""
        return None

    def secrets(self) -> Sequence[str]:
        """Keys that no error may repeat; core takes them out of what is told of a failure."""
        return ()

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """Tokens of a request by the provider's own counter, or `None` where it has none."""
        return None

    async def connect(self) -> None:
        """Find the key and make the client, as the first request does; for whoever wants to know before it.

        Raises:
            CredentialsMissingError: there is no key.
        """

    async def verify(self) -> bool:
        """Ask the provider whether the key is taken and the model is there; `False` where only a request tells.

        It must be free of charge. What it raises is classified as that of `stream` is.

        Raises:
            CredentialsMissingError: there is no key.
            ModelFault: it cannot be used, and why.
        """
        return False

    async def aclose(self) -> None:
        """Close clients; called once by whoever made the model."""

    async def get_response(
        self, agent: Agent | AgentConfig, inputs: Inputs, hooks: TurnHooks | None = None, *, execute_tools: bool = True
    ) -> RunResult:
        """One turn: the answer, and where it asked for tools, their results in `messages`.

        Without `hooks` everything is called straight through. With `execute_tools=False` the calls are returned in
        `pending_calls`.
        """
        config = agent if isinstance(agent, AgentConfig) else agent.config
        tools = {tool.name: tool for tool in map(as_tool, config.tools)}
        request = request_for(self, config, normalize(inputs), tuple(tools.values()))
        response, results = await self.turn(request, hooks or DirectHooks(tools), execute_tools=execute_tools)
        return _turn_result(config, request, response, results)

    def stream_response(
        self, agent: Agent | AgentConfig, inputs: Inputs, hooks: TurnHooks | None = None, *, execute_tools: bool = True
    ) -> AsyncGenerator[StreamEvent, None]:
        """The same turn as a stream of events, the last of which is final and holds the `RunResult`."""
        config = agent if isinstance(agent, AgentConfig) else agent.config
        tools = {tool.name: tool for tool in map(as_tool, config.tools)}

        async def work(sink: Sink) -> RunResult:
            through = _Through(hooks or DirectHooks(tools), sink)
            request = request_for(self, config, normalize(inputs), tuple(tools.values()))
            response, results = await self.turn(request, through, execute_tools=execute_tools)
            return _turn_result(config, request, response, results)

        return stream_from(work)

    async def turn(
        self, request: ModelRequest, hooks: TurnHooks, *, execute_tools: bool = True
    ) -> tuple[ModelResponse, Sequence[ToolResult]]:
        """One request and its tool calls: the single path behind `get_response`, `stream_response` and the runner."""
        response = await hooks.model_request(request, partial(self.send, on_event=hooks.on_event))
        calls = response.tool_calls
        if not calls or not execute_tools or response.finish in ("length", "refused"):  # a cut call is none
            return response, ()
        return response, await hooks.tool_calls(calls)

    def send(self, request: ModelRequest, on_event: OnEvent) -> Coroutine[Any, Any, ModelResponse]:
        """One request to the provider: its chunks as events, then the complete response.

        A model that swallows its cancel is abandoned a second later: neither a limit nor a cancelled run waits for it.

        Raises:
            ModelFault: a classified one, also for a stream that ended without a finish reason.
            ModelTimeoutError: the answer took longer than `answer_timeout_s`.
            PegboardError: what the model's plugin asked core for was refused: a secret, a permission.
        """
        answer = Assembler(request.model or self.id, request.run, quiet=on_event is None)
        limit_s = self.answer_timeout_s
        if limit_s is None:
            return _sent(self, request, answer, on_event)
        return _sent_in_time(self, request, answer, on_event, limit_s)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"


async def _sent_in_time(
    model: ModelBase, request: ModelRequest, answer: Assembler, on_event: OnEvent, limit_s: float
) -> ModelResponse:
    """Within the limit of a whole answer: a server that never falls silent never reaches that of a silence."""
    cancels = _cancels()
    try:
        async with asyncio.timeout(limit_s) as clock:
            return await _sent(model, request, answer, on_event)
    except (TimeoutError, deadline.AbandonedError) as late:
        if not clock.expired() or _cancels() > cancels:
            raise
        raise ModelTimeoutError(
            f"the answer was not complete within {limit_s:g} s, the limit of a whole answer",
            provider=model.provider,
            model=model.name,
            phase="stream",
            stream_started=answer.started,
            usage=answer.spent,
        ) from late


async def _sent(model: ModelBase, request: ModelRequest, answer: Assembler, on_event: OnEvent) -> ModelResponse:
    running = _received(model, request, answer, on_event)
    try:
        waiting = running.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # what `_received` returned
    try:
        return await deadline.finish(running, waiting, _Limit("stream", f"model `{model.id}`"))  # type: ignore[no-any-return]
    except deadline.AbandonedError as error:
        error.charged = True  # to the model, and to no plugin around it
        raise


async def _received(model: ModelBase, request: ModelRequest, answer: Assembler, on_event: OnEvent) -> ModelResponse:
    chunks = None
    try:
        chunks = model.stream(request)
        async for chunk in chunks:
            events = answer.add(chunk)
            if on_event is None:
                continue
            for event in events:
                waiting = on_event(event)
                if waiting is not None:
                    await waiting
        return answer.response()
    except BaseException as exc:
        if deadline.is_closing():
            raise  # it was abandoned: whatever waits here would wait for nobody
        error = _fault(model, exc, answer)
        await _close(chunks, error)
        if error is exc:
            raise
        cause = _harmless(model, exc)
    try:
        raise error from cause  # out here, so that a cause which says the key is not in its context either
    finally:
        del error, cause  # they hold this frame


def _fault(model: ModelBase, exc: BaseException, answer: Assembler) -> BaseException:
    """What is raised instead of `exc`: a classified fault, unless it is the run that is being stopped."""
    if isinstance(exc, KeyboardInterrupt) or (isinstance(exc, asyncio.CancelledError) and _is_cancelled()):
        exc.usage = answer.spent  # type: ignore[union-attr]  # what is stopped has cost something all the same
        return exc
    if isinstance(exc, PegboardError) and not isinstance(exc, ModelFault):
        return exc  # a key that is missing, a permission: with a code and a hint of its own
    fault = told(exc, _secrets(model), is_own=True) if isinstance(exc, ModelFault) else classified(model, exc)
    fault.provider, fault.model = fault.provider or model.provider, fault.model or model.name
    fault.stream_started = fault.stream_started or answer.started
    fault.usage = fault.usage or answer.spent
    return fault


def classified(model: ModelBase, exc: BaseException) -> ModelFault:
    """What an SDK raised as a fault, by the model's `classify_error`, or else as `model.unknown`.

    Its message is one line, holds no key, and names the provider where it was the one who said so.
    """
    fault = told(_classified(model, exc), _secrets(model))
    if fault.status is not None and fault.provider is None:
        fault.provider = model.provider
        fault.message = f"{model.provider} said (HTTP {fault.status}): {fault.message}"
        fault.args = (fault.message,)
    return fault


def _harmless(model: ModelBase, exc: BaseException) -> BaseException | None:
    """What led to a fault, unless it says the key."""
    return None if holds_secret(exc, _secrets(model)) else exc


def _secrets(model: ModelBase) -> Sequence[str]:
    try:
        return tuple(map(str, model.secrets()))
    except Exception:
        _log.debug("the keys of a model are not known", exc_info=True)
        return ()


def _classified(model: ModelBase, exc: BaseException) -> ModelFault:
    # An SDK that calls `sys.exit` does not end the host.
    fault = ModelFault(f"model `{model.id}` failed: {type(exc).__name__}: {describe(exc)}")
    if not isinstance(exc, Exception):
        return fault
    try:
        known: object = model.classify_error(exc)
    except KeyboardInterrupt:
        raise
    except BaseException as broken:
        fault.add_note(f"its `classify_error` failed: {type(broken).__name__}: {describe(broken)}")
        return fault
    if known is not None and not isinstance(known, ModelFault):
        fault.add_note(f"its `classify_error` returned `{type(known).__name__}` instead of a fault")
    return known if isinstance(known, ModelFault) else fault


class _Limit(NamedTuple):
    """What the driver of a suspended coroutine must know of a model."""

    hook: str
    plugin: str
    limit_s: float | None = None


async def _close(chunks: Any, because: BaseException) -> None:
    """Close the stream of a model that failed or is cancelled; what goes wrong with that hides no earlier error."""
    limit = _Limit("aclose", "model", deadline.GRACE_S)
    try:
        close = getattr(chunks, "aclose", None)
        if close is None:
            return
        step = close()
        await deadline.finish(step, step.send(None), limit)
    except StopIteration:
        return
    except asyncio.CancelledError as exc:
        if exc is not because and _is_cancelled():
            raise
        _note_close(because, exc)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        if deadline.is_closing():
            raise
        _note_close(because, exc)


def _note_close(because: BaseException, exc: BaseException) -> None:
    because.add_note(f"its stream could not be closed: {type(exc).__name__}: {describe(exc)}")
    _log.debug("the stream of a model could not be closed", exc_info=exc)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _cancels() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def capabilities_of(model: ModelBase) -> ModelCapabilities:
    """What a model says that it can do.

    Raises:
        ModelFault: it raised, or said something else.
    """
    try:
        found: object = model.capabilities(model.name)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        raise ModelFault(f"`capabilities` of model `{model.id}` failed: {type(exc).__name__}: {describe(exc)}") from exc
    if not isinstance(found, ModelCapabilities):
        raise ModelFault(f"`capabilities` of model `{model.id}` returned `{type(found).__name__}`")
    return found


async def connected(model: ModelBase) -> None:
    """Have a model find its key and make its client, and classify what goes wrong. Raises as `verified` does."""
    await _classifying(model, model.connect())


async def verified(model: ModelBase) -> bool:
    """Whether the provider said that the model can be used; `False` where it was not asked.

    Raises:
        ModelFault: a classified one: the key, the name, the way to the server.
        PegboardError: there is no key.
    """
    return await _classifying(model, model.verify())


async def _classifying(model: ModelBase, step: Awaitable[T]) -> T:
    try:
        return await step
    except ModelFault as fault:
        told(fault, _secrets(model))
        raise
    except PegboardError:
        raise
    except Exception as exc:
        error, cause = classified(model, exc), _harmless(model, exc)
    try:
        raise error from cause
    finally:
        del error, cause  # they hold this frame


def normalize(inputs: Inputs) -> Sequence[Message]:
    """What a caller may give as input, as messages."""
    if isinstance(inputs, str):
        return (Message.user(inputs),)
    if isinstance(inputs, Message):
        return (inputs,)
    return inputs


def request_for(
    model: ModelBase, config: AgentConfig, messages: Sequence[Message], tools: Sequence[Tool], run: str = ""
) -> ModelRequest:
    """The request for the next turn of an agent."""
    return ModelRequest(
        model=model.id,
        messages=messages,
        instructions=config.instructions,
        tools=tuple(map(spec_for, tools)),
        settings=config.settings,
        run=run,
    )


class DirectHooks:
    """Nothing stands around a model: requests go straight out, tools are called directly."""

    def __init__(self, tools: Mapping[str, Tool]) -> None:
        self._tools = tools

    async def model_request(
        self, request: ModelRequest, send: Callable[[ModelRequest], Awaitable[ModelResponse]]
    ) -> ModelResponse:
        return await send(request)

    async def tool_calls(self, calls: Sequence[ToolCall]) -> Sequence[ToolResult]:
        return await asyncio.gather(*map(self._one, calls))

    async def _one(self, call: ToolCall) -> ToolResult:
        tool = self._tools.get(call.name)
        if tool is None:
            return tool_result(call.id, f"no tool `{call.name}`", status="error", code="tool.not_found")
        return await call_tool(tool, call, DirectToolContext(call))

    on_event = None


class _Through:
    """The caller's hooks, with events going to a sink as well."""

    def __init__(self, hooks: TurnHooks, sink: Sink) -> None:
        self.model_request = hooks.model_request
        self._hooks = hooks
        self._sink = sink

    async def tool_calls(self, calls: Sequence[ToolCall]) -> Sequence[ToolResult]:
        results = await self._hooks.tool_calls(calls)
        for result in results:
            waiting = self._sink.put(StreamEvent("tool_result", result))
            if waiting is not None:
                await waiting
        return results

    def on_event(self, event: StreamEvent) -> Awaitable[None] | None:
        return self._sink.put(event)


class Sink:
    """Between the task that works and the iterator that is read: a deque with one waiter on each side.

    Bounded, so that a slow reader slows the stream instead of filling memory.
    """

    __slots__ = ("_limit", "_loop", "_reader", "_seq", "_writer", "closed", "items")

    def __init__(self, limit: int = 64) -> None:
        self.items: deque[StreamEvent] = deque()
        self._limit = limit
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._seq = 0
        self.closed = False

    def put(self, event: StreamEvent) -> Awaitable[None] | None:
        """Hand over an event; an awaitable when the reader is behind."""
        event.seq = self._seq
        self._seq += 1
        self.items.append(event)
        reader = self._reader
        if reader is not None:
            self._reader = None
            if not reader.done():
                reader.set_result(None)
        if len(self.items) < self._limit:
            return None
        if self._writer is None:
            self._writer = self._loop.create_future()
        # A future and no coroutine: whoever may not wait drops it. Shielded, since all writers wait for the same one.
        return asyncio.shield(self._writer)

    def close(self) -> None:
        """No more events will come."""
        self.closed = True
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def more(self) -> bool:
        """Wait until `items` holds something; `False` when nothing more will come."""
        while not self.items:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.set_result(None)
            if self.closed:
                return False
            self._reader = self._loop.create_future()
            await self._reader
        return True

    async def __aiter__(self) -> AsyncGenerator[StreamEvent, None]:
        while await self.more():
            while self.items:
                yield self.items.popleft()


async def stream_from(
    work: Callable[[Sink], Awaitable[RunResult]], during: AbstractContextManager[None] | None = None
) -> AsyncGenerator[StreamEvent, None]:
    """Run `work` in a task of its own and yield what it puts into the sink, then one final event with its result.

    No context variable, span or task group is open across a `yield`. Closing the iterator cancels the task and waits
    for it. An error of `work` is raised after the events that came before it. `during` is open until the iterator ends.
    """
    sink = Sink()

    async def body() -> RunResult:
        try:
            return await work(sink)
        finally:
            sink.close()

    with during or nullcontext():
        task = asyncio.create_task(body())
        seq = 0
        try:
            while await sink.more():
                while sink.items:
                    event = sink.items.popleft()
                    seq = event.seq + 1
                    yield event
            result = await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            if task.done() and not task.cancelled():
                task.exception()  # seen, so that nothing is logged for a reader who left early
        yield StreamEvent("final", result, is_final=True, run=result.run, seq=seq)


def _turn_result(
    config: AgentConfig, request: ModelRequest, response: ModelResponse, results: Sequence[ToolResult]
) -> RunResult:
    messages = [*request.messages, Message("assistant", response.parts)]
    if results:
        messages.append(Message("tool", tuple(results)))
    end: EndReason = "completed"
    return RunResult(
        run=request.run,
        agent=config.name,
        output=response.text,
        end_reason=end,
        messages=tuple(messages),
        usage=response.usage,
        turns=1,
        pending_calls=() if results else response.tool_calls,
        degraded=tuple(Degradation(what=omission.what, why=omission.why) for omission in response.omitted),
    )
