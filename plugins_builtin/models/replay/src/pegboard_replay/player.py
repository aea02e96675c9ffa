"""`Player`: gives back what a cassette holds, each thing to whoever asks for the like of it, in the order of recording.

It is the clock of a replay too: it moves with what comes, and no pause takes any time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from pegboard.errors import ExitCode, ModelFault
from pegboard.types import JsonObject, ModelRequest

from pegboard_replay.cassette import (
    Came,
    Cassette,
    Entry,
    RequestEntry,
    ToolEntry,
    read_cassette,
    sleep_key,
    whole_requests,
)
from pegboard_replay.clock import SteppedClock
from pegboard_replay.requests import Forms, canonical, describe, difference, digest, nearest
from pegboard_replay.tape import settle

PATIENCE_S: Final = 2.0
"""How long something waits for what came before it in the recording, and is perhaps not asked for any more."""


class ReplayMissError(ModelFault):
    """A request is not in the cassette; the message shows the difference to the nearest one that is.

    Nothing was sent, and no tool was executed. Record anew when the change is wanted.
    """

    code = "replay.miss"
    exit_code = ExitCode.TASK_FAILED
    default_hint = None


class Player(SteppedClock):
    """The cassette at `path`, as it is played.

    Raises:
        CassetteError: it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._cassette: Cassette = read_cassette(self.path)
        super().__init__(self._cassette.started)
        self._forms = Forms()
        came = [entry for entry in self._cassette.entries if isinstance(entry, Came)]
        self._found: dict[tuple[str, int], tuple[int, Came]] = {
            (entry.key, entry.n): (place, entry) for place, entry in enumerate(came)
        }
        self._came = came
        self._asked: dict[str, int] = {}
        self._next = 0
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._skip_cut()

    @property
    def entries(self) -> Sequence[Entry]:
        """Everything that the cassette holds."""
        return self._cassette.entries

    # --- the clock

    async def sleep(self, seconds: float) -> None:
        """A pause that was recorded ends when its turn has come, and takes no time; any other timer is real."""
        key = sleep_key(seconds)
        found = self._take(key)
        if found is None:
            await asyncio.sleep(seconds)
            self.move(self.monotonic() + seconds)  # whoever looks at the clock is to see that it is over
            return
        try:
            await self._turn(*found)
        except BaseException:
            self._asked[key] -= 1  # it was a timer that is cancelled: the pause is still to come
            raise

    # --- what came

    async def request(self, request: ModelRequest) -> tuple[int, RequestEntry]:
        """What was recorded for a request, and its place. Raises `ReplayMissError`."""
        form, digested = self._form(request)
        key = f"request:{digested}"
        found = self._take(key)
        if found is None:
            raise ReplayMissError(self._explain(request, form, key))
        place, entry = found
        assert isinstance(entry, RequestEntry)
        return place, entry

    def other(self, key: str) -> tuple[int, Any] | None:
        """The next of the recorded executions of a tool or runs of an agent that have this key, and its place."""
        return self._take(key)

    async def turn(self, place: int) -> None:
        """Wait until it is the turn of an entry; the clock has its time then.

        Raises:
            ReplayMissError: the recording breaks off while it waits for this.
        """
        await self._turn(place, self._came[place])

    async def reached(self, came: int) -> None:
        """Wait until so many things have come."""
        await self._until(came)

    # --- inside

    def _form(self, request: ModelRequest) -> tuple[JsonObject, str]:
        if self._cassette.version > 1:
            return self._forms.form(request)
        form = canonical(request)
        return form, digest(form)

    def _take(self, key: str) -> tuple[int, Came] | None:
        n = self._asked[key] = self._asked.get(key, 0) + 1
        return self._found.get((key, n))

    async def _turn(self, place: int, entry: Came) -> None:
        if entry.cut:
            await self._cut()
        await self._until(place)
        await settle()
        self.move(entry.at)
        self._next = max(self._next, place + 1)
        self._skip_cut()
        self._wake()

    async def _cut(self) -> None:
        """It never came. Whoever cancelled it then does so again; where nobody does, the recording itself was cut."""
        seen = -1
        while self._waiting or self._next != seen:
            seen = self._next
            await asyncio.sleep(PATIENCE_S)
        raise ReplayMissError(f"`{self.path}` breaks off here: this was cancelled while it was recorded")

    async def _until(self, place: int) -> None:
        """Wait for one's turn. What comes before and is asked for by nobody is passed over after a while."""
        while self._next < place:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[turn] = place
            seen = self._next
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await turn
            except TimeoutError:
                if self._next == seen and place == min(self._waiting.values()):
                    self._next = place
            finally:
                del self._waiting[turn]

    def _skip_cut(self) -> None:
        while self._next < len(self._came) and self._came[self._next].cut:
            self._next += 1

    def _wake(self) -> None:
        for turn, place in self._waiting.items():
            if place <= self._next and not turn.done():
                turn.set_result(None)

    # --- misses

    @cached_property
    def _recorded(self) -> dict[str, JsonObject]:
        requests = [entry for entry in self._came if isinstance(entry, RequestEntry)]
        return dict(zip([entry.key for entry in requests], whole_requests(requests), strict=True))

    def _explain(self, request: ModelRequest, form: JsonObject, key: str) -> str:
        times = sum(1 for entry in self._came if entry.key == key)
        if times:
            return f"`{self.path}` holds this request {times} times and it was asked once more:\n{describe(request)}"
        fresh = [known for name, known in self._recorded.items() if name not in self._asked]
        closest = nearest(form, fresh or list(self._recorded.values()))
        if closest is None:
            return f"`{self.path}` holds no request; asked was:\n{describe(request)}"
        return f"`{self.path}` does not hold this request; the nearest one differs:\n{difference(closest, form)}"

    def explain_tool(self, name: str, arguments: Any) -> str:
        """Why an execution of a tool cannot be played."""
        asked = {"name": name, "arguments": arguments}
        recorded = [{"name": e.name, "arguments": e.arguments} for e in self._came if isinstance(e, ToolEntry)]
        if asked in recorded:
            return f"`{self.path}` holds {recorded.count(asked)} executions of `{name}` like this, and this is one more"
        closest = nearest(asked, recorded)
        text = "" if closest is None else f"; the nearest one differs:\n{difference(closest, asked)}"
        return f"`{self.path}` does not hold this execution of `{name}`{text}"


__all__ = ["PATIENCE_S", "Player", "ReplayMissError"]
