"""The Responses API of OpenAI."""

from __future__ import annotations

from pegboard_openai.responses.receiving import Receiving
from pegboard_openai.responses.sending import Sending

__all__ = ["Receiving", "Sending"]
