"""Lives of `code-analysis` on a small repository that are killed, and the report that the next life leaves.

`python -m tests.faults.analysis_lives FOLDER FIRST LAST [STRIDE]` prints `{"tried": …, "killed": …, "problems": […]}`.
A life is killed right before the n-th statement of the store, sync, removal, replaced file, or file of the report that
is written. The next one goes on with the run: what had ended is not begun again, the store is sound, and the report is
that of a life that nobody disturbed, but for ids and times.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple

import pegboard_codeanalysis
import pegboard_git
import pegboard_workflow
from pegboard import Pegboard
from pegboard.errors import RunNotFoundError
from pegboard_codeanalysis.report import folder as reports
from pegboard_sqlite import SqliteStore

from tests.faults import store_lives

RUN = "run"
FOLDERS = [Path(package.__path__[0]) for package in (pegboard_workflow, pegboard_codeanalysis)]
REPORTS = ("report.json", "report.md", "findings.sarif", "report.html")
WHEN = re.compile(
    r'"(made_at|timeline)": (\[[^]]*\]|[\d.e+]+)|<svg class="picture timeline".*?</svg>|\d{4}-\d\d-\d\d \d\d:\d\d UTC'
)
"""What of a report tells times: a life that goes on looks once more for what it has to know again, and says so."""
AUTHOR = {
    **{f"GIT_{role}_{what}": "ada@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    **{f"GIT_{role}_DATE": "2026-01-02T03:04:05Z" for role in ("AUTHOR", "COMMITTER")},
}


class Place(NamedTuple):
    """What is analysed, and where the store and the report of one run are."""

    repository: Path
    folder: Path

    @property
    def store(self) -> Path:
        """The file."""
        return self.folder / "store.db"

    def report(self, name: str) -> Path:
        """A file of the report."""
        return self.folder / ".pegboard" / "reports" / "latest" / name


def repository_in(folder: Path) -> Path:
    """A real plugin as a repository of two commits."""
    source = Path(pegboard_git.__path__[0])
    shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    for words in (["init", "-q"], ["add", "*/p*.py"], ["commit", "-qm", "1"], ["add", "."], ["commit", "-qm", "2"]):
        subprocess.run(["git", *words], cwd=folder, env={**os.environ, **AUTHOR}, check=True)
    return folder


async def life(place: Place) -> str:
    """Begin the run or go on with it; how it ended."""
    async with (
        aclosing(SqliteStore(place.store)) as store,
        Pegboard(store=store, folders=FOLDERS, workspace=place.folder) as board,
    ):
        try:
            result = await board.resume(RUN, check=False)
        except RunNotFoundError:
            result = await board.run("code-analysis", str(place.repository), run=RUN, check=False)
        return f"{result.end_reason} {result.error or ''}".strip()


def cut_at_point(number: int) -> None:
    """End before the n-th point from now on."""
    store_lives.cut_at_point(number)
    for owner, name in ((os, "replace"), (os, "symlink"), (reports, "_put")):
        setattr(owner, name, _counted(getattr(owner, name)))


def _counted(function: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any, **options: Any) -> Any:
        store_lives.at_point()
        return function(*args, **options)

    return counted


# --- what must hold ----------------------------------------------------------------------------------------------


def tried(place: Place, number: int, expected: Any) -> tuple[bool, list[str]]:
    """A life that is cut, a look at what it left, a life that is not; whether it was killed, and what was wrong."""

    def cut_life() -> str:
        cut_at_point(number)
        return asyncio.run(life(place))

    said = store_lives.forked(cut_life)
    if said is not None:
        return False, [] if said == "completed" else [f"was not killed and ended with: {said}"]
    between = look(place)
    ended = store_lives.forked(lambda: asyncio.run(life(place)))
    if ended != "completed":
        return True, [*between["problems"], f"the next life ended with: {ended}"]
    after = look(place)
    problems = [*between["problems"], *after["problems"], *again(between["runs"], after["runs"])]
    if after["total"] != expected["total"]:
        problems.append(f"it came to {after['total']}, and undisturbed to {expected['total']}")
    return True, problems + [f"{name} differs" for name in REPORTS if after["report"][name] != expected["report"][name]]


def again(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What was lost, and the steps that had ended and were begun once more."""
    problems = []
    for run, (events, done) in before.items():
        found, _ = after.get(run, ([], []))
        if found[: len(events)] != events:
            problems.append(f"events of {run} were lost")
        begun = {step for kind, step in found[len(events) :] if kind == "step.started"}
        problems += [f"{step} of {run} was done again" for step in done if step in begun]
    return problems


def look(place: Place) -> dict[str, Any]:
    """What is in the store and in the report, by a process that ends before the next one begins."""
    said = store_lives.forked(lambda: json.dumps(asyncio.run(_looked(place))))
    assert said is not None
    assert not said.startswith("raised"), said
    found: dict[str, Any] = json.loads(said)
    return found


async def _looked(place: Place) -> dict[str, Any]:
    runs, total = {}, None
    async with aclosing(SqliteStore(place.store)) as store:
        problems = list(await store.check())
        for row in await store.runs():
            _, events, steps = await store.load(row.run)
            done = [step.step for step in steps if step.state == "done"]
            runs[row.run] = [(event.kind, event.data.get("step")) for event in events], done
            if row.run == RUN and row.summary is not None:
                total = {
                    name: row.summary[name] for name in ("end_reason", "input_tokens", "output_tokens", "cost_usd")
                }
                total |= {name: row.summary[name] for name in ("confidence", "degraded")}
    written = {name: place.report(name) for name in REPORTS if place.report(name).exists()}
    report = {name: WHEN.sub("", path.read_text(encoding="utf-8")) for name, path in written.items()}
    return {"runs": runs, "problems": problems, "total": total, "report": report}


def main(folder: str, *bounds: str) -> None:
    """One life that nobody disturbs, after one that fills the cache; then one for each number."""
    home = Path(folder)
    os.environ["PEGBOARD_HOME"] = str(home / "home")
    repository = repository_in(home / "repository")
    for place in (Place(repository, home / "warm"), Place(repository, home / "whole")):
        place.folder.mkdir()
        said = store_lives.forked(lambda place=place: asyncio.run(life(place)))  # type: ignore[misc]  # bound at once
        assert said == "completed", said
    expected = look(place)
    count, killed, problems = 0, 0, []
    for number in range(*map(int, bounds)):
        count += 1
        place = Place(repository, home / str(number))
        place.folder.mkdir()
        was_killed, found = tried(place, number, expected)
        killed += was_killed
        problems += [f"point {number}: {problem}" for problem in found]
    print(json.dumps({"tried": count, "killed": killed, "problems": problems}))


if __name__ == "__main__":
    main(*sys.argv[1:])
