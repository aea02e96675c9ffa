"""`pegboard.toml`: what is accepted, what is refused and in which words."""

from __future__ import annotations

import tomllib
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pegboard import config, shape
from pegboard.plugins.discovery import manifest

FULL = """
schema = 1
id = "git"
summary = "Git tools: status, diff, log, commit"
api = ">=1.0,<2"
python = ">=3.11"
platforms = ["linux", "macos", "windows"]
entry = "pegboard_git.plugin:Plugin"
runtime = "in-process"
activation = ["onTool:git.*", "onCommand:git", "onHook:context_gather", "onModel:local:*", "onStartup"]
startup_reason = "it watches the repository"
hook_reason = "the repository is context of every turn"
requires = ["cap:workspace", "audit>=0.3"]
provides = ["repository"]
after = ["audit"]
optional_imports = { pygit2 = "pygit2>=1.15" }

[hooks.tool_call]
band = 60
before = ["cap:cache"]
after = ["audit"]
position = "innermost"
timeout_s = 2.0
[hooks.context_gather]
blocking = true
[hooks.on_event]
kinds = ["run."]

[[contributes.tools]]
name = "git.status"
description = "What changed"
input_schema = "schemas/status.json"
effect = "pure"
tier = "toolchain"
[[contributes.models]]
name = "local"
patterns = ["llama-*"]
[[contributes.agents]]
name = "git-reviewer"
[[contributes.modules]]
name = "git"
[[contributes.commands]]
name = "agents install"
target = "pegboard_git.cli:group"
help = "Inspect the repository"
[[contributes.drivers]]
kind = "store"
name = "git"
[[contributes.panels]]
name = "git.log"
target = "pegboard_git.panel:show"
[[contributes.health]]
name = "git.repository"

[config]
schema = "schemas/config.json"
secrets = ["token"]
[permissions]
fs_read = ["workspace"]
fs_write = ["workspace/.git"]
net = ["api.example.com:443", "*.example.com:*"]
exec = ["git"]
env = ["GIT_*"]
secrets = ["token"]
[quality]
tier = "silver"
exempt = { cancellation = "nothing waits" }
"""
BASE = {"schema": 1, "id": "git", "summary": "x", "api": ">=1.0,<2", "entry": "pegboard_git.plugin:Plugin"}


def judged(**changes: Any) -> manifest.Judgement:
    data = {name: value for name, value in {**BASE, **changes}.items() if value is not None}
    return manifest.judge(data, plugin="git", dist="pegboard-git", package="pegboard_git")


