"""From what is installed to what may run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pegboard.plugins.discovery import select
from pegboard.plugins.discovery.index import Index, PluginRecord
from pegboard.plugins.discovery.select import Selection
from pegboard.plugins.discovery.state import State, quarantine_key
from pegboard_testing import startup_imports


def record(plugin: str, dist: str | None = None, **options: Any) -> PluginRecord:
    manifest = {"id": plugin, **options.pop("manifest", {})}
    defaults = {"version": "1.0", "manifest_hash": "h", "manifest": manifest}
    return PluginRecord(id=plugin, dist=dist or f"pegboard-{plugin}", **{**defaults, **options})


def tools(*names: str) -> dict[str, Any]:
    return {"contributes": {"tools": [{"name": name} for name in names]}}


def choose(*records: PluginRecord, state: dict[str, Any] | None = None, **options: Any) -> Selection:
    options.setdefault("environ", {})
    return select.select(Index(list(records), [], []), State(state or {}), **options)


def states(selection: Selection) -> dict[str, str]:
    return {
        f"{item.record.dist}": f"{item.state}({item.reason})" if item.reason else item.state
        for item in selection.decisions
    }


def needing(plugin: str, *needs: tuple[str, str, str, list[str | None]]) -> PluginRecord:
    return record(plugin, requires=needs)


def test_what_nothing_speaks_against_is_ready() -> None:
    """With its claims."""
    selection = choose(record("git", manifest=tools("git.status")))

    assert states(selection) == {"pegboard-git": "ready"}
    assert selection.claims == {"tool:git.status": "git"}


def test_a_problem_of_the_index_rejects() -> None:
    """With its reason, message and hint."""
    [decision] = choose(record("git", problems=[("api", "too old", "peg plugins update")])).decisions

    assert (decision.state, decision.reason, decision.message) == ("rejected", "api", "too old")


def test_the_block_list_blocks() -> None:
    """A state of its own: only an upgrade helps."""
    assert states(choose(record("git", problems=[("blocked", "leaks keys", "")]))) == {"pegboard-git": "blocked"}


# --- switches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"PEGBOARD_NO_PLUGINS": "1"}, {"pegboard-a": "disabled(environment)", "pegboard-b": "disabled(environment)"}),
        ({"PEGBOARD_NO_PLUGINS": "0"}, {"pegboard-a": "ready", "pegboard-b": "ready"}),
        ({"PEGBOARD_PLUGINS": "a"}, {"pegboard-a": "ready", "pegboard-b": "disabled(environment)"}),
        ({"PEGBOARD_PLUGINS": "Pegboard_A"}, {"pegboard-a": "ready", "pegboard-b": "disabled(environment)"}),
        ({"PEGBOARD_PLUGINS": ""}, {"pegboard-a": "disabled(environment)", "pegboard-b": "disabled(environment)"}),
        ({"PEGBOARD_DISABLE_PLUGINS": " a , "}, {"pegboard-a": "disabled(environment)", "pegboard-b": "ready"}),
    ],
    ids=str,
)
def test_the_environment_switches_plugins_off(environ: dict[str, str], expected: dict[str, str]) -> None:
    """By id or by distribution."""
    assert states(choose(record("a"), record("b"), environ=environ)) == expected


def test_the_environment_is_read_at_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the import, so that a program can still set it."""
    monkeypatch.setenv("PEGBOARD_NO_PLUGINS", "1")

    assert states(choose(record("a"), environ=None)) == {"pegboard-a": "disabled(environment)"}


def test_a_switch_that_names_nothing_is_a_warning() -> None:
    """Else a misspelt name would switch everything off without a word."""
    assert choose(record("git"), environ={"PEGBOARD_PLUGINS": "got"}).warnings == [
        "`PEGBOARD_PLUGINS` names `got`, which is not installed"
    ]


def test_a_person_and_a_project_may_switch_off() -> None:
    """The scope is kept, and the hint switches it on again."""
    selection = choose(
        record("a"), record("b"), record("c"), state={"disabled": {"a": "user"}}, disabled={"b": "project"}
    )

    assert states(selection) == {
        "pegboard-a": "disabled(user)",
        "pegboard-b": "disabled(project)",
        "pegboard-c": "ready",
    }
    assert selection.find("a")[0].hint == "peg plugins enable a"


def test_safe_mode_switches_installed_plugins_off_and_names_the_culprit() -> None:
    """What is given in code or by path was asked for now."""
    given = record("given", source="object")
    selection = choose(record("a"), extra=[given], state={"starts": {"died": ["a", "a"]}}, safe_mode=True)

    assert [(item.id, item.state) for item in selection.decisions] == [("a", "disabled"), ("given", "ready")]
    assert "while `a` was activated" in selection.decisions[0].message
    assert selection.decisions[0].hint == "peg plugins disable a"


