"""`peg config`: which settings hold, where each comes from, and how to change one. Nothing of a plugin is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from pegboard import agent_files, config, config_edit, shape
from pegboard.agent_names import is_file
from pegboard.cli.contract import Answer, Output, command, option
from pegboard.cli.plugin_settings import PluginSettings, show_settings
from pegboard.config import Config, Explained
from pegboard.errors import ConfigError, UsageError


@command("show")
def show() -> Answer:
    """Show every setting that is in force, and where it comes from."""
    settings = config.load(tolerant=True)
    plugins = PluginSettings()
    found = [_masked(item, plugins) for item in map(settings.explain, settings.keys()) if item]
    lines = [f"{item.key} = {_shown(item.value)}  # {_where(item)}" for item in found]
    data = {
        "settings": show_settings(settings, plugins),
        "sources": {item.key: _source(item) for item in found},
        "files": settings.files,
        "project": str(settings.project) if settings.project else None,
        "trusted": settings.trusted,
        "warnings": settings.warnings,
        "problems": [problem.to_json() for problem in settings.problems],
    }
    return Answer(data, "\n".join(lines), error=settings.problems[0] if settings.problems else None)


@command("explain")
@click.argument("key")
def explain(key: str) -> Answer:
    """Show the value of KEY, the layer, file and line it comes from, and what it overrode."""
    settings = config.load(tolerant=True)
    for problem in settings.problems:
        if f"`{key}`" in problem.message:  # it is written somewhere, and does not hold
            Output.current().warn(problem.message)
    found = settings.explain(key)
    plugins = PluginSettings()
    return _explain_unset(key, settings, plugins) if found is None else _explained(_masked(found, plugins))


def _masked(found: Explained, plugins: PluginSettings) -> Explained:
    """As it may be shown: a secret that is written out is not repeated."""
    path = config.split_key(found.key)
    overrode = tuple(value._replace(value=plugins.shown(path, value.value)) for value in found.overrode)
    return found._replace(value=plugins.shown(path, found.value), overrode=overrode)


def _explained(found: Explained) -> Answer:
    lines = [f"{found.key} = {_shown(found.value)}", f"from {_where(found)}"]
    lines += [f"instead of {_shown(value.value)}, from {_place(value)}" for value in found.overrode]
    return Answer({"key": found.key, "set": True, **_source(found), "value": found.value}, "\n".join(lines))


def _explain_unset(key: str, settings: Config, plugins: PluginSettings) -> Answer:
    path = config.split_key(key)
    table = settings.get(key) if path else None
    if table:
        shown = plugins.shown(path, table)
        return Answer({"key": key, "set": True, "value": shown}, f"{key} is a table: {', '.join(sorted(table))}")
    part = shape.subschema(config.schema(), path)
    if part is None and len(path) > 2 and path[0] == "plugins":
        part = _plugin_part(plugins, path[1], path[2:])
        if part is not None and "default" in part:
            return _explained(Explained(key, part["default"], "defaults", None, None, ()))
    if part is None:
        near = get_close_matches(key, [*settings.keys(), *config.schema()["properties"]], n=1)
        meant = f"; did you mean `{near[0]}`?" if near else ""
        raise UsageError(f"there is no setting `{key}`{meant}", hint="peg config schema")
    text = f"{key} is not set\n{part.get('description', '')}"
    return Answer({"key": key, "set": False, "value": None}, text.strip())


def _plugin_part(plugins: PluginSettings, plugin: str, path: config.Key) -> Mapping[str, Any] | None:
    """What a plugin's schema says of an option; nothing is known, and anything may be set, where it has none."""
    if plugin not in plugins.records:
        return {"description": f"no plugin `{plugin}` is installed"}
    part: Any = plugins.schema_of(plugin)
    if part is None:
        return {"description": f"plugin `{plugin}` has no schema of its settings"}
    for name in path:
        part = part.get("properties", {}).get(name) if isinstance(part, Mapping) else None
    return part if isinstance(part, Mapping) else None


