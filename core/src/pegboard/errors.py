"""The error tree: what went wrong, whose fault it was, and what to type next.

Every error has a stable `code`, an `exit_code` for the command line, and a `hint` that is a runnable command
rather than advice. The docstring of a class is its page: `peg help CODE` prints it. This module knows nothing
else of pegboard.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from pegboard.types import RunResult

E = TypeVar("E", bound="PegboardError")


class ExitCode(IntEnum):
    """The closed set of exit codes of `peg`."""

    DONE = 0
    """The task was completed."""
    TASK_FAILED = 1
    """The run ended without completing the task."""
    USAGE = 2
    """Wrong command line."""
    PLUGIN = 3
    """A plugin that the command needs is broken."""
    CONFIG = 4
    """Configuration or manifest invalid."""
    CREDENTIALS = 5
    """Key missing or refused."""
    LIMIT = 6
    """Budget or limit reached."""
    APPROVAL = 7
    """Approval needed or denied."""
    UNAVAILABLE = 8
    """Model or provider unavailable; a later try may help."""
    BUG = 70
    """Our fault; the message says how to report it."""
    INTERRUPTED = 130
    """Ctrl-C."""
    TERMINATED = 143
    """SIGTERM, as a service manager or `kill` sends it."""


class PegboardError(Exception):
    """Base of every error that pegboard raises on purpose."""

    code: str = "error"
    exit_code: ExitCode = ExitCode.TASK_FAILED
    retryable: bool = False
    default_hint: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        plugin: str | None = None,
        dist: str | None = None,
        version: str | None = None,
        run: RunResult | str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.default_hint
        self.plugin = plugin
        self.dist = dist
        self.version = version
        self.run: RunResult | None = None if isinstance(run, str) else run
        """What was going on: the `RunResult` so far, when a run failed; else `None`."""
        self.run_id = run if isinstance(run, str) else None
        """The run that is spoken of, where there is no result of it, for example since it is still running."""

    def to_json(self) -> dict[str, Any]:
        """The error as the `error` object of `--json` output."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "help": f"peg help {self.code}",
            "plugin": self.plugin,
            "dist": self.dist,
            "version": self.version,
            "retryable": self.retryable,
            "exit_code": int(self.exit_code),
            "run": self.run_id if self.run is None else self.run.run,
        }


# --- plugins -----------------------------------------------------------------------------------------------------


class PluginError(PegboardError):
    """Base of the faults of one plugin; the other plugins and the host go on."""

    code = "plugin.error"
    exit_code = ExitCode.PLUGIN
    default_hint = "peg plugins doctor"


class PluginLoadError(PluginError):
    """A plugin's module could not be imported, or its activation raised.

    The board goes on without it. `peg plugins disable ID` switches it off for good, and
    `peg plugins enable ID --test` tries it again in a process of its own.
    """

    code = "plugin.load"

    @classmethod
    def from_cause(
        cls, plugin: str, dist: str | None, version: str | None, cause: BaseException, *, imported: bool = False
    ) -> PluginLoadError:
        """The error for `cause`, which `activate` of `plugin` raised, or its import before it was `imported`."""
        what, told, place = "activated" if imported else "imported", describe(cause), where(cause)
        if not isinstance(cause, ImportError) and told != type(cause).__name__:
            told = f"{type(cause).__name__}: {told}"
        return cls(
            f"plugin `{plugin}` ({dist or 'given in code'}{' ' + version if version else ''}) could not be {what}: "
            f"{told}{f' ({place})' if place else ''}",
            hint=f"peg plugins disable {plugin}",
            plugin=plugin,
            dist=dist,
            version=version,
        )


class PluginTimeoutError(PluginError):
    """A plugin did not finish its activation within the limit and was abandoned.

    Its thread is left behind and dies with the process; nothing waits for it.
    """

    code = "plugin.timeout"


class PluginCollisionError(PluginError):
    """Two distributions claim one plugin id or one contribution name.

    The incumbent stays, the newcomer is rejected; nothing is renamed. Name the winner in the user configuration:
    `[overrides]` with `"tool:git.status" = "my-dist"`.
    """

    code = "plugin.collision"
    default_hint = "peg plugins list --all --why"


