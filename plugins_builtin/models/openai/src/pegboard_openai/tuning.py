"""Settings as a line of OpenAI's models takes them, the same for both wires: effort, sampling, the key of the cache."""

from __future__ import annotations

from typing import Final

import msgspec
from pegboard.types import ModelRequest, ModelSettings, Omission

from pegboard_openai.models import Line

_LEVELS: Final = ((4_096, "low"), (16_384, "medium"))
"""Numbers of tokens below which a level is meant; above them it is `high`."""
_LONGEST_KEY: Final = 64


class Tuned(msgspec.Struct, frozen=True):
    """A request with the settings that the model takes, and the rest."""

    request: ModelRequest
    effort: str | None
    """How much the model shall think."""
    cache_key: str | None
    """Requests with the same one are sent to where their prefix is cached."""
    omitted: tuple[Omission, ...]


def tuned(request: ModelRequest, line: Line) -> Tuned:
    """The request as this line of models takes it."""
    settings, omitted = request.settings, list[Omission]()
    effort = _effort(settings, line, omitted)
    for name in ("temperature", "top_p") if not line.samples else ():
        if getattr(settings, name) is not None:
            omitted.append(Omission(f"the setting `{name}`", "models that always think take none"))
            settings = msgspec.structs.replace(settings, **{name: None})
    if settings.top_k is not None:
        omitted.append(Omission("the setting `top_k`", "OpenAI has none"))
        settings = msgspec.structs.replace(settings, top_k=None)
    return Tuned(msgspec.structs.replace(request, settings=settings), effort, _cache_key(request), tuple(omitted))


def _effort(settings: ModelSettings, line: Line, omitted: list[Omission]) -> str | None:
    wanted = settings.thinking
    if wanted is None or (wanted == "off" and not line.thinks):
        return None
    if not line.thinks:
        omitted.append(Omission("the setting `thinking`", "the model does not think"))
        return None
    if wanted == "off":
        if line.least != "none":
            omitted.append(Omission("thinking that is off", f"the model always thinks; `{line.least}` is the least"))
        return line.least
    if isinstance(wanted, int):
        level = next((level for most, level in _LEVELS if wanted < most), "high")
        omitted.append(Omission("a number of tokens for thinking", f"OpenAI has levels; `{level}` was asked for"))
        return level
    return wanted


def _cache_key(request: ModelRequest) -> str | None:
    """One for a run and all below it: they share their prefixes, and a child's id begins with its parent's."""
    if request.settings.cache == "off":
        return None
    return request.run.partition(".")[0][:_LONGEST_KEY] or None


__all__ = ["Tuned", "tuned"]
