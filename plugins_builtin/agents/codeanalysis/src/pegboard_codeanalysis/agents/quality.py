"""The quality standards of the agents: how much must have been looked at, how many claims must stand on lines that
exist, and the severity from which a run is to fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pegboard.types import AgentConfig, Finding

FAILED: Final = "failed: "


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
    if output.get("fails"):
        found += of_text(output["text"])
    return found


def of_text(text: Any) -> list[Finding]:
    """The verdict of a workflow, which hands on only the text: that is what says that the run is to fail."""
    last = text.rstrip().rpartition("\n")[2] if isinstance(text, str) else ""
    if not last.startswith(FAILED):
        return []
    return [Finding(severity="error", message=last.removeprefix(FAILED), check="codeanalysis.fail_on")]


def verdict(severity: str, counts: Mapping[str, int]) -> str:
    """The last line of a text whose run is to fail."""
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count and name != "note")
    return f"{FAILED}findings as grave as `{severity}`, or worse: {told}"