def test_given_objects_are_not_switched_off() -> None:
    """The host program decided."""
    selection = choose(extra=[record("x", source="object")], environ={"PEGBOARD_NO_PLUGINS": "1"})

    assert [item.state for item in selection.decisions] == ["ready"]


def test_a_disabled_plugin_is_disabled_whatever_else_is_wrong() -> None:
    """The switch is the answer to a broken plugin, so it must be seen to have worked."""
    broken = record("a", problems=[("schema", "bad", "")])

    assert states(choose(broken, state={"disabled": {"a": "user"}})) == {"pegboard-a": "disabled(user)"}


def test_quarantine_holds_for_one_version() -> None:
    """An upgrade or another manifest is a new chance."""
    old = record("a")
    remembered = {"quarantine": {"a": {"key": quarantine_key(old), "reason": "it hangs"}}}

    assert states(choose(old, state=remembered)) == {"pegboard-a": "quarantined"}
    assert states(choose(record("a", version="1.1"), state=remembered)) == {"pegboard-a": "ready"}
    assert states(choose(record("a", manifest_hash="other"), state=remembered)) == {"pegboard-a": "ready"}


# --- collisions ------------------------------------------------------------------------------------------------------

ONE, TWO = "pegboard-git", "git"


def both(**options: Any) -> tuple[PluginRecord, PluginRecord]:
    return record("git", ONE, **options), record("git", TWO, **options)


def test_an_id_that_two_claim_is_nobodys() -> None:
    """Without an incumbent both are rejected, and the message names both distributions."""
    selection = choose(*both())

    assert states(selection) == {ONE: "rejected(collision)", TWO: "rejected(collision)"}
    assert "pegboard-git 1.0" in selection.decisions[0].message
    assert "git 1.0" in selection.decisions[0].message


def test_the_incumbent_keeps_its_id() -> None:
    """Whoever was accepted last stays, the newcomer is rejected."""
    selection = choose(*both(), state={"plugins": {"git": {"dist": TWO}}})

    assert states(selection) == {ONE: "rejected(collision)", TWO: "ready"}


def test_an_incumbent_that_cannot_run_still_keeps_its_id() -> None:
    """Else breaking a plugin would be a way to take its name."""
    one, _ = both()
    two = record("git", TWO, problems=[("api", "old", "")])
    selection = choose(one, two, state={"plugins": {"git": {"dist": TWO}}})

    assert states(selection) == {ONE: "rejected(collision)", TWO: "rejected(api)"}


def test_an_incumbent_that_is_gone_keeps_nothing() -> None:
    """The id is free again; grants are another matter."""
    selection = choose(record("git", TWO), state={"plugins": {"git": {"dist": ONE}}})

    assert states(selection) == {TWO: "ready"}


def test_the_persons_configuration_decides() -> None:
    """Above the incumbent."""
    selection = choose(*both(), state={"plugins": {"git": {"dist": TWO}}}, overrides={"plugin:git": "Pegboard.Git"})

    assert states(selection) == {ONE: "ready", TWO: "rejected(collision)"}


def test_what_is_given_wins_over_what_is_installed() -> None:
    """A plugin under development hides the installed one."""
    selection = choose(record("git"), extra=[record("git", dist="", source="folder")])

    assert sorted(item.state for item in selection.decisions) == ["ready", "rejected"]
    assert [item.record.source for item in selection.decisions if item.state == "ready"] == ["folder"]


def test_a_tool_name_that_two_claim_is_nobodys() -> None:
    """The same rule as for ids; a third plugin is not touched."""
    selection = choose(record("a", manifest=tools("x")), record("b", manifest=tools("x")), record("c"))

    assert states(selection) == {
        "pegboard-a": "rejected(collision)",
        "pegboard-b": "rejected(collision)",
        "pegboard-c": "ready",
    }
    assert "the tool `x`" in selection.decisions[0].message


def test_the_incumbent_keeps_its_tool() -> None:
    """Who had the name when the plugins were last accepted."""
    remembered = {"plugins": {"b": {"dist": "pegboard-b", "claims": ["tool:x"]}, "a": {"dist": "pegboard-a"}}}
    selection = choose(record("a", manifest=tools("x")), record("b", manifest=tools("x")), state=remembered)

    assert states(selection) == {"pegboard-a": "rejected(collision)", "pegboard-b": "ready"}


def test_a_name_of_core_is_taken() -> None:
    """A plugin's command cannot replace one of core."""
    command = {"contributes": {"commands": [{"name": "run", "target": "a:b"}]}}

    selection = choose(record("a", manifest=command), reserved=["command:run"])

    assert states(selection) == {"pegboard-a": "rejected(collision)"}


