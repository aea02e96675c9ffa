"""`peg run`: a task for the default agent, or an agent on a task; stdout is the answer, stderr is talk."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from pegboard import config, shape
from pegboard.cli import lives, signals, targets
from pegboard.cli.approve import BUDGET, Approver, covers, name_to_allow
from pegboard.cli.contract import Answer, Command, Number, Option, Output, WholeNumber, option
from pegboard.cli.inputs import Commands, commands_for, inputs_for
from pegboard.cli.interrupt import stoppable
from pegboard.cli.watch import UNTRACED, EventPrinter, hook_lines
from pegboard.clock import SYSTEM_CLOCK
from pegboard.config import Config
from pegboard.errors import (
    AgentInputError,
    ApprovalNeededError,
    BudgetExceededError,
    ExitCode,
    PegboardError,
    RunFailedError,
    UsageError,
)
from pegboard.interfaces import Clock, Store
from pegboard.plugins.discovery.reserved import TOOLS
from pegboard.runtime import Pegboard
from pegboard.types import Agent, ResourceLimits, RunResult, StreamEvent
from pegboard.types.options import RunOptions

BUDGET_OPTIONS = {"tokens": "--budget-tokens", "cost_usd": "--budget-usd"}
"""The option of a limit, by its unit."""
GIVEN = "pegboard.given"
"""In the `meta` of the context: the `Given` of a command that knows the agent already."""
AROUND = "pegboard.around"
"""In the `meta` of the context: the `Around` of a command that runs what `peg run` would, on another board."""
_AFTER_DASHES = "pegboard.after_dashes"
_EXIT_CODES = {
    "completed": ExitCode.DONE,
    "budget": ExitCode.LIMIT,
    "limit": ExitCode.LIMIT,
    "needs_approval": ExitCode.APPROVAL,
    "unavailable": ExitCode.UNAVAILABLE,
}
"""By end reason; `failed` has the code of its error, and `cancelled` that of the signal."""
_DEFAULTS = {"no_plugins": False, "folders": (), "allow": (), "explain": False, "model": None, "agent": None}
"""The options of a run that is not started but resumed."""
_NOT_FOUND = frozenset({"agent.not_found", "agent.reader", "model.none", "model.not_found", "tool.not_found"})


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
@option(
    "-m",
    "--model",
    cls=SettingOption,
    setting="model",
    help="The model, whatever the agent names: a name, an alias or provider:name.",
)
@option("--agent", cls=SettingOption, setting="agent", help="The agent for a task without a TARGET, named like one.")
@option("--budget-usd", type=Number(min=0), show_default="no limit", help="Money for the run and its children.")
@option(
    "--budget-tokens",
    type=WholeNumber(min=0),
    show_default="no limit",
    help="Tokens, likewise; with --resume both take the place of what held before.",
)
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

    TARGET is the name of an agent, `module:object`, or a file with an agent in it (.yaml, .yml, .md; pegboard-agentfile
    reads them), and so is what `--agent` and the setting `agent` name. Anything else is part of the task for the
    default agent; so is everything after `--`. What comes through a pipe is added to the task.

    An agent with an input schema takes JSON, or words: `name=value` sets the property `name`, and the rest is the text
    of the first required property that is a string, else of the first. `peg agents info TARGET` shows the schema.

    `peg workflow run FILE`, of pegboard-workflow, runs a workflow.
    """
    meta = click.get_current_context().meta
    given: Given | None = meta.get(GIVEN)
    around: Around = meta.get(AROUND, Around())
    piped = piped_text() if around.piped is None else around.piped
    task = Task(words, looked_up=len(words) - meta[_AFTER_DASHES], piped=piped, given=given)
    _check_asked(task, options)
    try:
        return asyncio.run(_run(task, options, Output.current(), around))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _check_asked(task: Task, options: dict[str, Any]) -> None:
    if options["resume"]:
        if options["model"] is not None:
            raise UsageError(
                "a run goes on with the model that it began with", hint=f"peg run --resume {options['resume']}"
            )
    elif task.given is None and not "".join(task.words).strip() and not task.piped:
        raise UsageError("there is no task", hint='peg run "what is in this folder?"')


