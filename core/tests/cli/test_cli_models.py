"""`peg models`: what plugins say of their models, what is told for those that say nothing, and the steps of a check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pegboard import Pegboard, hookimpl
from pegboard.cli import models_check
from pegboard.cli.models import listings_of
from pegboard.interfaces import HostContext
from pegboard.types import ModelListing

CODE = """
from pegboard import hookimpl
from pegboard.model import ModelBase
from pegboard.types import Finish, ModelCapabilities, ModelChunk, ModelListing, Usage


class Shop(ModelBase):
    provider = "shop"

    def __init__(self, name):
        self.name = name

    async def stream(self, request):
        yield ModelChunk(text="pong")
        yield ModelChunk(finish=Finish("stop", Usage(12, 1, source="provider")))

    def capabilities(self, model):
        return ModelCapabilities(tools="yes", context_window=8000, source="configured")
{verify}

class Plugin:
    @hookimpl
    def provide_model(self, ctx, name):
        return Shop(name.removeprefix("shop:")) if name.startswith("shop:") else None
{listing}
"""
LISTING = """
    @hookimpl
    def list_models(self, ctx, remote):
        return [ModelListing(provider="shop", ready="yes", why="it is always open", models=("shop:small",))]
"""
VERIFY = """
    async def verify(self):
        {0}
"""


def shop(site: Any, *, listing: str = "", verify: str = "", id: str = "shop") -> None:
    """A plugin with models, as others write one."""
    hooks: dict[str, Any] = {"provide_model": {}}
    if listing:
        hooks["list_models"] = {}
    item = {"name": "shop", "patterns": ["shop-*"], "setup": "open the shop", "summary": "from the shop"}
    code = CODE.format(listing=listing, verify=VERIFY.format(verify) if verify else "")
    site.plugin(id, {"hooks": hooks, "contributes": {"models": [item]}}, {"plugin.py": code})


def listed(peg: Any) -> dict[str, Any]:
    """The entry of the shop."""
    (entry,) = [entry for entry in peg.json("models", "list")["data"]["providers"] if entry["provider"] == "shop"]
    return dict(entry)


def steps(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The steps of a check by their names, of several the last."""
    return {step["step"]: step for step in found["data"]["steps"]}


# --- list


def test_a_plugin_says_what_is_ready(peg: Any, site: Any) -> None:
    """Its patterns come from the manifest, the rest from its hook; nothing is to be typed where it is ready."""
    shop(site, listing=LISTING)

    entry = listed(peg)

    assert (entry["plugin"], entry["patterns"]) == ("shop", ["shop:*", "shop-*"])
    assert (entry["ready"], entry["why"], entry["setup"]) == ("yes", "it is always open", "")
    assert entry["models"] == ["shop:small"]


class Teller:
    """A plugin that repeats what it was asked."""

    plugin_id = "teller"

    @hookimpl
    def list_models(self, ctx: HostContext, remote: bool) -> list[ModelListing]:
        return [ModelListing(provider="teller", why=f"{ctx.plugin}, {remote}")]


@pytest.mark.parametrize("remote", [False, True])
async def test_a_plugin_is_told_whether_to_ask_the_provider(remote: bool) -> None:
    """With its own context."""
    async with Pegboard(plugins=[Teller()]) as board:
        (said,) = (await listings_of(board, remote=remote))["teller"]

    assert said.why == f"teller, {remote}"


def test_people_get_one_table(peg: Any, site: Any) -> None:
    """Provider, its models below it, and what is chosen by default and by `auto`."""
    shop(site, listing=LISTING)

    lines = [line.split() for line in peg("models", "list").stdout.splitlines()]

    assert ["shop:*,", "shop-*", "shop", "yes", "it", "is", "always", "open"] in lines
    assert ["shop:small"] in lines
    assert ["default:", "auto;", "the", "defaults"] in lines


def test_a_plugin_that_says_nothing_is_listed_all_the_same(peg: Any, site: Any) -> None:
    """Whether it is ready is unknown then, and the manifest says what to type."""
    shop(site)

    entry = listed(peg)

    assert (entry["ready"], entry["why"]) == ("unknown", "its plugin does not say")
    assert entry["setup"] == "open the shop"


@pytest.mark.parametrize("does", ['raise ValueError("sold out")', "return [5]"], ids=["raises", "no listing"])
def test_a_plugin_that_fails_is_listed_with_its_error(peg: Any, site: Any, does: str) -> None:
    """And with the code of the error; the others are listed, and the command succeeds."""
    shop(site, listing=f"\n    @hookimpl\n    def list_models(self, ctx, remote):\n        {does}\n")

    entry = listed(peg)

    assert entry["ready"] == "no"
    assert entry["code"].startswith("hook.")


