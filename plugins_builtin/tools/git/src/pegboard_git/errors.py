"""What goes wrong with a repository, in words that a model or a person can act on."""

from __future__ import annotations

from collections.abc import Mapping

from pegboard.errors import ExitCode, PegboardError

RESULTS: Mapping[str, str] = {
    "git.conflict": """A merge stopped with files in conflict. Edit and add them and commit, or give the merge up.""",
}
"""Codes of results that are no errors of ours, and what `peg help CODE` says of each."""


class GitError(PegboardError):
    """Git refused; the message is its own."""

    code = "git.failed"


class GitMissingError(GitError):
    """The program `git` is not installed, or not on `PATH`."""

    code = "git.missing"
    exit_code = ExitCode.CONFIG
    default_hint = "git --version"


class GitTimeoutError(GitError):
    """Git did not finish in time and was ended."""

    code = "git.timeout"
    exit_code = ExitCode.LIMIT


class NoWorkspaceError(GitError):
    """The run has no workspace, so there is no repository to work with: give the board or the run one."""

    code = "git.no_workspace"
    exit_code = ExitCode.USAGE


class NoRepositoryError(GitError):
    """The folder is in no repository that begins inside the workspace; bare ones do not count."""

    code = "git.no_repository"


class OutsideError(GitError):
    """The repository keeps its history or its files outside of the workspace, or has a link where git writes."""

    code = "git.outside"


class OwnerError(GitError):
    """The repository belongs to another user, and git does not trust it until this user says so."""

    code = "git.owner"
    exit_code = ExitCode.APPROVAL


class EmptyRepositoryError(GitError):
    """The repository has no commit yet."""

    code = "git.empty"


class DamagedError(GitError):
    """Objects of the repository are missing or broken, so that even its newest commit cannot be read.

    Take it from a copy again; `git fsck` tells what is left.
    """

    code = "git.damaged"
    default_hint = "git fsck"


class UnknownRefError(GitError):
    """No commit, branch or tag has this name, or the name cannot be one."""

    code = "git.ref"


class NothingError(GitError):
    """There is nothing to commit."""

    code = "git.nothing"


__all__ = [
    "RESULTS",
    "DamagedError",
    "EmptyRepositoryError",
    "GitError",
    "GitMissingError",
    "GitTimeoutError",
    "NoRepositoryError",
    "NoWorkspaceError",
    "NothingError",
    "OutsideError",
    "OwnerError",
    "UnknownRefError",
]
