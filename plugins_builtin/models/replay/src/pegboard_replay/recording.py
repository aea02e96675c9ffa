"""`RecordingModel` writes a cassette of what any model answers; `ReplayModel` answers from one and never calls out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from os import PathLike
from pathlib import Path

import msgspec
from pegboard.errors import ModelFault
from pegboard.model import ModelBase, classified
from pegboard.types import ModelCapabilities, ModelChunk, ModelRequest
from pegboard.wire import told

from pegboard_replay.cassette import ModelEntry, RequestEntry
from pegboard_replay.forms import chunk_from_json, chunks_to_json, error_from_json, error_to_json
from pegboard_replay.player import Player, ReplayMissError
from pegboard_replay.tape import Tape


class RecordingModel(ModelBase):
    """Any model, with everything it answers written to the cassette at `path`, which is replaced.

        model = RecordingModel(get_model_for_name("claude-…"), "cassettes/greeting.json")

    Each answer is written as it ends, so that a run that breaks off leaves what it had. Faults are recorded too. What
    looks like a secret is masked, also where it is spelled out over several deltas. A `Tape` may take several models.
    """

    def __init__(self, model: ModelBase, path: str | PathLike[str] | Tape, *, asked: str = "") -> None:
        self.provider, self.name = model.provider, model.name
        self.why, self.is_demo = model.why, model.is_demo
        self.answer_timeout_s = model.answer_timeout_s
        self._model = model
        self._tape = path if isinstance(path, Tape) else Tape(path)
        self._entry = ModelEntry(id=model.id, asked=asked, capabilities=model.capabilities(model.name), why=model.why)

    @property
    def path(self) -> Path:
        """The cassette."""
        return self._tape.path

    def capabilities(self, model: str) -> ModelCapabilities:
        return self._model.capabilities(model)

    def classify_error(self, exc: Exception) -> ModelFault | None:
        return self._model.classify_error(exc)

    def secrets(self) -> Sequence[str]:
        return self._model.secrets()

    async def count_tokens(self, request: ModelRequest) -> int | None:
        return await self._model.count_tokens(request)

    async def connect(self) -> None:
        await self._model.connect()

    async def aclose(self) -> None:
        await self._model.aclose()

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """Pass the chunks on, and keep them. What ends the answer is passed on when its turn has come."""
        self._tape.model(self._entry)
        form, key = self._tape.forms.form(request)
        n = self._tape.begin(f"request:{key}")
        chunks: list[ModelChunk] = []

        def kept(at: float, fault: BaseException | None = None, *, cut: bool = False) -> RequestEntry:
            error = None if fault is None else error_to_json(fault)
            entry = self._tape.request(request.run, form, key)
            return msgspec.structs.replace(entry, chunks=chunks_to_json(chunks), error=error, at=at, n=n, cut=cut)

        passed = 0
        try:
            async with aclosing(self._model.stream(request)) as answer:  # type: ignore[type-var]  # generators have aclose
                async for chunk in answer:
                    chunks.append(chunk)
                    if chunk.finish is None and passed == len(chunks) - 1:
                        passed += 1
                        yield chunk
        except Exception as exc:
            fault = self._fault(exc)
            await self._tape.arrive(lambda at: kept(at, fault))
            raise
        except BaseException:  # cancelled, or closed by whoever reads
            self._tape.put(kept(0.0, cut=True))
            raise
        await self._tape.arrive(kept)
        for chunk in chunks[passed:]:
            yield chunk

    def _fault(self, exc: Exception) -> Exception:
        if isinstance(exc, ModelFault):
            return told(exc, self.secrets(), is_own=True)
        return classified(self, exc)


class ReplayModel(ModelBase):
    """Answers from the cassette at `path`, under the name of the first model that was recorded.

    Equal requests get their answers in the order of recording. A request that is not there, or is asked for more often
    than it was recorded, is a `ReplayMissError`.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._player = Player(path)
        self.path = self._player.path
        first = next((entry for entry in self._player.entries if isinstance(entry, ModelEntry)), ModelEntry(id=":"))
        self.provider, _, self.name = first.id.partition(":")
        self._capabilities = first.capabilities

    def capabilities(self, model: str) -> ModelCapabilities:
        return self._capabilities

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """Play what was recorded.

        Raises:
            ReplayMissError: nothing was recorded for this request.
        """
        _, entry = await self._player.request(request)
        for chunk in entry.chunks:
            yield chunk_from_json(chunk)
        if entry.error is not None:
            raise error_from_json(entry.error)


class PlayedModel(ModelBase):
    """A model of a replayed run: it answers when its turn has come, and under the name of the one it stands for."""

    def __init__(self, player: Player, entry: ModelEntry, *, is_demo: bool = False) -> None:
        self.provider, _, self.name = entry.id.partition(":")
        self.why, self.is_demo = entry.why, is_demo
        self._player = player
        self._capabilities = entry.capabilities

    def capabilities(self, model: str) -> ModelCapabilities:
        return self._capabilities

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """Play what was recorded; what ends the answer when its turn has come.

        Raises:
            ReplayMissError: nothing was recorded for this request.
        """
        place, entry = await self._player.request(request)
        chunks = [chunk_from_json(chunk) for chunk in entry.chunks]
        ends = next((i for i, chunk in enumerate(chunks) if chunk.finish is not None), len(chunks))
        for chunk in chunks[:ends]:
            yield chunk
        await self._player.turn(place)
        for chunk in chunks[ends:]:
            yield chunk
        if entry.error is not None:
            raise error_from_json(entry.error)


__all__ = ["PlayedModel", "RecordingModel", "ReplayMissError", "ReplayModel"]
