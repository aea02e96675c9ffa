"""The Python of the how-to pages and the tutorial is typed: who copies it into a strict program sees no complaint."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted({*ROOT.glob("docs/how-to/*.md"), *ROOT.glob("docs/tutorial/*.md")})
_FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"# (\S+\.py)\n")


def write_examples(page: Path, folder: Path) -> list[Path]:
    """A page as modules: those with a file name become that file, the others one program."""
    program: list[str] = []
    written: list[Path] = []
    for text in _FENCE.findall(page.read_text(encoding="utf-8")):
        named = _NAMED.match(text)
        if named is None:
            program.append(text)
            continue
        path = folder / named[1].removeprefix("src/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    if program:
        path = folder / f"{page.stem.replace('-', '_')}.py"
        path.write_text("\n\n".join(program), encoding="utf-8")
        written.append(path)
    return written


def checked(files: list[Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """What `mypy --strict` says of them."""
    for package in {path.parent for path in files} - {folder}:
        (package / "__init__.py").touch()
    (folder / "mypy.ini").write_text("[mypy]\nstrict = true\n", encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(folder / ".cache"), *map(str, files)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.docs
def test_examples_are_strictly_typed(tmp_path: Path) -> None:
    """All pages at once, since most of the time goes into pegboard itself."""
    pytest.importorskip("mypy")
    files = [path for page in PAGES for path in write_examples(page, tmp_path)]
    done = checked(files, tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.docs
def test_an_untyped_example_is_seen(tmp_path: Path) -> None:
    """A page whose code is wrong fails."""
    pytest.importorskip("mypy")
    page = tmp_path / "page.md"
    page.write_text("```python\ndef f(x):\n    return x\n```\n", encoding="utf-8")

    assert "no-untyped-def" in checked(write_examples(page, tmp_path), tmp_path).stdout
