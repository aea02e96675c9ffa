"""`Recording` and `Replay`: the plugin and the clock of a board whose runs are recorded, and of one that replays them.

Both stand around the same places: the model that a run uses, the execution of a tool, a run of an agent elsewhere, a
pause, the answer of a person. Everything else is done again in a replay, so that a change in it is seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from os import PathLike
from typing import Any, Final, TypeVar

import msgspec
from pegboard import hookimpl
from pegboard.errors import AgentNotFoundError, PegboardError, describe
from pegboard.events import EVENT_KINDS, Event
from pegboard.interfaces import Call, Clock, HostContext, RunContext
from pegboard.model import ModelBase
from pegboard.types import (
    AgentCall,
    Approval,
    ApprovalRequest,
    Json,
    JsonObject,
    RunResult,
    ToolCall,
    ToolResult,
    content_from_json,
    evolve,
    to_json,
    tool_result,
)

from pegboard_replay.cassette import (
    AgentEntry,
    AnswerEntry,
    ApprovalEntry,
    CassetteError,
    CommandEntry,
    EndEntry,
    ModelEntry,
    ToolEntry,
    agent_key,
    tool_key,
)
from pegboard_replay.events import RunLog, first_difference
from pegboard_replay.forms import result_from_json, result_to_json
from pegboard_replay.player import Player, ReplayMissError
from pegboard_replay.recording import PlayedModel, RecordingModel
from pegboard_replay.requests import scrub
from pegboard_replay.tape import Tape

E = TypeVar("E")
_FIRST: Final = -79
_LAST: Final = 79
"""The bands beyond these are the operator's."""
_INSIDE: Final[ContextVar[list[JsonObject] | None]] = ContextVar("pegboard_replay_inside", default=None)
"""What the tool that is executed here has done so far."""


class Recording:
    """Writes what the runs of a board are given from outside to the cassette at `path`, which is replaced.

        recording = Recording("run.json")
        async with Pegboard(plugins=[recording], clock=recording.clock) as board:
            await board.run(agent, "What is new?", run="r1")

    Without the clock the runs are recorded too; the times in their events will be others when they are replayed.
    """

    plugin_id = "recording"

    def __init__(self, path: str | PathLike[str]) -> None:
        self._tape = Tape(path)
        self._log = RunLog()
        self._command: CommandEntry | None = None
        """What is kept with the first event: a run that cannot begin replaces no cassette."""

    @property
    def clock(self) -> Clock:
        """The clock for the board. It moves when something comes that was waited for, and stands still in between."""
        return self._tape

    @hookimpl(band=_LAST)
    def model_use(self, ctx: RunContext, model: ModelBase) -> ModelBase:
        """Keep what the model answers."""
        asked = ctx.agent.config.model
        return RecordingModel(model, self._tape, asked=asked if isinstance(asked, str) else "")

    @hookimpl(position="outermost")
    async def tool_execution(self, ctx: RunContext, call: ToolCall, call_next: Call) -> ToolResult:
        """Keep what comes of the call, and what it began."""
        arguments = scrub(call.arguments)
        n = self._tape.begin(tool_key(call.name, arguments))
        inside: list[JsonObject] = []
        token = _INSIDE.set(inside)

        def kept(at: float = 0.0, **came: Any) -> ToolEntry:
            return ToolEntry(name=call.name, arguments=arguments, inside=tuple(inside), at=at, n=n, **came)

        try:
            result: ToolResult = await call_next(call)
        except BaseException:
            self._tape.put(kept(cut=True))
            raise
        finally:
            _INSIDE.reset(token)
        await self._tape.arrive(lambda at: kept(at, result=scrub(to_json(result))))
        return result

    @hookimpl(position="outermost")
    async def agent_call(self, ctx: RunContext, call: AgentCall, call_next: Call) -> RunResult:
        """Keep what came of an agent that was run elsewhere; of one that runs here, when it came to its end."""
        task, inputs = scrub(call.task), scrub(call.inputs)
        self._began_inside(agent=call.agent, task=task, inputs=inputs, required=call.required)
        n = self._tape.begin(agent_key(call.agent, task, inputs))
        token = _INSIDE.set(None)
        try:
            with self._tape.apart():
                result: RunResult = await call_next(call)
        except BaseException:
            self._tape.leave()
            raise
        finally:
            _INSIDE.reset(token)
        data = scrub(result_to_json(result)) if result.journal is None else None
        await self._tape.arrive(
            lambda at: AgentEntry(agent=call.agent, task=task, inputs=inputs, result=data, at=at, n=n)
        )
        return result

    @hookimpl
    def on_event(self, event: Event) -> None:
        """Keep the events of each run that was asked for, and the answers of people."""
        if self._command is not None and event.kind == "run.started":
            self._tape.put(self._command)
            self._command = None
        if event.kind == "approval.decided":
            self._tape.put(ApprovalEntry(answer=scrub(event.data)))
        elif event.kind not in EVENT_KINDS and event.plugin is None:
            self._began_inside(event=event.kind, data=scrub(event.data))
        events = self._log.add(event)
        if events is not None:
            self._tape.put(EndEntry(run=event.run, events=tuple(events)))

    def keep_command(self, command: CommandEntry) -> None:
        """Keep how the run was asked for, as soon as it begins."""
        self._command = command

    def keep_answer(self, data: Json) -> None:
        """Keep what it came to."""
        self._tape.put(AnswerEntry(data=scrub(data)))

    def _began_inside(self, **what: Any) -> None:
        inside = _INSIDE.get()
        if inside is not None:
            inside.append({**what, "after": self._tape.came})