class PluginManifestError(PluginError):
    """A `pegboard.toml` is missing, unreadable, too large, or breaks its schema."""

    code = "plugin.manifest"
    exit_code = ExitCode.CONFIG
    default_hint = "peg plugins validate"


class PluginApiError(PluginError):
    """A plugin was written for another version of the hook API, of Python, or for another platform."""

    code = "plugin.api"
    default_hint = "peg plugins update"


class PluginRequiresError(PluginError):
    """A plugin needs another plugin or capability that is absent, disabled, quarantined, or part of a cycle."""

    code = "plugin.requires"
    default_hint = "peg plugins list --all --why"


class PluginKindError(PluginError):
    """An implementation breaks the kind or the signature of its hook, or names a hook that does not exist."""

    code = "plugin.kind"


class PluginContributionsError(PluginError):
    """What a plugin's `provide_*` hook returned differs from what its manifest lists."""

    code = "plugin.contributions"
    default_hint = "peg plugins validate"


class PluginNotFoundError(PluginError):
    """No installed plugin or distribution has this name."""

    code = "plugin.not_found"
    exit_code = ExitCode.USAGE
    default_hint = "peg plugins list --all"


class PluginQuarantinedError(PluginError):
    """A plugin failed so often that it was switched off; an upgrade or a successful test clears it."""

    code = "plugin.quarantined"


class PluginCycleError(PluginError):
    """Activating a plugin needed the plugin itself, directly or through others."""

    code = "plugin.cycle"


class PluginInstallError(PluginError):
    """A distribution could not be installed; the environment is as it was before."""

    code = "plugin.install"


class PluginConsentError(PluginError):
    """A plugin asks for permissions that nobody has granted."""

    code = "plugin.consent"
    exit_code = ExitCode.APPROVAL


class PermissionDeniedError(PluginError):
    """A plugin used a checked service beyond the permissions that it declared and was granted."""

    code = "plugin.permission"


# --- hooks -------------------------------------------------------------------------------------------------------


class HookError(PluginError):
    """An implementation of a hook raised; it was isolated as its kind demands."""

    code = "hook.failed"


class HookTimeoutError(HookError):
    """An implementation of a hook did not answer within its limit."""

    code = "hook.timeout"


class HookTypeError(HookError):
    """An implementation of a hook returned a value of a wrong type."""

    code = "hook.type"


class CallNextTwiceError(HookError):
    """An `around` implementation called `call_next` a second time, which its hook does not allow."""

    code = "hook.call_next_twice"


class EventError(PluginError):
    """A plugin wrote an event that is not its own, or whose data is not JSON.

    Kinds that core writes are core's alone: readers of the log rely on what they say. A plugin's kind begins with its
    id, as in `ctx.emit("my-plugin.found", {"files": 3})`. The data is an object of texts, numbers, booleans, `None`,
    lists and further objects; values such as dates, structs and dataclasses are written as their JSON.
    """

    code = "event.invalid"
    default_hint = "peg help event.invalid"


# --- drivers -----------------------------------------------------------------------------------------------------


class DriverMissingError(PegboardError):
    """The configuration names a driver that no installed distribution provides."""

    code = "driver.missing"
    exit_code = ExitCode.CONFIG
    default_hint = "peg plugins list --all"


class DriverCollisionError(PegboardError):
    """Two distributions provide a driver of one kind under one name."""

    code = "driver.collision"
    exit_code = ExitCode.CONFIG
    default_hint = "peg plugins doctor"


class DriverLoadError(PegboardError):
    """A driver's module could not be imported or its object could not be made."""

    code = "driver.load"
    exit_code = ExitCode.PLUGIN
    default_hint = "peg plugins doctor"


# --- configuration and credentials --------------------------------------------------------------------------------


class ConfigError(PegboardError):
    """A configuration file or value is invalid; the message names layer, file, line and key."""

    code = "config.invalid"
    exit_code = ExitCode.CONFIG
    default_hint = "peg config show"


