"""The names of core's commands, known below the command line, so that every board judges a plugin that wants one alike.

A contract test compares them with the table of the command line.
"""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, ...]] = {
    "init": (),
    "run": (),
    "runs": (
        "list",
        "show",
        "events",
        "prompt",
        "context",
        "explain",
        "diff",
        "resume",
        "fork",
        "replay",
        "resolve",
        "export",
        "prune",
    ),
    "models": ("list", "check"),
    "agents": ("list", "info", "validate"),
    "plugins": (
        "list",
        "info",
        "why",
        "order",
        "trace",
        "install",
        "uninstall",
        "update",
        "enable",
        "disable",
        "grant",
        "revoke",
        "doctor",
        "lock",
        "verify",
        "reindex",
        "new",
        "link",
        "validate",
        "compile",
        "check",
    ),
    "config": ("show", "explain", "schema", "set"),
    "doctor": (),
    "help": (),
    "completion": (),
}
"""Each command of core, with those below it."""

TOOLS = frozenset({"final_output", "read_output"})
"""Tools that core itself offers in a run."""


def claims() -> list[str]:
    """The claims on names of commands that core holds."""
    names = [*COMMANDS, *(f"{name} {child}" for name, children in COMMANDS.items() for child in children)]
    return [f"command:{name}" for name in names]
