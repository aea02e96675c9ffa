"""Reading a range of lines of a file of any size, in one pass that also counts lines and takes the digest."""

from __future__ import annotations

import codecs
import hashlib
from typing import BinaryIO, Final

import msgspec

from pegboard_file.errors import FileTooLargeError, NotTextError
from pegboard_file.workspace import Workspace

PASS_BYTES: Final = 1024 * 1024 * 1024
"""Of a file that is gone through; a larger one is refused rather than read for minutes."""
_CHUNK: Final = 1024 * 1024
_HEAD: Final = 8192
_MARK: Final = "\ufffd"


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """What came of reading a file."""

    path: str
    size_bytes: int
    digest: str
    text: str | None = None
    """`None` for a file that is not text."""
    start_line: int = 0
    end_line: int = 0
    total_lines: int = 0
    truncated: bool = False
    """Whether lines that were asked for are missing."""
    replaced: bool = False
    """Whether bytes that are not in the encoding are shown as U+FFFD."""

    def shown(self) -> str:
        """For a model: a line about the file, then the text as it is."""
        about = f"{self.size_bytes} bytes, digest {self.digest}"
        if self.text is None:
            return f"[{self.path}: not text, {about}]"
        lines = f"lines {self.start_line}-{self.end_line} of {self.total_lines}" if self.text else "no lines"
        if not self.text and self.total_lines:
            lines = f"no such lines, it has {self.total_lines}"
        strange = "; bytes of another encoding are shown as \ufffd" if self.replaced else ""
        more = f"\n[cut; go on with start_line={self.end_line + 1}]" if self.truncated else ""
        return f"[{self.path}: {lines}, {about}{strange}]\n{self.text}{more}"


def read(workspace: Workspace, path: str, start: int, end: int | None, encoding: str, limit: int) -> Read:
    """Read lines `start` to `end`, at most `limit` bytes of them."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)("replace")
    except LookupError:
        raise NotTextError(f"there is no encoding `{encoding}`") from None
    with workspace.folder.open(path) as file:
        lines = _Lines(start, end, limit)
        digest, size, binary = _pass(file, path, decoder, lines, guess=encoding in ("utf-8", "utf8"))
    if binary:
        return Read(path=path, size_bytes=size, digest=digest)
    text = lines.text()
    return Read(
        path=path,
        size_bytes=size,
        digest=digest,
        text=text,
        start_line=start if text else 0,
        end_line=start + text.count("\n") - text.endswith("\n") if text else 0,
        total_lines=lines.total,
        truncated=lines.full,
        replaced=_MARK in text,
    )


def _pass(
    file: BinaryIO, path: str, decoder: codecs.IncrementalDecoder, lines: _Lines, *, guess: bool
) -> tuple[str, int, bool]:
    digest, size, binary = hashlib.sha256(), 0, False
    while chunk := file.read(_CHUNK):
        if size == 0 and guess:
            binary = b"\0" in chunk[:_HEAD]
        size += len(chunk)
        if size > PASS_BYTES:
            raise FileTooLargeError(f"`{path}` is larger than {PASS_BYTES} bytes")
        digest.update(chunk)
        if not binary:
            lines.feed(decoder.decode(chunk))
    if not binary:
        lines.feed(decoder.decode(b"", True))
    return digest.hexdigest()[:16], size, binary


class _Lines:
    """Takes text in pieces, keeps the lines that are wanted, and counts all of them."""

    def __init__(self, start: int, end: int | None, limit: int) -> None:
        self.full = False
        self._start, self._end, self._limit = start, end, limit
        self._line = 1
        self._kept: list[str] = []
        self._bytes = 0
        self._last = "\n"

    @property
    def total(self) -> int:
        """Lines so far; a last one without a line feed is one too."""
        return self._line - (self._last == "\n")

    def feed(self, text: str) -> None:
        if not text:
            return
        self._last = text[-1]
        count = text.count("\n")
        if self.full or self._line + count < self._start or (self._end is not None and self._line > self._end):
            self._line += count
            return
        for number, piece in enumerate(text.split("\n")):
            self._keep(piece + "\n" if number < count else piece)
            self._line += number < count

    def text(self) -> str:
        """What was kept; where it had to be cut, up to the end of a line if there is one."""
        text = "".join(self._kept)
        return text[: text.rindex("\n") + 1] if self.full and "\n" in text else text

    def _keep(self, piece: str) -> None:
        wanted = self._line >= self._start and (self._end is None or self._line <= self._end)
        if not wanted or self.full or not piece:
            return
        raw = piece.encode("utf-8", "replace")
        room = self._limit - self._bytes
        if len(raw) > room:
            self.full = True
            piece = raw[:room].decode("utf-8", "ignore")
        self._bytes += len(raw)
        self._kept.append(piece)


__all__ = ["PASS_BYTES", "Read", "read"]
