"""Modules that are imported at their first use, because they are dear and often not needed.

Imports inside functions hide the structure; this keeps them at the top of a file, where a reader and the layer test
see them, and costs nothing until an attribute is read.
"""

from __future__ import annotations

import importlib
from typing import Any


class LazyModule:
    """Stands for a module until one of its attributes is read."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, value)
        return value