class Replay:
    """Gives the runs of a board what the cassette at `path` holds: nothing is sent, and no tool is executed.

        replay = Replay("run.json")
        async with Pegboard(plugins=[replay], clock=replay.clock) as board:
            await board.run(agent, "What is new?", run="r1")
        assert replay.difference() is None

    Raises:
        CassetteError: the cassette cannot be read.
    """

    plugin_id = "replaying"

    def __init__(self, path: str | PathLike[str]) -> None:
        self._player = Player(path)
        self._log = RunLog()
        self._ended: dict[str, Sequence[JsonObject]] = {}
        self._models = {entry.id: entry for entry in self._of(ModelEntry)}
        try:
            self._answers = {entry.answer["id"]: _approval(entry.answer) for entry in self._of(ApprovalEntry)}
            self._elsewhere = {
                (entry.key, entry.n): result_from_json(entry.result)
                for entry in self._of(AgentEntry)
                if entry.result is not None
            }
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            raise CassetteError(f"`{path}` is damaged: {error!r}", hint=f"peg record {path} TASK") from error

    @property
    def clock(self) -> Clock:
        """The clock for the board: it shows the times of the recording, and no pause takes any time."""
        return self._player

    @property
    def runs(self) -> Sequence[str]:
        """The ids of the runs that were asked for and came to their end."""
        return [entry.run for entry in self._of(EndEntry)]

    @property
    def command(self) -> CommandEntry | None:
        """How the run was asked for, where `peg record` did."""
        return next(iter(self._of(CommandEntry)), None)

    @property
    def answer(self) -> AnswerEntry | None:
        """What the command came to."""
        return next(iter(self._of(AnswerEntry)), None)

    def difference(self) -> str | None:
        """The first difference between the events of the runs and those that were recorded; `None` where all are equal.

        Not compared are the versions of plugins, the place in its code where a tool failed, what `--explain` measures,
        and what plugins did undeclared.
        """
        for entry in self._of(EndEntry):
            if entry.run not in self._ended:
                return f"run `{entry.run}` was not replayed to its end"
            found = first_difference(entry.events, self._ended[entry.run])
            if found is not None:
                return found
        return None if self.runs else f"`{self._player.path}` holds the end of no run: its recording broke off"

    @hookimpl(band=_FIRST)
    def provide_model(self, ctx: HostContext, name: str) -> ModelBase | None:
        """What was recorded of a model, so that none is made and no key is needed."""
        models = self._of(ModelEntry)
        known = [entry for entry in models if name in (entry.id, entry.asked)]
        known += [entry for entry in models if entry.id.rpartition(":")[2] == name.rpartition(":")[2]]
        return PlayedModel(self._player, known[0]) if known else None

    @hookimpl(band=_LAST)
    def model_use(self, ctx: RunContext, model: ModelBase) -> ModelBase:
        """Put what was recorded into the place of the model."""
        entry = self._models.get(model.id) or ModelEntry(id=model.id)  # of which every request is a miss
        return PlayedModel(self._player, entry, is_demo=model.is_demo)

    @hookimpl(position="outermost")
    async def tool_execution(self, ctx: RunContext, call: ToolCall, call_next: Call) -> ToolResult:
        """What came of the call when it was recorded; a result with status `error` where it was not.

        Nothing is raised: a layer that fails is bypassed, and the tool would be executed.
        """
        try:
            result = await self._executed(ctx, call)
        except Exception as error:
            text = error.message if isinstance(error, PegboardError) else f"it cannot be played: {describe(error)}"
            return tool_result(call.id, text, status="error", code=ReplayMissError.code)
        return evolve(result, call_id=call.id)

    @hookimpl(position="outermost")
    async def agent_call(self, ctx: RunContext, call: AgentCall, call_next: Call) -> RunResult:
        """What came of an agent that was run elsewhere; one that was run here is run again."""
        found = self._player.other(agent_key(call.agent, scrub(call.task), scrub(call.inputs)))
        far = None if found is None else self._elsewhere.get((found[1].key, found[1].n))
        if found is not None and far is not None:
            await self._player.turn(found[0])
            return far
        with self._player.apart():
            result: RunResult = await call_next(call)
        if found is not None:
            await self._player.turn(found[0])
        return result

    @hookimpl(band=_FIRST)
    def request_approval(self, ctx: RunContext, request: ApprovalRequest) -> Approval | None:
        """What the person answered."""
        return self._answers.get(request.id)

    @hookimpl
    def on_event(self, event: Event) -> None:
        """Keep the events of each run that was asked for, to be compared."""
        events = self._log.add(event)
        if events is not None:
            self._ended[event.run] = events

    async def _executed(self, ctx: RunContext, call: ToolCall) -> ToolResult:
        arguments = scrub(call.arguments)
        found = self._player.other(tool_key(call.name, arguments))
        if found is None:
            raise ReplayMissError(self._player.explain_tool(call.name, arguments))
        place, entry = found
        children: list[asyncio.Task[RunResult]] = []
        try:
            for what in entry.inside:
                await self._player.reached(what["after"])
                if "event" in what:
                    ctx.emit(what["event"], what["data"])
                else:
                    children.append(asyncio.create_task(_call_again(ctx, what)))
            await self._player.turn(place)
        finally:
            outcomes = await asyncio.gather(*children, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, AgentNotFoundError):
                raise ReplayMissError(f"tool `{call.name}` began a child run: {outcome.message}")
        result: Any = content_from_json(entry.result)
        return result  # type: ignore[no-any-return]  # a tool result, as the entry of a tool has it

    def _of(self, kind: type[E]) -> list[E]:
        return [entry for entry in self._player.entries if isinstance(entry, kind)]


def _approval(answer: JsonObject) -> Approval:
    """What a person answered, out of the event that told of it."""
    return msgspec.convert({name: value for name, value in answer.items() if name != "rule"}, Approval)


async def _call_again(ctx: RunContext, what: JsonObject) -> RunResult:
    """A child run that a tool began: what it asks for is in the cassette, but its tool is not executed."""
    return await ctx.call_agent(what["agent"], what["task"], inputs=what["inputs"], required=what["required"])


__all__ = ["Recording", "Replay"]
