"""Who answers when a run asks for approval: `--allow` on the command line, else the person at the terminal.

A plugin like any other, through `request_approval`. Where there is no terminal it has no opinion, and the run ends
with `approval.needed`.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pegboard.cli.contract import Output
from pegboard.cli.render import escaped
from pegboard.hookspecs import hookimpl
from pegboard.interfaces import RunContext
from pegboard.threads import DaemonPool
from pegboard.types import Action, Approval, ApprovalRequest

BUDGET = "budget.raise"
"""What `--allow` takes beside tools: each time the budget is short, as much more as the run asks for."""
_ENDING_S = 1.0
_QUESTION = "allow? [o]nce, for this [r]un with the same arguments, [d]eny: "


class Approver:
    """A plugin that answers for the command line."""

    id = "cli-approve"

    def __init__(self, out: Output, allowed: Sequence[str] = ()) -> None:
        self._out = out
        self._allowed = allowed
        self._granted: set[tuple[str, str]] = set()
        """Run and digest of what was granted for a whole run: the digest covers the arguments, so others are asked.

        Kept here, since core's scope `run` is wider: it holds for whatever arguments.
        """
        self._one_at_a_time = asyncio.Lock()
        self._pool = DaemonPool(size=1, name="pegboard-approve")

    @hookimpl
    async def request_approval(self, ctx: RunContext, request: ApprovalRequest) -> Approval | None:
        """Grant what `--allow` names, ask the person about the rest."""
        action = request.action
        if action.verb == "tool.call" and any(covers(pattern, action.resource) for pattern in self._allowed):
            return Approval(id=request.id, granted=True, scope="run", by="command line")
        if action.verb == BUDGET and BUDGET in self._allowed:
            return Approval(id=request.id, granted=True, by="command line")
        if not self._out.interactive or self._out.machine:
            return None
        key = ctx.root, action.digest
        async with self._one_at_a_time:
            if key in self._granted:
                return Approval(id=request.id, granted=True, by="terminal")
            answer = await self._ask(request)
        if answer == "r":
            self._granted.add(key)
        return Approval(
            id=request.id,
            granted=answer in ("o", "r"),
            by="terminal",
            reason="" if answer in ("o", "r") else "the person at the terminal said no",
        )

    async def _ask(self, request: ApprovalRequest) -> str:
        """`o`, `r` or `d`. The end of the input is no; anything else is asked again, since there is no default."""
        print("\n".join(["", *described(request)]), file=sys.stderr)
        while True:
            print(_QUESTION, end="", file=sys.stderr, flush=True)
            line = await self._line()
            word = line.strip().lower()
            if not line or word in ("d", "deny", "n", "no"):
                return "d"
            if word in ("o", "once", "r", "run"):
                return word[0]

    async def _line(self) -> str:
        """A line from the terminal. Whoever is cancelled meanwhile takes none: what is typed next is for others."""
        wake, waker = os.pipe()
        reading = asyncio.ensure_future(self._pool.run(partial(_line, wake)))
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            os.write(waker, b"!")
            await asyncio.wait({reading}, timeout=_ENDING_S)
            raise
        finally:
            os.close(waker)
            reading.add_done_callback(lambda _: os.close(wake))


def name_to_allow(request: Mapping[str, Any] | None) -> str | None:
    """What `--allow` takes for what was asked, by the data of its event; `None` where it takes nothing."""
    verb = (request or {}).get("verb")
    return {"tool.call": (request or {}).get("resource"), BUDGET: BUDGET}.get(str(verb))


def covers(pattern: str, tool: str) -> bool:
    """Whether `--allow PATTERN` names a tool: its exact name, or the beginning of it before a `*` at the end."""
    return tool.startswith(pattern[:-1]) if pattern.endswith("*") else tool == pattern


def described(request: ApprovalRequest) -> list[str]:
    """What is asked, one fact a line; nothing is cut, since the end may be what matters."""
    action: Action = request.action
    arguments = action.arguments if isinstance(action.arguments, dict) else {"": action.arguments}
    if action.verb == BUDGET and isinstance(more := arguments.get("by"), (int, float)):
        amount = f"${more:g}" if action.resource == "cost_usd" else f"{more:g} {escaped(action.resource)}"
        head = f"approval needed: {amount} more for the budget of {escaped(str(arguments.get('of')))}"
        return [head, *(f"  reason: {escaped(prompt)}" for prompt in request.prompts)]
    lines = [f"approval needed: {action.verb} `{escaped(action.resource)}`"]
    lines += [f"  plugin: {escaped(action.owner)}"] if action.owner else []
    lines.append(f"  effect: {action.effect}")
    lines += [f"  argument {escaped(name)}: {escaped(_as_json(value))}" for name, value in arguments.items()]
    return lines + [f"  reason: {escaped(prompt)}" for prompt in request.prompts]


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _line(wake: int) -> str:
    """A line from the terminal, or nothing as soon as there is something to read at `wake`.

    Not through `sys.stdin`: a thread that waits holds its lock, also at the exit.
    """
    if sys.platform != "win32":  # there only sockets can be waited for
        ready, _, _ = select.select([sys.stdin.fileno(), wake], [], [])
        if wake in ready:
            return ""
    return os.read(sys.stdin.fileno(), 1 << 16).decode("utf-8", "replace")
