"""A worker: a process that reads requests from stdin and writes replies to stdout until stdin ends.

It is started with the interpreter of the host and without the working folder on its path, so that no module of the
analysed folder can stand in for one of ours.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import sys
import threading
from typing import Any, BinaryIO, Final

import msgspec

from pegboard_codeanalysis.analysis.cache import Cache
from pegboard_codeanalysis.work.frames import Reply, Request, encoded, read
from pegboard_codeanalysis.work.operations import Operations

MEMORY_BYTES: Final = 3 * 1024**3
_RECURSION: Final = 3000
_COLLECT_EVERY: Final = 4


def main(folder: str) -> None:
    """Serve until there are no more requests."""
    requests, replies = _streams()
    threading.Thread(target=_end_with_host, args=(requests.fileno(),), daemon=True).start()
    _limit_memory()
    sys.setrecursionlimit(_RECURSION)
    # Syntax trees are full of circles and die in a moment: looking for them all the time costs a third of the work.
    gc.disable()
    with Cache(folder) as cache:
        operations = Operations(cache).names()
        served = 0
        while (data := read(requests)) is not None:
            request = msgspec.msgpack.decode(data, type=Request)
            replies.write(encoded(_reply(operations, request)))
            replies.flush()
            served += 1
            if served % _COLLECT_EVERY == 0:
                gc.collect()


def _reply(operations: Any, request: Request) -> Reply[Any]:
    try:
        return Reply(value=operations[request.op](**request.arguments))
    except Exception as exc:
        return Reply(error=str(exc) or type(exc).__name__, kind=type(exc).__name__)


def _streams() -> tuple[BinaryIO, BinaryIO]:
    """The two pipes; whatever prints from here on prints to nobody."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    return requests, replies


def _end_with_host(requests: int) -> None:
    """End this process, and what it has started, when the host does not hold the other end of the pipe any more.

    Also a host that was killed: it could not end a worker that is in the middle of something, perhaps for ever.
    """
    if hasattr(select, "poll"):  # not on Windows
        pipe = select.poll()
        pipe.register(requests, 0)  # nothing is asked for; a hang-up is told all the same
        pipe.poll()
        os.killpg(0, signal.SIGKILL)


def _limit_memory() -> None:
    """A hostile file may ask for all the memory that there is: then it gets an error, and the machine goes on."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


if __name__ == "__main__":
    main(sys.argv[1])
