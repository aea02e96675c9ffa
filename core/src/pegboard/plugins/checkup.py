"""What is wrong with the installed plugins, each with the command that mends it. Nothing of them is imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pegboard.config import Config
from pegboard.errors import ConfigError, PluginInstallError
from pegboard.hookspecs import SPECS
from pegboard.plugins.authoring import reading
from pegboard.plugins.discovery import unfinished
from pegboard.plugins.discovery.index import Index, PluginRecord, same_name
from pegboard.plugins.discovery.select import BLOCKED, DISABLED, QUARANTINED, READY, REJECTED, Decision, Selection
from pegboard.plugins.discovery.state import State, default_path
from pegboard.plugins.models import AUTO, DEMO, can_serve, resolve_alias
from pegboard.plugins.packages import lockfile, programs, transaction
from pegboard.types import HealthFinding

_FAILED = (REJECTED, BLOCKED, QUARANTINED)


def check_plugins(index: Index, state: State, selection: Selection, config: Config) -> list[HealthFinding]:
    """Every finding, the plugins themselves first."""
    findings = [*_unfinished(), *(item for each in selection.decisions for item in _of_plugin(each, state))]
    findings += [_warn(text, "peg plugins list --all") for text in selection.warnings]
    findings += [*_shadowed(index), *_cycles(selection), *_settings(index, config), *_overrides(index, config)]
    findings += [*_leftovers(index, state), *_state(state, index), *_model(selection, config)]
    return findings


def _unfinished() -> Iterator[HealthFinding]:
    """A change of the installed distributions whose process is gone."""
    try:
        journal = transaction.left_open()
    except PluginInstallError as error:
        yield HealthFinding(status="fail", what=error.message, fix=error.hint)
        return
    if journal is not None:
        yield HealthFinding(status="fail", what=f"{journal.what} was interrupted half way", fix=unfinished.FIX)


def _of_plugin(decision: Decision, state: State) -> Iterator[HealthFinding]:
    record = decision.record
    name = f"plugin `{decision.id}` ({record.dist or record.location} {record.version or ''})".replace(" )", ")")
    if decision.state in _FAILED:
        word = f"{decision.state}({decision.reason})" if decision.reason else decision.state
        yield HealthFinding(status="fail", what=f"{name} is {word}: {decision.message}", fix=decision.hint or None)
    elif decision.state == DISABLED:
        yield HealthFinding(status="ok", what=f"{name} is off: {decision.message}", fix=decision.hint or None)
    else:
        yield HealthFinding(status="ok", what=f"{name} is {decision.state}")
    for text in record.warnings:
        yield _warn(f"{name}: {text}", f"peg plugins validate {decision.id}")
    if decision.state == READY:
        yield from _grants(record, name, state)
        yield from _unmet(record, name)
        yield from _unmarked(record, name)


def _grants(record: PluginRecord, name: str, state: State) -> Iterator[HealthFinding]:
    grant = state.grant(record.id, record.dist)
    asks = bool((record.manifest or {}).get("permissions"))
    if grant is not None and grant.get("permissions_hash") != record.permissions_hash:
        yield _warn(f"{name} asks for other permissions than it was granted", f"peg plugins grant {record.id}")
    elif grant is None and asks and record.id in state.data["plugins"]:
        yield _warn(f"{name} has no permissions", f"peg plugins grant {record.id}")


def _unmet(record: PluginRecord, name: str) -> Iterator[HealthFinding]:
    if record.dist is None:
        return
    for text in programs.unmet(record.dist):
        yield _warn(f"{name}: {text}", f"pip install --upgrade {record.dist}")


def _unmarked(record: PluginRecord, name: str) -> Iterator[HealthFinding]:
    if not (record.manifest or {}).get("entry") or record.package_path is None:
        return
    for hook in reading.unmarked_hooks(record.manifest or {}, Path(record.package_path)):
        what = f"{name} has a method `{hook}`, the name of a hook, without `@hookimpl`: it is not called"
        yield _warn(what, f"peg plugins validate {record.id}")


def _shadowed(index: Index) -> Iterator[HealthFinding]:
    for item in index.shadowed:
        what = f"{item['dist']} {item['version']} in `{item['path']}` is hidden by `{item['by']}`"
        yield _warn(what, f"pip uninstall {item['dist']}")


def _cycles(selection: Selection) -> Iterator[HealthFinding]:
    records = list(selection.ready.values())
    for hook in SPECS:
        for cycle in lockfile.arrangement(hook, records).cycles:
            way = " → ".join(cycle)
            yield _warn(f"hook `{hook}`: the wishes of {way} contradict one another", f"peg plugins order {hook}")


def _settings(index: Index, config: Config) -> Iterator[HealthFinding]:
    for problem in config.problems:
        yield HealthFinding(status="fail", what=problem.message, fix=problem.hint)
    for text in config.unknown_plugins([record.id for record in index.plugins]):
        yield _warn(text, "peg config show")


def _overrides(index: Index, config: Config) -> Iterator[HealthFinding]:
    for claim, dist in config.get("overrides", {}).items():
        if not any(record.dist and same_name(record.dist, dist) for record in index.plugins):
            fix = f"peg config set 'overrides.\"{claim}\"' --unset"
            yield _warn(f"`{claim}` is given to `{dist}`, which is not installed", fix)


def _leftovers(index: Index, state: State) -> Iterator[HealthFinding]:
    installed: Sequence[str] = [record.dist for record in index.plugins if record.dist]
    for plugin, entry in state.data["grants"].items():
        dist = entry.get("dist") if isinstance(entry, dict) else None
        if dist is not None and not any(same_name(dist, name) for name in installed):
            yield _warn(
                f"plugin `{plugin}` is gone and its permissions are still there", f"peg plugins revoke {plugin}"
            )


def _state(state: State, index: Index) -> Iterator[HealthFinding]:
    if state.fault:
        yield HealthFinding(status="fail", what=state.fault, fix=f"rm '{default_path()}'")
    if state.is_safe_mode(index.plugins):
        what = (
            f"safe mode: {state.failed_starts} starts died in a row, the last one while `{state.culprit}` was activated"
        )
        yield HealthFinding(status="fail", what=what, fix=f"peg plugins disable {state.culprit}")


def _model(selection: Selection, config: Config) -> Iterator[HealthFinding]:
    """Whether a run that names no model would find one, as far as manifests tell."""
    try:
        name = resolve_alias(config, config.get("model") or AUTO)
    except ConfigError as error:
        yield HealthFinding(status="fail", what=error.message, fix=error.hint)
        return
    manifests = [record.manifest or {} for record in selection.ready.values()]
    if any(can_serve(manifest, name) for manifest in manifests):
        return
    has_demo = any(can_serve(manifest, DEMO) for manifest in manifests)
    told = "`auto` finds none" if name == AUTO else f"no installed plugin knows `{name}`"
    yield _warn(f"no model: {told}", f"peg config set model {DEMO}" if has_demo else "peg plugins list --all")


def _warn(what: str, fix: str) -> HealthFinding:
    return HealthFinding(status="warn", what=what, fix=fix)
