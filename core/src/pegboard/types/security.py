"""Who may do what, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NoReturn, TypeAlias

import msgspec

from pegboard.types.agents import Effect
from pegboard.types.messages import Json

Label: TypeAlias = str
"""`tainted`, `sensitive`, or a label that a plugin defines."""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """On whose behalf something happens."""

    id: str = "local"
    tenant: str = "local"
    roles: tuple[str, ...] = ("operator",)


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a value or a request comes from."""

    kind: Literal["host", "user", "model", "tool", "plugin", "file", "agent"]
    name: str = ""


class Action(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An effect that is about to happen."""

    verb: str
    """`tool.call`, `agent.call`, `tier.raise`, …"""
    resource: str
    arguments: Json = None
    effect: Effect = "unsafe"
    permissions: Mapping[str, tuple[str, ...]] = {}
    labels: frozenset[Label] = frozenset()
    origin: Origin = Origin(kind="model")
    owner: str | None = None
    """The plugin that provides the tool; `None` when the host program gave it."""
    digest: str = ""
    """Of verb, resource and canonical arguments: what an approval is bound to."""


class Allow(msgspec.Struct, frozen=True):
    """Go on."""

    reason: str = ""


class Ask(msgspec.Struct, frozen=True):
    """A person must say."""

    prompt: str = ""


class Deny(msgspec.Struct, frozen=True):
    """Not this."""

    reason: str = ""


Verdict: TypeAlias = Allow | Ask | Deny


class ApprovalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is asked."""

    id: str
    """Call id and digest of the arguments: an answer holds for exactly this call."""
    action: Action
    prompts: tuple[str, ...] = ()
    expires_s: float | None = None


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A person's answer."""

    id: str
    """Must equal the id of the request, or the answer is refused."""
    granted: bool
    scope: Literal["once", "run", "project"] = "once"
    """For what it holds: this call; `run`, every further call of this tool in this run and its child runs, whatever the
    arguments, that the same plugins ask about; `project` is `run` to core, and the host's own business to keep."""
    by: str = ""
    reason: str = ""


class BudgetRequest(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a request, call or child run may use at most."""

    run: str
    kind: Literal["model", "tool", "agent"]
    resource: str
    tokens: int | None = None
    exact: bool = False
    """Whether what a model is sent was counted rather than estimated; its answer counts as long as it may be."""
    cost_usd: float | None = None
    calls: int = 1
    principal: Principal = Principal()


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What it did use."""

    request: BudgetRequest
    tokens: int | None
    cost_usd: float | None
    outcome: str
    estimated: bool = False


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of an audit trail: the intent before an effect, or its outcome after."""

    stage: Literal["intent", "outcome"]
    run: str
    action: Action
    principal: Principal
    decision: str
    outcome: str | None = None


class AuthRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a server knows of a caller."""

    scheme: str
    credentials: str | None
    headers: Mapping[str, str] = {}
    client: str | None = None


class PluginCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution before anything of it is imported."""

    plugin: str
    dist: str | None
    version: str | None
    manifest: Mapping[str, Any]
    path: str | None = None


class SecretRef(msgspec.Struct, frozen=True):
    """Where a secret is kept, for example `env:API_KEY` or `keyring:name`."""

    ref: str


class Secret:
    """A secret that shows itself only to `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")
