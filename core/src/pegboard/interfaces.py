"""What plugins implement and what they are given: protocols only, each small enough to write from memory.

The three contexts (`HostContext`, `RunContext`, `ToolContext`) are what core hands to plugins; the driver protocols
are what a named driver of a kind must offer. No implementation is known here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

import msgspec

from pegboard.events import Event
from pegboard.types import (
    Agent,
    BudgetShare,
    Effect,
    Grant,
    Json,
    JsonObject,
    Message,
    ModelRequest,
    ModelResponse,
    Principal,
    ResourceLimits,
    RunResult,
    Secret,
    StreamEvent,
    Tier,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
)

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
Next: TypeAlias = Callable[[T], Awaitable[T]]
"""What an `around` implementation calls to go on with a value of the kind that it returns."""
Call: TypeAlias = Callable[[Any], Awaitable[Any]]
"""What an `around` implementation calls where argument and result differ, for example request and response."""


class Clock(Protocol):
    """Time, so that tests need not wait for it."""

    def time(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds from any fixed point; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class CancelToken(Protocol):
    """Whether somebody wants the run to stop."""

    @property
    def cancelled(self) -> bool:
        """True from the moment of the request on."""

    @property
    def reason(self) -> str | None:
        """Why, in the words of whoever asked."""


class Budget(Protocol):
    """An account of a run in the budget tree of its root; reserved before use, settled after."""

    def remaining(self, what: Literal["tokens", "cost_usd", "seconds", "tool_calls", "requests"]) -> float | None:
        """What may still be used, here and in every account above; `None` is no limit."""


# --- the three contexts ------------------------------------------------------------------------------------------


class HostContext(Protocol):
    """What a plugin is given once, at its activation; it keeps it.

    `fs`, `http`, `exec` and `secrets` check each use against the permissions that the plugin declared and was granted.
    In-process that is accounting and refusal inside these services; it is no sandbox.
    """

    plugin: str
    clock: Clock
    log: Any
    """A `logging.Logger` named `pegboard.plugin.<id>`."""
    fs: FileService
    http: NetService
    exec: ExecService
    secrets: SecretService

    @property
    def config(self) -> Any:
        """The plugin's settings, validated against its schema; an empty dict where it has none."""

    @property
    def data_dir(self) -> Path:
        """The plugin's own folder for what must not be lost; made when it is first asked for."""

    @property
    def cache_dir(self) -> Path:
        """The plugin's own folder for what may be lost; made when it is first asked for."""

    def driver(self, kind: str) -> Any:
        """The driver of `kind` that the configuration names.

        Raises:
            DriverMissingError: none is configured, or the configured one is not installed.
        """

    def refresh(self, what: Literal["tools", "models", "agents"]) -> None:
        """Ask this plugin's `provide_*` hook again; takes effect at the next turn boundary."""

    def undo(self, fn: Callable[[], object]) -> None:
        """Call `fn` when the plugin is deactivated; newest first."""


