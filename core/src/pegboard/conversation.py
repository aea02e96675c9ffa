"""Conversations: several runs and several agents over one shared history.

One run at a time writes to a conversation; what happens to a second one is the caller's choice. What an interrupted run
leaves behind is still a history that every provider accepts. Where the board's store keeps conversations, what was said
is there after each answer, and another process can go on. Transport and databases are not known here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol, Unpack

import msgspec

from pegboard.errors import AgentNotFoundError, RunBusyError, RunNotFoundError, StorageError
from pegboard.history import MessageLog, turn_starts
from pegboard.interfaces import ConversationRow, ConversationStore, HostContext, Store
from pegboard.plugins.dispatch.hooks import Hooks
from pegboard.run import Run, redacted
from pegboard.types import Agent, Message, RunResult, StreamEvent, Text, message_from_json, to_json

if TYPE_CHECKING:
    from pegboard.types.options import RunOptions

WhenBusy = Literal["queue", "reject", "steer"]
_TITLE_LENGTH = 80


class Board(Protocol):
    """What a conversation needs of the board."""

    @property
    def hooks(self) -> Hooks:
        """The hooks that are called."""

    @property
    def host_context(self) -> HostContext:
        """The board's own context."""

    @property
    def store(self) -> Store | None:
        """Where runs are kept, and by some stores conversations."""

    async def find_agent(self, agent: Agent | str | None) -> Agent:
        """An agent by name, or the default one."""

    def prepare(self, agent: Agent, inputs: Any, **options: Any) -> Run:
        """A run that has not begun."""

    async def drive(self, run: Run) -> RunResult:
        """Take it to its end."""

    def events(self, run: Run) -> AsyncGenerator[StreamEvent, None]:
        """Take it to its end as a stream."""


