"""Modules that are imported at their first use, because they are dear and often not needed, and files beside modules.

Imports inside functions hide the structure; this keeps them at the top of a file, where a reader and the layer test
see them, and costs nothing until an attribute is read.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import msgspec


class LazyModule:
    """Stands for a module until one of its attributes is read."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, value)
        return value


def json_beside(module: str, name: str) -> Any:
    """The content of a JSON file that lies beside an imported module, which may be in a zip file.

    Not `importlib.resources`: it brings tempfile, shutil and their like, and every board comes by here.
    """
    found = sys.modules[module]
    loader: Any = found.__loader__
    folder = os.path.dirname(found.__file__ or "")  # noqa: PTH120  # pathlib knows nothing of zip files
    return msgspec.json.decode(loader.get_data(os.path.join(folder, name)))  # noqa: PTH118
