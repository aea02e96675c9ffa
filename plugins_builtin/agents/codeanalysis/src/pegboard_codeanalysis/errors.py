"""What can go wrong in an analysis, beside what core knows."""

from __future__ import annotations

from pegboard.errors import ExitCode, PegboardError


class TargetError(PegboardError):
    """What is to be analysed is no folder, cannot be read, or is no range of commits.

    Give a folder that exists, or for a review a range such as `main..HEAD` inside a git repository.
    """

    code = "codeanalysis.target"
    exit_code = ExitCode.USAGE


class WorkerError(PegboardError):
    """A worker process died, took too long, or could not do what it was asked.

    The rest of the analysis goes on; what is missing is listed under `degraded`.
    """

    code = "codeanalysis.worker"

    def __init__(self, message: str, *, kind: str = "") -> None:
        super().__init__(message, hint="peg doctor")
        self.kind = kind
        """`died`, `timeout`, `start`, or the class of the error inside the worker."""
