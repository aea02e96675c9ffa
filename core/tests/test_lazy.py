"""What is imported at its first use."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from pegboard.lazy import lazy_names


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package that offers `dedent` of `textwrap` and what no module has."""
    made = ModuleType("package_of_a_test")
    resolve, names = lazy_names("package_of_a_test", {"gone": "textwrap", "dedent": "textwrap"})
    vars(made).update(__getattr__=resolve, __dir__=names)
    monkeypatch.setitem(sys.modules, "package_of_a_test", made)
    return made


def test_a_name_is_resolved_once(package: ModuleType) -> None:
    """After that it is one of the package, which is not asked again."""
    assert "dedent" not in vars(package)

    assert package.dedent(" x") == "x"

    assert vars(package)["dedent"] is package.dedent


@pytest.mark.parametrize(
    ("name", "message"),
    [("Dedent", "module 'package_of_a_test' has no attribute 'Dedent'"), ("gone", "module 'textwrap' has no")],
)
def test_a_name_that_is_not_there_is_an_attribute_error(package: ModuleType, name: str, message: str) -> None:
    """As of every module, so that `hasattr` and `from package import name` work; it says whose table is wrong."""
    with pytest.raises(AttributeError, match=message):
        getattr(package, name)


def test_names_are_listed_before_they_are_resolved(package: ModuleType) -> None:
    """For completion in a shell."""
    assert dir(package) == ["dedent", "gone"]
