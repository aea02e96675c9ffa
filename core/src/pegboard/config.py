"""Settings in layers, each value with the layer, file and line that it came from.

Layers, lowest first: defaults, system, user, project, environment, command line, host. A project's file comes with
whatever was cloned, so it may switch plugins off and narrow limits, and no more until its folder is trusted. What the
settings mean is not known here.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from pegboard import folders, shape
from pegboard.agent_names import is_plain
from pegboard.errors import ConfigError, ToolDefinitionError, UntrustedConfigError
from pegboard.lazy import LazyModule, json_beside
from pegboard.regular import read_regular

if TYPE_CHECKING:
    import tomllib

    from pegboard import config_lines
    from pegboard import schema as json_schema
else:
    tomllib = LazyModule("tomllib")  # with the next one, not before there is a file or a variable to read
    config_lines = LazyModule("pegboard.config_lines")
    json_schema = LazyModule("pegboard.schema")  # jsonschema, not before the first plugin that has settings

LAYERS = ("defaults", "system", "user", "project", "environment", "command line", "host")
FILE_NAME = "config.toml"
PROJECT_FOLDER = folders.PROJECT_FOLDER
CORE_KEYS = ("enabled", "runtime", "permissions")
"""Keys of `[plugins.<id>]` that belong to core."""

MAX_SIZE_BYTES = 1024 * 1024
"""Of a file; a larger one was not written by a person."""
_MAX_DEPTH = 32
_PREFIX = "PEGBOARD__"
_REFERENCE = re.compile(r"^(env|file|keyring):\S")
Key: TypeAlias = tuple[str, ...]


class Value(NamedTuple):
    """A value and where it was written."""

    value: Any
    layer: str
    file: str | None = None
    """The file, or `$NAME` of an environment variable."""
    line: int | None = None

    @property
    def where(self) -> str:
        """In words, for messages."""
        if self.file is None:
            return f"the {self.layer}"
        return f"{self.file}:{self.line}" if self.line else self.file


class Explained(NamedTuple):
    """The value that holds, and those it overrode, nearest first."""

    key: str
    value: Any
    layer: str
    file: str | None
    line: int | None
    overrode: tuple[Value, ...]


class Config:
    """The settings that hold."""

    __slots__ = ("_values", "files", "problems", "project", "trusted", "warnings")

    def __init__(self) -> None:
        self._values: dict[Key, list[Value]] = {}
        """Leaves only; of each, every layer's value, lowest first."""
        self.files: list[str] = []
        """The files that were read, lowest first."""
        self.project: Path | None = None
        self.trusted = False
        self.problems: list[ConfigError] = []
        """What is wrong; only with `tolerant`, else the first is raised."""
        self.warnings: list[str] = []

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a dotted key, or a table of everything below it.

        A part that holds a dot is quoted: `overrides."tool:git.status"`.
        """
        path = split_key(key)
        found = self._values.get(path)
        if found:
            return found[-1].value
        table = _nested(
            (leaf[len(path) :], values) for leaf, values in self._values.items() if leaf[: len(path)] == path
        )
        return table or default

    def explain(self, key: str) -> Explained | None:
        """Where the value of a key comes from; `None` when nothing sets it."""
        found = self._values.get(split_key(key))
        if not found:
            return None
        value, layer, file, line = found[-1]
        return Explained(key, value, layer, file, line, tuple(reversed(found[:-1])))

    def keys(self) -> list[str]:
        """Every key that has a value."""
        return sorted(map(join_key, self._values))

    def to_dict(self) -> dict[str, Any]:
        """All settings, nested."""
        return _nested(self._values.items())

    def disabled_plugins(self) -> dict[str, str]:
        """Plugins that a file, variable or option switches off, each with the layer."""
        return {
            path[1]: values[-1].layer
            for path, values in self._values.items()
            if len(path) == 3 and path[0] == "plugins" and path[2] == "enabled" and values[-1].value is False
        }

    def plugin_core(self, plugin: str) -> dict[str, Any]:
        """What core's own keys say of a plugin."""
        table = self.get(join_key(("plugins", plugin)), {})
        return {name: table[name] for name in CORE_KEYS if name in table}

    def plugin_settings(
        self, plugin: str, schema: Mapping[str, Any] | None = None, secrets: Sequence[str] = ()
    ) -> dict[str, Any]:
        """A plugin's own settings, with the defaults of its schema.

        Raises:
            ConfigError: a value does not fit the schema, or a secret is written out.
        """
        table = self.get(join_key(("plugins", plugin)), {})
        settings = {name: value for name, value in table.items() if name not in CORE_KEYS}
        for option in secrets:
            self._check_reference(plugin, option, settings.get(option))
        if schema is None:
            return settings
        for name, part in schema.get("properties", {}).items():
            if isinstance(part, Mapping) and "default" in part:
                settings.setdefault(name, part["default"])
        self._check_plugin(plugin, schema, settings)
        return settings

    def unknown_plugins(self, known: Sequence[str]) -> list[str]:
        """A warning for each table of settings whose plugin is not there."""
        named = sorted({path[1] for path in self._values if path[0] == "plugins" and len(path) > 1})
        return [
            f"there are settings for the plugin `{name}`, which is not installed{shape.near(name, known)}"
            for name in named
            if name not in known
        ]

    def _check_plugin(self, plugin: str, schema: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        # Messages repeat values; that of a secret is a reference by now, and may be seen.
        try:
            found = json_schema.json_errors(schema, settings)
        except ToolDefinitionError as exc:
            raise self._plugin_error(plugin, "", f"the schema of its settings is broken: {exc.message}") from exc
        if found:
            option, _, text = found.partition(": ")
            raise self._plugin_error(plugin, "" if option == "value" else option, text)

    def _check_reference(self, plugin: str, option: str, value: Any) -> None:
        if value is not None and not is_reference(value):
            raise self._plugin_error(
                plugin, option, "holds a secret; write a reference such as `env:NAME`, never the secret itself"
            )

    def _plugin_error(self, plugin: str, option: str, text: str) -> ConfigError:
        values = self._values.get(("plugins", plugin, *option.split("."))) if option else None
        place = f" ({values[-1].where})" if values else ""
        named = f', option "{option}"' if option else ""
        hint = (
            f"peg config explain {join_key(('plugins', plugin, *option.split('.')))}" if option else "peg config show"
        )
        return ConfigError(f'plugin "{plugin}"{named}: {text}{place}', hint=hint, plugin=plugin)


def load(
    project: str | Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    command_line: Mapping[str, Any] | None = None,
    host: Mapping[str, Any] | None = None,
    tolerant: bool = False,
) -> Config:
    """Read all layers.

    Args:
        project: the folder that holds `.pegboard`; looked for from the working folder upwards when it is not given.
        environ: `PEGBOARD__A__B=value` sets `a.b`; the process's own variables by default.
        command_line: dotted keys.
        host: nested tables of the program that embeds the board.
        tolerant: collect what is wrong instead of raising; what is wrong is left out.

    Raises:
        ConfigError: unreadable file, unknown key, wrong type.
        UntrustedConfigError: a project's file sets what only a trusted folder may.
    """
    return _Loader(os.environ if environ is None else environ, tolerant).load(project, command_line or {}, host or {})


def of(host: Mapping[str, Any]) -> Config:
    """The defaults and what a host program says, and nothing of this machine: no file, no variable.

    Raises:
        ConfigError: unknown key, wrong type.
    """
    return _Loader({}, False).of(host)


@lru_cache(maxsize=1)
def schema() -> dict[str, Any]:
    """The JSON Schema of core's settings."""
    data: dict[str, Any] = json_beside(__name__, "config.schema.json")
    return data


def user_file(environ: Mapping[str, str] | None = None) -> Path | None:
    """The person's own file."""
    folder = folders.config_dir(environ)
    return Path(folder, FILE_NAME) if folder else None


def system_file(environ: Mapping[str, str] | None = None) -> Path:
    """The administrator's file."""
    return Path(folders.system_config_dir(environ), FILE_NAME)


def project_file(project: str | Path) -> Path:
    """The file of a project."""
    return Path(project, PROJECT_FOLDER, FILE_NAME)


def find_project(start: str | Path | None = None) -> Path | None:
    """The nearest folder with a `.pegboard` in it, from `start` upwards, that belongs to this user."""
    found = folders.project_dir(None if start is None else str(start))
    return Path(found) if found else None


def is_reference(value: Any) -> bool:
    """Whether a value says where a secret is, rather than being one."""
    return isinstance(value, str) and _REFERENCE.match(value) is not None


def edit_hint(file: str | Path) -> str:
    """The command that opens a file in the person's editor."""
    quoted = "'" + str(file).replace("'", "'\\''") + "'"
    return f'notepad "{file}"' if sys.platform == "win32" else f"${{EDITOR:-vi}} {quoted}"


def is_key(key: str) -> bool:
    """Whether a text is a dotted key with no empty part."""
    return re.fullmatch(r'("[^"]+"|[^."]+)(\.("[^"]+"|[^."]+))*', key) is not None


def split_key(key: str) -> Key:
    """The parts of a dotted key; a quoted part may hold dots."""
    return tuple(quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|([^."]+)', key))


def join_key(path: Sequence[str]) -> str:
    """The dotted key of some parts."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_/-]+", part) else f'"{part}"' for part in path)


# --- reading the layers ----------------------------------------------------------------------------------------------


class _Loader:
    def __init__(self, environ: Mapping[str, str], tolerant: bool) -> None:
        self.environ = environ
        self.tolerant = tolerant
        self.config = Config()

    def load(self, project: str | Path | None, command_line: Mapping[str, Any], host: Mapping[str, Any]) -> Config:
        config = self.config
        self._add({path: Value(value, "defaults") for path, value in _defaults(schema())})
        self._add(self._file("system", system_file(self.environ)))
        if file := user_file(self.environ):
            self._add(self._file("user", file))
        config.project = Path(project).absolute() if project is not None else find_project()
        if config.project is not None:
            config.trusted = self._is_trusted(config.project)
            self._add(self._allowed(self._file("project", project_file(config.project))))
        self._add(self._checked("environment", self._environment()))
        self._add(self._checked("command line", {split_key(key): Value(_parsed(split_key(key), value), "command line")
                                                 for key, value in command_line.items()}))  # fmt: skip
        self._add(self._of_host(host))
        return config

    def of(self, host: Mapping[str, Any]) -> Config:
        self._add({path: Value(value, "defaults") for path, value in _defaults(schema())})
        self._add(self._of_host(host))
        return self.config

    def _of_host(self, host: Mapping[str, Any]) -> dict[Key, Value]:
        try:
            return self._checked("host", {path: Value(value, "host") for path, value in _leaves(host)})
        except ValueError as error:
            self._fail(ConfigError(f"the host: {error}", hint="peg config schema"))
            return {}

    def _add(self, values: Mapping[Key, Value]) -> None:
        known = self.config._values
        for path, value in values.items():
            known.setdefault(path, []).append(value)

    def _fail(self, error: ConfigError) -> None:
        if not self.tolerant:
            raise error
        self.config.problems.append(error)

    def _file(self, layer: str, file: Path) -> dict[Key, Value]:
        text = self._read(file)
        if text is None:
            return {}
        self.config.files.append(str(file))
        try:
            leaves = dict(_leaves(tomllib.loads(text)))
        except (ValueError, RecursionError) as exc:
            text = str(exc)
            self._fail(ConfigError(f"{file}: is not TOML: {text[:1].lower()}{text[1:]}", hint=edit_hint(file)))
            return {}
        lines = config_lines.line_numbers(text)
        values = {path: Value(value, layer, str(file), lines.get(path)) for path, value in leaves.items()}
        return self._checked(layer, values)

    def _read(self, file: Path) -> str | None:
        try:
            raw = read_regular(file, MAX_SIZE_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            self._fail(ConfigError(f"{file}: cannot be read: {exc.strerror}"))
            return None
        try:
            return raw.decode("utf-8-sig")  # as editors of Windows write it
        except UnicodeDecodeError as exc:
            self._fail(ConfigError(f"{file}: is not UTF-8: byte {exc.start}"))
            return None

    def _environment(self) -> dict[Key, Value]:
        found = {}
        for name, text in self.environ.items():
            if not name.startswith(_PREFIX):
                continue
            path = tuple(part.lower() for part in name[len(_PREFIX) :].split("__"))
            if len(path) > 1 and path[0] == "plugins":
                # A variable's name has no dashes and a plugin's id no underscores.
                path = ("plugins", path[1].replace("_", "-"), *path[2:])
            found[path] = Value(_parsed(path, text), "environment", f"${name}")
        return found

    def _checked(self, layer: str, values: Mapping[Key, Value]) -> dict[Key, Value]:
        """Those that fit the schema."""
        wrong: set[Key] = set()
        for complaint in shape.complaints(schema(), _nested((path, [value]) for path, value in values.items())):
            leaf = next((path for path in values if path == complaint.path[: len(path)]), None)
            below = next((path for path in values if path[: len(complaint.path)] == complaint.path), None)
            value = values.get(leaf or below or ())
            place = value.where if value else f"the {layer}"
            wrong.update(
                path for path in values if path in (leaf, below) or path[: len(complaint.path)] == complaint.path
            )
            hint = edit_hint(value.file) if value and value.file and value.line else "peg config schema"
            self._fail(ConfigError(f"{place}: {join_key(complaint.path)}: {complaint.message}", hint=hint))
        return {path: value for path, value in values.items() if path not in wrong}

    def _is_trusted(self, project: Path) -> bool:
        found = self.config.get("trusted_folders", [])
        return any(Path(folder).expanduser().absolute() == project for folder in found)

    def _allowed(self, values: dict[Key, Value]) -> dict[Key, Value]:
        """What a project's file may set: everything in a trusted folder, but never that it is trusted."""
        kept = {}
        for path, value in values.items():
            if path[0] != "trusted_folders" and (self.config.trusted or self._harmless(path, value.value)):
                kept[path] = value
            else:
                self._fail(_untrusted(join_key(path), value, self.config.project))
        return kept

    def _harmless(self, path: Key, value: Any) -> bool:
        rule = (shape.subschema(schema(), path) or {}).get("x-project")
        now = self.config.get(join_key(path))
        if rule == "add":
            return set(now or ()) <= set(value)
        if rule == "agent":
            return is_plain(value)
        return _narrows(value, now) if rule == "narrow" else rule == "always"


def _untrusted(key: str, value: Value, project: Path | None) -> UntrustedConfigError:
    return UntrustedConfigError(
        f"{value.where}: `{key}` may only be set in a trusted folder; else a project may only switch off and narrow",
        hint=f"peg config set trusted_folders '[\"{project}\"]'",
    )


def _narrows(value: Any, now: Any) -> bool:
    if isinstance(value, bool):
        return value is False
    if isinstance(value, list):
        return now is None or set(value) <= set(now)
    return now is None or value <= now


def _defaults(part: Mapping[str, Any], path: Key = ()) -> Iterator[tuple[Key, Any]]:
    for name, below in part.get("properties", {}).items():
        if "default" in below:
            yield (*path, name), below["default"]
        yield from _defaults(below, (*path, name))


def _leaves(data: Mapping[str, Any], path: Key = ()) -> Iterator[tuple[Key, Any]]:
    if len(path) > _MAX_DEPTH:
        raise ValueError("tables are nested too deeply")
    for name, value in data.items():
        if not isinstance(name, str):
            raise ValueError(f"the key `{name!r}` is no text")
        if isinstance(value, int) and value.bit_length() > 64:
            raise ValueError(f"the number of `{join_key((*path, name))}` has more than 64 bits")
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _nested(items: Any) -> dict[str, Any]:
    """Tables from leaves; a leaf that another one treats as a table gives way to what came later."""
    root: dict[str, Any] = {}
    for path, values in items:
        table = root
        for name in path[:-1]:
            below = table.get(name)
            if not isinstance(below, dict):
                below = table[name] = {}
            table = below
        if path:
            table[path[-1]] = values[-1].value
    return root


def _parsed(path: Key, text: Any) -> Any:
    """A text as the schema wants it: as it is for strings, else as TOML would read it, else as it is."""
    if not isinstance(text, str) or (shape.subschema(schema(), path) or {}).get("type") == "string":
        return text
    try:
        table = tomllib.loads(f"value = {text}")
        dict(_leaves(table))  # what a file may not hold is no value here either
        return table["value"]
    except (ValueError, RecursionError):
        return text


__all__ = [
    "CORE_KEYS",
    "FILE_NAME",
    "LAYERS",
    "MAX_SIZE_BYTES",
    "PROJECT_FOLDER",
    "Config",
    "Explained",
    "Key",
    "Value",
    "edit_hint",
    "find_project",
    "is_key",
    "is_reference",
    "join_key",
    "load",
    "of",
    "project_file",
    "schema",
    "split_key",
    "system_file",
    "user_file",
]
