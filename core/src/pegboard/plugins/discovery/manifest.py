"""Reads and judges `pegboard.toml`: TOML to plain data, and plain data to problems and warnings.

The shape is judged by `manifest.schema.json`, which editors and documentation use too; what a schema cannot say is a
rule below. No code of the plugin is touched, and neither pydantic nor jsonschema is imported.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from pegboard import shape
from pegboard.hookspecs import HOOK_API, SPECS
from pegboard.lazy import LazyModule, json_beside
from pegboard.plugins.discovery.index import normalised
from pegboard.signs import UNSAFE

if TYPE_CHECKING:
    import hashlib
    import tomllib

    from packaging import specifiers

    from pegboard.plugins.discovery.index import Problem
else:
    # Not before there is a manifest to read or to judge.
    hashlib = LazyModule("hashlib")
    tomllib = LazyModule("tomllib")
    specifiers = LazyModule("packaging.specifiers")

FILE_NAME = "pegboard.toml"
MANIFEST_SCHEMA = 1
MAX_SIZE_BYTES = 256 * 1024
MAX_DEPTH = 64
"""Of tables and lists inside one another; a JSON Schema that is written in place is the deepest thing."""

EVERY_TURN = frozenset(
    {name for name, spec in SPECS.items() if spec.family == "context"} - {"context_compact", "context_offload"}
    | {"model_request", "tool_discovery", "planning_phase", "execution_phase", "tool_transition_evaluation"}
    | {"next_phase", "transform_stream", "on_event", "reserve_budget", "settle_budget", "redact", "label"}
)
"""Hooks that run in every turn: activating at the first call of one only delays what is always used."""

BOARD_LIFE = frozenset({"board_started", "board_stopping"})
"""Hooks that never activate a plugin by themselves: they are called on every board."""

_PLATFORMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}
_OWNED = {"tools": ".", "modules": "./-_", "panels": ".", "health": "."}
"""Contributions whose names begin with the plugin's id, and what may follow it. Agents are not among them: their names
are what people type, as those of commands, and of two plugins with one name one is refused."""
_NEEDS_CODE = ("tools", "models", "agents", "modules", "health")


class Judgement(NamedTuple):
    """What was found out about a manifest."""

    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]


class ManifestFault(Exception):
    """A manifest cannot be read at all."""


def parse(raw: bytes) -> dict[str, Any]:
    """The manifest as plain data.

    Raises:
        ManifestFault: too large or too deep, not UTF-8, not TOML, or with values that are not JSON or not for show.
    """
    if len(raw) > MAX_SIZE_BYTES:
        raise ManifestFault(f"is larger than {MAX_SIZE_BYTES // 1024} KiB")
    try:
        data = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise ManifestFault(f"is not UTF-8: byte {exc.start}") from exc
    except ValueError as exc:  # not TOML, or a number with more digits than Python reads
        raise ManifestFault(f"is not TOML: {_decapitalised(str(exc))}") from exc
    except RecursionError as exc:
        raise ManifestFault("is nested too deeply") from exc
    _check_values(data, MAX_DEPTH)
    return data


def judge(data: Mapping[str, Any], *, plugin: str, dist: str | None = None, package: str | None = None) -> Judgement:
    """Everything that is wrong with a manifest, and what is only strange.

    Args:
        data: what `parse` gave.
        plugin: the name of the entry point, which the manifest must repeat.
        dist: the distribution, which the id must fit; `None` for a folder that is given by path.
        package: the top-level package, which `entry` and every target must lie in.
    """
    version = data.get("schema")
    newer = isinstance(version, int) and version > MANIFEST_SCHEMA
    complaints = shape.complaints(schema(), data)
    fatal = [item for item in complaints if not (newer and item.unknown_key)]
    warnings = [f"{item.key}: {item.message}" for item in complaints if newer and item.unknown_key]
    if newer:
        warnings.insert(
            0, f"its schema {version} is newer than {MANIFEST_SCHEMA}; it is read as far as it is understood"
        )
    if fatal:
        return Judgement(
            tuple(_schema_problem(f"{item.key or 'manifest'}: {item.message}") for item in fatal), tuple(warnings)
        )
    problems = [*_identity(data, plugin, dist), *_ranges(data), *_entry(data, package), *_activation(data)]
    problems += [*_hooks(data), *_contributions(data), *_secrets(data)]
    return Judgement(tuple(problems), (*warnings, *_strange(data)))


@lru_cache(maxsize=1)
def schema() -> dict[str, Any]:
    """The JSON Schema of the manifest."""
    data: dict[str, Any] = json_beside(__name__, "manifest.schema.json")
    return data


def digest(raw: bytes) -> str:
    """The hash of a manifest's bytes."""
    return hashlib.sha256(raw).hexdigest()