class RunContext(Protocol):
    """One run; made once and shared by all plugins."""

    run: str
    parent: str | None
    root: str
    conversation: str | None
    agent: Agent
    principal: Principal
    workspace: str | None
    input: Json
    """What the run was given, as plain JSON; a text where it was told a task."""
    clock: Clock
    replaying: bool
    """True while recorded steps are read back: in `resume` until the first missing one, and in `replay` throughout.

    A plugin that tells somebody outside, such as one that sends metrics, traces or messages, stays silent then: it did
    so when it happened. What must not happen twice stands in a `step` and need not look here.
    """
    explain: bool

    @property
    def budget(self) -> Budget:
        """The account of this run in the budget tree."""

    @property
    def cancel(self) -> CancelToken:
        """Whether somebody wants the run to stop."""

    def emit(self, kind: str, data: JsonObject) -> None:
        """Write an event of the plugin's own kind, `<plugin id>.<name>`.

        Args:
            kind: with a dot in it, and none of those that core writes
            data: what it says, as JSON

        Raises:
            EventError: the kind is core's own, or the data is not JSON.
        """

    async def step(self, op: str, params: Json, call: Callable[[], Awaitable[Any]]) -> Any:
        """Do what must not happen twice by accident: recorded, and read back on resume instead of repeated."""

    async def wait(self, seconds: float) -> None:
        """Wait on the clock, as for a provider that asks for a pause; the time limit of a hook stands still meanwhile.

        The run's own limit and its cancel hold; every second of it is one in which the run does nothing.
        """

    async def read_blob(self, ref: str, start: int = 0, size: int | None = None) -> bytes:
        """A slice of an output that was too long to show. Raises `RunNotFoundError` for an unknown handle."""

    async def call_agent(
        self,
        agent: str | Agent,
        task: str,
        *,
        inputs: Json = None,
        required: bool = True,
        limits: ResourceLimits | None = None,
    ) -> RunResult:
        """A child run, under this run's budget and policy.

        Args:
            agent: the agent, or its name
            task: what it is to do; what it is given where there are no `inputs`
            inputs: JSON that fits its input schema
            required: raise when it fails; else its failure is listed under `degraded`, and the result says so; what
                only a person can know (`tool.unsafe_unknown`) is raised in any case
            limits: tighter limits than its own
        """

    async def find_agent(self, name: str) -> Agent:
        """The agent of a name, or of `module:object` or a file where the board allows that.

        Raises:
            AgentError: there is none, or it cannot be had.
        """

    def degrade(self, what: str, why: str, *, plugin: str | None = None, code: str | None = None) -> None:
        """Something was skipped, cut, replaced or unavailable: said in the result and as an event."""

    async def allocate(self, shares: Sequence[BudgetShare], total: int) -> Sequence[Grant]:
        """Share `total` tokens out between child runs: minimums first, then by priority, never more than there is."""


class ToolContext(Protocol):
    """One tool call."""

    call: ToolCall
    attempt: int
    host: HostContext | None
    """The services of the plugin that owns the tool; `None` for a tool of the host program."""

    @property
    def run(self) -> RunContext:
        """The run that the call belongs to."""

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this call, also after a crash; new after a fork."""

    def progress(self, message: str, share: float | None = None) -> None:
        """Tell the user how far it is; `share` from 0 to 1."""


class FileService(Protocol):
    """Files, within the plugin's `fs_read` and `fs_write`."""

    def read(self, path: str | Path) -> bytes:
        """The content. Raises `PermissionDeniedError` outside the granted folders."""

    def write(self, path: str | Path, data: bytes) -> None:
        """Replace the content, whole or not at all."""


class NetService(Protocol):
    """Network addresses, within the plugin's `net`."""

    def check(self, host: str, port: int) -> None:
        """Raises `PermissionDeniedError` unless the address was granted; call it before connecting."""


class ExecService(Protocol):
    """Programs, within the plugin's `exec`."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        timeout_s: float = 60.0,
        env: Mapping[str, str] = ...,
        max_output_bytes: int = ...,
    ) -> ExecResult:
        """Run a program to its end, with a minimal environment and `env`; its process group is ended at the limit.

        Of each stream `max_output_bytes` are kept, 16 MiB unless another number is given.
        """


class SecretService(Protocol):
    """Secrets, within the plugin's `secrets`."""

    async def get(self, name: str, *, purpose: str = "", destination: str = "") -> Secret:
        """The secret that the setting `name` refers to."""


class ExecResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a program left behind."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    truncated: bool = False
    """Whether there was more output than was kept."""


# --- what plugins contribute -------------------------------------------------------------------------------------


@runtime_checkable
class Tool(Protocol):
    """Something a model can ask for. Functions become one with `@tool`."""

    @property
    def name(self) -> str:
        """What a model calls it by."""

    @property
    def description(self) -> str:
        """What it does, for a model."""

    @property
    def input_schema(self) -> JsonObject:
        """JSON Schema of the arguments."""

    @property
    def output_schema(self) -> JsonObject | None:
        """JSON Schema of `structured`, or `None`."""

    @property
    def effect(self) -> Effect:
        """What a repeat would do."""

    @property
    def tier(self) -> Tier:
        """When it is offered: always, when tools are chosen for the task, or on demand."""

    @property
    def timeout_s(self) -> float | None:
        """Seconds for one call; `None` is no limit."""

    @property
    def permissions(self) -> Mapping[str, tuple[str, ...]]:
        """What it touches, as in a manifest."""

    def resources(self, args: Mapping[str, Any]) -> frozenset[str] | None:
        """Lock keys: calls that share one run one after another; none is free; `None` excludes every other call."""

    async def execute(self, args: Mapping[str, Any], ctx: ToolContext) -> ToolResult:
        """Do it. Raising is allowed and becomes a result with status `error`."""


