"""From what is installed to what may run: states, collisions, requirements, switches.

Pure functions over the index, the remembered state and the environment; nothing is imported, read or written, so the
commands that repair things can ask too. What happens to a plugin once it runs is the host's business.
"""

from __future__ import annotations

import os

from pegboard.plugins.discovery import reserved as core_names
from pegboard.plugins.discovery.index import same_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pegboard.plugins.discovery.index import Index, PluginRecord
    from pegboard.plugins.discovery.state import State

DISCOVERED = "discovered"
REJECTED = "rejected"
DISABLED = "disabled"
BLOCKED = "blocked"
READY = "ready"
ACTIVATING = "activating"
ACTIVE = "active"
DEGRADED = "degraded"
QUARANTINED = "quarantined"
NEEDS_RESTART = "needs_restart"
STATES = (
    DISCOVERED,
    REJECTED,
    DISABLED,
    BLOCKED,
    READY,
    ACTIVATING,
    ACTIVE,
    DEGRADED,
    QUARANTINED,
    NEEDS_RESTART,
)

CORE_CAPABILITIES = frozenset({"workspace"})
CLAIMED = ("tools", "models", "agents", "modules", "commands", "drivers", "panels", "health")


class Decision:
    """What was decided about one plugin, and why."""

    __slots__ = ("hint", "message", "reason", "record", "state")

    def __init__(self, record: PluginRecord, state: str, reason: str = "", message: str = "", hint: str = "") -> None:
        self.record = record
        self.state = state
        self.reason = reason
        """One word: of `rejected`, the rule; of `disabled`, the scope."""
        self.message = message
        self.hint = hint

    @property
    def id(self) -> str:
        """The plugin's id."""
        return self.record.id

    @property
    def why(self) -> tuple[str, str, str, str]:
        """State, reason, message and hint."""
        return self.state, self.reason, self.message, self.hint

    def __repr__(self) -> str:
        return f"<{self.id}: {self.state}{f'({self.reason})' if self.reason else ''}>"


class Selection:
    """All decisions."""

    __slots__ = ("claims", "decisions", "warnings")

    def __init__(self, decisions: list[Decision], claims: dict[str, str], warnings: list[str]) -> None:
        self.decisions = decisions
        """One for each record, by id and distribution."""
        self.claims = claims
        """`tool:git.status` → plugin id, of those that are ready."""
        self.warnings = warnings

    @property
    def ready(self) -> dict[str, PluginRecord]:
        """The plugins that may run, by id."""
        return {decision.id: decision.record for decision in self.decisions if decision.state == READY}

    def find(self, name: str) -> list[Decision]:
        """Decisions on the plugin of this id, or else of the distribution of this name."""
        found = [decision for decision in self.decisions if decision.id == name]
        return found or [item for item in self.decisions if item.record.dist and same_name(item.record.dist, name)]


def select(
    index: Index,
    state: State,
    *,
    extra: Sequence[PluginRecord] = (),
    environ: Mapping[str, str] | None = None,
    disabled: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
    reserved: Iterable[str] | None = None,
    safe_mode: bool = False,
) -> Selection:
    """Decide on every plugin.

    Args:
        index: what is installed.
        state: what is remembered.
        extra: plugins that the host program or `--plugin PATH` gives; they win over installed ones.
        environ: where the `PEGBOARD_…` switches are read; the process's own by default, at the time of the call.
        disabled: plugin to scope, from configuration and project.
        overrides: claim to distribution, from the user's configuration: `plugin:git`, `tool:git.status`.
        reserved: claims that core itself holds, for example `command:run`; by default its commands.
        safe_mode: switch every installed plugin off.
    """
    switches = _Switches(os.environ if environ is None else environ, disabled or {}, state, safe_mode)
    records = [*extra, *index.plugins]
    decided = {id(record): _alone(record, switches, state) for record in records}
    chosen = {id(record): record for record in records}
    overrides = overrides or {}
    _resolve_ids(records, decided, state, overrides)
    held = set(core_names.claims() if reserved is None else reserved)
    _resolve_claims(_candidates(chosen, decided), decided, state, overrides, held)
    _reject_cycles(_candidates(chosen, decided), decided)
    _resolve_requirements(chosen, decided)
    decisions = [decided[key] or Decision(chosen[key], READY) for key in chosen]
    decisions.sort(key=lambda item: (item.id, item.record.dist or ""))
    claims = {claim: record.id for record in _candidates(chosen, decided) for claim in claims_of(record)}
    return Selection(decisions, claims, switches.unknown(records))


