"""Notices an agent that goes round in circles: the same call with the same result, again and again."""

from __future__ import annotations

import msgspec

from pegboard.run import Run
from pegboard.toolbox import TIERS
from pegboard.types import Text, ToolCall, ToolResult, tool_result

WARN_REPEATS, BLOCK_REPEATS, FINAL_REPEATS = 3, 5, 7


def repeated(run: Run, call: ToolCall) -> ToolResult | None:
    """A refusal, when this very call has given the same result too often."""
    counts = run.loop_counts
    if counts is None:
        return None
    key = _key(call)
    count, text = counts.get(key, (0, ""))
    if count + 1 < BLOCK_REPEATS:
        return None
    counts[key] = (count + 1, text)
    if count + 1 >= FINAL_REPEATS:
        run.wants_final_answer = True
    run.record("tool.loop", {"tool": call.name, "count": count + 1, "action": "blocked"})
    remark = f"blocked: this call gave the same result {count} times; do something else or give the final answer"
    return tool_result(call.id, remark, status="error", code="tool.loop")


def count_repeat(run: Run, call: ToolCall, result: ToolResult) -> ToolResult:
    """The result, with a remark when the same call gave it before."""
    if run.loop_counts is None:
        run.loop_counts = {}
    key, text = _key(call), result.text
    count, before = run.loop_counts.get(key, (0, text))
    count = count + 1 if before == text else 1
    run.loop_counts[key] = (count, text)
    if count < WARN_REPEATS:
        return result
    run.record("tool.loop", {"tool": call.name, "count": count, "action": "warned"})
    remark = Text(f"\n(the same call has given this result {count} times)")
    return msgspec.structs.replace(result, content=(*result.content, remark))


def _key(call: ToolCall) -> tuple[str, bytes]:
    tier, _, rest = call.name.partition(".")
    return (rest if tier in TIERS else call.name), msgspec.json.encode(call.arguments, order="sorted")
