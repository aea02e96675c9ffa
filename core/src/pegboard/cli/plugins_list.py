"""`peg plugins list`, `info`, `why`, `reindex`: what there is and why it is as it is. No plugin is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from pegboard.cli.contract import Answer, command, option
from pegboard.cli.inventory import Inventory, whose
from pegboard.cli.mending import mend
from pegboard.cli.render import table
from pegboard.errors import UsageError
from pegboard.plugins.discovery import index as indexes
from pegboard.plugins.discovery.select import CLAIMED, READY, Decision, Selection, claims_of, provides
from pegboard.plugins.discovery.state import State
from pegboard.plugins.permissions import not_granted


@command("list")
@option("--all", "everything", is_flag=True, help="Show those too that are switched off or rejected.")
@option("--why", is_flag=True, help="Tell the reason of each state and the command that changes it.")
def list_plugins(everything: bool, why: bool) -> Answer:
    """List plugins and their states."""
    inventory = Inventory()
    decisions = inventory.selection.decisions
    shown = [decision for decision in decisions if everything or why or decision.state == READY]
    rows = [_row(decision, inventory.state, why=why) for decision in shown]
    head = ["ID", "VERSION", "STATE", *(["WHY", "FIX"] if why else ["SUMMARY"])]
    lines = [table(head, rows) if rows else "no plugins are ready"]
    if hidden := len(decisions) - len(shown):
        lines.append(f"\n{hidden} more cannot run now: peg plugins list --all --why")
    data = {
        "plugins": [{**summary(item), "not_granted": not_granted(item.record, inventory.state)} for item in decisions],
        "warnings": inventory.selection.warnings,
        "shadowed": inventory.index.shadowed,
    }
    return Answer(data, "\n".join(lines))


def _row(decision: Decision, state: State, *, why: bool) -> list[str]:
    record = decision.record
    head = [decision.id, record.version or "", state_word(decision)]
    if why and decision.state == READY and (missing := not_granted(record, state)):
        return [*head, _ungranted_text(missing, record.manifest), f"peg plugins grant {decision.id}"]
    if why:
        return [*head, decision.message, decision.hint]
    return [*head, (record.manifest or {}).get("summary", "")]


def _ungranted_text(missing: Mapping[str, Any], manifest: Mapping[str, Any] | None) -> str:
    if missing == (manifest or {}).get("permissions"):
        return "no permissions are granted"
    return f"not granted: {', '.join(sorted(missing))}"


def state_word(decision: Decision) -> str:
    """The state, with its reason where it has one: `disabled(user)`."""
    return f"{decision.state}({decision.reason})" if decision.reason else decision.state


def summary(decision: Decision) -> dict[str, Any]:
    """One plugin in the JSON of `list`."""
    record = decision.record
    manifest = record.manifest or {}
    return {
        "id": decision.id,
        "dist": record.dist,
        "version": record.version,
        "state": decision.state,
        "reason": decision.reason,
        "message": decision.message,
        "fix": decision.hint,
        "summary": manifest.get("summary", ""),
        "hooks": sorted(manifest.get("hooks", {})),
        "source": record.source,
        "warnings": list(record.warnings),
    }


@command("info")
@click.argument("plugin", metavar="ID")
def info(plugin: str) -> Answer:
    """Show one plugin: what it offers, what it asks for, where it is.

    ID may also be the name of a distribution.
    """
    inventory = Inventory()
    decision = inventory.find(plugin)
    record = decision.record
    manifest = record.manifest or {}
    data = {
        **summary(decision),
        "location": record.package_path or record.location,
        "manifest": manifest or None,
        "manifest_path": record.manifest_path,
        "manifest_hash": record.manifest_hash,
        "provides": sorted(provides(record)),
        "claims": claims_of(record),
        "problems": [{"reason": reason, "message": text, "fix": hint} for reason, text, hint in record.problems],
        "permissions": manifest.get("permissions", {}) if record.manifest else None,
        "granted": (inventory.state.grant(record.id, record.dist) or {}).get("permissions"),
        "not_granted": not_granted(record, inventory.state),
        "undeclared": inventory.state.undeclared(record),
        "reload": inventory.state.reloads(record.id, record.dist),
    }
    return Answer(data, _info_text(decision, data))


def _info_text(decision: Decision, data: Mapping[str, Any]) -> str:
    record = decision.record
    lines = [f"{decision.id}  {whose(record)}  {state_word(decision)}"]
    lines += [text for text in (data["summary"], decision.message and f"why: {decision.message}") if text]
    if decision.hint:
        lines.append(f"fix: {decision.hint}")
    lines += ["", f"in: {data['location']}"]
    if data["reload"]:
        lines.append("development: a running board reloads it before a run when its files changed")
    if data["hooks"]:
        lines.append(f"hooks: {', '.join(data['hooks'])}")
    if data["claims"]:
        lines.append(f"offers: {', '.join(data['claims'])}")
    lines += permission_lines(data["permissions"], granted=data["granted"])
    if missing := data["not_granted"]:
        lines.append(f"  {_ungranted_text(missing, record.manifest)}: peg plugins grant {decision.id}")
    if uses := data["undeclared"]:
        lines.append("done without permission, recorded and not prevented:")
        lines += [f"  {use['what']} {use['target']}" for use in uses]
    lines += [f"warning: {text}" for text in record.warnings]
    return "\n".join(lines)


def permission_lines(declared: Mapping[str, Any] | None, *, granted: Any = ...) -> list[str]:
    """What a plugin asks for, and plainly what that means for code in our process."""
    if declared is None:
        return ["permissions: unknown, it has no manifest"]
    if not declared:
        return ["permissions: none asked for"]
    state = "" if granted is ... else " (granted)" if granted == declared else " (not granted)"
    lines = [f"permissions{state}: checked in pegboard's services; code in this process could go around them"]
    return lines + [f"  {name}: {', '.join(values)}" for name, values in sorted(declared.items())]


@command("why")
@click.argument("tool", metavar="TOOL")
def why(tool: str) -> Answer:
    """Tell who provides TOOL, and why it is (not) offered.

    A name of another kind is written with it: `model:claude`, `agent:reviewer`, `command:git`, `driver:store:sqlite`.
    """
    inventory = Inventory()
    claim = _claim(tool)
    claimants = [item for item in inventory.selection.decisions if _has(item, claim)]
    rows = [{**summary(item), "offered": _offers(item, inventory.selection, claim)} for item in claimants]
    return Answer({"claim": claim, "offered": any(row["offered"] for row in rows), "by": rows}, _why_text(claim, rows))


def _has(decision: Decision, claim: str) -> bool:
    """Whether a plugin has it in its manifest; a model also by the pattern of its name."""
    from pegboard.plugins.models import can_serve

    manifest = decision.record.manifest or {}
    kind, _, name = claim.partition(":")
    named = kind == "model" and bool(manifest.get("contributes", {}).get("models")) and can_serve(manifest, name)
    return named or claim in claims_of(decision.record)


def _offers(decision: Decision, selection: Selection, claim: str) -> bool:
    owner = selection.claims.get(claim)
    return owner == decision.id or (owner is None and claim.startswith("model:") and decision.state == READY)


def _claim(name: str) -> str:
    """What is asked for: `tool:git.status`.

    Raises:
        UsageError: nothing is of this kind.
    """
    kind, colon, _ = name.partition(":")
    if not colon:
        return f"tool:{name}"
    from pegboard.shape import near

    kinds = [word if word == "health" else word[:-1] for word in CLAIMED]
    if kind not in kinds:
        text = f"`{kind}` is no kind of thing that plugins offer; there are {', '.join(kinds)}{near(kind, kinds)}"
        raise UsageError(text, hint="peg plugins why --help")
    return name


def _why_text(claim: str, rows: list[dict[str, Any]]) -> str:
    kind, _, name = claim.partition(":")
    if not rows:
        return f"no installed plugin has a {kind} `{name}` in its manifest: peg plugins list --all"
    lines = []
    for row in rows:
        verdict = "offered" if row["offered"] else f"not offered: the plugin is {row['state']}"
        lines.append(f"{kind} `{name}` of plugin `{row['id']}` ({row['dist']} {row['version']}) is {verdict}")
        lines += [f"  {word}: {row[key]}" for word, key in (("why", "message"), ("fix", "fix")) if row[key]]
    return "\n".join(lines)


@command("reindex")
def reindex() -> Answer:
    """Put an interrupted install in order, forget the cached index and scan again."""
    mend()
    removed = indexes.clear()
    found = indexes.load()
    count = len(found.plugins)
    return Answer({"removed": removed, "plugins": count}, f"found {count} plugins, forgot {removed} cached indexes")