@command("schema")
def schema() -> Answer:
    """Print the JSON Schema of config.toml, with the settings of every installed plugin."""
    whole = json.loads(json.dumps(config.schema()))
    plugins = PluginSettings()
    found = {plugin: plugins.schema_of(plugin) for plugin in plugins.records}
    whole["properties"]["plugins"]["properties"] = {plugin: part for plugin, part in found.items() if part is not None}
    return Answer(whole, json.dumps(whole, indent=2))


@command("set")
@click.argument("key")
@click.argument("value", required=False)
@option("--unset", is_flag=True, help="Take the value out instead.")
@option(
    "--scope",
    type=click.Choice(["user", "project", "system"]),
    default="user",
    help="Whose file is written: yours, that of this project, or that of the machine.",
)
def set_value(key: str, value: str | None, unset: bool, scope: str) -> Answer:
    """Write KEY = VALUE into a config.toml; comments and order in it stay.

    VALUE is text, or TOML for what is no text: true, 3, '["a", "b"]'.
    """
    if (value is None) is not unset:
        raise UsageError("give a value, or --unset and no value", hint="peg config set --help")
    _check_text(key, value)
    file = _file(scope)
    path = config.split_key(key)
    if unset:
        there = config_edit.remove(file, path)
        text = f"took {key} out of {file}" if there else f"{key} is not set in {file}"
        return Answer({"key": key, "file": str(file), "removed": there}, text)
    parsed = _as_meant(key, _checked(key, value), file)
    if unknown := PluginSettings().check(path, parsed):
        Output.current().warn(unknown)
    config_edit.set_value(file, path, parsed)
    _warn_if_overridden(key, file)
    return Answer({"key": key, "file": str(file), "value": parsed}, f"{key} = {_shown(parsed)} in {file}")


def _check_text(key: str, value: str | None) -> None:
    """Refuse what no file could hold: a key without a name in it, and bytes that are no text."""
    if not config.is_key(key):
        raise UsageError(f"`{key}` is no key; write names with dots between them", hint="peg config schema")
    try:
        f"{key}{value or ''}".encode()
    except UnicodeEncodeError:
        raise UsageError(f"what is to be written to `{key}` is not UTF-8", hint="peg config set --help") from None


def _checked(key: str, text: str | None) -> Any:
    """The value as its schema wants it.

    Raises:
        ConfigError: it does not fit, or there is no such setting.
    """
    settings = config.load(command_line={key: text}, tolerant=True)
    found = settings.explain(key)
    if found is None or found.layer != "command line":
        problems = [problem for problem in settings.problems if problem.message.startswith("the command line")]
        if problems and text == "":
            raise ConfigError(problems[-1].message, hint=f"peg config set {key} --unset")
        raise problems[-1] if problems else ConfigError(f"there is no setting `{key}`", hint="peg config schema")
    return found.value


def _as_meant(key: str, value: Any, file: Path) -> Any:
    """The path of an agent's file means the folder where it is typed, and not that of the settings."""
    return agent_files.for_setting(value, file) if key == "agent" and is_file(value) else value


def _warn_if_overridden(key: str, file: Path) -> None:
    settings = config.load(tolerant=True)
    found = settings.explain(key)
    out = Output.current()
    if found is not None and found.file != str(file):
        out.warn(f"{_where(found)} sets `{key}` too, and that is what holds")
    for problem in settings.problems:
        out.warn(problem.message)


def _file(scope: str) -> Path:
    if scope == "project":
        return config.project_file(config.find_project() or Path.cwd())
    file = config.user_file() if scope == "user" else config.system_file()
    if file is None:
        raise ConfigError("no home folder is known, so there is no file to write", hint="export PEGBOARD_HOME=FOLDER")
    return file


def _source(item: Explained) -> dict[str, Any]:
    overrode = [value._asdict() for value in item.overrode]
    return {"layer": item.layer, "file": item.file, "line": item.line, "overrode": overrode}


def _where(item: Explained) -> str:
    return _place(config.Value(item.value, item.layer, item.file, item.line))


def _place(value: config.Value) -> str:
    return (
        "the defaults" if value.layer == "defaults" else f"{value.layer}, {value.where}" if value.file else value.where
    )


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
