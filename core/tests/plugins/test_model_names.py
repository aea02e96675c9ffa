"""From the name of a model to the plugin that makes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pytest
from pegboard import hookimpl
from pegboard.config import load as load_config
from pegboard.errors import (
    ConfigError,
    CredentialsMissingError,
    ModelAmbiguousError,
    ModelNoneError,
    ModelNotFoundError,
    PluginLoadError,
)
from pegboard.model import ModelBase
from pegboard.plugins.host import PluginHost
from pegboard_testing import PluginDist

Install = Callable[..., PluginDist]


class StartHost(Protocol):
    async def __call__(self, *installed: str, **options: Any) -> PluginHost: ...


CODE = """
from pegboard import ModelBase, hookimpl

class Model(ModelBase):
    closed = False
    def __init__(self, asked):
        self.provider, self.name = __name__.partition(".")[0], asked
    async def aclose(self):
        self.closed = True

class Plugin:
    @hookimpl
    def provide_model(self, name):
        return Model(name)
"""


def provider(plugin: str, *patterns: str) -> dict[str, Any]:
    models = [{"name": plugin, "patterns": list(patterns)}]
    return {"id": plugin, "hooks": {"provide_model": {}}, "contributes": {"models": models}}


@pytest.fixture
def install(plugin_dist: Install) -> Callable[..., PluginDist]:
    return lambda plugin, *patterns, code=CODE: plugin_dist(provider(plugin, *patterns), {"plugin.py": code})


def settings(**aliases: str) -> Any:
    return load_config(host={"models": {"aliases": aliases}}, environ={})


class Silent:
    """A plugin of the host program that makes one model."""

    @hookimpl
    def provide_model(self, name: str) -> ModelBase | None:
        return ModelBase() if name in ("mine", "auto") else None


async def test_a_bare_name_goes_to_the_plugin_whose_pattern_fits(start_host: StartHost, install: Any) -> None:
    """And only that plugin is imported."""
    install("alpha", "a-*")
    install("beta", "b-*")
    host = await start_host("alpha", "beta")

    model = await host.model("a-1")

    assert (model.provider, model.name) == ("pegboard_alpha", "a-1")
    assert (host.state("alpha"), host.state("beta")) == ("active", "ready")


async def test_an_explicit_provider_is_exact(start_host: StartHost, install: Any) -> None:
    """Patterns do not count, and the name is passed through unchanged."""
    install("alpha", "x-*")
    install("beta", "x-*")
    host = await start_host("alpha", "beta")

    assert (await host.model("beta:x-1:latest")).id == "pegboard_beta:beta:x-1:latest"


async def test_a_bare_name_with_a_colon_may_fit_a_pattern(start_host: StartHost, install: Any) -> None:
    """Where what stands before the colon is no provider."""
    install("alpha", "llama*")
    host = await start_host("alpha")

    assert (await host.model("llama3:8b")).name == "llama3:8b"


async def test_two_patterns_that_fit_are_ambiguous(start_host: StartHost, install: Any) -> None:
    """Both plugins are named, and nothing is imported."""
    install("alpha", "x-*")
    install("beta", "*-1")
    host = await start_host("alpha", "beta")

    with pytest.raises(ModelAmbiguousError, match=r"`alpha`.*`beta`.*write `alpha:x-1`"):
        await host.model("x-1")
    assert (host.state("alpha"), host.state("beta")) == ("ready", "ready")


async def test_aliases_are_followed(start_host: StartHost, install: Any) -> None:
    """To their end, before anything else."""
    install("alpha", "a-*")
    host = await start_host("alpha", config=settings(fast="quick", quick="a-9"))

    assert (await host.model("fast")).name == "a-9"


async def test_a_circle_of_aliases_is_an_error(start_host: StartHost) -> None:
    """With the way round."""
    host = await start_host(config=settings(a="b", b="c", c="b"))

    with pytest.raises(ConfigError, match="a → b → c → b"):
        await host.model("a")


async def test_a_model_is_made_once_and_closed_at_the_end(start_host: StartHost, install: Any) -> None:
    """The board owns it."""
    install("alpha", "a-*")
    host = await start_host("alpha")

    model: Any = await host.model("a-1")
    again: Any = await host.model("a-1")

    assert again is model
    await host.stop()
    assert again.closed


async def test_auto_asks_everybody(start_host: StartHost, install: Any) -> None:
    """Whoever has one."""
    host = await start_host(plugins=[Silent])

    assert isinstance(await host.model("auto"), ModelBase)


async def test_auto_with_no_model_is_model_none(start_host: StartHost) -> None:
    """Its hint installs one."""
    host = await start_host("console")

    with pytest.raises(ModelNoneError) as caught:
        await host.model("auto")
    assert caught.value.hint == "peg plugins install pegboard-replay"


@pytest.mark.parametrize(
    ("provider", "hint"),
    [("scripted", "peg config set model scripted:demo"), ("alpha", "peg models list")],
)
async def test_auto_without_an_answer_names_what_there_is(
    start_host: StartHost, plugin_dist: Any, provider: str, hint: str
) -> None:
    """Where plugins with models are installed, they are listed, and the hint sets one of theirs."""
    code = "from pegboard import hookimpl\nclass Plugin:\n    @hookimpl\n    def provide_model(self): return None\n"
    manifest = {"id": "mine", "hooks": {"provide_model": {}}, "contributes": {"models": [{"name": provider}]}}
    plugin_dist(manifest, {"plugin.py": code})
    host = await start_host("mine")

    with pytest.raises(ModelNoneError, match=rf"`{provider}:\*`") as caught:
        await host.model("auto")
    assert caught.value.hint == hint


async def test_auto_without_an_answer_says_what_to_set_up(start_host: StartHost, plugin_dist: Any) -> None:
    """In the words of every plugin that has any."""
    code = "from pegboard import hookimpl\nclass Plugin:\n    @hookimpl\n    def provide_model(self): return None\n"
    for name in ("alpha", "beta"):
        models = [{"name": name, "setup": f"export {name.upper()}_KEY=…"}, {"name": f"{name}-two"}]
        plugin_dist(
            {"id": name, "hooks": {"provide_model": {}}, "contributes": {"models": models}}, {"plugin.py": code}
        )
    host = await start_host("alpha", "beta")

    with pytest.raises(ModelNoneError) as caught:
        await host.model("auto")
    assert caught.value.hint == "`export ALPHA_KEY=…` or `export BETA_KEY=…` or `peg models list`"


async def test_a_plugin_that_announces_nothing_is_asked_last(start_host: StartHost, install: Any) -> None:
    """For names that nobody announced."""
    install("alpha", "m*")
    host = await start_host("alpha", plugins=[Silent])

    assert (await host.model("mine")).provider == "pegboard_alpha"
    await host.disable("alpha")
    assert isinstance(await (await start_host(plugins=[Silent])).model("mine"), ModelBase)


async def test_an_unknown_name_has_near_ones(start_host: StartHost, install: Any) -> None:
    """Of aliases, providers and patterns."""
    install("alpha", "claude-*")
    host = await start_host("alpha", config=settings(quick="alpha:a"))

    with pytest.raises(ModelNotFoundError, match="near: `quick`"):
        await host.model("quik")


@pytest.mark.parametrize(
    ("name", "kind", "hint"),
    [
        ("claude-9", "for Anthropic", "peg models list"),
        ("o3-mini", "for OpenAI", "peg models list"),
        ("scripted:demo", "with scripted models", "peg plugins install pegboard-replay"),
    ],
)
async def test_a_well_known_name_says_what_is_missing(start_host: StartHost, name: str, kind: str, hint: str) -> None:
    """Nobody is sent to install a name that is not ours: whoever registers it first would be installed."""
    host = await start_host()

    with pytest.raises(ModelNotFoundError, match=f"a model plugin {kind} is missing") as caught:
        await host.model(name)
    assert caught.value.hint == hint


async def test_a_broken_provider_is_named(start_host: StartHost, install: Any) -> None:
    """The name is his, so his fault is the answer."""
    install("alpha", "a-*", code="raise ImportError('no sdk')")
    host = await start_host("alpha")

    with pytest.raises(PluginLoadError, match="no sdk"):
        await host.model("a-1")


async def test_what_the_provider_says_is_the_answer(start_host: StartHost) -> None:
    """A missing key is not an unknown model."""

    class Keyless:
        @hookimpl
        def provide_model(self, name: str) -> ModelBase | None:
            raise CredentialsMissingError("the variable `ALPHA_KEY` is not set", hint="export ALPHA_KEY=…")

    host = await start_host(plugins=[Keyless])

    with pytest.raises(CredentialsMissingError, match="ALPHA_KEY"):
        await host.model("a-1")


async def test_refreshed_models_are_made_anew(start_host: StartHost, install: Any) -> None:
    """`ctx.refresh("models")` at a turn boundary."""
    install("alpha", "a-*")
    host = await start_host("alpha")
    model = await host.model("a-1")

    host.refresh("alpha", "models")
    await host.apply_refreshes()

    assert await host.model("a-1") is not model
