"""The conformance rules: a table of small functions, and the run of a tier of them.

A check yields what is wrong, in words; nothing yielded is a pass. It raises `NotApplicable` where there is nothing to
check. Each rule has a time limit and can be exempted in the manifest with a reason:

    [quality.exempt]
    "import-fast" = "loads a model of 40 MB on purpose"
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, Literal

import msgspec

from pegboard_testing.conformance import bronze, silver
from pegboard_testing.conformance.bronze import NotApplicable
from pegboard_testing.conformance.subject import ProbeError, Subject, find_subject

Tier = Literal["bronze", "silver"]
Status = Literal["passed", "failed", "exempt", "skipped"]
TIERS: Final[tuple[Tier, ...]] = ("bronze", "silver")


class Rule(msgspec.Struct, frozen=True):
    """One rule."""

    id: str
    tier: Tier
    text: str
    """What holds, as one sentence."""
    check: Callable[[Subject], Iterable[str]]
    limit_s: float = 60.0


class RuleResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one rule."""

    rule: str
    tier: Tier
    text: str
    status: Status
    problems: tuple[str, ...] = ()
    """What is wrong; for an exempt or skipped rule, why it was not judged."""
    duration_s: float = 0.0


RULES: Final[tuple[Rule, ...]] = (
    Rule("manifest-valid", "bronze", "the manifest is there and valid", bronze.manifest_is_valid),
    Rule("manifest-equals-code", "bronze", "the manifest lists what the code implements", bronze.manifest_equals_code),
    Rule("id-fits", "bronze", "the id fits the distribution", bronze.id_fits),
    Rule("manifest-packaged", "bronze", "the manifest is in the wheel and in the sdist", bronze.is_packaged, 120.0),
    Rule("activates", "bronze", "it activates on an empty configuration, or says what is missing", bronze.activates),
    Rule("import-fast", "bronze", "its import takes less than 100 ms of CPU", bronze.imports_fast),
    Rule("import-clean", "bronze", "its import has no side effect", bronze.imports_clean),
    Rule("import-light", "bronze", "its import loads no heavy module", bronze.imports_light),
    Rule("files", "bronze", "licence, README and py.typed are there", bronze.has_files),
    Rule("uninstall-clean", "bronze", "it writes nothing beside its own folders", bronze.leaves_nothing),
    Rule("tests", "silver", "it has tests", silver.has_tests),
    Rule("types", "silver", "every function is annotated", silver.is_typed),
    Rule("cancellation", "silver", "a run that is cancelled ends at once, with its hooks in it", silver.honours_cancel),
    Rule("loop-free", "silver", "nothing it does in a run blocks the event loop", silver.leaves_loop_free),
    Rule("limits", "silver", "every tool has a time limit and an effect", silver.declares_limits),
    Rule("secrets", "silver", "no secret appears in a log, an event or a repr", silver.hides_secrets),
    Rule("core-range", "silver", "its range of core is bounded and holds this one", silver.bounds_core),
)
"""All rules, in the order in which they are best mended."""


def rules_of(tier: Tier) -> list[Rule]:
    """The rules of a tier and of those below it."""
    wanted = TIERS[: TIERS.index(tier) + 1]
    return [rule for rule in RULES if rule.tier in wanted]


def run_conformance(plugin: str, tier: Tier = "silver") -> list[RuleResult]:
    """Check an installed plugin, by its id or by the name of its distribution.

    The plugin's code runs in processes of their own, so a hanging import or an `os._exit` fails a rule and no more.

    Raises:
        UnknownPluginError: nothing of this name is installed.
    """
    subject = find_subject(plugin)
    return [judge(rule, subject) for rule in rules_of(tier)]


def judge(rule: Rule, subject: Subject) -> RuleResult:
    """One rule on one plugin."""
    started = time.monotonic()
    if rule.id in subject.exempt:
        status, problems = "exempt", [subject.exempt[rule.id]]
    else:
        status, problems = _checked(rule, subject)
    return RuleResult(
        rule=rule.id,
        tier=rule.tier,
        text=rule.text,
        status=status,  # type: ignore[arg-type]  # one of the four, by construction
        problems=tuple(problems),
        duration_s=round(time.monotonic() - started, 3),
    )


def _checked(rule: Rule, subject: Subject) -> tuple[str, list[str]]:
    """Run a check in a thread that is left behind at the limit, since Python cannot end it."""
    outcome: list[tuple[str, list[str]]] = []
    worker = threading.Thread(target=lambda: outcome.append(_outcome(rule, subject)), daemon=True)
    worker.start()
    worker.join(rule.limit_s)
    return outcome[0] if outcome else ("failed", [f"was not decided within {rule.limit_s:g} s"])


def _outcome(rule: Rule, subject: Subject) -> tuple[str, list[str]]:
    try:
        problems = list(rule.check(subject))
    except NotApplicable as exc:
        return "skipped", [str(exc)]
    except ProbeError as exc:
        return "failed", [str(exc)]
    except Exception as exc:
        return "failed", [f"the check itself failed: {type(exc).__name__}: {exc}"]
    return ("failed" if problems else "passed"), problems


__all__ = ["RULES", "TIERS", "Rule", "RuleResult", "Status", "Tier", "judge", "rules_of", "run_conformance"]
