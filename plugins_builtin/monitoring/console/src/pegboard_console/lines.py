"""What is said of each event: one function per kind, from the event to a few words and a tone.

Nothing here trusts an event to be complete: a key that is missing leaves its words out. Texts of models, tools and
plugins pass `visible` before they become part of a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, NamedTuple

from pegboard.events import Event

from pegboard_console.text import visible

Verbosity = Literal["quiet", "normal", "verbose"]
Tone = Literal["plain", "good", "bad", "warn", "faint"]

_RANK: Final[dict[Verbosity, int]] = {"quiet": 0, "normal": 1, "verbose": 2}


class Line(NamedTuple):
    """One line, without the run it belongs to."""

    words: str
    tone: Tone = "plain"


def line_for(event: Event, verbosity: Verbosity) -> Line | None:
    """What to say of an event, or `None` where it is too small for this verbosity."""
    least, say = _KINDS.get(event.kind, ("verbose", _anything))
    return say(event) if _RANK[least] <= _RANK[verbosity] else None


def unsaid(verbosity: Verbosity) -> frozenset[str]:
    """The kinds of which nothing is said, and that need not be seen either: where a run begins and ends they do."""
    silent = {kind for kind, (least, _) in _KINDS.items() if _RANK[least] > _RANK[verbosity]}
    return frozenset(silent - {"run.started", "run.finished"})


def summary(event: Event) -> Line:
    """The end of a run in one line; what was degraded was said when it happened, and is only counted."""
    data = event.data
    reason = str(data.get("end_reason", "unknown"))
    degraded = f"{len(data['degraded'])} degraded" if data.get("degraded") else ""
    used = [] if _used_nothing(data) else [_tokens(data.get("usage")), _cost(data)]
    facts = [_duration(data.get("duration_ms")), *used, degraded]
    words = f"finished: {visible(reason)}{_listed(facts)}"
    return Line(words, "good" if reason == "completed" else "bad")


def _child_finished(event: Event) -> Line:
    """The same for a run inside another one, which several may be at once."""
    line = summary(event)
    return Line(f"{visible(event.agent)} {line.words}", line.tone) if event.agent else line


def _used_nothing(data: dict[str, Any]) -> bool:
    """Whether no model was asked: that this cost nothing says nothing."""
    usage = data.get("usage")
    return not data.get("cost_usd") and (_field(usage, "input_tokens"), _field(usage, "output_tokens")) == (0, 0)


def _run_started(event: Event) -> Line:
    data = event.data
    agent = visible(data.get("agent") or event.agent or "agent")
    version = f" {visible(data['version'])}" if data.get("version") not in (None, "", "0") else ""
    model = f" with {visible(data['model'])}" if data.get("model") else ""
    task = data.get("input")
    said = f": {visible(task)}" if isinstance(task, str) and task else ""
    return Line(f"started {agent}{version}{model}{said}")


def _run_resumed(event: Event) -> Line:
    return Line(f"resumed {visible(event.agent)}" if event.agent else "resumed")


def _model_chosen(event: Event) -> Line:
    return Line(f"model {visible(event.data.get('model', '?'))}: {visible(event.data.get('why', ''))}")


def _phase_entered(event: Event) -> Line:
    return Line(f"phase {visible(event.data.get('phase', '?'))}", "faint")


def _phase_left(event: Event) -> Line:
    data = event.data
    outcome = visible(data.get("outcome") or "left")
    return Line(
        f"phase {visible(data.get('phase', '?'))}: {outcome}{_listed([_duration(data.get('duration_ms'))])}", "faint"
    )


def _phase_error(event: Event) -> Line:
    data = event.data
    decision = f"; {visible(data['decision'])}" if isinstance(data.get("decision"), str) else ""
    return Line(f"error in phase {visible(data.get('phase', '?'))}: {_fault(data)}{decision}", "bad")


def _step_started(event: Event) -> Line:
    return Line(f"{_operation(event)} started", "faint")


def _step_done(event: Event) -> Line:
    data = event.data
    status = data.get("status")
    went_wrong = status not in (None, "ok", "completed")
    facts = [_duration(data.get("duration_ms")), _tokens(data["usage"]) if "usage" in data else _total(data)]
    why = f": {_fault(data)}" if went_wrong and data.get("message") else ""
    return Line(
        f"{_operation(event)} {visible(status) if went_wrong else 'done'}{why}{_listed(facts)}",
        "warn" if went_wrong else "plain",
    )


def is_told_otherwise(event: Event) -> bool:
    """Whether an event is the good end of a step that only holds others: a child run tells of its own end, and what a
    plugin does in steps of its own it tells by events of its own. That it was cancelled the run tells, too.
    """
    if event.kind == "step.failed":
        return event.data.get("code") == "cancelled"
    if event.kind != "step.done" or event.data.get("status") not in (None, "ok", "completed"):
        return False
    return str(event.data.get("op")).partition(":")[0] in ("agent.call", "plugin")


def is_plain_to_see(event: Event) -> bool:
    """Whether whoever talks with the agent has seen it already: it was asked, a model took it, and answered."""
    if event.kind == "step.done":
        return event.data.get("op") == "model.request" and event.data.get("status") in (None, "ok", "completed")
    return event.kind in ("run.started", "model.chosen")


def _step_failed(event: Event) -> Line:
    if event.data.get("code") == "cancelled":
        return Line(f"{_operation(event)} cancelled", "faint")
    return Line(f"{_operation(event)} failed: {_fault(event.data)}", "bad")


def _attempt_reset(event: Event) -> Line:
    attempt = event.data.get("attempt")
    return Line(
        f"{visible(event.data.get('step', 'step'))} again" + (f", attempt {attempt}" if attempt else ""), "warn"
    )


def _approval_requested(event: Event) -> Line:
    data = event.data
    prompts = data.get("prompts")
    asked = "; ".join(map(visible, prompts)) if isinstance(prompts, (list, tuple)) else ""
    return Line(
        f"approval needed for {visible(data.get('resource', 'an effect'))}" + (f": {asked}" if asked else ""), "warn"
    )


def _approval_decided(event: Event) -> Line:
    data = event.data
    by = f" by {visible(data['by'])}" if data.get("by") else ""
    return Line(
        f"approval {'granted' if data.get('granted') else 'denied'}{by}", "good" if data.get("granted") else "warn"
    )


def _degraded(event: Event) -> Line:
    return _degradation({**event.data, "plugin": event.data.get("plugin") or event.plugin})


def _plugin_fault(event: Event) -> Line:
    data = event.data
    plugin = visible(data.get("plugin") or event.plugin or "?")
    hook = f" in {visible(data['hook'])}" if data.get("hook") else ""
    return Line(f"plugin `{plugin}` failed{hook}: {_fault(data)}", "bad")


def _plugin_state(event: Event) -> Line:
    data = event.data
    plugin = visible(data.get("plugin") or event.plugin or "?")
    reason = f": {visible(data['reason'])}" if data.get("reason") else ""
    return Line(f"plugin `{plugin}` is {visible(data.get('to') or '?')}{reason}", "warn")


def _budget_warning(event: Event) -> Line:
    data = event.data
    share = data.get("share")
    used = f"{share:.0%} of the limit" if isinstance(share, (int, float)) else "the limit is near"
    return Line(f"budget {visible(data.get('unit') or data.get('account') or '')}: {used}", "warn")


def _tool_loop(event: Event) -> Line:
    data = event.data
    action = f", {visible(data['action'])}" if data.get("action") else ""
    return Line(f"tool {visible(data.get('tool', '?'))}: same result {data.get('count', 'many')} times{action}", "warn")


def _output_invalid(event: Event) -> Line:
    return Line(f"answer does not fit the output schema: {visible(event.data.get('errors', ''))}", "warn")


def _anything(event: Event) -> Line:
    facts = [f"{key}={visible(value, 60)}" for key, value in event.data.items() if isinstance(value, (str, int, float))]
    return Line(" ".join([visible(event.kind), *facts]), "faint")


def _workflow_node(event: Event) -> Line:
    data = event.data
    why = data.get("reason") or data.get("code")
    state = visible(data.get("state") or "?")
    return Line(
        f"node {visible(data.get('node', '?'))} {state}" + (f": {visible(why)}" if why else ""),
        "bad" if state == "failed" else "faint",
    )


def _recovery_waiting(event: Event) -> Line:
    seconds = event.data.get("seconds")
    length = f": {seconds:.0f} s" if isinstance(seconds, (int, float)) else ""
    return Line(f"waiting for {visible(event.data.get('provider', '?'))}{length}", "warn")


def _plainly(words: str, tone: Tone) -> Callable[[Event], Line]:
    """For kinds that need no more than a reason."""

    def say(event: Event) -> Line:
        reason = event.data.get("reason") or event.data.get("why") or event.data.get("message")
        return Line(f"{words}: {visible(reason)}" if reason else words, tone)

    return say


_KINDS: Final[dict[str, tuple[Verbosity, Callable[[Event], Line]]]] = {
    "run.started": ("normal", _run_started),
    "run.finished": ("quiet", _child_finished),
    "run.paused": ("quiet", _plainly("paused", "warn")),
    "run.resumed": ("normal", _run_resumed),
    "run.cancelled": ("quiet", _plainly("cancelled", "warn")),
    "run.degraded": ("quiet", _degraded),
    "phase.entered": ("verbose", _phase_entered),
    "phase.left": ("verbose", _phase_left),
    "phase.error": ("quiet", _phase_error),
    "step.started": ("verbose", _step_started),
    "step.done": ("normal", _step_done),
    "step.failed": ("quiet", _step_failed),
    "step.attempt_reset": ("normal", _attempt_reset),
    "approval.requested": ("quiet", _approval_requested),
    "approval.decided": ("quiet", _approval_decided),
    "budget.warning": ("quiet", _budget_warning),
    "tool.loop": ("normal", _tool_loop),
    "output.invalid": ("normal", _output_invalid),
    "cleanup.error": ("quiet", _plainly("error while cleaning up", "bad")),
    "model.chosen": ("normal", _model_chosen),
    "model.setting_ignored": ("normal", _anything),
    "plugin.fault": ("quiet", _plugin_fault),
    "plugin.state": ("verbose", _plugin_state),
    "recovery.waiting": ("normal", _recovery_waiting),
    "workflow.node": ("verbose", _workflow_node),
}
"""From which verbosity on a kind is shown, and how; any other kind is shown as it is when verbose."""


# --- words -----------------------------------------------------------------------------------------------------------


def _operation(event: Event) -> str:
    """`model.request` and `tool.call:add` in words."""
    op = str(event.data.get("op") or event.data.get("step") or "step")
    family, _, name = op.partition(":")
    match family:
        case "model.request":
            return "model"
        case "tool.call":
            return f"tool {visible(name or event.data.get('name', '?'))}"
        case "agent.call":
            return f"agent {visible(name or event.data.get('name', '?'))}"
        case _:
            return visible(op)


def _fault(data: dict[str, Any]) -> str:
    code = data.get("code") or data.get("error_code")
    message = visible(data.get("message") or data.get("outcome") or "no message")
    return f"{message} ({visible(code)})" if code else message


def _degradation(part: Any) -> Line:
    plugin, code = _field(part, "plugin"), _field(part, "code")
    what, why = visible(_field(part, "what") or "something"), visible(_field(part, "why") or "")
    who = f"plugin `{visible(plugin)}` " if plugin else ""
    return Line(
        f"degraded: {who}{what}" + (f": {why}" if why else "") + (f" ({visible(code)})" if code else ""), "warn"
    )


def _listed(facts: Iterable[str]) -> str:
    said = ", ".join(filter(None, facts))
    return f", {said}" if said else ""


def _duration(milliseconds: Any) -> str:
    if not isinstance(milliseconds, (int, float)):
        return ""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def _tokens(usage: Any) -> str:
    if usage is None:
        return ""
    read, written, cached = (_field(usage, f"{kind}_tokens") for kind in ("input", "output", "cache_read"))
    if read is None or written is None:
        return "tokens unknown"
    from_cache = f" ({count(cached)} cached)" if cached else ""
    return f"{count(read)} in{from_cache}, {count(written)} out"


def _total(data: dict[str, Any]) -> str:
    total = data.get("tokens")
    return f"{count(total)} tokens" if isinstance(total, int) else ""


def _cost(data: dict[str, Any]) -> str:
    cost = data.get("cost_usd")
    if isinstance(cost, (int, float)):
        return f"${cost:.4f}"
    unpriced = ", ".join(map(visible, data.get("unpriced_models") or ()))
    return f"cost unknown ({unpriced})" if unpriced else "cost unknown"


def count(number: int) -> str:
    """A number as a person reads it: `12.4k`."""
    if number < 1000:
        return str(number)
    return f"{number / 1000:.1f}k" if number < 1_000_000 else f"{number / 1_000_000:.1f}M"


def _field(value: Any, name: str) -> Any:
    """A field of a value or of its JSON form: live events hold values, events of a store hold JSON."""
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


__all__ = [
    "Line",
    "Tone",
    "Verbosity",
    "count",
    "is_plain_to_see",
    "is_told_otherwise",
    "line_for",
    "summary",
    "unsaid",
]
