"""The models `{{ cookiecutter.name }}:echo` and `{{ cookiecutter.name }}-…`."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pegboard import ModelBase
from pegboard.types import Finish, ModelCapabilities, ModelChunk, ModelRequest, Usage


class EchoModel(ModelBase):
    """Answers with what it was asked. Replace the body of `stream` by a request to a provider."""

    provider = "{{ cookiecutter.name }}"

    def __init__(self, prefix: str = "", name: str = "echo") -> None:
        self.name = name
        self._prefix = prefix

    def capabilities(self, model: str) -> ModelCapabilities:
        """No tools, no structured output: what is not said stays unknown and is tried once."""
        return ModelCapabilities(tools="no", structured_output="no")

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """Yield what comes back; the last chunk carries the finish reason and the tokens."""
        text = self._prefix + request.messages[-1].text
        yield ModelChunk(text=text)
        words = len(text.split())
        yield ModelChunk(finish=Finish("stop", Usage(words, words, source="estimated")))
