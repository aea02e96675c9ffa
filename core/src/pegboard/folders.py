"""Where pegboard keeps its files, computed from the environment alone.

platformdirs gives the same answers and costs more than the whole index (a test compares the two). `PEGBOARD_HOME`
puts everything under one folder, for tests and for installations that are carried around.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT_FOLDER = ".pegboard"
_APP = "pegboard"
_MAC = {"cache": "~/Library/Caches", "config": "~/Library/Application Support", "data": "~/Library/Application Support"}
_UNIX = {"cache": "~/.cache", "config": "~/.config", "data": "~/.local/share"}
_XDG = {"cache": "XDG_CACHE_HOME", "config": "XDG_CONFIG_HOME", "data": "XDG_DATA_HOME"}


def cache_dir(environ: Mapping[str, str] | None = None) -> str | None:
    """What can be lost without harm; `None` when no home folder is known."""
    return _folder("cache", environ)


def config_dir(environ: Mapping[str, str] | None = None) -> str | None:
    """The person's `config.toml`; `None` when no home folder is known."""
    return _folder("config", environ)


def data_dir(environ: Mapping[str, str] | None = None) -> str | None:
    """What must not be lost; `None` when no home folder is known."""
    return _folder("data", environ)


def system_config_dir(environ: Mapping[str, str] | None = None) -> str:
    """The administrator's `config.toml`."""
    environ = os.environ if environ is None else environ
    if home := environ.get("PEGBOARD_HOME"):
        return os.path.join(home, "system")
    if sys.platform == "win32":
        return os.path.join(environ.get("PROGRAMDATA", "C:\\ProgramData"), _APP)
    for folder in environ.get("XDG_CONFIG_DIRS", "").split(os.pathsep):
        if os.path.isabs(folder):
            return os.path.join(folder, _APP)
    return "/Library/Application Support/pegboard" if sys.platform == "darwin" else "/etc/xdg/pegboard"


def project_dir(start: str | None = None) -> str | None:
    """The nearest folder with a `.pegboard` in it, from `start` upwards, when it belongs to this user.

    Somebody else's folder above ours must not decide; a shared temporary folder is one.
    """
    try:
        here = os.path.abspath(start if start is not None else os.getcwd())
    except FileNotFoundError:  # the working folder was deleted under us
        return None
    while not os.path.isdir(os.path.join(here, PROJECT_FOLDER)):
        above = os.path.dirname(here)
        if above == here:
            return None
        here = above
    return here if _owned(os.path.join(here, PROJECT_FOLDER)) else None


def environment_key(prefix: str | None = None) -> str:
    """A short name for the Python environment, so that two of them do not share grants or quarantine."""
    prefix = sys.prefix if prefix is None else prefix
    return f"{os.path.basename(prefix) or 'python'}-{digest(prefix):016x}"


def digest(text: str) -> int:
    """A number for a text, for names of files only: no guard against forgery, and 7 ms cheaper than hashlib."""
    return int.from_bytes(text.encode("utf-8", "surrogateescape"), "big") % 18446744073709551557  # a prime below 2**64


def _folder(what: str, environ: Mapping[str, str] | None) -> str | None:
    environ = os.environ if environ is None else environ
    if home := environ.get("PEGBOARD_HOME"):
        return os.path.join(home, what)
    if sys.platform == "win32":
        return _windows(what, environ)
    base = environ.get(_XDG[what], "")
    if not os.path.isabs(base):
        base = _expand(_MAC[what] if sys.platform == "darwin" else _UNIX[what], environ)
    return os.path.join(base, _APP) if base else None


def _windows(what: str, environ: Mapping[str, str]) -> str | None:
    base = environ.get("LOCALAPPDATA")
    if not base:
        return None
    return os.path.join(base, _APP, "Cache") if what == "cache" else os.path.join(base, _APP)


def _expand(path: str, environ: Mapping[str, str]) -> str:
    home = environ.get("HOME", "")
    if os.path.isabs(home):
        return home.rstrip("/") + path[1:]
    try:
        import pwd

        home = pwd.getpwuid(os.getuid()).pw_dir
    except (ImportError, KeyError):
        return ""
    return home.rstrip("/") + path[1:] if os.path.isabs(home) else ""


def _owned(folder: str) -> bool:
    if sys.platform == "win32":
        return True
    try:
        return os.stat(folder).st_uid in (os.geteuid(), 0)
    except OSError:
        return False
