"""`pipeline`: a value is threaded through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pegboard.hookspecs import SPECS, ImplOptions
from pegboard.plugins.dispatch.compose import compose
from pegboard.plugins.dispatch.implementation import inspected
from pegboard.types import Part, evolve

if TYPE_CHECKING:
    from core.tests.plugins.dispatch.conftest import Bench

PART = Part(id="1", owner="x", kind="file", text="t", tokens=1)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")], ids="".join)
async def test_each_gets_what_the_one_before_returned(bench: Bench, order: tuple[str, str]) -> None:
    """The value goes from one to the next."""
    for plugin in order:
        bench.add(plugin, redact=lambda value, plugin=plugin: value + plugin)

    assert await bench.hooks.redact("ctx", "-", "log") == "-ab"


async def test_none_is_unchanged(bench: Bench) -> None:
    """An implementation without an opinion passes the value on."""
    bench.add("a", redact=lambda: None)
    bench.add("b", redact=lambda value, sink: value + sink)

    assert await bench.hooks.redact("ctx", "-", "log") == "-log"


@pytest.mark.parametrize("broken", ["a", "b"])
async def test_an_error_keeps_the_previous_value(bench: Bench, broken: str) -> None:
    """What the others did stands."""
    bench.add(broken, context_compress=lambda: 1 / 0)
    bench.add("ab".replace(broken, ""), context_compress=lambda part: evolve(part, text="short"))

    assert (await bench.hooks.context_compress("ctx", PART, "request")).text == "short"
    assert bench.report.codes == [(broken, "hook.failed")]


async def test_a_wrong_type_keeps_the_previous_value(bench: Bench) -> None:
    """A value of another type is not passed on."""
    bench.add("a", context_compress=lambda: "text")

    assert await bench.hooks.context_compress("ctx", PART, "request") is PART
    assert bench.report.codes == [("a", "hook.type")]


async def test_a_failed_redaction_shows_nothing(bench: Bench) -> None:
    """`redact` fails closed: a marker instead of the value."""
    bench.add("a", redact=lambda: 1 / 0)

    assert await bench.hooks.redact("ctx", "secret", "log") == "[redaction failed]"


async def test_a_change_outside_of_what_is_writable_is_discarded(bench: Bench) -> None:
    """Where a spec lists what may be changed, another change is an error of the plugin."""
    spec = evolve(SPECS["context_compress"], writable=("text",))

    def compress(part: Part) -> Part:
        return evolve(part, text="short", owner="me")

    async def pool() -> None:
        """Not needed."""

    one = inspected(spec, "a", compress, ImplOptions(), pool)
    call = compose(spec, [one], bench.dispatcher)

    assert await call("ctx", PART, "request") is PART
    assert bench.report.codes == [("a", "hook.type")]
    assert "changed `owner`" in str(bench.report.faults[0][1])
