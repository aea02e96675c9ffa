"""`ScriptedModel`: plays a list of turns, whatever it is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from pegboard.errors import ModelFault
from pegboard.model import ModelBase
from pegboard.types import ModelCapabilities, ModelChunk, ModelRequest, Usage

from pegboard_replay.requests import describe
from pegboard_replay.turns import Operation, TurnLike, compile_turn, needs_request, perform

CAPABLE = ModelCapabilities(
    tools="yes",
    parallel_tools="yes",
    structured_output="yes",
    structured_with_tools="yes",
    thinking="yes",
    vision="yes",
    files="yes",
    prompt_cache="none",
    system_role="yes",
    source="configured",
)
"""A model that can do everything, so that no strategy for lesser ones is in a test's way."""


class ScriptExhaustedError(ModelFault):
    """A scripted model was asked for more turns than its script has; the message shows the request.

    Add the missing turn to the script, or find out why there was one request more than expected.
    """

    code = "replay.exhausted"
    default_hint = None


class ScriptedModel(ModelBase):
    """Plays `turns` in order and fails loudly when it is asked for more.

        model = ScriptedModel([call("add", a=1, b=2), "The sum is 3."])

    A turn is a text, an item of `turns` (a call, an error), a dict (structured output), or `turn(…)` of several.
    `split` is the number of characters per streamed delta; without it a text is one delta. Concurrent runs take turns
    from one script in the order of their requests; with `each_run` every run (by `request.run`) plays the script from
    its start. One model belongs to one event loop when its script has gates.
    """

    provider = "scripted"

    def __init__(
        self,
        turns: Iterable[TurnLike],
        *,
        name: str = "script",
        split: int | None = None,
        usage: Usage | None = None,
        each_run: bool = False,
        capabilities: ModelCapabilities = CAPABLE,
        keep_requests: bool = True,
    ) -> None:
        self.name = name
        self.requests: list[ModelRequest] = []
        """What was asked, in order; empty when `keep_requests` is off, as in benchmarks."""
        self._split = split
        self._usage = usage
        self._capabilities = capabilities
        self._keep_requests = keep_requests
        self._each_run = each_run
        self._script = [
            value if needs_request(value) else compile_turn(value, split=split, usage=usage) for value in turns
        ]
        self._positions: dict[str, int] = {}
        self._calls = 0

    @property
    def remaining(self) -> int:
        """Turns that were not played; with `each_run`, by the run that got furthest."""
        return len(self._script) - max(self._positions.values(), default=0)

    def capabilities(self, model: str) -> ModelCapabilities:
        return self._capabilities

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """Play the next turn.

        Raises:
            ScriptExhaustedError: there is none.
        """
        for operation in self._next(request):
            if operation.__class__ is ModelChunk:
                yield operation
            else:
                chunk = await perform(operation, self._new_id)
                if chunk is not None:
                    yield chunk

    def _next(self, request: ModelRequest) -> tuple[Operation, ...]:
        if self._keep_requests:
            self.requests.append(request)
        key = request.run if self._each_run else ""
        position = self._positions.get(key, 0)
        if position >= len(self._script):
            length = len(self._script)
            raise ScriptExhaustedError(
                f"the script of `{self.id}` has {length} turns and was asked for one more:\n{describe(request)}"
            )
        self._positions[key] = position + 1
        turn = self._script[position]
        if turn.__class__ is tuple:
            return turn
        return compile_turn(turn, split=self._split, usage=self._usage, request=request)  # type: ignore[arg-type]  # checked by class

    def _new_id(self) -> str:
        self._calls += 1
        return f"call_{self._calls}"


__all__ = ["CAPABLE", "ScriptExhaustedError", "ScriptedModel"]
