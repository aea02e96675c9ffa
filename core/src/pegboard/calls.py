"""The tool calls of one turn, and what stands between a call and its effect.

In order: step, `tool_call` layers, and inside them schema check, `label`, `authorize`, approval, budget, locks, audit,
intent, execution, offload. The gates are innermost, so nothing can change a call after it was approved. Whatever goes
wrong becomes a result that the model sees; only cancellation, a missing approval and an unknown effect end the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pegboard.budget import Reservation
from pegboard.deadline import AbandonedError
from pegboard.errors import (
    ApprovalNeededError,
    BudgetExceededError,
    ToolArgumentsError,
    ToolDefinitionError,
    ToolUnsafeUnknownError,
    describe,
    where,
)
from pegboard.interfaces import HostContext, ToolContext
from pegboard.journal import Step
from pegboard.lazy import LazyModule
from pegboard.locks import ResourceLocks
from pegboard.repeats import count_repeat, repeated
from pegboard.run import Run
from pegboard.spent import count_inside
from pegboard.toolbox import TIERS, BoundTool
from pegboard.tools import check_arguments, execute, is_cheap, tool
from pegboard.types import (
    Action,
    Allow,
    ApprovalRequest,
    Ask,
    AuditRecord,
    BudgetRequest,
    Deny,
    JsonObject,
    Label,
    Origin,
    Part,
    Settlement,
    StreamEvent,
    Text,
    Tier,
    ToolCall,
    ToolResult,
    Verdict,
    tool_result,
)

if TYPE_CHECKING:
    import difflib
    import hashlib
else:
    difflib = LazyModule("difflib")
    hashlib = LazyModule("hashlib")

HEAD_CHARACTERS, TAIL_CHARACTERS = 3000, 1500
MESSAGE_CHARACTERS = 200
_FREE: frozenset[str] = frozenset()


class CallContext:
    """The `ToolContext` of one call."""

    __slots__ = ("_step", "attempt", "call", "host", "run")

    def __init__(self, run: Run, call: ToolCall, step: Step, host: HostContext | None) -> None:
        self.run = run
        self.call = call
        self.attempt = step.attempt
        self.host = host
        self._step = step

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this call; new after a fork."""
        return f"{self.run.run}/{self._step.id}/{self.call.id}"

    def note(self, error: BaseException) -> None:
        """Keep where the call failed, for those who read the log; a model is not told."""
        self._step.where = where(error)

    def progress(self, message: str, share: float | None = None) -> None:
        """Tell whoever streams how far the call is."""
        if self.run.sink is not None:
            self.run.sink.put(StreamEvent("tool_result", message, run=self.run.run, data={"progress": share}))


async def perform_all(run: Run, calls: Sequence[ToolCall]) -> Sequence[ToolResult]:
    """Execute the calls of a turn; results in the order of the calls, one for each, also when the run is cancelled."""
    pending = [_Pending(run, call) for call in calls]  # steps are opened in call order, before any is awaited
    try:
        if len(pending) == 1 or all(item.is_cheap for item in pending):
            for item in pending:
                await item.perform()
        else:
            await _in_parallel(run, pending)
    finally:
        results = [item.settled() for item in pending]
        run.tool_results(results)
    for item in pending:
        if item.fatal is not None:
            raise item.fatal
    return results


async def _in_parallel(run: Run, pending: Sequence[_Pending]) -> None:
    most = min(run.config.parallel_tool_calls, run.services.bounds.parallel_tool_calls)
    cap = asyncio.Semaphore(max(1, most))  # an agent that no board has checked: with 0 nothing would ever begin

    async def one(item: _Pending) -> None:
        async with cap:
            await item.perform()

    tasks = [asyncio.create_task(one(item)) for item in pending]
    try:
        await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


