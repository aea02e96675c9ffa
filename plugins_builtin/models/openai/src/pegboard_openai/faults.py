"""What errors of OpenAI mean, where nobody else who speaks its protocols has them."""

from __future__ import annotations

from pegboard.errors import ModelAuthError, ModelFault
from pegboard_chatwire import faults


def fault_of(exc: Exception, secret: str | None) -> ModelFault | None:
    """The fault that an error of the SDK means, or one that comes through it from below."""
    names = {parent.__name__ for parent in type(exc).__mro__}
    if "OpenAIError" in names and "APIError" not in names and "redentials" in str(exc):
        return ModelAuthError("there is no key", hint="export OPENAI_API_KEY=…")
    return faults.fault_of(exc, secret)


__all__ = ["fault_of"]
