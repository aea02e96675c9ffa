"""The life of the board."""

from __future__ import annotations

from collections.abc import Sequence

from pegboard.hookspecs.marks import hookspec
from pegboard.interfaces import HostContext
from pegboard.types import HealthFinding


@hookspec(kind="notify", since="1.0", replay=True)
async def board_started(ctx: HostContext) -> None:
    """The board is ready.

    When: once, after the first activations; a plugin that activates later is told then.
    Raises: recorded, the others are told.
    Cancel: the start is given up and `board_stopping` follows.
    """


@hookspec(kind="notify", since="1.0")
async def board_stopping(ctx: HostContext) -> None:
    """The board is about to stop.

    When: before plugins are deactivated; every run has ended.
    Raises: recorded, the others are told.
    Cancel: does not apply.
    """


@hookspec(kind="collect", since="1.0", returns=(list, tuple), nobody="no findings")
async def check_health(ctx: HostContext) -> Sequence[HealthFinding] | None:
    """Say how you are.

    When: `peg doctor --deep`, and health requests of a server.
    Return: findings, each `warn` or `fail` with the command that mends it, or `None`.
    Raises: reported as a finding of its own.
    Cancel: nothing to undo.
    """
