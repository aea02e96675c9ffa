"""What a text that names an agent may be: a plain name, `module:object`, or a file. Who finds it is not known here."""

from __future__ import annotations

import re
from typing import Final

FILE_SUFFIXES: Final = (".yaml", ".yml", ".md")
"""A text with such an end means a file."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_MODULE_OBJECT: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def is_plain(name: str) -> bool:
    """Whether it may be the name of an agent: of all texts, those alone lead to no code and no file."""
    return _PLAIN.fullmatch(name) is not None and not is_file(name)


def is_file(name: str) -> bool:
    """Whether it is meant as the path of a file, which need not be there."""
    return name.endswith(FILE_SUFFIXES)


def is_module_object(name: str) -> bool:
    """Whether it is written as `module:object`; the path of a file is not."""
    return _MODULE_OBJECT.fullmatch(name) is not None and not is_file(name)
