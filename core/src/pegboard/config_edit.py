"""Changes a `config.toml` and leaves comments, order and everything else in it as they are.

Whether a value makes sense is `config`'s business; here it is only written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from pegboard.config import MAX_SIZE_BYTES, edit_hint
from pegboard.errors import ConfigError
from pegboard.file_lock import file_lock
from pegboard.regular import read_regular

_BYTE_ORDER_MARK = "\ufeff"


def set_value(file: Path, path: Sequence[str], value: Any) -> None:
    """Write one value, making tables on the way; the file is made where there is none.

    Raises:
        ConfigError: the file is not TOML or cannot be used, or a part of the key is a value already.
    """
    with _alone(file) as target:
        document, mark = _read(target)
        table: MutableMapping[str, Any] = document
        for position, part in enumerate(path[:-1]):
            below = table.setdefault(part, tomlkit.table())
            if not isinstance(below, MutableMapping):
                name = ".".join(path[: position + 1])
                raise ConfigError(f"{file}: `{name}` is a value, not a table", hint=edit_hint(file))
            table = below
        table[path[-1]] = value
        _write(target, mark + tomlkit.dumps(document))


def remove(file: Path, path: Sequence[str]) -> bool:
    """Take a value or a whole table out; whether it was there.

    Raises:
        ConfigError: the file is not TOML or cannot be used.
    """
    with _alone(file) as target:
        document, mark = _read(target)
        table: Any = document
        for part in path[:-1]:
            table = table.get(part) if isinstance(table, MutableMapping) else None
        if not isinstance(table, MutableMapping) or path[-1] not in table:
            return False
        del table[path[-1]]
        _write(target, mark + tomlkit.dumps(document))
        return True


@contextmanager
def _alone(file: Path) -> Iterator[Path]:
    """Nobody else changes the file meanwhile; of a link, what it leads to is changed and the link stays."""
    target = Path(os.path.realpath(file))
    try:
        if file.is_symlink() and not target.exists():
            # Whoever sent the link along would choose which file is made.
            raise ConfigError(f"{file}: is a link to `{target}`, which is not there", hint=f"rm {file}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(f"{target}.lock"):
            yield target
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from error


def _read(file: Path) -> tuple[tomlkit.TOMLDocument, str]:
    """What is written, and the byte order mark in front of it."""
    try:
        text = read_regular(file, MAX_SIZE_BYTES).decode("utf-8")
        mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
        return tomlkit.parse(text.removeprefix(mark)), mark
    except FileNotFoundError:
        return tomlkit.document(), ""
    except (TOMLKitError, ValueError, RecursionError) as error:
        text = str(error)
        raise ConfigError(f"{file}: is not TOML: {text[:1].lower()}{text[1:]}", hint=edit_hint(file)) from error


def _write(file: Path, text: str) -> None:
    """Replace the file whole, so that nobody ever reads half of it."""
    raw = text.encode("utf-8")
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(raw)
        if file.exists():
            temporary.chmod(file.stat().st_mode & 0o777)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
