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
    if sys.stdout is None:
        sys.exit("peg: stdout is closed")
    try:
        import signal

        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            # As Ctrl-C: what is on the disk for the next start is put in order, and nobody is blamed for our end.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        from pegboard.cli.app import peg

        peg.main(prog_name="peg")
    except KeyboardInterrupt:  # before or after the time in which `peg.main` answers it
        sys.exit(130)


if __name__ == "__main__":
    main()
