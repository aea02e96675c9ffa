"""The tools: typed functions, whose docstrings a model reads."""

from __future__ import annotations

from pegboard import Tool, tool


def count_words_tool(minimum_length: int) -> Tool:
    """The tool `{{ cookiecutter.name }}.count_words`, with its setting bound."""

    @tool(name="{{ cookiecutter.name }}.count_words", effect="pure", inline=True)
    def count_words(text: str) -> int:
        """Count the words of a text."""
        return sum(len(word) >= minimum_length for word in text.split())

    return count_words
