"""A provider on the loopback for `models.py`, in a process of its own: it speaks four wires and names its requests.

A request says `ask-17;` in its last message, and is answered with deltas that say `ask-17.0 `, `ask-17.1 ` and so on,
so that no answer can be taken for another one. The tokens of its input are the bytes of its body. Below `/whole` an
answer comes in one piece, below `/paced` each delta comes alone. The address is the first line of its output, and it
ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

DELTAS = 20
PACE_S = 0.001
"""Between two deltas below `/paced`."""
_ASKED = re.compile(rb"ask-(\d+);")
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"


def said(number: int) -> list[str]:
    """The deltas of the answer to a request."""
    return [f"ask-{number}.{place} " for place in range(DELTAS)]


# --- the wires ---------------------------------------------------------------------------------------------------


def anthropic(texts: Sequence[str], size: int) -> list[bytes]:
    """The Messages API."""
    message: Any = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "claude-x"}
    usage = {"input_tokens": size, "output_tokens": 1}
    message |= {"stop_reason": None, "stop_sequence": None, "usage": usage}
    block = {"type": "text", "text": ""}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    return [
        _typed({"type": "message_start", "message": message}),
        _typed({"type": "content_block_start", "index": 0, "content_block": block}),
        *(
            _typed({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
            for text in texts
        ),
        _typed({"type": "content_block_stop", "index": 0})
        + _typed({"type": "message_delta", "delta": end, "usage": {"output_tokens": len(texts)}})
        + _typed({"type": "message_stop"}),
    ]


def chat(texts: Sequence[str], size: int) -> list[bytes]:
    """Chat Completions."""

    def chunk(choices: Sequence[Any], **more: Any) -> bytes:
        named = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-x"}
        return _plain({**named, "choices": choices, **more})

    def choice(delta: Any, reason: str | None = None) -> bytes:
        return chunk([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}])

    usage = {"prompt_tokens": size, "completion_tokens": len(texts), "total_tokens": size + len(texts)}
    return [
        choice({"role": "assistant", "content": ""}),
        *(choice({"content": text}) for text in texts),
        choice({}, "stop") + chunk([], usage=usage) + b"data: [DONE]\n\n",
    ]


def responses(texts: Sequence[str], size: int) -> list[bytes]:
    """The Responses API."""
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-x", "output": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
    part = {"type": "output_text", "text": "".join(texts), "annotations": []}
    done = {**item, "status": "completed", "content": [part]}
    usage = {"input_tokens": size, "output_tokens": len(texts), "total_tokens": size + len(texts)}
    complete = {**response, "status": "completed", "output": [done], "usage": usage}
    return [
        _typed({"type": "response.created", "response": {**response, "status": "in_progress"}}),
        _typed({"type": "response.output_item.added", "output_index": 0, "item": {**item, "status": "in_progress"}}),
        _typed({"type": "response.content_part.added", **place, "part": {**part, "text": ""}}),
        *(_typed({"type": "response.output_text.delta", **place, "delta": text}) for text in texts),
        _typed({"type": "response.output_text.done", **place, "text": "".join(texts)})
        + _typed({"type": "response.content_part.done", **place, "part": part})
        + _typed({"type": "response.output_item.done", "output_index": 0, "item": done})
        + _typed({"type": "response.completed", "response": complete}),
    ]


def gemini(texts: Sequence[str], size: int) -> list[bytes]:
    """`streamGenerateContent`."""
    usage = {"promptTokenCount": size, "candidatesTokenCount": len(texts), "totalTokenCount": size + len(texts)}
    pieces: list[Any] = [
        {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}]} for text in texts
    ]
    pieces[-1] = {"candidates": [{**pieces[-1]["candidates"][0], "finishReason": "STOP"}], "usageMetadata": usage}
    return list(map(_plain, pieces))


WIRES: dict[str, Callable[[Sequence[str], int], list[bytes]]] = {
    "/messages": anthropic,
    "/chat/completions": chat,
    "/responses": responses,
    ":streamGenerateContent": gemini,
}
"""By what a path ends with."""


def _plain(event: Any) -> bytes:
    return b"data: %s\n\n" % json.dumps(event, separators=(",", ":")).encode()


def _typed(event: Any) -> bytes:
    return b"event: %s\n%s" % (event["type"].encode(), _plain(event))


# --- connections -------------------------------------------------------------------------------------------------


class Connection(asyncio.Protocol):
    """One connection, request after request."""

    def __init__(self) -> None:
        self._came = bytearray()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        head, found, _ = bytes(self._came[:8192]).partition(b"\r\n\r\n")
        if not found:
            return
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        end = len(head) + 4 + (int(length[1]) if length else 0)
        if len(self._came) >= end:
            body = bytes(self._came[len(head) + 4 : end])
            del self._came[:end]
            self._answer(head.split(b" ", 2)[1].decode(), body)

    def _answer(self, path: str, body: bytes) -> None:
        plain = path.partition("?")[0]
        make = next(make for end, make in WIRES.items() if plain.endswith(end))
        number = int(_ASKED.findall(body)[-1])
        chunks = [b"%x\r\n%s\r\n" % (len(event), event) for event in make(said(number), len(body))]
        if path.startswith("/paced"):
            self._pace([_HEAD + chunks[0], *chunks[1:-1], chunks[-1] + _END])
        else:
            self._transport.write(b"".join([_HEAD, *chunks, _END]))

    def _pace(self, pieces: list[bytes]) -> None:
        self._transport.write(pieces.pop(0))
        if pieces:
            asyncio.get_running_loop().call_later(PACE_S, self._pace, pieces)


async def main() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
