"""Records what the code of plugins opens, starts and connects to in this process beside its permissions.

It records and prevents nothing: code in this process can go around it, and around everything else here. What the
checked services do for a plugin, and what an import reads, is not the plugin's doing and is left out.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from pegboard.errors import PermissionDeniedError
from pegboard.plugins.peg import Peg
from pegboard.plugins.roster import Roster
from pegboard.plugins.services import PluginContext

What: TypeAlias = Literal["open", "exec", "connect"]
KIND = "plugin.undeclared"
"""The event that tells of it."""
MAX_USES = 100
"""Of one plugin on one board; what comes after is not recorded."""
_MAX_TARGET_CHARACTERS = 300
_VERBS: Mapping[str, str] = {"open": "opened", "exec": "started", "connect": "connected to"}
_DEVICES = frozenset({os.devnull, "/dev/random", "/dev/tty", "/dev/urandom"})
_NOT_ITS_DOING = frozenset({"pegboard", "importlib", "_frozen_importlib", "_frozen_importlib_external", "linecache"})
"""Core, its services among it; imports; the source lines in a traceback."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_log = logging.getLogger("pegboard.plugins")


class Use(NamedTuple):
    """Something that a plugin did without permission."""

    plugin: str
    what: What
    target: str

    def told(self) -> str:
        """In words."""
        return f"{_VERBS[self.what]} `{self.target}`"


class Host(Protocol):
    """What is needed of the host."""

    @property
    def roster(self) -> Roster:
        """Who is on the board."""

    def context_of(self, peg: Peg) -> PluginContext:
        """The plugin's context, made at its first use."""


class Recorder:
    """The record of one board. It begins with the first plugin that is watched.

    Args:
        host: who knows the permissions.
        listener: told of each use once, in the thread of the event loop.
    """

    def __init__(self, host: Host, listener: Callable[[Use], object] | None = None) -> None:
        self._host = host
        self._listener = listener
        self._watched: dict[Peg, Watched] = {}
        self._warned: set[tuple[str, str]] = set()
        self._new: list[tuple[Peg, Use]] = []

    def watch(self, peg: Peg) -> None:
        """From now on record what this plugin does; one without a manifest has declared nothing to compare with."""
        if peg in self._watched or peg.record.manifest is None or peg.record.source == "object":
            return
        _install()
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        watched = self._watched[peg] = Watched(peg, self._host, self._tell)
        for package in watched.packages:
            _BY_PACKAGE[package] = (*_BY_PACKAGE.get(package, ()), watched)

    def remember(self) -> None:
        """Write what is new where the next process finds it."""
        if not self._new:
            return
        new, self._new = self._new, []
        uses = [(peg.record, use.what, use.target) for peg, use in new if peg.record.source == "entry_point"]
        try:
            self._host.roster.state_file.remember_undeclared(uses)
        except OSError as exc:
            _log.warning("what plugins did without permission could not be written: %s", exc)

    def close(self) -> None:
        """Record nothing any more."""
        self.remember()
        for watched in self._watched.values():
            for package in watched.packages:
                left = tuple(each for each in _BY_PACKAGE.get(package, ()) if each is not watched)
                _BY_PACKAGE.pop(package, None)
                if left:
                    _BY_PACKAGE[package] = left
        self._watched.clear()

    def _tell(self, peg: Peg, use: Use) -> None:
        # In the middle of `on_event` another event would reach the readers in the wrong order.
        if threading.get_ident() == self._thread and not _is_in_on_event():
            self._deliver(peg, use)
        else:
            self._loop.call_soon_threadsafe(self._deliver, peg, use)

    def _deliver(self, peg: Peg, use: Use) -> None:
        self._new.append((peg, use))
        if (use.plugin, use.what) not in self._warned:
            self._warned.add((use.plugin, use.what))
            text = "plugin `%s` (%s) %s without permission, which is recorded and not prevented; peg plugins info %s"
            _log.warning(text, peg.id, peg.owner, use.told(), peg.id)
        if self._listener is not None:
            self._listener(use)


