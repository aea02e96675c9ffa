"""`peg run`: a task for the default agent, or an agent on a task; stdout is the answer, stderr is talk."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import click
import msgspec

from pegboard import config
from pegboard.cli import targets
from pegboard.cli.approve import Approver
from pegboard.cli.contract import Answer, Command, Option, Output, option
from pegboard.cli.interrupt import stopped_by_interrupt
from pegboard.cli.watch import UNTRACED, EventPrinter, hook_lines
from pegboard.config import Config
from pegboard.errors import ExitCode, PegboardError, RunCancelledError, RunFailedError, UsageError
from pegboard.runtime import Pegboard
from pegboard.types import ResourceLimits, RunResult, StreamEvent

_AFTER_DASHES = "pegboard.after_dashes"
_EXIT_CODES = {
    "completed": ExitCode.DONE,
    "cancelled": ExitCode.INTERRUPTED,
    "budget": ExitCode.LIMIT,
    "limit": ExitCode.LIMIT,
    "needs_approval": ExitCode.APPROVAL,
    "unavailable": ExitCode.UNAVAILABLE,
}
"""By end reason; `failed` has the code of its error."""


class RunCommand(Command):
    """`run`, which must know where `--` stood: after it nothing is looked up."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_AFTER_DASHES] = len(args) - args.index("--") - 1 if "--" in args else 0
        return super().parse_args(ctx, args)