class Given(NamedTuple):
    """An agent that need not be looked up."""

    agent: Agent
    target: str
    """Where another process finds it."""
    commands: Commands


class Around(NamedTuple):
    """What is other than in `peg run` on the board that runs the task."""

    plugins: Sequence[object] = ()
    """Plugins beside those that are installed."""
    clock: Clock = SYSTEM_CLOCK
    store: Store | None = None
    run: str | None = None
    """The id of the run."""
    piped: str | None = None
    """What a pipe held; it is read here without one."""
    connects: bool = True
    """Whether a model that is named is to find its key before the run begins."""


class Task:
    """What the command line asks for, before it is known which words name an agent."""

    def __init__(self, words: Sequence[str], *, looked_up: int, piped: str, given: Given | None = None) -> None:
        self.words = words
        self.given = given
        self.looked_up = looked_up
        """How many of the words may name a target."""
        self.piped = piped


def piped_text() -> str:
    """What a pipe or a file on stdin holds. A terminal or `/dev/null` holds nothing and is not waited for."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read().strip()
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)):
        return ""
    return sys.stdin.buffer.read().decode("utf-8", "replace").strip()


async def _run(task: Task, options: dict[str, Any], out: Output, around: Around | None = None) -> Answer:
    around = around or Around()
    run_id = options["resume"] or around.run or os.urandom(8).hex()
    with stoppable(run_id) as stopper:
        async with Pegboard(
            autoload=not options["no_plugins"],
            config=settings_of(options),
            folders=[Path(folder) for folder in options["folders"]],
            plugins=[Approver(out, options["allow"]), *([EventPrinter(out)] if out.jsonl else []), *around.plugins],
            workspace=Path.cwd(),
            store=around.store,
            clock=around.clock,
        ) as board:
            stopper.board = board
            board.locate_agents(targets.agent_object)
            try:
                if options["resume"]:
                    result = await lives.resume(board, run_id, _limits_of(options))
                    LiveText(out).end(result)
                else:
                    result = await _new_run(board, task, options, run_id, out, connects=around.connects)
            except PegboardError as error:
                hint_at_switches(error, board, no_plugins=options["no_plugins"])
                raise
            hint_at_switches(result.error, board, no_plugins=options["no_plugins"])
            _hint_at_budget(result, board)
            return answer_of_run(
                result,
                out,
                explain=options["explain"],
                summary=board.hooks.on_event is None,
                durable=board.durable,
            )


def _limits_of(options: Mapping[str, Any]) -> ResourceLimits | None:
    tokens, cost_usd = options.get("budget_tokens"), options.get("budget_usd")
    return None if tokens is None and cost_usd is None else ResourceLimits(tokens=tokens, cost_usd=cost_usd)


def _hint_at_budget(result: RunResult, board: Pegboard) -> None:
    """How a run whose own budget is used up goes on with twice as much."""
    error = result.error
    if not isinstance(error, BudgetExceededError) or error.above or not board.durable:
        return
    option = BUDGET_OPTIONS.get(error.unit)
    if option is not None and board.config.get(f"limits.{error.unit}") is None:
        error.hint = f"peg run --resume {result.run} {option} {2 * error.limit:g}"


async def resumed(run: str, out: Output, *, allow: Sequence[str] = ()) -> Answer:
    """Go on with a run, as `peg run --resume RUN` does."""
    return await _run(Task((), looked_up=0, piped=""), {**_DEFAULTS, "resume": run, "allow": allow}, out)


def hint_at_switches(error: object, board: Pegboard, *, no_plugins: bool) -> None:
    """What was not found may well be there, only that plugins are off: then the way to have them on is the hint."""
    if not isinstance(error, PegboardError) or error.code not in _NOT_FOUND:
        return
    variable = os.environ.get("PEGBOARD_NO_PLUGINS", "")
    if no_plugins or variable == "--no-plugins":
        error.hint = "all plugins are off; leave out `--no-plugins`"
    elif variable not in ("", "0"):
        error.hint = "all plugins are off; run `unset PEGBOARD_NO_PLUGINS`"
    elif board.plugins.roster.safe_mode:
        culprit = board.plugins.roster.state.culprit
        error.hint = f"all plugins are off after starts that died; run `peg plugins disable {culprit}`"


async def _new_run(
    board: Pegboard, task: Task, options: dict[str, Any], run_id: str, out: Output, *, connects: bool = True
) -> RunResult:
    agent, start, target, commands = await _agent_of(board, task)
    if options["model"] is not None and connects:  # an agent that can do without one would only say so when it is over
        await (await board.model(options["model"])).connect()
    warn_of_unknown(board, agent, options["allow"], out)
    inputs = inputs_for(agent, task.words[start:], task.piped, commands=commands)
    wanted: RunOptions = {"run": run_id, "explain": options["explain"]}
    if (limits := _limits_of(options)) is not None:
        wanted["limits"] = limits
    if options["model"] is not None:
        wanted["model"] = options["model"]
    if target is not None:
        wanted["target"] = target
    stream = board.stream(agent, inputs, **wanted)
    result = await followed(stream, out)
    if commands is not None and isinstance(result.error, AgentInputError):
        result.error.hint = commands.info
    return result


async def _agent_of(board: Pegboard, task: Task) -> tuple[Agent, int, str | None, Commands | None]:
    """The agent, where its task begins, where another process finds it, and what is typed for it."""
    if task.given is not None:
        return await board.add_agent(task.given.agent), 0, task.given.target, task.given.commands
    found = await targets.resolve(board, task.words, task.looked_up)
    return *found, commands_for(task.words[0]) if found.start else None


def warn_of_unknown(board: Pegboard, agent: Agent, allowed: Sequence[str], out: Output) -> None:
    """A tool that nobody has may be mistyped, and the one that was meant would not be allowed."""
    own = [tool if isinstance(tool, str) else tool.name for tool in agent.config.tools]
    known = sorted({*board.plugins.offers.names("tools"), *own, *TOOLS, BUDGET})
    for pattern in allowed:
        if not any(covers(pattern, name) for name in known):
            out.warn(f"--allow {pattern}: there is no such tool{shape.near(pattern, known)}")


async def followed(stream: AsyncGenerator[StreamEvent, None], out: Output) -> RunResult:
    """The result of a streamed run; its text is written as it comes, where a person looks at it."""
    live = LiveText(out)
    async with aclosing(stream) as events:
        async for event in events:
            if out.lost is not None:
                raise out.lost
            if event.is_final:
                live.end(event.content)
                result: RunResult = event.content
                return result
            live.add(event)
    raise RunFailedError("the run ended without a result")


class LiveText:
    """The text of a run on a terminal, piece by piece. What became void, or comes once more, is marked as that."""

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
        elif event.type == "restart":
            self._leave("the text above is void; the answer begins anew")
        elif event.type == "tool_call":
            self._leave()

    def end(self, result: RunResult) -> None:
        """Show the answer, unless it stands there already."""
        text, shown = readable(result), self._shown
        if text and shown != text:
            self._leave("the answer in its final form follows")
            self._out.write(text + "\n")
        else:
            self._leave()

    def _leave(self, mark: str = "") -> None:
        """End the text that stands on the terminal, with a word on it; `--quiet` has no say in what is true."""
        if not self._shown:
            return
        self._out.write("\n")
        self._shown = ""
        if mark:
            print(f"({mark})", file=sys.stderr, flush=True)


def settings_of(options: dict[str, Any]) -> Config:
    """The settings, with what the command line says as a layer of its own."""
    given = {"model": options["model"], "agent": options["agent"]}
    return config.load(command_line={key: value for key, value in given.items() if value is not None})


def answer_of_run(
    result: RunResult, out: Output, *, explain: bool = False, summary: bool = True, durable: bool = False
) -> Answer:
    """What a run came to, for people and programs.

    Args:
        result: the run's
        out: where to talk
        explain: tell of the calls of hooks
        summary: tell how it ended, which no plugin does
        durable: it is kept, and can be gone on with
    """
    data = {**result.to_json(), "events": len(result.events)}
    calls = [event.data for event in result.events if event.kind == "hook.called"]
    if result.end_reason == "needs_approval":
        requests = [event.data for event in result.events if event.kind == "approval.requested"]
        data["request"] = requests[-1] if requests else None
        _hint_at_allow(result, data["request"], durable=durable)
    if explain:
        data["explain"] = calls
        out.say("\n".join(hook_lines(calls)) or f"no plugin was called; {UNTRACED}")
    if summary:
        out.say(summary_line(result))
        for part in result.degraded:
            out.say(f"degraded: {part.what}: {part.why}")
    return Answer(data, error=_error_of(result), exit_code=exit_code_of(result))


def _hint_at_allow(result: RunResult, request: Mapping[str, Any] | None, *, durable: bool) -> None:
    """How this very tool is allowed, for this run where it can be gone on with."""
    tool = name_to_allow(request)
    if isinstance(result.error, ApprovalNeededError) and tool is not None:
        result.error.hint = f"peg runs resume {result.run} --allow {tool}" if durable else f'peg run --allow {tool} "…"'


def summary_line(result: RunResult) -> str:
    """One line on how it ended; what is not known is said to be unknown."""
    usage = result.usage
    cost = "cost unknown" if result.cost_usd is None else f"${result.cost_usd:.4f}"
    tokens = [f"{n} {word}" for n, word in ((usage.input_tokens, "in"), (usage.output_tokens, "out")) if n is not None]
    turns = f"{result.turns} turn{'s' if result.turns != 1 else ''}"
    used = [*(tokens or ["tokens unknown"]), cost]
    if not result.turns and not result.cost_usd and usage.input_tokens == usage.output_tokens == 0:
        turns, used = "", []  # no model was asked
    return " · ".join(filter(None, [result.end_reason, turns, *used, f"run {result.run}"]))


def exit_code_of(result: RunResult) -> ExitCode:
    """By end reason; a run that failed has the code of what failed it."""
    if result.end_reason == "failed" and isinstance(result.error, PegboardError):
        return ExitCode(result.error.exit_code)
    if result.end_reason == "cancelled":
        return signals.exit_code()
    return _EXIT_CODES.get(result.end_reason, ExitCode.TASK_FAILED)


def _error_of(result: RunResult) -> PegboardError | None:
    if result.ok:
        return None
    if result.end_reason == "cancelled":
        return signals.cancelled(result.error or f"run `{result.run}` was cancelled")
    if isinstance(result.error, PegboardError):
        return result.error
    return RunFailedError(
        f"the run ended with `{result.end_reason}`: {result.error or 'no reason was given'}", run=result
    )


def readable(result: RunResult) -> str:
    """What a person is shown of a result. What a failed run left behind is for programs, unless it is a text."""
    output = result.output
    text = output.get("text") if isinstance(output, Mapping) else None
    if isinstance(text, str):
        return text
    return "" if result.error is not None and not isinstance(output, str) else text_of(output)


def text_of(output: Any) -> str:
    """An answer as text; a structured one as JSON."""
    if output is None or isinstance(output, str):
        return output or ""
    return msgspec.json.format(
        msgspec.json.encode(output, enc_hook=lambda value: value.model_dump()), indent=2
    ).decode()
