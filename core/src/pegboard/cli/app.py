"""The root command `peg`: what stands before the first command, and what becomes of every error."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click

from pegboard import __version__
from pegboard.cli import signals
from pegboard.cli.contract import Answer, NoOutput, Output, answer_of, before_dashes, leave
from pegboard.cli.groups import Entry, LazyGroup
from pegboard.cli.table import COMMANDS
from pegboard.errors import ExitCode


class Peg(LazyGroup):
    """The root command; `main` never lets an exception out."""

    def __init__(self) -> None:
        super().__init__("peg", COMMANDS, help="Run agents, and the plugins that make them able.")
        self.context_settings = {"help_option_names": ["-h", "--help"]}  # commands inherit it
        self.params += [_version_option(), _safe_mode_option()]
        self._contributed: Mapping[tuple[str, ...], Mapping[str, Entry]] | None = None

    def contributed(self, path: tuple[str, ...]) -> Mapping[str, Entry]:
        """The commands that plugins add to the group of this path; known from the index, nothing is imported."""
        if self._contributed is None:
            from pegboard.cli.mounted import contributed_commands

            self._contributed = contributed_commands()
        return self._contributed.get(path, {})

    def invoke(self, ctx: click.Context) -> ExitCode:
        """The exit code of the command; one of a plugin that returns something else has succeeded."""
        value = super().invoke(ctx)
        return value if isinstance(value, ExitCode) else ExitCode.DONE

    def main(  # type: ignore[override]  # one of click's overloads, the only one that we use
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run the command line and end the process."""
        self._contributed = None
        arguments = list(sys.argv[1:] if args is None else args)
        out = Output()
        try:
            code = super().main(arguments, "peg", standalone_mode=False, obj=out, **extra)
        except (click.Abort, KeyboardInterrupt):
            code = self._failed(Answer(error=signals.cancelled("interrupted")), out, arguments)
        except BrokenPipeError:
            code = ExitCode.TASK_FAILED
        except NoOutput as error:
            out.give_up()
            print(f"peg: {error}", file=sys.stderr)
            code = ExitCode.TASK_FAILED
        except click.exceptions.NoArgsIsHelpError as error:
            code = self._without_command(error)
        except Exception as error:
            if isinstance(error, click.UsageError) and error.ctx:
                out.command = error.ctx.command_path
            code = self._failed(answer_of(error, out), out, arguments)
        leave(code)

    @staticmethod
    def _without_command(error: click.UsageError) -> ExitCode:
        assert error.ctx is not None
        print(error.ctx.get_help(), file=sys.stderr)
        return ExitCode.USAGE

    def _failed(self, answer: Answer, out: Output, arguments: list[str]) -> ExitCode:
        # The options were not parsed when parsing failed; what they would have said still holds.
        out.json = out.json or not {"--json", "--jsonl"}.isdisjoint(before_dashes(arguments))
        return out.finish(answer)


def _version_option() -> click.Option:
    def show(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            print(f"peg {__version__}")
            ctx.exit(0)

    return click.Option(
        ["-V", "--version"], is_flag=True, expose_value=False, is_eager=True, callback=show, help="Show the version."
    )


def _safe_mode_option() -> click.Option:
    def switch(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            os.environ["PEGBOARD_NO_PLUGINS"] = "--no-plugins"

    return click.Option(
        ["--no-plugins"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=switch,
        help="Safe mode: use no plugin at all.",
    )


peg = Peg()
