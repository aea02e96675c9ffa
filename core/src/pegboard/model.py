"""`ModelBase`: one turn of a model. A provider author writes `stream`; the rest is inherited.

A turn is one request and the tool calls it asks for. Whether another turn is needed, history, retries and recovery
belong to the runner; no provider's message format is known here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import TypeAlias

import msgspec

from pegboard.errors import ModelEmptyResponseError, ModelFault, ModelStreamError, describe
from pegboard.interfaces import Tool, TurnHooks
from pegboard.tools import DirectToolContext, as_tool, call_tool, spec_for
from pegboard.types import (
    Agent,
    AgentConfig,
    Content,
    EndReason,
    Finish,
    Message,
    ModelCapabilities,
    ModelChunk,
    ModelRequest,
    ModelResponse,
    RunResult,
    StreamEvent,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
    tool_result,
)

Inputs: TypeAlias = str | Message | Sequence[Message]
NOT_KNOWN = ModelCapabilities()


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

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """Tokens of a request by the provider's own counter, or `None` where it has none."""
        return None

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

    async def stream_response(
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

        async with aclosing(stream_from(work)) as events:
            async for event in events:
                yield event

    async def turn(
        self, request: ModelRequest, hooks: TurnHooks, *, execute_tools: bool = True
    ) -> tuple[ModelResponse, Sequence[ToolResult]]:
        """One request and its tool calls: the single path behind `get_response`, `stream_response` and the runner."""
        response = await hooks.model_request(request, partial(self.send, on_event=hooks.on_event))
        calls = response.tool_calls
        if not calls or not execute_tools or response.finish in ("length", "refused"):  # a cut call is none
            return response, ()
        return response, await hooks.tool_calls(calls)

    async def send(
        self, request: ModelRequest, on_event: Callable[[StreamEvent], Awaitable[None] | None] | None
    ) -> ModelResponse:
        """One request to the provider: its chunks as events, then the complete response.

        Raises:
            ModelFault: always a classified one, also for a stream that ended without a finish reason.
        """
        answer = Assembler(request.model or self.id, request.run, quiet=on_event is None)
        chunks = self.stream(request)
        try:
            async for chunk in chunks:
                events = answer.add(chunk)
                if on_event is None:
                    continue
                for event in events:
                    waiting = on_event(event)
                    if waiting is not None:
                        await waiting
            return answer.response()
        except ModelFault as fault:
            fault.provider, fault.model = fault.provider or self.provider, fault.model or self.name
            fault.stream_started = fault.stream_started or answer.started
            raise
        except (KeyboardInterrupt, GeneratorExit, asyncio.CancelledError):
            raise
        except BaseException as exc:  # an SDK that calls `sys.exit` does not end the host
            raise self._classified(exc, answer) from exc
        finally:
            if not answer.ended:
                await _close(chunks)

    def _classified(self, exc: BaseException, answer: Assembler) -> ModelFault:
        known = self.classify_error(exc) if isinstance(exc, Exception) else None
        fault = known or ModelFault(f"model `{self.id}` failed: {type(exc).__name__}: {describe(exc)}")
        fault.provider, fault.model = fault.provider or self.provider, fault.model or self.name
        fault.stream_started = fault.stream_started or answer.started
        return fault

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"


class Assembler:
    """Makes one response, and the events on the way, of a provider's chunks."""

    __slots__ = ("_begin", "_calls", "_finish", "_ids", "_model", "_parts", "_quiet", "_run", "_text", "_thinking")

    def __init__(self, model: str, run: str = "", *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._model = model
        self._run = run
        self._text: list[str] = []
        self._begin = 0
        """Where in `_text` the part begins that is being streamed."""
        self._thinking: list[str] = []
        self._parts: list[Content] = []
        self._calls: dict[str, list[str]] = {}
        self._ids: set[str] = set()
        self._finish: Finish | None = None

    @property
    def ended(self) -> bool:
        """Whether the chunk that carries `finish` came."""
        return self._finish is not None

    @property
    def started(self) -> bool:
        """Whether anything came."""
        return bool(self._text or self._thinking or self._parts or self._calls)

    def add(self, chunk: ModelChunk) -> Sequence[StreamEvent]:
        """Take a chunk; the events it gives, mostly one. Quiet, text gives none."""
        if chunk.text is not None:
            ended: Sequence[StreamEvent] = self._flush() if self._calls or self._thinking else ()
            self._text.append(chunk.text)
            return () if self._quiet else (*ended, StreamEvent("text", chunk.text, run=self._run, buffer=self._text))
        if chunk.thinking is not None:
            ended = () if self._thinking else self._flush()
            self._thinking.append(chunk.thinking)
            return (*ended, StreamEvent("thinking", chunk.thinking, run=self._run))
        if chunk.call_delta is not None:
            return self._call_delta(*chunk.call_delta)
        if chunk.tool_call is not None:
            ended, call = self._flush(), self._own(chunk.tool_call)
            self._parts.append(call)
            return (*ended, StreamEvent("tool_call", call, run=self._run))
        if chunk.part is not None:
            return self._other(chunk.part)
        if chunk.finish is not None:
            return self._end(chunk.finish)
        return ()

    def response(self) -> ModelResponse:
        """The complete answer.

        Raises:
            ModelStreamError: no finish reason came, so the answer is cut however well it reads.
            ModelEmptyResponseError: neither a part nor a usage came.
        """
        finish = self._finish
        if finish is None:
            raise ModelStreamError(
                f"the stream of `{self._model}` ended without a finish reason",
                phase="stream",
                stream_started=self.started,
            )
        self._flush()
        if not self._parts and finish.usage is None and finish.reason == "stop":
            raise ModelEmptyResponseError(f"`{self._model}` answered with nothing")
        return ModelResponse(
            parts=tuple(self._parts),
            finish=finish.reason,
            usage=finish.usage or Usage(),
            model=finish.model or self._model,
        )

    def _call_delta(self, id: str, name: str, arguments: str) -> Sequence[StreamEvent]:
        if id not in self._calls:
            self._flush_text()
            self._calls[id] = [name, arguments]
            return (StreamEvent("tool_call_start", name, run=self._run, data={"id": id}),)
        self._calls[id].append(arguments)
        return (StreamEvent("tool_call_delta", arguments, run=self._run, data={"id": id}),)

    def _other(self, part: Content) -> Sequence[StreamEvent]:
        if isinstance(part, Thinking) and self._thinking:
            # The signed whole replaces the deltas that were streamed of it.
            self._thinking.clear()
        events = self._flush()
        self._parts.append(part)
        kind = type(part).__name__.lower()
        if kind in ("file", "citation"):
            events.append(StreamEvent(kind, part, run=self._run))  # type: ignore[arg-type]  # checked by value
        return events

    def _end(self, finish: Finish) -> Sequence[StreamEvent]:
        if finish.usage is not None and not is_sound(finish.usage):
            # What a provider claims in numbers that cannot be is not known; a budget must not grow by it.
            finish = Finish(finish.reason, Usage(), finish.model)
        self._finish = finish
        if self._quiet:
            return ()
        events = self._flush()
        if finish.usage is not None:
            events.append(StreamEvent("usage", finish.usage, run=self._run))
        return events

    def _flush(self) -> list[StreamEvent]:
        """What was being streamed is complete; the events that say so."""
        self._flush_text()
        return [StreamEvent("tool_call", call, run=self._run) for call in self._flush_calls()]

    def _flush_text(self) -> None:
        if self._thinking:
            self._parts.append(Thinking("".join(self._thinking)))
            self._thinking = []
        if len(self._text) > self._begin:
            self._parts.append(Text("".join(self._text[self._begin :])))
            self._begin = len(self._text)

    def _flush_calls(self) -> list[ToolCall]:
        if not self._calls:
            return []
        calls = [self._own(parse_call(id, name, "".join(pieces))) for id, (name, *pieces) in self._calls.items()]
        self._parts.extend(calls)
        self._calls = {}
        return calls

    def _own(self, call: ToolCall) -> ToolCall:
        """The call with an id of its own: some providers give none, or the same one twice in an answer."""
        id = call.id
        while not id or id in self._ids:
            id = f"{id or 'call'}_{len(self._ids)}"
        self._ids.add(id)
        return call if id == call.id else msgspec.structs.replace(call, id=id)


async def _close(chunks: AsyncIterator[ModelChunk]) -> None:
    close = getattr(chunks, "aclose", None)
    if close is not None:
        await close()


def is_sound(usage: object) -> bool:
    """Whether a usage is one, and every number in it is a whole number from 0 on, or unknown."""
    if not isinstance(usage, Usage):
        return False
    numbers = (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens)
    return all(number is None or (type(number) is int and number >= 0) for number in numbers)


def parse_call(id: str, name: str, arguments: str) -> ToolCall:
    """A call with its arguments parsed; text that is no JSON object is kept raw with the reason, never guessed."""
    if not arguments.strip():
        return ToolCall(id=id, name=name)
    try:
        parsed = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError, ValueError) as exc:
        return ToolCall(id=id, name=name, raw_arguments=arguments, error=f"arguments are not JSON: {exc}")
    if not isinstance(parsed, dict):
        return ToolCall(id=id, name=name, raw_arguments=arguments, error="arguments are not a JSON object")
    return ToolCall(id=id, name=name, arguments=parsed)


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

    __slots__ = ("_items", "_limit", "_loop", "_reader", "_seq", "_writer", "closed")

    def __init__(self, limit: int = 64) -> None:
        self._items: deque[StreamEvent] = deque()
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
        self._items.append(event)
        reader = self._reader
        if reader is not None:
            self._reader = None
            if not reader.done():
                reader.set_result(None)
        if len(self._items) < self._limit:
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

    async def __aiter__(self) -> AsyncGenerator[StreamEvent, None]:
        items = self._items
        while True:
            while items:
                yield items.popleft()
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.set_result(None)
            if self.closed:
                return
            self._reader = self._loop.create_future()
            await self._reader


async def stream_from(work: Callable[[Sink], Awaitable[RunResult]]) -> AsyncGenerator[StreamEvent, None]:
    """Run `work` in a task of its own and yield what it puts into the sink, then one final event with its result.

    No context variable, span or task group is open across a `yield`. Closing the iterator cancels the task and waits
    for it. An error of `work` is raised after the events that came before it.
    """
    sink = Sink()

    async def body() -> RunResult:
        try:
            return await work(sink)
        finally:
            sink.close()

    task = asyncio.create_task(body())
    seq = 0
    try:
        async with aclosing(sink.__aiter__()) as events:
            async for event in events:
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
    )