def test_a_plugin_that_cannot_be_imported_says_so(peg: Any, site: Any) -> None:
    """With its error, as in `peg plugins list`."""
    shop(site, listing=LISTING)
    manifest = {"hooks": {"provide_model": {}, "list_models": {}}, "contributes": {"models": [{"name": "ruin"}]}}
    site.plugin("ruin", manifest, {"plugin.py": "1 / 0"})

    found = peg.json("models", "list")["data"]["providers"]

    (entry,) = [entry for entry in found if entry["provider"] == "ruin"]
    assert (entry["ready"], entry["code"], entry["setup"]) == ("no", "plugin.load", "peg plugins disable ruin")


def test_a_plugin_that_announces_nothing_may_make_any_model(peg: Any, site: Any) -> None:
    """So its pattern fits every name."""
    site.plugin("anything", {"hooks": {"provide_model": {}}}, {"plugin.py": CODE.format(listing="", verify="")})

    found = peg.json("models", "list")["data"]["providers"]

    assert [entry["patterns"] for entry in found if entry["plugin"] == "anything"] == [["*"]]


def test_a_plugin_that_is_off_says_how_to_have_it(peg: Any, site: Any) -> None:
    """Its models cannot be named, but it may be what somebody looks for."""
    shop(site, listing=LISTING)
    peg("plugins", "disable", "shop")

    entry = listed(peg)

    assert (entry["ready"], entry["setup"]) == ("no", "peg plugins enable shop")


# --- check


def test_a_check_goes_step_by_step(peg: Any, site: Any) -> None:
    """Plugin, what the model can do with the source of that, price, key; where only a request tells, it says so."""
    shop(site, listing=LISTING)

    found = peg.json("models", "check", "shop:small")

    assert (found["ok"], found["data"]["model"], found["data"]["plugin"]) == (True, "shop:small", "shop")
    assert steps(found)["window"]["what"] == "context 8000 tokens, answers unknown (configured)"
    assert steps(found)["price"] == {"step": "price", "status": "unknown", "what": "price unknown"}
    assert steps(found)["access"]["what"] == "it is always open"
    assert steps(found)["server"]["status"] == "unknown"
    assert "answer" not in steps(found)


def test_an_alias_is_followed(peg: Any, site: Any) -> None:
    """With the place where it is set."""
    shop(site, listing=LISTING)
    peg("config", "set", "models.aliases.cheap", "shop:small")

    said = steps(peg.json("models", "check", "cheap"))["name"]["what"]

    assert "it stands for `shop:small`" in said
    assert "config.toml:" in said


def test_asking_shows_what_came(peg: Any, site: Any) -> None:
    """Text, tokens, cost and time; that it costs money is said before, on stderr."""
    shop(site, listing=LISTING)

    done = peg("models", "check", "shop:small", "--ask")

    assert "may cost money (price unknown)" in done.stderr
    assert "`pong`, tokens: 12 in and 1 out, cost unknown, first token after" in done.stdout


@pytest.mark.parametrize(
    ("does", "code"),
    [
        ('raise ValueError("closed")', "model.unknown"),
        ('from pegboard.errors import ModelAuthError; raise ModelAuthError("no")', "model.auth"),
    ],
    ids=["raw", "fault"],
)
def test_the_first_step_that_fails_is_the_last(peg: Any, site: Any, does: str, code: str) -> None:
    """Its error is that of the command, classified; what was found before is shown, and nothing is sent after it."""
    shop(site, listing=LISTING, verify=does)

    found = peg.json("models", "check", "shop:small", "--ask")

    assert found["error"]["code"] == code
    assert (steps(found)["server"]["status"], steps(found)["access"]["status"]) == ("fail", "ok")
    assert "answer" not in steps(found)


def test_a_server_that_says_nothing_is_not_waited_for(peg: Any, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is told, and is a fault that a later try may not have: exit code 8."""
    monkeypatch.setattr(models_check, "ANSWERS_WITHIN_S", 0.05)
    shop(site, listing=LISTING, verify="import asyncio; await asyncio.Event().wait()")

    error = peg.json("models", "check", "shop:small")["error"]

    assert (error["code"], error["exit_code"]) == ("model.timeout", 8)
    assert "within 0.05 s" in error["message"]


@pytest.mark.parametrize(
    ("fault", "hint"), [("ModelAuthError", "open the shop"), ("ModelNotOfferedError", "peg models list --remote")]
)
def test_the_hint_is_what_helps(peg: Any, site: Any, fault: str, hint: str) -> None:
    """For a key that is refused what the manifest says, for a name the list of the provider."""
    shop(site, listing=LISTING, verify=f"from pegboard import errors; raise errors.{fault}('no')")

    assert peg.json("models", "check", "shop:small")["error"]["hint"] == hint


def test_a_name_that_nobody_knows(peg: Any, site: Any, place: Path) -> None:
    """Exit code 4, as in a run."""
    shop(site, listing=LISTING)

    assert peg("models", "check", "shap:small").exit_code == 4