class UntrustedConfigError(ConfigError):
    """A project file tried to enable, widen or point at code before its folder was trusted.

    Project files may always disable plugins and narrow permissions.
    """

    code = "config.untrusted"


class CredentialsMissingError(PegboardError):
    """A key is needed and was not found where its reference points."""

    code = "credentials.missing"
    exit_code = ExitCode.CREDENTIALS
    default_hint = "peg doctor"


class CredentialsInvalidError(PegboardError):
    """A key was found and cannot be one: there is a sign in it that cannot be sent. The error never shows it.

    Mostly it was copied wrong: a line break in its middle, or a hyphen or quotation mark that an editor has replaced.
    """

    code = "credentials.invalid"
    exit_code = ExitCode.CREDENTIALS
    default_hint = "peg models list"


# --- agents ------------------------------------------------------------------------------------------------------


class AgentError(PegboardError):
    """An agent's definition is invalid."""

    code = "agent.invalid"
    exit_code = ExitCode.CONFIG
    default_hint = "peg agents validate"


class AgentNotFoundError(AgentError):
    """No agent of this name, or of a version in the range asked for, is registered."""

    code = "agent.not_found"
    default_hint = "peg agents list"


class AgentCollisionError(AgentError):
    """Two agents claim one name and version."""

    code = "agent.collision"
    default_hint = "peg agents list"


class AgentRequiresError(AgentError):
    """A dependency of an agent is missing or out of range, or dependencies form a cycle."""

    code = "agent.requires"


class AgentConflictError(AgentError):
    """Two agents need versions of a third that exclude each other; the message names both sides."""

    code = "agent.conflict"


class AgentFileError(AgentError):
    """A file holds no sound agent, or cannot be read; the message has the file and the lines.

    The answer of a plugin that reads agents from files, and no fault of that plugin.
    """

    code = "agent.file"


class AgentReaderError(AgentError):
    """An agent is in a file, and no plugin on the board reads agents from such files."""

    code = "agent.reader"
    default_hint = "peg plugins install pegboard-agentfile"


class AgentWorkflowError(AgentError):
    """An agent is a graph of other agents, and no plugin on the board runs workflows."""

    code = "agent.workflow"
    default_hint = "peg plugins install pegboard-workflow"


class AgentInputError(AgentError):
    """The input of a run does not fit the agent's input schema."""

    code = "agent.input_invalid"
    exit_code = ExitCode.USAGE


# --- models ------------------------------------------------------------------------------------------------------


class ModelNoneError(PegboardError):
    """No model is configured and none could be found.

    Core has no model of its own; models come from plugins. `pegboard-replay`, which the extra `start` brings, has
    scripted ones for trying things out. `peg plugins list --all` shows what is installed.
    """

    code = "model.none"
    exit_code = ExitCode.CONFIG
    default_hint = "peg plugins install pegboard-replay"


class ModelNotFoundError(PegboardError):
    """No installed plugin knows a model of this name."""

    code = "model.not_found"
    exit_code = ExitCode.CONFIG
    default_hint = "peg models list"


class ModelAmbiguousError(PegboardError):
    """The name patterns of two model plugins match one bare name; write `provider:name`."""

    code = "model.ambiguous"
    exit_code = ExitCode.CONFIG
    default_hint = "peg plugins list"


class ModelFault(PegboardError):
    """A classified fault of a model or its provider.

    Provider plugins translate everything their SDK raises into one of the subclasses; nothing raw leaves them.
    """

    code = "model.unknown"
    exit_code = ExitCode.UNAVAILABLE
    default_hint: ClassVar[str | None] = "peg doctor"

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        model: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
        phase: str | None = None,
        stream_started: bool = False,
        usage: object | None = None,
        hint: str | None = None,
        plugin: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, plugin=plugin)
        self.provider = provider
        self.model = model
        self.status = status
        self.retry_after_s = retry_after_s
        """Lower bound, in seconds, before the next attempt."""
        self.request_id = request_id
        self.phase = phase
        """Where it happened: `connect`, `headers`, `stream` or `parse`."""
        self.stream_started = stream_started
        self.usage = usage


