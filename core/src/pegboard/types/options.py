"""The keyword arguments of `Agent` and of a run, for type checkers: a misspelt one is an error in the editor.

A contract test holds `AgentOptions` equal to the fields of `AgentConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pegboard.types.agents import AgentDependency, ContextNeeds, ResourceLimits, RetryPolicy, Tier
from pegboard.types.messages import Json, JsonObject, Message
from pegboard.types.models import ModelSettings
from pegboard.types.security import Principal

if TYPE_CHECKING:
    from pegboard.model import ModelBase


class AgentOptions(TypedDict, total=False):
    """The fields of `AgentConfig` but `name`, `tools`, `modules` and `output`, which `Agent` names itself."""

    version: str
    description: str
    model: str | ModelBase
    instructions: str
    tiers: tuple[Tier, ...]
    input_schema: JsonObject | None
    answer: Any
    output_mode: Literal["auto", "native", "tool", "prompt"]
    output_retries: int
    quality: Mapping[str, Json]
    min_confidence: float
    context: ContextNeeds
    limits: ResourceLimits
    settings: ModelSettings
    max_turns: int
    parallel_tool_calls: int
    dependencies: tuple[AgentDependency, ...]
    conflicts: tuple[AgentDependency, ...]
    capabilities: tuple[str, ...]
    fallbacks: tuple[str, ...]
    required: bool
    retry: RetryPolicy
    isolation: str
    workflow: JsonObject | None


class RunOptions(TypedDict, total=False):
    """What may be said of one run, beside agent and input."""

    history: Sequence[Message]
    """What was said before."""
    run: str
    """An id of yours; starting one twice is refused."""
    conversation: str
    principal: Principal
    workspace: str
    model: str | ModelBase
    """The model of the run, whatever the agent names; also of child runs whose agents name none."""
    limits: ResourceLimits
    """Tighter limits than those of the agent and the configuration."""
    explain: bool
    """Record every call of every hook, what it took and what it changed."""
    target: str
    """Where another process finds the agent that cannot be found by its name: `module:object`, or the path of its file.
    The graph of a workflow is then kept with the run."""
    durable: bool
    """Refuse to run when the store would not survive the process."""
