"""What the agents take and give, as JSON Schema, and what a model is asked for: its judgement, and nothing computed."""

from __future__ import annotations

from typing import Any, Final

from pegboard.types import JsonObject

from pegboard_codeanalysis.analysis.model import SEVERITIES

_TEXT: Final[JsonObject] = {"type": "string"}
_TEXTS: Final[JsonObject] = {"type": "array", "items": {"type": "string"}}
SEVERITY: Final[JsonObject] = {"type": "string", "enum": list(SEVERITIES)}
ABSENT: Final[JsonObject] = {
    "type": ["object", "null"],
    "properties": {"absent": {"type": "boolean"}, "reason": {"type": "string"}, "node": {"type": "string"}},
}
"""Also for what another agent did not give: the mark of something absent is taken, and its reason is told."""
_TARGET: Final[JsonObject] = {
    "path": {"type": "string", "description": "The folder, relative to the workspace."},
    "exclude": {**_TEXTS, "description": "Patterns of relative paths to leave out, as of a shell."},
}
_CLAIM: Final[JsonObject] = {
    "type": "object",
    "properties": {
        "claim": {"type": "string", "description": "One or two sentences: what is so, and why it matters."},
        "severity": SEVERITY,
        "evidence": {**_TEXTS, "description": "Places as `path:line`, from what you were given."},
    },
    "required": ["claim", "severity", "evidence"],
}
_JUDGED: Final[JsonObject] = {
    "summary": {"type": "string", "description": "At most 150 words, for an engineer who knows the field."},
    "claims": {"type": "array", "items": _CLAIM},
}
ANSWER: Final[JsonObject] = {"type": "object", "properties": _JUDGED, "required": list(_JUDGED)}
"""What a model is asked for. Everything else in the output of an agent is computed, and put beside it."""


def target(**more: JsonObject) -> JsonObject:
    """The input of an agent that looks at a folder: its path as text, or an object."""
    return {"type": ["string", "object"], "properties": {**_TARGET, **more}, "additionalProperties": False}


def output(**more: JsonObject) -> JsonObject:
    """The output of an agent: what was judged, and beside it what was computed; all of it is always there."""
    properties: dict[str, Any] = {
        **_JUDGED,
        "text": {"type": "string", "description": "All of it as a person is told it."},
        "dropped_claims": {"type": "array"},
        "judged_by": _TEXT,
        "model_said": _TEXT,
        "confidence": {"type": "number"},
        "degraded": {"type": "array"},
        "stages": {"type": "array"},
        **more,
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


FIGURES: Final[JsonObject] = {"type": "object"}
ROWS: Final[JsonObject] = {"type": "array"}
NUMBER: Final[JsonObject] = {"type": "integer"}
FAIL_ON: Final[JsonObject] = {
    "type": ["string", "null"],
    "enum": [*SEVERITIES[:3], None],
    "description": "The run fails where there is a finding as grave as this, or worse.",
}
RANGE: Final[JsonObject] = {
    "type": "string",
    "description": "Commits as git names them: `main..HEAD`, `main...HEAD`, or one to compare `HEAD` with.",
}
TEXT: Final = _TEXT
TEXTS: Final = _TEXTS
