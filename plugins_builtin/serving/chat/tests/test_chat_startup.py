"""What a command line pays that is not on a terminal."""

from __future__ import annotations

from pegboard_testing import startup_imports


def test_the_editor_is_imported_on_a_terminal_only() -> None:
    """A pipe needs no line editing, and it is the dearest part."""
    startup_imports("import pegboard_chat.cli", forbidden=["prompt_toolkit", "pegboard_chat.prompting"])
