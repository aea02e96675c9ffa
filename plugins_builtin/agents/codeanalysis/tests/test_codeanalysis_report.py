"""The report: a page that opens offline, SARIF that others take, a text, and JSON with everything."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from pegboard import Pegboard
from pegboard_codeanalysis.analysis.model import Finding, Place
from pegboard_codeanalysis.analysis.results import Link, Node
from pegboard_codeanalysis.report import folder, layering, pictures, render, sarif

from .conftest import FAULTY, PLUGIN, Write

HOSTILE = {"shop/<script>alert(1)<.py": "def f(x=[]):\n    return x\n"}


@pytest.fixture
async def written(write: Write, tmp_path: Path) -> AsyncIterator[Path]:
    """The folder of a report on a faulty project, with a file whose name is markup."""
    root = str(write({**FAULTY, **HOSTILE, "logo.bin": b"\0"}))
    (tmp_path / "workspace").mkdir()
    async with Pegboard(folders=[PLUGIN], workspace=tmp_path / "workspace") as board:
        parts = {}
        for key, name in (
            ("context", "context_gathering"),
            ("architecture", "architecture_analysis"),
            ("review", "code_review"),
        ):
            parts[key] = (await board.run(name, root)).output
        result = await board.run("documentation_generation", {"path": root, **parts})
        yield Path(result.output["report"]["folder"])


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "data")]


async def test_the_page_needs_nothing_from_outside(written: Path) -> None:
    """No script, no network, no other file; light and dark."""
    text = (written / "report.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)

    assert {"script", "link", "iframe", "img"}.isdisjoint(page.tags)
    assert all(source.startswith("#") for source in page.sources)
    assert "url(" not in text
    assert "prefers-color-scheme: dark" in text


async def test_pictures_are_sound_svg(written: Path) -> None:
    """Dependencies, hot spots and timeline, each XML that a browser takes."""
    text = (written / "report.html").read_text(encoding="utf-8")

    drawn = re.findall(r"<svg.*?</svg>", text, re.DOTALL)

    assert [ElementTree.fromstring(svg).get("aria-label") for svg in drawn] == [
        "Dependencies between the parts of the project",
        "Files by size, coloured by how hot they are",
        "When what was done",
    ]


async def test_texts_of_the_project_are_escaped(written: Path) -> None:
    """A name that is markup is shown, and does nothing."""
    html, markdown = ((written / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))

    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;" in html
    assert "F821" in markdown


async def test_the_text_is_in_order(written: Path) -> None:
    """What it is, then what to mend, then the table, with a line between; what was left out is named."""
    text = (written / "report.md").read_text(encoding="utf-8")

    assert re.findall("^## (.*)$", text, re.MULTILINE)[:3] == ["In short", "Mend this first", "Findings"]
    assert re.findall("[^\n]\n## ", text) == []
    assert text.index("files looked into") < text.index("## Mend this first") < text.index("1. **high**")
    assert "* 1 left out, binary: `logo.bin`\n" in text


async def test_json_has_everything(written: Path) -> None:
    """Every finding, every file that was left out, and the version of the format."""
    data = json.loads((written / "report.json").read_bytes())

    assert data["schema"] == "codeanalysis.report/1"
    assert len(data["findings"]) == sum(data["counts"].values())
    assert {"git history"} == {row["what"] for row in data["degraded"]}
    assert next(section["agent"] for section in data["sections"]) == "context_gathering"


async def test_sarif_keeps_to_the_standard(written: Path) -> None:
    """What SARIF 2.1.0 requires of a log, checked by hand."""
    check_sarif(json.loads((written / "findings.sarif").read_bytes()))


def check_sarif(log: Any) -> None:
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    ids = [rule["id"] for rule in rules]
    assert len(ids) == len(set(ids))
    assert all(rule["shortDescription"]["text"] for rule in rules)
    for result in run["results"]:
        assert result["level"] in ("none", "note", "warning", "error")
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert 0 <= result["rank"] <= 100
        assert result["message"]["text"]
        physical = result["locations"][0]["physicalLocation"]
        assert physical["artifactLocation"]["uriBaseId"] in run["originalUriBaseIds"]
        assert re.fullmatch(r"[A-Za-z0-9/._~%-]+", physical["artifactLocation"]["uri"])
        assert physical.get("region", {"startLine": 1})["startLine"] >= 1


def test_fingerprints_outlive_lines_that_move() -> None:
    """A finding is the same after code was added above it."""
    found = [Finding(rule="F821", tool="ruff", severity="high", message="m", place=Place("a.py", n)) for n in (1, 9)]

    prints = [row["partialFingerprints"] for row in sarif.sarif_of(found, versions={})["runs"][0]["results"]]

    assert prints[0] == prints[1]


def test_latest_is_the_newest(tmp_path: Path) -> None:
    """One name that always leads to the last report, and nothing of it is committed by accident."""
    for run in ("one", "two"):
        written = folder.write(tmp_path, run, {"report.html": run.encode()}, None)

    assert (Path(written["latest"]) / "report.html").read_text() == "two"
    assert (tmp_path / ".pegboard/reports/.gitignore").read_text() == "*\n"
    assert (tmp_path / ".pegboard/reports/one/report.html").read_text() == "one"


def test_a_run_is_no_way_out_of_the_folder(tmp_path: Path) -> None:
    """Whatever somebody calls a run."""
    written = folder.write(tmp_path, "../../evil", {"report.md": b""}, None)

    assert Path(written["folder"]).parent == tmp_path / ".pegboard/reports"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a `b_c` d", "a `b_c` d"),
        ("__init__ <b>", "\\_\\_init\\_\\_ &lt;b&gt;"),
        ("one ` tick\n[x](y)", "one ' tick \\[x\\](y)"),
    ],
)
def test_markdown_is_escaped(text: str, expected: str) -> None:
    """Code stays code, and nothing else becomes markup."""
    assert render.escaped(text) == expected


def test_areas_fill_the_map() -> None:
    """In proportion to the sizes, without a gap and without an overlap."""
    area = pictures.Rect(0, 0, 100, 60)
    tiles = pictures.squarified([6, 6, 4, 3, 2, 2, 1], area)

    assert sum(tile.w * tile.h for tile in tiles) == pytest.approx(6000)
    assert tiles[0].w * tiles[0].h == pytest.approx(6 * tiles[-1].w * tiles[-1].h)
    assert all(0 <= tile.x <= 100 and tile.x + tile.w <= 100.001 and tile.y + tile.h <= 60.001 for tile in tiles)


def test_what_leads_against_the_order_is_marked() -> None:
    """Of a circle the lighter direction."""
    nodes = [Node(name=name, modules=1, lines=1, layer=0, in_cycle=True, place="a.py") for name in ("a.x", "a.y")]
    links = [Link("a.x", "a.y", 9, Place("x.py", 1)), Link("a.y", "a.x", 1, Place("y.py", 2))]

    drawn = pictures.dependencies(nodes, links).picture

    assert re.findall(r'class="edge against".*?<title>(.*?)</title>', str(drawn)) == [
        "a.y → a.x: 1 import, for example y.py:2"
    ]


def test_what_follows_from_other_lines_is_not_drawn() -> None:
    """`a` needs `b` and `b` needs `c`: that `a` needs `c` too is no news."""
    links = [Link(a, b, 1, Place("x.py", 1)) for a, b in ("ab", "bc", "ac")]

    placed = layering.layered("abc", links)

    assert placed.rows == (("a",), ("b",), ("c",))
    assert ({(link.importer, link.imported) for link in placed.down}, placed.implied) == ({("a", "b"), ("b", "c")}, 1)


def test_boxes_keep_their_distance() -> None:
    """Inside of the picture and apart from one another, also where all want to stand in the same place."""
    links = [Link(name, "z", 1, Place("x.py", 1)) for name in "abcdef"]
    placed = layering.layered("abcdefz", links)

    places = layering.middles(placed, 1000, 140)

    row = [places[name] for name in placed.rows[0]]
    assert all(b - a >= 139.9 for a, b in itertools.pairwise(row))
    assert 70 <= row[0] <= row[-1] <= 930
