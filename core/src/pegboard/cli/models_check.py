"""`peg models check`: step by step whether a model can be used, and what it can do and costs.

The steps go on until one fails, whose error is that of the command. Nothing that costs money is sent without `--ask`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import click
import msgspec

from pegboard import config
from pegboard.cli.contract import Answer, Output, command, option
from pegboard.cli.models import default_of, listings_of, place_of
from pegboard.cli.render import escaped, table
from pegboard.config import Config, join_key
from pegboard.errors import (
    CredentialsInvalidError,
    ModelAuthError,
    ModelNotOfferedError,
    ModelTimeoutError,
    PegboardError,
)
from pegboard.model import ModelBase, capabilities_of, connected, verified
from pegboard.plugins.discovery.manifest import contributed
from pegboard.plugins.models import resolve_alias
from pegboard.prices import Quote, cost_of, says_all
from pegboard.runtime import Pegboard
from pegboard.types import Agent, ModelListing, ModelSettings, RunResult

ANSWERS_WITHIN_S = 20.0
"""For the one request that asks whether the model is there."""
_TASK = "Reply with the one word: pong"
_MAX_OUTPUT_TOKENS = 256
"""Enough for a model that thinks before it says one word."""

_NOTHING_MISSING = ModelListing(provider="", ready="yes", why="no key is missing")
"""Of a model whose plugin says nothing of that."""


@command("check")
@click.argument("name", required=False)
@option("--ask", is_flag=True, help="Also send one short request, which may cost money.")
def check(name: str | None, ask: bool) -> Answer:
    """Check the model NAME, by default the configured one: key, server, what it can do, what it costs.

    The server is asked whether it has the model, which is free. The exit code says what is wrong: 4 name or settings,
    5 key, 8 server.
    """
    checking = Checking(config.load(), name, Output.current())
    return asyncio.run(checking.answer(ask=ask))


class Checking:
    """One check, and what it has found so far."""

    def __init__(self, settings: Config, name: str | None, out: Output) -> None:
        self._settings = settings
        self._name = name
        self._out = out
        self._step = "name"
        self._setup: str | None = None
        """What the plugin's manifest says that is to be typed."""
        self.data: dict[str, Any] = {"name": name or default_of(settings)["name"], "model": None, "steps": []}

    async def answer(self, *, ask: bool) -> Answer:
        """Take the steps; the first that fails is the last."""
        error: PegboardError | None = None
        try:
            async with Pegboard(autoload=True, config=self._settings) as board:
                await self._steps(board, ask=ask)
        except PegboardError as failed:
            error = _with_hint(failed, self._setup)
            self._note(self._step, "fail", failed.message)
        return Answer(self.data, self._text(), error=error)

    async def _steps(self, board: Pegboard, *, ask: bool) -> None:
        self._note_name()
        self._step = "plugin"
        model = await board.model(self.data["name"])
        await self._note_plugin(board, model)
        self._note_capabilities(model)
        self._step = "price"
        quote = await self._note_price(board, model)
        self._step = "access"
        await self._note_access(board, model)
        self._step = "server"
        await self._note_server(model, ask=ask)
        if ask:
            self._step = "answer"
            await self._note_answer(board, model, quote)

    def _note(self, step: str, status: str, what: str) -> None:
        self.data["steps"].append({"step": step, "status": status, "what": what})

    def _text(self) -> str:
        rows = [[step["step"], step["status"], escaped(step["what"])] for step in self.data["steps"]]
        return table(["STEP", "", "FOUND"], rows)

    # --- the steps

    def _note_name(self) -> None:
        name = self.data["name"]
        said = f"`{name}`" if self._name else f"`{name}`, the default; {default_of(self._settings)['set_in']}"
        meant = resolve_alias(self._settings, name)
        if meant != name:
            said += f"; it stands for `{meant}`; {place_of(self._settings, join_key(('models', 'aliases', name)))}"
        self._note("name", "ok", said)

    async def _note_plugin(self, board: Pegboard, model: ModelBase) -> None:
        self.data["model"], self.data["why"] = model.id, model.why
        pegs = board.plugins.makers(model.id)
        peg = pegs[0] if len(pegs) == 1 else None
        models = contributed(peg.record.manifest, "models") if peg is not None else ()
        self._setup = next((item.get("setup") for item in models if item["name"] == model.provider), None)
        self.data["plugin"] = peg.id if peg is not None else None
        maker = f"plugin `{peg.id}` ({peg.owner})" if peg is not None else "a plugin"
        self._note("plugin", "ok", f"{maker} makes `{model.id}`{f', since {model.why}' if model.why else ''}")

    async def _note_access(self, board: Pegboard, model: ModelBase) -> None:
        """Where the key is, or which server answers; the plugin knows."""
        await connected(model)
        plugin = self.data["plugin"]
        listings = (await listings_of(board, remote=False, only=[plugin])).get(plugin, ()) if plugin else ()
        said = next((listing for listing in listings if listing.provider == model.provider), _NOTHING_MISSING)
        self._note("access", "ok" if said.ready == "yes" else said.ready, said.why)

    async def _note_server(self, model: ModelBase, *, ask: bool) -> None:
        """Whether the server knows the model. With `ask` it has another chance: many lack that door, and answer."""
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                asked = await verified(model)
        except TimeoutError as late:
            raise ModelTimeoutError(f"the server said nothing within {ANSWERS_WITHIN_S:g} s") from late
        except ModelNotOfferedError as unknown:
            if not ask:
                raise
            self._note("server", "unknown", unknown.message)
            return
        if asked:
            self._note("server", "ok", "it answers, and takes this key and this name")
        else:
            self._note("server", "unknown", "it does not say whether it has this model; only `--ask` tells")

    def _note_capabilities(self, model: ModelBase) -> None:
        found = capabilities_of(model)
        values: dict[str, Any] = msgspec.to_builtins(found)
        self.data["capabilities"] = values
        window, longest = _count(found.context_window), _count(found.max_output)
        self._note("window", "ok", f"context {window}, answers {longest} ({found.source})")
        named = {name: value for name, value in values.items() if isinstance(value, str) and name != "source"}
        for answer in dict.fromkeys(named.values()):
            names = ", ".join(name for name, value in named.items() if value == answer)
            self._note("can do", answer, f"{names} ({found.source})")

    async def _note_price(self, board: Pegboard, model: ModelBase) -> Quote | None:
        quote = (await board.prices()).quote(model.id, board.host_context.clock.time())
        self.data["price"] = None if quote is None else msgspec.to_builtins(quote._asdict())
        self._note("price", "unknown" if quote is None else "ok", _priced(quote))
        return quote

    async def _note_answer(self, board: Pegboard, model: ModelBase, quote: Quote | None) -> None:
        costs = "may cost money" if quote is None else "costs money"
        self._out.say(f"one request is sent to `{model.id}`, which {costs} ({_priced(quote)})")
        result, first_token_s = await _asked(board, model)
        cost = cost_of(quote.price, result.usage) if quote and says_all(quote.price, result.messages) else None
        self.data["answer"] = {
            "text": result.output,
            "usage": msgspec.to_builtins(result.usage),
            "cost_usd": cost,
            "first_token_s": first_token_s,
        }
        self._note("answer", "ok", ", ".join(_told(result, cost, first_token_s)))


