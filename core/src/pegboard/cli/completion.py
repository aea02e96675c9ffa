"""`peg completion`: the script that makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from pegboard.cli.contract import Answer, command


@command("completion")
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish", "powershell"]))
def completion(shell: str) -> Answer:
    """Print the completion script of SHELL.

    For bash: eval "$(peg completion bash)" in ~/.bashrc; zsh alike. For fish: peg completion fish >
    ~/.config/fish/completions/peg.fish
    """
    root = click.get_current_context().find_root().command
    completer = get_completion_class(shell)
    assert completer is not None, "click completes all four"
    script = completer(root, {}, "peg", "_PEG_COMPLETE").source()
    return Answer({"shell": shell, "script": script}, script)
