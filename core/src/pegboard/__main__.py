"""The console script `peg`.

`--version` is answered before click is imported, since that alone costs three times a bare interpreter.
"""

from __future__ import annotations

import os
import sys

from pegboard import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO


def main() -> None:
    """Run `peg` with the arguments of this process; never returns."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        print(f"peg {__version__}")  # noqa: T201  # the answer of a command
        sys.exit(0)
    if sys.stdout is None:
        sys.exit("peg: stdout is closed")
    if sys.stderr is None:
        sys.stderr = _nowhere()
    try:
        from pegboard.cli import signals

        signals.listen()
        from pegboard.cli.app import peg

        peg.main(prog_name="peg")
    except KeyboardInterrupt:  # before or after the time in which `peg.main` answers it
        from pegboard.cli import signals

        sys.exit(signals.exit_code())


def _nowhere() -> TextIO:
    """For what nobody wants to hear. As descriptor 2, or the next file that is opened would be written into."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    if descriptor != 2:
        os.dup2(descriptor, 2)
        os.close(descriptor)
    return open(2, "w", encoding="utf-8", closefd=False)  # until the end


if __name__ == "__main__":
    main()
