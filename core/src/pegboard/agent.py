"""The agent registry: which agents there are, what they can do, and whether what they need is there.

Several versions of one agent may be registered. How an agent runs is not known here.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from pegboard.errors import (
    AgentCollisionError,
    AgentConflictError,
    AgentError,
    AgentNotFoundError,
    AgentRequiresError,
    AgentWorkflowError,
)
from pegboard.lazy import LazyModule
from pegboard.model import ModelBase
from pegboard.types import Agent, AgentConfig, AgentDependency, ContextNeeds, ModelSettings, ResourceLimits, RetryPolicy

if TYPE_CHECKING:
    import difflib

    from packaging import specifiers, version
else:
    difflib = LazyModule("difflib")
    specifiers = LazyModule("packaging.specifiers")  # dear, and most agents have no dependencies
    version = LazyModule("packaging.version")


class AgentRegistry:
    """Agents by name and version, with an index of their capabilities."""

    def __init__(self) -> None:
        self._agents: dict[str, dict[str, Agent]] = defaultdict(dict)
        self._owners: dict[tuple[str, str], str | None] = {}
        self._capabilities: dict[str, list[Agent]] = defaultdict(list)

    def add(self, agent: Agent, *, owner: str | None = None) -> None:
        """Register an agent; `owner` is the plugin that provides it.

        Raises:
            AgentError: its name, version or a range in it cannot be read.
            AgentCollisionError: another agent has this name and version.
        """
        check_agent(agent)
        key = (agent.name, agent.version)
        known = self._agents[agent.name].get(agent.version)
        if known is not None and known is not agent:
            raise AgentCollisionError(
                f"agent `{agent.name}` {agent.version} is claimed by {_whose(owner)} and by {_whose(self._owners[key])}"
            )
        self._agents[agent.name][agent.version] = agent
        self._owners[key] = owner
        for capability in agent.config.capabilities:
            if agent not in self._capabilities[capability]:
                self._capabilities[capability].append(agent)

    def remove(self, agent: Agent) -> None:
        """Forget an agent; unknown ones are ignored."""
        if self._agents.get(agent.name, {}).pop(agent.version, None) is None:
            return
        self._owners.pop((agent.name, agent.version), None)
        for agents in self._capabilities.values():
            if agent in agents:
                agents.remove(agent)
        if not self._agents[agent.name]:
            del self._agents[agent.name]

    def get(self, name: str, range: str = "") -> Agent:
        """The newest version of an agent within a range.

        Raises:
            AgentNotFoundError: there is none; the message names near names or the versions that there are.
        """
        versions = self._agents.get(name)
        if not versions:
            near = difflib.get_close_matches(name, self._agents, 3)
            also = f"; near names: {', '.join(f'`{n}`' for n in near)}" if near else ""
            raise AgentNotFoundError(f"no agent `{name}`{also}")
        if len(versions) == 1 and not range:
            return next(iter(versions.values()))
        fitting = [v for v in versions if not range or specifiers.SpecifierSet(range).contains(v, prereleases=True)]
        if not fitting:
            raise AgentNotFoundError(f"no version of agent `{name}` is in `{range}`; there is {', '.join(versions)}")
        return versions[max(fitting, key=version.Version)]

    def owner(self, agent: Agent) -> str | None:
        """The plugin that provides an agent; `None` for one of the host program."""
        return self._owners.get((agent.name, agent.version))

    def with_capability(self, capability: str) -> Sequence[Agent]:
        """The agents that have a capability, in order of registration."""
        return tuple(self._capabilities.get(capability, ()))

    def resolve(self, agent: Agent) -> Sequence[Agent]:
        """The agent and everything that it needs, dependencies first.

        Raises:
            AgentRequiresError: something required is missing or out of range, or the dependencies form a cycle.
            AgentConflictError: two of them exclude each other; the message names both sides.
        """
        wanted: dict[str, list[tuple[Agent, AgentDependency]]] = defaultdict(list)
        graph: dict[str, set[str]] = {}
        chosen: dict[str, Agent] = {agent.name: agent}
        queue = deque([agent])
        while queue:
            current = queue.popleft()
            if chosen[current.name] is not current:  # another range has led to another version meanwhile
                continue
            graph.setdefault(current.name, set())
            for dependency in current.config.dependencies:
                wanted[dependency.name].append((current, dependency))
                found = self._choose(dependency.name, wanted[dependency.name])
                if found is None:
                    continue
                graph[current.name].add(found.name)
                if chosen.get(found.name) is not found:
                    chosen[found.name] = found
                    queue.append(found)
        self._check_conflicts(chosen)
        return [chosen[name] for name in _sorted(graph)]

    def _choose(self, name: str, asking: Sequence[tuple[Agent, AgentDependency]]) -> Agent | None:
        needed = [row for row in asking if row[1].required]
        ranges = [dependency.version for _, dependency in needed if dependency.version]
        try:
            found = self._fitting(name, asking)
            return self.get(name, ",".join(ranges)) if found is None and needed else found
        except AgentNotFoundError as exc:
            who, dependency = needed[-1]
            if len(ranges) > 1 and name in self._agents:
                sides = " but ".join(
                    f"`{a.name}` {a.version} needs `{name}` {d.version}" for a, d in asking if d.version
                )
                raise AgentConflictError(f"{sides}; no version fits both", hint="peg agents list") from exc
            raise AgentRequiresError(
                f"agent `{who.name}` needs `{name}` {dependency.version or '(any version)'}: {exc.message}",
                hint="peg agents list",
            ) from exc

    def _fitting(self, name: str, asking: Sequence[tuple[Agent, AgentDependency]]) -> Agent | None:
        """A version that fits everybody, those too who only wish for it."""
        try:
            return self.get(name, ",".join(dependency.version for _, dependency in asking if dependency.version))
        except AgentNotFoundError:
            return None

    def _check_conflicts(self, chosen: dict[str, Agent]) -> None:
        for agent in chosen.values():
            for conflict in agent.config.conflicts:
                other = chosen.get(conflict.name)
                if other is not None and specifiers.SpecifierSet(conflict.version).contains(other.version):
                    raise AgentConflictError(
                        f"agent `{agent.name}` {agent.version} excludes `{other.name}` {conflict.version}, "
                        f"and `{other.name}` {other.version} is needed too",
                        hint="peg agents list",
                    )

    def __iter__(self) -> Iterator[Agent]:
        for versions in self._agents.values():
            yield from versions.values()

    def __contains__(self, name: object) -> bool:
        return name in self._agents

    def __len__(self) -> int:
        return sum(map(len, self._agents.values()))


_FIELDS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "version": str,
    "instructions": str,
    "model": (str, ModelBase),
    "limits": ResourceLimits,
    "settings": ModelSettings,
    "context": ContextNeeds,
    "retry": RetryPolicy,
    "max_turns": int,
    "output_retries": int,
    "parallel_tool_calls": int,
}
_LEAST = {"max_turns": 1, "output_retries": 0, "parallel_tool_calls": 1, "min_confidence": 0.0}
_OUTPUT_MODES = ("auto", "native", "tool", "prompt")


def check_agent(agent: Agent) -> None:
    """Refuse an agent that could not run, before it does.

    Raises:
        AgentError: a field has a wrong type or value; two tools have one name; a version or a range cannot be read.
        AgentWorkflowError: it is a graph that nothing has made executable.
    """
    config = agent.config
    for field, kind in _FIELDS.items():
        value = getattr(config, field)
        if not isinstance(value, kind):
            wanted = kind.__name__ if isinstance(kind, type) else " or ".join(one.__name__ for one in kind)
            raise AgentError(
                f"agent `{config.name}`: `{field}` is {type(value).__name__}, and must be {wanted}",
                hint="peg help agent.invalid",
            )
    _check_values(config)
    _check_tool_names(config)
    if config.workflow is not None and agent.execute is None:
        raise AgentWorkflowError(f"agent `{config.name}` is a workflow, and no plugin here runs workflows")
    if config.version == "0" and not config.dependencies and not config.conflicts:
        return
    try:
        version.Version(config.version)
        for other in (*config.dependencies, *config.conflicts):
            specifiers.SpecifierSet(other.version)
    except ValueError as exc:
        raise AgentError(f"agent `{config.name}`: {exc}", hint="peg help agent.invalid") from exc


def _check_values(config: AgentConfig) -> None:
    if not config.name:
        raise AgentError("an agent needs a name", hint="peg help agent.invalid")
    for field, least in _LEAST.items():
        value = getattr(config, field)
        if not value >= least:
            raise AgentError(
                f"agent `{config.name}`: `{field}` is {value}, and must be {least} or more",
                hint="peg help agent.invalid",
            )
    if config.output_mode not in _OUTPUT_MODES:
        raise AgentError(
            f"agent `{config.name}`: `output_mode` is none of {', '.join(_OUTPUT_MODES)}", hint="peg help agent.invalid"
        )


def _check_tool_names(config: AgentConfig) -> None:
    """A model calls tools by name, and of two of one name it could only mean one."""
    if len(config.tools) < 2:
        return
    names = [given for given in map(_tool_name, config.tools) if given]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise AgentError(f"agent `{config.name}` has two tools named `{twice}`", hint="peg help agent.invalid")


def _tool_name(given: Any) -> str | None:
    if isinstance(given, str):
        return given
    try:
        return getattr(given, "name", None) or getattr(given, "__name__", None)
    except KeyboardInterrupt:
        raise
    except BaseException:  # a tool that cannot say its name is left out of each run, which tells of it
        return None


def _sorted(graph: dict[str, set[str]]) -> Sequence[str]:
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as exc:
        path = " -> ".join(f"`{name}`" for name in reversed(exc.args[1]))
        raise AgentRequiresError(f"agents need one another in a circle: {path}", hint="peg agents list") from exc


def _whose(owner: str | None) -> str:
    return f"plugin `{owner}`" if owner else "the host program"
