"""`assert_no_leaks`: each kind of thing that can be left behind is noticed."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pegboard_testing import LeakError, assert_no_leaks


@contextmanager
def thread() -> Iterator[None]:
    stop = threading.Event()
    left = threading.Thread(target=stop.wait, name="left", daemon=True)
    left.start()
    yield
    stop.set()
    left.join()


@contextmanager
def descriptor() -> Iterator[None]:
    number = os.open(os.devnull, os.O_RDONLY)
    yield
    os.close(number)


@contextmanager
def handler() -> Iterator[None]:
    left = logging.NullHandler()
    logging.getLogger("left").addHandler(left)
    yield
    logging.getLogger("left").removeHandler(left)


@contextmanager
def variable() -> Iterator[None]:
    os.environ["LEFT_BEHIND"] = "1"
    yield
    del os.environ["LEFT_BEHIND"]


@contextmanager
def removed_variable() -> Iterator[None]:
    path = os.environ.pop("PATH")
    yield
    os.environ["PATH"] = path


@contextmanager
def path_entry() -> Iterator[None]:
    sys.path.append("/left")
    yield
    sys.path.remove("/left")


@contextmanager
def signal_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    yield
    signal.signal(signal.SIGUSR1, before)


@contextmanager
def folder() -> Iterator[None]:
    before = Path.cwd()
    os.chdir("/")
    yield
    os.chdir(before)


@pytest.mark.parametrize(
    ("leave", "said"),
    [
        (thread, "thread `left`"),
        (descriptor, "descriptor `"),
        (handler, "of left`"),
        (variable, "environment `1`"),
        (removed_variable, "environment `PATH` is gone"),
        (path_entry, "path `/left`"),
        (signal_handler, "signal `SIGUSR1` was"),
        (folder, "folder `current` was"),
    ],
)
def test_a_leak_is_noticed(leave: Callable[[], Iterator[None]], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was left behind is named."""
    monkeypatch.setattr("pegboard_testing.leaks._SETTLE_S", 0.01)
    with (
        ExitStack() as stack,
        pytest.raises(LeakError, match=said.replace("`", "."), check=lambda error: said in str(error)),
        assert_no_leaks(),
    ):
        stack.enter_context(leave())  # type: ignore[arg-type]  # made by `contextmanager`


async def test_a_task_is_noticed() -> None:
    """Inside a loop its tasks count."""
    with pytest.raises(LeakError, match=r"task .left."):
        async with assert_no_leaks():
            left = asyncio.create_task(asyncio.Event().wait(), name="left")
    left.cancel()


async def test_what_ends_by_itself_is_no_leak() -> None:
    """A thread and a task that end are waited for."""
    async with assert_no_leaks():
        thread = threading.Thread(target=lambda: None)
        thread.start()
        asyncio.create_task(asyncio.sleep(0))  # noqa: RUF006  # that nobody holds it is the point


def test_kinds_can_be_ignored() -> None:
    """A test may say what it changes."""
    with variable():
        pass
    with assert_no_leaks(ignore=["environment"]):
        os.environ["LEFT_BEHIND"] = "1"
    del os.environ["LEFT_BEHIND"]


def test_an_error_is_not_hidden() -> None:
    """Where the code fails, its own error is shown."""
    with pytest.raises(KeyError), assert_no_leaks(), variable():
        raise KeyError("own")