@runtime_checkable
class Module(Protocol):
    """A capability with tools and a life of its own within a run."""

    name: str
    description: str

    def tools(self) -> Sequence[Tool]:
        """The tools it brings."""

    async def initialize(self, ctx: RunContext) -> None:
        """Called at its first use in a run."""

    async def cleanup(self) -> None:
        """Always called at the end of a run in which `initialize` was, also after it failed."""


class TokenCounter(Protocol):
    """Counts tokens for one model. It is called in the event loop, so it must not wait for anything."""

    exact: bool
    """Whether the provider counts the same; if not, it is an estimate, and said to be one wherever it is shown."""

    def count(self, text: str) -> int:
        """Tokens of a text; never fewer than the provider will count, where `exact` is false."""


class TurnHooks(Protocol):
    """What a model turn needs of its surroundings; the runner binds it to the dispatcher."""

    async def model_request(
        self, request: ModelRequest, send: Callable[[ModelRequest], Awaitable[ModelResponse]]
    ) -> ModelResponse:
        """Send through whatever stands around a model request."""

    async def tool_calls(self, calls: Sequence[ToolCall]) -> Sequence[ToolResult]:
        """Execute the calls of one turn; results in the order of the calls, one each."""

    @property
    def on_event(self) -> Callable[[StreamEvent], Awaitable[None] | None] | None:
        """Where events go; an awaitable asks the caller to slow down. `None` when nobody streams."""


# --- drivers -----------------------------------------------------------------------------------------------------


class StepRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is kept of a step."""

    run: str
    step: str
    """`<op>#<n>`, n counting that operation within the run in creation order."""
    op: str
    params_digest: str | None = None
    state: Literal["intent", "done", "failed"] = "done"
    attempt: int = 1
    effect: Effect | None = None
    key: str | None = None
    result: Json = None
    artifact: str | None = None
    """Digest of the blob that holds the result, when it is too large for a row."""
    error: JsonObject | None = None
    usage: Usage | None = None
    at: float = 0.0
    schema: int = 1


class RunRow(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is kept of a run beside its events."""

    run: str
    root: str
    parent: str | None = None
    agent: str = ""
    state: Literal["queued", "running", "paused", "done", "failed", "cancelled", "dead", "parked"] = "running"
    task: str = ""
    """The beginning of what it was asked to do, for lists."""
    input: Json = None
    plugin_digest: str = ""
    at: float = 0.0
    """When it was started, in seconds since the epoch."""
    ended_at: float | None = None
    summary: JsonObject | None = None
    """What it came to: end reason, turns, tokens, cost, what was degraded; `None` until it ends."""


class Store(Protocol):
    """Driver `store`: where runs, events and steps are kept."""

    durable: bool
    """Whether what is stored survives the process."""

    async def append(
        self, row: RunRow, events: Sequence[Event], steps: Sequence[StepRecord], *, barrier: bool = False
    ) -> None:
        """Add to a run's log in one transaction; with `barrier`, return only when it is safe against power loss.

        Raises:
            RunBusyError: the first event's `seq` is not the next one, so somebody else wrote meanwhile.
            StorageExhaustedError: there is no room; nothing was added.
        """

    async def load(self, run: str) -> tuple[RunRow, Sequence[Event], Sequence[StepRecord]]:
        """All of a run. Raises `RunNotFoundError`."""

    async def runs(
        self, *, root: str | None = None, prefix: str | None = None, roots: bool = False, limit: int = 100
    ) -> Sequence[RunRow]:
        """Rows without their inputs, which `load` has: newest first, or with `prefix` in the order of their ids.

        Args:
            root: only the tree of this run
            prefix: only runs whose ids begin so
            roots: only runs that are the root of their tree
            limit: at most so many
        """

    async def put_blob(self, data: bytes) -> str:
        """Keep bytes and return their handle, which is derived from the content."""

    async def get_blob(self, ref: str, start: int = 0, size: int | None = None) -> bytes:
        """A slice of a blob. Raises `RunNotFoundError` for an unknown handle."""


