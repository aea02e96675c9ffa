"""What a start of `peg` costs, against an empty console script and a bare click program in the same environment.

    python tests/bench/startup.py [ROUNDS] [--write]

CPU time of whole processes, rounds interleaved, medians and their ratios: absolute numbers mean nothing on a shared
machine. Needs uv. Exits with 1 when an aim is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import performance_page

CORE = Path(__file__).parents[2] / "core"
PLUGINS = 20
UNRELATED = 500
OWN_COMMANDS = 8
"""How many commands `peg --help` lists without plugins."""

PROGRAM = """
import click

@click.group()
def cli():
    "A bare click program."

for number in range({commands}):
    def act(what):
        "Do something with a few words."
    act.__doc__ = "Do something with a few words."
    cli.command(f"command-{{number}}")(click.option("--what", default="this")(act))

def main():
    cli()
"""
PLUGIN = """
schema = 1
id = "{id}"
summary = "A plugin of the bench"
api = ">=1.0,<2"
entry = "pegboard_{id}.plugin:Plugin"
[hooks.on_event]
[[contributes.tools]]
name = "{id}.act"
[[contributes.commands]]
name = "{id}"
target = "pegboard_{id}.plugin:command"
help = "Do something with a few words."
"""


Times = Mapping[str, list[float]]
"""CPU milliseconds of each round, by probe."""


class Aim(NamedTuple):
    """What is compared with what, and how much of it is allowed.

    With a ratio, `probe` and `base` are probes; else they are an environment and a kind of probe.
    """

    what: str
    probe: str
    base: str
    ratio: float | None = None
    extra_ms: float | None = None


AIMS = (
    Aim("peg --version / empty console script", "none: version", "none: empty", ratio=1.15),
    Aim("peg --help / bare click program", "none: help", "none: click", ratio=1.25),
    Aim("peg plugins list / bare click program", "none: list", "none: click", ratio=1.25),
    Aim(f"peg --help, {PLUGINS} plugins / bare click", "plugins: help", "plugins: click", ratio=1.25),
    Aim(f"peg plugins list, {PLUGINS} plugins / bare click", "plugins: list", "plugins: click", ratio=1.25),
    Aim(f"peg --help, {PLUGINS} plugins / none", "plugins: help", "none: help", ratio=1.2),
    Aim(f"peg plugins list, {PLUGINS} plugins / none", "plugins: list", "none: list", ratio=1.2),
    Aim(f"peg --help, {UNRELATED} unrelated distributions, beyond bare click", "unrelated", "help", extra_ms=0.5),
    Aim(f"peg plugins list, {UNRELATED} unrelated, beyond bare click", "unrelated", "list", extra_ms=0.5),
)
"""A large site-packages costs every Python program, since the import system lists it; ours must not add to that."""


def environment(folder: Path, *, plugins: int = 0, unrelated: int = 0) -> Path:
    """An environment with core, the two programs, plugins, and distributions that have nothing to do with us."""
    run("uv", "venv", "-q", "--python", sys.executable, str(folder))
    run(
        "uv", "pip", "install", "-q", "--compile-bytecode", "-p", str(folder), str(CORE), str(programs(folder, plugins))
    )
    site = next(folder.glob("lib/python*/site-packages"))
    for number in range(plugins):
        distribution(site, f"bench{number}", plugin=True)
    for number in range(unrelated):
        distribution(site, f"other{number}", plugin=False)
    run(str(folder / "bin/python"), "-m", "compileall", "-q", "-x", "plugin_template", str(site))
    for path in (site, *site.glob("*bench*"), *site.glob("*bench*/*")):
        # The index does not trust what was changed just now, and this bench is about a start with a warm one.
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 60))
    return folder


def programs(folder: Path, plugins: int) -> Path:
    """A distribution with an empty console script and a click program of as many commands as `peg` has here."""
    source = folder.with_name(folder.name + "-programs")
    source.mkdir()
    (source / "bench_empty.py").write_text("def main():\n    pass\n")
    (source / "bench_click.py").write_text(PROGRAM.format(commands=OWN_COMMANDS + plugins))
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "programs"\nversion = "1"\n'
        '[project.scripts]\nempty = "bench_empty:main"\nbareclick = "bench_click:main"\n'
        '[tool.hatch.build.targets.wheel]\ninclude = ["*.py"]\n'
    )
    return source


def distribution(site: Path, name: str, *, plugin: bool) -> None:
    """A distribution as an installer leaves it."""
    package = site / f"pegboard_{name}" if plugin else site / name
    package.mkdir()
    (package / "__init__.py").write_text("")
    info = site / f"{package.name}-1.0.dist-info"
    info.mkdir()
    project = f"pegboard-{name}" if plugin else name
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"{package.name}/__init__.py,,\n{info.name}/METADATA,,\n{info.name}/RECORD,,\n")
    points = (
        f"[pegboard.plugins]\n{name} = {package.name}\n" if plugin else f"[console_scripts]\n{name} = {name}:main\n"
    )
    (info / "entry_points.txt").write_text(points)
    if plugin:
        (package / "plugin.py").write_text("raise ImportError('no start may import me')\n")
        (package / "pegboard.toml").write_text(PLUGIN.format(id=name))


def run(*command: str) -> None:
    """Run a command that must work."""
    subprocess.run(command, check=True)


def probes(folders: Mapping[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """Every process that is measured."""
    for name, folder in folders.items():
        bin_ = folder / "bin"
        yield f"{name}: empty", [str(bin_ / "empty")]
        yield f"{name}: click", [str(bin_ / "bareclick"), "--help"]
        yield f"{name}: version", [str(bin_ / "peg"), "--version"]
        yield f"{name}: help", [str(bin_ / "peg"), "--help"]
        yield f"{name}: list", [str(bin_ / "peg"), "plugins", "list"]


def cpu_ms(command: list[str], environ: Mapping[str, str]) -> float:
    """User and system time of one process, in milliseconds."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environ)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1000