class _Pending:
    """One call of a turn from its step to its result."""

    __slots__ = ("bound", "call", "fatal", "result", "run", "step")

    def __init__(self, run: Run, call: ToolCall) -> None:
        self.run = run
        self.call = call
        self.bound = find(run, call.name)
        name = self.bound.tool.name if self.bound else call.name
        effect = self.bound.tool.effect if self.bound else "pure"
        self.step = run.journal.open(f"tool.call:{name}", (call.name, call.arguments, call.raw_arguments), effect)
        self.result: ToolResult | None = None
        self.fatal: BaseException | None = None
        """What ends the run, after every call of the turn has its result."""

    @property
    def is_cheap(self) -> bool:
        """Whether a task of its own would cost more than the call."""
        return self.bound is None or is_cheap(self.bound.tool)

    async def perform(self) -> None:
        """Read the result back, or make it."""
        run, step = self.run, self.step
        if step.recorded is not None and step.recorded.state == "done":
            self.result = run.journal.result(step)
            _let_read(run, self.result)
            run.charge(tool_calls=1)
            await count_inside(run, step)
            return
        run.replaying = False
        run.journal.start(step, name=self.call.name, call_id=self.call.id)
        try:
            layer = run.hooks.tool_call
            if layer is None:
                result = await self._body(run, self.call)
            else:
                result = await layer(run, self.call, self._body)
            self.result = result if result.call_id == self.call.id else _answer(result, self.call)
            run.journal.finish(step, self.result, name=self.call.name, **_outcome(self.result, step))
        except (ApprovalNeededError, ToolUnsafeUnknownError, BudgetExceededError) as exc:
            status: Any = {"approval.needed": "denied", "tool.unsafe_unknown": "unknown"}.get(exc.code, "error")
            self.result = tool_result(self.call.id, exc.message, status=status, code=exc.code)
            self.fatal = exc
            run.journal.fail(step, exc)
        except BaseException as exc:
            run.journal.fail(step, exc)
            if isinstance(exc, AbandonedError):
                run.left_behind(exc.what)
            raise
        if run.journal.flushes:  # not above: the call is done, also when the run is cancelled while that is written
            await run.journal.flush()

    def settled(self) -> ToolResult:
        """The result; a call that was interrupted has one with status `cancelled`."""
        if self.result is None:
            self.result = tool_result(self.call.id, "the call was interrupted", status="cancelled", code="cancelled")
        return self.result

    async def _body(self, _: Any, call: ToolCall) -> ToolResult:
        run = self.run
        bound = self.bound if call.name == self.call.name else find(run, call.name)
        try:
            call = private(call)
        except ToolArgumentsError as exc:
            return tool_result(call.id, exc.message, status="error", code=exc.code)
        if bound is not None and getattr(bound.tool, "polling", False):
            return await self._checked(call, bound)
        return repeated(run, call) or count_repeat(run, call, await self._checked(call, bound))

    async def _checked(self, call: ToolCall, bound: BoundTool | None) -> ToolResult:
        if bound is None:
            return _not_found(self.run, call)
        try:
            args = check_arguments(bound.tool, call)
        except ToolArgumentsError as exc:
            return tool_result(call.id, exc.message, status="error", code=exc.code)
        except ToolDefinitionError as exc:
            return _invalid(self.run, call, bound, exc)
        return await _guarded(self.run, call, bound, args, self.step)


def private(call: ToolCall) -> ToolCall:
    """The call with arguments that nobody else holds: what is approved is what runs, whatever a layer kept of it.

    Raises:
        ToolArgumentsError: they are not JSON.
    """
    try:
        return msgspec.structs.replace(call, arguments=_copied(call.arguments))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as exc:
        raise ToolArgumentsError(f"tool `{call.name}`: arguments are not JSON: {describe(exc)}") from exc


def _copied(arguments: JsonObject) -> JsonObject:
    copy: JsonObject = msgspec.json.decode(msgspec.json.encode(arguments))
    return copy