@runtime_checkable
class QuickStore(Protocol):
    """What a store offers beside `Store` that can often add without waiting, which saves a task for each step."""

    def append_at_once(self, row: RunRow, events: Sequence[Event], steps: Sequence[StepRecord]) -> bool:
        """As `append` without `barrier`, where nothing has to be waited for; false where nothing was added."""


@runtime_checkable
class StoreControl(Protocol):
    """What a store that keeps runs for long offers beside `Store`, for those who look after it."""

    async def events(self, run: str, after: int = -1, limit: int | None = None) -> Sequence[Event]:
        """Events with a `seq` above `after`, without steps and blobs. Raises `RunNotFoundError`."""

    async def driven(self, runs: Sequence[str]) -> Collection[str]:
        """Those of the runs that a living process drives; one that says `running` and is not among them was cut off."""

    async def check(self) -> Sequence[str]:
        """What is wrong with what is stored, in words; empty when all is well."""

    async def remove(self, runs: Sequence[str]) -> int:
        """Forget runs, and the blobs that no other run or conversation mentions; the bytes that were freed."""

    async def size_bytes(self) -> int:
        """The room that it takes."""


class ConversationRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a conversation beside its messages."""

    id: str
    agents: tuple[str, ...] = ()
    """Names of those that take part."""
    last: str | None = None
    """Who spoke last."""
    messages: int = 0
    at: float = 0.0
    """When it was last written, in seconds since the epoch."""
    title: str = ""
    """The beginning of what was said first, for lists."""


@runtime_checkable
class ConversationStore(Protocol):
    """What a store offers beside `Store` that keeps conversations. They outlive the runs that they were held in."""

    async def append_messages(self, row: ConversationRow, messages: Sequence[Message], *, expect: int) -> None:
        """Add messages to a conversation that has `expect` of them so far.

        Raises:
            RunBusyError: it has another number, so somebody else wrote meanwhile.
        """

    async def load_conversation(self, id: str) -> tuple[ConversationRow, Sequence[Message]]:
        """All of a conversation. Raises `RunNotFoundError`."""

    async def conversations(self, *, limit: int = 100) -> Sequence[ConversationRow]:
        """Newest first."""


class Engine(Protocol):
    """Driver `engine`: runs workflows durably."""

    durable: bool

    def open(self) -> AbstractAsyncContextManager[None]:
        """Start and stop what the engine needs."""

    async def run(self, run_id: str, workflow: str, args: Json) -> Json:
        """Run a workflow to its end; starting one id twice gives the same run."""

    async def step(self, op: str, params: Json, call: Callable[[], Awaitable[Json]]) -> Json:
        """A step of the current workflow."""

    async def wait(self, topic: str, timeout_s: float | None) -> Json | None:
        """Wait for a signal without holding a thread."""

    async def signal(self, run_id: str, topic: str, message: Json, message_id: str) -> None:
        """Wake a waiting run; a repeated `message_id` is ignored."""


class Process(Protocol):
    """Driver `process`: children with limits."""

    async def spawn(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: str | None = None) -> Any:
        """Start a child in a process group of its own."""

    async def stop(self, child: Any, *, grace_s: float = 2.0) -> int:
        """End it and all its children; the exit code."""


class Environment(Protocol):
    """Driver `environment`: Python environments for agents and plugins."""

    async def ensure(self, requirements: Sequence[str], *, python: str | None = None) -> Path:
        """The interpreter of an environment that has the requirements."""

    async def remove(self, key: str) -> None:
        """Delete an environment."""


class Sandbox(Protocol):
    """Driver `sandbox`: confines a command."""

    capabilities: frozenset[str]
    """What it truly enforces, for example `files`, `network`, `exec`, `memory`."""

    def wrap(self, argv: Sequence[str], *, policy: Mapping[str, Any]) -> Sequence[str]:
        """The command that runs `argv` confined. Raises when the policy asks for more than `capabilities`."""


class Files(Protocol):
    """Driver `files`: folders that nothing leads out of."""

    def beneath(self, root: str | Path) -> Folder:
        """A folder of the file system as a world of its own. Raises `FilesDeniedError` when it is none."""


class FileStat(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a file without reading it."""

    kind: Literal["file", "folder", "link", "other"]
    size_bytes: int
    modified_at: float
    """Seconds since the epoch."""