def test_the_whole_format_is_accepted() -> None:
    """Every key of the design at once."""
    data = manifest.parse(FULL.encode())

    assert manifest.judge(data, plugin="git", dist="pegboard-git", package="pegboard_git") == ((), ())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "Git"}, "id: `Git` does not fit the pattern"),
        ({"api": None}, "api: is missing"),
        ({"summry": "x"}, "did you mean `summary`?"),
        ({"permissions": {"network": []}}, "permissions.network: is an unknown key; did you mean `net`?"),
        ({"entry": None, "hooks": {"recover": {}}}, "entry: is missing"),
        ({"entry": "os:system"}, "lies outside the package `pegboard_git`"),
        ({"contributes": {"commands": [{"name": "x", "target": "os:system"}]}}, "lies outside the package"),
        ({"activation": ["onStartup"]}, "needs a `startup_reason`"),
        ({"activation": ["onHook:recover"]}, "names a hook that is not listed"),
        ({"activation": ["sometimes"]}, "activation.0"),
        ({"hooks": {"recover": {"band": 80}}}, "must be at most 79"),
        ({"hooks": {"recover": {"band": -100}}}, "must be at least -79"),
        ({"hooks": {"recover": {"timeout_s": 60}}}, "may be at most 5"),
        ({"hooks": {"recover": {"timeout_s": 0}}}, "must be more than 0"),
        ({"hooks": {"recover": {"position": "outermost"}}}, "only `around` hooks"),
        ({"hooks": {"recover": {"kinds": ["run."]}}}, "belongs to `on_event` only"),
        ({"hooks": {"tool_call": {"blocking": True}}}, "cannot run in a thread"),
        ({"hooks": {"recover": {"blocking": 1}}}, "must be true or false"),
        ({"contributes": {"tools": [{"name": "status"}]}}, "must begin with the plugin's id: `git.status`"),
        ({"contributes": {"tools": [{"name": "gitter.x"}]}}, "must begin with the plugin's id"),
        ({"contributes": {"tools": [{"name": "git.a"}, {"name": "git.a"}]}}, "is listed twice"),
        ({"contributes": {"hookspecs": []}}, "unknown key"),
        ({"permissions": {"secrets": ["token"]}}, "is not one of `config.secrets`"),
        ({"permissions": {"net": ["example.com"]}}, "does not fit the pattern"),
        ({"optional_imports": {"a.b": "x"}}, "is no valid name"),
        ({"platforms": []}, "must have at least 1 entries"),
        ({"platforms": ["beos"]}, "must be one of"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fault_is_named(changes: dict[str, Any], words: str) -> None:
    """The message names the key and says what would be right."""
    assert any(words in message for _, message, _ in judged(**changes).problems), judged(**changes).problems


def test_another_platform_is_its_own_reason() -> None:
    """Not a fault of the manifest."""
    import sys

    other = ["windows"] if sys.platform != "win32" else ["linux"]

    assert [reason for reason, _, _ in judged(platforms=other).problems] == ["platform"]


def test_a_hook_of_every_turn_should_have_a_reason() -> None:
    """Activating there only delays what is always used; a warning, since it works."""
    found = judged(activation=["onHook:context_gather"], hooks={"context_gather": {}})

    assert (found.problems, ["hook_reason" in text for text in found.warnings]) == ((), [True])


def test_a_date_is_refused() -> None:
    """The index holds plain data only."""
    with pytest.raises(manifest.ManifestFault, match="date"):
        manifest.parse(b"schema = 1979-05-27")


def test_the_hash_of_permissions_ignores_order() -> None:
    """Consent is to what is asked for, not to how it is written."""
    one = manifest.permissions_digest({"permissions": {"exec": ["a", "b"], "net": []}})
    other = manifest.permissions_digest({"permissions": {"exec": ["b", "a", "a"]}})

    assert one == other
    assert one != manifest.permissions_digest({"permissions": {"exec": ["a"]}})


# --- our small judge against jsonschema ------------------------------------------------------------------------------

SCHEMAS = {"manifest": manifest.schema(), "config": config.schema()}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_our_schemas_are_valid_and_use_only_what_we_judge(schema: dict[str, Any]) -> None:
    """A keyword that the small judge ignores would hold in editors and not here."""
    jsonschema.Draft202012Validator.check_schema(schema)
    known = shape.KEYWORDS | {"$schema", "$defs", "title", "description", "default", "x-project"}

    assert _keywords(schema) <= known


def _keywords(schema: dict[str, Any]) -> set[str]:
    found = set(schema)
    for name in ("properties", "$defs"):
        for part in schema.get(name, {}).values():
            found |= _keywords(part)
    for name in ("items", "additionalProperties", "propertyNames"):
        if isinstance(schema.get(name), dict):
            found |= _keywords(schema[name])
    return found


_scalars = st.none() | st.booleans() | st.integers(-200, 200) | st.floats(allow_nan=False, allow_infinity=False)
_words = st.sampled_from(["git", "git.x", ">=1", "onStartup", "linux", "pure", "a b", "", "env:X", "Ü", "x" * 300])
_values = st.recursive(
    _scalars | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3),
    max_leaves=6,
)


def _keys(schema: dict[str, Any]) -> list[str]:
    own = list(schema.get("properties", {}))
    return own + [key for part in [*schema.get("$defs", {}).values(), *schema.get("properties", {}).values()]
                  for key in _keys(part)]  # fmt: skip


@pytest.mark.parametrize("name", SCHEMAS)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_our_judge_agrees_with_jsonschema(name: str, data: st.DataObject) -> None:
    """One file, two judges, one verdict."""
    schema = SCHEMAS[name]
    keys = st.sampled_from(_keys(schema))
    table = st.dictionaries(keys, _values | st.dictionaries(keys, _values, max_size=3), max_size=4)
    value = data.draw(table)
    value = {**tomllib.loads(FULL), **value} if name == "manifest" and data.draw(st.booleans()) else value

    expected = jsonschema.Draft202012Validator(schema).is_valid(value)

    assert (not shape.complaints(schema, value)) == expected, shape.complaints(schema, value)
