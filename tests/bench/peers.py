"""pegboard beside its peers, in one interleaved run: medians, ratios, and whether the aims hold.

    python tests/bench/peers.py HARNESS ENVIRONMENTS [--rounds 5] [--rows abc] [--build] [--write]

The harness and its adapters of the peers, and one environment per peer, lie outside of this repository: see
`tests/bench/README.md`. CPU time and not wall time decides, since the machine may be busy. A result is only compared
with results of the same rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import performance_page
from performance_page import short

ROOT = Path(__file__).resolve().parents[2]
ADAPTER = Path(__file__).with_name("peer_pegboard.py")
OWN_DISTS = ("pegboard", "pegboard-console", "pegboard-replay", "pegboard-testing")
OWN_IMPORT = "from pegboard import Agent, Pegboard, tool"
TIE = 1.3
"""An aim missed by less than this is a tie: runs on different days differ by as much."""
TIMEOUT_S = 180


class Contender(NamedTuple):
    """A peer, or one way to use pegboard."""

    environment: str
    dist: str | None = None
    options: Mapping[str, str] = {}
    """Environment variables of our own adapter."""
    groups: str = ""
    """Rows that are taken, where not all."""


OURS = {
    "pegboard": Contender("pegboard", "pegboard"),
    "pegboard, thread tools": Contender("pegboard", None, {"BENCH_TOOL": "thread"}, "d"),
    "pegboard, default plugins": Contender("pegboard", None, {"BENCH_PLUGINS": "default"}, "cdefg"),
    "pegboard, a stream plugin": Contender("pegboard", None, {"BENCH_PLUGINS": "stream"}, "e"),
}
PEERS = {
    "llm": Contender("llm", "llm"),
    "agno": Contender("agno", "agno"),
    "maf": Contender("maf", "agent-framework-core"),
    "strands": Contender("strands", "strands-agents"),
    "pydanticai": Contender("pydanticai", "pydantic-ai-slim"),
    "openai": Contender("openai", "openai-agents"),
    "langgraph": Contender("langgraph", "langgraph"),
    "adk": Contender("adk", "google-adk"),
}
FLOORS = {"limit": Contender("raw"), "pluggy": Contender("pluggy", "pluggy", groups="a")}
CONTENDERS = {**OURS, **PEERS, **FLOORS}
GROUPS = ("cdeg", "a", "b", "f", "d:async", "n")
"""What one process measures; after the colon the kind of tool."""
BEST = "best"


class Row(NamedTuple):
    """One figure of ours, beside a rival and a floor, each with the most it may be of them."""

    title: str
    metric: str
    rival: str | None = None
    at_most: float | None = None
    floor_at_most: float | None = None
    floor: str = "limit"
    floor_metric: str = ""
    who: str = "pegboard"
    rival_metric: str = ""
    unit: str = "µs"


THREADS, DEFAULT, STREAM = list(OURS)[1:]
PARALLEL_ASYNC = "async_d_par_us_per_call_cpu"
ROWS = (
    Row("a import", "a_import_cpu_ms", BEST, 0.45, 3, "pluggy", unit="ms"),
    Row("a CLI `--help`", "a_cli_cpu_ms", BEST, 0.75, unit="ms"),
    Row("b construct an agent", "b_us_cpu", BEST, 1.0, 15),
    Row("b memory of an agent", "b_kib_per_agent", BEST, 1.0, 4, unit="KiB"),
    Row("n construct and first run", "n_us_cpu", BEST, 0.5, 75),
    Row("c one turn", "c_us_cpu", "llm", 1.0, 45),
    Row("c one turn", "c_us_cpu", "maf", 0.5, who=DEFAULT),
    Row("c one turn, `run_sync`", "c_sync_us_cpu", "llm"),
    Row("d 10 calls in sequence, each", "d_seq_us_per_call_cpu", "maf", 0.3, 18),
    Row("d 10 calls in sequence, each", "d_seq_us_per_call_cpu", "llm", 1.5),
    Row("d in sequence, async tools", "async_d_seq_us_per_call_cpu", "maf"),
    Row("d in sequence", "d_seq_us_per_call_cpu", "maf", who=THREADS),
    Row("d in sequence", "d_seq_us_per_call_cpu", "maf", who=DEFAULT),
    Row("d 10 parallel calls, each", "d_par_us_per_call_cpu", "llm", 1.5, 10),
    Row("d in parallel, against async tools", "d_par_us_per_call_cpu", "maf", 0.4, rival_metric=PARALLEL_ASYNC),
    Row("d in parallel, async tools", PARALLEL_ASYNC, "maf", 0.4, 10),
    Row("d in parallel", "d_par_us_per_call_cpu", "maf", who=THREADS),
    Row("e streaming, each delta", "e_us_per_chunk_cpu", "llm", 1.0, 20),
    Row("e streaming, each delta", "e_us_per_chunk_cpu", "strands", 1.0, who=STREAM),
    Row("f 1,000 at once, wall", "f_wall_s", "llm", 1.0, 2.2, unit="s"),
    Row("f 1,000 at once, CPU of each", "f_cpu_us_per_run", "llm", None, 6),
    Row("f 1,000 at once, growth", "f_rss_growth_mib", "llm", None, 3, unit="MiB"),
    Row("f 1,000 at once, CPU of each", "f_cpu_us_per_run", "maf", 0.3, who=DEFAULT),
    Row("g a turn on 1,000 messages", "g_1000_us_cpu", "llm", 1.0, 2, "pegboard", "g_10_us_cpu"),
)

Result = dict[str, Any]


# --- measuring ---------------------------------------------------------------------------------------------------


def build(environments: Path) -> None:
    """Install our wheels, compiled and not editable, into the environment `pegboard`."""
    home = environments / "pegboard"
    with tempfile.TemporaryDirectory() as wheels:
        if not home.exists():
            _run("uv", "venv", "-q", "--python", str(environments / "raw" / "bin" / "python"), str(home))
        _run("uv", "build", "-q", "--all-packages", "--wheel", "-o", wheels, cwd=ROOT)
        anew = [part for dist in OWN_DISTS for part in ("--reinstall-package", dist)]
        found = [str(wheel) for dist in OWN_DISTS for wheel in Path(wheels).glob(f"{dist.replace('-', '_')}-0*.whl")]
        _run("uv", "pip", "install", "-q", "-p", str(home / "bin" / "python"), "--compile-bytecode", *anew, *found)


def _run(*command: str, cwd: Path | None = None) -> None:
    subprocess.run(command, cwd=cwd, check=True)


class Bench:
    """Runs children, one after another."""

    def __init__(self, harness: Path, environments: Path) -> None:
        self._harness = harness
        self._environments = environments
        self._peers: Mapping[str, Any] = runpy.run_path(str(harness / "run.py"))["PEERS"]
        self._cassettes = tempfile.mkdtemp(prefix="peers-")

    def present(self) -> list[str]:
        """The contenders whose environment is there."""
        return [name for name, each in CONTENDERS.items() if self._bin(each, "python").exists()]

    def measure(self, name: str, group: str) -> Result:
        """One group of rows of one contender."""
        contender = CONTENDERS[name]
        rows, _, kind = group.partition(":")
        rows = "".join(row for row in rows if not contender.groups or row in contender.groups)
        if not rows or (kind and contender.options):
            return {}
        return self._start(name) if rows == "a" else self._rows(name, rows, kind)

    def version(self, name: str) -> str:
        """The version of a contender's distribution."""
        contender = CONTENDERS[name]
        code = f"from importlib.metadata import version; print(version({contender.dist!r}))"
        command = [str(self._bin(contender, "python")), "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def _bin(self, contender: Contender, program: str) -> Path:
        return self._environments.resolve() / contender.environment / "bin" / program

    def _start(self, name: str) -> Result:
        python = str(self._bin(CONTENDERS[name], "python"))
        _, statement, cli = self._peers.get(name, (None, OWN_IMPORT, ["peg", "--help"]))
        result: Result = {"a_import_cpu_ms": self._child([python, "-c", statement])[1]}
        program = self._bin(CONTENDERS[name], cli[0]) if cli else None
        if cli and program is not None and program.exists():
            self._child([str(program), *cli[1:]])  # not counted: it writes what later starts read
            result["a_cli_cpu_ms"] = self._child([str(program), *cli[1:]])[1]
        return result

    def _rows(self, name: str, rows: str, kind: str) -> Result:
        contender = CONTENDERS[name]
        script = ADAPTER if name in OURS else self._harness / f"peer_{name}.py"
        if not script.exists():
            return {}
        extra = {**contender.options, **({"TOOL": kind} if kind else {})}
        output, _ = self._child([str(self._bin(contender, "python")), str(script), rows], **extra)
        result: Result = json.loads(output.splitlines()[-1])
        return {f"{kind}_{metric}": value for metric, value in result.items()} if kind else result

    def _child(self, command: Sequence[str], **extra: str) -> tuple[str, float]:
        """What a child prints, and its CPU time in milliseconds."""
        own = {"PYTHONPATH": str(self._harness), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"}
        quiet = {"OTEL_SDK_DISABLED": "true", "LLM_USER_PATH": self._cassettes, "PEGBOARD_HOME": self._cassettes}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            command,
            env={**os.environ, **own, **quiet, **extra},
            cwd=self._cassettes,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return done.stdout, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def measure_all(bench: Bench, rounds: int, rows: str, file: Path) -> None:
    """Every contender in turn, group by group, in an order that rotates; each result is a line of `file`."""
    names = bench.present()
    with file.open("w", encoding="utf-8") as results:
        for number in range(rounds):
            turned = names[number % len(names) :] + names[: number % len(names)]
            for group in (group for group in GROUPS if set(group.partition(":")[0]) & set(rows)):
                for name in turned:
                    result = _tried(bench, name, group)
                    if result:
                        line = {"round": number, "who": name, "load": os.getloadavg()[0], **result}
                        results.write(json.dumps(line) + "\n")
                        results.flush()
            print(f"round {number + 1} of {rounds}", file=sys.stderr)


def _tried(bench: Bench, name: str, group: str) -> Result:
    try:
        return bench.measure(name, group)
    except subprocess.CalledProcessError as error:
        print(f"{name} {group}: {(error.stderr or '').strip()[-300:]}", file=sys.stderr)
    except subprocess.TimeoutExpired:
        print(f"{name} {group}: took longer than {TIMEOUT_S} s", file=sys.stderr)
    return {}


# --- judging -----------------------------------------------------------------------------------------------------


class Figures:
    """The medians of a run."""

    def __init__(self, file: Path) -> None:
        self._values: dict[tuple[str, str], list[float]] = {}
        self.loads: list[float] = []
        self.rounds = 0
        for line in file.read_text(encoding="utf-8").splitlines():
            result = json.loads(line)
            who = result.pop("who")
            self.loads.append(result.pop("load"))
            self.rounds = max(self.rounds, result.pop("round") + 1)
            for metric, value in result.items():
                if isinstance(value, (int, float)):
                    self._values.setdefault((who, metric), []).append(value)
                elif "error" in metric:
                    print(f"{who} {metric}: {value}", file=sys.stderr)

    def value(self, who: str | None, metric: str) -> float | None:
        """The median, or `None` where nothing was measured."""
        values = self._values.get((who or "", metric))
        return median(values) if values else None

    def best(self, metric: str) -> str | None:
        """The peer with the smallest median."""
        measured = [name for name in PEERS if self.value(name, metric) is not None]
        return min(measured, key=lambda name: self.value(name, metric) or 0.0, default=None)

    def noise(self, who: str, metric: str) -> float | None:
        """The spread of the rounds, as a share of the median."""
        values = self._values.get((who, metric))
        return (max(values) - min(values)) / median(values) if values and median(values) else None


def table(figures: Figures) -> Iterator[tuple[str, ...]]:
    """The head, then one row for each comparison."""
    yield ("row", "pegboard", "spread", "rival", "theirs", "ratio", "aim", "floor", "ratio", "aim", "")
    for row in ROWS:
        own = figures.value(row.who, row.metric)
        if own is None:
            continue
        rival = figures.best(row.metric) if row.rival == BEST else row.rival
        theirs = figures.value(rival, row.rival_metric or row.metric)
        floor = figures.value(row.floor, row.floor_metric or row.metric) if row.floor_at_most else None
        yield (
            f"{row.title}{row.who.removeprefix('pegboard')}",
            f"{short(own)} {row.unit}",
            _percent(figures.noise(row.who, row.metric)),
            (PEERS[rival].dist or rival) if rival else "",
            short(theirs),
            *_judged(own, theirs, row.at_most),
            short(floor),
            *_judged(own, floor, row.floor_at_most),
            _verdict((own, theirs, row.at_most), (own, floor, row.floor_at_most)),
        )


def _judged(own: float, other: float | None, at_most: float | None) -> tuple[str, str]:
    return (f"{own / other:.2f}" if other else "", f"<= {at_most:g}" if at_most else "")


def _verdict(*comparisons: tuple[float, float | None, float | None]) -> str:
    """`met`, `tie`, `missed`, or nothing where nothing is aimed at; the worse of both counts."""
    excess = [own / other / at_most for own, other, at_most in comparisons if other and at_most]
    if not excess:
        return ""
    return "met" if max(excess) <= 1 else "tie" if max(excess) <= TIE else "missed"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def conditions(bench: Bench, figures: Figures) -> str:
    """What has to be known of a run to compare it with another one."""
    named = [name for name in bench.present() if CONTENDERS[name].dist]
    versions = ", ".join(f"{CONTENDERS[name].dist} {bench.version(name)}" for name in named)
    loads = f"load {min(figures.loads):.1f} to {max(figures.loads):.1f}"
    return performance_page.conditions("peers", f"{performance_page.rounds(figures.rounds)}, medians", loads, versions)


def main() -> int:
    """Measure, print, and say whether every aim holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("harness", type=Path, help="folder with common.py, run.py and the adapters of the peers")
    parser.add_argument("environments", type=Path, help="folder with one environment per peer")
    parser.add_argument("--rounds", type=int, default=5, help="0 only reads the results of an earlier run")
    parser.add_argument("--rows", default="abcdefgn", help="letters of the rows to measure")
    parser.add_argument("--results", type=Path, default=Path(tempfile.gettempdir(), "peers.jsonl"))
    parser.add_argument("--build", action="store_true", help="install our wheels anew before")
    performance_page.add_option(parser)
    arguments = parser.parse_args()
    if arguments.build:
        build(arguments.environments)
    bench = Bench(arguments.harness.resolve(), arguments.environments)
    if arguments.rounds:
        measure_all(bench, arguments.rounds, arguments.rows, arguments.results)
    figures = Figures(arguments.results)
    head, *rows = table(figures)
    remark = conditions(bench, figures)
    print(performance_page.plain(head, rows), remark, sep="\n\n", flush=True)
    if arguments.write:
        performance_page.write("peers", performance_page.table(head, rows), remark)
    return performance_page.exit_code(arguments, met=all(row[-1] != "missed" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