def permissions_digest(data: Mapping[str, Any]) -> str:
    """The hash of what it asks for; order and repetitions do not count."""
    block = {name: sorted(set(values)) for name, values in data.get("permissions", {}).items() if values}
    return digest(json.dumps(block, sort_keys=True).encode())


def expected_ids(dist: str) -> str:
    """The id that a plugin of this distribution has, or begins with."""
    return normalised(dist).removeprefix("pegboard-")


def in_range(version: str, wanted: str) -> bool | None:
    """Whether a version is inside a range; `None` when the range cannot be read."""
    try:
        return specifiers.SpecifierSet(wanted).contains(version, prereleases=True)
    except specifiers.InvalidSpecifier:
        return None


def contributed(data: Mapping[str, Any] | None, kind: str) -> list[dict[str, Any]]:
    """What a manifest lists under `contributes.<kind>`."""
    found: list[dict[str, Any]] = (data or {}).get("contributes", {}).get(kind, [])
    return found


# --- rules that a schema cannot say ---------------------------------------------------------------------------------


def _identity(data: Mapping[str, Any], plugin: str, dist: str | None) -> Iterator[Problem]:
    if data["id"] != plugin:
        yield _schema_problem(f"id: is `{data['id']}`, but its entry point is named `{plugin}`")
    if dist is not None:
        own = expected_ids(dist)
        if data["id"].partition("/")[0] != own:
            yield _schema_problem(
                f"id: `{data['id']}` does not fit the distribution `{dist}`; it must be `{own}` or `{own}/…`"
            )


def _ranges(data: Mapping[str, Any]) -> Iterator[Problem]:
    yield from _range("api", f"needs the hook API {data['api']}, this core has {HOOK_API}", HOOK_API, data)
    if "python" in data:
        running = ".".join(map(str, sys.version_info[:3]))
        yield from _range("python", f"needs Python {data['python']}, this is {running}", running, data)
    platform = _PLATFORMS.get(sys.platform, sys.platform)
    if platform not in data.get("platforms", [platform]):
        wanted = ", ".join(data["platforms"])
        yield "platform", f"runs on {wanted} only, this is {platform}", f"peg plugins disable {data['id']}"


def _range(key: str, misfit: str, version: str, data: Mapping[str, Any]) -> Iterator[Problem]:
    inside = in_range(version, data[key])
    if inside is None:
        yield _schema_problem(f"{key}: `{data[key]}` is no version range")
    elif not inside:
        yield key, misfit, f"peg plugins update {data['id']}"


def _entry(data: Mapping[str, Any], package: str | None) -> Iterator[Problem]:
    contributes = data.get("contributes", {})
    if "entry" not in data:
        if data.get("hooks") or any(contributes.get(kind) for kind in _NEEDS_CODE):
            yield _schema_problem("entry: is missing, but hooks or contributions are listed")
    elif package and _top(data["entry"]) != package:
        yield _schema_problem(f"entry: `{data['entry']}` lies outside the package `{package}`")
    for kind in ("commands", "panels"):
        for item in contributes.get(kind, ()):
            if package and _top(item["target"]) != package:
                yield _schema_problem(f"contributes.{kind}: `{item['target']}` lies outside the package `{package}`")