async def _guarded(run: Run, call: ToolCall, bound: BoundTool, args: Mapping[str, Any], step: Step) -> ToolResult:
    """Gates, budget and locks around the execution."""
    if _is_above(run, bound):
        denied = await judge_tier(run, bound.tier)
        if denied is not None:
            run.tier_wanted = None
            return tool_result(call.id, f"denied: {denied}", status="denied", code="approval.denied")
    action = await _action(run, call, bound)
    # What the host program gave is allowed, so without a policy there is nothing to ask.
    if bound.owner is not None or run.hooks.authorize is not None:
        denied = await judge(run, action, call.id)
        if denied is not None:
            return tool_result(call.id, f"denied: {denied}", status="denied", code="approval.denied")
    request = BudgetRequest(run=run.run, kind="tool", resource=bound.tool.name, principal=run.principal)
    await reserve(run, request, {"tool_calls": 1.0})
    try:
        try:
            keys = _resources(bound, args)
        except ToolDefinitionError as exc:
            return _invalid(run, call, bound, exc)
        if keys == _FREE:
            return await _audited(run, action, call, bound, args, step)
        async with _locks(run).hold(keys, run):
            return await _audited(run, action, call, bound, args, step)
    finally:
        await settle(run, request)


def _resources(bound: BoundTool, args: Mapping[str, Any]) -> frozenset[str] | None:
    try:
        keys: Any = bound.tool.resources(args)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        text = f"`resources` of tool `{bound.tool.name}` failed: {type(exc).__name__}: {describe(exc)}"
        raise ToolDefinitionError(text) from exc
    if keys is None or (isinstance(keys, frozenset) and all(isinstance(key, str) for key in keys)):
        return keys
    raise ToolDefinitionError(f"`resources` of tool `{bound.tool.name}` returned no `frozenset` of names: {keys!r:.80}")


def _invalid(run: Run, call: ToolCall, bound: BoundTool, error: ToolDefinitionError) -> ToolResult:
    """What comes of a call of a tool that is not one: an error of this call, and a charge to whose it is."""
    run.services.charge(bound.owner, "provide_tools", error)
    return tool_result(call.id, error.message, status="error", code=error.code)


async def _action(run: Run, call: ToolCall, bound: BoundTool) -> Action:
    hooks = run.hooks
    shown = bound.owner is not None or hooks.authorize or hooks.label or hooks.audit
    seen = _copied(call.arguments) if shown else call.arguments  # those who look get a copy of their own
    return Action(
        verb="tool.call",
        resource=bound.tool.name,
        arguments=seen,
        effect=bound.tool.effect,
        permissions=bound.tool.permissions,
        labels=await _labels(run, Origin(kind="model"), seen),
        owner=bound.owner,
    )


async def _audited(
    run: Run, action: Action, call: ToolCall, bound: BoundTool, args: Mapping[str, Any], step: Step
) -> ToolResult:
    if run.hooks.audit is None or action.effect == "pure":
        return await _executed(run, call, bound, args, step)
    record = AuditRecord(stage="intent", run=run.run, action=action, principal=run.principal, decision="allow")
    if not await _audit(run, record):
        return tool_result(call.id, "denied: the audit trail did not accept it", status="denied", code="audit.refused")
    result = await _executed(run, call, bound, args, step)
    await _audit(run, msgspec.structs.replace(record, stage="outcome", outcome=result.status))
    return result


async def _executed(run: Run, call: ToolCall, bound: BoundTool, args: Mapping[str, Any], step: Step) -> ToolResult:
    context = CallContext(run, call, step, bound.host)
    if bound.tool.effect == "unsafe":
        found = await _reconciled(bound, args, context, step)
        if found is not None:
            return found
        await run.journal.intend(step, context.idempotency_key)
    layer = run.hooks.tool_execution
    if layer is None:
        result = await execute(bound.tool, args, call, context)
    else:  # what was approved is what is executed, whatever a layer passes on
        result = await layer(run, call, lambda _, __: execute(bound.tool, args, call, context))
    result = await offloaded(run, result)
    _let_read(run, result)
    if run.hooks.label is not None:
        await _labels(run, Origin(kind="tool", name=bound.tool.name), result.text)
    return result


