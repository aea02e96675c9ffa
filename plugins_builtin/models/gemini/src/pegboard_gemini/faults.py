"""What the SDK raises, as faults. The details of Google's errors say more than their status does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from pegboard.errors import (
    ModelAuthError,
    ModelFault,
    ModelPermissionError,
    ModelQuotaError,
    ModelRateLimitedError,
    ModelRequestError,
    ModelStreamMalformedError,
    ModelUnsupportedError,
)
from pegboard.types import JsonObject
from pegboard.wire import fault_of_status, fault_of_transport

SET_KEY: Final = "export GEMINI_API_KEY=…"
"""What to type where there is no key, or a wrong one."""
_WRONG_KEY: Final = re.compile(r"API key (not valid|expired|not found)|API_KEY_INVALID", re.IGNORECASE)
_NOT_HERE: Final = re.compile(r"location is not supported", re.IGNORECASE)
_UNSUPPORTED: Final = re.compile(r"\b(is|are) (unsupported|not (supported|enabled))\b", re.IGNORECASE)


def fault_of(exc: Exception) -> ModelFault | None:
    """The fault that an error of the SDK, or one that comes through it from below, means."""
    names = {parent.__name__ for parent in type(exc).__mro__}
    if "APIError" in names:
        return _fault_of_answer(exc)
    if "UnknownApiResponseError" in names:
        return ModelStreamMalformedError("the answer holds something that is not JSON", phase="parse")
    if "ValidationError" in names:
        return _fault_of_validation(exc)
    fault = fault_of_transport(exc)
    if fault is None and type(exc) is ValueError:  # so the SDK refuses what the API has not
        return ModelRequestError(f"the SDK refused the request: {exc}")
    return fault


def _fault_of_validation(exc: Any) -> ModelFault:
    """Its message repeats what it could not read, which may be anything: only where that stood is told."""
    title = str(exc.title)
    places = ", ".join(".".join(map(str, error["loc"])) for error in exc.errors(include_input=False)[:3])
    if "Response" in title:
        return ModelStreamMalformedError(f"the answer is not as the protocol has it, at `{places}`", phase="parse")
    return ModelRequestError(f"the SDK refused the request, at `{places}` of `{title}`")


def _fault_of_answer(exc: Any) -> ModelFault:
    status = exc.code if isinstance(exc.code, int) else 500
    message = str(exc.message or exc.details or exc)
    details = _details(exc.details)
    headers = {name.lower(): value for name, value in getattr(exc.response, "headers", {}).items()}
    delay = next((str(item["retryDelay"]) for item in details if "retryDelay" in item), "")
    if delay:
        headers.setdefault("retry-after", delay.removesuffix("s"))
    means = 401 if status == 400 and _WRONG_KEY.search(message) else status
    fault = fault_of_status(means, message, headers)
    kind = _kind(fault, status, details)
    if kind is not type(fault):
        fault = kind(fault.message, retry_after_s=fault.retry_after_s, request_id=fault.request_id, phase=fault.phase)
    fault.status = status
    if isinstance(fault, ModelAuthError):
        fault.hint = SET_KEY
    return fault


def _kind(fault: ModelFault, status: int, details: Sequence[JsonObject]) -> type[ModelFault]:
    """What it is, where status and words are not enough."""
    quotas = [str(violation.get("quotaId")) for item in details for violation in item.get("violations", ())]
    if status == 429 and quotas:  # the words of a limit by the minute are those of an account that is used up
        return ModelQuotaError if any("PerDay" in quota for quota in quotas) else ModelRateLimitedError
    if type(fault) is ModelRequestError and _NOT_HERE.search(fault.message):
        return ModelPermissionError
    if type(fault) is ModelRequestError and _UNSUPPORTED.search(fault.message):
        return ModelUnsupportedError
    return type(fault)


def _details(body: Any) -> Sequence[JsonObject]:
    error = body.get("error", body) if isinstance(body, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    return [item for item in details if isinstance(item, dict)] if isinstance(details, list) else []


__all__ = ["SET_KEY", "fault_of"]
