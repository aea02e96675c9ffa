"""What pegboard and its plugins log, on stderr: warnings always, more with `-v`, errors alone with `-q`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

    from pegboard.cli.contract import Output

_LOGGER = "pegboard"
_COLORS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


@contextmanager
def logged(out: Output) -> Iterator[None]:
    """While this is open, the loggers below `pegboard`, of which `ctx.log` of each plugin is one, are shown."""
    if not out.verbose and "logging" not in sys.modules:
        yield  # importing it costs 4 ms, and what makes a board has imported it by now, with asyncio
        return
    import logging

    logger = logging.getLogger(_LOGGER)
    level = _level(out)
    handler = _handler(out, level)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _level(out: Output) -> int:
    import logging

    if out.verbose:
        return logging.INFO if out.verbose == 1 else logging.DEBUG
    return logging.ERROR if out.quiet else logging.WARNING


def _handler(out: Output, level: int) -> logging.Handler:
    import logging

    class Talk(logging.Handler):
        """Writes a record as everything else that is told."""

        def emit(self, record: logging.LogRecord) -> None:
            """Write it; logging never makes a command fail."""
            try:
                print(_told(record, out), file=sys.stderr, flush=True)
            except Exception:
                self.handleError(record)

    return Talk(level)


def _told(record: logging.LogRecord, out: Output) -> str:
    import traceback

    from pegboard.cli.render import harmless

    level = out.style(f"{record.levelname.lower()}:", sys.stderr, fg=_COLORS.get(record.levelname), bold=True)
    lines = [f"{level} {harmless(record.getMessage())}"]
    if out.verbose:
        lines = [f"{level} {harmless(record.name)}: {harmless(record.getMessage())}"]
    if out.verbose > 1 and record.exc_info and record.exc_info[1] is not None:
        lines += [harmless("".join(traceback.format_exception(record.exc_info[1])).rstrip())]
    return "\n".join(lines)
