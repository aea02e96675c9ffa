"""The network guard: an attempt to leave the machine fails the test that made it.

It stands in `socket`, through which the standard library and asyncio go. An extension that opens sockets by itself is
not seen.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

_LOCAL_NAMES: Final = frozenset({"", "localhost", "0.0.0.0", "::", "::1", "ip6-localhost"})

_NEVER: Final = ".invalid"
"""Names without an address anywhere: looking one up fails at once, as every system should have it (RFC 6761)."""


class NetworkBlockedError(RuntimeError):
    """A test tried to leave the machine. Mark it `network` when it has to."""


class NetworkGuard:
    """Refuses to connect, send or look up anything beyond loopback, and remembers each attempt."""

    def __init__(self) -> None:
        self.attempts: list[str] = []
        """What was refused, in words; code under test may have swallowed the error."""

    @contextmanager
    def active(self) -> Iterator[NetworkGuard]:
        """Guard for a while."""
        patched: list[tuple[Any, str, Any]] = [
            (socket.socket, "connect", self._address_checked(socket.socket.connect, 1)),
            (socket.socket, "connect_ex", self._address_checked(socket.socket.connect_ex, 1)),
            (socket.socket, "sendto", self._address_checked(socket.socket.sendto, -1)),
            (socket, "getaddrinfo", self._name_checked(socket.getaddrinfo)),
            (socket, "gethostbyname", self._name_checked(socket.gethostbyname)),
        ]
        before = [(owner, name, vars(owner).get(name)) for owner, name, _ in patched]
        for owner, name, replacement in patched:
            setattr(owner, name, replacement)
        try:
            yield self
        finally:
            for owner, name, original in before:
                if original is None:  # inherited from the C class
                    delattr(owner, name)
                else:
                    setattr(owner, name, original)

    def _address_checked(self, original: Callable[..., Any], position: int) -> Callable[..., Any]:
        def checked(*arguments: Any) -> Any:
            address = arguments[position]
            if isinstance(address, tuple) and not _is_local(address[0]):
                self._refuse(f"{address[0]}:{address[1]}")
            return original(*arguments)

        return checked

    def _name_checked(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def checked(host: Any, *arguments: Any, **options: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else host
            if name is not None and name.endswith(_NEVER):
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            if name is not None and not _is_local(name) and not _is_number(name):
                self._refuse(f"the address of {name}")
            return original(host, *arguments, **options)

        return checked

    def _refuse(self, what: str) -> None:
        self.attempts.append(what)
        raise NetworkBlockedError(f"a test tried to reach {what}; mark it `network` when it has to")


def _is_local(host: str) -> bool:
    return host in _LOCAL_NAMES or host.startswith(("127.", "::ffff:127."))


def _is_number(host: str) -> bool:
    """An address in numbers needs no look-up; connecting to it is another question."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host.partition("%")[0])
        except OSError:
            continue
        return True
    return False


__all__ = ["NetworkBlockedError", "NetworkGuard"]
