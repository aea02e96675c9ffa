"""`peg config`: values with their origin, and changes that fit the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def test_explain_names_layer_file_line_and_what_was_overridden(peg: Any, place: Path) -> None:
    """A value is told with where it is written and what it overrode."""
    (place / ".pegboard").mkdir()
    file = place / ".pegboard" / "config.toml"
    file.write_text('# mine\nmodel = "scripted:demo"\n')

    shown = peg("config", "explain", "model").stdout

    assert f'model = "scripted:demo"\nfrom project, {file}:2\ninstead of "auto", from the defaults\n' == shown


def test_show_prints_what_holds(peg: Any) -> None:
    """`show` lists every value with its layer."""
    assert 'model = "auto"  # the defaults' in peg("config", "show").stdout


def test_set_writes_and_keeps_comments(peg: Any, tmp_path: Path) -> None:
    """A value is written with its type, and the rest of the file stays as it was."""
    file = tmp_path / "home" / "config" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("# a comment\n[limits]\nturns = 5 # few\n")

    peg("config", "set", "limits.tokens", "5000")
    peg("config", "set", "model", "scripted:demo")

    assert file.read_text() == '# a comment\nmodel = "scripted:demo"\n\n[limits]\nturns = 5 # few\ntokens = 5000\n'


def test_unset_takes_a_value_out(peg: Any) -> None:
    """`--unset` takes a value out of the file again."""
    peg("config", "set", "limits.tokens", "5000")
    peg("config", "set", "limits.tokens", "--unset")

    assert peg.json("config", "explain", "limits.tokens")["data"]["set"] is False


def test_set_names_a_file_where_it_is_typed(peg: Any, place: Path) -> None:
    """A relative path would start from the folder of the settings; in a project's file it starts from the project."""
    (place / ".pegboard").mkdir()
    (place / "clerk.yaml").write_text("tiers: []\n")

    assert peg.json("config", "set", "agent", "clerk.yaml")["data"]["value"] == str(place / "clerk.yaml")
    assert peg.json("config", "set", "--scope", "project", "agent", "./clerk.yaml")["data"]["value"] == "clerk.yaml"


def test_set_refuses_the_file_of_an_agent_that_is_not_there(peg: Any) -> None:
    """Every run would be refused."""
    refused = peg("config", "set", "agent", "gone.yaml")

    assert (refused.exit_code, "there is no file `gone.yaml`" in refused.stderr) == (4, True)
    assert peg.json("config", "explain", "agent")["data"]["set"] is False


def test_set_of_nothing_leads_to_unset(peg: Any) -> None:
    """Where nothing is no value."""
    assert "run `peg config set agent --unset`" in peg("config", "set", "agent", "").stderr


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        pytest.param("limits.tokens", "many", "must be a whole number", id="type"),
        pytest.param("nonsense", "1", "unknown key", id="unknown"),
    ],
)
def test_set_refuses_what_does_not_fit(peg: Any, tmp_path: Path, key: str, value: str, told: str) -> None:
    """A value that the schema refuses is not written."""
    result = peg("config", "set", key, value)

    assert result.exit_code == 4
    assert told in result.stderr
    assert not (tmp_path / "home" / "config" / "config.toml").exists()


def test_set_warns_when_another_layer_wins(peg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing a value that does not hold afterwards is said."""
    result = peg("config", "set", "model", "scripted:demo", PEGBOARD__MODEL="other:model")

    assert "$PEGBOARD__MODEL sets `model` too" in result.stderr


def test_set_repairs_a_file_whose_values_are_wrong(peg: Any, place: Path) -> None:
    """`set` works while other values are wrong."""
    (place / ".pegboard").mkdir()
    (place / ".pegboard" / "config.toml").write_text("model = 3\n")

    assert peg("config", "show").exit_code == 4
    assert peg("config", "set", "model", "scripted:demo", "--scope", "project").exit_code == 0
    assert peg("config", "show").exit_code == 0


def test_schema_has_the_settings_of_plugins(peg: Any, site: Any) -> None:
    """The schema of the whole file includes what plugins declare, without importing them."""
    site.plugin("tidy", {"config": {"schema": {"type": "object", "properties": {"depth": {"type": "integer"}}}}})

    plugins = peg.json("config", "schema")["data"]["properties"]["plugins"]["properties"]

    assert plugins["tidy"]["properties"]["depth"] == {"type": "integer"}


def test_unknown_key_is_told_its_neighbour(peg: Any) -> None:
    """`explain` of a key that does not exist names the nearest one."""
    assert "did you mean `model`?" in peg("config", "explain", "modle").stderr


def test_a_plugin_switched_off_in_the_settings_is_off(peg: Any) -> None:
    """`plugins.ID.enabled = false` in a file is what `plugins list` shows."""
    peg("config", "set", "plugins.replay.enabled", "false")
    rows = {row["id"]: row for row in peg.json("plugins", "list", "--all")["data"]["plugins"]}

    assert rows["replay"]["state"] == "disabled"


def test_a_table_is_explained_by_its_keys(peg: Any) -> None:
    """`explain` of a table names what is in it."""
    assert "limits is a table: parallel_tool_calls" in peg("config", "explain", "limits").stdout


def test_settings_of_plugins_are_explained(peg: Any, site: Any, tmp_path: Path) -> None:
    """A plugin's setting is told with its place or default; one that does not hold, with the reason."""
    properties = {"denied_tools": {"type": "array", "default": []}}
    site.plugin("my-gate", {"config": {"schema": {"type": "object", "properties": properties}}})
    key = "plugins.my-gate.denied_tools"
    assert peg("config", "explain", key).stdout == f"{key} = []\nfrom the defaults\n"

    peg("config", "set", "--scope", "project", key, '["a"]')
    assert "may only be set in a trusted folder" in peg("config", "explain", key).stderr
    peg("config", "set", key, '["b"]')
    file = tmp_path / "home" / "config" / "config.toml"
    assert peg("config", "explain", key).stdout == f'{key} = ["b"]\nfrom user, {file}:2\n'

    assert peg("config", "explain", "plugins.gone.x").stdout.startswith("plugins.gone.x is not set")
    assert "there is no setting" in peg("config", "explain", "plugins.my-gate.denied").stderr


def test_a_known_setting_without_a_value_is_described(peg: Any) -> None:
    """`explain` of a setting that nothing sets shows its description."""
    assert peg("config", "explain", "agent").stdout.startswith("agent is not set\nThe agent that `peg run`")


def test_set_needs_a_value_or_unset(peg: Any) -> None:
    """Neither a value nor `--unset`, or both, is wrong usage."""
    assert peg("config", "set", "model").exit_code == 2
    assert peg("config", "set", "model", "x", "--unset").exit_code == 2


def test_unset_of_what_is_not_set_changes_nothing(peg: Any) -> None:
    """Taking out what is not there is no error and says so."""
    assert "limits.tokens is not set in" in peg("config", "set", "limits.tokens", "--unset").stdout


def test_set_refuses_a_file_that_is_not_toml(peg: Any, tmp_path: Path) -> None:
    """A file that cannot be read is not written over."""
    file = tmp_path / "home" / "config" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("= what\n")

    assert peg("config", "set", "model", "scripted:demo").exit_code == 4
    assert file.read_text() == "= what\n"
