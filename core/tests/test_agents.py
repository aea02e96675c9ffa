"""Agents as data, and the registry: versions, capabilities, dependencies, conflicts."""

from __future__ import annotations

from typing import Any

import pytest
from pegboard import Agent, AgentConfig, AgentRegistry
from pegboard.errors import (
    AgentCollisionError,
    AgentConflictError,
    AgentError,
    AgentNotFoundError,
    AgentRequiresError,
)
from pegboard.types import AgentDependency, ModelSettings
from pegboard.types.options import AgentOptions


def need(name: str, version: str = "", *, required: bool = True) -> AgentDependency:
    return AgentDependency(name, version, required)


def agent(name: str, version: str = "1.0", *needs: AgentDependency, **config: Any) -> Agent:
    return Agent(name, version=version, dependencies=needs, **config)


def registry(*agents: Agent) -> AgentRegistry:
    found = AgentRegistry()
    for one in agents:
        found.add(one)
    return found


# --- data --------------------------------------------------------------------------------------------------------


def test_an_agent_is_made_of_keyword_arguments() -> None:
    """They are the fields of its configuration."""
    made = Agent("a", tools=[len], instructions="Be kind.", settings=ModelSettings(seed=1))

    assert (made.name, made.version, made.config.tools) == ("a", "0", (len,))
    assert repr(made) == "<Agent a 0>"


def test_an_agent_is_made_of_a_configuration() -> None:
    """As it is, or with changes; tools are added."""
    config = AgentConfig(name="a", tools=(len,))

    assert Agent(config).config is config
    changed = Agent(config, tools=[max], instructions="x")
    assert (changed.config.tools, changed.config.instructions) == ((len, max), "x")


def test_modules_are_added_to_a_configuration() -> None:
    """Neither tools nor modules that are given get lost."""
    config = AgentConfig(name="a", modules=("planning",))

    assert Agent(config, modules=["memory"]).config.modules == ("planning", "memory")


def test_an_unknown_field_is_refused() -> None:
    """A misspelt setting is no setting."""
    with pytest.raises(TypeError):
        Agent("a", instruction="x")  # type: ignore[call-overload]  # that is the point


# --- registry ----------------------------------------------------------------------------------------------------


def test_the_newest_version_is_found() -> None:
    """Versions are compared as versions and not as text; a range narrows them."""
    found = registry(*(agent("a", version) for version in ("1.0", "1.10", "1.9", "2.0rc1")))

    assert found.get("a").version == "2.0rc1"
    assert found.get("a", "<2").version == "1.10"
    assert found.get("a", "==1.0").version == "1.0"
    assert (len(found), "a" in found, "b" in found) == (4, True, False)
    assert {one.version for one in found} == {"1.0", "1.10", "1.9", "2.0rc1"}


def test_one_version_is_judged_by_the_range_too() -> None:
    """A range that excludes the only one finds nothing, and the message says what there is."""
    with pytest.raises(AgentNotFoundError, match=r"no version of agent `a` is in `>=2`; there is 1\.0"):
        registry(agent("a")).get("a", ">=2")


@pytest.mark.parametrize(
    ("name", "says"),
    [("coder", r"no agent `coder`; near names: `code`"), ("zebra", r"no agent `zebra`$")],
)
def test_a_missing_agent_is_told_with_near_names(name: str, says: str) -> None:
    """What was probably meant is in the message."""
    with pytest.raises(AgentNotFoundError, match=says):
        registry(agent("code")).get(name)


def test_two_agents_cannot_have_one_name_and_version() -> None:
    """The message names both sides; the same agent twice is no collision."""
    found = AgentRegistry()
    one = agent("a")
    found.add(one, owner="first")
    found.add(one, owner="first")

    with pytest.raises(AgentCollisionError, match=r"claimed by plugin `second` and by plugin `first`"):
        found.add(agent("a"), owner="second")
    with pytest.raises(AgentCollisionError, match=r"claimed by the host program"):
        found.add(agent("a"))
    assert found.owner(one) == "first"


def test_agents_are_found_by_what_they_can() -> None:
    """The index lists each once, and forgets those that were removed."""
    one, other = agent("a", capabilities=("code", "test")), agent("b", capabilities=("code",))
    found = registry(one, one, other)

    assert found.with_capability("code") == (one, other)
    assert found.with_capability("cook") == ()
    found.remove(one)
    found.remove(one)
    found.remove(agent("never added"))
    assert found.with_capability("code") == (other,)
    assert (len(found), found.owner(one)) == (1, None)


def test_other_versions_stay_when_one_is_removed() -> None:
    """Only the one that was named goes."""
    old, new = agent("a", "1.0"), agent("a", "2.0")
    found = registry(old, new)
    found.remove(new)

    assert found.get("a") is old


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(agent(""), id="no name"),
        pytest.param(agent("a", "one"), id="no version"),
        pytest.param(agent("a", "1.0", need("b", "newest")), id="no range"),
        pytest.param(agent("a", "1.0", conflicts=(need("b", "?"),)), id="no range of a conflict"),
        pytest.param(Agent("a", dependencies=(need("b", "?"),)), id="no range, without version"),
    ],
)
def test_what_cannot_be_read_is_refused(broken: Agent) -> None:
    """Name, version and ranges are judged when an agent is added."""
    with pytest.raises(AgentError) as caught:
        registry(broken)
    assert caught.value.code == "agent.invalid"


