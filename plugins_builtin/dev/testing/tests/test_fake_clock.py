"""`FakeClock`."""

from __future__ import annotations

import asyncio

import pytest
from pegboard_testing import FakeClock


def test_time_passes_only_by_advance() -> None:
    """Both clocks move together, and only when told."""
    clock = FakeClock(at=100.0)
    clock.advance(2.5)

    assert (clock.time(), clock.monotonic()) == (102.5, 2.5)


def test_time_does_not_go_back() -> None:
    """A negative step is a mistake of the test."""
    with pytest.raises(ValueError, match="does not go back"):
        FakeClock().advance(-1)


async def test_a_sleeper_wakes_when_it_is_due() -> None:
    """Not before."""
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(10))
    await clock.sleeping()

    clock.advance(9.9)
    assert clock.asleep == 1
    clock.advance(0.1)
    await task


async def test_sleepers_wake_in_order() -> None:
    """Who is due first wakes first; equal ones in order of falling asleep."""
    clock, woken = FakeClock(), list[int]()

    async def sleep(seconds: int) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleep(seconds)) for seconds in (3, 1, 2)]
    await clock.sleeping(3)
    clock.advance(5)
    await asyncio.gather(*tasks)

    assert woken == [1, 2, 3]


async def test_a_cancelled_sleeper_no_longer_counts() -> None:
    """`sleeping` counts who sleeps now."""
    clock = FakeClock()
    gone, there = asyncio.create_task(clock.sleep(1)), asyncio.create_task(clock.sleep(1))
    await clock.sleeping(2)
    gone.cancel()
    await asyncio.wait({gone})

    assert clock.asleep == 1
    clock.advance(1)
    await there


async def test_no_delay_is_one_turn_of_the_loop() -> None:
    """`sleep(0)` needs nobody to advance the clock."""
    await FakeClock().sleep(0)
