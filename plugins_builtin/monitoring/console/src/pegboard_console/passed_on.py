"""What goes up through steps and runs: it is told where it happened, and not again by each that passes it on."""

from __future__ import annotations

from typing import Final, NamedTuple

from pegboard.events import Event

_PASSED_ON: Final = frozenset(("step.failed", "phase.error", "run.degraded"))


class _Origin(NamedTuple):
    """Who told it first."""

    run: str
    what: str


class PassedOn:
    """Remembers of each tree of runs what was told. A child's id begins with that of its parent and a dot."""

    def __init__(self) -> None:
        self._told: dict[str, dict[tuple[bool, str], list[_Origin]]] = {}
        self._faulty: dict[str, set[tuple[str, str]]] = {}
        """What a run does without because a plugin failed, as it will say that itself."""

    def is_news(self, event: Event) -> bool:
        """Whether nobody below, nor an inner step of the same run, told it already; a repeat of the same is news."""
        if event.kind == "plugin.fault":
            self._faulty.setdefault(event.run, set()).add(_skipped(event))
        if event.kind not in _PASSED_ON:
            return True
        data, fault = event.data, event.kind != "run.degraded"
        if not fault and (data.get("what"), data.get("why")) in self._faulty.get(event.run, ()):
            return False
        text = str(data.get("message" if fault else "why"))
        origin = _Origin(event.run, str(data.get("what") or data.get("op") or data.get("phase")))
        tree = self._told.setdefault(event.run.partition(".")[0], {})
        origins = tree.setdefault((fault, text), [])
        if any(_passes_on(origin, other, fault) for other in origins):
            return False
        origins.append(origin)
        return True

    def forget(self, run: str) -> None:
        """A tree came to its end."""
        self._told.pop(run, None)
        self._faulty.pop(run, None)


def _skipped(fault: Event) -> tuple[str, str]:
    plugin = fault.data.get("plugin") or fault.plugin
    return f"plugin `{plugin}`", f"its `{fault.data.get('hook')}` was skipped"


def _passes_on(origin: _Origin, other: _Origin, fault: bool) -> bool:
    below = other.run.startswith(f"{origin.run}.")
    return below or (fault and other.run == origin.run and other.what != origin.what)
