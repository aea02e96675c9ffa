"""What OpenAI's wires make of parts of a message in the same way: files, results, ids, notes of what was left out."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from pegboard.errors import ModelContextOverflowError, ModelRequestError, ModelUnsupportedError
from pegboard.types import File, JsonObject, Text, ToolCall, ToolResult

IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
PDF: Final = "application/pdf"
LARGEST_FILES: Final = 50_000_000
"""Bytes of all files of a request, by the provider's page "File inputs"."""
LONGEST_ID: Final = 40
"""Characters of the id of a call, as the stricter of the wires takes it."""


class Files:
    """The files of one request: inline as base64, or by address; together no more than the provider takes."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._bytes = 0

    def address(self, part: File) -> str:
        """Where the file is, or the file itself as an address.

        Raises:
            ModelRequestError: it is nowhere.
            ModelContextOverflowError: the files of the request became too large.
        """
        if part.data is None and part.uri is not None:
            return part.uri
        return f"data:{kind_of(part)};base64,{self.inline(part)}"

    def inline(self, part: File) -> str:
        """The file as base64; it has to be at hand."""
        if part.data is None:
            raise ModelRequestError(f"the data of the file `{_name(part)}` is not at hand")
        if not part.data:
            raise ModelRequestError(f"the file `{_name(part)}` is empty")
        self._bytes += len(part.data)
        if self._bytes > LARGEST_FILES:
            raise ModelContextOverflowError(
                f"the files of the request have {self._bytes:,} bytes; "
                f"{self._provider} takes {LARGEST_FILES:,} at most",
                hint="send fewer or smaller files",
            )
        return base64.b64encode(part.data).decode("ascii")

    def refused(self, part: File, why: str = "", *, hint: str | None = None) -> ModelUnsupportedError:
        """The error of a file that cannot be sent."""
        return ModelUnsupportedError(
            f"{self._provider} takes no files of type `{part.media_type}`{why}", hint=hint or "send text or an image"
        )


def kind_of(part: File) -> str:
    """The media type without its parameters."""
    return part.media_type.partition(";")[0].strip().lower()


def text_of_file(part: File) -> str | None:
    """The text of a file that is text and at hand, under its name."""
    if part.data is None or not kind_of(part).startswith("text/"):
        return None
    text = part.data.decode("utf-8", "replace")
    return f"{part.name}:\n{text}" if part.name else text


def text_of_result(part: ToolResult) -> str:
    """The text of a result; the wires have no field for how a call ended, so that is said in words."""
    texts = (inner.text if isinstance(inner, Text) else _text(inner) for inner in part.content)
    text = "\n".join(text for text in texts if text)
    return text if part.status == "ok" else f"{part.status}: {text}"


def arguments_of(part: ToolCall) -> str:
    """The arguments of a call as JSON; those that were none go back as an empty object, and the result says why."""
    return json.dumps(part.arguments, ensure_ascii=False, separators=(",", ":"))


def id_of(id: str) -> str:
    """An id that is short enough: other providers have longer ones."""
    return id if 0 < len(id) <= LONGEST_ID else f"call_{hashlib.sha256(id.encode()).hexdigest()[:32]}"


def beside(params: Mapping[str, Any], extra: JsonObject) -> JsonObject:
    """What `settings.extra` adds to a body: objects and lists that we send as well are joined, all else replaces."""
    return {name: _joined(params.get(name), value) for name, value in extra.items() if name != "tools"}


def _joined(own: Any, value: Any) -> Any:
    if isinstance(own, dict) and isinstance(value, dict):
        return {**own, **value}
    if isinstance(own, list) and isinstance(value, list):
        return [*own, *(item for item in value if item not in own)]
    return value


def _text(part: Any) -> str | None:
    return text_of_file(part) if isinstance(part, File) else None


def _name(part: File) -> str:
    return part.name or kind_of(part)


__all__ = [
    "IMAGES",
    "LARGEST_FILES",
    "LONGEST_ID",
    "PDF",
    "Files",
    "arguments_of",
    "beside",
    "id_of",
    "kind_of",
    "text_of_file",
    "text_of_result",
]
