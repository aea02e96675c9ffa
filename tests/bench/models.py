"""What pegboard adds to a provider's SDK: for a turn, for each delta, for a crowd of runs, for a long conversation.

    python tests/bench/models.py [--rounds 15] [--wires anthropic,gemini] [--write]

A local server answers (`model_server.py`), a process of its own. Each contender is one, too: `model_bare.py` reads the
bare SDK's stream to its end, `model_pegboard.py` does so through us, and both check every delta that they are given.
They live through all rounds and take orders in turn, so that a busy machine slows both alike; CPU time of the client
decides, and what counts is the median of the ratios within one round. The exit code is 1 when an aim is missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import model_pegboard
import performance_page
from model_server import DELTAS
from performance_page import short

HERE = Path(__file__).parent
WIRES = ("anthropic", "openai", "openai-chat", "gemini")
TURNS = {"whole": 30, "paced": 10}
"""One after another in one order, by how the server sends an answer."""
PAIRS = 3
"""Processes that rounds are spread over: two of the same program differ by some percent as long as they live."""
CROWD = 500
CROWD_PAIRS = 5
MESSAGES = 1_000
LONG_TURNS = 3
GROWTH = 15.0
"""The most that a run may cost on ten times the messages; what grows with the square costs a hundred times as much."""
TIE = 1.15
"""An aim missed by less than this is a tie: runs on another day differ by as much."""


class Row(NamedTuple):
    """One comparison; `at_most` is the aim, and nothing where none was set."""

    title: str
    ours: float
    bare: float
    ratio: float
    at_most: float | None
    unit: str

    @property
    def verdict(self) -> str:
        """`met`, `tie`, `missed`, or nothing."""
        if self.at_most is None:
            return ""
        return "met" if self.ratio <= self.at_most else "tie" if self.ratio <= self.at_most * TIE else "missed"

    @property
    def cells(self) -> tuple[str, ...]:
        """As a row of the table."""
        aim = "" if self.at_most is None else f"<= {self.at_most:g}"
        return (self.title, f"{short(self.ours)} {self.unit}", short(self.bare), short3(self.ratio), aim, self.verdict)


HEAD = ("row", "pegboard", "the SDK", "ratio", "aim", "")


def short3(ratio: float) -> str:
    """A ratio; those that are near 1 need a digit more."""
    return f"{ratio:.3f}" if ratio < 10 else short(ratio)


# --- processes ---------------------------------------------------------------------------------------------------


class Process:
    """A contender that takes orders."""

    def __init__(self, stack: ExitStack, script: str, *arguments: str) -> None:
        self._name = " ".join((script, *arguments))
        self._process = stack.enter_context(spoken_to(script, *arguments))

    def do(self, **order: Any) -> Mapping[str, Any]:
        """What carrying out an order took. Raises `SystemExit` for a wrong answer."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise SystemExit(f"`{self._name}` ended with {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        if found["wrong"]:
            raise SystemExit(f"`{self._name}` lost or mixed something: {found['wrong'][:3]}")
        return found


@contextmanager
def spoken_to(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A script that ends with its standard input."""
    command = [sys.executable, str(HERE / script), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


class Both(NamedTuple):
    """What an order took both contenders."""

    ours: Mapping[str, Any]
    bare: Mapping[str, Any]


class Pair:
    """Both contenders on one wire."""

    def __init__(self, stack: ExitStack, wire: str, url: str) -> None:
        self.wire = wire
        self._bare = Process(stack, "model_bare.py", wire, url)
        self._ours = Process(stack, "model_pegboard.py", wire, url)

    def rounds(self, number: int, *kinds: str, **order: Any) -> list[list[Both]]:
        """What each kind of order took both, in some rounds after one that warms up: a list for each kind."""
        params = model_pegboard.params(self.wire, order.get("history", 0))
        taken: list[list[Both]] = [[] for _ in kinds]
        for place in range(number + 1):
            first = self._bare.do(params=params, **order) if place % 2 else None  # who begins, changes
            ours = [self._ours.do(kind=kind, **order) for kind in kinds]
            bare = first or self._bare.do(params=params, **order)
            for of_kind, mine in zip(taken, ours, strict=True):
                self._check(mine, bare)
                of_kind.append(Both(mine, bare))
        return [of_kind[1:] for of_kind in taken]

    def _check(self, ours: Mapping[str, Any], bare: Mapping[str, Any]) -> None:
        """Both must have sent the same; the server counts the bytes. A key of ours has another length."""
        sent, same = ours["input_tokens"], bare["input_tokens"]
        if abs(sent - same) > 64:
            raise SystemExit(f"{self.wire}: {sent} bytes were sent instead of {same}")


def compared(title: str, taken: Sequence[Both], turns: int, at_most: float | None, *, peak: bool = False) -> Row:
    """The medians of some rounds, and that of the ratios within each."""
    name, scale, unit = ("peak_mib", 1.0, "MiB") if peak else ("cpu_s", 1e6 / turns, "µs")
    ours, bare = [both.ours[name] * scale for both in taken], [both.bare[name] * scale for both in taken]
    ratio = median(mine / other for mine, other in zip(ours, bare, strict=True))
    return Row(title, median(ours), median(bare), ratio, at_most, unit)


# --- what is measured --------------------------------------------------------------------------------------------


def turns(url: str, wire: str, rounds: int) -> Iterator[Row]:
    """A turn alone, a whole run, and the memory of the process."""
    for path, number in TURNS.items():
        how = f"{DELTAS} deltas {'at once' if path == 'whole' else 'one by one'}"
        numbers, turn, run = list(range(number)), list[Both](), list[Both]()
        for _ in range(PAIRS):
            with ExitStack() as stack:
                pair = Pair(stack, wire, f"{url}/{path}")
                (alone,) = pair.rounds(1, "turn", numbers=numbers)
                more, more_runs = pair.rounds(-(-rounds // PAIRS), "turn", "run", numbers=numbers)
                turn, run = turn + more, run + more_runs
        yield compared(f"{wire}: a turn, {how}", turn, number, 1.10)
        yield compared(f"{wire}: a run on a board, {how}", run, number, None)
        if path == "whole":
            yield compared(f"{wire}: peak memory, turns alone", alone, number, 1.10, peak=True)
            yield compared(f"{wire}: peak memory, with a board", run[-1:], number, None, peak=True)


def deltas(url: str, wire: str, rounds: int) -> Iterator[Row]:
    """What we add to one delta, in microseconds; the SDK's objects come from a list."""
    command = [sys.executable, str(HERE / "model_deltas.py"), wire, f"{url}/whole", str(rounds)]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    for way, at_most in (("batched", 3.0), ("alone", 4.0)):
        added, floor = found[way], found[f"{way}, the floor"]
        yield Row(f"{wire}: added to each delta, {way}", added + floor, floor, added, at_most, "µs")


def crowd(url: str, wire: str) -> Iterator[Row]:
    """Many runs at once."""
    with ExitStack() as stack:
        pair = Pair(stack, wire, f"{url}/paced")
        (taken,) = pair.rounds(CROWD_PAIRS, "run", numbers=list(range(CROWD)), at_once=True)
    yield compared(f"{wire}: {CROWD} runs at once, each", taken, CROWD, 1.3)


def long_conversation(url: str, wire: str, rounds: int) -> Iterator[Row]:
    """A run on a conversation of a thousand messages and on one of ten times as many."""
    with ExitStack() as stack:
        pair = Pair(stack, wire, f"{url}/whole")
        less, more = (_on(pair, count, rounds) for count in (MESSAGES, 10 * MESSAGES))
    yield from (less, more)
    grown = more.ours / less.ours
    yield Row(f"{wire}: growth with ten times the messages", grown, more.bare / less.bare, grown, GROWTH, "times")


def _on(pair: Pair, count: int, rounds: int) -> Row:
    (taken,) = pair.rounds(rounds, "run", numbers=list(range(LONG_TURNS)), history=count)
    return compared(f"{pair.wire}: a run on {count:,} messages", taken, LONG_TURNS, None)


def measure(wires: Sequence[str], rounds: int, *, is_short: bool) -> Iterator[Row]:
    """Every row, as it is measured; a short run leaves the crowd and the long conversation to the first wire."""
    with spoken_to("model_server.py") as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        for wire in wires:
            yield from turns(url, wire, rounds)
            yield from deltas(url, wire, rounds)
        for wire in wires[: 1 if is_short else None]:
            yield from crowd(url, wire)
            yield from long_conversation(url, wire, max(3, rounds // 3))


def write(rows: Sequence[Row], rounds: int) -> None:
    """The section of the page."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("anthropic", "openai", "google-genai"))
    said = performance_page.conditions(
        "models",
        f"{performance_page.rounds(rounds)} in turn, {CROWD_PAIRS} of the crowd; medians, CPU time of the client",
        performance_page.load(),
        versions,
    )
    performance_page.write(
        "models", "## A turn of a model", performance_page.table(HEAD, (row.cells for row in rows)), said
    )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--wires", default=",".join(WIRES), help="which of them, with commas between")
    parser.add_argument("--short", action="store_true", help="the crowd and the long conversation on one wire alone")
    performance_page.add_option(parser)
    options = parser.parse_args()
    rows = []
    for row in measure(options.wires.split(","), options.rounds, is_short=options.short):
        rows.append(row)
        print(*row.cells, sep="  ", flush=True)
    if options.write:
        write(rows, options.rounds)
    return performance_page.exit_code(options, met=all(row.verdict != "missed" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
