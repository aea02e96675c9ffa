"""What git prints for programs, as values. A last record that was cut off is dropped."""

from __future__ import annotations

import re
from typing import Final

import msgspec

_BLAME: Final = re.compile(r"([0-9a-f]{40,64}) \d+ (\d+)")
LOG_FORMAT: Final = "tformat:%H%x00%P%x00%an%x00%ae%x00%aI%x00%s%x00%b"
_LOG_FIELDS: Final = 7
BRANCH_FORMAT: Final = (
    "%(refname)%00%(objectname)%00%(upstream:short)%00%(HEAD)%00%(committerdate:iso-strict)%00%(contents:subject)"
)
_BRANCH_FIELDS: Final = 6
_KINDS: Final = {"1": "changed", "2": "renamed", "u": "conflict", "?": "untracked"}
_FIELDS_BEFORE_PATH: Final = {"1": 8, "2": 9, "u": 10, "?": 1}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a status."""

    path: str
    kind: str
    staged: str = "."
    """One letter of git: `M`odified, `A`dded, `D`eleted, `R`enamed, `U`nmerged; `.` is unchanged."""
    unstaged: str = "."
    origin: str | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Branch and changed files."""

    branch: str | None
    """`None` when no branch is checked out."""
    commit: str | None
    """`None` before the first commit."""
    upstream: str | None
    ahead: int
    behind: int
    changes: tuple[Change, ...]


class FileChange(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of one file in a diff."""

    path: str
    added: int | None
    """`None` for a binary file."""
    removed: int | None
    origin: str | None = None


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """One commit."""

    commit: str
    parents: tuple[str, ...]
    author: str
    email: str
    at: str
    subject: str
    body: str


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """One branch, local or of a remote."""

    name: str
    commit: str
    upstream: str | None
    current: bool
    remote: bool
    at: str
    subject: str


class BlameLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line and who wrote it."""

    line: int
    commit: str
    author: str
    at: int
    """Seconds since the epoch."""
    text: str


def text_of(data: bytes) -> str:
    """Text for a result: bytes that are no UTF-8 are escaped, so that two names never look the same."""
    return data.decode("utf-8", "backslashreplace")


def status(data: bytes) -> Status:
    """Of `status --porcelain=v2 --branch -z`."""
    heads: dict[str, str] = {}
    changes: list[Change] = []
    records = iter(_records(data))
    for record in records:
        if record.startswith("# "):
            _, name, value = record.split(" ", 2)
            heads[name] = value
        elif record[:1] in _KINDS:
            changes.append(_change(record, next(records, None) if record.startswith("2") else None))
    ahead, _, behind = heads.get("branch.ab", "+0 -0").partition(" ")
    branch, commit = heads.get("branch.head"), heads.get("branch.oid")
    return Status(
        branch=None if branch == "(detached)" else branch,
        commit=None if commit == "(initial)" else commit,
        upstream=heads.get("branch.upstream"),
        ahead=int(ahead),
        behind=-int(behind),
        changes=tuple(changes),
    )


def numstat(data: bytes) -> list[FileChange]:
    """Of `diff --numstat -z`."""
    found: list[FileChange] = []
    records = iter(_records(data))
    for record in records:
        added, removed, path = record.split("\t", 2)
        origin = None
        if not path:  # renamed: both names follow
            origin, path = next(records, ""), next(records, "")
        found.append(FileChange(path=path, added=_count(added), removed=_count(removed), origin=origin))
    return found


def commits(data: bytes) -> list[Commit]:
    """Of `log -z` with `LOG_FORMAT`."""
    fields = _records(data)
    whole = len(fields) - len(fields) % _LOG_FIELDS
    return [_commit(fields[start : start + _LOG_FIELDS]) for start in range(0, whole, _LOG_FIELDS)]


def branches(data: bytes) -> list[Branch]:
    """Of `for-each-ref` with `BRANCH_FORMAT`; the `HEAD` of a remote is none."""
    found = []
    for line in text_of(data).split("\n"):
        fields = line.split("\0")
        if len(fields) != _BRANCH_FIELDS or fields[0].endswith("/HEAD"):
            continue
        ref, commit, upstream, head, at, subject = fields
        remote = ref.startswith("refs/remotes/")
        name = ref.removeprefix("refs/remotes/").removeprefix("refs/heads/")
        found.append(
            Branch(
                name=name, commit=commit, upstream=upstream or None, current=head == "*", remote=remote, at=at,
                subject=subject,
            )
        )  # fmt: skip
    return found


def blame(data: bytes) -> list[BlameLine]:
    """Of `blame --line-porcelain`."""
    found: list[BlameLine] = []
    commit, number, heads = "", 0, dict[str, str]()
    for line in text_of(data).split("\n"):
        if line.startswith("\t"):
            at = int(heads.get("author-time", "0"))
            text = line[1:].rstrip("\r")
            found.append(BlameLine(line=number, commit=commit, author=heads.get("author", ""), at=at, text=text))
            heads = {}
        elif not heads and (match := _BLAME.match(line)):
            commit, number = match[1], int(match[2])
            heads = {"": ""}
        else:
            name, _, value = line.partition(" ")
            heads[name] = value
    return found


def names(data: bytes) -> list[str]:
    """Of anything that ends each name with NUL."""
    return _records(data)


def _records(data: bytes) -> list[str]:
    return [text_of(record) for record in data.split(b"\0")[:-1]]


def _change(record: str, origin: str | None) -> Change:
    kind = record[0]
    fields = record.split(" ", _FIELDS_BEFORE_PATH[kind])
    letters = ".." if kind == "?" else fields[1]
    return Change(path=fields[-1], kind=_KINDS[kind], staged=letters[0], unstaged=letters[1], origin=origin)


def _commit(fields: list[str]) -> Commit:
    commit, parents, author, email, at, subject, body = fields
    return Commit(
        commit=commit, parents=tuple(parents.split()), author=author, email=email, at=at, subject=subject,
        body=body.strip(),
    )  # fmt: skip


def _count(text: str) -> int | None:
    return None if text == "-" else int(text)


__all__ = [
    "BRANCH_FORMAT",
    "LOG_FORMAT",
    "BlameLine",
    "Branch",
    "Change",
    "Commit",
    "FileChange",
    "Status",
    "blame",
    "branches",
    "commits",
    "names",
    "numstat",
    "status",
    "text_of",
]