class ModelRateLimitedError(ModelFault):
    """The provider refused because of too many requests; not before `retry_after_s`."""

    code = "model.rate_limited"
    retryable = True


class ModelOverloadedError(ModelFault):
    """The provider is overloaded."""

    code = "model.overloaded"
    retryable = True


class ModelServerError(ModelFault):
    """The provider failed with an error of its own."""

    code = "model.server_error"
    retryable = True


class ModelConnectionError(ModelFault):
    """The provider could not be reached, or the connection was destroyed."""

    code = "model.connection"
    retryable = True


class ModelTimeoutError(ModelFault):
    """The provider did not answer within a limit; the message names which one."""

    code = "model.timeout"
    retryable = True


class ModelStreamError(ModelFault):
    """The provider's stream ended without a finish reason: the answer is cut, however well it reads."""

    code = "model.stream_incomplete"
    retryable = True


class ModelStreamCutError(ModelStreamError):
    """The connection was cut in the middle of the provider's stream."""

    code = "model.stream_cut"


class ModelStreamMalformedError(ModelStreamError):
    """The provider's stream held something that is not of its protocol, or something of it was missing."""

    code = "model.stream_malformed"


class ModelEmptyResponseError(ModelFault):
    """The provider answered with nothing: no part, no usage."""

    code = "model.empty_response"
    retryable = True


class ModelContextOverflowError(ModelFault):
    """The request is larger than the model's context window."""

    code = "model.context_overflow"
    exit_code = ExitCode.LIMIT


class ModelOutputLimitError(ModelFault):
    """The answer was cut because it reached the output limit."""

    code = "model.output_limit"
    exit_code = ExitCode.LIMIT


class ModelOutputInvalidError(ModelFault):
    """The answer does not fit the output schema, also after the repairs that were allowed."""

    code = "model.output_invalid"
    exit_code = ExitCode.TASK_FAILED
    default_hint = None
    raw: str = ""
    """The model's last text, as it was."""


class ModelRefusedError(ModelFault):
    """The model or its provider refused the content."""

    code = "model.content_refused"
    exit_code = ExitCode.TASK_FAILED


class ModelRequestError(ModelFault):
    """The provider called the request malformed."""

    code = "model.bad_request"
    exit_code = ExitCode.TASK_FAILED


class ModelUnsupportedError(ModelFault):
    """The model lacks something that the request needs."""

    code = "model.unsupported"
    exit_code = ExitCode.CONFIG


class ModelAuthError(ModelFault):
    """The provider refused the key."""

    code = "model.auth"
    exit_code = ExitCode.CREDENTIALS


class ModelPermissionError(ModelFault):
    """The key is valid, and may not do this: use this model, this feature, or from this place."""

    code = "model.permission"
    exit_code = ExitCode.CREDENTIALS


class ModelNotOfferedError(ModelFault):
    """The provider has no model of this name, or not for this key."""

    code = "model.not_offered"
    exit_code = ExitCode.CONFIG
    default_hint = "peg config explain model"


class ModelQuotaError(ModelFault):
    """The account behind the key has no quota left."""

    code = "model.quota_exhausted"
    exit_code = ExitCode.CREDENTIALS


class ModelUnavailableError(ModelFault):
    """All attempts and fallbacks were used up; a later try may help."""

    code = "model.unavailable"


# --- tools -------------------------------------------------------------------------------------------------------


class ToolError(PegboardError):
    """A tool raised. The model sees it as a result with status `error`; it never leaves the loop as an exception."""

    code = "tool.failed"


class ToolDefinitionError(ToolError):
    """A function or object cannot be a tool: the message says which argument is in the way."""

    code = "tool.invalid"
    exit_code = ExitCode.CONFIG


class ToolArgumentsError(ToolError):
    """The arguments of a call do not fit the tool's input schema; the tool was not started."""

    code = "tool.arguments"


class ToolNotFoundError(ToolError):
    """The model called a tool that it was not offered."""

    code = "tool.not_found"


class ToolTimeoutError(ToolError):
    """A tool did not finish within its limit."""

    code = "tool.timeout"


