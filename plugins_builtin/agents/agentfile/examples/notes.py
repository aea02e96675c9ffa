"""The tools of the agents in this folder: typed functions, whose docstrings the model reads."""

from __future__ import annotations

from pegboard import tool


@tool(effect="pure")
def checklist() -> list[str]:
    """List what every review looks at."""
    return ["errors that nobody handles", "names that mislead", "tests that cannot fail"]
