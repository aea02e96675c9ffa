"""`peg help` and `peg completion`: every code has a page, every shell a script."""

from __future__ import annotations

from typing import Any

import click
import pytest
from pegboard.cli.app import Peg
from pegboard.cli.groups import LazyGroup
from pegboard.cli.pages import TOPICS, classes_by_code, exit_meanings
from pegboard.errors import ExitCode


@pytest.mark.parametrize("code", classes_by_code())
def test_every_code_has_a_page(peg: Any, code: str) -> None:
    """The page of a code has text, exit code and what that means."""
    data = peg.json("help", code)["data"]

    assert data["text"]
    assert data["exit_meaning"] == exit_meanings()[ExitCode(data["exit_code"]).name]


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_has_a_page(peg: Any, topic: str) -> None:
    """Each topic that is listed can be read."""
    assert len(peg("help", topic).stdout) > 100


def test_every_exit_code_is_explained() -> None:
    """Each exit code has a sentence, taken from where it is defined."""
    assert set(exit_meanings()) == {code.name for code in ExitCode}


def test_unknown_code_is_told_its_neighbours(peg: Any) -> None:
    """A code that does not exist is wrong usage and names near ones."""
    result = peg("help", "plugin.lod")

    assert result.exit_code == 2
    assert "did you mean `plugin.load`" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_script_calls_peg(peg: Any, shell: str) -> None:
    """Each shell gets a script that asks `peg` for completions."""
    assert "_PEG_COMPLETE" in peg("completion", shell).stdout


def test_completion_of_subcommands(site: Any) -> None:
    """A group completes its commands without importing any of them."""
    done = site.peg(_PEG_COMPLETE="bash_complete", COMP_WORDS="peg plugins en", COMP_CWORD="2")

    assert done.stdout.split() == ["plain,enable"]


def test_usual_hints_are_commands_that_exist() -> None:
    """Each error's usual hint is a command of `peg` with options that it has."""
    root = click.Context(Peg(), info_name="peg")
    for code, cls in classes_by_code().items():
        if cls.default_hint and cls.default_hint.startswith("peg "):
            words = cls.default_hint.split()[1:]
            group: click.Command = root.command
            while isinstance(group, LazyGroup) and words and not words[0].startswith("-"):
                found = group.get_command(root, words.pop(0))
                assert found is not None, f"{code}: {cls.default_hint}"
                group = found
            options = {name for param in group.get_params(root) for name in param.opts}
            assert {word for word in words if word.startswith("-")} <= options, f"{code}: {cls.default_hint}"
