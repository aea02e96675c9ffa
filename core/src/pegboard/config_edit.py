"""Changes a `config.toml` and leaves comments, order and everything else in it as they are.

Whether a value makes sense is `config`'s business; here it is only written.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from pegboard.errors import ConfigError


def set_value(file: Path, path: Sequence[str], value: Any) -> None:
    """Write one value, making tables on the way; the file is made where there is none.

    Raises:
        ConfigError: the file is not TOML, or a part of the key is a value already.
    """
    document = _read(file)
    table: MutableMapping[str, Any] = document
    for position, part in enumerate(path[:-1]):
        below = table.setdefault(part, tomlkit.table())
        if not isinstance(below, MutableMapping):
            raise ConfigError(
                f"{file}: `{'.'.join(path[: position + 1])}` is a value, not a table", hint=f"edit {file}"
            )
        table = below
    table[path[-1]] = value
    _write(file, tomlkit.dumps(document))


def remove(file: Path, path: Sequence[str]) -> bool:
    """Take a value or a whole table out; whether it was there.

    Raises:
        ConfigError: the file is not TOML.
    """
    document = _read(file)
    table: Any = document
    for part in path[:-1]:
        table = table.get(part) if isinstance(table, MutableMapping) else None
    if not isinstance(table, MutableMapping) or path[-1] not in table:
        return False
    del table[path[-1]]
    _write(file, tomlkit.dumps(document))
    return True


def _read(file: Path) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return tomlkit.document()
    except (TOMLKitError, UnicodeDecodeError) as error:
        text = str(error)
        raise ConfigError(f"{file}: is not TOML: {text[:1].lower()}{text[1:]}", hint=f"edit {file}") from error


def _write(file: Path, text: str) -> None:
    """Replace the file whole, so that nobody ever reads half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        if file.exists():
            temporary.chmod(file.stat().st_mode & 0o777)
        temporary.replace(file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from error
