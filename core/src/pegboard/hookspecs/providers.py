"""What plugins offer: models, tools, modules, agents, token counters, prices.

Where the manifest lists contributions, the answer must have exactly the same names, else `plugin.contributions`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pegboard.errors import AgentFileError
from pegboard.hookspecs.marks import hookspec
from pegboard.interfaces import HostContext, Module, TokenCounter, Tool
from pegboard.model import ModelBase
from pegboard.types import Agent, ModelListing, PriceTable


@hookspec(kind="first", since="1.0", returns=ModelBase, nobody="`model.not_found`; for `auto`, `model.none`")
async def provide_model(ctx: HostContext, name: str) -> ModelBase | None:
    """Make the model of this name.

    When: at the first use of a name. Only plugins whose patterns in the manifest match are asked; all for `auto`.
    Return: the model, which the board closes at its end, or `None` when the name is not yours.
    Raises: the next implementation is asked; the error is shown when nobody answers.
    Cancel: nothing to undo.
    """


@hookspec(
    kind="collect",
    since="1.0",
    returns=(list, tuple),
    timeout_s=30.0,
    nobody="only what manifests say of models is known",
)
async def list_models(ctx: HostContext, remote: bool) -> Sequence[ModelListing] | None:
    """Say whether your models can be asked now, and which there are.

    When: for `peg models list` and `peg models check`; never at a start. Import no SDK, and ask nobody but servers of
        this machine, unless `remote` is true: then ask the provider for its list, where that is free of charge.
    Return: one listing for each provider that your manifest names, or `None`. What a provider answered to `remote`
        belongs into its listing also where it is an error; others are listed all the same.
    Raises: your models are shown with the error.
    Cancel: close what you opened.
    """


@hookspec(kind="collect", since="1.0", returns=(list, tuple), nobody="no tools")
async def provide_tools(ctx: HostContext) -> Sequence[Tool] | None:
    """Offer tools to every agent of this board.

    When: once per plugin, at its activation, and after `ctx.refresh("tools")`.
    Return: the tools, or `None`. A name that is taken rejects the newcomer with `plugin.collision`, which names both
        distributions; nothing is renamed.
    Raises: this plugin's tools are missing; the board goes on.
    Cancel: nothing to undo; hold no resources across an await.
    """


@hookspec(kind="collect", since="1.0", returns=(list, tuple), nobody="no modules")
async def provide_modules(ctx: HostContext) -> Sequence[Module] | None:
    """Offer modules that agents can name.

    When: once per plugin, at its activation.
    Return: the modules, or `None`. Collisions as for tools.
    Raises: this plugin's modules are missing; the board goes on.
    Cancel: nothing to undo.
    """


@hookspec(kind="collect", since="1.0", returns=(list, tuple), nobody="no agents")
async def provide_agents(ctx: HostContext) -> Sequence[Agent] | None:
    """Offer agents that can be run by name.

    When: once per plugin, at its activation, and after `ctx.refresh("agents")`.
    Return: the agents, or `None`. Each passes `registration`.
    Raises: this plugin's agents are missing; the board goes on.
    Cancel: nothing to undo.
    """


@hookspec(kind="first", since="1.0", timeout_s=30.0, returns=(Agent, AgentFileError), nobody="`agent.reader`")
async def read_agent(ctx: HostContext, path: str, content: bytes) -> Agent | AgentFileError | None:
    """Make an agent of what is in a file.

    When: a person or a program names a `.yaml`, `.yml` or `.md` file where an agent is wanted; each time anew. `path`
        is absolute, and `content` is what the file holds, at most 1 MiB.
    Return: the agent, which passes `registration` when it is run; what is wrong with the file, where its kind is yours
        and it holds no sound agent; or `None` when such files are not yours.
    Raises: the next implementation is asked; the error is shown when nobody answers.
    Cancel: nothing to undo.
    """


@hookspec(kind="first", since="1.0", nobody="characters by class times a safe factor, marked estimated")
async def provide_token_counter(ctx: HostContext, model: str) -> TokenCounter | None:
    """Make a token counter.

    When: once per model that is about to be asked, and again when plugins come or go. Its counts decide what fits the
        window, when a long result is offloaded, and what a budget reserves for a request.
    Return: the counter, or `None` when the model is not yours.
    Raises: the next implementation is asked. A counter that fails itself is replaced by the estimate, and the run says
        so under `degraded`.
    Cancel: nothing to undo.
    """


@hookspec(kind="collect", since="1.0", returns=PriceTable, nobody="costs are unknown")
async def provide_prices(ctx: HostContext) -> PriceTable | None:
    """Offer dated prices with their source.

    When: at the first cost that is asked for, and after `ctx.refresh("models")`.
    Return: a table, or `None`. Where two tables price one model, the one dated later counts.
    Raises: the table is missing.
    Cancel: nothing to undo.
    """
