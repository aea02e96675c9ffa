"""Whether the files of a plugin are those that were installed, or, where nothing was installed, those of a lock file.

A wheel brings a hash of each file in its RECORD. A linked or editable plugin has none, so its whole package is hashed.
"""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from pegboard.plugins.discovery.index import PluginRecord

_ALGORITHMS = ("sha256", "sha384", "sha512")


def changed(record: PluginRecord) -> Iterator[str]:
    """Each file of the distribution that is not as its RECORD says, in words; nothing where RECORD has no hashes."""
    for name, algorithm, wanted in _recorded(record):
        path = Path(record.location, name)
        try:
            found = _encoded(path, algorithm)
        except OSError as error:
            yield f"plugin `{record.id}`: `{path}` cannot be read: {error.strerror}"
            continue
        if found != wanted:
            yield f"plugin `{record.id}`: `{path}` is not the file that was installed"


def contents(records: Iterable[PluginRecord]) -> dict[str, str]:
    """A hash over the package folder of each plugin whose RECORD does not vouch for it: linked, editable, by path."""
    return {
        record.id: _folder_hash(Path(record.package_path))
        for record in sorted(records, key=lambda record: record.id)
        if record.package_path is not None and not _vouched(record)
    }


def _vouched(record: PluginRecord) -> bool:
    package = f"{record.package}/"
    return any(name.startswith(package) for name, _, _ in _recorded(record))


def _recorded(record: PluginRecord) -> Iterator[tuple[str, str, str]]:
    """Path, algorithm and hash of each file that RECORD vouches for."""
    if record.info_path is None:
        return
    try:
        text = Path(record.info_path, "RECORD").read_text("utf-8")
    except (OSError, ValueError):
        return
    for row in csv.reader(text.splitlines()):
        algorithm, _, digest = row[1].partition("=") if len(row) > 1 else ("", "", "")
        if digest and algorithm in _ALGORITHMS and ".dist-info/" not in row[0]:
            yield row[0], algorithm, digest


def _encoded(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, algorithm).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _folder_hash(folder: Path) -> str:
    """Over names and contents, without what Python writes by itself."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            with path.open("rb") as file:
                total.update(f"{path.relative_to(folder).as_posix()}\0".encode())
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