def claims_of(record: PluginRecord) -> list[str]:
    """Names that no two plugins can have, for example `tool:git.status` or `driver:store:sqlite`."""
    contributes = (record.manifest or {}).get("contributes", {})
    found = []
    for kind in CLAIMED:
        for item in contributes.get(kind, ()):
            name = f"{item['kind']}:{item['name']}" if kind == "drivers" else item["name"]
            found.append(f"{kind if kind == 'health' else kind[:-1]}:{name}")
    return found


def provides(record: PluginRecord) -> set[str]:
    """Capabilities: what the manifest names, and the kinds of its drivers."""
    manifest = record.manifest or {}
    drivers = manifest.get("contributes", {}).get("drivers", ())
    return {*manifest.get("provides", ()), *(item["kind"] for item in drivers)}


# --- each plugin alone -------------------------------------------------------------------------------------------


class _Switches:
    """What switches plugins off from outside."""

    def __init__(self, environ: Mapping[str, str], disabled: Mapping[str, str], state: State, safe_mode: bool) -> None:
        self.safe_mode = safe_mode
        value = environ.get("PEGBOARD_NO_PLUGINS", "")
        self.none = value not in ("", "0")
        self.by_option = value == "--no-plugins"
        """The option of the command line sets the variable for this call and its children."""
        self.only = _names(environ["PEGBOARD_PLUGINS"]) if "PEGBOARD_PLUGINS" in environ else None
        self.off = _names(environ.get("PEGBOARD_DISABLE_PLUGINS", ""))
        self.disabled = disabled
        self.state = state

    def scope(self, record: PluginRecord) -> tuple[str, str, str] | None:
        """Scope, message and hint, where a plugin is switched off."""
        if record.source == "object":
            return None
        if self.by_option:
            return "environment", "switched off by `--no-plugins`", "leave out `--no-plugins`"
        if self.none:
            return "environment", "switched off by `PEGBOARD_NO_PLUGINS`", "unset PEGBOARD_NO_PLUGINS"
        if self.only is not None and record.source == "entry_point" and not _named(record, self.only):
            return "environment", "not one of `PEGBOARD_PLUGINS`", "unset PEGBOARD_PLUGINS"
        if _named(record, self.off):
            return "environment", "switched off by `PEGBOARD_DISABLE_PLUGINS`", "unset PEGBOARD_DISABLE_PLUGINS"
        if self.safe_mode and record.source == "entry_point":
            culprit = f", the last one while `{self.state.culprit}` was activated" if self.state.culprit else ""
            message = f"safe mode: earlier starts died{culprit}"
            return "safe-mode", message, f"peg plugins disable {self.state.culprit or record.id}"
        scope = self.disabled.get(record.id) or self.state.disabled(record.id)
        if scope:
            there = " --scope project" if scope == "project" else ""
            return scope, f"switched off by the {scope}", f"peg plugins enable {record.id}{there}"
        return None

    def unknown(self, records: Sequence[PluginRecord]) -> list[str]:
        """A warning for each switch that names nothing."""
        return [
            f"`{variable}` names `{name}`, which is not installed"
            for variable, names in (("PEGBOARD_PLUGINS", self.only or ()), ("PEGBOARD_DISABLE_PLUGINS", self.off))
            for name in names
            if not any(_named(record, (name,)) for record in records)
        ]


