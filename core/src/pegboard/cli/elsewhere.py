"""Commands that are not core's: of a plugin that is off, or of a well-known distribution that is not installed.

Whoever types one learns what to type first. The table is data and no more: nothing is done for these distributions
that is not done for any other.
"""

from __future__ import annotations

from typing import Final

from pegboard.cli.inventory import Inventory
from pegboard.errors import UsageError

COMMANDS: Final = {"chat": "pegboard-chat", "workflow": "pegboard-workflow"}
"""The first word of a command, and the distribution that brings it."""


def refusal(path: tuple[str, ...], name: str) -> UsageError | None:
    """The error for a command that somebody has, or `None` where nobody is known to."""
    words = (*path, name)
    for decision in Inventory().selection.decisions:
        commands = (decision.record.manifest or {}).get("contributes", {}).get("commands", ())
        if any(tuple(command["name"].split())[: len(words)] == words for command in commands):
            return UsageError(
                f"`peg {' '.join(words)}` is of plugin `{decision.id}`, which is off: {decision.message or 'left out'}",
                hint=decision.hint or f"peg plugins info {decision.id}",
            )
    if words[0] not in COMMANDS or path:
        return None
    return UsageError(
        f"`peg {name}` is a command of {COMMANDS[name]}, which is not installed",
        hint=f"peg plugins install {COMMANDS[name]}",
    )
