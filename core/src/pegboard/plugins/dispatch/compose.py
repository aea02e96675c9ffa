"""Makes the function that calls all implementations of a hook, as the kind of the hook demands.

One function is generated per shape (kind, arguments, what each implementation takes, sync or async) and its code is
kept; binding it to other implementations costs microseconds. On the path where nothing fails there is no clock, no
deadline and no record: who failed is known from the place in the code, and a deadline is armed only for what really
suspends. `around` and `stream` nest and are not generated; see `around.py` and `streams.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from pegboard.deadline import finish
from pegboard.plugins.dispatch.around import Layers
from pegboard.plugins.dispatch.calls import Calls, Watch, refuse_awaitable
from pegboard.plugins.dispatch.implementation import Implementation, passed
from pegboard.plugins.dispatch.results import Collected, Verdicts
from pegboard.plugins.dispatch.streams import transformed
from pegboard.types import Allow, Ask, Deny

if TYPE_CHECKING:
    from pegboard.hookspecs import Spec

Dispatch = Callable[..., Any]
_Shape = tuple[Any, ...]
_BINDERS: dict[_Shape, Callable[..., Dispatch]] = {}
_NO_OPINION = Verdicts(None, ())


def compose(spec: Spec, implementations: Sequence[Implementation], watch: Watch, *, explain: bool = False) -> Dispatch:
    """The function that calls `implementations`, in this order, with the arguments of the spec by position.

    It is to be awaited, except for a `sync_only` hook, which gives a plain function, and for a `stream`, which gives
    an async generator function. For `around` the last argument is the innermost body, `body(ctx, value)`.
    """
    calls = Calls(spec, implementations, watch, explain=explain)
    if spec.kind == "around":
        return Layers(calls).dispatch
    if spec.kind == "stream":
        return transformed(calls)
    shape = _shape_of(calls)
    binder = _BINDERS.get(shape)
    if binder is None:
        binder = _BINDERS[shape] = _binder(shape)
    return binder(calls, *_bound(calls))


def _shape_of(calls: Calls) -> _Shape:
    spec = calls.spec
    returns = _answer_classes(spec)
    return (
        spec.kind,
        spec.args,
        spec.value,
        spec.sync_only,
        bool(spec.writable),
        calls.timed,
        len(returns) if returns is not None else None,
        calls.check is not None,
        tuple(_shape_of_one(calls, index) for index in range(len(calls.implementations))),
    )


def _shape_of_one(calls: Calls, index: int) -> tuple[Any, ...]:
    implementation = calls.implementations[index]
    return (
        implementation.shut is not None,
        implementation.is_async,
        passed(implementation, f"x{index}"),
        implementation.context is not None,
        bool(implementation.kinds),
        calls.watch.wants_success(implementation),
    )


def _answer_classes(spec: Spec) -> tuple[type, ...] | None:
    """What an answer must be an instance of; `None` where it is not checked."""
    if spec.kind == "gate":
        return (Allow, Ask, Deny)
    if spec.returns is None:
        return None
    return spec.returns if isinstance(spec.returns, tuple) else (spec.returns,)


def _bound(calls: Calls) -> tuple[Any, ...]:
    classes = _answer_classes(calls.spec)
    return (
        [implementation.call for implementation in calls.implementations],
        calls.implementations,
        classes,
        classes or (),
    )


def _binder(shape: _Shape) -> Callable[..., Dispatch]:
    """The function that binds the code of `shape` to implementations."""
    names: dict[str, Any] = {
        "__name__": __name__,
        "Collected": Collected,
        "Verdicts": Verdicts,
        "finish": finish,
        "no_opinion": _NO_OPINION,
        "now": perf_counter,
        "refuse_awaitable": refuse_awaitable,
        "strongest": strongest,
    }
    exec(compile(_Source(shape).text(), f"<pegboard {shape[0]} of {len(shape[-1])}>", "exec"), names)
    bind: Callable[..., Dispatch] = names["bind"]
    return bind


class _Source:
    """The text of one shape."""

    def __init__(self, shape: _Shape) -> None:
        self.kind: str = shape[0]
        self.args: tuple[str, ...] = shape[1]
        self.value: str = shape[2] or ""
        self.sync_only, self.writable, self.timed = shape[3:6]
        self.classes: int | None = shape[6]
        self.checked: bool = shape[7]
        self.ones: tuple[tuple[Any, ...], ...] = shape[8]

    def text(self) -> str:
        """`bind(calls, …)`, which returns the dispatcher."""
        head = f"{'' if self.sync_only else 'async '}def dispatch({', '.join(self.args)}):"
        body = [*self._first_lines(), *(line for i in range(len(self.ones)) for line in self._one(i))]
        body += self._last_lines()
        lines = ["def bind(calls, functions, implementations, classes, class_list):", *_indented(self._prebound())]
        lines += _indented([head, *_indented(body or ["pass"]), "return dispatch"])
        return "\n".join(lines)

    def _prebound(self) -> list[str]:
        lines = ["fault, wrong, called, verify = calls.fault, calls.wrong, calls.called, calls.verify"]
        lines += [f"t{k} = class_list[{k}]" for k in range(self.classes or 0)]
        for i, (shut, _, _, own_context, has_kinds, watched) in enumerate(self.ones):
            lines += [f"f{i}, m{i} = functions[{i}], implementations[{i}]", f"p{i} = m{i}.plugin"]
            if shut:
                lines.append(f"shut{i} = m{i}.shut")
            if own_context:
                lines.append(f"x{i} = m{i}.context")
            if has_kinds:
                lines.append(f"k{i} = m{i}.kinds")
            if watched:
                lines.append(f"ok{i} = calls.success_of({i})")
        return lines

    def _first_lines(self) -> list[str]:
        first = {"collect": ["found = Collected()", "add = found.append"], "gate": ["found = []"]}.get(self.kind, [])
        if any(has_kinds for *_, has_kinds, _ in self.ones):
            first = [*first, f"kind = {self.args[0]}.kind"]
        return first

    def _last_lines(self) -> list[str]:
        return {
            "notify": [],
            "first": ["return None"],
            "pipeline": [f"return {self.value}"],
            "collect": ["return found"],
            "gate": ["return strongest(found) if found else no_opinion"],
        }[self.kind]

    def _one(self, i: int) -> list[str]:
        shut, is_async, arguments, _, has_kinds, watched = self.ones[i]
        if shut:
            return self._failed(i, f"calls.instead({i}, shut{i}, {self._current()})")
        lines = [*self._before(), "try:", *_indented([*_step(i, is_async, arguments), *self._take(i)])]
        failure = f"fault({i}, error, {'began' if self.timed else 'None'}, {self._current()})"
        lines += ["except BaseException as error:", *_indented(self._failed(i, failure))]
        afterwards = self._observed(i, watched)
        if self.kind == "first":
            afterwards += ["if r is not None:", "    return r"]
        if afterwards:
            lines += ["else:", *_indented(afterwards)]
        return [f"if kind.startswith(k{i}):", *_indented(lines)] if has_kinds else lines

    def _current(self) -> str:
        """What the failure rule may need: the value so far, or the answers so far."""
        return {"pipeline": self.value, "collect": "found"}.get(self.kind, "None")

    def _before(self) -> list[str]:
        if not self.timed:
            return []
        return ["began = now()", f"before = {self.value if self.kind == 'pipeline' else 'None'}"]

    def _take(self, i: int) -> list[str]:
        """Check the answer `r` and use it. `first` returns later, when its success was told."""
        use = {
            "pipeline": [f"{self.value} = r"],
            "collect": [f"add((p{i}, r))"],
            "gate": [f"found.append((p{i}, r))"],
        }.get(self.kind, [])
        if self.checked:
            use = [f"if r: verify({', '.join([str(i), 'r', *self.args])})", *use]
        if self.writable:
            use = [f"calls.check_writable({i}, {self.value}, r)", *use]
        if self.classes is None:
            return ["if r is not None:", *_indented(["refuse_awaitable(r)", *use])]
        # The exact class first: `isinstance` on a tuple of classes costs more than the call of a small function.
        exact = [f"{'cls' if k else '(cls := type(r))'} is t{k}" for k in range(min(self.classes, 3))]
        fits = " or ".join([*exact, "isinstance(r, classes)"])
        refuse = ["else:", f"    wrong({i}, r)"]
        return ["if r is not None:", *_indented([f"if {fits}:", *_indented(use or ["pass"]), *refuse])]

    def _failed(self, i: int, call: str) -> list[str]:
        return {
            "pipeline": [f"{self.value} = {call}"],
            "gate": [f"found.append((p{i}, {call}))"],
        }.get(self.kind, [call])

    def _observed(self, i: int, watched: bool) -> list[str]:
        lines = [f"ok{i}()"] if watched else []
        return [*lines, f"called({i}, began, before, r)"] if self.timed else lines


def _step(i: int, is_async: bool, arguments: str) -> list[str]:
    """The answer as `r`. A coroutine is stepped once by hand, so that a deadline is armed only if it suspends."""
    if not is_async:
        return [f"r = f{i}({arguments})"]
    return [
        f"running = f{i}({arguments})",
        "try:",
        "    waiting = running.send(None)",
        "except StopIteration as end:",
        "    r = end.value",
        "else:",
        f"    r = await finish(running, waiting, m{i})",
    ]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def strongest(found: Sequence[tuple[str, Any]]) -> Verdicts:
    """All opinions, and the first of the strongest kind."""
    for kind in (Deny, Ask, Allow):
        for _, verdict in found:
            if isinstance(verdict, kind):
                return Verdicts(verdict, tuple(found))
    return _NO_OPINION
