"""`FunctionModel`."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from pegboard import Message
from pegboard.errors import ModelFault, ModelStreamError
from pegboard.types import Finish, ModelChunk, ModelRequest, ModelResponse
from pegboard_replay import CUT, FunctionModel, TurnLike, call
from pegboard_replay.turns import Item


async def answer(model: FunctionModel, text: str = "hi") -> ModelResponse:
    return await model.send(ModelRequest(model=model.id, messages=(Message.user(text),)), lambda event: None)


async def test_a_function_computes_the_turn() -> None:
    """What a plain function returns is played."""
    model = FunctionModel(lambda request: request.messages[-1].text.upper(), name="shout")

    assert (await answer(model, "hello")).text == "HELLO"
    assert model.id == "function:shout"


async def test_a_coroutine_computes_the_turn() -> None:
    """An async function is awaited."""

    async def add_always(request: ModelRequest) -> TurnLike:
        return call("add", a=1, b=2)

    response = await answer(FunctionModel(add_always))

    assert response.tool_calls[0].id == "call_1"
    assert response.finish == "tool_calls"


async def test_a_generator_gives_the_items_of_a_turn() -> None:
    """An async generator streams; the finish is added at its end."""

    async def words(request: ModelRequest) -> AsyncGenerator[Item, None]:
        yield "one "
        yield "two"
        yield call("add", a=1, b=2)

    response = await answer(FunctionModel(words))

    assert (response.text, response.finish) == ("one two", "tool_calls")


async def test_a_generator_may_finish_by_itself() -> None:
    """Nothing is added where the generator gives a finish."""

    async def short(request: ModelRequest) -> AsyncGenerator[Item, None]:
        yield "x"
        yield ModelChunk(finish=Finish("length"))

    assert (await answer(FunctionModel(short))).finish == "length"


async def test_a_generator_may_cut_the_stream() -> None:
    """`CUT` works in a generator as it does in a turn."""

    async def half(request: ModelRequest) -> AsyncGenerator[Item, None]:
        yield "x"
        yield CUT

    with pytest.raises(ModelStreamError):
        await answer(FunctionModel(half))


async def test_an_error_of_the_function_is_a_model_fault() -> None:
    """What the function raises reaches the caller as the fault of a model."""

    def broken(request: ModelRequest) -> str:
        raise KeyError("no rule")

    with pytest.raises(ModelFault, match="KeyError"):
        await answer(FunctionModel(broken))