def _alone(record: PluginRecord, switches: _Switches, state: State) -> Decision | None:
    """The decision that needs no look at the others; `None` while nothing speaks against it."""
    off = switches.scope(record)
    if off:
        return Decision(record, DISABLED, *off)
    if record.problems:
        reason, message, hint = record.problems[0]
        if reason == BLOCKED:
            return Decision(record, BLOCKED, "", message, hint)
        return Decision(record, REJECTED, reason, message, hint)
    entry = state.quarantine(record)
    if entry:
        hint = f"peg plugins enable {record.id} --test"
        return Decision(record, QUARANTINED, "", str(entry.get("reason") or "failed too often"), hint)
    return None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _named(record: PluginRecord, names: Sequence[str]) -> bool:
    return any(record.id == name or bool(record.dist and same_name(record.dist, name)) for name in names)


def _candidates(chosen: Mapping[int, PluginRecord], decided: Mapping[int, Decision | None]) -> list[PluginRecord]:
    found = [record for key, record in chosen.items() if decided[key] is None]
    return sorted(found, key=lambda record: (record.id, record.dist or ""))


# --- collisions --------------------------------------------------------------------------------------------------


def _resolve_ids(
    records: Sequence[PluginRecord],
    decided: dict[int, Decision | None],
    state: State,
    overrides: Mapping[str, str],
) -> None:
    groups: dict[str, list[PluginRecord]] = {}
    for record in records:
        groups.setdefault(record.id, []).append(record)
    for plugin, group in groups.items():
        if len(group) == 1:
            continue
        known = state.known_dist(plugin)
        # The incumbent holds its id while it is installed, even when it cannot run just now.
        incumbents = [record for record in group if known is not None and record.dist == known]
        claimants = [record for record in group if decided[id(record)] is None]
        winner = _winner(f"plugin:{plugin}", group, incumbents, overrides)
        if winner is None and len(claimants) == 1:
            winner = claimants[0]
        for record in claimants:
            if record is not winner:
                decided[id(record)] = _collision(record, f"plugin:{plugin}", group, winner)


def _resolve_claims(
    candidates: Sequence[PluginRecord],
    decided: dict[int, Decision | None],
    state: State,
    overrides: Mapping[str, str],
    reserved: set[str],
) -> None:
    groups: dict[str, list[PluginRecord]] = {}
    for record in candidates:
        for claim in claims_of(record):
            groups.setdefault(claim, []).append(record)
    for claim, group in sorted(groups.items()):
        if claim in reserved:
            for record in group:
                message = f"{_spoken(claim)} of {_owner(record)} is a name of core"
                decided[id(record)] = Decision(record, REJECTED, "collision", message, _override(claim))
        elif len(group) > 1:
            incumbents = [record for record in group if state.holds(record.id, claim)]
            winner = _winner(claim, group, incumbents, overrides)
            for record in group:
                if record is not winner and decided[id(record)] is None:
                    decided[id(record)] = _collision(record, claim, group, winner)


def _winner(
    claim: str, group: Sequence[PluginRecord], incumbents: Sequence[PluginRecord], overrides: Mapping[str, str]
) -> PluginRecord | None:
    """Who keeps a name: what code gave, then what the person decided, then who had it before; else nobody."""
    given = [record for record in group if record.source != "entry_point"]
    if given:
        return given[0]
    wanted = overrides.get(claim)
    if wanted is not None:
        return next((record for record in group if record.dist and same_name(record.dist, wanted)), None)
    return incumbents[0] if len(incumbents) == 1 else None


def _collision(
    record: PluginRecord, claim: str, group: Sequence[PluginRecord], winner: PluginRecord | None
) -> Decision:
    others = [winner] if winner is not None else [other for other in group if other is not record]
    text = " and ".join(_owner(other) for other in others)
    outcome = f"{_owner(winner)} keeps it" if winner is not None else "neither had it before, so neither gets it"
    message = f"{_spoken(claim)} is claimed by {_owner(record)} and by {text}; {outcome}"
    return Decision(record, REJECTED, "collision", message, _override(claim, record.dist))


