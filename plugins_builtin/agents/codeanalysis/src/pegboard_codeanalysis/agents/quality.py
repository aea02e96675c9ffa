"""The quality standards of the agents: how much must have been looked at, how many claims must stand on lines that
exist, and the severity from which a run is to fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pegboard.types import AgentConfig, Finding

from pegboard_codeanalysis.agents.telling import severities
from pegboard_codeanalysis.analysis.model import SEVERITIES


def findings(config: AgentConfig, output: Any) -> list[Finding]:
    """What an output leaves to be desired."""
    if not isinstance(output, Mapping):
        return [Finding(severity="error", message="it gave no output", check="codeanalysis.output")]
    found = []
    confidence = output.get("confidence", 0.0)
    wanted: Any = config.quality.get("analysed_share", 0.0)
    if confidence < wanted:
        text = f"only {confidence:.0%} of what there is was looked at; see `degraded`"
        found.append(Finding(severity="warning", message=text, check="codeanalysis.analysed_share"))
    made = [claim for claim in output.get("claims", ()) if claim.get("by") == "model"]
    thrown = len(output.get("dropped_claims", ()))
    founded: Any = config.quality.get("founded_share", 0.0)
    if thrown and len(made) / (len(made) + thrown) < founded:
        text = f"{thrown} claims named no line that exists, and were dropped"
        found.append(Finding(severity="warning", message=text, check="codeanalysis.founded_share"))
    return [*found, *of_threshold(output)]


def of_threshold(output: Any) -> list[Finding]:
    """The run is to fail where there is a finding as grave as `fail_on`, or worse."""
    if not isinstance(output, Mapping) or not output.get("fails"):
        return []
    least = output["fail_on"]
    grave: dict[str, int] = {name: output["counts"].get(name, 0) for name in SEVERITIES[: SEVERITIES.index(least) + 1]}
    text = f"findings as grave as `{least}`, or worse: {severities(grave)}"
    return [Finding(severity="error", message=text, check="codeanalysis.fail_on")]
