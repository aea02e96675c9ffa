"""Plugins that are ready but not imported: the first call of one of their hooks activates them.

An activation runs in a task of its own, so that a cancelled caller does not leave a plugin half active, and several
callers wait for the same one. What is called from inside an activation never waits for another that is under way:
it goes on without that plugin, and so no circle of plugins can wait for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextvars import ContextVar

from pegboard.plugins.dispatch.calls import goes_up

Activate = Callable[[], Awaitable[object]]
_within: ContextVar[bool] = ContextVar("pegboard_within_activation", default=False)


class Stubs:
    """The hooks of plugins that are not active yet."""

    def __init__(self, settled: Callable[[str, Collection[str], BaseException | None], None]) -> None:
        self._settled = settled
        self._activations: dict[str, Activate] = {}
        self._hooks: dict[str, frozenset[str]] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    def add(self, plugin: str, hooks: Iterable[str], activate: Activate) -> None:
        """`activate()` is called at the first call of one of `hooks`, once."""
        self._activations[plugin] = activate
        self._hooks[plugin] = frozenset(hooks)

    def discard(self, plugin: str) -> frozenset[str]:
        """The plugin is registered or gone; the hooks that it stood for."""
        self._activations.pop(plugin, None)
        return self._hooks.pop(plugin, frozenset())

    def of(self, hook: str) -> list[str]:
        """The plugins that stand for a hook, by id."""
        return sorted(plugin for plugin, hooks in self._hooks.items() if hook in hooks)

    async def awake(self, plugins: Iterable[str]) -> None:
        """Activate, one after another; returns also when an activation failed."""
        for plugin in plugins:
            if plugin in self._running and _within.get():
                continue
            await asyncio.shield(self.start(plugin))

    def start(self, plugin: str) -> asyncio.Task[None]:
        """The task that activates the plugin, begun now or before."""
        task = self._running.get(plugin)
        if task is None:
            task = asyncio.create_task(self._run(plugin), name=f"activate {plugin}")
            self._running[plugin] = task
        return task

    async def _run(self, plugin: str) -> None:
        _within.set(True)
        failure: BaseException | None = None
        activate = self._activations.get(plugin)
        try:
            if activate is not None:
                await activate()
        except BaseException as error:  # SystemExit too: a plugin does not end the host
            if goes_up(error):
                raise
            failure = error
        finally:
            del self._running[plugin]
        self._settled(plugin, self.discard(plugin), failure)