class ToolLoopError(ToolError):
    """The same call gave the same result again and again and was blocked."""

    code = "tool.loop"


class ToolUnsafeUnknownError(ToolError):
    """It is not known whether an unsafe effect happened; it is not repeated.

    The process ended between the beginning of the effect and its record. Look where the effect would be seen, then say
    what became of it: `peg runs resolve RUN STEP done`, or `redo` to have it done again, or `fail` to have the model
    told that it failed; then `peg runs resume RUN` goes on. A tool with a `reconcile` method finds out by itself.
    """

    code = "tool.unsafe_unknown"
    exit_code = ExitCode.APPROVAL


# --- limits and approvals ------------------------------------------------------------------------------------------


class BudgetExceededError(PegboardError):
    """A request would pass a limit of its budget tree; it was not sent."""

    code = "budget.exceeded"
    exit_code = ExitCode.LIMIT
    default_hint = "peg config show"

    unit: str = ""
    """What is short: `tokens`, `cost_usd`, `requests` or `tool_calls`; empty where a plugin refused."""
    limit: float = 0.0
    """What the limit is, in that unit."""
    short: float = 0.0
    """How much more it would have to be."""
    needed: float = 0.0
    """What the step may need."""
    above: int = 0
    """Whose limit: of this run with 0, of the one above it with 1, and so on."""


class PriceUnknownError(BudgetExceededError):
    """A money limit is set and the model has no price, so the limit could not be kept; nothing was sent."""

    code = "budget.price_unknown"
    default_hint = "peg config explain limits.cost_usd"


class LoopLimitError(PegboardError):
    """A limit of the run was reached: turns, returns from verification, repeats, or wall clock."""

    code = "loop.limit"
    exit_code = ExitCode.LIMIT


class UnknownPhaseError(PegboardError):
    """A plugin's `next_phase` named a phase that does not exist or cannot be entered from here."""

    code = "loop.unknown_phase"


class ValidationFailedError(PegboardError):
    """The output breaks a quality standard of the agent, or its confidence is below the minimum."""

    code = "validation.failed"


class StateDepthError(PegboardError):
    """More than five states were pushed inside one another."""

    code = "loop.state_depth"


class ApprovalNeededError(PegboardError):
    """An effect needs a person's approval and nobody could be asked.

    What the host program gives in code is allowed; tools of installed plugins are asked for, unless they are `pure`,
    or `idempotent` and inside the workspace. Ways out: run on a terminal, where `peg run` asks; approve a tool with
    `peg run --allow TOOL`, or with `--allow 'PREFIX.*'` all of a prefix; in your own program give the board a plugin
    with `request_approval`, or with `authorize` for a rule instead of a question. With `--json`, `data.request` is what
    was asked.
    """

    code = "approval.needed"
    exit_code = ExitCode.APPROVAL


class ApprovalDeniedError(PegboardError):
    """A person or a policy denied an effect."""

    code = "approval.denied"
    exit_code = ExitCode.APPROVAL


class AuditRefusedError(PegboardError):
    """The audit trail did not accept the record of an effect, so nothing was done."""

    code = "audit.refused"
    exit_code = ExitCode.APPROVAL
    default_hint = "peg plugins order audit"


class FilesDeniedError(PegboardError):
    """A path leads out of its folder, is protected, or is neither a file nor a folder; nothing was read or written."""

    code = "files.denied"


# --- runs, journal, storage ----------------------------------------------------------------------------------------


class RunNotFoundError(PegboardError):
    """No run of this id is known to the store in use."""

    code = "run.not_found"
    exit_code = ExitCode.USAGE
    default_hint = "peg doctor"


class RunBusyError(PegboardError):
    """The run or conversation is being driven already; a second writer is refused."""

    code = "run.busy"


class RunFailedError(PegboardError):
    """A run ended without completing its task; `error.run` is its result so far."""

    code = "run.failed"


class RunCancelledError(PegboardError):
    """A run was cancelled; its history is valid and it can be resumed.

    The board that ran it can do so as long as it is open. Another process can with `peg runs resume RUN`, when a store
    that outlives the process is configured; the hint says so then.
    """

    code = "run.cancelled"
    exit_code = ExitCode.INTERRUPTED


