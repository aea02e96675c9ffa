"""The driver: makes folders, and knows which paths are protected and how this system opens files."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from pegboard.errors import FilesDeniedError
from pegboard.interfaces import HostContext

from pegboard_files import beneath, kernel
from pegboard_files.folder import LocalFolder
from pegboard_files.protected import Protected


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `[plugins.files]` may say."""

    protected: tuple[str, ...] = ()


class LocalFiles:
    """The driver `files:local`. It keeps no file open; each folder keeps its root."""

    def __init__(self, protected: Protected | None = None, *, way: type[beneath.Walk] | None = None) -> None:
        self._protected = protected or Protected()
        self._way = way or (beneath.Kernel if kernel.has_openat2() else beneath.Walk)

    def beneath(self, root: str | Path) -> LocalFolder:
        """A folder as a world of its own; links in `root` itself are followed, since who gave it decided.

        Raises:
            FilesDeniedError: it is no folder, may not be entered, or this system cannot hold the promise.
        """
        if os.open not in os.supports_dir_fd:
            raise FilesDeniedError("the driver `files:local` cannot keep files apart on this system")
        try:
            descriptor = os.open(root, beneath.FOLDER & ~os.O_NOFOLLOW)
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "its name cannot be used"
            raise FilesDeniedError(f"`{root}` cannot be used as a folder: {reason}") from None
        return LocalFolder(self._way(descriptor), self._protected)


def local_files(ctx: HostContext) -> LocalFiles:
    """The driver with the settings of the plugin; what `pegboard.drivers.files` names."""
    settings = msgspec.convert(ctx.config or {}, Settings)
    return LocalFiles(Protected(settings.protected))


__all__ = ["LocalFiles", "Settings", "local_files"]