def _activation(data: Mapping[str, Any]) -> Iterator[Problem]:
    events = data.get("activation", ())
    if "onStartup" in events and "startup_reason" not in data:
        yield _schema_problem("activation: `onStartup` needs a `startup_reason`")
    for event in events:
        hook = event.partition(":")[2]
        if event.startswith("onHook:") and hook not in data.get("hooks", {}):
            yield _schema_problem(f"activation: `{event}` names a hook that is not listed under `[hooks]`")


def _hooks(data: Mapping[str, Any]) -> Iterator[Problem]:
    for name, options in data.get("hooks", {}).items():
        spec = SPECS.get(name)
        if spec is None:
            hint = f"peg plugins update {data['id']}"
            yield "kind", f"hooks.{name}: no hook has this name{shape.near(name, list(SPECS))}", hint
            continue
        limit = options.get("timeout_s")
        if limit is not None and spec.timeout_s is not None and limit > spec.timeout_s:
            yield _schema_problem(f"hooks.{name}.timeout_s: may be at most {spec.timeout_s:g}, the limit of the hook")
        if "position" in options and spec.kind != "around":
            yield _schema_problem(f"hooks.{name}.position: only `around` hooks have one, this is `{spec.kind}`")
        if "kinds" in options and name != "on_event":
            yield _schema_problem(f"hooks.{name}.kinds: belongs to `on_event` only")
        if options.get("blocking") and (spec.sync_only or spec.kind in ("around", "stream")):
            yield _schema_problem(f"hooks.{name}.blocking: a `{spec.kind}` hook cannot run in a thread")


def _contributions(data: Mapping[str, Any]) -> Iterator[Problem]:
    own = data["id"].replace("/", ".")
    for kind, items in data.get("contributes", {}).items():
        seen: set[str] = set()
        for item in items:
            name = f"{item['kind']}:{item['name']}" if kind == "drivers" else item["name"]
            if name in seen:
                yield _schema_problem(f"contributes.{kind}: `{name}` is listed twice")
            seen.add(name)
            if kind in _OWNED and not _owned(name, own, _OWNED[kind]):
                yield _schema_problem(f"contributes.{kind}: `{name}` must begin with the plugin's id: `{own}.{name}`")


def _secrets(data: Mapping[str, Any]) -> Iterator[Problem]:
    declared = data.get("config", {}).get("secrets", ())
    for name in data.get("permissions", {}).get("secrets", ()):
        if name not in declared:
            yield _schema_problem(f"permissions.secrets: `{name}` is not one of `config.secrets`")


def _strange(data: Mapping[str, Any]) -> Iterator[str]:
    for event in data.get("activation", ()):
        hook = event.partition(":")[2]
        if event.startswith("onHook:") and hook in EVERY_TURN and "hook_reason" not in data:
            yield f"activation: `{event}` runs in every turn; say why in `hook_reason`"
    if "summary" not in data:
        yield "summary: is missing"


def _owned(name: str, own: str, separators: str) -> bool:
    return name == own or (name.startswith(own) and name[len(own)] in separators)


def _top(target: str) -> str:
    return target.partition(":")[0].partition(".")[0]


def _schema_problem(message: str) -> Problem:
    return "schema", message, "peg plugins validate"


def _check_values(value: Any, depth: int) -> None:
    if depth == 0:
        raise ManifestFault("is nested too deeply")
    if isinstance(value, dict):
        for name, item in value.items():
            _check_values(name, depth)
            _check_values(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check_values(item, depth - 1)
    elif fault := _fault_of(value):
        raise ManifestFault(fault)


def _fault_of(value: Any) -> str | None:
    if isinstance(value, str):
        return "holds a control character, which could fool a terminal" if UNSAFE.search(value) else None
    if isinstance(value, int):
        return "holds a number beyond 64 bits, which no key takes" if value.bit_length() > 64 else None
    return None if isinstance(value, float) else "holds a date or a time, which no key takes"


def _decapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]
