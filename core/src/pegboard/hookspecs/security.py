"""Gates, approvals, budgets, audit, redaction, secrets, labels.

Every error or timeout of a gate is a deny. `audit`, `redact` and `label` differ from their kinds' usual rule and fail
closed, because doing nothing would be unsafe.
"""

from __future__ import annotations

from pegboard.hookspecs.marks import hookspec
from pegboard.interfaces import HostContext, RunContext
from pegboard.types import (
    Action,
    Approval,
    ApprovalRequest,
    AuditRecord,
    AuthRequest,
    BudgetRequest,
    Json,
    Label,
    Origin,
    PluginCandidate,
    Principal,
    Secret,
    SecretRef,
    Settlement,
    Verdict,
)


@hookspec(kind="gate", since="1.0", nobody="allow what a person installed into this environment")
async def admit_plugin(ctx: HostContext, candidate: PluginCandidate) -> Verdict | None:
    """Decide whether a distribution may be loaded.

    When: before anything of it is imported. Implementations are those of plugins that are active by then.
    Return: `Allow`, `Ask`, `Deny`, or `None`.
    Raises: deny.
    Cancel: deny.
    """


@hookspec(
    kind="first", since="1.0", returns=Principal, nobody="refuse; in-process and CLI runs are the local principal"
)
async def authenticate(ctx: HostContext, request: AuthRequest) -> Principal | None:
    """Say who calls.

    When: each request of a server.
    Return: the principal, or `None` when the scheme is not yours.
    Raises: the next implementation is asked; nobody means refused.
    Cancel: refused.
    """


@hookspec(
    kind="gate",
    since="1.0",
    timed=True,
    nobody="allow tools that the host program gave, and pure ones, and idempotent ones inside the workspace; else ask",
)
async def authorize(ctx: RunContext, action: Action) -> Verdict | None:
    """Decide whether an effect may happen.

    When: before each tool call, child run and raise of a tier; inside every layer, so nothing changes after it.
    Return: `Allow`, `Ask(prompt)`, `Deny(reason)`, or `None`. Deny beats ask beats allow; all are asked.
    Raises: deny.
    Cancel: deny.
    """


@hookspec(kind="first", since="1.0", timeout_s=None, returns=Approval, nobody="deny, `approval.needed`")
async def request_approval(ctx: RunContext, request: ApprovalRequest) -> Approval | None:
    """Ask a person.

    When: a gate said ask. There is no time limit while a person thinks.
    Return: the answer, bound to `request.id`, or `None` when nobody can be asked here. No answer is never yes.
    Raises: the next implementation is asked; nobody means denied.
    Cancel: denied.
    """


@hookspec(kind="gate", since="1.0", nobody="allow; core's budget tree was asked before")
async def reserve_budget(ctx: RunContext, request: BudgetRequest) -> Verdict | None:
    """Reserve what is about to be used, beyond the budget tree of the run.

    When: before each model request, tool call and child run.
    Return: `Allow`, `Deny(reason)`, or `None`. `Ask` counts as deny.
    Raises: deny.
    Cancel: release what was reserved; no settlement follows.
    """


@hookspec(kind="notify", since="1.0")
async def settle_budget(ctx: RunContext, settlement: Settlement) -> None:
    """See what was used in the end.

    When: after each reservation, whatever the outcome.
    Raises: recorded, the others are told.
    Cancel: still called.
    """


@hookspec(kind="collect", since="1.0", timed=True, on_error="closed", returns=bool, nobody="nothing is audited")
async def audit(ctx: RunContext, record: AuditRecord) -> bool | None:
    """Record an effect in an audit trail.

    When: the intent before, the outcome after a tool call that is not pure.
    Return: `True` when the record is safe. If implementations exist and none accepts, the effect is denied.
    Raises: counts as not accepted.
    Cancel: counts as not accepted.
    """


@hookspec(
    kind="pipeline",
    since="1.0",
    value="value",
    timeout_s=0.25,
    on_error="closed",
    nobody="the value as it is; a `Secret` masks itself anyway",
)
async def redact(ctx: RunContext, value: Json, sink: str) -> Json | None:
    """Remove what must not be seen.

    When: before a log, event, trace, model or wire; `sink` says which.
    Value: `value`, plain JSON; return a changed copy. `None` is unchanged.
    Raises: the value is replaced by a marker.
    Cancel: the value is not passed on.
    """


@hookspec(kind="first", since="1.0", timed=True, returns=Secret, nobody="`env:` references only")
async def resolve_secret(ctx: HostContext, ref: SecretRef, purpose: str, destination: str) -> Secret | None:
    """Fetch a secret.

    When: at each use of a reference.
    Return: the secret, or `None` when the reference is not yours.
    Raises: the next implementation is asked.
    Cancel: nothing to undo.
    """


@hookspec(
    kind="collect",
    since="1.0",
    timeout_s=0.25,
    on_error="closed",
    returns=frozenset,
    nobody="no labels",
)
async def label(ctx: RunContext, origin: Origin, value: Json) -> frozenset[Label] | None:
    """Label a value that enters a run.

    When: each tool result and each input.
    Return: labels, joined with those of the others, or `None`.
    Raises: the value is labelled `tainted` and `sensitive`.
    Cancel: as if raised.
    """