def _with_hint(error: PegboardError, setup: str | None) -> PegboardError:
    """The error with what helps here, where it says nothing of its own."""
    if error.hint == error.default_hint:
        if isinstance(error, ModelAuthError | CredentialsInvalidError) and setup:
            error.hint = setup
        elif isinstance(error, ModelNotOfferedError):
            error.hint = "peg models list --remote"
    return error


async def _asked(board: Pegboard, model: ModelBase) -> tuple[RunResult, float | None]:
    """One turn of the model alone, without plugins around it, and how long its first piece took."""
    clock = board.host_context.clock
    agent = Agent("check", settings=ModelSettings(max_output_tokens=_MAX_OUTPUT_TOKENS))
    began, first_token_s = clock.monotonic(), None
    async with aclosing(model.stream_response(agent, _TASK)) as events:
        async for event in events:
            if first_token_s is None and event.type in ("text", "thinking"):
                first_token_s = clock.monotonic() - began
    return event.content, first_token_s  # the last event is always there, and holds the result


def _told(result: RunResult, cost: float | None, first_token_s: float | None) -> Sequence[str]:
    usage = result.usage
    return [
        f"`{result.output}`",
        f"tokens: {_number(usage.input_tokens)} in and {_number(usage.output_tokens)} out",
        "cost unknown" if cost is None else f"${cost:.6f}",
        "no first token" if first_token_s is None else f"first token after {first_token_s:.2f} s",
    ]


def _priced(quote: Quote | None) -> str:
    if quote is None:
        return "price unknown"
    price = quote.price
    each = f"{price.input:g} in, {price.output:g} out, in {price.currency} per million tokens"
    return f"{each}; {quote.source}, {quote.dated}"


def _count(tokens: int | None) -> str:
    return "unknown" if tokens is None else f"{tokens} tokens"


def _number(number: int | None) -> str:
    return "unknown" if number is None else str(number)
