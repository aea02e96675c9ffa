"""What a node of a workflow costs, beside the peers and beside a scheduler written by hand: 1,000 wide and 1,000 deep.

    python tests/bench/workflow.py HARNESS ENVIRONMENTS [--rounds 5] [--write]

HARNESS holds `dag.py`, which measures the peers, and ENVIRONMENTS one virtual environment per peer; both lie outside
of this repository, see `tests/bench/README.md`. Without them only the floor is compared. Nodes are async functions
that return at once, so what is left is what the graph costs. Processes take turns, and CPU time decides.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median
from typing import NamedTuple

import performance_page
from pegboard import Pegboard
from pegboard_workflow import Flow, WorkflowAgent

NODES = 1000
REPEATS = 5
TIMEOUT_S = 180
PEERS = {
    "agent-framework": ("maf", "i_maf_fanout_us_per_node_cpu"),
    "langgraph": ("langgraph", "i_langgraph_static_us_per_node_cpu"),
}


class Aim(NamedTuple):
    """The most that one figure may be of another."""

    ours: str
    other: str
    ratio: float


AIMS = [
    *(Aim(f"pegboard {shape}", "best peer", 0.10) for shape in ("wide", "deep")),
    *(Aim(f"pegboard {shape}", f"graphlib + gather {shape}", 2.5) for shape in ("wide", "deep")),
]


# --- what is measured in a process of its own --------------------------------------------------------------------


async def node(i: int) -> int:
    """A trivial node."""
    return i


async def source() -> int:
    """What all nodes of a wide graph wait for."""
    return 0


async def join(values: list[int]) -> int:
    """What waits for all nodes of a wide graph."""
    return sum(values)


def wide() -> WorkflowAgent:
    """One node, then a thousand that need it, then one that needs those."""
    flow = Flow("wide")
    first = flow.add("source", run=source, inputs={})
    each = [flow.add(f"n{i}", run=node, inputs={"i": i}, needs=[first]) for i in range(NODES)]
    flow.add("join", run=join, inputs={"values": each})
    return flow.agent()


def deep() -> WorkflowAgent:
    """Each node needs the one before, and is given what it gave."""
    flow = Flow("deep")
    last = flow.add("n0", run=node, inputs={"i": 1})
    for i in range(1, NODES):
        last = flow.add(f"n{i}", run=node, inputs={"i": last})
    return flow.agent()


async def by_hand(needs: Mapping[str, Sequence[str]], work: Callable[[str], Awaitable[int]]) -> dict[str, int]:
    """A scheduler of ten lines: level by level, without events, records or limits."""
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    results: dict[str, int] = {}
    while sorter.is_active():
        ready = sorter.get_ready()
        for name, value in zip(ready, await asyncio.gather(*map(work, ready)), strict=True):
            results[name] = value
            sorter.done(name)
    return results


async def per_node_us(run: Callable[[], Awaitable[object]]) -> float:
    """CPU time of one node in microseconds, the median of some repeats after a first one that warms up."""
    await run()
    taken = []
    for _ in range(REPEATS):
        began = time.process_time()
        for _ in range(4):
            await run()
        taken.append((time.process_time() - began) / 4 / NODES * 1e6)
    return median(taken)


async def measure() -> dict[str, float]:
    """Our figures and the floor's, in turn."""
    names = [f"n{i}" for i in range(NODES)]
    numbers = {name: i for i, name in enumerate(names)}
    graphs: dict[str, dict[str, list[str]]] = {
        "wide": {**{name: ["source"] for name in names}, "join": names},
        "deep": {name: [names[i - 1]] if i else [] for i, name in enumerate(names)},
    }
    found: dict[str, float] = {}
    async with Pegboard() as board:
        for shape, make in (("wide", wide), ("deep", deep)):
            began = time.process_time()
            agent = make()
            found[f"pegboard {shape}, built"] = (time.process_time() - began) / NODES * 1e6
            found[f"pegboard {shape}"] = await per_node_us(lambda agent=agent: board.run(agent, "go"))  # type: ignore[misc]  # binds the loop's value
            found[f"graphlib + gather {shape}"] = await per_node_us(
                lambda graph=graphs[shape]: by_hand(graph, lambda name: node(numbers.get(name, 0)))  # type: ignore[misc]  # likewise
            )
    return found


# --- rounds ------------------------------------------------------------------------------------------------------


def own() -> dict[str, float]:
    """Our figures from a fresh process."""
    return _json([sys.executable, __file__, "--measure"])


def peer(harness: Path, environments: Path, name: str) -> dict[str, float]:
    """The figure of a peer; nothing where it is not there."""
    environment, metric = PEERS[name]
    python = environments / environment / "bin" / "python"
    if not python.exists():
        return {}
    found = _json([str(python), str(harness / "dag.py"), environment])
    return {name: found[metric]}


def _json(command: list[str]) -> dict[str, float]:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_S, env={**os.environ, "N": str(NODES)}
    )
    if done.returncode != 0:
        raise SystemExit(f"{command[-2:]} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def figures(harness: Path | None, environments: Path | None, rounds: int) -> dict[str, float]:
    """Medians over rounds in which everybody takes a turn."""
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        found = own()
        if harness is not None and environments is not None:
            for name in PEERS:
                found |= peer(harness, environments, name)
        for name, value in found.items():
            taken.setdefault(name, []).append(value)
    medians = {name: median(values) for name, values in taken.items()}
    there = [medians[name] for name in PEERS if name in medians]
    return {**medians, "best peer": min(there)} if there else medians


def report(found: Mapping[str, float]) -> bool:
    """Print figures and ratios; whether every aim that can be judged holds."""
    for name, value in found.items():
        print(f"{name:32} {value:8.2f} µs a node")
    missed = False
    for aim in AIMS:
        if aim.other not in found:
            print(f"not judged: {aim.ours} / {aim.other}")
            continue
        ratio = found[aim.ours] / found[aim.other]
        verdict = "ok" if ratio <= aim.ratio else "MISSED"
        missed = missed or ratio > aim.ratio
        print(f"{aim.ours} / {aim.other}: {ratio:.3f}, aim {aim.ratio}: {verdict}")
    return not missed


def write(found: Mapping[str, float], rounds: int) -> None:
    """The section of the page."""
    short, table = performance_page.short, performance_page.table
    figures = [(name, short(value)) for name, value in found.items()]
    aims = []
    for aim in AIMS:
        ratio = found[aim.ours] / found[aim.other] if aim.other in found else None
        verdict = "not measured" if ratio is None else "met" if ratio <= aim.ratio else "missed"
        aims.append((f"{aim.ours} / {aim.other}", short(ratio), f"<= {aim.ratio:g}", verdict))
    said = performance_page.conditions(
        "workflow",
        f"{NODES:,} nodes that return at once; {performance_page.rounds(rounds)}, in processes of their own, medians",
        performance_page.load(),
    )
    performance_page.write(
        "workflow",
        "## A node of a workflow",
        table(("a node", "µs of CPU"), figures),
        table(("compared", "ratio", "aim", ""), aims),
        said,
    )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("harness", type=Path, nargs="?")
    parser.add_argument("environments", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", action="store_true", help="one round of ours, as JSON")
    performance_page.add_option(parser)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(asyncio.run(measure())))
        return 0
    found = figures(options.harness, options.environments, options.rounds)
    if options.write:
        write(found, options.rounds)
    return performance_page.exit_code(options, met=report(found))


if __name__ == "__main__":
    sys.exit(main())
