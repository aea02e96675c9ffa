"""The pictures of the page as plain SVG: no script, colours from the page's style sheet, a title on everything."""

from __future__ import annotations

import math
import posixpath
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from pegboard_codeanalysis.agents.words import counted
from pegboard_codeanalysis.analysis.parts import OTHERS
from pegboard_codeanalysis.analysis.results import HotSpot, Link, Node
from pegboard_codeanalysis.report.layering import Layering, layered, middles
from pegboard_codeanalysis.work.workshop import Stage

_WIDTH: Final = 1000
_BOX_W: Final = 128
_BOX_H: Final = 52
_GAP_X: Final = 15
_GAP_Y: Final = 46
_MAP_H: Final = 460
_MOST_FILES: Final = 400
_HEATS: Final = (0.02, 0.08, 0.2, 0.45)
_CHARACTER_W: Final = 6.6
_SMALL_CHARACTER_W: Final = 5.9


class Rect(NamedTuple):
    """A rectangle."""

    x: float
    y: float
    w: float
    h: float


# --- dependencies ------------------------------------------------------------------------------------------------


class Drawn(NamedTuple):
    """A picture, and what a legend has to say of it."""

    picture: Markup
    against: int
    against_in_all: int
    implied: int


def dependencies(nodes: Sequence[Node], links: Sequence[Link]) -> Drawn:
    """Parts in layers, what depends above what it needs; what stands against the order is drawn in another colour."""
    if not nodes:
        return Drawn(Markup(""), 0, 0, 0)
    placed = layered([node.name for node in nodes], links)
    boxes = _boxes(placed)
    parts = [_edge(link, boxes, "edge") for link in placed.down]
    parts += [_edge(link, boxes, "edge against") for link in placed.against]
    prefix = _common([node.name for node in nodes])
    parts += [_box(node, boxes[node.name], prefix) for node in nodes]
    height = len(placed.rows) * (_BOX_H + _GAP_Y) - _GAP_Y + 40
    picture = _svg(_WIDTH, height, "Dependencies between the parts of the project", parts)
    return Drawn(picture, len(placed.against), placed.against_in_all, placed.implied)


def _boxes(placed: Layering) -> dict[str, Rect]:
    middle = middles(placed, _WIDTH, _BOX_W + _GAP_X)
    return {
        name: Rect(middle[name] - _BOX_W / 2, 20 + number * (_BOX_H + _GAP_Y), _BOX_W, _BOX_H)
        for number, row in enumerate(placed.rows)
        for name in row
    }


def _edge(link: Link, boxes: Mapping[str, Rect], style: str) -> Markup:
    a, b = boxes[link.importer], boxes[link.imported]
    x1, x2 = a.x + a.w / 2, b.x + b.w / 2
    if a.y == b.y:  # in one row: an arc above
        y = a.y
        bend = y - 18 - abs(x1 - x2) / 14
        path = f"M{x1:.0f} {y:.0f}C{x1:.0f} {bend:.0f} {x2:.0f} {bend:.0f} {x2:.0f} {y:.0f}"
    else:
        y1, y2 = (a.y + a.h, b.y) if a.y < b.y else (a.y, b.y + b.h)
        middle = (y1 + y2) / 2
        path = f"M{x1:.0f} {y1:.0f}C{x1:.0f} {middle:.0f} {x2:.0f} {middle:.0f} {x2:.0f} {y2:.0f}"
    width = min(6.0, 0.8 + math.log2(link.count + 1) * 0.6)
    title = f"{link.importer} → {link.imported}: {counted(link.count, 'import')}, for example {link.example}"
    return Markup('<path class="{}" d="{}" stroke-width="{:.1f}"><title>{}</title></path>').format(
        style, path, width, title
    )


