"""Groups that import a command when it is called, and not to list it.

A group is a table of entries; its help prints the words of the table. Commands that plugins contribute stand in the
same tables, and a broken one is an error only when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

import click

from pegboard.cli.contract import talk_options

Loader = Callable[[], click.Command]
Found = tuple[str | None, click.Command | None, list[str]]


class Entry:
    """A command before it is imported: its help, and how to get it."""

    __slots__ = ("children", "help", "load")

    def __init__(self, help: str, load: Loader, children: Mapping[str, Entry] | None = None) -> None:
        self.help = help
        self.load = load
        self.children = children
        """The entries of a group."""


class LazyGroup(click.Group):
    """A group whose commands are imported at their first use."""

    def __init__(self, name: str, entries: Mapping[str, Entry], *, path: tuple[str, ...] = (), help: str = "") -> None:
        super().__init__(name, help=help, params=talk_options())
        self.entries = entries
        self.path = path

    def all_entries(self, ctx: click.Context) -> Mapping[str, Entry]:
        """Core's entries and what plugins add to this group; core's names win."""
        root = ctx.find_root().command
        contributed = getattr(root, "contributed", None)
        return {**contributed(self.path), **self.entries} if contributed else self.entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(dict.fromkeys([*self.entries, *sorted(self.all_entries(ctx))]))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.entries.get(cmd_name) or self.all_entries(ctx).get(cmd_name)
        return entry.load() if entry else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Found:
        known = args[0] in self.entries or args[0] in self.all_entries(ctx)
        if not known and not ctx.resilient_parsing:
            if (elsewhere := _of_others(self.path, args[0])) is not None:
                raise elsewhere
            raise click.NoSuchCommand(args[0], possibilities=self.list_commands(ctx), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        entries = self.all_entries(ctx)
        with formatter.section("Commands"):
            formatter.write_dl([(name, entries[name].help) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[click.shell_completion.CompletionItem]:
        from click.shell_completion import CompletionItem

        entries = self.all_entries(ctx)
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        if names or not incomplete.startswith("-"):
            return [CompletionItem(name, help=entries[name].help) for name in names]
        return click.Command.shell_complete(self, ctx, incomplete)


def _of_others(path: tuple[str, ...], name: str) -> Exception | None:
    """The error for a command that is known and not there; what cannot be found out is not said."""
    from pegboard.cli import elsewhere

    try:
        return elsewhere.refusal(path, name)
    except Exception:  # the index cannot be read: the doctor tells of that
        return None


def core(target: str, help: str) -> Entry:
    """A command of core, by `module:attribute` below `pegboard.cli`."""

    def load() -> click.Command:
        module, _, attribute = target.partition(":")
        found: click.Command = getattr(import_module(f"pegboard.cli.{module}"), attribute)
        return found

    return Entry(help, load)


def group(name: str, help: str, entries: Mapping[str, Entry]) -> Entry:
    """A group of core."""
    return Entry(help, lambda: LazyGroup(name, entries, path=(name,), help=help), entries)
