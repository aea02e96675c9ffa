"""Watching."""

from __future__ import annotations

from pegboard.events import Event
from pegboard.hookspecs.marks import hookspec


@hookspec(kind="notify", since="1.0", sync_only=True, nobody="events stay light records")
def on_event(event: Event) -> None:
    """See an event of the log.

    When: each event, after it was recorded; the manifest may name prefixes of kinds (`kinds = ["run.", "step."]`).
        `def` only and no deadline: do nothing that waits. What does I/O keeps a queue of its own, or reads the store.
    Raises: recorded, the others are told.
    Cancel: does not apply.
    """
