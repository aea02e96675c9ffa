"""How many tokens texts have: as the counter says that a plugin offers for a model, else by the rule of thumb.

One counter serves every run with that model. It is somebody's code: where it fails, the rule of thumb takes over.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from pegboard.history import estimate_message, estimate_tokens
from pegboard.interfaces import TokenCounter
from pegboard.types import Message, ModelRequest

REMEMBERED_TEXTS: Final = 1024
"""Of how many texts a counter's answer is kept: every request holds most of the one before it."""


class Counting:
    """Counts for one model.

    Args:
        counter: what a plugin offers
        on_fault: told once when it fails; tokens are estimated from then on
    """

    __slots__ = ("_count", "_on_fault", "exact")

    def __init__(
        self, counter: TokenCounter | None = None, on_fault: Callable[[BaseException], object] | None = None
    ) -> None:
        self._on_fault = on_fault
        self._count: Callable[[str], object] | None = None
        self.exact = False
        """Whether numbers are counted as the provider does, rather than estimated."""
        if counter is not None:
            try:
                self._count = lru_cache(maxsize=REMEMBERED_TEXTS)(counter.count)
                self.exact = bool(counter.exact)
            except Exception as error:
                self._give_up(error)

    def text(self, text: str) -> int:
        """Tokens of a text."""
        if self._count is None:
            return estimate_tokens(text)
        try:
            found = self._count(text)
            if type(found) is not int or found < 0:
                raise TypeError(f"{found!r} is no number of tokens")
        except Exception as error:
            self._give_up(error)
            return estimate_tokens(text)
        return found

    def message(self, message: Message) -> int:
        """Tokens of a message, its frame included."""
        return estimate_message(message, self.text)

    def request(self, request: ModelRequest) -> int:
        """Tokens of a whole request."""
        tools = sum(self.text(f"{spec.description}{spec.input_schema}") for spec in request.tools)
        return self.text(request.instructions) + tools + sum(map(self.message, request.messages))

    def _give_up(self, error: Exception) -> None:
        self._count, self.exact = None, False
        if self._on_fault is not None:
            self._on_fault(error)


ESTIMATE: Final = Counting()
"""The rule of thumb alone."""