# --- dependencies ------------------------------------------------------------------------------------------------


def names(agents: Any) -> list[str]:
    return [f"{one.name} {one.version}" for one in agents]


def test_dependencies_come_first() -> None:
    """Whatever an agent needs stands before it, directly or through others, each once."""
    tools, code = agent("tools"), agent("code", "1.0", need("tools"))
    lead = agent("lead", "1.0", need("code"), need("tools"))
    found = registry(lead, code, tools)

    assert names(found.resolve(lead)) == ["tools 1.0", "code 1.0", "lead 1.0"]
    assert names(found.resolve(tools)) == ["tools 1.0"]


def test_an_agent_that_is_not_registered_may_be_resolved() -> None:
    """Its dependencies are."""
    assert names(registry(agent("b")).resolve(agent("a", "1.0", need("b")))) == ["b 1.0", "a 1.0"]


def test_a_version_that_fits_everybody_is_chosen() -> None:
    """Two who need the same get one that both accept."""
    lead = agent("lead", "1.0", need("one"), need("other"))
    one, other = agent("one", "1.0", need("b", ">=1,<3")), agent("other", "1.0", need("b", "<2"))
    found = registry(one, other, *(agent("b", version) for version in ("1.5", "2.0", "3.0")))

    assert "b 1.5" in names(found.resolve(lead))
    assert "b 2.0" not in names(found.resolve(lead))


def test_what_a_version_that_was_not_chosen_needs_is_not_needed() -> None:
    """When a range narrows the choice, the dependencies of the version that was first taken are dropped."""
    new = agent("b", "2.0", need("missing"))
    found = registry(agent("one", "1.0", need("b")), agent("other", "1.0", need("b", "<2")), agent("b", "1.0"), new)

    assert names(found.resolve(agent("lead", "1.0", need("one"), need("other")))).count("b 1.0") == 1


def test_ranges_that_exclude_each_other_are_a_conflict() -> None:
    """The message names both sides."""
    lead = agent("lead", "1.0", need("one"), need("other"))
    one, other = agent("one", "1.0", need("b", ">=2")), agent("other", "1.0", need("b", "<2"))
    found = registry(one, other, agent("b", "1.0"), agent("b", "2.0"))

    with pytest.raises(AgentConflictError) as caught:
        found.resolve(lead)
    for side in ("`one` 1.0 needs `b` >=2", "`other` 1.0 needs `b` <2"):
        assert side in caught.value.message


@pytest.mark.parametrize(
    ("dependency", "says"),
    [
        (need("b"), r"agent `a` needs `b` \(any version\): no agent `b`"),
        (need("c", ">=2"), r"agent `a` needs `c` >=2: no version of agent `c` is in `>=2`; there is 1\.0"),
    ],
)
def test_a_missing_dependency_is_told_with_who_needs_it(dependency: AgentDependency, says: str) -> None:
    """And in which version."""
    with pytest.raises(AgentRequiresError, match=says):
        registry(agent("c")).resolve(agent("a", "1.0", dependency))


def test_an_optional_dependency_may_be_missing() -> None:
    """The agent is resolved without it."""
    wishes = need("b", ">=2", required=False)
    assert names(registry().resolve(agent("a", "1.0", wishes))) == ["a 1.0"]
    assert names(registry(agent("b")).resolve(agent("a", "1.0", wishes))) == ["a 1.0"]
    assert names(registry(agent("b", "2.1")).resolve(agent("a", "1.0", wishes))) == ["b 2.1", "a 1.0"]


def test_an_optional_wish_does_not_take_a_required_dependency_away() -> None:
    """What one needs and another only wishes in another version is there in the version that is needed."""
    found = registry(agent("one", "1.0", need("b", "<2")), agent("b", "1.0"))
    lead = agent("lead", "1.0", need("one"), need("b", ">=2", required=False))

    assert "b 1.0" in names(found.resolve(lead))


def test_a_circle_is_shown() -> None:
    """The path leads from an agent back to itself."""
    found = registry(agent("a", "1.0", need("b")), agent("b", "1.0", need("a")))

    with pytest.raises(AgentRequiresError, match=r"in a circle: `(a|b)` -> `(a|b)` -> `(a|b)`"):
        found.resolve(found.get("a"))


@pytest.mark.parametrize(("version", "conflict"), [("1.0", True), ("2.0", False)])
def test_agents_may_exclude_others(version: str, conflict: bool) -> None:
    """By name and range; the message names both."""
    found = registry(agent("b", version), agent("c", "1.0", conflicts=(need("b", "<2"),)))
    lead = agent("lead", "1.0", need("b"), need("c"))
    if not conflict:
        assert len(found.resolve(lead)) == 3
        return
    with pytest.raises(AgentConflictError, match=r"agent `c` 1\.0 excludes `b` <2, and `b` 1\.0 is needed too"):
        found.resolve(lead)


def test_type_checkers_know_every_field_of_an_agent() -> None:
    """`AgentOptions` has the fields of `AgentConfig`, but those that `Agent` names itself."""
    own = {"name", "tools", "modules", "output"}

    assert set(AgentOptions.__annotations__) == set(AgentConfig.__struct_fields__) - own
