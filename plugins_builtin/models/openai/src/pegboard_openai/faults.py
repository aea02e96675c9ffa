"""What errors of OpenAI mean, where nobody else who speaks its protocols has them."""

from __future__ import annotations

from typing import Final

from pegboard.errors import ModelAuthError, ModelFault
from pegboard_chatwire import faults

_SET_KEY: Final = "export OPENAI_API_KEY=…"


def fault_of(exc: Exception) -> ModelFault | None:
    """The fault that an error of the SDK means, or one that comes through it from below."""
    names = {parent.__name__ for parent in type(exc).__mro__}
    if "OpenAIError" in names and "APIError" not in names and "redentials" in str(exc):
        return ModelAuthError("there is no key", hint=_SET_KEY)
    fault = faults.fault_of(exc)
    if isinstance(fault, ModelAuthError):
        fault.hint = _SET_KEY
    return fault


__all__ = ["fault_of"]