async def _reconciled(bound: BoundTool, args: Mapping[str, Any], ctx: CallContext, step: Step) -> ToolResult | None:
    """What came of an unsafe call that an earlier life of the run began and did not see the end of."""
    if step.recorded is None:
        return None
    ask = getattr(bound.tool, "reconcile", None)
    outcome = await ask(ctx.idempotency_key, args) if ask is not None else "unknown"
    if isinstance(outcome, ToolResult):
        return outcome
    if outcome == "not_done":
        return None
    raise ctx.run.journal.unknown_effect(step.id, "it is not repeated")


# --- gates -------------------------------------------------------------------------------------------------------


async def judge(run: Run, action: Action, call_id: str) -> str | None:
    """The reason why an effect is denied, or `None` when it may happen.

    Raises:
        ApprovalNeededError: a person would have to say, and nobody can be asked.
    """
    gate = run.hooks.authorize
    verdict: Verdict | None = None
    prompts: tuple[str, ...] = ()
    asking: tuple[str, ...] = ()
    if gate is not None:
        asked = _canonical(action)
        verdicts = await gate(run, action)
        if _canonical(action) != asked:
            return "a gate changed the arguments that it was to judge"
        verdict = verdicts.verdict
        prompts = tuple(v.prompt for _, v in verdicts.opinions if isinstance(v, Ask) and v.prompt)
        asking = tuple(plugin for plugin, v in verdicts.opinions if isinstance(v, Ask))
    if verdict is None:
        verdict = by_default(action)
    if isinstance(verdict, Allow):
        return None
    if isinstance(verdict, Deny):
        return verdict.reason or "a policy forbids it"
    rule = (action.verb, action.resource, *asking)
    if _is_approved(run, rule):
        return None
    return await _approved(run, action, call_id, prompts or (verdict.prompt,), rule)


async def judge_tier(run: Run, tier: Tier) -> str | None:
    """The reason why a higher tier of tools is denied, or `None`; a tier that was granted is not asked for again."""
    if run.tier_granted == tier:
        return None
    denied = await judge(run, Action(verb="tier.raise", resource=tier, effect="pure"), f"{run.run}/{tier}")
    run.tier_granted = tier if denied is None else None
    return denied


def by_default(action: Action) -> Verdict:
    """What holds without a policy: what the host program gave in code is allowed, since who wrote it decided."""
    if action.verb == "budget.raise":
        why = action.arguments.get("why") if isinstance(action.arguments, dict) else None
        return Ask(str(why or f"the budget of `{action.resource}` is used up"))
    if action.owner is None or action.effect == "pure":
        return Allow()
    if action.effect == "idempotent" and _inside_workspace(action):
        return Allow()
    return Ask(f"`{action.resource}` of plugin `{action.owner}` has effect `{action.effect}`")


def _inside_workspace(action: Action) -> bool:
    granted = action.permissions
    return set(granted.get("fs_write", ())) <= {"workspace"} and not granted.get("net") and not granted.get("exec")


def _canonical(action: Action) -> bytes:
    return msgspec.json.encode([action.verb, action.resource, action.arguments], order="sorted")


def _is_approved(run: Run, rule: tuple[str, ...]) -> bool:
    """Whether a person granted it for the rest of this run, or of one above."""
    above: Run | None = run
    while above is not None:
        if rule in above.approved:
            return True
        above = above.parent_run
    return False


def recall_approvals(run: Run) -> None:
    """In a resumed run: what was granted in an earlier life for the rest of it."""
    for event in run.journal.events:
        if event.kind == "approval.decided" and event.data["granted"] and event.data["scope"] != "once":
            run.approved |= {tuple(event.data.get("rule", ()))}


