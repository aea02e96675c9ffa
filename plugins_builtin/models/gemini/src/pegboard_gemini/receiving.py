"""The pieces of a streamed answer as chunks of ours, and how it ended.

The SDK ends a cut stream without a word and leaves out what it does not know, so an answer without a finish reason is
an error here. Source: the reference of `generateContent`, and the enumerations of the SDK.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pegboard.errors import (
    ModelFault,
    ModelPermissionError,
    ModelRequestError,
    ModelStreamError,
    ModelStreamMalformedError,
)
from pegboard.types import Citation, File, Finish, ModelChunk, Opaque, Thinking, ToolCall, Usage
from pegboard.types.models import NO_USAGE, FinishReason

from pegboard_gemini.sending import PART, PROVIDER, SIGNATURE, Sending

_CONTINUATION: Final = "CONTINUATION"
"""The server wants to be asked once more, with a token that it gave, to write the rest of this very answer."""
BLOCKED: Final = "PROMPT_BLOCKED"
"""No reason of the API: it refused the prompt, so there is no answer that could have one."""
REASONS: Final[Mapping[str, FinishReason]] = {
    "STOP": "stop",
    "FUNCTION_CALL": "stop",  # of gateways; the API itself ends a turn with calls by `STOP`
    "MAX_TOKENS": "length",
    "SAFETY": "refused",
    "RECITATION": "refused",
    "LANGUAGE": "refused",
    "BLOCKLIST": "refused",
    "PROHIBITED_CONTENT": "refused",
    "SPII": "refused",
    "ESCALATION": "refused",
    "MODEL_ARMOR": "refused",
    "IMAGE_SAFETY": "refused",
    "IMAGE_PROHIBITED_CONTENT": "refused",
    "IMAGE_RECITATION": "refused",
    BLOCKED: "refused",
    "TOO_MANY_TOOL_CALLS": "other",
    "IMAGE_OTHER": "other",
    "NO_IMAGE": "other",
    "OTHER": "other",
}
FAULTS: Final[Mapping[str, type[ModelFault]]] = {
    "FINISH_REASON_UNSPECIFIED": ModelStreamError,
    _CONTINUATION: ModelStreamError,  # without a token to go on with
    "MALFORMED_FUNCTION_CALL": ModelStreamMalformedError,
    "MALFORMED_RESPONSE": ModelStreamMalformedError,
    "UNEXPECTED_TOOL_CALL": ModelStreamMalformedError,
    "MISSING_THOUGHT_SIGNATURE": ModelRequestError,
    "PUP_LIMITED_DISABLED": ModelPermissionError,
}


class Receiving:
    """One answer while it is streamed, over as many requests as it takes."""

    def __init__(self, sending: Sending, model: str) -> None:
        self._sending = sending
        self._model = model
        self._answered_by: str | None = None
        self._thought: list[str] = []
        """Thinking that is being streamed."""
        self._has_called = False
        self._sources: dict[str, None] = {}
        self._reason: str | None = None
        self._why: str | None = None
        """What the provider says of the reason."""
        self._token: Any = None
        self._counted: Any = None
        """The counts of this request, which are totals; they come with many pieces."""
        self._spent = NO_USAGE
        """What the requests before this one have used."""

    def take(self, piece: Any) -> Iterable[ModelChunk]:
        """What a piece holds, the next one of a request."""
        if piece.usage_metadata is not None and self._count(piece.usage_metadata):
            yield ModelChunk(usage=self._used())
        self._answered_by = piece.model_version or self._answered_by
        if not piece.candidates:
            feedback = piece.prompt_feedback
            if feedback is not None and feedback.block_reason is not None:
                self._reason, self._why = BLOCKED, feedback.block_reason.value
            return
        candidate = piece.candidates[0]
        if candidate.content is not None:
            for part in candidate.content.parts or ():
                yield from self._part(part)
        if candidate.finish_reason is not None:
            # The SDK's converter drops the message so far; what was rated as blocked gets through.
            self._reason, self._why = candidate.finish_reason.value, candidate.finish_message or _blocked(candidate)
        self._token = candidate.continuation_token or self._token
        if candidate.grounding_metadata is not None or candidate.citation_metadata is not None:
            self._sources.update(dict.fromkeys(_sources(candidate)))

    def rest(self) -> Any:
        """The token to ask for the rest of the answer with, where the server cut it in two."""
        token, self._token = self._token, None
        if self._reason != _CONTINUATION or token is None:
            return None
        self._spent, self._counted, self._reason = self._used() or Usage(), None, None
        return token

    def end(self) -> Iterable[ModelChunk]:
        """The last chunks.

        Raises:
            ModelFault: the answer has no end, or ended with a fault.
        """
        reason = self._reason
        if reason is None:
            raise ModelStreamError(f"the stream of `{self._model}` ended without a finish reason", phase="stream")
        if reason in FAULTS:
            raise FAULTS[reason](self._explained(reason), phase="stream", usage=self._used())
        yield from self._thinking_ends()
        for source in self._sources:
            yield ModelChunk(part=Citation(source=source))
        finish = REASONS.get(reason, "other")
        if finish == "refused":
            yield ModelChunk(text=self._explained(reason))
        if finish == "stop" and self._has_called:
            finish = "tool_calls"
        yield ModelChunk(finish=Finish(finish, self._used(), self._by()))

    def _explained(self, reason: str) -> str:
        return f"Gemini stopped with `{reason}`" + (f": {self._why}" if self._why else "")

    def _by(self) -> str | None:
        return self._answered_by if self._answered_by != self._model else None

    def _part(self, part: Any) -> Iterable[ModelChunk]:
        text, signature = part.text, part.thought_signature
        if text is not None and part.thought:
            yield from self._thinking(text, signature)
            return
        if self._thought:
            yield from self._thinking_ends()
        if text is not None:
            if text:
                yield ModelChunk(text=text)
            if signature is not None:
                yield self._signature(signature, len(text))
        elif part.function_call is not None:
            yield self._call(part.function_call, signature)
        elif part.inline_data is not None:
            data = part.inline_data
            media_type = data.mime_type or "application/octet-stream"
            yield ModelChunk(part=File(media_type=media_type, data=data.data or b"", name=data.display_name))
            if signature is not None:
                yield self._signature(signature, 0)
        elif part.model_fields_set:  # else the SDK knew nothing of what was in it
            whole = part.model_dump(mode="json", by_alias=True, exclude_none=True)
            yield ModelChunk(part=self._bound(PART, whole))

    def _thinking(self, text: str, signature: bytes | None) -> Iterable[ModelChunk]:
        if signature is not None:
            yield from self._thinking_ends()  # what is signed stays apart from what is not
        self._thought.append(text)
        if text:
            yield ModelChunk(thinking=text)
        if signature is not None:
            yield from self._thinking_ends(signature)

    def _thinking_ends(self, signature: bytes | None = None) -> Iterable[ModelChunk]:
        if self._thought:
            text, self._thought = "".join(self._thought), []
            yield ModelChunk(part=Thinking(text, self._bound(SIGNATURE, _plain(signature))))

    def _call(self, call: Any, signature: bytes | None) -> ModelChunk:
        self._has_called = True
        return ModelChunk(
            tool_call=ToolCall(
                id=call.id or f"call_{uuid.uuid4().hex[:16]}",
                name=self._sending.names.own(call.name or ""),
                arguments=call.args or {},
                bound=self._bound(SIGNATURE, _plain(signature)) if signature is not None else None,
            )
        )

    def _signature(self, signature: bytes, characters: int) -> ModelChunk:
        return ModelChunk(part=self._bound(SIGNATURE, {"signature": _plain(signature), "characters": characters}))

    def _bound(self, kind: str, data: Any) -> Opaque:
        return Opaque(provider=PROVIDER, model=self._model, kind=kind, data=data)

    def _count(self, counted: Any) -> bool:
        """Take new counts; whether they say what nothing else does: the first ones, and those of hidden thinking."""
        before, self._counted = self._counted, counted
        return before is None or before.thoughts_token_count != counted.thoughts_token_count

    def _used(self) -> Usage | None:
        """What was used. A count that is missing is 0: the API's JSON leaves zeros out."""
        counted = self._counted
        if counted is None:
            return self._spent if self._spent.requests else None
        thoughts = counted.thoughts_token_count or 0
        return self._spent + Usage(
            input_tokens=(counted.prompt_token_count or 0) + (counted.tool_use_prompt_token_count or 0),
            output_tokens=(counted.candidates_token_count or 0) + thoughts,  # Gemini counts the two apart
            cache_read_tokens=counted.cached_content_token_count or 0,
            cache_write_tokens=0,
            thinking_tokens=thoughts,
            source="provider",
        )


def _blocked(candidate: Any) -> str | None:
    """The categories for which an answer was stopped."""
    ratings = [rating for rating in candidate.safety_ratings or () if rating.blocked and rating.category is not None]
    return ", ".join(rating.category.value for rating in ratings) or None


def _plain(signature: bytes | None) -> str | None:
    return None if signature is None else base64.b64encode(signature).decode("ascii")


def _sources(candidate: Any) -> Iterable[str]:
    """Where the answer comes from: pages that were found, and works that are quoted."""
    grounding, cited = candidate.grounding_metadata, candidate.citation_metadata
    for chunk in (grounding.grounding_chunks if grounding is not None else None) or ():
        found = chunk.web or chunk.retrieved_context or chunk.maps
        if found is not None and (found.uri or found.title):
            yield found.uri or found.title
    for citation in (cited.citations if cited is not None else None) or ():
        if citation.uri or citation.title:
            yield citation.uri or citation.title


__all__ = ["BLOCKED", "FAULTS", "REASONS", "Receiving"]