class SettingOption(Option):
    """An option whose default is a setting; its help names the layer that the default comes from."""

    def __init__(self, *args: Any, setting: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.setting = setting

    def get_help_extra(self, ctx: click.Context) -> Any:
        extra = super().get_help_extra(ctx)
        found = config.load(tolerant=True).explain(self.setting)
        if found is not None:
            place = f"{found.file}:{found.line}" if found.line else found.file or f"the {found.layer}"
            extra["default"] = f"{found.value}, setting `{self.setting}` from {place}"
        return extra


@click.command("run", cls=RunCommand, stream=True)
@click.argument("words", nargs=-1, metavar="[TARGET] [TASK]...")
@option("-m", "--model", cls=SettingOption, setting="model", help="The model: a name, an alias or provider:name.")
@option("--agent", cls=SettingOption, setting="agent", help="The agent for a task without a target.")
@option(
    "--budget-usd", type=click.FloatRange(min=0), show_default="no limit", help="Money for the run and its children."
)
@option("--budget-tokens", type=click.IntRange(min=0), show_default="no limit", help="Tokens, likewise.")
@option("--plugin", "folders", multiple=True, type=click.Path(exists=True), help="A plugin folder under development.")
@option("--no-plugins", is_flag=True, help="Use no installed plugin.")
@option(
    "--allow",
    multiple=True,
    metavar="TOOL",
    help="Approve the calls of a tool, by its name or a beginning of it with `*`. May be repeated.",
)
@option(
    "--resume",
    metavar="RUN",
    help="Go on with a run that was interrupted; needs a plugin whose store outlives the process.",
)
@option(
    "--explain",
    is_flag=True,
    help="Show which plugin was called when, and what it changed. Provider hooks and `on_event` are not traced.",
)
def run(words: tuple[str, ...], **options: Any) -> Answer:
    """Run a task, or an agent on a task.

    TARGET is a file (.yaml, .yml, .md), `module:object`, or the name of an agent. Anything else is part of the task
    for the default agent; so is everything after `--`. What comes through a pipe is added to the task.
    """
    task = Task(words, looked_up=len(words) - click.get_current_context().meta[_AFTER_DASHES], piped=piped_text())
    if not options["resume"] and not task.words and not task.piped:
        raise UsageError("there is no task", hint='peg run "what is in this folder?"')
    try:
        return asyncio.run(_run(task, options, Output.current()))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


class Task:
    """What the command line asks for, before it is known which words name an agent."""

    def __init__(self, words: Sequence[str], *, looked_up: int, piped: str) -> None:
        self.words = words
        self.looked_up = looked_up
        """How many of the words may name a target."""
        self.piped = piped

    def text(self, start: int) -> str:
        """The task from a word on, and what was piped."""
        return "\n\n".join(part for part in (" ".join(self.words[start:]), self.piped) if part)


def piped_text() -> str:
    """What a pipe or a file on stdin holds. A terminal or `/dev/null` holds nothing and is not waited for."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read().strip()
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)):
        return ""
    return sys.stdin.buffer.read().decode("utf-8", "replace").strip()


async def _run(task: Task, options: dict[str, Any], out: Output) -> Answer:
    run_id = options["resume"] or os.urandom(8).hex()
    async with Pegboard(
        autoload=not options["no_plugins"],
        config=settings_of(options),
        folders=[Path(folder) for folder in options["folders"]],
        plugins=[Approver(out, options["allow"]), *([EventPrinter(out)] if out.jsonl else [])],
    ) as board:
        with stopped_by_interrupt(board, run_id):
            if options["resume"]:
                result = await board.resume(run_id, check=False)
            else:
                result = await _new_run(board, task, options, run_id, out)
        return answer_of_run(result, out, explain=options["explain"], summary=board.hooks.on_event is None)


async def _new_run(board: Pegboard, task: Task, options: dict[str, Any], run_id: str, out: Output) -> RunResult:
    agent, start = await targets.resolve(board, task.words, task.looked_up, options["agent"])
    text = task.text(start)
    if not text:
        raise UsageError(f"there is no task for `{task.words[0]}`", hint=f'peg run {task.words[0]} "what can you do?"')
    inputs = targets.inputs_for(agent, text)
    limits = ResourceLimits(tokens=options["budget_tokens"], cost_usd=options["budget_usd"])
    stream = board.stream(agent, inputs, run=run_id, limits=limits, explain=options["explain"])
    return await _followed(stream, out)


async def _followed(stream: AsyncGenerator[StreamEvent, None], out: Output) -> RunResult:
    """The result of a streamed run; its text is written as it comes, where a person looks at it."""
    live = LiveText(out)
    async with aclosing(stream) as events:
        async for event in events:
            if event.is_final:
                live.end(event.content)
                result: RunResult = event.content
                return result
            live.add(event)
    raise RunFailedError("the run ended without a result")


class LiveText:
    """The text of a run on a terminal, piece by piece."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._shown = ""
        """What stands on the terminal since the last tool call or restart."""

    def add(self, event: StreamEvent) -> None:
        """Show what an event adds."""
        if not self._out.live or self._out.machine:
            return
        if event.type == "text":
            self._out.write(event.content)
            self._shown += event.content
        elif event.type in ("restart", "tool_call") and self._shown:
            self._out.write("\n")
            self._shown = ""

    def end(self, result: RunResult) -> None:
        """Show the answer, unless it stands there already."""
        text = text_of(result.output)
        if self._shown:
            self._out.write("\n")
        if text and self._shown != text:
            self._out.write(text + "\n")


def settings_of(options: dict[str, Any]) -> Config:
    """The settings, with what the command line says as a layer of its own."""
    given = {"model": options["model"], "agent": options["agent"]}
    return config.load(command_line={key: value for key, value in given.items() if value is not None})


def answer_of_run(result: RunResult, out: Output, *, explain: bool = False, summary: bool = True) -> Answer:
    """What a run came to, for people and programs; `summary` where no plugin tells of it."""
    data = {**result.to_json(), "events": len(result.events)}
    calls = [event.data for event in result.events if event.kind == "hook.called"]
    if result.end_reason == "needs_approval":
        requests = [event.data for event in result.events if event.kind == "approval.requested"]
        data["request"] = requests[-1] if requests else None
    if explain:
        data["explain"] = calls
        out.say("\n".join(hook_lines(calls)) or f"no plugin was called; {UNTRACED}")
    if summary:
        out.say(summary_line(result))
        for part in result.degraded:
            out.say(f"degraded: {part.what}: {part.why}")
    return Answer(data, error=_error_of(result), exit_code=exit_code_of(result))


def summary_line(result: RunResult) -> str:
    """One line on how it ended; what is not known is said to be unknown."""
    usage = result.usage
    cost = "cost unknown" if result.cost_usd is None else f"${result.cost_usd:.4f}"
    tokens = [f"{n} {word}" for n, word in ((usage.input_tokens, "in"), (usage.output_tokens, "out")) if n is not None]
    turns = f"{result.turns} turn{'s' if result.turns != 1 else ''}"
    return " · ".join([result.end_reason, turns, *(tokens or ["tokens unknown"]), cost, f"run {result.run}"])


def exit_code_of(result: RunResult) -> ExitCode:
    """By end reason; a run that failed has the code of what failed it."""
    if result.end_reason == "failed" and isinstance(result.error, PegboardError):
        return ExitCode(result.error.exit_code)
    return _EXIT_CODES.get(result.end_reason, ExitCode.TASK_FAILED)


def _error_of(result: RunResult) -> PegboardError | None:
    if result.ok:
        return None
    if isinstance(result.error, PegboardError):
        return result.error
    if result.end_reason == "cancelled":
        return RunCancelledError(f"run `{result.run}` was cancelled", run=result)
    return RunFailedError(
        f"the run ended with `{result.end_reason}`: {result.error or 'no reason was given'}", run=result
    )


def text_of(output: Any) -> str:
    """An answer as text; a structured one as JSON."""
    if output is None or isinstance(output, str):
        return output or ""
    return msgspec.json.format(
        msgspec.json.encode(output, enc_hook=lambda value: value.model_dump()), indent=2
    ).decode()