async def _approved(
    run: Run, action: Action, call_id: str, prompts: tuple[str, ...], rule: tuple[str, ...]
) -> str | None:
    digest = hashlib.sha256(_canonical(action)).hexdigest()[:16]
    request = ApprovalRequest(
        id=f"{call_id}:{digest}", action=msgspec.structs.replace(action, digest=digest), prompts=prompts
    )
    step = run.journal.open(f"approval:{call_id}", request.id)
    if step.recorded is not None:
        before = run.journal.result(step)
        return None if before["granted"] else before["reason"]
    asked = {"verb": action.verb, "resource": action.resource, "plugin": action.owner, "effect": action.effect}
    run.record(
        "approval.requested", {"id": request.id, **asked, "arguments": action.arguments, "prompts": list(prompts)}
    )
    answer = await run.hooks.request_approval(run, request) if run.hooks.request_approval is not None else None
    if answer is None:
        raise ApprovalNeededError(
            f"`{action.resource}` needs approval and nobody can be asked: {'; '.join(prompts)}",
            hint="peg help approval.needed",
        )
    granted = answer.granted and answer.id == request.id
    refusal = "the answer was for another call" if answer.granted else f"{answer.by or 'a person'} said no"
    reason = answer.reason or refusal
    decided = {"id": request.id, "granted": granted, "by": answer.by, "scope": answer.scope, "rule": list(rule)}
    if answer.reason:
        decided["reason"] = answer.reason
    run.record("approval.decided", decided)
    run.journal.start(step)
    run.journal.finish(step, {"granted": granted, "reason": reason})
    await run.journal.flush(barrier=True)
    if granted and answer.scope != "once":
        run.approved |= {rule}
    return None if granted else reason


async def reserve(
    run: Run, request: BudgetRequest, amounts: Mapping[Any, float], *, made_of: str = ""
) -> Reservation | None:
    """Reserve in the budget tree and ask `reserve_budget`.

    Raises:
        BudgetExceededError: a limit would be passed, or a gate said no; nothing stays reserved.
    """
    reservation = run.budget.reserve(amounts, made_of=made_of) if run.is_bounded else None
    gate = run.hooks.reserve_budget
    if gate is None:
        return reservation
    try:
        verdict = (await gate(run, request)).verdict
        if verdict is not None and not isinstance(verdict, Allow):
            raise BudgetExceededError(f"budget for `{request.resource}` refused: {getattr(verdict, 'reason', 'ask')}")
    except BaseException:  # also where the run is cancelled while the gate thinks
        if reservation is not None:
            reservation.release()
        raise
    return reservation


async def settle(
    run: Run,
    request: BudgetRequest,
    *,
    tokens: int | None = None,
    cost_usd: float | None = None,
    outcome: str = "done",
    estimated: bool = False,
) -> None:
    """Tell `settle_budget` what was used in the end."""
    if run.hooks.settle_budget is not None:
        await run.hooks.settle_budget(
            run, Settlement(request=request, tokens=tokens, cost_usd=cost_usd, outcome=outcome, estimated=estimated)
        )


async def _labels(run: Run, origin: Origin, value: Any) -> frozenset[Label]:
    if run.hooks.label is None:
        return frozenset()
    found = await run.hooks.label(run, origin, value)
    return frozenset().union(*(labels for _, labels in found))


async def _audit(run: Run, record: AuditRecord) -> bool:
    if run.hooks.audit is None:
        return True
    return any(accepted for _, accepted in await run.hooks.audit(run, record))


def _locks(run: Run) -> ResourceLocks:
    if run.locks is None:
        root = run
        while root.parent_run is not None:
            root = root.parent_run
        root.locks = root.locks or ResourceLocks()
        run.locks = root.locks
    return run.locks


# --- finding -----------------------------------------------------------------------------------------------------


def find(run: Run, name: str) -> BoundTool | None:
    """The tool of a name, which may begin with the tier that the model asks for."""
    bound = run.tools.get(name)
    if bound is None:
        tier, _, rest = name.partition(".")
        bound = run.tools.get(rest) if tier in TIERS else None
    if bound is not None and _is_above(run, bound):
        run.tier_wanted = bound.tier
    return bound