def _box(node: Node, box: Rect, prefix: str) -> Markup:
    above, name = _labels(node, prefix)
    style = "node circular" if node.in_cycle else "node"
    circle = ", in a circle" if node.in_cycle else ""
    size = f"{node.lines:,} lines" if node.modules == 1 else f"{node.modules} modules, {_short(node.lines)}"
    title = f"{node.name}: {node.modules} modules, {node.lines:,} lines{circle}"
    middle = box.x + box.w / 2
    return Markup(
        '<g class="{}"><title>{}</title><rect x="{:.0f}" y="{:.0f}" width="{:.0f}" height="{:.0f}" rx="7"/>'
        '<text class="small" x="{:.0f}" y="{:.0f}">{}</text><text x="{:.0f}" y="{:.0f}">{}</text>'
        '<text class="small" x="{:.0f}" y="{:.0f}">{}</text></g>'
    ).format(
        style, title, box.x, box.y, box.w, box.h, middle, box.y + 14, _cut(above, box.w - 6, 5.4),
        middle, box.y + (29 if above else 24), _cut(name, box.w - 6), middle, box.y + (44 if above else 40), size,
    )  # fmt: skip


def _labels(node: Node, prefix: str) -> tuple[str, str]:
    """What a part is in, and what it is called there."""
    name = node.name.removeprefix(prefix) or node.name
    if node.name.endswith(OTHERS):
        within = name.removesuffix(OTHERS)
        return (prefix.rstrip(".") if within == "*" else within), "others"
    above, _, last = name.rpartition(".")
    return above, last


def _short(lines: int) -> str:
    return f"{lines:,} lines" if lines < 1000 else f"{lines / 1000:.0f}k lines"


def _common(names: Sequence[str]) -> str:
    """What all names begin with, up to a dot."""
    first = names[0].split(".")[0] + "."
    return first if all(name.startswith(first) or f"{name}." == first for name in names) else ""


# --- hot spots ---------------------------------------------------------------------------------------------------


def hot_spots(spots: Sequence[HotSpot]) -> Markup:
    """Files as areas by their size, grouped by folder, the hotter the stronger the colour."""
    largest = sorted((spot for spot in spots if spot.lines), key=lambda spot: -spot.lines)[:_MOST_FILES]
    if not largest:
        return Markup("")
    groups: dict[str, list[HotSpot]] = defaultdict(list)
    depth = _folder_depth([spot.path for spot in largest])
    for spot in largest:
        groups["/".join(spot.path.split("/")[:-1][:depth]) or "."].append(spot)
    totals = {name: sum(spot.lines for spot in some) for name, some in groups.items()}
    names = sorted(groups, key=lambda name: -totals[name])
    hottest = max(spot.score for spot in largest) or 1.0
    parts: list[Markup] = []
    above = _common_folders(names)
    for name, area in zip(names, squarified([totals[name] for name in names], Rect(0, 0, _WIDTH, _MAP_H)), strict=True):
        parts += _group(name.removeprefix(above) or name, groups[name], area, hottest)
    return _svg(_WIDTH, _MAP_H, "Files by size, coloured by how hot they are", parts)


