"""What every command keeps to: one object on stdout, talk on stderr, exit codes, the look of errors, no waiting.

A command is a function that returns an `Answer`, and talks meanwhile through `Output.current()`; everything else
happens here, once. Plugins may build their commands with `command` too, and then keep the same contract.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, NoReturn

import click

from pegboard.cli.logs import logged
from pegboard.cli.render import harmless
from pegboard.errors import (
    ApprovalDeniedError,
    ApprovalNeededError,
    ExitCode,
    InternalError,
    PegboardError,
    UsageError,
    describe,
)


class Answer:
    """What a command came to: data for machines, text for people, and its exit code."""

    __slots__ = ("data", "error", "exit_code", "text")

    def __init__(
        self,
        data: Any = None,
        text: str = "",
        *,
        error: PegboardError | None = None,
        exit_code: ExitCode | None = None,
    ) -> None:
        self.data = data
        self.text = text
        self.error = error
        """Set together with `data` where a command failed and still has something to show."""
        self.exit_code = exit_code if exit_code is not None else ExitCode(error.exit_code if error else 0)


class Stop(Exception):
    """Ends a command with an answer, from wherever it is."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.error)
        self.answer = answer


class NoOutput(Exception):
    """Stdout takes nothing any more."""


class Output:
    """The two streams of one call of `peg`, and how they are to be used."""

    def __init__(self) -> None:
        self.command = "peg"
        self.plugin: Any = None
        """The reference of the plugin whose command runs, where it is not one of core's."""
        self.json = False
        self.jsonl = False
        self.quiet = False
        self.verbose = 0
        """How often `-v` was given: twice shows everything, with tracebacks."""
        self.no_color = False
        self.plain = bool(os.environ.get("PEGBOARD_PLAIN"))
        self.talks = False
        """Whether a person talks through this command: that a run began and a model answered is no news to them."""
        self.interactive = _is_terminal(sys.stdin) and _is_terminal(sys.stderr)
        self.live = _is_terminal(sys.stdout) and not self.plain
        """Whether text may appear on stdout piece by piece."""
        self.data = sys.stdout
        self.lost: BrokenPipeError | NoOutput | None = None
        """Why nothing can be written any more, where that was found out in the middle of something."""
        self.before_prompt: list[Callable[[], None]] = []
        """Called before a person may type: whoever holds lines back for the end of an answer writes them now."""
        self._styled: set[str] = set()
        """Pieces of text with our own escape sequences; those of everybody else are spelled out."""
        self._own_descriptor = False

    @staticmethod
    def current() -> Output:
        """The output of the command that runs."""
        return click.get_current_context().ensure_object(Output)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep stdout for the answer: whatever else prints while this is open, prints to stderr.

        In a process of our own this reaches down to the file descriptor, so that subprocesses and C code are covered,
        and is never given back: a thread of a plugin may still print while the interpreter ends.
        """
        before = sys.stdout
        if not self._own_descriptor:
            self._own_descriptor = before is sys.__stdout__ and self._move_descriptor()
        sys.stdout = sys.stderr
        try:
            yield
        finally:
            with suppress(OSError):  # said already, where there was anything to say
                self.data.flush()
            if not self._own_descriptor:
                sys.stdout = before

    def _move_descriptor(self) -> bool:
        try:
            sys.stdout.flush()
            if sys.stdout.fileno() != 1:
                return False
            self.data = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors="backslashreplace")
            os.dup2(2, 1)
        except (OSError, ValueError):
            return False
        return True

    @property
    def machine(self) -> bool:
        """Whether a program reads stdout."""
        return self.json or self.jsonl

    def colored(self, stream: IO[str]) -> bool:
        """Whether `stream` gets colour: `NO_COLOR` beats `FORCE_COLOR` beats `TERM=dumb` beats what the stream is."""
        if self.no_color or self.plain or os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR"):
            return True
        return os.environ.get("TERM") != "dumb" and _is_terminal(stream)

    def style(self, text: str, stream: IO[str], **style: Any) -> str:
        """`text` in a style, where `stream` gets colour."""
        text = harmless(text)
        if not self.colored(stream):
            return text
        styled = click.style(text, **style)
        self._styled.add(styled)
        return styled

    def shown(self, text: str) -> str:
        """`text` as a terminal may have it: what others put into it can neither move the cursor nor pose as us."""
        if not self._styled:
            return harmless(text)
        own = "|".join(map(re.escape, self._styled))
        return "".join(piece if piece in self._styled else harmless(piece) for piece in re.split(f"({own})", text))

    def write(self, text: str) -> None:
        """Put data on stdout, unless a program reads it and waits for the object at the end."""
        if not self.machine:
            self._put(self.shown(text))

    def line(self, value: object) -> None:
        """Put one JSON value on a line of stdout."""
        import json

        self._put(json.dumps(value, default=str) + "\n")

    def lines(self, text: str) -> None:
        """Put lines of JSON on stdout, in one go."""
        self._put(text)

    def _put(self, text: str) -> None:
        try:
            self.data.write(text)
            self.data.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise NoOutput(f"the answer cannot be written: {error.strerror}") from error

    def give_up(self) -> None:
        """Nobody can take what is still to be written; the interpreter is not to try it again at its end."""
        for stream in (self.data, sys.__stdout__):
            with suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[union-attr]

    def say(self, text: str) -> None:
        """Talk to the person, on stderr, unless they asked for quiet."""
        if not self.quiet:
            print(self.shown(text), file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Tell the person of something that is wrong and does not stop the command."""
        if not self.quiet:
            print(
                f"{self.style('warning:', sys.stderr, fg='yellow', bold=True)} {harmless(text)}",
                file=sys.stderr,
                flush=True,
            )

    def ask(self, question: str, request: dict[str, Any], *, hint: str) -> None:
        """Go on only when a person says yes; nobody to ask is exit code 7 with the request as data."""
        if not self.interactive or self.machine:
            error = ApprovalNeededError(f"{question} (nobody can be asked: this is not a terminal)", hint=hint)
            raise Stop(Answer({"request": request}, error=error))
        print(f"{harmless(question)} [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise Stop(Answer({"request": request}, error=ApprovalDeniedError("answered no; nothing was changed")))

    def settle(self) -> None:
        """See to it that nobody writes any more, as a command does that is about to show a prompt."""
        for call in tuple(self.before_prompt):
            call()

    def finish(self, answer: Answer) -> ExitCode:
        """Show an answer; returns its exit code."""
        if self.machine:
            error = answer.error.to_json() if answer.error else None
            ok = answer.exit_code == ExitCode.DONE
            self.line({"schema": schema_of(self.command), "ok": ok, "data": answer.data, "error": error})
        elif answer.text:
            self.write(answer.text if answer.text.endswith("\n") else answer.text + "\n")
        if answer.error and not self.machine:
            self.show_error(answer.error)
        return answer.exit_code

    def show_error(self, error: PegboardError) -> None:
        """The look of every error: what happened, what to type next, where to read more."""
        with suppress(OSError):
            self.data.flush()
        message = harmless(error.message).replace("\n", "\n  ")  # a line of others is not to pose as one of these
        lines = [f"{self.style('error:', sys.stderr, fg='red', bold=True)} {message}", ""]
        if error.hint and error.hint != f"peg help {error.code}":  # the next line says that already
            hint = error.hint if "`" in error.hint else f"run `{error.hint}`"
            lines.append(f"{self.style('hint:', sys.stderr, fg='cyan')} {harmless(hint)}")
        lines.append(f"{self.style('help:', sys.stderr, fg='cyan')} peg help {error.code}")
        print("\n".join(lines), file=sys.stderr, flush=True)


def schema_of(command: str) -> str:
    """The schema name of a command path: `peg plugins list` has `peg.plugins.list/1`."""
    return ".".join(command.split()) + "/1"


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


# --- the common options --------------------------------------------------------------------------------------------


def _set(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing and param.name:
        setattr(ctx.ensure_object(Output), param.name, True)
        if param.name == "quiet":
            os.environ["PEGBOARD_QUIET"] = "1"  # plugins that talk read it


def _flag(*names: str, help: str) -> click.Option:
    return click.Option(names, is_flag=True, expose_value=False, is_eager=True, callback=_set, help=help)


def _set_verbose(ctx: click.Context, _: click.Parameter, value: int) -> None:
    if value and not ctx.resilient_parsing:
        ctx.ensure_object(Output).verbose = value


def talk_options() -> list[click.Parameter]:
    """The options that every command and the root take."""
    return [
        _flag("-q", "--quiet", help="No talk on stderr but errors."),
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            is_eager=True,
            callback=_set_verbose,
            help="Show on stderr what pegboard and plugins log; twice also the details, with tracebacks.",
        ),
        _flag("--no-color", help="No colour, whatever the terminal can do."),
    ]


def machine_options(*, stream: bool) -> list[click.Parameter]:
    """The options that make stdout readable for programs."""
    options: list[click.Parameter] = [_flag("--json", help="Print one JSON object on stdout and nothing else.")]
    if stream:
        options.append(_flag("--jsonl", help="Print one JSON event per line; the last line is the object of --json."))
    return options


class WholeNumber(click.IntRange):
    """A whole number within limits, in words that a person understands."""

    name = "whole number"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """One word."""
        return "N"


class Number(click.FloatRange):
    """A number within limits; what is no number, or endless, is within none."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        found = super().convert(value, param, ctx)
        return found if math.isfinite(found) else self.fail(f"{value!r} is not a valid {self.name}.", param, ctx)


class Option(click.Option):
    """An option whose help always says what holds without it."""

    def get_help_extra(self, ctx: click.Context) -> Any:
        extra = super().get_help_extra(ctx)
        if not self.is_flag and not self.required and "default" not in extra:
            extra["default"] = "none"
        return extra


def option(*names: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`click.option` whose help names the default."""
    return click.option(*names, **{"cls": Option, "show_default": True, **attributes})


# --- commands ------------------------------------------------------------------------------------------------------


class Command(click.Command):
    """A command that keeps the contract."""

    def __init__(self, *args: Any, stream: bool = False, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params += [*machine_options(stream=stream), *talk_options()]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What is wrong with the arguments knows whose they are, for the hint."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def invoke(self, ctx: click.Context) -> ExitCode:
        out = ctx.ensure_object(Output)
        out.command = ctx.command_path
        assert self.callback is not None
        if out.json and out.jsonl:
            raise click.UsageError("--json and --jsonl exclude each other", ctx)
        with out.claimed(), logged(out):
            try:
                answer = ctx.invoke(self.callback, **ctx.params)
            except (click.exceptions.Exit, click.UsageError):
                raise
            except Exception as error:
                answer = answer_of(error, out)
            return out.finish(answer or Answer())


def command(name: str, *, stream: bool = False, **attributes: Any) -> Callable[[Callable[..., Answer | None]], Command]:
    """Make a command of a function that returns an `Answer`."""
    return click.command(name, cls=Command, stream=stream, **attributes)


# --- errors --------------------------------------------------------------------------------------------------------


def answer_of(error: BaseException, out: Output) -> Answer:
    """The answer for whatever a command raised."""
    if isinstance(error, Stop):
        return error.answer
    if isinstance(error, PegboardError):
        return Answer(error=error)
    if isinstance(error, click.UsageError):
        return Answer(error=_usage(error))
    if isinstance(error, click.ClickException):
        return Answer(error=PegboardError(_prose(error.format_message())), exit_code=ExitCode(1))
    if isinstance(error, (BrokenPipeError, NoOutput)):  # nobody's fault here, whose command it may be
        raise error
    if out.plugin is not None:
        return Answer(error=out.plugin.failed(error))
    if isinstance(error, OSError):
        return Answer(error=_of_the_system(error))
    return Answer(error=_bug(error, out))


def _of_the_system(error: OSError) -> PegboardError:
    """A disk that is full, a folder that is gone, a lock that is held: nothing of ours is broken."""
    place = f"`{str(error.filename)[:200]}` cannot be used: " if error.filename is not None else ""
    reason = error.strerror or describe(error)
    return PegboardError(f"{place}{reason[:1].lower()}{reason[1:]}", hint="peg doctor")


def _usage(error: click.UsageError) -> UsageError:
    path = error.ctx.command_path if error.ctx else "peg"
    bare = isinstance(error, click.exceptions.NoArgsIsHelpError)
    message = f"`{path}` needs a command" if bare else _prose(error.format_message())
    return UsageError(message, hint=f"{path} --help")


def _prose(message: str) -> str:
    """A message of click in our style: one line, lower case, literals in backticks, no full stop."""
    message = re.sub(r"'([^']*)'", r"`\1`", " ".join(message.split())).removesuffix(".")
    message = re.sub(r"\((Did you mean) one of: (.*)\?\)$", r"\1 \2?", message)
    message = re.sub(r"\. (\w)", lambda found: "; " + found[1].lower(), message)
    return message[:1].lower() + message[1:]


def _bug(error: BaseException, out: Output) -> InternalError:
    from pegboard.cli.bundle import mask, write_bug_bundle

    what = f"{type(error).__name__}: {describe(error)}"
    path = write_bug_bundle(error, out.command)
    where = f"the report is in `{path}`" if path else "no report could be written"
    return InternalError(f"this is a fault of pegboard, not yours: {mask(what)}; {where}")


def before_dashes(arguments: Sequence[str]) -> list[str]:
    """The arguments that can be options."""
    return list(arguments[: arguments.index("--")] if "--" in arguments else arguments)


def leave(code: int) -> NoReturn:
    """End the process; a reader that went away is no error to talk about."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)
