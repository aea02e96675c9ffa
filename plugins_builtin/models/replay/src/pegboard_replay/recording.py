"""`RecordingModel` writes a cassette of what any model answers; `ReplayModel` answers from one and never calls out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from os import PathLike
from pathlib import Path

from pegboard.errors import ExitCode, ModelFault
from pegboard.model import ModelBase
from pegboard.types import JsonObject, ModelCapabilities, ModelChunk, ModelRequest

from pegboard_replay.cassette import (
    Cassette,
    Entry,
    by_digest,
    chunk_from_json,
    chunk_to_json,
    error_from_json,
    error_to_json,
    read_cassette,
    write_cassette,
)
from pegboard_replay.requests import canonical, describe, difference, digest, nearest


class ReplayMissError(ModelFault):
    """A request is not in the cassette; the message shows the difference to the nearest one that is.

    Nothing was sent. Record anew when the change is wanted.
    """

    code = "replay.miss"
    exit_code = ExitCode.TASK_FAILED
    default_hint = None


class RecordingModel(ModelBase):
    """Any model, with everything it answers written to the cassette at `path`, which is replaced.

        model = RecordingModel(get_model_for_name("claude-…"), "cassettes/greeting.json")

    The file is written after each answer, whole, so that a run that breaks leaves what it had. Faults are recorded
    too; a request that is cancelled is not. What looks like a secret is masked; a secret that a model spells out over
    several deltas is not recognised.
    """

    def __init__(self, model: ModelBase, path: str | PathLike[str]) -> None:
        self.provider = model.provider
        self.name = model.name
        self.path = Path(path)
        self._model = model
        self._cassette = Cassette(model=model.id, capabilities=model.capabilities(model.name), entries=[])

    def capabilities(self, model: str) -> ModelCapabilities:
        return self._model.capabilities(model)

    def classify_error(self, exc: Exception) -> ModelFault | None:
        return self._model.classify_error(exc)

    async def count_tokens(self, request: ModelRequest) -> int | None:
        return await self._model.count_tokens(request)

    async def aclose(self) -> None:
        await self._model.aclose()

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """Pass the chunks on, and keep them."""
        form = canonical(request)
        chunks: list[JsonObject] = []
        try:
            async with aclosing(self._model.stream(request)) as answer:  # type: ignore[type-var]  # generators have aclose
                async for chunk in answer:
                    chunks.append(chunk_to_json(chunk))
                    yield chunk
        except Exception as exc:
            self._keep(form, chunks, self._fault(exc))
            raise
        self._keep(form, chunks)

    def _fault(self, exc: Exception) -> ModelFault:
        if isinstance(exc, ModelFault):
            return exc
        return self.classify_error(exc) or ModelFault(f"{type(exc).__name__}: {exc}")

    def _keep(self, form: JsonObject, chunks: list[JsonObject], fault: ModelFault | None = None) -> None:
        error = error_to_json(fault) if fault is not None else None
        self._cassette.entries.append(Entry(digest=digest(form), request=form, chunks=tuple(chunks), error=error))
        # In the event loop: a cassette is a small file of a test, and a thread would outlive the test.
        write_cassette(self.path, self._cassette)


class ReplayModel(ModelBase):
    """Answers from the cassette at `path`, under the name of the model that was recorded.

    Equal requests get their answers in the order of recording. A request that is not there, or is asked for more often
    than it was recorded, is a `ReplayMissError`.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        cassette = read_cassette(self.path)
        self.provider, _, self.name = cassette.model.partition(":")
        self._capabilities = cassette.capabilities
        self._entries = by_digest(cassette.entries)
        self._played: dict[str, int] = {}

    def capabilities(self, model: str) -> ModelCapabilities:
        return self._capabilities

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """Play what was recorded.

        Raises:
            ReplayMissError: nothing was recorded for this request.
        """
        entry = self._take(request)
        for chunk in entry.chunks:
            yield chunk_from_json(chunk)
        if entry.error is not None:
            raise error_from_json(entry.error)

    def _take(self, request: ModelRequest) -> Entry:
        form = canonical(request)
        key = digest(form)
        recorded = self._entries.get(key, [])
        position = self._played.get(key, 0)
        if position >= len(recorded):
            raise ReplayMissError(self._explain(request, form, len(recorded)))
        self._played[key] = position + 1
        return recorded[position]

    def _explain(self, request: ModelRequest, form: JsonObject, times: int) -> str:
        if times:
            return f"`{self.path}` holds this request {times} times and it was asked once more:\n{describe(request)}"
        closest = nearest(form, [entries[0].request for entries in self._entries.values()])
        if closest is None:
            return f"`{self.path}` holds no request; asked was:\n{describe(request)}"
        return f"`{self.path}` does not hold this request; the nearest one differs:\n{difference(closest, form)}"


__all__ = ["RecordingModel", "ReplayMissError", "ReplayModel"]