def test_the_hint_of_a_collision_settles_it() -> None:
    """Naming the distribution that is to have the name."""
    [first, _] = choose(*both()).decisions

    assert first.hint == "peg config set 'overrides.\"plugin:git\"' git"


# --- requirements ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "options", "words"),
    [
        ([], {}, "which is not installed"),
        ([record("base")], {"state": {"disabled": {"base": "user"}}}, "which is disabled(user)"),
        ([record("base", problems=[("api", "", "")])], {}, "which is rejected(api)"),
        ([record("base", version="0.1")], {}, "and pegboard-base 0.1 is installed"),
    ],
    ids=["absent", "disabled", "rejected", "too-old"],
)
def test_what_requires_something_that_is_not_there_is_rejected(
    others: list[PluginRecord], options: dict[str, Any], words: str
) -> None:
    """Before anything is imported, with the reason."""
    selection = choose(needing("a", ("plugin", "base", ">=1", [])), *others, **options)

    decision = selection.find("a")[0]
    assert (decision.state, decision.reason) == ("rejected", "requires")
    assert words in decision.message


def test_a_requirement_that_is_met_is_no_obstacle() -> None:
    """The ranges were compared when the index was made."""
    selection = choose(needing("a", ("plugin", "base", ">=1", ["pegboard-base"])), record("base"))

    assert states(selection) == {"pegboard-a": "ready", "pegboard-base": "ready"}


def test_a_quarantined_requirement_counts_as_missing() -> None:
    """Whoever needs it cannot work either."""
    base = record("base")
    selection = choose(
        needing("a", ("plugin", "base", "", ["pegboard-base"])),
        base,
        state={"quarantine": {"base": {"key": quarantine_key(base), "reason": "x"}}},
    )

    assert states(selection) == {"pegboard-a": "rejected(requires)", "pegboard-base": "quarantined"}


def test_rejections_go_on_to_those_who_need_the_rejected() -> None:
    """To the end of the chain."""
    selection = choose(
        needing("a", ("plugin", "b", "", ["pegboard-b"])), needing("b", ("plugin", "c", "", [])), record("d")
    )

    assert states(selection) == {
        "pegboard-a": "rejected(requires)",
        "pegboard-b": "rejected(requires)",
        "pegboard-d": "ready",
    }


def test_a_circle_of_requirements_rejects_its_members() -> None:
    """And names the way round; who only needs a member is rejected as well."""
    selection = choose(
        needing("a", ("plugin", "b", "", ["pegboard-b"])),
        needing("b", ("plugin", "a", "", ["pegboard-a"])),
        needing("c", ("plugin", "a", "", ["pegboard-a"])),
        record("d"),
    )

    assert states(selection) == {
        "pegboard-a": "rejected(requires)",
        "pegboard-b": "rejected(requires)",
        "pegboard-c": "rejected(requires)",
        "pegboard-d": "ready",
    }
    assert "a → b → a" in selection.decisions[0].message


@pytest.mark.parametrize(
    ("capability", "other", "state"),
    [
        ("workspace", None, "ready"),
        ("store", None, "rejected(requires)"),
        ("store", {"contributes": {"drivers": [{"kind": "store", "name": "s"}]}}, "ready"),
        ("store", {"provides": ["store"]}, "ready"),
    ],
    ids=["core", "nobody", "driver", "provided"],
)
def test_capabilities(capability: str, other: dict[str, Any] | None, state: str) -> None:
    """Core has some, the kinds of drivers are some, and a manifest may name others."""
    others = [record("other", manifest=other)] if other else []
    selection = choose(needing("a", ("cap", capability, "", [])), *others)

    assert states(selection)["pegboard-a"] == state


def test_a_plugin_for_another_process_needs_one() -> None:
    """It is never run in-process instead."""
    selection = choose(record("a", manifest={"runtime": "subprocess"}))

    assert states(selection) == {"pegboard-a": "rejected(requires)"}


def test_the_order_of_installation_does_not_matter() -> None:
    """The same decisions, whatever comes first."""
    records = [
        record("a", manifest=tools("x")),
        record("b", manifest=tools("x")),
        needing("c", ("plugin", "a", "", ["pegboard-a"])),
        *both(),
    ]

    assert states(choose(*records)) == states(choose(*reversed(records)))


def test_choosing_imports_nothing_heavy(tmp_path: Path) -> None:
    """`peg plugins list` pays for the index and the state only."""
    code = (
        "from pegboard.plugins.discovery import index, select, state\n"
        "select.select(index.Index([], [], []), state.StateFile().read())"
    )
    startup_imports(code, forbidden=("json", "re", "asyncio", "pathlib", "pluggy", "msgspec", "typing"))
