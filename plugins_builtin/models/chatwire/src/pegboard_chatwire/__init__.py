"""Chat Completions, as OpenAI and everybody who imitates it speak it; what differs is in a `Dialect`.

A library for model plugins, and no plugin. No SDK is imported: events and errors are whatever has their attributes.
"""

from __future__ import annotations

from pegboard_chatwire.dialect import Dialect
from pegboard_chatwire.receiving import Receiving
from pegboard_chatwire.sending import Sending

__all__ = ["Dialect", "Receiving", "Sending"]
