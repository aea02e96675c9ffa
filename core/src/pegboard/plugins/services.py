"""What a plugin is given at its activation: its settings, its folders, and services that check its permissions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from pegboard import folders
from pegboard.errors import CredentialsMissingError, PegboardError
from pegboard.interfaces import Clock, ExecResult, ExecService, FileService, NetService, SecretService
from pegboard.plugins.permissions import Permissions
from pegboard.types import Secret, SecretRef

Refreshed = Literal["tools", "models", "agents"]
MAX_OUTPUT_BYTES = 16 * 1024 * 1024
"""Of each stream of a program; what comes after is read and dropped."""
_GRACE_S = 1.0
_TERM_S = 0.5
"""Less than what a cancelled call has until it is abandoned."""
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_NO_VARIABLES: Mapping[str, str] = {}
_Drained: TypeAlias = tuple[bytes, bool]
"""What was kept of a stream, and whether there was more."""
_PLAIN_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "SYSTEMROOT", "TEMP", "TMP")


class Board(Protocol):
    """What the services need of their host."""

    @property
    def clock(self) -> Clock:
        """The board's clock."""

    def workspace(self) -> Path:
        """The folder that relative paths start from."""

    def driver(self, kind: str) -> Any:
        """The configured driver of a kind."""

    def refresh(self, plugin: str, what: Refreshed) -> None:
        """Ask a plugin's `provide_*` hook again."""

    async def resolve_secret(
        self, context: PluginContext, ref: SecretRef, purpose: str, destination: str
    ) -> Secret | None:
        """What the plugins that keep secrets answer."""


class PluginContext:
    """The `HostContext` of one plugin."""

    def __init__(self, plugin: str, board: Board, permissions: Permissions, settings: Callable[[], Any] = dict) -> None:
        self.plugin = plugin
        self._settings = settings
        self.permissions = permissions
        self.clock: Clock = board.clock
        self.log: Any = logging.getLogger(f"pegboard.plugin.{plugin}")
        self.fs: FileService = Files(self)
        self.http: NetService = Net(permissions)
        self.exec: ExecService = Exec(self)
        self.secrets: SecretService = Secrets(self)
        self.board = board
        self._undo: list[Callable[[], object]] = []

    @cached_property
    def config(self) -> Any:
        """Its settings, validated when they are first read. Raises `ConfigError` when they do not fit its schema."""
        return self._settings()

    def validate(self) -> None:
        """Read the settings now, so that what is wrong with them is known before any code of the plugin runs."""
        self.config = self._settings()

    @property
    def data_dir(self) -> Path:
        """Its own folder for what must not be lost; made when it is first asked for."""
        return _made(_own_folder(folders.data_dir(), self.plugin), self.plugin)

    @property
    def cache_dir(self) -> Path:
        """Its own folder for what may be lost; made when it is first asked for."""
        return _made(_own_folder(folders.cache_dir(), self.plugin), self.plugin)

    @property
    def folders(self) -> Mapping[str, Path]:
        """What the names of folders in permissions stand for."""
        own = {
            "data": _own_folder(folders.data_dir(), self.plugin),
            "cache": _own_folder(folders.cache_dir(), self.plugin),
        }
        return {"workspace": self.board.workspace(), **{name: path for name, path in own.items() if path}}

    def driver(self, kind: str) -> Any:
        """The driver of `kind` that the configuration names."""
        return self.board.driver(kind)

    def refresh(self, what: Refreshed) -> None:
        """Ask this plugin's `provide_*` hook again."""
        self.board.refresh(self.plugin, what)

    def undo(self, fn: Callable[[], object]) -> None:
        """Call `fn` when the plugin is deactivated; newest first."""
        self._undo.append(fn)

    def undone(self) -> Iterator[Callable[[], object]]:
        """What `undo` was given, newest first; each is given away once."""
        while self._undo:
            yield self._undo.pop()

    def __repr__(self) -> str:
        return f"<context of plugin {self.plugin}>"


class Files:
    """`ctx.fs`."""

    def __init__(self, context: PluginContext) -> None:
        self._context = context

    def read(self, path: str | Path) -> bytes:
        """The content of a file."""
        return self._real(path, write=False).read_bytes()

    def write(self, path: str | Path, data: bytes) -> None:
        """Replace the content, whole or not at all."""
        real = self._real(path, write=True)
        # A name that nobody can know beforehand, and `x`: who made the folder may have put links into it.
        temporary = real.with_name(f".{os.urandom(8).hex()}.tmp")
        try:
            with temporary.open("xb") as file:
                file.write(data)
            temporary.replace(real)
        finally:
            temporary.unlink(missing_ok=True)

    def _real(self, path: str | Path, *, write: bool) -> Path:
        return self._context.permissions.path(path, self._context.folders, write=write)


class Net:
    """`ctx.http`."""

    def __init__(self, permissions: Permissions) -> None:
        self._permissions = permissions

    def check(self, host: str, port: int) -> None:
        """Raises `PermissionDeniedError` unless the address was granted."""
        self._permissions.address(host, port)


