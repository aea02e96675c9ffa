"""Whether a change of the installed distributions was begun and not ended, and which of them are torn by it.

`packages.transaction` writes the file that is read here. It lies in site-packages itself, so that the cached index,
which is trusted while that folder is unchanged, ends with its coming and going, and looking for it costs nothing else.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
from pathlib import Path
from typing import Any

from pegboard.plugins.discovery.index import normalised

JOURNAL = ".pegboard-transaction.json"
FIX = "peg plugins reindex"
STASH = "~"
"""What pip puts aside while it replaces something begins with this; a pip that is killed leaves it behind."""
_MAX_SIZE_BYTES = 64 * 1024 * 1024


def torn(location: str, dist: str) -> str | None:
    """Why a distribution in this folder must not be used now; `None` where nothing is open or it is whole."""
    folder = Path(location)
    if normalised(dist) not in _names(folder / JOURNAL):
        return None
    infos = [info for info in folder.glob("*.dist-info") if normalised(info.name.partition("-")[0]) == normalised(dist)]
    if len(infos) == 1 and _is_whole(infos[0]):
        return None
    return f"{dist} is being replaced, or that was interrupted: its files are not those that its RECORD lists"


def _names(journal: Path) -> frozenset[str]:
    try:
        with journal.open("rb") as file:
            said: Any = json.loads(file.read(_MAX_SIZE_BYTES))
        return frozenset(map(str, said["names"]))
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def _is_whole(info: Path) -> bool:
    try:
        with (info / "RECORD").open(encoding="utf-8", newline="") as file:
            return all(_agrees(info.parent, row) for row in csv.reader(file))
    except (OSError, ValueError, csv.Error):
        return False


def _agrees(folder: Path, row: list[str]) -> bool:
    if len(row) < 2 or not row[1].startswith("sha256="):
        return True
    with (folder / row[0]).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return row[1] == "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
