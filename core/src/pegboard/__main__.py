"""The console script `peg`.

`--version` is answered before click is imported, since that alone costs three times a bare interpreter.
"""

import sys

from pegboard import __version__


def main() -> None:
    """Run `peg` with the arguments of this process; never returns."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        print(f"peg {__version__}")  # noqa: T201  # the answer of a command
        sys.exit(0)
    from pegboard.cli.app import peg

    peg.main(prog_name="peg")


if __name__ == "__main__":
    main()