def _group(name: str, spots: Sequence[HotSpot], area: Rect, hottest: float) -> Iterator[Markup]:
    head = 15 if area.h > 40 and area.w > 60 else 0
    inner = Rect(area.x + 1, area.y + 1 + head, max(1.0, area.w - 2), max(1.0, area.h - 2 - head))
    yield Markup('<rect class="group" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(*area)
    for spot, tile in zip(spots, squarified([spot.lines for spot in spots], inner), strict=True):
        heat = sum(spot.score / hottest > step for step in _HEATS)
        title = f"{spot.path}: {spot.lines:,} lines, complexity {spot.complexity}, {spot.commits} commits"
        yield Markup(
            '<rect class="heat{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
        ).format(heat, tile.x, tile.y, max(0.0, tile.w - 1), max(0.0, tile.h - 1), title)
        label = spot.path.rpartition("/")[2].removesuffix(".py")
        if tile.h > 16 and (tile.w > 50 or len(label) * _SMALL_CHARACTER_W < tile.w - 6):
            yield Markup('<text class="tile{}" x="{:.1f}" y="{:.1f}">{}</text>').format(
                " strong" if heat >= 3 else "", tile.x + 4, tile.y + 13, _cut(label, tile.w - 6, _SMALL_CHARACTER_W)
            )
    if head:
        yield Markup('<text class="head" x="{:.1f}" y="{:.1f}">{}</text>').format(
            area.x + 5, area.y + 12, _end(name, area.w - 10, _CHARACTER_W)
        )


def _common_folders(names: Sequence[str]) -> str:
    """The folders that all have in common, which nobody has to read again and again."""
    return f"{above}/" if (above := posixpath.commonpath(names)) and len(names) > 1 else ""


def _folder_depth(paths: Sequence[str]) -> int:
    """So deep that there are some groups, and not too many."""
    depth = 1
    for candidate in range(1, 8):
        if len({"/".join(path.split("/")[:-1][:candidate]) for path in paths}) <= 24:
            depth = candidate
    return depth


def squarified(sizes: Sequence[int], area: Rect) -> list[Rect]:
    """Areas in proportion to sizes, as square as can be (Bruls, Huizing and van Wijk, 2000). Largest first is best."""
    total = sum(sizes) or 1
    scale = area.w * area.h / total
    left = area
    result: list[Rect] = []
    row: list[float] = []
    for size in (max(1e-9, size * scale) for size in sizes):
        side = min(left.w, left.h)
        if row and _worst([*row, size], side) > _worst(row, side):
            placed, left = _laid(row, left)
            result += placed
            row = []
        row.append(size)
    placed, _ = _laid(row, left)
    return [*result, *placed]


def _worst(row: Sequence[float], side: float) -> float:
    total = sum(row)
    return max(side * side * max(row) / (total * total), total * total / (side * side * min(row))) if side else 0.0


def _laid(row: Sequence[float], left: Rect) -> tuple[list[Rect], Rect]:
    total = sum(row)
    placed = []
    if left.w >= left.h:
        width = total / left.h if left.h else 0.0
        y = left.y
        for size in row:
            height = size / width if width else 0.0
            placed.append(Rect(left.x, y, width, height))
            y += height
        return placed, Rect(left.x + width, left.y, max(0.0, left.w - width), left.h)
    height = total / left.w if left.w else 0.0
    x = left.x
    for size in row:
        width = size / height if height else 0.0
        placed.append(Rect(x, left.y, width, height))
        x += width
    return placed, Rect(left.x, left.y + height, left.w, max(0.0, left.h - height))


# --- timeline ----------------------------------------------------------------------------------------------------


def timeline(stages: Sequence[Stage]) -> Markup:
    """What was done when."""
    if not stages:
        return Markup("")
    start, end = min(stage.start for stage in stages), max(stage.end for stage in stages)
    span = max(end - start, 0.001)
    left, room = 150, _WIDTH - 150 - 130
    parts = []
    for number, stage in enumerate(sorted(stages, key=lambda stage: stage.start)):
        y = 10 + number * 26
        x, width = left + (stage.start - start) / span * room, max(2.0, (stage.end - stage.start) / span * room)
        counted = (
            f", {stage.computed:,} files computed, {stage.cached:,} known" if stage.computed + stage.cached else ""
        )
        seconds = f"{stage.end - stage.start:.2f} s"
        parts.append(
            Markup(
                '<text class="name" x="{}" y="{}">{}</text><rect class="bar" x="{:.1f}" y="{}" width="{:.1f}" '
                'height="16" rx="3"><title>{}: {}{}</title></rect><text class="time" x="{:.1f}" y="{}">{}</text>'
            ).format(
                left - 8, y + 13, stage.name, x, y, width, stage.name, seconds, counted, x + width + 6, y + 13, seconds
            )
        )
    return _svg(_WIDTH, 20 + len(stages) * 26, "When what was done", parts, style="timeline")


# --- SVG ---------------------------------------------------------------------------------------------------------


def _svg(width: float, height: float, title: str, parts: Sequence[Markup], style: str = "") -> Markup:
    return Markup(
        '<svg class="picture {}" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}" '
        'xmlns="http://www.w3.org/2000/svg">{}</svg>'
    ).format(style, width, height, title, Markup("").join(parts))


def _cut(text: str, width: float, character_w: float = _CHARACTER_W) -> str:
    most = max(1, int(width / character_w))
    return text if len(text) <= most else f"{text[: max(1, most - 1)]}…"


def _end(path: str, width: float, character_w: float) -> str:
    """The end of a path, which tells more than its beginning."""
    most = max(1, int(width / character_w))
    return path if len(path) <= most else f"…{path[len(path) - max(1, most - 1) :]}"


__all__ = ["Drawn", "Rect", "dependencies", "hot_spots", "squarified", "timeline"]
