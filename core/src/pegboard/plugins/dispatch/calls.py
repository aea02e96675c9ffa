"""What follows the call of an implementation: who is charged with an error, what stands in for its answer, who is told.

All kinds share this; none of it runs while nothing fails, unless the hook is timed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from inspect import isasyncgen, iscoroutine
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import msgspec

from pegboard.deadline import AbandonedError, LeftBehind
from pegboard.errors import HookTypeError, PegboardError, describe
from pegboard.plugins.dispatch.attribution import CallRecord, Outcome, Report
from pegboard.plugins.dispatch.breaker import is_timeout
from pegboard.plugins.dispatch.diff import changes
from pegboard.plugins.dispatch.implementation import Implementation
from pegboard.plugins.dispatch.results import check_of
from pegboard.types import Ask, Deny

if TYPE_CHECKING:
    from pegboard.hookspecs import Spec

CLOSED_ANSWERS: dict[str, Any] = {
    "audit": False,
    "label": frozenset({"tainted", "sensitive"}),
    "redact": "[redaction failed]",
}
"""What stands for the answer of a failed implementation where the spec says `on_error="closed"`, by hook."""


class Watch(Protocol):
    """Who keeps count of failures."""

    report: Report
    strict: bool
    """Whether errors are raised instead of isolated, for tests."""

    def wants_success(self, implementation: Implementation) -> bool:
        """Whether it failed lately, so that a success is news."""

    def failed(self, implementation: Implementation, error: BaseException) -> None:
        """It failed."""

    def succeeded(self, implementation: Implementation) -> None:
        """It answered, after it had failed."""


class Calls:
    """The implementations of one dispatcher, and the rules for what they do."""

    __slots__ = ("check", "explain", "implementations", "spec", "timed", "watch")

    def __init__(
        self, spec: Spec, implementations: Sequence[Implementation], watch: Watch, *, explain: bool = False
    ) -> None:
        self.spec = spec
        self.implementations = tuple(implementations)
        self.watch = watch
        self.explain = explain
        self.timed = spec.timed or explain
        self.check = check_of(spec)
        """What looks into an answer; `None` where its class says it all."""

    def fault(self, index: int, error: BaseException, began: float | None, current: Any) -> Any:
        """Charge an implementation with `error`; what stands in for its answer.

        Raises:
            BaseException: `error` itself, when it is nobody's fault or everybody's concern.
        """
        if isinstance(error, AbandonedError) and not error.charged:
            error.charged = True
            self._charge(index, error, began)
        if goes_up(error):
            raise error
        self._charge(index, error, began)
        if self.watch.strict:
            raise error
        return self.instead(index, code_of(error), current)

    def instead(self, index: int, code: str, current: Any) -> Any:
        """What stands in for the answer of an implementation that failed with `code`."""
        plugin = self.implementations[index].plugin
        closed = self.spec.on_error == "closed"
        if self.spec.kind == "gate":
            return Deny(f"plugin `{plugin}` could not decide: `{code}` in `{self.spec.name}`")
        if self.spec.kind == "pipeline":
            return CLOSED_ANSWERS[self.spec.name] if closed else current
        if self.spec.kind == "collect":
            current.missing += ((plugin, code),)
            if closed:
                current.append((plugin, CLOSED_ANSWERS[self.spec.name]))
        return None

    def wrong(self, index: int, answer: object) -> NoReturn:
        """Refuse an answer of the wrong type."""
        refuse_awaitable(answer)
        plugin = self.implementations[index].plugin
        raise HookTypeError(
            f"plugin `{plugin}` returned `{type(answer).__name__}` from `{self.spec.name}`; "
            f"it wants {_expected(self.spec)}",
            plugin=plugin,
        )

    def verify(self, index: int, answer: object, *arguments: object) -> None:
        """Refuse an answer of the right type that holds what it must not."""
        problem = "there is what does not belong there"
        try:
            if self.check is None or self.check(answer, *arguments):
                return
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            problem = describe(error)
        plugin = self.implementations[index].plugin
        raise HookTypeError(
            f"plugin `{plugin}` returned `{type(answer).__name__}` from `{self.spec.name}`, and in it {problem}",
            plugin=plugin,
        )

    def check_writable(self, index: int, before: object, after: object) -> None:
        """Refuse an answer that differs from `before` where the spec does not allow it."""
        if after is None or not isinstance(before, msgspec.Struct):
            return
        for field in before.__struct_fields__:
            if field not in self.spec.writable and getattr(before, field) != getattr(after, field):
                plugin = self.implementations[index].plugin
                raise HookTypeError(
                    f"plugin `{plugin}` changed `{field}` in `{self.spec.name}`, which it may only read", plugin=plugin
                )

    def called(self, index: int, began: float, before: object, after: object) -> None:
        """An implementation of a timed hook answered."""
        outcome: Outcome = "denied" if isinstance(after, Deny) else "asked" if isinstance(after, Ask) else "ok"
        changed = None
        if self.explain and self.spec.kind == "pipeline" and after is not None:
            changed = changes(before, after, self.spec.value or "value")
        self.tell(index, began, outcome, changed)

    def tell(self, index: int, began: float | None, outcome: Outcome, changed: dict[str, Any] | None) -> None:
        """Report a call that came to its end."""
        self.watch.report.called(self._record(index, began, outcome, None, changed))

    def success_of(self, index: int) -> Callable[[], None]:
        """What to call when the implementation answered, where that is news."""
        return lambda: self.watch.succeeded(self.implementations[index])

    def _charge(self, index: int, error: BaseException, began: float | None) -> None:
        outcome: Outcome = "timeout" if is_timeout(error) else "error"
        plugin = self.implementations[index].plugin
        logging.getLogger(f"pegboard.plugin.{plugin}").debug("hook `%s` failed", self.spec.name, exc_info=error)
        self.watch.report.fault(self._record(index, began, outcome, code_of(error), None), error)
        self.watch.failed(self.implementations[index], error)

    def _record(
        self, index: int, began: float | None, outcome: Outcome, code: str | None, changed: dict[str, Any] | None
    ) -> CallRecord:
        implementation = self.implementations[index]
        return CallRecord(
            hook=self.spec.name,
            plugin=implementation.plugin,
            dist=implementation.dist,
            version=implementation.version,
            order=index,
            duration_ms=None if began is None else (perf_counter() - began) * 1000,
            outcome=outcome,
            error_code=code,
            changed=changed,
        )


def goes_up(error: BaseException) -> bool:
    """Whether `error` is not a fault of the plugin, and ends the call of the hook.

    `CancelledError` goes up when the task is being cancelled; otherwise the plugin made it. `SystemExit`, a
    `GeneratorExit` of its own and whatever else is no `Exception` are faults: a plugin does not end the host.
    """
    if isinstance(error, LeftBehind):
        return True
    if isinstance(error, asyncio.CancelledError):
        return isinstance(error, AbandonedError) or _is_being_cancelled()
    return isinstance(error, KeyboardInterrupt) or (isinstance(error, GeneratorExit) and _was_thrown_at_us(error))


def code_of(error: BaseException) -> str:
    """The stable code of an error."""
    if is_timeout(error):
        return "hook.timeout"
    return str(error.code) if isinstance(error, PegboardError) else "hook.failed"


def refuse_awaitable(answer: object) -> None:
    """Refuse what somebody forgot to await or to iterate."""
    if iscoroutine(answer):
        answer.close()  # else Python warns at a random place that nobody awaited it
        raise HookTypeError("returned a coroutine that nobody awaits; declare the hook `async def` and await inside")
    if isasyncgen(answer) or hasattr(type(answer), "__await__"):
        raise HookTypeError(f"returned `{type(answer).__name__}`, which nobody awaits")


def _was_thrown_at_us(error: GeneratorExit) -> bool:
    """Whether our caller was closed while an implementation was suspended, and no plugin raised this."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and place.tb_frame.f_globals.get("__name__", "").startswith("pegboard.plugins.")


def _is_being_cancelled() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no running loop: a hook that is plain `def` may be called anywhere
        return False
    return task is not None and task.cancelling() > 0


def _expected(spec: Spec) -> str:
    if spec.kind == "gate":
        return "`Allow`, `Ask`, `Deny` or `None`"
    classes = spec.returns if isinstance(spec.returns, tuple) else (spec.returns,)
    return " or ".join(f"`{cls.__name__}`" for cls in classes)