class Exec:
    """`ctx.exec`."""

    def __init__(self, context: PluginContext) -> None:
        self._context = context

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        timeout_s: float = 60.0,
        env: Mapping[str, str] = _NO_VARIABLES,
        max_output_bytes: int = MAX_OUTPUT_BYTES,
    ) -> ExecResult:
        """Run a program to its end; its whole process group is ended at the limit, and when the caller is cancelled.

        Args:
            argv: the program by its name, and its arguments.
            cwd: where it runs; the workspace if not given.
            timeout_s: how long it may take.
            env: variables beside the plain ones and those of the manifest; these win.
            max_output_bytes: of each stream that is kept; what comes after is read and dropped.

        Raises:
            PermissionDeniedError: the program was not granted.
            FileNotFoundError: there is no such program.
        """
        self._context.permissions.program(argv[0])
        program = shutil.which(argv[0])
        if program is None:
            raise FileNotFoundError(f"no program `{argv[0]}` on PATH")
        process = await asyncio.create_subprocess_exec(
            program,
            *argv[1:],
            cwd=cwd or self._context.board.workspace(),
            env={**self._environment(), **env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        return await _finish(process, timeout_s, max_output_bytes)

    def _environment(self) -> dict[str, str]:
        plain = {name: os.environ[name] for name in _PLAIN_VARIABLES if name in os.environ}
        return plain | self._context.permissions.variables(os.environ)


class Secrets:
    """`ctx.secrets`."""

    def __init__(self, context: PluginContext) -> None:
        self._context = context

    async def get(self, name: str, *, purpose: str = "", destination: str = "") -> Secret:
        """The secret that the setting `name` refers to.

        Raises:
            PermissionDeniedError: the manifest does not declare it, or it was not granted.
            CredentialsMissingError: the setting is empty, or nothing is where it points.
        """
        self._context.permissions.secret(name)
        plugin = self._context.plugin
        config = self._context.config
        ref = config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)
        key = f"plugins.{plugin}.{name}"
        if not ref:
            raise CredentialsMissingError(
                f"plugin `{plugin}` needs the secret `{name}`, and the setting `{key}` is empty",
                hint=f"peg config set {key} env:NAME",
                plugin=plugin,
            )
        secret = await self._context.board.resolve_secret(self._context, SecretRef(ref), purpose, destination)
        if secret is None:
            secret = from_environment(ref)
        if secret is None:
            raise CredentialsMissingError(
                f"the secret `{name}` of plugin `{plugin}` was not found at `{ref}`",
                hint=f"export {ref[4:]}=…" if ref.startswith("env:") else f"peg config explain {key}",
                plugin=plugin,
            )
        return secret


def from_environment(ref: str) -> Secret | None:
    """What core itself resolves: `env:NAME`."""
    value = os.environ.get(ref[4:]) if ref.startswith("env:") else None
    return Secret(value) if value else None


def _own_folder(base: str | None, plugin: str) -> Path | None:
    return Path(base, "plugins", plugin) if base else None


def _made(folder: Path | None, plugin: str) -> Path:
    if folder is None:
        raise PegboardError(
            "no home folder is known; set `PEGBOARD_HOME`", hint="export PEGBOARD_HOME=…", plugin=plugin
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


async def _finish(process: asyncio.subprocess.Process, timeout_s: float, limit: int) -> ExecResult:
    assert process.stdout is not None
    assert process.stderr is not None
    reading = asyncio.gather(_drain(process.stdout, limit), _drain(process.stderr, limit))
    timed_out = False
    try:
        async with asyncio.timeout(timeout_s):
            await process.wait()
            (stdout, cut), (stderr, cut_too) = await asyncio.shield(reading)
    except TimeoutError:
        timed_out = True
        await _end(process)
        (stdout, cut), (stderr, cut_too) = await _rest(reading)
    except asyncio.CancelledError:
        await _end(process)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading  # or it complains that nobody did
        raise
    except BaseException:
        _signal_group(process, _KILL)
        reading.cancel()
        raise
    code = await process.wait()
    return ExecResult(exit_code=code, stdout=stdout, stderr=stderr, timed_out=timed_out, truncated=cut or cut_too)


async def _rest(reading: asyncio.Future[tuple[_Drained, _Drained]]) -> tuple[_Drained, _Drained]:
    """What was read. A child that left the group can hold the pipe open for ever; it is not waited for."""
    try:
        async with asyncio.timeout(_GRACE_S):
            return await reading
    except TimeoutError:
        return (b"", True), (b"", True)


async def _drain(stream: asyncio.StreamReader, limit: int) -> _Drained:
    kept, cut = bytearray(), False
    while chunk := await stream.read(65536):
        room = limit - len(kept)
        cut = cut or len(chunk) > room
        kept += chunk[:room]
    return bytes(kept), cut


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask first: a program that leaves on its own takes its lock files along. Then nobody of its group is left."""
    try:
        _signal_group(process, signal.SIGTERM)
        async with asyncio.timeout(_TERM_S):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        _signal_group(process, _KILL)


def _signal_group(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, number)
