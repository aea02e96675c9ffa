"""Python beside a file: `module:object` is the object in `module.py` in the folder of the file, and nothing else.

Not what Python itself finds under the name, and not what lies within the object: a file that names `os:remove` or
`module:os.remove` as a tool must not get it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from pegboard.errors import describe


class BesideError(Exception):
    """The module or the object is not there, or raised; the message goes on from the name of the field."""


class Beside:
    """What lies beside one file; each module is made once, so that what its functions share is shared."""

    def __init__(self, file: str) -> None:
        self._folder = Path(file).parent
        self._modules: dict[str, ModuleType] = {}

    def load(self, named: str) -> Any:
        """The object of `module:object`.

        Raises:
            BesideError: it cannot be had.
        """
        name, _, attribute = named.partition(":")
        if name not in self._modules:
            self._modules[name] = _module(self._folder / f"{name}.py")
        module = self._modules[name]
        if not hasattr(module, attribute):
            raise _absent(name, attribute, list(vars(module)))
        return getattr(module, attribute)


def _absent(module: str, attribute: str, known: list[str]) -> BesideError:
    near = get_close_matches(attribute, known, n=1)
    text = f"; did you mean `{near[0]}`?" if near else ""
    return BesideError(f"`{module}.py` beside this file has no `{attribute}`{text}")


def _module(path: Path) -> ModuleType:
    """Under a name of its own, so that two folders may each have a `tools.py`."""
    if not path.is_file():
        raise BesideError(f"there is no `{path.name}` beside this file")
    name = f"pegboard_agentfile_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BesideError(f"`{path.name}` cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations of its types are looked up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise BesideError(f"`{path.name}` could not be imported: {type(error).__name__}: {describe(error)}") from error
    return module
