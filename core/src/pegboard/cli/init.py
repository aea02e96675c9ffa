"""`peg init`: a project that runs at once, without a key and without a network."""

from __future__ import annotations

from pathlib import Path

import click

from pegboard.cli.contract import Answer, command

AGENT = '''\
"""The agent of this project. Run it with `peg run agent:agent "what is in this folder?"`."""

from pegboard import Agent
from tools import list_files

agent = Agent("assistant", tools=[list_files], instructions="Answer briefly. Look before you answer.")
'''

TOOLS = '''\
"""The tools of this project: typed functions, whose docstrings the model reads."""

from pathlib import Path

from pegboard import tool


@tool(effect="pure")
def list_files(folder: str = ".") -> list[str]:
    """List the names of the files in a folder."""
    return sorted(path.name for path in Path(folder).iterdir())
'''

CONFIG = """\
# Settings of this project; `peg config show` prints all that are in force.
# The scripted model needs no key and no network. Replace it by a real one, for example "anthropic:claude-…".
model = "scripted:demo"
"""

FILES = {"agent.py": AGENT, "tools.py": TOOLS, ".pegboard/config.toml": CONFIG}


@command("init")
@click.argument("folder", default=".", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> Answer:
    """Write a starting project into FOLDER (default: this folder); what is there already stays as it is."""
    written: list[str] = []
    kept: list[str] = []
    for name, text in FILES.items():
        (written if _write_new(folder / name, text) else kept).append(name)
    lines = [*(f"wrote {name}" for name in written), *(f"kept {name}, which was there" for name in kept)]
    lines += ["", 'next: peg run agent:agent "what is in this folder?"']
    return Answer({"folder": str(folder), "written": written, "kept": kept}, "\n".join(lines))


def _write_new(path: Path, text: str) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = path.open("x", encoding="utf-8")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(text)
    except BaseException:  # a full disk: half a file would be kept by the next call as something of the person's
        path.unlink()
        raise
    return True
