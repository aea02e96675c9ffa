{%- set kinds = cookiecutter.kinds -%}
"""The settings of the plugin; `schemas/config.json` is their JSON Schema, and a test compares them."""

from __future__ import annotations
{% if 'tool' in kinds or 'observer' in kinds %}
from typing import {% if 'tool' in kinds %}Annotated{% endif %}{% if 'tool' in kinds and 'observer' in kinds %}, {% endif %}{% if 'observer' in kinds %}Literal{% endif %}
{% endif %}
import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands under `[plugins.{{ cookiecutter.name }}]`."""
{% if 'tool' in kinds %}
    minimum_length: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Shorter words are not counted."""
{%- endif %}
{%- if 'model' in kinds %}
    prefix: str = ""
    """Put before each answer."""
{%- endif %}
{%- if 'observer' in kinds %}
    log_level: Literal["debug", "info"] = "info"
    """How the end of a run is logged."""
{%- endif %}
{%- if 'gate' in kinds %}
    denied_tools: tuple[str, ...] = ()
    """Names of tools that are never called."""
{%- endif %}
{%- if 'agent' in kinds %}
    instructions: str = "Answer briefly."
    """What the agent is told."""
{%- endif %}
