"""What the first complete job costs: `peg run code-analysis` on the source archive of Django, then the same again.

    python tests/bench/codeanalysis.py [--source FOLDER] [--rounds N] [--write]

Without `--source` the archive is fetched with pip. Wall clock of whole processes, each round with an empty cache and
an empty home; memory is that of `peg` and all its children together, sampled. Exits with 1 when an aim is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import performance_page

ARCHIVE = "Django"
LIMIT_S = 60.0
LIMIT_MIB = 1024.0
AGAIN = 0.2
SAMPLE_S = 0.05


class Run(NamedTuple):
    """One call of `peg`."""

    seconds: float
    peak_mib: float
    report: dict[str, object]


def fetched(folder: Path) -> Path:
    """The unpacked source archive; its own build is not run beyond what pip asks of it for its name."""
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True).returncode != 0:
        pip = [shutil.which("uv") or "uv", "run", "--quiet", "--no-project", "--with", "pip", "python", "-m", "pip"]
    wanted = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), ARCHIVE]
    subprocess.run([*pip, *wanted], check=True)
    archive = next(folder.glob("*.tar.gz"))
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


def measured(source: Path, workspace: Path, home: Path) -> Run:
    """One analysis, as a person would start it."""
    env = {**os.environ, "PEGBOARD_HOME": str(home), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "pegboard", "run", "code-analysis", str(source), "--quiet"]
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=workspace, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, memory_mib(process.pid))
            time.sleep(SAMPLE_S)
        seconds = time.perf_counter() - started
        said = process.stdout.read().decode() if process.stdout else ""
    if process.returncode != 0:
        raise SystemExit(f"it ended with {process.returncode}:\n{said}")
    return Run(seconds, peak, json.loads((workspace / ".pegboard/reports/latest/report.json").read_bytes()))


def memory_mib(root: int) -> float:
    """Resident memory of a process and everything below it; what they share counts for each."""
    parents: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.name))
        sizes[int(entry.name)] = int(fields[21]) * os.sysconf("SC_PAGESIZE")
    total, todo = 0, [root]
    while todo:
        pid = todo.pop()
        total += sizes.get(pid, 0)
        todo += parents.get(pid, ())
    return total / 1024 / 1024


def stages(report: Mapping[str, object]) -> str:
    """What took how long."""
    rows = report["timeline"]
    assert isinstance(rows, list)
    return ", ".join(f"{row['name']} {row['end'] - row['start']:.1f} s" for row in rows)


def write(rows: Sequence[tuple[str, float, float]], analysed: str, rounds: int) -> None:
    """The section of the page."""
    cells = [
        (name, performance_page.short(value), f"<= {aim:g}", "met" if value <= aim else "missed")
        for name, value, aim in rows
    ]
    said = performance_page.conditions(
        "codeanalysis",
        f"the best of {performance_page.rounds(rounds)}, each with an empty cache, wall clock of whole processes",
        performance_page.load(),
        analysed,
    )
    table = performance_page.table(("`peg run code-analysis`", "", "aim", ""), cells)
    performance_page.write("codeanalysis", "## The first complete job", table, said)


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", type=Path)
    parser.add_argument("--rounds", type=int, default=1)
    performance_page.add_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pegboard-bench-") as name:
        folder = Path(name)
        source = options.source or fetched(folder)
        pairs = []
        for number in range(options.rounds):
            workspace, home = folder / f"workspace{number}", folder / f"home{number}"
            workspace.mkdir()
            pairs.append((measured(source, workspace, home), measured(source, workspace, home)))
    first, again = min((pair[0] for pair in pairs), key=lambda run: run.seconds), min(pair[1] for pair in pairs)
    figures = first.report["figures"]
    assert isinstance(figures, dict)
    skipped, degraded = first.report["skipped"], first.report["degraded"]
    assert isinstance(skipped, list)
    assert isinstance(degraded, list)
    ratio = again.seconds / first.seconds
    peak = max(run.peak_mib for pair in pairs for run in pair)
    analysed = (
        f"{source.name}: {figures['python_files']:,} Python files, {figures['code_lines']:,} lines of code, "
        f"{figures['test_lines']:,} of tests; {len(skipped):,} left out and listed, {len(degraded)} degraded"
    )
    print(analysed)
    print(f"stages: {stages(first.report)}")
    rows = [
        ("first run, s", first.seconds, LIMIT_S),
        ("peak memory, MiB", peak, LIMIT_MIB),
        ("the same again, share of the first", ratio, AGAIN),
    ]
    for what, value, aim in rows:
        print(f"{what:<36} {value:8.2f}   aim <= {aim:g}   {'ok' if value <= aim else 'MISSED'}")
    if options.write:
        write(rows, analysed, options.rounds)
    return performance_page.exit_code(options, met=all(value <= aim for _, value, aim in rows))


if __name__ == "__main__":
    sys.exit(main())
