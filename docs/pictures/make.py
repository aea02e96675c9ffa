"""Draws the pictures of README.md: `python docs/pictures/make.py`, with pegboard and its plugins installed.

`terminal.svg` is what stands on the terminal after `peg run code-analysis .` on this repository, `report.png` two views
of the report, side by side. The second needs a chromium; without one it stays as it is.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from io import StringIO
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import pyte
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
WORDS = ["run", "code-analysis", "."]
COLUMNS, ROWS = 104, 44
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
MOST_BYTES = 300_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
VIEWS = {
    "first": "",
    "architecture": "header, main > *:has(~ #architecture) { display: none }",
}
"""What to leave out of the page, so that a view begins where it should."""


def main() -> None:
    """Both pictures."""
    write_terminal(HERE / "terminal.svg")
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        print("no chromium here (Debian: `apt install chromium`), so report.png stays as it is", file=sys.stderr)
        return
    write_report(browser, ROOT / ".pegboard/reports/latest/report.html", HERE / "report.png")


# --- the terminal ------------------------------------------------------------------------------------------------


def write_terminal(target: Path) -> None:
    """Run the command on a terminal of its own, and draw the last screen."""
    console = Console(record=True, width=COLUMNS, file=StringIO())
    console.print(Text(f"$ peg {' '.join(WORDS)}", style="bold"))
    for line in lines_of(screen_of([sys.executable, "-m", "pegboard", *WORDS])):
        console.print(line, soft_wrap=True)
    svg = console.export_svg(title="pegboard", theme=MONOKAI)
    target.write_text(without_network(svg), encoding="utf-8")


def screen_of(command: list[str]) -> pyte.Screen:
    """What stands on a terminal when a command has ended."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CI", "COLUMNS")}
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env={**environment, "TERM": "xterm-256color"}
    )
    os.close(theirs)
    for data in read(ours):
        stream.feed(data)
    if process.wait() != 0:
        sys.exit(f"`{' '.join(command)}` ended with {process.returncode}")
    return screen


def read(descriptor: int) -> Iterator[bytes]:
    """Everything that comes from a terminal, until nobody has it open any more."""
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # Linux says so where others give nothing
            return
        if not data:
            return
        yield data


def lines_of(screen: pyte.Screen) -> list[Text]:
    """The lines of a screen with their colours, without the empty ones at the end."""
    lines = [line_of(screen, row) for row in range(screen.lines)]
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def line_of(screen: pyte.Screen, row: int) -> Text:
    """One line."""
    line = Text()
    cells = [screen.buffer[row][column] for column in range(screen.columns)]
    for look, some in groupby(cells, lambda cell: (cell.fg, cell.bold, cell.italics, cell.reverse)):
        text = "".join(cell.data for cell in some)
        line.append(text, Style(color=colour(look[0]), bold=look[1], italic=look[2], reverse=look[3]))
    line.rstrip()
    return line


def colour(name: str) -> str | None:
    """What rich calls a colour of pyte."""
    if re.fullmatch("[0-9a-f]{6}", name):
        return f"#{name}"
    plain = name.replace("brown", "yellow").replace("bright", "bright_")
    return None if plain == "default" else plain


def without_network(svg: str) -> str:
    """A picture that fetches no font and names no host."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", FONTS)
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)


# --- the report --------------------------------------------------------------------------------------------------


def write_report(browser: str, report: Path, target: Path) -> None:
    """Two views of a report beside one another, as a browser shows them."""
    page = report.read_text(encoding="utf-8")
    with TemporaryDirectory() as folder:
        for name, style in VIEWS.items():
            view = page.replace("</style>", f"{style} body {{ padding-bottom: 2000px }}</style>")
            (Path(folder) / f"{name}.html").write_text(view, encoding="utf-8")
        both = Path(folder) / "both.html"
        both.write_text(side_by_side(list(VIEWS)), encoding="utf-8")
        photograph(browser, both, target)
    size = target.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"{target.name} has {size:,} bytes, more than {MOST_BYTES:,}")


def side_by_side(names: list[str]) -> str:
    """A page that shows others, made smaller."""
    frames = "".join(f'<div><iframe src="{name}.html"></iframe></div>' for name in names)
    return f"""<!doctype html><style>
body {{ margin: 0; padding: 16px; display: flex; gap: 16px; background: #dfe4ea }}
div {{ width: 632px; height: 736px; overflow: hidden; border-radius: 8px; background: white }}
iframe {{ width: 1100px; height: 1282px; border: 0; transform: scale(.5745); transform-origin: 0 0 }}
</style>{frames}"""


def photograph(browser: str, page: Path, target: Path) -> None:
    """A picture of a page."""
    with TemporaryDirectory() as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1312,768"]
        subprocess.run(
            [browser, *options, f"--user-data-dir={profile}", f"--screenshot={target}", page.as_uri()],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip


if __name__ == "__main__":
    main()