class JournalDivergedError(PegboardError):
    """A replay asked for another step than the one that was recorded; the run is parked, nothing is repeated."""

    code = "journal.diverged"


class JournalVersionError(PegboardError):
    """An event or record was written by a newer pegboard; the message names its version."""

    code = "journal.version"


class JournalUnserializableError(PegboardError):
    """The result of a step is not JSON and cannot be recorded."""

    code = "journal.unserializable"


class JournalCorruptError(PegboardError):
    """What a store has of a run cannot be read; the run is parked, and others go on."""

    code = "journal.corrupt"


class StorageError(PegboardError):
    """The store cannot be opened, read or written, for example since it is on a read-only disk.

    What was recorded before is still there: mend what the message names, and resume the run.
    """

    code = "storage.failed"


class StorageExhaustedError(PegboardError):
    """The store has no room left. What was recorded before is still there: make room, and resume the run."""

    code = "storage.exhausted"
    exit_code = ExitCode.LIMIT


class EngineNotDurableError(PegboardError):
    """A durable run was asked for and the store in use does not survive the process."""

    code = "engine.not_durable"
    exit_code = ExitCode.CONFIG


# --- the board -----------------------------------------------------------------------------------------------------


class RunningLoopError(PegboardError):
    """The sync API was called inside a running event loop; the hint is the `await` to write instead."""

    code = "board.running_loop"
    exit_code = ExitCode.USAGE


class BoardArgumentError(PegboardError):
    """A board was given something that cannot be what its name says; the message names the argument of `Pegboard(…)`.

    `plugins`, `agents` and `folders` are lists, `config` is a mapping of settings, `store` an object with the methods
    of a store, `workspace` a folder that exists, and `model` a model or its name.
    """

    code = "board.argument"
    exit_code = ExitCode.USAGE
    default_hint = "peg help board.argument"


class BoardClosedError(PegboardError):
    """The board is not open: use it inside `async with Pegboard() as board`, or call `close()` only at the end."""

    code = "board.closed"
    exit_code = ExitCode.USAGE


class UsageError(PegboardError):
    """A command was called with arguments that do not make sense together."""

    code = "usage"
    exit_code = ExitCode.USAGE
    default_hint = "peg --help"


class InternalError(PegboardError):
    """A fault of pegboard itself; please report it with the bundle whose path the message shows."""

    code = "internal.bug"
    exit_code = ExitCode.BUG
    default_hint = "peg doctor --bundle"


def describe(error: BaseException) -> str:
    """What an error says, or its type where it says nothing or cannot even say it."""
    try:
        return str(error) or type(error).__name__
    except BaseException as broken:
        if isinstance(broken, KeyboardInterrupt):
            raise
        return f"{type(error).__name__} (it cannot be shown: {type(broken).__name__})"


def where(error: BaseException) -> str | None:
    """The place of an error as `file.py:12 in function`: the last frame of somebody's code, not Python's or ours."""
    found = None
    place = error.__traceback__
    while place is not None:
        code, module = place.tb_frame.f_code, str(place.tb_frame.f_globals.get("__name__", ""))
        is_ours = module == "pegboard" or module.startswith("pegboard.")
        if not is_ours and not code.co_filename.startswith("<") and not _is_of_python(code.co_filename):
            found = f"{os.path.basename(code.co_filename)}:{place.tb_lineno} in {code.co_name}"  # noqa: PTH119
        place = place.tb_next
    return found


def _is_of_python(file: str) -> bool:
    return file.startswith(os.path.dirname(os.__file__)) and "site-packages" not in file  # noqa: PTH120  # no pathlib


def error_classes() -> Iterator[type[PegboardError]]:
    """Every error class, base classes too, each once, in order of definition."""

    def walk(cls: type[E]) -> Iterator[type[E]]:
        yield cls
        for child in cls.__subclasses__():
            yield from walk(child)

    seen: set[type[PegboardError]] = set()
    for cls in walk(PegboardError):
        if cls not in seen:
            seen.add(cls)
            yield cls
