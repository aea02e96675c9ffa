"""Takes a snapshot of a folder: which files there are, what is in them by digest, and what was left out and why.

Links are never followed, so that neither a circle nor a way out of the folder exists. Nothing is written.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from pegboard_codeanalysis.analysis import git
from pegboard_codeanalysis.analysis.languages import language_of, role_of
from pegboard_codeanalysis.analysis.model import Degradation, FileEntry, LanguageRow, Skipped, Snapshot

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_FILES: Final = 200_000
MAX_DEPTH: Final = 100
_NOT_OURS: Final = {
    ".git": "version control", ".hg": "version control", ".svn": "version control", ".pegboard": "pegboard's own",
    "node_modules": "installed packages", "site-packages": "installed packages", ".venv": "virtual environment",
    "__pycache__": "cache", ".mypy_cache": "cache", ".ruff_cache": "cache", ".pytest_cache": "cache", ".tox": "cache",
    ".nox": "cache", ".hypothesis": "cache", ".eggs": "cache", ".cache": "cache",
}  # fmt: skip
_BINARY: Final = "binary"


class NotAFolderError(Exception):
    """What is to be analysed is no folder, or cannot be read."""


class _Found(NamedTuple):
    path: str
    full: str
    size_bytes: int


def take(root: str, *, exclude: Sequence[str] = ()) -> Snapshot:
    """A snapshot of everything below a folder.

    Args:
        root: the folder
        exclude: patterns of relative paths that are left out, and listed as such

    Raises:
        NotAFolderError: it is no folder.
    """
    walk = _Walk(root, exclude)
    entries, digest = [], hashlib.sha256()
    for found in sorted(walk.files()):
        entry = _entry(found, walk.skipped)
        if entry is not None:
            entries.append(entry)
            digest.update(f"{entry.path}\0{entry.digest}\0".encode())
    return Snapshot(
        root=walk.root,
        digest=digest.hexdigest(),
        files=_settled(entries),
        skipped=tuple(sorted(walk.skipped, key=lambda item: item.path)),
        degraded=tuple(walk.degraded),
        git_given_up=walk.git_given_up,
    )


def _settled(entries: Sequence[FileEntry]) -> tuple[FileEntry, ...]:
    """The files, with scripts as the program itself where there is no other."""
    if any(entry.is_python and entry.role == "code" for entry in entries):
        return tuple(entries)
    return tuple(msgspec.structs.replace(each, role="code") if each.role == "tooling" else each for each in entries)


def languages(files: Sequence[FileEntry]) -> tuple[LanguageRow, ...]:
    """How much there is in each language, the largest first."""
    totals: dict[str, list[int]] = {}
    for entry in files:
        row = totals.setdefault(entry.language, [0, 0])
        row[0] += 1
        row[1] += entry.lines
    rows = [LanguageRow(name, count, lines) for name, (count, lines) in totals.items()]
    return tuple(sorted(rows, key=lambda row: (-row.lines, row.language)))


class _Walk:
    def __init__(self, root: str, exclude: Sequence[str]) -> None:
        self.root = os.path.realpath(root)
        if not Path(self.root).is_dir():
            raise NotAFolderError(f"`{root}` is no folder")
        self.skipped: list[Skipped] = []
        self.degraded: list[Degradation] = []
        self._exclude = exclude
        ignored = git.ignored(self.root)
        self._ignored = ignored.paths
        self.git_given_up = ignored.problem if ignored.given_up else ""
        if ignored.problem:
            self.degraded.append(Degradation(what="files that git ignores", why=ignored.problem))

    def files(self) -> Iterator[_Found]:
        """Every regular file, and at once the list of what is left out."""
        count = 0
        stack: list[tuple[str, str, int]] = [(self.root, "", 0)]
        while stack:
            folder, above, depth = stack.pop()
            for item in self._listed(folder, above):
                path = f"{above}{item.name}"
                reason = self._reason(item, path)
                if reason is not None:
                    self._skip(path, reason)
                elif item.is_dir(follow_symlinks=False):
                    if depth >= MAX_DEPTH:
                        self._skip(path, f"more than {MAX_DEPTH} folders deep")
                    else:
                        stack.append((item.path, f"{path}/", depth + 1))
                elif count >= MAX_FILES:
                    self._skip(path, f"more than {MAX_FILES} files")
                else:
                    found = self._file(item, path)
                    if found is not None:
                        count += 1
                        yield found

    def _listed(self, folder: str, above: str) -> Sequence[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as items:
                return sorted(items, key=lambda item: item.name)
        except OSError as exc:
            if not above:
                raise NotAFolderError(f"`{self.root}` cannot be read: {exc.strerror}") from exc
            self._skip(above.rstrip("/"), f"unreadable folder: {exc.strerror}")
            return ()

    def _reason(self, item: os.DirEntry[str], path: str) -> str | None:
        if not is_text(item.name):
            return "the name is not UTF-8"
        if item.is_symlink():
            return "link, not followed"
        if any(fnmatchcase(path, pattern) for pattern in self._exclude):
            return "excluded by the caller"
        if item.is_dir(follow_symlinks=False):
            if item.name in _NOT_OURS:
                return _NOT_OURS[item.name]
            if (Path(item.path) / "pyvenv.cfg").is_file():
                return "virtual environment"
            path = f"{path}/"
        return "ignored by git" if path in self._ignored else None

    def _file(self, item: os.DirEntry[str], path: str) -> _Found | None:
        try:
            info = item.stat(follow_symlinks=False)
        except OSError as exc:
            self._skip(path, f"unreadable: {exc.strerror}")
            return None
        if not stat.S_ISREG(info.st_mode):
            self._skip(path, "no regular file")
        elif info.st_size > MAX_FILE_BYTES:
            self._skip(path, f"larger than {MAX_FILE_BYTES // 1024} KiB")
        else:
            return _Found(path, item.path, info.st_size)
        return None

    def _skip(self, path: str, reason: str) -> None:
        self.skipped.append(Skipped(shown(path), reason))


def _entry(found: _Found, skipped: list[Skipped]) -> FileEntry | None:
    try:
        data = read(found.full)
    except OSError as exc:
        skipped.append(Skipped(found.path, f"unreadable: {exc.strerror}"))
        return None
    if b"\0" in data[:8192]:
        skipped.append(Skipped(found.path, _BINARY))
        return None
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        if not _declares_encoding(data):
            skipped.append(Skipped(found.path, "not UTF-8"))
            return None
    lines = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    language = language_of(found.path, data)
    return FileEntry(
        found.path, hashlib.sha256(data).hexdigest(), len(data), lines, language, role_of(found.path, data)
    )


def _declares_encoding(data: bytes) -> bool:
    """Python source may be in another encoding, when it says so in its first two lines."""
    return any(b"coding" in line for line in data.splitlines()[:2])


def read(path: str) -> bytes:
    """A file's bytes, never through a link that took its place meanwhile, and never more than is allowed."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def shown(path: str) -> str:
    """A path as it can be written into any report."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
