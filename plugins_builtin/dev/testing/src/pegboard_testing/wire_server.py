"""A loopback HTTP server that answers as a test says, piece by piece: whole, cut, stalled or garbage.

Recorded streams of a provider are its answers, so that the provider's own SDK reads them. A mock server with a script
of its own (`pegboard_testing.aimock`) cannot break in the middle of an event; this one can.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

STALL: Final = "stall"
"""A piece: nothing more comes, until the client leaves or the server ends."""
CUT: Final = "cut"
"""A piece: the connection is destroyed."""
Piece = bytes | str
_REASONS: Final = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 429: "Too Many Requests"}


class Received(NamedTuple):
    """A request that came."""

    path: str
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes
    method: str = "POST"

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Answer(NamedTuple):
    """What is sent for one request; `pieces` are sent one after another, each at once."""

    pieces: Sequence[Piece] = ()
    status: int = 200
    headers: Mapping[str, str] = {"content-type": "text/event-stream"}


class WireServer:
    """Answers each request with the next of `answers`, and with the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[Received] = []
        self.came = threading.Event()
        """Set when a request came."""
        self.client_left = threading.Event()
        """Set when a client closed its connection while an answer was being sent or stalled."""
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        """Where it listens, without a path."""
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []

    def answer(self, *pieces: Piece, status: int = 200, **headers: str) -> None:
        """Say what comes next; an underscore in a header's name stands for a hyphen."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append(Answer(pieces, status, {"content-type": "text/event-stream", **named}))

    def fail(self, status: int, body: Mapping[str, Any], **headers: str) -> None:
        """An error of HTTP comes next."""
        self.answer(json.dumps(body).encode(), status=status, content_type="application/json", **headers)

    def start(self) -> None:
        """Begin to take connections."""
        self._spawn(self._accept)

    def stop(self) -> None:
        """End every connection and thread."""
        self._ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _spawn(self, work: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError), connection.makefile("rb") as stream:
            while (received := _read(stream)) is not None:
                with self._lock:
                    self.requests.append(received)
                    self.came.set()
                    answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                try:
                    if not self._send(connection, answer):
                        return
                except ConnectionError:  # it left with something unread on the way to it
                    self._note_left()
                    return

    def _send(self, connection: socket.socket, answer: Answer) -> bool:
        """Send an answer in chunks; whether the connection can be used again."""
        lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Status')}", "transfer-encoding: chunked"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        begun = False
        for piece in answer.pieces:
            if piece == CUT:
                _destroy(connection)
                return False
            if not begun:
                connection.sendall("\r\n".join([*lines, "", ""]).encode())
                begun = True
            if piece == STALL:
                self._until_left(connection)
                return False
            assert isinstance(piece, bytes)
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n" if begun else "\r\n".join([*lines, "", "0", "", ""]).encode())
        return True

    def _until_left(self, connection: socket.socket) -> None:
        if not connection.recv(1):
            self._note_left()

    def _note_left(self) -> None:
        if not self._ended.is_set():
            self.client_left.set()


def _read(stream: Any) -> Received | None:
    line = stream.readline()
    if not line:
        return None
    headers: dict[str, str] = {}
    while (field := stream.readline().strip()) != b"":
        name, _, value = field.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    method, path, *_ = line.decode().split()
    return Received(path, headers, stream.read(int(headers.get("content-length", 0))), method)


def _destroy(connection: socket.socket) -> None:
    """Close so that the other side sees a reset, not an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextmanager
def wire_server() -> Iterator[WireServer]:
    """A server that runs while this is open."""
    server = WireServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


__all__ = ["CUT", "STALL", "Answer", "Piece", "Received", "WireServer", "wire_server"]
