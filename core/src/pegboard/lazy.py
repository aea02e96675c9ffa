"""Modules and names that are imported at their first use, because they are dear and often not needed, and files beside.

Imports inside functions hide the structure; this keeps them at the top of a file, where a reader and the layer test
see them, and costs nothing until an attribute is read.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any


class LazyModule:
    """Stands for a module until one of its attributes is read."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, value)
        return value


if TYPE_CHECKING:
    import msgspec
else:
    msgspec = LazyModule("msgspec")  # 17 ms that a package with lazy names need not pay


def lazy_names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose names resolve on first use (PEP 562).

        _HOMES = {"Flow": "my_plugin.builder", "Node": "my_plugin.model"}
        __all__ = [*_HOMES]
        __getattr__, __dir__ = lazy_names(__name__, _HOMES)

    Args:
        package: its `__name__`
        homes: the module of each name; an `if TYPE_CHECKING:` block beside it tells type checkers the same
    """

    def resolve(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(home), name)
        setattr(sys.modules[package], name, value)  # the next one who asks finds it without us
        return value

    return resolve, lambda: sorted(homes)


def json_beside(module: str, name: str) -> Any:
    """The content of a JSON file that lies beside an imported module, which may be in a zip file.

    Not `importlib.resources`: it brings tempfile, shutil and their like, and every board comes by here.
    """
    found = sys.modules[module]
    loader: Any = found.__loader__
    folder = os.path.dirname(found.__file__ or "")  # noqa: PTH120  # pathlib knows nothing of zip files
    return msgspec.json.decode(loader.get_data(os.path.join(folder, name)))  # noqa: PTH118
