"""What a hook call costs, beside pluggy in the same run.

Run `python tests/bench/dispatch.py [--json] [--write]`. Each figure is the median over many rounds, in nanoseconds per
call, the rows taken in turn within a round so that a busy machine slows all of them alike. Calls are awaited from a
running coroutine, as in a run. The exit code is 1 when an aim is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from statistics import median
from time import perf_counter
from typing import Any

import performance_page
import pluggy
from pegboard.hookspecs import hookimpl
from pegboard.plugins.dispatch.dispatcher import CallRecord, Dispatcher

ROUNDS = 60
CALLS = 500
AIMS_NS = {"empty": 40.0, "5 sync": 500.0, "3 sync + 2 async": 800.0}
"""The last with a lazily armed deadline, which alone may cost 1,600."""
AIM_OF_PLUGGY = 0.25

Row = Callable[[], Awaitable[float]]
_spec = pluggy.HookspecMarker("bench")
_impl = pluggy.HookimplMarker("bench")


class _Silent:
    def fault(self, record: CallRecord, error: BaseException) -> None:
        raise error

    def called(self, record: CallRecord) -> None:
        """Not of interest here."""


class _Clock:
    def time(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Nobody waits here."""


class _Quiet:
    @hookimpl
    def settle_budget(self, ctx: Any, settlement: Any) -> None:
        return None


class _Answering:
    @hookimpl
    def check_quality(self, ctx: Any, result: Any) -> Any:
        return ()


class _Async:
    @hookimpl
    async def settle_budget(self, ctx: Any, settlement: Any) -> None:
        return None


class _Suspending:
    @hookimpl
    async def settle_budget(self, ctx: Any, settlement: Any) -> None:
        future = asyncio.get_running_loop().create_future()
        future.get_loop().call_soon(future.set_result, None)
        await future


class _Specs:
    @_spec
    def settle_budget(self, ctx: Any, settlement: Any) -> None:
        """As ours."""


class _PluggyQuiet:
    @_impl
    def settle_budget(self, ctx: Any, settlement: Any) -> None:
        return None


class _PluggyAnswering:
    @_impl
    def settle_budget(self, ctx: Any, settlement: Any) -> Any:
        return ()


def _dispatcher(*plugins: object) -> Dispatcher:
    dispatcher = Dispatcher(_Silent(), _Clock())
    for index, plugin in enumerate(plugins):
        dispatcher.register(f"p{index:02}", plugin)
    return dispatcher


def _ours(hook: str, *plugins: object) -> Row:
    dispatcher = _dispatcher(*plugins)

    async def row() -> float:
        await getattr(dispatcher.hooks, hook)(1, 2)
        call = getattr(dispatcher.hooks, hook)
        began = perf_counter()
        for _ in range(CALLS):
            await call(1, 2)
        return perf_counter() - began

    return row


def _pluggy(*plugins: object) -> Row:
    manager = pluggy.PluginManager("bench")
    manager.add_hookspecs(_Specs)
    for plugin in plugins:
        manager.register(plugin)
    hook = manager.hook.settle_budget

    async def row() -> float:
        began = perf_counter()
        for _ in range(CALLS):
            hook(ctx=1, settlement=2)
        return perf_counter() - began

    return row


def _empty() -> Row:
    hooks = _dispatcher().hooks

    async def row() -> float:
        began = perf_counter()
        for _ in range(CALLS):
            if (call := hooks.settle_budget) is not None:
                await call(1, 2)  # type: ignore[arg-type]  # never reached
        return perf_counter() - began

    return row


def _rows() -> dict[str, Row]:
    mixed = (*(_Quiet() for _ in range(3)), _Async(), _Async())
    rows = {"empty": _empty(), "pluggy, empty": _pluggy()}
    for count in (1, 5, 20):
        rows[f"{count} sync"] = _ours("settle_budget", *(_Quiet() for _ in range(count)))
        rows[f"pluggy, {count} sync"] = _pluggy(*(_PluggyQuiet() for _ in range(count)))
    rows["5 sync, with answers"] = _ours("check_quality", *(_Answering() for _ in range(5)))
    rows["pluggy, 5 sync, with answers"] = _pluggy(*(_PluggyAnswering() for _ in range(5)))
    rows["3 sync + 2 async"] = _ours("settle_budget", *mixed)
    rows["1 async that suspends"] = _ours("settle_budget", _Suspending())
    return rows


async def _measure() -> dict[str, float]:
    rows = _rows()
    taken: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(ROUNDS):
        for name, row in rows.items():
            taken[name].append(await row())
    return {name: median(times) / CALLS * 1e9 for name, times in taken.items()}


def _result(measured: dict[str, float]) -> list[dict[str, Any]]:
    rows = []
    for name, ns in measured.items():
        pluggy_ns = measured.get(f"pluggy, {name}")
        ratio = None if pluggy_ns is None else ns / pluggy_ns
        met = ns <= AIMS_NS.get(name, float("inf")) and (name != "5 sync" or (ratio or 0.0) <= AIM_OF_PLUGGY)
        rows.append({"name": name, "ns": round(ns), "aim_ns": AIMS_NS.get(name), "of_pluggy": ratio, "met": met})
    return rows


def _write(rows: list[dict[str, Any]]) -> None:
    """The section of the page."""
    head = ("a hook call", "ns", "aim", "of pluggy's", "")
    cells = [
        (
            row["name"],
            str(row["ns"]),
            f"<= {row['aim_ns']:.0f}" if row["aim_ns"] else "",
            f"{row['of_pluggy']:.2f}" if row["of_pluggy"] else "",
            ("met" if row["met"] else "missed") if row["aim_ns"] else "",
        )
        for row in rows
    ]
    taken = f"{ROUNDS} rounds of {CALLS} calls, medians, wall time"
    said = performance_page.conditions("dispatch", taken, performance_page.load(), f"pluggy {version('pluggy')}")
    performance_page.write("dispatch", "## A hook call", performance_page.table(head, cells), said)


def main() -> int:
    """Measure, print, and say whether the aims hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    performance_page.add_option(parser)
    arguments = parser.parse_args()
    rows = _result(asyncio.run(_measure()))
    if arguments.json:
        print(json.dumps({"v": 1, "python": sys.version.split()[0], "rows": rows}))
    else:
        for row in rows:
            aim = f"aim {row['aim_ns']:.0f}" if row["aim_ns"] else ""
            ratio = f"{row['of_pluggy']:.2f}x pluggy" if row["of_pluggy"] else ""
            print(f"{row['name']:32} {row['ns']:>8} ns  {aim:10} {ratio:14} {'' if row['met'] else 'MISSED'}")
    if arguments.write:
        _write(rows)
    return performance_page.exit_code(arguments, met=all(row["met"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
