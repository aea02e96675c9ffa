"""Writing and editing: what a file is to become is computed first, then it is replaced whole."""

from __future__ import annotations

import difflib
import posixpath
import re
from typing import Final, NamedTuple

from pegboard_file.errors import DigestNeededError, FileChangedError, NoMatchError, NotTextError
from pegboard_file.workspace import Workspace, digest_of

ABSENT: Final = "absent"
"""For `if_digest`: there must be no such file."""
_CONTEXT: Final = 3
_DIFF_LINES: Final = 400
_SHOWN: Final = 10


class Written(NamedTuple):
    """What came of a write."""

    path: str
    size_bytes: int
    digest: str
    created: bool


def write(
    workspace: Workspace, path: str, content: str, *, append: bool, if_digest: str | None, mkdirs: bool
) -> Written:
    """Replace a file, or add to it. A repeat of the same call changes nothing.

    Raises:
        FileChangedError: the file is not the one that `if_digest` tells.
        DigestNeededError: to append without it could append twice.
    """
    if append and if_digest is None:
        raise DigestNeededError(
            f"to append to `{path}`, give `if_digest`: its digest as `file.read` tells it, or `absent`"
        )
    if not mkdirs:
        workspace.folder.list(posixpath.dirname(path) or ".")
    data = content.encode()
    before = workspace.content_or_none(path)
    if if_digest is not None:
        if before is not None and _is_done(before, data, append, if_digest):
            return Written(path, len(before), digest_of(before), False)
        check_digest(path, before, if_digest)
    if append and before is not None:
        data = before + data
    workspace.folder.replace(path, data)
    return Written(path, len(data), digest_of(data), before is None)


def check_digest(path: str, data: bytes | None, wanted: str) -> None:
    """Raises `FileChangedError` unless a file is as somebody saw it."""
    found = ABSENT if data is None else digest_of(data)
    if found != wanted.lower():
        raise FileChangedError(f"`{path}` has the digest {found} and not {wanted}: it changed, read it again")


def edited(path: str, data: bytes, old: str, new: str, count: int) -> bytes:
    """The content with `old` replaced. Where every line of the file ends in CR LF, so do `old` and `new`.

    Raises:
        NoMatchError: `old` is not there exactly `count` times.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise NotTextError(f"`{path}` is not UTF-8, so it cannot be edited as text") from None
    if not old:
        raise NoMatchError("`old` is empty; to make a file use `file.write`")
    if text.count("\r\n") == text.count("\n") > 0 and "\r" not in old:
        old, new = old.replace("\n", "\r\n"), new.replace("\n", "\r\n") if "\r" not in new else new
    found = text.count(old)
    if found != count:
        raise NoMatchError(_where(path, text, old, found, count))
    return text.replace(old, new).encode()


def diff(path: str, before: bytes, after: bytes) -> str:
    """What changed, as a unified diff; only its size where that is long."""
    old, new = (data.decode("utf-8", "replace").split("\n") for data in (before, after))
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    first = max(0, start - _CONTEXT)
    was, now = (lines[first : len(lines) - max(0, end - _CONTEXT)] for lines in (old, new))
    if max(len(was), len(now)) > _DIFF_LINES:
        return f"{path}: {len(old) - start - end} lines became {len(new) - start - end}, from line {start + 1} on"
    lines = difflib.unified_diff(was, now, f"a/{path}", f"b/{path}", lineterm="", n=_CONTEXT)
    return "\n".join(_moved(line, first) if line.startswith("@@") else line for line in lines)


def _is_done(before: bytes, data: bytes, append: bool, if_digest: str) -> bool:
    if not append:
        return before == data
    return before.endswith(data) and digest_of(before[: len(before) - len(data)]) == if_digest.lower()


def _where(path: str, text: str, old: str, found: int, count: int) -> str:
    if found:
        lines = [text.count("\n", 0, match.start()) + 1 for match in re.finditer(re.escape(old), text)]
        shown = ", ".join(map(str, lines[:_SHOWN])) + (" …" if len(lines) > _SHOWN else "")
        advice = f"; give more of the text around one, or count={found}" if found > count else ""
        return f"`old` is {found} times in `{path}` and not {count} times, in lines {shown}{advice}"
    loose = re.compile(r"\s+".join(re.escape(word) for word in old.split()))
    like = loose.search(text) if old.split() else None
    if like is None:
        return f"`old` is not in `{path}`"
    line = text.count("\n", 0, like.start()) + 1
    return f"`old` is not in `{path}`; line {line} has the same words with other white space"


def _common(a: list[str], b: list[str]) -> int:
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _moved(header: str, lines: int) -> str:
    return re.sub(r"([-+])(\d+)", lambda match: f"{match[1]}{int(match[2]) + lines}", header)


__all__ = ["ABSENT", "Written", "check_digest", "diff", "edited", "write"]
