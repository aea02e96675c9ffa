"""The template renders plugins that build, install, pass their own tests and the conformance suite as they are."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cookiecutter.exceptions import FailedHookException  # type: ignore[import-untyped]  # it ships no types
from cookiecutter.main import cookiecutter  # type: ignore[import-untyped]  # it ships no types
from pegboard_testing import Wheelhouse

if TYPE_CHECKING:
    from tests.integration.conftest import FreshEnvironment, MakeEnvironment

pytestmark = pytest.mark.packaging

TEMPLATE = Path(__file__).resolve().parents[2] / "plugin_template"
KINDS = ["tool", "model", "observer", "gate", "agent", "tool,model,observer,gate,agent"]
ANSWERS = {"summary": 'Says "hello" in a test', "author": "A. Tester"}


def render(into: Path, **answers: str) -> Path:
    """A plugin rendered with `answers`; its folder."""
    return Path(cookiecutter(str(TEMPLATE), no_input=True, output_dir=str(into), extra_context={**ANSWERS, **answers}))


class Rendered:
    """A plugin of one kind: its sources, and a fresh environment with its wheel and the test kit."""

    def __init__(self, folder: Path, environment: FreshEnvironment) -> None:
        self.folder = folder
        self.environment = environment
        self.id = folder.name.removeprefix("pegboard-")


@pytest.fixture(scope="module", params=KINDS, ids=lambda kinds: "all" if "," in kinds else kinds)
def rendered(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    fresh_environment: MakeEnvironment,
    wheelhouse: Wheelhouse,
    wheels: dict[str, Path],
) -> Rendered:
    """Each kind in turn; its tests share one environment."""
    name = "all" if "," in request.param else request.param
    folder = render(tmp_path_factory.mktemp(name), name=f"my-{name}", kinds=request.param)
    environment = fresh_environment(f"env-{name}")
    needed = ("pegboard", "pegboard-replay", "pegboard-testing")
    environment.install(*(wheels[distribution] for distribution in needed), wheelhouse.add(folder))
    return Rendered(folder, environment)


def test_own_tests_pass(rendered: Rendered) -> None:
    """The tests that it is rendered with pass against the installed wheel."""
    done = rendered.environment.run(rendered.environment.python, "-m", "pytest", "-q", rendered.folder)
    assert done.returncode == 0, done.stdout + done.stderr


def test_silver_is_reached(rendered: Rendered) -> None:
    """`peg plugins check --tier silver` passes."""
    done = rendered.environment.peg("plugins", "check", rendered.id, "--tier", "silver")
    assert done.returncode == 0, done.stdout + done.stderr


def test_manifest_agrees_with_code(rendered: Rendered) -> None:
    """`peg plugins validate` has nothing to say."""
    done = rendered.environment.peg("plugins", "validate", rendered.id)
    assert done.returncode == 0, done.stdout + done.stderr


def test_style_and_types_are_clean(rendered: Rendered) -> None:
    """ruff and mypy, as its own lint environment runs them."""
    commands = (
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy", "--python-executable", str(rendered.environment.python)],
    )
    for command in commands:
        done = subprocess.run(command, cwd=rendered.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_answers_are_kept(tmp_path: Path) -> None:
    """The answers stand in a file, so that the plugin can be rendered anew from a later template."""
    folder = render(tmp_path, name="weather", kinds="tool", license="MIT")
    answers = json.loads((folder / ".cookiecutter.json").read_text(encoding="utf-8"))
    assert answers == {**ANSWERS, "name": "weather", "kinds": "tool", "license": "MIT", "runtime": "in-process"}


@pytest.mark.parametrize(
    ("licence", "words"),
    [("Apache-2.0", "Apache License"), ("MIT", "MIT License"), ("BSD-3-Clause", "BSD 3-Clause License")],
)
def test_licence_is_the_chosen_one(licence: str, words: str, tmp_path: Path) -> None:
    """The text and the metadata name the same licence."""
    folder = render(tmp_path, name="weather", license=licence)
    assert (folder / "LICENSE").read_text(encoding="utf-8").lstrip().startswith(words)
    assert f'license = "{licence}"' in (folder / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "answers",
    [{"name": "My Plugin"}, {"name": "pegboard-x"}, {"kinds": "tool,teapot"}, {"kinds": ""}],
    ids=["bad name", "prefix", "unknown kind", "no kind"],
)
def test_wrong_answers_are_refused(answers: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Answers that cannot work are refused, with the reason, and nothing is left behind."""
    with pytest.raises(FailedHookException):
        render(tmp_path, **answers)
    assert "error: " in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []
