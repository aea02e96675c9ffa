"""What every command that changes plugins does first: put a change in order that was interrupted half way."""

from __future__ import annotations

from pegboard.cli.contract import Output
from pegboard.errors import PluginInstallError


def mend() -> None:
    """Take back what an earlier command left half done, and tell it.

    Raises:
        PluginInstallError: it cannot be put in order; the hint says what to do.
    """
    from pegboard.plugins.packages import transaction

    what = transaction.mend()
    if what is not None:
        Output.current().warn(f"{what} was interrupted half way; it is put in order now")


def try_to_mend() -> None:
    """The same where the command only takes something away from a plugin, and must work on whatever is broken."""
    try:
        mend()
    except PluginInstallError as error:
        Output.current().warn(f"{error.message}; {error.hint}" if error.hint else error.message)