class Folder(Protocol):
    """A folder opened by `Files`. Paths are relative to it; a link is followed only while it stays inside.

    Whatever leads out, is protected, or is no file or folder raises `FilesDeniedError`, which tells nothing of what
    lies outside. What is not there raises `FileNotFoundError`.
    """

    def open(self, path: str) -> BinaryIO:
        """A file for reading; the caller closes it."""

    def stat(self, path: str) -> FileStat:
        """Of the path itself; a link is not followed."""

    def list(self, path: str = ".") -> Sequence[str]:
        """Names in a folder, sorted."""

    def replace(self, path: str, data: bytes) -> None:
        """Replace a file whole or not at all, keeping its mode; folders above it are made."""

    def make(self, path: str) -> None:
        """Make a folder and those above it; one that is there is left alone."""

    def move(self, path: str, to: str) -> None:
        """Rename a file or folder. Raises `FileExistsError` rather than overwrite."""

    def remove(self, path: str) -> None:
        """Delete a file, a link or an empty folder."""


class VectorStore(Protocol):
    """Driver `vectorstore`."""

    async def add(self, ids: Sequence[str], vectors: Sequence[Sequence[float]], data: Sequence[Json]) -> None:
        """Add or replace."""

    async def query(self, vector: Sequence[float], limit: int) -> Sequence[tuple[str, float, Json]]:
        """Nearest first: id, similarity, data."""

    async def remove(self, ids: Sequence[str]) -> None:
        """Delete."""


class Bus(Protocol):
    """Driver `bus`: events between processes."""

    async def publish(self, topic: str, data: bytes) -> None:
        """Send to every subscriber."""

    def subscribe(self, topic: str) -> AsyncIterator[bytes]:
        """Receive until closed."""


class Secrets(Protocol):
    """Driver `secrets`: where secrets are kept."""

    async def get(self, name: str) -> Secret | None:
        """A secret, or `None` when there is none of that name."""


class Crypto(Protocol):
    """Driver `crypto`: encryption at rest."""

    def encrypt(self, data: bytes, *, context: bytes) -> bytes:
        """Bound to `context`: the same must be given to decrypt."""

    def decrypt(self, data: bytes, *, context: bytes) -> bytes:
        """Raises when the data or its context was changed."""


class Egress(Protocol):
    """Driver `egress`: the only way to the network from a sandbox."""

    def open(self, allowed: Sequence[str]) -> AbstractAsyncContextManager[int]:
        """A descriptor to hand to the child; the addresses it may reach."""


class Conversation(Protocol):
    """What a plugin may know of a conversation."""

    id: str

    @property
    def messages(self) -> Sequence[Message]:
        """All messages so far."""


DRIVER_KINDS: dict[str, type] = {
    "bus": Bus,
    "crypto": Crypto,
    "egress": Egress,
    "engine": Engine,
    "environment": Environment,
    "files": Files,
    "process": Process,
    "sandbox": Sandbox,
    "secrets": Secrets,
    "store": Store,
    "vectorstore": VectorStore,
}
"""The kinds of named drivers and the protocol of each."""

__all__ = [
    "DRIVER_KINDS",
    "Budget",
    "Bus",
    "Call",
    "CancelToken",
    "Clock",
    "Conversation",
    "ConversationRow",
    "ConversationStore",
    "Crypto",
    "Egress",
    "Engine",
    "Environment",
    "ExecResult",
    "ExecService",
    "FileService",
    "FileStat",
    "Files",
    "Folder",
    "HostContext",
    "Module",
    "NetService",
    "Next",
    "Process",
    "QuickStore",
    "RunContext",
    "RunRow",
    "Sandbox",
    "SecretService",
    "Secrets",
    "StepRecord",
    "Store",
    "StoreControl",
    "TokenCounter",
    "Tool",
    "ToolContext",
    "ToolSpec",
    "TurnHooks",
    "VectorStore",
]