def _override(claim: str, dist: str | None = None) -> str:
    return f"peg config set 'overrides.\"{claim}\"' {dist or 'DISTRIBUTION'}"


def _spoken(claim: str) -> str:
    kind, _, name = claim.partition(":")
    return f"the {'plugin id' if kind == 'plugin' else kind} `{name}`"


def _owner(record: PluginRecord) -> str:
    if record.dist is None:
        return f"`{record.id}` given by " + ("path" if record.source == "folder" else "the host program")
    return f"{record.dist} {record.version}"


# --- requirements ------------------------------------------------------------------------------------------------


def _reject_cycles(candidates: Sequence[PluginRecord], decided: dict[int, Decision | None]) -> None:
    needs = {record.id: [name for kind, name, _, _ in record.requires if kind == "plugin"] for record in candidates}
    for record in candidates:
        circle = _circle(record.id, needs)
        if circle:
            message = f"its requirements form a cycle: {' → '.join(circle)}"
            decided[id(record)] = Decision(record, REJECTED, "requires", message, f"peg plugins disable {record.id}")


def _circle(start: str, needs: Mapping[str, Sequence[str]]) -> list[str]:
    """A way from a plugin back to itself."""
    paths = [[start]]
    seen: set[str] = set()
    while paths:
        path = paths.pop()
        for name in needs.get(path[-1], ()):
            if name == start:
                return [*path, start]
            if name not in seen:
                seen.add(name)
                paths.append([*path, name])
    return []


def _resolve_requirements(chosen: Mapping[int, PluginRecord], decided: dict[int, Decision | None]) -> None:
    """Reject who needs what is not there, and again whoever needed one of those."""
    while True:
        candidates = _candidates(chosen, decided)
        capabilities = CORE_CAPABILITIES.union(*map(provides, candidates))
        losers = []
        for record in candidates:
            missing = _missing(record, candidates, capabilities, chosen, decided)
            if missing:
                losers.append(Decision(record, REJECTED, "requires", *missing))
        if not losers:
            return
        for loser in losers:
            decided[id(loser.record)] = loser


def _missing(
    record: PluginRecord,
    candidates: Sequence[PluginRecord],
    capabilities: frozenset[str],
    chosen: Mapping[int, PluginRecord],
    decided: Mapping[int, Decision | None],
) -> tuple[str, str] | None:
    if (record.manifest or {}).get("runtime") == "subprocess" and "process" not in capabilities:
        return (
            "it runs in a process of its own, and no installed plugin provides `cap:process`",
            "peg plugins list --all",
        )
    for kind, name, wanted, inside in record.requires:
        if kind == "cap":
            if name not in capabilities:
                return f"it requires the capability `{name}`, which nothing provides", "peg plugins list --all --why"
            continue
        there = [other for other in candidates if other.id == name]
        # What the host program or a path gives has no distribution whose version could be compared.
        if any(other.dist is None or other.dist in inside for other in there):
            continue
        if there:
            text = f"it requires `{name}{wanted}`, and {_owner(there[0])} is installed"
            return text, f"peg plugins update {name}"
        return _absent(name, wanted, chosen, decided)
    return None


def _absent(
    name: str, wanted: str, chosen: Mapping[int, PluginRecord], decided: Mapping[int, Decision | None]
) -> tuple[str, str]:
    found = [decision for key, decision in decided.items() if decision is not None and chosen[key].id == name]
    if found:
        state = f"{found[0].state}({found[0].reason})" if found[0].reason else found[0].state
        return f"it requires `{name}{wanted}`, which is {state}", found[0].hint or f"peg plugins enable {name}"
    return f"it requires `{name}{wanted}`, which is not installed", "peg plugins list --all"
