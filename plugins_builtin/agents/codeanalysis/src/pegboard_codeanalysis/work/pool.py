"""The host's side of the workers: starts them, asks them, and ends those that hang or die. Never blocks the loop."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from pegboard_codeanalysis.errors import WorkerError
from pegboard_codeanalysis.work import frames
from pegboard_codeanalysis.work.frames import HEAD, Reply, Request

T = TypeVar("T")
SIZE: Final = 2
START: Final = "from pegboard_codeanalysis.work.worker import main; import sys; main(sys.argv[1])"
_GRACE_S: Final = 2.0


class Workers:
    """Up to two worker processes, started at the first question and ended by `aclose`."""

    def __init__(self, folder: Path, size: int = SIZE) -> None:
        self._all = [_Worker(folder) for _ in range(size)]
        self._free = list(self._all)
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._asked = 0

    async def ask(self, op: str, type_: Any, *, limit_s: float, last: bool = False, **arguments: Any) -> Any:
        """The answer to a question, as a value of `type_`; `last` is for what can wait until all else is done.

        Raises:
            WorkerError: the worker died, took too long, or the operation failed; `error.kind` tells which.
        """
        worker = await self._one(int(last))
        try:
            return await worker.ask(op, type_, limit_s, arguments)
        finally:
            self._free.append(worker)
            self._wake()

    async def _one(self, priority: int) -> _Worker:
        """A worker that is free; of those who wait, the first by priority and then by time gets it."""
        while not self._free:
            self._asked += 1
            turn = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (priority, self._asked, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake()  # it was our turn, and is somebody else's now
                raise
        return self._free.pop()

    def _wake(self) -> None:
        while self._waiting and self._free:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return

    async def aclose(self) -> None:
        """End the processes."""
        for worker in self._all:
            await worker.end()

    @property
    def pids(self) -> list[int]:
        """The processes that run."""
        return [worker.process.pid for worker in self._all if worker.process is not None]


class _Worker:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.process: asyncio.subprocess.Process | None = None

    async def ask(self, op: str, type_: Any, limit_s: float, arguments: Mapping[str, Any]) -> Any:
        process = self.process
        if process is None or process.returncode is not None:
            process = self.process = await self._started()
        try:
            async with asyncio.timeout(limit_s):
                data = await _exchange(process, frames.encoded(Request(op, dict(arguments))))
        except TimeoutError as exc:
            await self.end()
            raise WorkerError(f"`{op}` took longer than {limit_s:g} s", kind="timeout") from exc
        except (EOFError, OSError) as exc:
            code = await self.end()
            raise WorkerError(f"the worker that did `{op}` died ({_death(code)})", kind="died") from exc
        except BaseException:
            await asyncio.shield(self.end())  # cancelled: what it does now is for nobody
            raise
        reply = msgspec.msgpack.decode(data, type=Reply[type_])
        if reply.error:
            raise WorkerError(reply.error, kind=reply.kind)
        return reply.value

    async def _started(self) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-c", START, str(self._folder),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                cwd=self._folder, env=_environment(), start_new_session=True,
            )  # fmt: skip
        except OSError as exc:
            raise WorkerError(f"no worker can be started: {exc.strerror}", kind="start") from exc

    async def end(self) -> int | None:
        """End the process, and whatever it has started."""
        process, self.process = self.process, None
        if process is None:
            return None
        if process.stdin is not None:
            process.stdin.close()
        if process.returncode is None:
            _kill(process.pid)
        code = await process.wait()
        transport = getattr(process, "_transport", None)
        if transport is not None:
            transport.close()
        return code


async def _exchange(process: asyncio.subprocess.Process, message: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(message)
    await process.stdin.drain()
    (size,) = HEAD.unpack(await process.stdout.readexactly(HEAD.size))
    return await process.stdout.readexactly(size)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)  # it leads a group of its own, with git and ruff in it
        else:
            os.kill(pid, signal.SIGTERM)


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _environment() -> dict[str, str]:
    """What Python needs to find the same packages; nothing that makes it run somebody's code at its start."""
    dropped = ("PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONWARNINGS", "PYTHONBREAKPOINT", "COVERAGE_PROCESS_START")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    here = str(Path.cwd())
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if Path(path).is_absolute()]
    # Not all of `sys.path`: its first entry may be the folder that is analysed, whose modules are not to be imported.
    paths = [path for path in (*given, str(Path(__file__).parents[2])) if path != here]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
