"""YAML that anybody may have written, as plain data with the line of each key; a library for plugins of pegboard."""

from __future__ import annotations

from pegboard_plainyaml.reading import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_VALUES,
    YamlFault,
    YamlInvalidError,
    read_text,
    read_yaml,
)

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_VALUES", "YamlFault", "YamlInvalidError", "read_text", "read_yaml"]