class ConversationContext:
    """One conversation: its history, its agents, and who spoke last.

    talk = board.conversations.create(agents=[planner, coder])
    await talk.send("plan the change")
    await talk.send("@coder do it")
    """

    def __init__(
        self,
        board: Board,
        id: str,
        agents: Sequence[Agent | str] = (),
        history: Sequence[Message] = (),
        *,
        last: str | None = None,
        saved: int = 0,
        title: str = "",
    ) -> None:
        self.id = id
        self._board = board
        self._log = MessageLog(history)
        self._agents: dict[str, Agent | str] = {_name(agent): agent for agent in agents}
        self._last = last
        self._saved = saved
        """How many of the messages are in the store."""
        self._title = title
        self._lock = asyncio.Lock()
        self._speakers = 0
        """Who is being answered or waits for it."""
        self._saving = asyncio.Lock()
        self._running: Run | None = None

    @property
    def messages(self) -> Sequence[Message]:
        """All messages so far; those of agents carry the agent's name in their metadata."""
        return self._log.view()

    @property
    def agents(self) -> Sequence[str]:
        """The names of the agents that take part."""
        return tuple(self._agents)

    @property
    def running(self) -> str | None:
        """The run that is under way, if any."""
        return self._running.run if self._running else None

    @property
    def turns(self) -> Sequence[int]:
        """The numbers of the messages with which turns begin, for `fork`."""
        return turn_starts(self.messages)

    @property
    def is_kept(self) -> bool:
        """Whether all that was said here is in a store, so that another process can go on."""
        return bool(self._log) and self._saved == len(self._log)

    def join(self, agent: Agent | str) -> None:
        """Let an agent take part."""
        self._agents[_name(agent)] = agent

    async def send(
        self,
        message: str | Message,
        *,
        to: str | None = None,
        when_busy: WhenBusy = "queue",
        **options: Unpack[RunOptions],
    ) -> RunResult | None:
        """Say something and have it answered; `None` when it went into the running run instead.

        Args:
            message: what is said; text that begins with `@name` addresses that agent
            to: the agent to answer; else the one addressed, else what `route_message` says, else the last, else the
                first
            when_busy: wait for the running run, refuse, or hand the message to the running run
            options: as for `Pegboard.run`

        Raises:
            RunBusyError: a run is under way and `when_busy` is `reject`; or another process spoke here meanwhile, which
                is found out before a model is asked.
            PegboardError: the run failed; what it said before is in the history all the same.
        """
        spoken = Message.user(message) if isinstance(message, str) else message
        if self._taken(spoken, when_busy):
            return None
        async with self._turn():
            run = await self._prepare(spoken, to, options)
            await self._claim(run)
            try:
                result = await self._board.drive(run)
            finally:
                self._keep(run)
                await self._save(run)
            return result.raise_for_error()

    async def stream(
        self,
        message: str | Message,
        *,
        to: str | None = None,
        when_busy: WhenBusy = "queue",
        **options: Unpack[RunOptions],
    ) -> AsyncGenerator[StreamEvent, None]:
        """The same as events; the last is final and holds the result.

        Text of an answer that is cancelled is in the history afterwards, as far as it came: somebody has read it.
        """
        spoken = Message.user(message) if isinstance(message, str) else message
        if self._taken(spoken, when_busy):
            return
        async with self._turn():
            run = await self._prepare(spoken, to, options)
            await self._claim(run)
            shown: list[str] = []
            try:
                async with aclosing(self._board.events(run)) as events:
                    async for event in events:
                        _follow(shown, event)
                        yield event
            finally:
                self._keep(run)
                if run.is_cancelled:
                    self._keep_shown(run, "".join(shown))
                await self._save(run)

    def fork(self, id: str | None = None, *, before: int | None = None) -> ConversationContext:
        """Another conversation that begins with what was said here so far, which stays. It is stored when it goes on.

        Args:
            id: of the new one
            before: the number of the message before which it ends, for example one of `turns`; all is taken without it
        """
        history = self.messages[:before]
        return ConversationContext(self._board, id or os.urandom(8).hex(), tuple(self._agents.values()), history)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Answered one after another, first come first served."""
        self._speakers += 1
        try:
            async with self._lock:
                yield
        finally:
            self._speakers -= 1

    def _taken(self, message: Message, when_busy: WhenBusy) -> bool:
        """Whether a message went into the running run."""
        if when_busy == "reject" and self._speakers:
            raise RunBusyError(
                f"conversation `{self.id}` is answering already", hint="peg help run.busy", run=self.running
            )
        if when_busy != "steer" or self._running is None:
            return False
        self._running.inbox.append(message)
        return True

    async def _prepare(self, message: Message, to: str | None, options: RunOptions) -> Run:
        name = to or await self._route(message)
        agent = await self._board.find_agent(self._agents.get(name, name) if name else None)
        run_id = options.setdefault("run", os.urandom(16).hex())
        # Who reads the conversation later finds the run, also where its answer never came.
        said_in = msgspec.structs.replace(message, metadata={"run": run_id, **(message.metadata or {})})
        run = self._board.prepare(agent, said_in, history=self._log.view(), conversation=self.id, **options)
        self._running = run
        # The default agent is asked for anew: one out of a file is on no list, and its name would lead nowhere.
        self._last = agent.name if name else None
        return run

    async def _route(self, message: Message) -> str | None:
        addressed = message.text.split(maxsplit=1)[0] if message.text.startswith("@") else ""
        if addressed[1:] in self._agents:
            return addressed[1:]
        layer = self._board.hooks.route_message
        if layer is not None and len(self._agents) > 1:
            chosen = await layer(self._board.host_context, self.id, self.agents, message)
            if chosen in self._agents:
                return chosen
            if chosen is not None:
                raise AgentNotFoundError(f"`route_message` chose `{chosen}`, which takes no part in `{self.id}`")
        return self._last or next(iter(self._agents), None)

    def _keep(self, run: Run) -> None:
        for message in run.log[len(self._log) :]:
            if message.role == "assistant":
                message = msgspec.structs.replace(message, metadata={"agent": run.config.name, "run": run.run})
            self._log.append(message)
        self._running = None

    def _keep_shown(self, run: Run, text: str) -> None:
        """What a person read of an answer that was stopped, unless it is there as a message already."""
        whole = [message.text for message in self._log if (message.metadata or {}).get("run") == run.run]
        if text.strip() and text not in whole:
            metadata = {"agent": run.config.name, "run": run.run, "stopped": True}
            self._log.append(Message("assistant", (Text(text),), metadata=metadata))

    async def _claim(self, run: Run) -> None:
        """Bring what is said to the store before a model is asked: nobody is to pay for an answer that is refused.

        Raises:
            RunBusyError: somebody else spoke here meanwhile; nothing was added and nobody was asked.
        """
        store = _keeper(self._board)
        if store is None:
            return
        try:
            await asyncio.shield(asyncio.ensure_future(self._append(store, run, run.log.view())))
        except asyncio.CancelledError:
            self._keep(run)  # the store will have it
            raise
        except RunBusyError as error:
            self._running = None
            raise RunBusyError(
                f"{error.message}; no model was asked and nothing was added: close it, open it again, and repeat it",
                hint="peg help run.busy",
            ) from error
        except BaseException:
            self._running = None
            raise

    async def _save(self, run: Run) -> None:
        """Bring what is new to the store, also when whoever waits for the answer is cancelled meanwhile."""
        store = _keeper(self._board)
        if store is None or len(self._log) <= self._saved:
            return
        try:
            await asyncio.shield(asyncio.ensure_future(self._append(store, run, self._log.view())))
        except RunBusyError as error:
            raise RunBusyError(
                f"{error.message}; the answer was not added, and is still in run `{run.run}`",
                hint=f"peg runs show {run.run}",
                run=run.run,
            ) from error

    async def _append(self, store: ConversationStore, run: Run, messages: Sequence[Message]) -> None:
        async with self._saving:  # one that nobody waits for any more may be under way
            clean = await self._clean(run, messages[self._saved :])
            self._title = self._title or _title(clean)
            row = ConversationRow(
                id=self.id,
                agents=tuple(self._agents),
                last=self._last,
                messages=len(messages),
                at=self._board.host_context.clock.time(),
                title=self._title,
            )
            await store.append_messages(row, clean, expect=self._saved)
            self._saved = row.messages

    async def _clean(self, run: Run, messages: Sequence[Message]) -> Sequence[Message]:
        """Messages without what must not be seen, as in the events of the run that they were said in."""
        if self._board.hooks.redact is None:
            return messages
        plain = await redacted(run, to_json(messages), "event")
        if not isinstance(plain, list) or len(plain) != len(messages):
            raise StorageError(
                f"conversation `{self.id}` is not kept: what was said could not be redacted", hint="peg plugins doctor"
            )
        return list(map(message_from_json, plain))


class ConversationManager:
    """The conversations of a board, by id. Those of earlier processes are in the store, where it keeps them."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._open: dict[str, ConversationContext] = {}

    def create(
        self, id: str | None = None, *, agents: Sequence[Agent | str] = (), history: Sequence[Message] = ()
    ) -> ConversationContext:
        """Begin a conversation.

        Raises:
            RunBusyError: there is one of this id.
        """
        name = id or os.urandom(8).hex()
        if name in self._open:
            raise RunBusyError(f"there is a conversation `{name}` already", hint="peg help run.busy")
        self._open[name] = ConversationContext(self._board, name, agents, history)
        return self._open[name]

    async def open(self, id: str, *, agents: Sequence[Agent | str] = ()) -> ConversationContext:
        """Go on with a conversation of this board or, where the store keeps them, of an earlier process.

        Args:
            id: of the conversation
            agents: objects for those of its agents that cannot be found by their names, and further ones

        Raises:
            RunNotFoundError: there is none of this id.
        """
        if id not in self._open:
            store = _keeper(self._board)
            if store is None:
                raise RunNotFoundError(f"no conversation `{id}` on this board", hint="peg help run.not_found")
            row, messages = await store.load_conversation(id)
            taking_part = {**dict.fromkeys(row.agents), **{_name(agent): agent for agent in agents}}
            self._open[id] = ConversationContext(
                self._board,
                id,
                [agent or name for name, agent in taking_part.items()],
                messages,
                last=row.last,
                saved=row.messages,
                title=row.title,
            )
        return self._open[id]

    async def stored(self, *, limit: int = 100) -> Sequence[ConversationRow]:
        """The conversations that the store keeps, newest first; none where it keeps no conversations."""
        store = _keeper(self._board)
        return await store.conversations(limit=limit) if store is not None else ()

    def get(self, id: str) -> ConversationContext:
        """A conversation of this board by its id. Raises `RunNotFoundError`."""
        if id not in self._open:
            raise RunNotFoundError(f"no conversation `{id}`", hint="peg help run.not_found")
        return self._open[id]

    def close(self, id: str) -> None:
        """Forget a conversation; unknown ones are ignored."""
        self._open.pop(id, None)

    def __len__(self) -> int:
        return len(self._open)


def _keeper(board: Board) -> ConversationStore | None:
    """The store, where it keeps conversations."""
    store: object = board.store
    return store if store is not None and isinstance(store, ConversationStore) else None


def _follow(shown: list[str], event: StreamEvent) -> None:
    """What stands of the answer that is being given; a new attempt begins anew."""
    if event.type in ("start", "restart", "tool_result"):
        shown.clear()
    elif event.type == "text":
        shown.append(event.content)


def _title(messages: Sequence[Message]) -> str:
    said = next((message.text for message in messages if message.role == "user" and message.text.strip()), "")
    line = " ".join(said[: 4 * _TITLE_LENGTH].split())
    return line if len(line) <= _TITLE_LENGTH else line[: _TITLE_LENGTH - 1] + "…"


def _name(agent: Agent | str) -> str:
    return agent if isinstance(agent, str) else agent.name
