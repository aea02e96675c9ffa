"""Makes files of a report: a page that needs neither network nor script, a text, SARIF and JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from markupsafe import Markup, escape
from pegboard.lazy import LazyModule

from pegboard_codeanalysis.agents.words import share, visible
from pegboard_codeanalysis.analysis.model import SEVERITIES
from pegboard_codeanalysis.analysis.results import ApiRow
from pegboard_codeanalysis.report.model import Report
from pegboard_codeanalysis.report.sarif import sarif_of

if TYPE_CHECKING:
    import jinja2

    from pegboard_codeanalysis.report import pictures
else:
    jinja2 = LazyModule("jinja2")  # dear, and only needed at the end
    pictures = LazyModule("pegboard_codeanalysis.report.pictures")

_MARKUP: Final = re.compile(r"([\\\\*_\[\]#|])")
_TICKS: Final = re.compile(r"`([^`]+)`")
MOST_ROWS: Final = 10
"""Of a table."""
MOST_GROUPS: Final = 30
"""On the page; all findings are in `report.json` and `findings.sarif`."""


def files_of(report: Report) -> dict[str, bytes]:
    """The files of a report by name."""
    html, markdown = _texts(report)
    sarif = sarif_of(report.findings, versions=report.tools)
    return {
        "report.html": visible(html).encode("utf-8", "backslashreplace"),
        "report.md": visible(markdown).encode("utf-8", "backslashreplace"),
        "findings.sarif": msgspec.json.format(msgspec.json.encode(sarif), indent=1),
        "report.json": msgspec.json.format(msgspec.json.encode(report), indent=1),
    }


def _texts(report: Report) -> tuple[str, str]:
    plain: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    loader = jinja2.PackageLoader("pegboard_codeanalysis.report")
    page = jinja2.Environment(loader=loader, autoescape=True, **plain)
    text = jinja2.Environment(loader=loader, autoescape=False, **plain)  # nosec B701  # Markdown; `md` escapes
    page.filters["ticked"] = ticked
    text.filters["md"] = escaped
    values = _values(report)
    shape = report.architecture
    drawn = {
        "dependencies": pictures.dependencies(shape.nodes, shape.links) if shape else None,
        "hot_spots": pictures.hot_spots(shape.hot_spots) if shape else "",
        "timeline": pictures.timeline(report.timeline),
    }
    html = page.get_template("report.html.j2").render(**values, pictures=drawn)
    return html, text.get_template("report.md.j2").render(**values)


def _values(report: Report) -> Mapping[str, Any]:
    shown = [group for group in report.groups if group.severity != "note"]
    notes = [group for group in report.groups if group.severity == "note"]
    return {
        "report": report,
        "folder": report.root.rpartition("/")[2] or report.root,
        "severities": SEVERITIES,
        "made_at": datetime.fromtimestamp(report.made_at, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "groups": shown[:MOST_GROUPS],
        "groups_left_out": max(0, len(shown) - MOST_GROUPS),
        "notes": sum(group.count for group in notes),
        "note_rules": len(notes),
        "worst_documented": _worst_documented(report),
        "share": share,
        "most": MOST_ROWS,
    }


def _worst_documented(report: Report) -> Sequence[ApiRow]:
    rows = report.documentation.modules if report.documentation else ()
    bare = [row for row in rows if row.documented < row.public]
    return sorted(bare, key=lambda row: (row.documented - row.public, row.module))[:MOST_ROWS]


def escaped(text: Any) -> str:
    """A text of others in Markdown: one line, code in backticks kept, everything else neither markup nor HTML."""
    pieces = " ".join(str(text).split()).split("`")
    if len(pieces) % 2 == 0:  # a backtick without a fellow
        return _without_markup("'".join(pieces))
    return "".join(
        f"`{piece.replace('|', chr(92) + '|')}`" if number % 2 else _without_markup(piece)
        for number, piece in enumerate(pieces)
    )


def _without_markup(text: str) -> str:
    return _MARKUP.sub(r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;")


def ticked(text: Any) -> Markup:
    """A text of others in HTML: everything escaped, what stands in backticks as code."""
    return Markup(_TICKS.sub(r"<code>\1</code>", str(escape(text))))  # nosec B704  # escaped just before
