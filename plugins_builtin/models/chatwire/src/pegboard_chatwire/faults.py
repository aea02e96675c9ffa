"""What errors of Chat Completions mean: those of HTTP, those within a stream, and what comes through from below.

They are told apart as the `openai` SDK raises them, by the names of their classes, and by OpenAI's codes, which its
imitators have taken over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pegboard.errors import (
    ModelContextOverflowError,
    ModelFault,
    ModelNotOfferedError,
    ModelQuotaError,
    ModelRefusedError,
    ModelStreamCutError,
    ModelUnsupportedError,
    describe,
)
from pegboard.types import Usage
from pegboard.wire import fault_of_status, fault_of_transport

_KINDS: Final[Mapping[str, type[ModelFault]]] = {
    "context_length_exceeded": ModelContextOverflowError,
    "insufficient_quota": ModelQuotaError,
    "billing_hard_limit_reached": ModelQuotaError,
    "model_not_found": ModelNotOfferedError,
    "unsupported_parameter": ModelUnsupportedError,
    "unsupported_value": ModelUnsupportedError,
    "unsupported_image_media_type": ModelUnsupportedError,
    "invalid_prompt": ModelRefusedError,
    "content_filter": ModelRefusedError,
}
"""Codes that say more than a status does."""
_POLICIES: Final = ("_policy", "_policy_violation")
"""Ends of codes that mean a refusal; the provider adds policies at any time."""
_NEVER_FITS: Final = "Request too large"
"""So begins a limit of the rate that a single request is above: waiting does not help, a smaller context does."""
_STATUS_OF_CODE: Final[Mapping[str, int]] = {
    "invalid_request_error": 400, "invalid_api_key": 401, "authentication_error": 401, "permission_error": 403,
    "not_found_error": 404, "rate_limit_error": 429, "rate_limit_exceeded": 429, "tokens": 429, "requests": 429,
    "server_error": 500, "vector_store_timeout": 504, "overloaded_error": 529,
}  # fmt: skip
"""An error within a stream has a code or a type alone; its HTTP status was 200."""


def fault_of(exc: Exception) -> ModelFault | None:
    """The fault that an error of the SDK means, or one that comes through it from below."""
    status = getattr(exc, "status_code", None)
    names = {parent.__name__ for parent in type(exc).__mro__}
    if status is None and "APIError" in names and "APIConnectionError" not in names:
        return fault_in_stream(_text(exc), _codes(exc))
    if status is not None:
        headers = {name.lower(): value for name, value in getattr(exc, "response").headers.items()}  # noqa: B009
        return _kinder(fault_of_status(status, _text(exc), headers), _codes(exc))
    return fault_of_transport(exc)


def fault_in_stream(message: str, codes: tuple[str, ...], *, usage: Usage | None = None) -> ModelFault:
    """The fault that an error within a stream means; `usage` is what it cost nevertheless."""
    found = (_STATUS_OF_CODE.get(code) or _number(code) for code in codes)
    status = next((status for status in found if status), 400 if _kind_of(message, codes) else 500)
    fault = _kinder(fault_of_status(status, message), codes)
    fault.phase, fault.usage = "stream", usage
    return fault


class StreamFaults:
    """Around the reading of a stream: a connection that is lost there is cut, though the SDK says it was never made."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: type[BaseException] | None, exc: BaseException | None, traceback: object) -> None:
        cut = _cut_of(exc) if exc is not None else None
        if cut is not None:
            raise cut from exc


def _cut_of(exc: BaseException) -> ModelFault | None:
    names = {parent.__name__ for parent in type(exc).__mro__}
    if "APIConnectionError" not in names or "APITimeoutError" in names:
        return None
    cause = exc.__cause__ or exc
    return ModelStreamCutError(f"the connection was cut ({type(cause).__name__}: {describe(cause)})", phase="stream")


def _kinder(fault: ModelFault, codes: tuple[str, ...]) -> ModelFault:
    """The fault by its code, where that says more than its status."""
    kind = _kind_of(fault.message, codes)
    if kind is None or isinstance(fault, kind):
        return fault
    return kind(
        fault.message,
        status=fault.status,
        retry_after_s=fault.retry_after_s,
        request_id=fault.request_id,
        phase=fault.phase,
    )


def _kind_of(message: str, codes: tuple[str, ...]) -> type[ModelFault] | None:
    if message.startswith(_NEVER_FITS):
        return ModelContextOverflowError
    if any(code.endswith(_POLICIES) for code in codes):
        return ModelRefusedError
    return next((_KINDS[code] for code in codes if code in _KINDS), None)


def _codes(exc: Exception) -> tuple[str, ...]:
    return tuple(str(code) for code in (getattr(exc, "code", None), getattr(exc, "type", None)) if code)


def _number(code: str) -> int | None:
    """Gateways write the status as the code."""
    return int(code) if code.isdigit() and 400 <= int(code) < 600 else None


def _text(exc: Any) -> str:
    body = getattr(exc, "body", None)
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])
    return body if isinstance(body, str) and body else str(exc)


__all__ = ["StreamFaults", "fault_in_stream", "fault_of"]
