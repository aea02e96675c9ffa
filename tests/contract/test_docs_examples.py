"""Runs the examples of the documentation: what is printed there works.

The two commands of README.md are run by `.ci/run`, as a person would from a fresh clone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from unittest import SkipTest

import pytest
from sybil import Document, Example, Region, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, SkipParser

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ROOT / "docs" / "reference"
PAGES = sorted({*ROOT.glob("docs/**/*.md")} - {*GENERATED.rglob("*.md")})
COMMAND_LIMIT_S = 120


def expected_pattern(text: str) -> str:
    """A regular expression for the output that a page shows: `…` is anything, and space at line ends does not count."""
    lines = [re.escape(line.rstrip()).replace("…", ".*") for line in text.strip().splitlines()]
    return "\n".join(lines)


def make_environment(folder: Path) -> None:
    """A Python environment of the page's own that sees what is installed here, so that a page may install into it."""
    subprocess.run(["uv", "venv", "--quiet", "--offline", "--python", sys.executable, folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    here = sysconfig.get_path("purelib")
    (packages / "_page.pth").write_text(f"import site; site.addsitedir({here!r})\n", encoding="utf-8")
    peg = folder / "bin" / "peg"
    peg.write_text(f'#!/bin/sh\nexec {folder}/bin/python -m pegboard "$@"\n', encoding="utf-8")
    peg.chmod(0o755)


def environment(home: Path) -> dict[str, str]:
    """A person's environment: an empty home, and the programs of the page's own Python first on the path."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PEGBOARD", "XDG_", "PYTEST_"))}
    path = os.pathsep.join([str(home / ".venv" / "bin"), str(Path(sys.executable).parent), own["PATH"]])
    return {**own, "HOME": str(home), "PATH": path, "NO_COLOR": "1"}


def commands_in(text: str) -> Iterator[tuple[str, str]]:
    """Each command after `$`, with its lines after `>`, and the output that is shown for it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        first, *lines = part.splitlines()
        more = list(takewhile(lambda line: line.startswith(">"), lines))
        yield (
            "\n".join([first, *(line.removeprefix(">").removeprefix(" ") for line in more)]),
            "\n".join(lines[len(more) :]),
        )


def run_console(example: Example) -> str | None:
    """Type the commands into a shell that goes on where the page's last command left off; compare what they print."""
    home = example.namespace["home"]
    for command, expected in commands_in(str(example.parsed)):
        script = f"{command}\nstatus=$?; pwd > {home}/.folder; exit $status"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=example.namespace["folder"],
            env=environment(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
        )
        shown = "\n".join(line.rstrip() for line in (done.stdout + done.stderr).strip().splitlines())
        if done.returncode != 0:
            return f"`{command}` ended with {done.returncode}:\n{shown}"
        if expected.strip() and not re.fullmatch(expected_pattern(expected), shown, re.DOTALL):
            return f"`{command}` printed:\n{shown}\n\nand the page shows:\n{expected}"
        example.namespace["folder"] = Path((home / ".folder").read_text(encoding="utf-8").strip())
    return None


def run_python(example: Example) -> str | None:
    """Run the example; one that begins with `# path/to/file.py` is put into that file instead."""
    named = re.match(r"# (\S+\.(?:py|toml))\n", str(example.parsed))
    if named is None:
        return PythonEvaluator()(example)
    path = example.namespace["folder"] / named[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(example.parsed).partition("\n")[2].lstrip("\n"), encoding="utf-8")
    return None


def documents(pages: list[Path]) -> list[Document]:
    """The pages that have examples, parsed."""
    parsers: list[Callable[[Document], Iterable[Region]]] = [
        CodeBlockParser("python", run_python),
        CodeBlockParser("toml", run_python),
        CodeBlockParser("console", run_console),
        SkipParser(),
    ]
    sybil = Sybil(parsers=parsers, path=str(ROOT))
    return [document for page in pages if list(document := sybil.parse(page))]


def evaluate(document: Document, folder: Path) -> None:
    """Run every example of a page, in the order of the page."""
    make_environment(folder / ".venv")
    document.namespace.update(folder=folder, home=folder)
    for example in document:
        try:
            example.evaluate()
        except SkipTest:
            continue  # one example is skipped, with its reason in the source; the page goes on


@pytest.mark.docs
@pytest.mark.parametrize("document", documents(PAGES), ids=lambda document: str(Path(document.path).relative_to(ROOT)))
def test_examples_of_page_run(document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example of a page works, in the order of the page."""
    monkeypatch.chdir(tmp_path)
    evaluate(document, tmp_path)


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```python\n1 / 0\n```\n", "division by zero"),
        ("```console\n$ echo yes\nno\n```\n", "printed:\nyes"),
        ("```console\n$ (exit 3)\n```\n", "ended with 3"),
        ("```python\nx = 1\n```\n\n```python\nassert x == 2, 'shared'\n```\n", "shared"),
    ],
    ids=["python", "output", "status", "one namespace"],
)
def test_wrong_example_is_seen(page: str, complaint: str, tmp_path: Path) -> None:
    """A page that tells something untrue fails."""
    path = tmp_path / "page.md"
    path.write_text(page, encoding="utf-8")
    (document,) = documents([path])
    with pytest.raises(Exception, match=complaint):
        evaluate(document, tmp_path)


def test_page_is_one_session(tmp_path: Path) -> None:
    """Files that a page shows are written, and its shell stays where it went."""
    path = tmp_path / "page.md"
    path.write_text(
        "```console\n$ mkdir work\n$ cd work\n```\n\n```python\n# answer.py\nprint(42)\n```\n\n"
        "```console\n$ python answer.py\n42\n$ cat > b <<E\n> two\n> lines\n> E\n$ cat b\ntwo\nlines\n```\n",
        encoding="utf-8",
    )
    (document,) = documents([path])
    evaluate(document, tmp_path)


def test_dots_stand_for_anything(tmp_path: Path) -> None:
    """A page may leave out what differs from run to run."""
    path = tmp_path / "page.md"
    path.write_text("```console\n$ echo a 12 b; echo c\na … b\nc\n$ true\n```\n", encoding="utf-8")
    (document,) = documents([path])
    evaluate(document, tmp_path)
