"""What goes wrong with a file, in words that a model can act on."""

from __future__ import annotations

from pegboard.errors import ExitCode, PegboardError


class FileError(PegboardError):
    """The system could not do what a file tool asked for, for example since the disk is full."""

    code = "file.failed"


class NoWorkspaceError(FileError):
    """The run has no workspace, so there are no files for its tools: give the board or the run one."""

    code = "file.no_workspace"
    exit_code = ExitCode.USAGE
    default_hint = "peg help file.no_workspace"


class NoFileError(FileError):
    """There is no file or folder of this name; the message tells which are near."""

    code = "file.not_found"


class FileExistsAlreadyError(FileError):
    """There is something already where a file or folder was to be moved."""

    code = "file.exists"


class FileChangedError(FileError):
    """The file is not the one that the call was made for: read it again."""

    code = "file.changed"


class DigestNeededError(FileError):
    """Appending needs `if_digest`, so that a repeat of the call does not append twice."""

    code = "file.digest_needed"


class NoMatchError(FileError):
    """The text to replace is not there as often as the call says; the message tells where it is, or what is like it."""

    code = "file.match"


class NotTextError(FileError):
    """The file is not text in UTF-8, or not in the encoding that was asked for."""

    code = "file.not_text"


class FileTooLargeError(FileError):
    """The file is too large for what was asked; `file.read` takes a range of lines."""

    code = "file.too_large"


class PatternError(FileError):
    """A pattern is no regular expression, or too long."""

    code = "file.pattern"


__all__ = [
    "DigestNeededError",
    "FileChangedError",
    "FileError",
    "FileExistsAlreadyError",
    "FileTooLargeError",
    "NoFileError",
    "NoMatchError",
    "NoWorkspaceError",
    "NotTextError",
    "PatternError",
]
