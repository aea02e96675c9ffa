"""The network guard."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pegboard_testing import NetworkBlockedError, NetworkGuard

FAR = ("192.0.2.1", 9)  # of the range for documentation: nobody answers there


def test_connecting_beyond_loopback_is_refused() -> None:
    """The attempt is an error and is remembered."""
    with NetworkGuard().active() as guard, socket.socket() as sock:
        with pytest.raises(NetworkBlockedError, match=r"192\.0\.2\.1:9"):
            sock.connect(FAR)
        with pytest.raises(NetworkBlockedError):
            sock.connect_ex(FAR)

    assert guard.attempts == ["192.0.2.1:9", "192.0.2.1:9"]


def test_sending_is_refused() -> None:
    """Datagrams need no connection."""
    with NetworkGuard().active(), socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(NetworkBlockedError):
        sock.sendto(b"x", FAR)


def test_a_name_that_is_none_has_no_address() -> None:
    """As in a network without any guard, and nobody is asked for it."""
    with NetworkGuard().active() as guard, pytest.raises(socket.gaierror):
        socket.getaddrinfo("nowhere.invalid", 80)

    assert guard.attempts == []


@pytest.mark.parametrize("name", ["example.com", b"example.com"])
def test_looking_up_a_name_is_refused(name: str | bytes) -> None:
    """The question alone would leave the machine."""
    with NetworkGuard().active(), pytest.raises(NetworkBlockedError, match=r"address of example\.com"):
        socket.getaddrinfo(name, 80)


async def test_asyncio_is_guarded() -> None:
    """Streams of asyncio go through the same sockets."""
    with NetworkGuard().active(), pytest.raises(NetworkBlockedError):
        await asyncio.open_connection(*FAR)


async def test_loopback_is_free() -> None:
    """A server of the test itself can be reached, by number and by name."""
    with NetworkGuard().active() as guard:
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        async with server:
            for host in ("127.0.0.1", "localhost"):
                _, writer = await asyncio.open_connection(host, server.sockets[0].getsockname()[1])
                writer.close()
                await writer.wait_closed()

    assert guard.attempts == []


@pytest.mark.network
def test_everything_is_put_back() -> None:
    """Afterwards sockets are as before."""
    before = (socket.socket.connect, socket.getaddrinfo)

    with NetworkGuard().active():
        pass

    assert (socket.socket.connect, socket.getaddrinfo) == before
    assert "connect" not in vars(socket.socket)


SWALLOWING = """
import contextlib, socket, pytest

def attempt():
    with contextlib.suppress(Exception), socket.socket() as sock:
        sock.settimeout(0.01)
        sock.connect(("192.0.2.1", 9))

def test_swallows():
    attempt()

@pytest.mark.network
def test_may():
    attempt()
"""


def test_a_swallowed_attempt_fails_the_test(tmp_path: Path) -> None:
    """Code that catches everything does not hide that it tried; a marked test may try."""
    (tmp_path / "test_them.py").write_text(SWALLOWING)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert "the test tried to reach 192.0.2.1:9" in done.stdout
    assert "2 passed, 1 error" in done.stdout