def measure(folders: Mapping[str, Path], rounds: int, home: Path) -> Times:
    """The times of each probe; the rounds go through all probes, so that a slow minute hits all alike."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "PEGBOARD_HOME": str(home), "LANG": "C.UTF-8"}
    commands = dict(probes(folders))
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 2):
        for name, command in commands.items():
            spent = cpu_ms(command, environ)
            if number >= 2:  # the first rounds fill the caches
                times[name].append(spent)
    return times


def report(times: Times) -> bool:
    """Print the table; whether every aim is met."""
    met = True
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(json.dumps({name: round(value, 2) for name, value in medians.items()}))
    for name, value in medians.items():
        print(f"{name:24} {value:7.1f} ms")
    print()
    for aim in AIMS:
        good, found = judged(aim, medians, times)
        print(f"{'ok  ' if good else 'MISS'} {aim.what:66} {found}")
        met = met and good
    return met


def judged(aim: Aim, medians: Mapping[str, float], times: Times) -> tuple[bool, str]:
    """Whether an aim is met, and by how much."""
    if aim.ratio is not None:
        ratio = medians[aim.probe] / medians[aim.base]
        return ratio <= aim.ratio, f"{ratio:.2f}x (aim {aim.ratio}x)"
    # A difference of differences of fractions of a millisecond: round by round, so that slow minutes cancel out.
    names = (f"{aim.probe}: {aim.base}", f"{aim.probe}: click", f"none: {aim.base}", "none: click")
    extra = statistics.median((a - b) - (c - d) for a, b, c, d in zip(*(times[n] for n in names), strict=True))
    return extra <= (aim.extra_ms or 0), f"{extra:+.2f} ms (aim {aim.extra_ms} ms)"


def write(times: Times, rounds: int) -> None:
    """The section of the page."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    rows = []
    for aim in AIMS:
        good, found = judged(aim, medians, times)
        own, other = (medians.get(name) for name in (aim.probe, aim.base)) if aim.ratio else (None, None)
        ratio, _, wanted = found.partition(" (aim ")
        cells = (performance_page.short(own), performance_page.short(other), ratio, f"<= {wanted.rstrip(')')}")
        rows.append((aim.what, *cells, "met" if good else "missed"))
    head = ("a start", "ms", "of ms", "ratio", "aim", "")
    said = performance_page.conditions(
        "startup", f"{performance_page.rounds(rounds)}, medians, CPU time of whole processes", performance_page.load()
    )
    performance_page.write("startup", "## A start of `peg`", performance_page.table(head, rows), said)


def main() -> None:
    """Make the environments, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=21)
    performance_page.add_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pegboard-bench-") as name:
        root = Path(name)
        folders = {
            "none": environment(root / "none"),
            "plugins": environment(root / "plugins", plugins=PLUGINS),
            "unrelated": environment(root / "unrelated", unrelated=UNRELATED),
        }
        times = measure(folders, options.rounds, root / "home")
    if options.write:
        write(times, options.rounds)
    sys.exit(performance_page.exit_code(options, met=report(times)))


if __name__ == "__main__":
    main()
