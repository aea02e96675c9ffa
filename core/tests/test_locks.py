"""Locks on resources: who waits for whom, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from pegboard.locks import Holder, ResourceLocks

A, B, ALL = frozenset({"a"}), frozenset({"b"}), None
AB = A | B


class Runner:
    """A run, as far as locks are concerned."""

    def __init__(self, parent: Runner | None = None) -> None:
        self.parent = parent

    def descends_from(self, other: Holder) -> bool:
        return self.parent is not None and (self.parent is other or self.parent.descends_from(other))


class Table:
    """Calls that hold what they ask for until they are let go."""

    def __init__(self) -> None:
        self.locks = ResourceLocks()
        self.holding: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def ask(self, name: str, keys: frozenset[str] | None, holder: Holder) -> None:
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._call(name, keys, holder))
        await settle()

    async def let_go(self, name: str) -> None:
        self._ends[name].set()
        await settle()

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        await settle()

    async def _call(self, name: str, keys: frozenset[str] | None, holder: Holder) -> None:
        async with self.locks.hold(keys, holder):
            self.holding.append(name)
            try:
                await self._ends[name].wait()
            finally:
                self.holding.remove(name)

    def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def table() -> Table:
    return Table()


@pytest.fixture(autouse=True)
def _stop(table: Table) -> Iterator[None]:
    yield
    table.stop()


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        pytest.param(A, B, True, id="other keys"),
        pytest.param(A, A, False, id="the same key"),
        pytest.param(A, AB, False, id="one key in common"),
        pytest.param(ALL, B, False, id="everything against one"),
        pytest.param(B, ALL, False, id="one against everything"),
        pytest.param(ALL, ALL, False, id="everything twice"),
    ],
)
async def test_calls_that_share_a_key_follow_one_another(
    table: Table, first: frozenset[str] | None, second: frozenset[str] | None, together: bool
) -> None:
    """A shared key serialises, no key in common does not, and `None` excludes every other call."""
    run = Runner()
    await table.ask("first", first, run)
    await table.ask("second", second, run)

    assert table.holding == (["first", "second"] if together else ["first"])
    await table.let_go("first")
    assert table.holding == ["second"]


async def test_first_come_first_served(table: Table) -> None:
    """A call that must wait holds back later ones, so nobody starves."""
    run = Runner()
    await table.ask("a", A, run)
    await table.ask("all", ALL, run)
    await table.ask("b", B, run)
    assert table.holding == ["a"]

    await table.let_go("a")
    assert table.holding == ["all"]
    await table.let_go("all")
    assert table.holding == ["b"]


async def test_a_child_uses_what_its_ancestors_hold(table: Table) -> None:
    """A tool that starts a child run would else wait for itself."""
    parent = Runner()
    child = Runner(parent)
    await table.ask("parent", ALL, parent)
    await table.ask("child", A, child)
    await table.ask("grandchild", A, Runner(child))

    assert table.holding == ["parent", "child", "grandchild"]


async def test_a_child_does_not_wait_behind_those_who_wait_for_its_parent(table: Table) -> None:
    """Else the child would wait for somebody who waits for the child's end."""
    parent = Runner()
    await table.ask("parent", A, parent)
    await table.ask("stranger", A, Runner())
    await table.ask("child", A, Runner(parent))

    assert table.holding == ["parent", "child"]
    await table.let_go("child")
    await table.let_go("parent")
    assert table.holding == ["stranger"]


async def test_a_waiting_child_is_woken_before_those_ahead_of_it(table: Table) -> None:
    """Also a child that had to wait for a stranger does not wait behind those who wait for its parent."""
    parent = Runner()
    await table.ask("parent", A, parent)
    await table.ask("other", B, Runner())
    await table.ask("stranger", A, Runner())
    await table.ask("child", B, Runner(parent))
    assert table.holding == ["parent", "other"]

    await table.let_go("other")
    assert table.holding == ["parent", "child"]


async def test_siblings_exclude_one_another(table: Table) -> None:
    """What one child holds, another child of the same run has to wait for."""
    parent = Runner()
    await table.ask("one", A, Runner(parent))
    await table.ask("two", A, Runner(parent))

    assert table.holding == ["one"]


async def test_a_cancelled_wait_lets_those_behind_it_pass(table: Table) -> None:
    """Whoever gives up leaves the queue."""
    run = Runner()
    await table.ask("a", A, run)
    await table.ask("all", ALL, run)
    await table.ask("b", B, run)
    await table.cancel("all")

    assert table.holding == ["a", "b"]


async def test_a_cancel_that_meets_the_wake_up_loses_nothing(table: Table) -> None:
    """A call that is cancelled in the moment in which it was given the lock hands it on."""
    run = Runner()
    await table.ask("first", A, run)
    await table.ask("second", A, run)
    await table.ask("third", A, run)
    table._ends["first"].set()
    await asyncio.sleep(0)  # the first lets go and wakes the second, which has not run yet
    await table.cancel("second")

    assert table.holding == ["third"]
