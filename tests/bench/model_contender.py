"""What both contenders of `models.py` do alike: take orders, one line each, and say what they cost.

A contender is a process of its own that imports nothing which is not its own. An order is a line of JSON on standard
input, its answer one on standard output.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import model_server


class Answered(NamedTuple):
    """What a turn brought."""

    deltas: Sequence[str]
    input_tokens: int | None


Turn = Callable[[], Awaitable[Answered]]


class Contender(Protocol):
    """How a contender takes turns."""

    async def prepare(self, order: Any) -> Sequence[Turn]:
        """A turn for each of `order["numbers"]`, with everything made that a turn need not make itself."""


async def obey(contender: Contender) -> None:
    """Take orders until there are none."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        print(json.dumps(await carry_out(contender, order)), flush=True)


async def carry_out(contender: Contender, order: Any) -> dict[str, Any]:
    """Take the turns of an order, one after another or all at once, and check what they brought."""
    turns = await contender.prepare(order)
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    if order.get("at_once"):
        answers = await asyncio.gather(*(turn() for turn in turns))
    else:
        answers = [await turn() for turn in turns]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "cpu_s": cpu,
        "wall_s": wall,
        "peak_mib": peak_mib(),
        "wrong": wrong(zip(order["numbers"], answers, strict=True)),
        "input_tokens": answers[0].input_tokens,
    }


def wrong(answers: Iterable[tuple[int, Answered]]) -> list[str]:
    """The answers that are not what was asked for, delta by delta."""
    return [
        f"{number}: {answered.deltas}"
        for number, answered in answers
        if list(answered.deltas) != model_server.said(number)
    ]


def peak_mib() -> float:
    """The most memory that this process had."""
    # `ru_maxrss` of a process that was started by a large one begins with that one's.
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
