"""A chat: who answers, in which conversation, what it may still cost, and what becomes of each thing that is said.

What a conversation is, and how a turn runs, is core's; what slash commands do with a chat is in `commands`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec
from pegboard.cli import signals
from pegboard.cli.approve import name_to_allow
from pegboard.cli.contract import Answer, Output
from pegboard.cli.interrupt import stoppable
from pegboard.cli.models import listings_of
from pegboard.cli.run import BUDGET_OPTIONS, answer_of_run, followed, hint_at_switches
from pegboard.conversation import ConversationContext
from pegboard.errors import (
    AgentError,
    ApprovalNeededError,
    BudgetExceededError,
    PegboardError,
    RunBusyError,
    RunCancelledError,
    RunNotFoundError,
    UsageError,
)
from pegboard.events import Event
from pegboard.interfaces import ConversationRow
from pegboard.model import ModelBase, capabilities_of
from pegboard.runtime import Pegboard
from pegboard.types import Agent, Message, ResourceLimits, RunResult, StreamEvent

from pegboard_chat.room import Room, next_room, share_of
from pegboard_chat.spending import Spending, Unit, held

_RUN_ID_BYTES = 8
_LOOKED_THROUGH = 10_000
"""Conversations among which a shortened id is looked for."""


class Chat:
    """One person, or one pipe, and whoever answers."""

    def __init__(
        self,
        board: Pegboard,
        out: Output,
        agent: Agent,
        *,
        limits: ResourceLimits | None = None,
        no_plugins: bool = False,
        model: str | None = None,
    ) -> None:
        """`model` answers, whoever the agent is, until another one is chosen."""
        self.board = board
        self.out = out
        self.agent = agent if model is None else agent.using(model)
        self.talk = board.conversations.create(agents=[self.agent])
        self._limits = limits or ResourceLimits()
        """What may still be spent in this chat."""
        self._no_plugins = no_plugins
        self._model = model
        """The one that a person has chosen here; else a conversation goes on with its own."""
        self._results: dict[str, RunResult] = {}
        """The runs of this chat, also those of turns that were undone."""
        self._left: dict[str, ConversationContext] = {}
        """Conversations of this chat that were gone over from, by id: nothing is lost where no store keeps them."""
        self._models: set[str] = set()
        self._looking: asyncio.Task[None] | None = None

    @property
    def way_on(self) -> str | None:
        """The command that goes on with this conversation, where it is kept."""
        return f"peg chat --resume {self.talk.id}" if self.talk.is_kept else None

    async def model(self) -> ModelBase:
        """The model that answers next. Raises `PegboardError` where there is none."""
        return await self.board.model(self.agent.config.model)

    def model_names(self) -> Sequence[str]:
        """Names that can be given for a model, as far as they are known yet; the first call has them looked for."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_for_models())
        return sorted({*self._models, *self.board.config.get("models.aliases", {})})

    async def _look_for_models(self) -> None:
        """Nobody is asked but servers of this machine. A plugin that fails says so in its listing, without models."""
        listings = await listings_of(self.board, remote=False)
        self._models = {name for each in listings.values() for listing in each for name in listing.models}

    async def aclose(self) -> None:
        """End what was begun beside the turns; what went wrong with it is nobody's matter any more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    # --- a turn

    async def say(self, message: str | Message) -> Answer:
        """Have a message answered, and show the answer as it comes; what went wrong is in what is returned."""
        run = os.urandom(_RUN_ID_BYTES).hex()
        # A task of its own: a stop that comes before the run has begun is to end this turn, and not the chat.
        turn = asyncio.create_task(self._answered(message, run))
        try:
            return await turn
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return Answer(error=signals.cancelled("stopped before a model was asked"))

    async def _answered(self, message: str | Message, run: str) -> Answer:
        with stoppable(run, way_on=f"peg chat --resume {self.talk.id}") as stopper:
            stopper.board = self.board
            stream = self.talk.stream(message, to=self.agent.name, run=run, limits=self._limits)
            try:
                result = await followed(self._noted(stream), self.out)
            except RunBusyError as error:
                error.hint = f"/resume {self.talk.id}"
                raise
            finally:
                self.out.settle()
                if run in self._results:
                    self._spend(self._results[run])
        answer = answer_of_run(result, self.out, summary=self.board.hooks.on_event is None, durable=self.board.durable)
        hint_at_switches(answer.error, self.board, no_plugins=self._no_plugins)
        self._hint_at_allow(answer)
        self._hint_at_budget(answer)
        await self._say_room(result)
        return answer

    async def _noted(self, stream: AsyncGenerator[StreamEvent, None]) -> AsyncGenerator[StreamEvent, None]:
        """Note what the run came to: it is to be paid, also where the answer cannot be added to the conversation."""
        async with aclosing(stream) as events:
            async for event in events:
                if event.is_final:
                    self._results[event.content.run] = event.content
                yield event

    def _hint_at_allow(self, answer: Answer) -> None:
        """How what was asked for is allowed: in this conversation, and not in the run, which the chat does not know."""
        allowed = name_to_allow(answer.data.get("request"))
        if isinstance(answer.error, ApprovalNeededError) and allowed is not None:
            answer.error.hint = f"{self.way_on or 'peg chat'} --allow {allowed}"

    def _hint_at_budget(self, answer: Answer) -> None:
        """How a chat whose own budget is used up goes on; one of the settings or of the agent has a hint of its own."""
        error = answer.error
        if not isinstance(error, BudgetExceededError) or error.unit not in BUDGET_OPTIONS:
            return
        if getattr(self._limits, error.unit) is not None:
            again = f"{self.way_on or 'peg chat'} {BUDGET_OPTIONS[error.unit]} …"
            error.hint = f"`/exit`, and `{again}` goes on with another budget"

    async def _say_room(self, result: RunResult) -> None:
        """How full the context is, by what the provider counted for the last request."""
        answered = [event.data for event in result.events if _is_request(event, "step.done")]
        usage = answered[-1]["usage"] if answered else {}
        read, written = usage.get("input_tokens"), usage.get("output_tokens")
        asked = [event.data["model"] for event in result.events if _is_request(event, "step.started")]
        if read is not None and written is not None and asked:
            self.out.say(share_of(read + written, await self._window(asked[-1])))

    async def _window(self, name: str) -> int | None:
        """What a model can hold; not known of one that a fallback has led to."""
        try:
            model = await self.model()
            return capabilities_of(model).context_window if model.id == name else None
        except PegboardError:  # it has answered, and that counts
            return None

    # --- money and room

    def _spend(self, result: RunResult) -> None:
        """Take what a turn used from what may still be spent."""
        tokens, cost_usd = self._limits.tokens, self._limits.cost_usd
        if tokens is not None:
            tokens = int(self._left_of(tokens, "tokens", result.usage.total_tokens, result.events))
        if cost_usd is not None:
            cost_usd = self._left_of(cost_usd, "cost_usd", result.cost_usd, result.events)
        self._limits = msgspec.structs.replace(self._limits, tokens=tokens, cost_usd=cost_usd)

    def _left_of(self, limit: float, unit: Unit, used: float | None, events: Sequence[Event]) -> float:
        """Of what is not known what was reserved is taken; where that is not known either, nothing is left."""
        if used is None:
            used = held(events, unit)
            left = "nothing is left of" if used is None else "what was reserved for it is taken from"
            what = "how many tokens that turn used" if unit == "tokens" else "what that turn cost"
            self.out.warn(f"{what} is not known, so that {left} the budget of this chat")
        return 0 if used is None else max(0, limit - used)

    async def spending(self) -> Spending:
        """What this conversation used, and what turns of this chat used that failed or were undone."""
        spending = Spending()
        for run in dict.fromkeys([*self._runs(), *self._results]):
            events = await self._events(run)
            if events is None:
                spending.lose_run()
            else:
                spending.add_run(events)
        return spending

    def _runs(self) -> Sequence[str]:
        """Those in which was said what was said here, in order."""
        return [run for message in self.talk.messages if (run := _run_of(message)) is not None]

    async def _events(self, run: str) -> Sequence[Event] | None:
        """Those of a run of this chat, or of an earlier one; `None` where they are not kept any more."""
        if run in self._results:
            return self._results[run].events
        if self.board.store is None:
            return None
        try:
            _, events, _ = await self.board.store.load(run)
        except RunNotFoundError:
            return None
        return events

    async def room(self) -> Room:
        """What the next request would hold."""
        runs = self._runs()
        events = await self._events(runs[-1]) if runs else None
        return await next_room(self.board, self.agent, await self.model(), self.talk.messages, events or ())

    # --- other models, other conversations

    async def use_model(self, name: str) -> ModelBase:
        """Have another model answer from now on. Raises `PegboardError` where it cannot be asked."""
        model = await self.board.model(name)
        await model.connect()
        self._model = name
        self._let_answer(self.agent.using(name))
        return model

    def _let_answer(self, agent: Agent) -> None:
        self.agent = agent
        self.talk.join(agent)

    def begin_anew(self) -> None:
        """Another conversation, in which nothing was said."""
        self._go_over_to(self.board.conversations.create(agents=[self.agent]))

    def _go_over_to(self, talk: ConversationContext) -> None:
        self._left[self.talk.id] = self.talk
        self.talk = talk

    def undo(self) -> Message:
        """Go on from before the last turn, in a conversation of its own; returns what was said in that turn.

        Raises:
            UsageError: there is no turn.
        """
        turns = self.talk.turns
        if not turns:
            raise UsageError("nothing was said yet that could be undone", hint="/help")
        undone = self.talk.messages[turns[-1]]
        self._go_over_to(self.talk.fork(before=turns[-1]))
        return undone

    async def resume(self, id: str | None, agent: Agent | None = None) -> None:
        """Go on with a stored conversation, by its id or a beginning of it; without one with the newest.

        One of this chat that no store keeps is found by its whole id.

        Args:
            id: of the conversation
            agent: who is to answer; else who did last

        Raises:
            RunNotFoundError: there is none, or several begin so.
            PegboardError: who answered is not there any more.
        """
        left = self._left.get(id or "")
        if left is not None and not left.is_kept:
            self._go_over_to(left)
            self._let_answer(agent or self.agent)
            return
        row = _chosen(await self.board.conversations.stored(limit=_LOOKED_THROUGH), id)
        is_same = row.id == self.talk.id
        agent = agent or (self.agent if is_same else await self._agent_of(row))
        self.board.conversations.close(row.id)  # somebody else may have gone on with it
        self._go_over_to(await self.board.conversations.open(row.id, agents=[agent]))
        if self._model is not None:
            agent = agent.using(self._model)
        elif not is_same and agent.name == row.last:
            agent = await self._as_before(agent)
        self._let_answer(agent)

    async def _as_before(self, agent: Agent) -> Agent:
        """The agent with the model that was asked in the last turn, where that can still be asked."""
        last = await self._asked_last()
        if last is None or await self._is_model_of(agent, last):
            return agent
        try:
            await (await self.board.model(last)).connect()
        except PegboardError as error:
            self.out.warn(f"`{last}`, which answered last, cannot be asked now: {error.message}")
            return agent
        return agent.using(last)

    async def _asked_last(self) -> str | None:
        """The model of the last turn; what fallbacks led to comes behind it."""
        runs = self._runs()
        events = await self._events(runs[-1]) if runs else None
        return next((event.data["model"] for event in events or () if _is_request(event, "step.started")), None)

    async def _is_model_of(self, agent: Agent, id: str) -> bool:
        """Whether an agent asks that model by itself; one that it has as an object is its own business."""
        model = agent.config.model
        try:
            return not isinstance(model, str) or (await self.board.model(model)).id == id
        except PegboardError:
            return False

    async def _agent_of(self, row: ConversationRow) -> Agent:
        """Who answered last."""
        try:
            return await self.board.find_agent(row.last or next(iter(row.agents), None))
        except AgentError as error:
            error.hint = f"peg chat --resume {row.id} --agent module:object"
            raise


def _chosen(rows: Sequence[ConversationRow], id: str | None) -> ConversationRow:
    fitting = [row for row in rows if row.id == id] or [row for row in rows if row.id.startswith(id or "")]
    if not fitting:
        what = f"no conversation `{id}` is in the store" if id else "there is no conversation in the store yet"
        raise RunNotFoundError(what, hint="peg chat --list" if id else "peg chat")
    if id and len(fitting) > 1:
        raise RunNotFoundError(
            f"several conversations begin with `{id}`: {', '.join(f'`{row.id}`' for row in fitting[:3])}",
            hint="peg chat --list",
        )
    return fitting[0]


def _run_of(message: Message) -> str | None:
    return (message.metadata or {}).get("run")


def _is_request(event: Event, kind: str) -> bool:
    return event.kind == kind and event.data.get("op") == "model.request"


def was_stopped(answer: Answer) -> bool:
    """Whether a person stopped the answer, which is no failure."""
    return isinstance(answer.error, RunCancelledError)
