"""Notices an event loop that stands still, and says which plugin holds it.

A blocking `def` in the loop cannot be interrupted in Python; but its stack can be read from another thread, and the
plugin is found by the files in it, so that calls need not keep note of who is running.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from types import FrameType

from pegboard.errors import HookTimeoutError

Stalled = Callable[[str, str, BaseException], object]
_log = logging.getLogger("pegboard.plugins")


class Watchdog:
    """One daemon thread for one event loop.

    Args:
        roots: root folder (or the one file) of each active plugin, to its id; read anew at each stall.
        stalled: called in the loop, as soon as it runs again, with plugin, function and error.
        limit_s: how long the loop may go without a sign of life.
    """

    def __init__(self, roots: Mapping[str, str], stalled: Stalled, limit_s: float = 1.0) -> None:
        self._roots = roots
        self._stalled = stalled
        self._limit_s = limit_s
        self._stopped = threading.Event()
        self._beat = 0.0

    def start(self) -> None:
        """Watch the running loop, which must belong to the calling thread."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._heartbeat()
        threading.Thread(target=self._watch, name="pegboard-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Let the thread end; nobody waits for it."""
        self._stopped.set()
        self._timer.cancel()

    def _heartbeat(self) -> None:
        self._beat = time.monotonic()
        self._timer = self._loop.call_later(self._limit_s / 4, self._heartbeat)

    def _watch(self) -> None:
        reported = 0.0
        while not self._stopped.wait(self._limit_s / 4):
            beat = self._beat
            # A loop that is driven by `run_sync` rests between two calls, and is not held by anybody then.
            if beat != reported and self._loop.is_running() and time.monotonic() - beat > self._limit_s:
                reported = beat  # once per stall
                self._report(time.monotonic() - beat)

    def _report(self, seconds: float) -> None:
        frame = sys._current_frames().get(self._thread)
        if frame is None or self._stopped.is_set():
            return
        stack = "".join(traceback.format_stack(frame))
        found = self._culprit(frame)
        if found is None:  # the host program's own affair
            return
        plugin, function = found
        error = HookTimeoutError(
            f"plugin `{plugin}` held the event loop for {seconds:.1f} s in `{function}`", plugin=plugin
        )
        _log.warning("%s\n%s", error.message, stack)
        self._loop.call_soon_threadsafe(self._stalled, plugin, function, error)

    def _culprit(self, frame: FrameType | None) -> tuple[str, str] | None:
        """Plugin and outermost of its functions, of the plugin whose code is innermost in the stack."""
        plugin, function = None, ""
        while frame is not None:
            owner = self._owner(frame.f_code.co_filename)
            if plugin is None:
                plugin = owner
            if owner is not None and owner == plugin:
                function = frame.f_code.co_name
            frame = frame.f_back
        return None if plugin is None else (plugin, function)

    def _owner(self, path: str) -> str | None:
        for root, plugin in list(self._roots.items()):
            if path == root or path.startswith(root + os.sep):
                return plugin
        return None
