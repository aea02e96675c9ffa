"""The typed facade: it says the same as the specifications, and costs nothing to import."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from pegboard.hookspecs import SPECS, Spec
from pegboard.plugins.dispatch.dispatcher import Hooks


def expected(spec: Spec) -> str:
    """The annotation that a spec asks for."""
    annotations = spec.function.__annotations__
    arguments = ", ".join(annotations[name] for name in spec.args if name != "call_next")
    answer = annotations["return"].removesuffix(" | None")
    if spec.kind == "around":
        return f"Around[{arguments}, {answer}] | None"
    result = {
        "notify": "None" if spec.sync_only else "Awaitable[None]",
        "collect": f"Awaitable[Collected[{answer}]]",
        "first": f"Awaitable[{answer} | None]",
        "pipeline": f"Awaitable[{answer}]",
        "gate": "Awaitable[Verdicts]",
        "stream": "AsyncGenerator[StreamEvent, None]",
    }[spec.kind]
    return f"Callable[[{arguments}], {result}] | None"


@pytest.mark.parametrize("name", SPECS)
def test_an_attribute_has_the_type_of_its_spec(name: str) -> None:
    """Arguments in the order of the spec, and the result of its kind."""
    assert Hooks.__annotations__[name] == expected(SPECS[name])


def test_there_is_one_attribute_per_spec() -> None:
    """No more and no less, and a new facade is empty."""
    assert set(Hooks.__slots__) == set(SPECS)
    assert all(getattr(Hooks(), name) is None for name in SPECS)


def test_no_argument_is_named_like_a_variable_of_the_generated_code() -> None:
    """The code of a dispatcher puts both into one scope."""
    own = re.compile(
        r"add|before|began|bind|call|called|calls|cls|end|error|fault|finish|found|functions|implementations|kind|now"
        r"|r|running|strongest|waiting|wrong|[a-z]+\d+"
    )
    generated = [spec for spec in SPECS.values() if spec.kind not in ("around", "stream")]
    assert not [name for spec in generated for name in spec.args if own.fullmatch(name)]


def test_importing_the_facade_imports_no_contract() -> None:
    """Neither pluggy nor the specifications; those come with the first `Dispatcher`."""
    code = (
        "import sys; from pegboard.plugins.dispatch.dispatcher import Dispatcher, Hooks; Hooks(); "
        "print(*(name for name in ('pluggy', 'pegboard.hookspecs', 'pydantic') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