class Watched:
    """One plugin of one board, and what it did."""

    def __init__(self, peg: Peg, host: Host, tell: Callable[[Peg, Use], None]) -> None:
        self.peg = peg
        self.packages = {peg.record.package, peg.manifest.get("entry", "").partition(":")[0].partition(".")[0]} - {""}
        self.root = os.path.realpath(peg.record.package_path or "")
        self._host = host
        self._tell = tell
        self._seen: set[Use] = set()
        self._ports: set[int] = set()
        """Ports at hosts that it looked up by name, and that were judged then."""

    @property
    def context(self) -> PluginContext:
        """Its permissions, and what the names of folders in them stand for."""
        return self._host.context_of(self.peg)

    def opened(self, path: Any, mode: Any, flags: Any) -> None:
        """A file, by path; not one that was opened before."""
        if isinstance(path, int) or path is None:
            return
        if mode is None and not os.path.isabs(os.fsdecode(path)):  # noqa: PTH117  # it may be bytes
            return  # `os.open` beside an open folder, of which an audit hook is not told
        real = os.path.realpath(os.fsdecode(path))
        writes = bool(isinstance(flags, int) and flags & _WRITING)
        if real in _DEVICES or (not writes and any(_is_below(real, root) for root in (self.root, *_OPEN_TO_ALL))):
            return
        context = self.context
        self._judge("open", real, lambda: context.permissions.path(real, context.folders, write=writes))

    def started(self, program: Any) -> None:
        """A program, by name or path."""
        path = os.fsdecode(program)
        name = Path(path).name
        # The interpreter that runs us is declared as `python`, wherever it lies and whatever `PATH` says.
        named = "python" if path == sys.executable else name if shutil.which(name) == path else path
        self._judge("exec", path, lambda: self.context.permissions.program(named))

    def connected(self, address: Any) -> None:
        """A socket. What declares a host by its name has declared every address at that port: which is not known."""
        if isinstance(address, (str, bytes)):
            self._judge("connect", f"unix:{os.fsdecode(address)}", self._never)
        elif isinstance(address, tuple) and len(address) > 1 and isinstance(address[0], str):
            host, port = address[0], address[1]
            if port not in self._ports and not self._declares_a_name_at(port):
                self._judge("connect", f"{host}:{port}", lambda: self.context.permissions.address(host, port))

    def looked_up(self, host: Any, port: Any) -> None:
        """The address of a host by its name, which comes before a connection."""
        number = int(port) if isinstance(port, (int, str)) and str(port).isdigit() else 0
        if isinstance(host, str) and number and not _is_number(host):
            self._ports.add(number)
            self._judge("connect", f"{host}:{number}", lambda: self.context.permissions.address(host, number))

    def _declares_a_name_at(self, port: int) -> bool:
        rules = (rule.rpartition(":") for rule in self.context.permissions["net"])
        return any(number in ("*", str(port)) and not _is_number(host) for host, _, number in rules)

    def _never(self) -> None:
        raise self.context.permissions.denied("net", "unix")

    def _judge(self, what: What, target: str, check: Callable[[], object]) -> None:
        use = Use(self.peg.id, what, target[:_MAX_TARGET_CHARACTERS])
        if use in self._seen or len(self._seen) >= MAX_USES:
            return
        try:
            check()
        except PermissionDeniedError:
            self._seen.add(use)
            self._tell(self.peg, use)


# --- the hook of the process -------------------------------------------------------------------------------------


_BY_PACKAGE: dict[str, tuple[Watched, ...]] = {}
"""By top-level package; several where boards share this process."""
_EVENTS: Mapping[str, Callable[[Watched, Sequence[Any]], None]] = {
    "open": lambda watched, found: watched.opened(*found[:3]),
    "subprocess.Popen": lambda watched, found: watched.started(found[0]),
    "os.exec": lambda watched, found: watched.started(found[0]),
    "os.posix_spawn": lambda watched, found: watched.started(found[0]),
    "os.spawn": lambda watched, found: watched.started(found[1]),
    "os.system": lambda watched, _: watched.started("sh"),  # the command may hold a secret
    "socket.connect": lambda watched, found: watched.connected(found[1]),
    "socket.getaddrinfo": lambda watched, found: watched.looked_up(*found[:2]),
}
_OPEN_TO_ALL = tuple(
    sorted({os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, Path(os.__file__).parent)})
)
"""What belongs to Python and to what is installed with it; reading it is no secret."""
_busy = threading.local()
_installed = False


def _install() -> None:
    """Have the interpreter tell of what happens, once: this cannot be taken back."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_heard)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    # The interpreter calls this for each of some hundred kinds of events: first what is quick.
    if event in _EVENTS and _BY_PACKAGE:
        _attribute(event, arguments)


def _attribute(event: str, arguments: tuple[Any, ...]) -> None:
    if getattr(_busy, "now", False):  # what is done here is told, too
        return
    _busy.now = True
    try:
        for watched in _culprits(sys._getframe(2)):
            _EVENTS[event](watched, arguments)
    except Exception:
        _log.debug("a use could not be recorded", exc_info=True)  # whoever opens a file must not suffer from it
    finally:
        _busy.now = False


def _culprits(frame: FrameType | None) -> Sequence[Watched]:
    """Whose code is nearest, on every board that watches it; nobody's where core or the import system is nearer.

    Nor where a person's own code is, which a plugin calls for them: what is neither a plugin's nor installed.
    """
    while frame is not None:
        module = frame.f_globals.get("__name__")
        top = module.partition(".")[0] if module.__class__ is str else ""
        if top in _NOT_ITS_DOING:
            return ()
        if top in _BY_PACKAGE:
            return _owners(_BY_PACKAGE[top], frame.f_code.co_filename)
        if not _is_installed(frame.f_code.co_filename):
            return ()
        frame = frame.f_back
    return ()


def _owners(found: Sequence[Watched], file: str) -> Sequence[Watched]:
    """Of several plugins in one package, the one whose folder the file is in."""
    nearest = [each for each in found if _is_below(os.path.realpath(file), each.root)]
    return nearest or found


@lru_cache(maxsize=4096)
def _is_installed(file: str) -> bool:
    """Whether code comes with Python or with what is installed; so does what has no file, such as `<string>`."""
    return not os.path.isabs(file) or any(_is_below(os.path.realpath(file), root) for root in _OPEN_TO_ALL)  # noqa: PTH117


def _is_in_on_event() -> bool:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "on_event":
            return True
        frame = frame.f_back
    return False


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root + os.sep)


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
