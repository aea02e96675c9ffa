"""`peg record` and `peg replay`: a run that is kept with everything it was given, and the same run again, offline."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from pegboard.cli.contract import Answer, Output, command
from pegboard.cli.run import AROUND, Around, piped_text
from pegboard.cli.run import run as run_agent
from pegboard.errors import ExitCode, PegboardError, UsageError
from pegboard.memory import MemoryStore

from pegboard_replay.board import Recording, Replay
from pegboard_replay.cassette import CassetteError, CommandEntry, read_cassette
from pegboard_replay.requests import scrub

_NOT_COMPARED: Final = frozenset({"events", "explain"})
"""What the answer says of events: they are compared themselves."""


class ReplayDiffersError(PegboardError):
    """A replayed run is not as it was recorded; the message shows the first difference.

    The agent, a plugin or a setting is another one than it was. Record anew when that is wanted.
    """

    code = "replay.differs"
    exit_code = ExitCode.TASK_FAILED


@command("record", stream=True, context_settings={"ignore_unknown_options": True})
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("words", metavar="[TARGET] [TASK]... [OPTIONS OF peg run]", nargs=-1, type=click.UNPROCESSED)
def record(file: Path, words: tuple[str, ...]) -> Answer:
    """Run a task as `peg run` does, and write what the run was given to the cassette FILE, without secrets.

    Kept are the answers of models, what came of tools, pauses and approvals, and the time. The run is in the cassette
    and not in the store. A cassette that is there already is replaced; any other file is not.
    """
    if file.exists():
        _check_is_cassette(file)
    recording = Recording(file)
    asked = CommandEntry(words=tuple(map(scrub, words)), piped=scrub(piped := piped_text()), run=os.urandom(8).hex())
    # In memory: what waits for a disk in the middle of parallel runs would have another order in each replay.
    around = Around([recording], recording.clock, MemoryStore(), asked.run, piped)
    with _arguments("peg record", words, around) as arguments:
        recording.keep_command(asked)
        answer = _run(arguments)
    recording.keep_answer(answer.data)
    Output.current().say(f"recorded in {file}")
    return answer


@command("replay", stream=True)
@click.argument("file", type=click.Path(path_type=Path))
def replay(file: Path) -> Answer:
    """Run again what `peg record` wrote to FILE, offline, and compare.

    No model is asked, no tool is executed, and nothing is stored. The exit code is 0 when the answer and every event
    are as they were recorded, also where the recorded run failed.
    """
    played = Replay(file)
    asked = played.command
    if asked is None:
        raise CassetteError(
            f"`{file}` does not say what was run; it was not written by `peg record`",
            hint=f'peg run -m replay:{file} "…"',
        )
    around = Around([played], played.clock, MemoryStore(), asked.run, asked.piped, connects=False)
    with _arguments("peg replay", asked.words, around) as arguments:
        answer = _run(arguments)
    difference = _difference(played, answer.data)
    if difference is not None:
        error = ReplayDiffersError(f"`{file}`: {difference}", hint="peg help replay.differs")
        return Answer({"equal": False, "run": answer.data}, error=error)
    Output.current().say("equal to what was recorded")
    return Answer({"equal": True, "run": answer.data}, exit_code=ExitCode.DONE)


@contextmanager
def _arguments(path: str, words: Sequence[str], around: Around) -> Iterator[click.Context]:
    """The words as arguments of `peg run`, for as long as it runs."""
    here = click.get_current_context()
    here.meta[AROUND] = around
    with run_agent.make_context(path, [*words], parent=here) as arguments:
        if arguments.params["resume"]:
            raise UsageError(
                "a run that goes on cannot be recorded: what came before is missing", hint=f"{path} --help"
            )
        yield arguments


def _run(arguments: click.Context) -> Answer:
    assert run_agent.callback is not None
    answer: Answer = run_agent.callback(**arguments.params)
    return answer


def _check_is_cassette(file: Path) -> None:
    """Refuse to replace what is no cassette: the name of the file may have been forgotten."""
    try:
        read_cassette(file)
    except CassetteError as error:
        raise CassetteError(f"{error.message}; it is not replaced", hint="peg record --help") from error


def _difference(played: Replay, data: Any) -> str | None:
    """The first difference: of the events, which say where it began, else of the answer."""
    found = played.difference()
    if found is not None:
        return found
    if played.answer is None:
        return "the recording broke off before its answer was written"
    recorded, now = _told(played.answer.data), _told(scrub(data))
    differing = [name for name in recorded if recorded[name] != now.get(name)]
    name = next(iter(differing), None)
    return (
        None if name is None else f"`{name}` of the answer was {recorded[name]!r:.300}, and is {now.get(name)!r:.300}"
    )


def _told(data: dict[str, Any]) -> dict[str, Any]:
    """What the answer says of the run itself. Hints depend on what is installed."""
    told = {name: value for name, value in data.items() if name not in _NOT_COMPARED}
    error = told.get("error")
    return {**told, "error": [error["code"], error["message"]] if isinstance(error, dict) else error}


__all__ = ["ReplayDiffersError", "record", "replay"]
