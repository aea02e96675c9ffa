{%- set kinds = cookiecutter.kinds -%}
"""The plugin: what it does at each hook. Every hook here is listed in `pegboard.toml` too."""

from __future__ import annotations

{% if 'tool' in kinds or 'agent' in kinds -%}
from collections.abc import Sequence
{% endif -%}
{% if 'observer' in kinds -%}
from logging import getLevelNamesMapping
{% endif -%}
{% if 'tool' in kinds or 'agent' in kinds or 'observer' in kinds %}
{% endif -%}
import msgspec
from pegboard import {% if 'agent' in kinds %}Agent, {% endif %}{% if 'observer' in kinds %}Event, {% endif %}HostContext, {% if 'model' in kinds %}ModelBase, {% endif %}{% if 'gate' in kinds %}RunContext, {% endif %}{% if 'tool' in kinds %}Tool, {% endif %}hookimpl
{% if 'gate' in kinds -%}
from pegboard.types import Action, Deny, Verdict
{% endif %}
from {{ cookiecutter.__package }}.config import Settings
{% if 'model' in kinds -%}
from {{ cookiecutter.__package }}.model import EchoModel
{% endif -%}
{% if 'tool' in kinds -%}
from {{ cookiecutter.__package }}.tools import count_words_tool
{% endif %}

class Plugin:
    """{{ cookiecutter.summary }}."""

    settings: Settings

    def activate(self, ctx: HostContext) -> None:
        """Keep the settings; called once, before any hook."""
        self.settings = msgspec.convert(ctx.config, Settings)
{%- if 'observer' in kinds %}
        self._log = ctx.log
{%- endif %}
{%- if 'tool' in kinds %}

    @hookimpl
    def provide_tools(self, ctx: HostContext) -> Sequence[Tool]:
        """Offer the tools that the manifest lists."""
        return [count_words_tool(self.settings.minimum_length)]
{%- endif %}
{%- if 'model' in kinds %}

    @hookimpl
    def provide_model(self, ctx: HostContext, name: str) -> ModelBase | None:
        """The model `echo`, and every name that the patterns of the manifest match; no opinion on others."""
        model = name.removeprefix("{{ cookiecutter.name }}:")
        known = name == "{{ cookiecutter.name }}:echo" or model.startswith("{{ cookiecutter.name }}-")
        return EchoModel(self.settings.prefix, model) if known else None
{%- endif %}
{%- if 'observer' in kinds %}

    @hookimpl(band=60, kinds=("run.",))
    def on_event(self, event: Event) -> None:
        """Write the end of each run to the log. Must be fast: it is called while the run goes on."""
        if event.kind == "run.finished":
            level = getLevelNamesMapping()[self.settings.log_level.upper()]
            self._log.log(level, "run %s ended: %s", event.run, event.data.get("end_reason"))
{%- endif %}
{%- if 'gate' in kinds %}

    @hookimpl(band=-60)
    def authorize(self, ctx: RunContext, action: Action) -> Verdict | None:
        """Deny the tools that the settings name; `None` is no opinion, and an error here is a deny."""
        if action.resource in self.settings.denied_tools:
            return Deny(f"the settings of `{{ cookiecutter.name }}` deny `{action.resource}`")
        return None
{%- endif %}
{%- if 'agent' in kinds %}

    @hookimpl
    def provide_agents(self, ctx: HostContext) -> Sequence[Agent]:
        """Offer the agent; its model is the board's."""
        return [Agent("{{ cookiecutter.name }}", instructions=self.settings.instructions)]
{%- endif %}
