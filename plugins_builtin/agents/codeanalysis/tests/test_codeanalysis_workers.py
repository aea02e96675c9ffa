"""The workers and their cache: what is computed once, and what happens when one dies, hangs or cannot keep anything."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pegboard_codeanalysis.analysis.cache import FILE_NAME, Cache, CacheError
from pegboard_codeanalysis.errors import TargetError, WorkerError
from pegboard_codeanalysis.work import workshop as workshops
from pegboard_codeanalysis.work.frames import Request, encoded
from pegboard_codeanalysis.work.workshop import Workshop

from .conftest import FAULTY, SOUND, Write


def computed(project: workshops.Project) -> int:
    return sum(stage.computed for stage in project.stages)


async def test_the_same_files_are_computed_once(write: Write, workshop: Workshop) -> None:
    """A second run over unchanged files finds everything in the cache, and says the same."""
    root = str(write(FAULTY))
    first, second = workshop.project("one", root), workshop.project("two", root)

    before, after = await first.review(), await second.review()

    assert (before, computed(second)) == (after, 0)
    assert computed(first) == 2 * 6  # each Python file by two analysers


async def test_a_changed_file_is_computed_again(write: Write, workshop: Workshop) -> None:
    """Only that file, since the key is its content."""
    root = write(SOUND)
    await workshop.project("one", str(root)).review()
    (root / "shop/cart.py").write_text("def total(items, seen=[]):\n    return undefined\n")
    again = workshop.project("two", str(root))

    found = await again.review()

    assert computed(again) == 2
    assert "F821" in {item.rule for item in found.findings}


async def test_what_two_want_is_computed_once(write: Write, workshop: Workshop) -> None:
    """Two agents of one tree that ask at the same time share the work."""
    project = workshop.project("one", str(write(SOUND)))

    await asyncio.gather(project.architecture(), project.documentation(), project.survey())

    assert [stage.name for stage in project.stages].count("facts") == 1


async def test_a_worker_that_dies_loses_no_result(write: Write, workshop: Workshop) -> None:
    """What it was asked is asked again, and the analysis is whole."""
    root = str(write(SOUND))
    await workshop.project("one", root).survey()
    for pid in workshop.pids:
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(WorkerError, match="SIGKILL"):
        await workshop.project("two", root).survey()

    assert (await workshop.project("three", root).review()).analysed == 4


async def test_a_file_that_kills_its_worker_is_named(
    write: Write, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a chunk dies each of its files is tried alone: one is lost and not all."""
    project = workshop.project("one", str(write(SOUND)))
    ask = workshop.ask

    async def deadly(op: str, type_: object, **arguments: object) -> object:
        if op == "files" and arguments.get("only", "shop/cart.py") == "shop/cart.py":
            raise WorkerError("the worker that did `files` died (SIGSEGV)", kind="died")
        return await ask(op, type_, **arguments)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(workshop, "ask", deadly)

    await project.review()

    assert {item.what for item in project.degraded} == {"shop/cart.py"}


async def test_a_cancelled_question_ends_its_worker(write: Write, workshop: Workshop) -> None:
    """What a worker does for nobody is stopped, and the next question gets a new one."""
    root = str(write({f"m{number}.py": FAULTY["shop/faulty.py"] for number in range(400)}))
    project = workshop.project("one", root)
    taken = (await project.survey()).snapshot
    (pid,) = workshop.pids
    asking = asyncio.create_task(
        workshop.ask("files", object, root=root, digest=taken.digest, kind="security", start=0, stop=400)
    )
    await asyncio.sleep(0)

    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    assert pid not in workshop.pids
    assert (await workshop.project("two", root).survey()).snapshot == taken


async def test_closing_ends_the_processes(write: Write, tmp_path: Path) -> None:
    """Nothing is left behind."""
    workshop = Workshop(lambda: tmp_path / "cache")
    await workshop.project("one", str(write(SOUND))).survey()
    pids = workshop.pids

    await workshop.aclose()

    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


BUSY = """
import sys
from pegboard_codeanalysis.work import worker

class Busy:
    def __init__(self, cache): pass
    def names(self): return {"spin": self.spin}
    def spin(self):
        while True: pass

worker.Operations = Busy
worker.main(sys.argv[1])
"""


def test_a_worker_does_not_outlive_its_host(tmp_path: Path) -> None:
    """Also one that is busy for ever, when the host was killed and could not end it."""
    command = [sys.executable, "-c", BUSY, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as worker:
        assert worker.stdin is not None
        worker.stdin.write(encoded(Request(op="spin", arguments={})))
        worker.stdin.close()  # as the kernel does for a process that is killed

        assert worker.wait(timeout=60) == -signal.SIGKILL


async def test_modules_of_the_target_are_not_imported_by_workers(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The working folder is the analysed one, and full of modules with the names of ours."""
    trap = tmp_path / "trap"
    spring = f"import pathlib\npathlib.Path({str(trap)!r}).touch()\n"
    names = ("bandit", "vulture", "msgspec", "json", "sitecustomize", "usercustomize", "ruff", "griffe")
    root = write({**SOUND, **{f"{name}.py": spring for name in names}})
    monkeypatch.chdir(root)
    monkeypatch.setenv("PYTHONPATH", f".{os.pathsep}{root}")
    workshop = Workshop(lambda: tmp_path / "cache")

    found = await workshop.project("one", str(root)).review()
    await workshop.aclose()

    assert found.analysed == len(names) + 4
    assert not trap.exists()


async def test_without_a_folder_to_keep_things_it_works(write: Write, tmp_path: Path) -> None:
    """A cache that cannot be written is told of, and nothing more."""

    def nowhere() -> Path:
        return tmp_path / "home/file/below"

    (tmp_path / "home/file").write_text("")
    workshop = Workshop(nowhere)
    project = workshop.project("one", str(write(SOUND)))

    found = await project.review()
    await workshop.aclose()

    assert found.analysed == 4
    assert [item.what for item in project.degraded] == ["cache"]


async def test_what_is_no_folder_is_the_callers_fault(workshop: Workshop, tmp_path: Path) -> None:
    """With exit code 2, and the path in it."""
    with pytest.raises(TargetError, match="gone` is no folder") as caught:
        await workshop.project("one", str(tmp_path / "gone")).survey()

    assert caught.value.exit_code == 2


def test_a_broken_cache_is_made_anew(tmp_path: Path) -> None:
    """What is no database is thrown away: it holds nothing that cannot be computed."""
    (tmp_path / FILE_NAME).write_bytes(b"this is no database" * 100)

    with Cache(tmp_path) as cache:
        cache.put("key", b"value")
        assert cache.get("key") == b"value"


def test_a_cache_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """With the path in it."""
    with pytest.raises(CacheError, match="cannot be used"):
        Cache(tmp_path / "gone")