def _is_above(run: Run, bound: BoundTool) -> bool:
    return bound.tier != "core" and TIERS.index(bound.tier) > TIERS.index(run.tier)


def _not_found(run: Run, call: ToolCall) -> ToolResult:
    run.tier_wanted = run.tier_wanted or _next_tier(run)
    near = difflib.get_close_matches(call.name, run.tools, 3)
    known = near or sorted(run.tools)[:10]
    text = f"there is no tool `{call.name}`; there is {', '.join(known) or 'none'}"
    return tool_result(call.id, text, status="error", code="tool.not_found")


def _next_tier(run: Run) -> Tier | None:
    higher = [tier for tier in TIERS[TIERS.index(run.tier) + 1 :] if tier in run.config.tiers]
    return next((tier for tier in higher if any(bound.tier == tier for bound in run.tools.values())), None)


# --- large results -----------------------------------------------------------------------------------------------


async def offloaded(run: Run, result: ToolResult) -> ToolResult:
    """The result; what is too long for a model goes to a blob, with a preview and a handle in its place."""
    text = result.text
    limit = run.services.offload_over_tokens
    if len(text) < limit or (tokens := run.counting.text(text)) <= limit:  # a token has at least one character
        return result
    part = Part(id=result.call_id, owner="core", kind="tool_result", text=text, tokens=tokens, exact=run.counting.exact)
    small = await run.hooks.context_offload(run, part) if run.hooks.context_offload is not None else None
    if small is None:
        small = await _to_blob(run, part)
    run.record(
        "context.offloaded",
        {
            "ref": small.ref,
            "tokens_before": part.tokens,
            "tokens_after": small.tokens,
            "exact": part.exact,
            "by": small.owner,
        },
    )
    kept = tuple(content for content in result.content if not isinstance(content, Text))
    return msgspec.structs.replace(result, content=(Text(small.text), *kept), artifact=small.ref, structured=None)


def _let_read(run: Run, result: ToolResult) -> None:
    """Offer what reads the rest of a result; also where it is read back, or the next request would be another one."""
    if result.artifact is not None and read_output.name not in run.tools:
        run.tools = run.tools.plus(BoundTool(read_output))


async def _to_blob(run: Run, part: Part) -> Part:
    data = part.text.encode()
    ref = await run.services.blobs.put_blob(data)
    omitted = len(part.text) - HEAD_CHARACTERS - TAIL_CHARACTERS
    text = (
        f"{part.text[:HEAD_CHARACTERS]}\n… {omitted} characters left out; the whole is `{ref}`, {len(data)} bytes; "
        f"read it with `read_output` …\n{part.text[-TAIL_CHARACTERS:]}"
    )
    return msgspec.structs.replace(part, text=text, tokens=run.counting.text(text), ref=ref)


@tool(effect="pure")
async def read_output(ref: str, start: int, size: int, ctx: ToolContext) -> str:
    """Read a slice of an output that was too long to show.

    Args:
        ref: the handle that stands in the shortened output
        start: first byte, from 0
        size: how many bytes, at most 4000
        ctx: filled in by the runner
    """
    data = await ctx.run.read_blob(ref, start, min(size, 4000))
    return data.decode("utf-8", "replace")


def _outcome(result: ToolResult, step: Step) -> dict[str, Any]:
    """What the log says of a result: its status; where it is not `ok`, also the code, the beginning and the place."""
    if result.status == "ok":
        return {"status": "ok"}
    place = {} if step.where is None else {"where": step.where}
    return {"status": result.status, "code": result.code, "message": result.text[:MESSAGE_CHARACTERS], **place}


def _answer(result: ToolResult, call: ToolCall) -> ToolResult:
    return msgspec.structs.replace(result, call_id=call.id)
