"""A workflow as a picture: Mermaid text, a static SVG that needs nothing else, and plain text for a terminal.

Texts come from files of others, so each is escaped for where it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

from pegboard.signs import UNSAFE

from pegboard_workflow.conditions import Condition
from pegboard_workflow.layout import Key, layers, layout
from pegboard_workflow.model import Node, Workflow
from pegboard_workflow.plan import data_references, target_name

_WIDTH: Final = 168
_HEIGHT: Final = 44
_GAP_X: Final = 56
_GAP_Y: Final = 16
_POINT: Final = 12
"""Height of the room that a passing edge takes."""
_MARGIN: Final = 16
_NAMESPACE: Final = "http://www.w3.org/2000/svg"
_SHOWN: Final = 22
"""Characters of a name that fit into a box."""
_STYLE: Final = """
.workflow{font:13px system-ui,sans-serif;
--paper:#fff;--ink:#1b1f24;--faint:#59636e;--line:#8c959f;--box:#f6f8fa;--main:#0969da}
@media(prefers-color-scheme:dark){.workflow{
--paper:#0d1117;--ink:#e6edf3;--faint:#9198a1;--line:#656c76;--box:#161b22;--main:#4493f8}}
.workflow .paper{fill:var(--paper)}.workflow rect.node{fill:var(--box);stroke:var(--main);stroke-width:1.5}
.workflow rect.optional{stroke-dasharray:5 3}.workflow text{fill:var(--ink)}
.workflow text.agent{fill:var(--faint);font-size:11px}
.workflow path.edge{fill:none;stroke:var(--line);stroke-width:1.3}.workflow path.head{fill:var(--line)}
""".strip()


def needs_of(workflow: Workflow) -> dict[str, list[str]]:
    """What each node waits for, by name."""
    found = {}
    for name, node in workflow.nodes.items():
        asked = Condition(node.when).references if node.when is not None else ()
        names = [*node.needs, *(reference.node for reference in (*data_references(node), *asked))]
        found[name] = [need for need in dict.fromkeys(names) if need in workflow.nodes and need is not None]
    return found


def mermaid(workflow: Workflow) -> str:
    """Mermaid text, for Markdown; optional nodes are rounded."""
    ids = {name: f"n{number}" for number, name in enumerate(workflow.nodes)}
    lines = ["flowchart LR"]
    for name, node in workflow.nodes.items():
        left, right = ("[", "]") if node.required else ("(", ")")
        lines.append(f'    {ids[name]}{left}"{_quoted(name)}<br/><small>{_quoted(_label(node))}</small>"{right}')
    for name, wanted in needs_of(workflow).items():
        sign = "-.->" if workflow.nodes[name].when is not None else "-->"
        lines += [f"    {ids[need]} {sign} {ids[name]}" for need in wanted]
    return "\n".join(lines) + "\n"


def text(workflow: Workflow) -> str:
    """Lines for a terminal: the nodes in an order in which they can run, each with what it waits for."""
    needs = needs_of(workflow)
    column = layers(needs)
    head = f"{workflow.name}: {workflow.description}" if workflow.description else workflow.name
    lines = [_plain(head), f"{len(workflow.nodes)} nodes, {workflow.parallel} at once"]
    for name in sorted(workflow.nodes, key=lambda name: column[name]):
        node = workflow.nodes[name]
        lines.append(_plain(f"{'  ' * min(column[name], 20)}- {name}: {', '.join(_said(node, needs[name]))}"))
    return "\n".join(lines)


def svg(workflow: Workflow) -> str:
    """A picture that opens offline, light or dark as the reader's surroundings are."""
    places, edges, width, height = _places(needs_of(workflow))
    parts = [
        f'<svg xmlns="{_NAMESPACE}" class="workflow" role="img" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">',
        f"<title>{_xml(workflow.name)}</title><style>{_STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
        *(_edge(edge, places) for edge in edges),
        *(_box(name, node, *places[(name,)]) for name, node in workflow.nodes.items()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _places(needs: Mapping[str, Sequence[str]]) -> tuple[dict[Key, tuple[int, int]], Sequence[Sequence[Key]], int, int]:
    """The middle of the left side of each box, and where each passing edge goes through."""
    found = layout(needs)
    heights = [sum(_room(key) for key in column) for column in found.columns]
    height = max(heights, default=0) + 2 * _MARGIN
    places = {}
    for number, (column, used) in enumerate(zip(found.columns, heights, strict=True)):
        y = (height - used) // 2
        for key in column:
            places[key] = _MARGIN + number * (_WIDTH + _GAP_X), y + _room(key) // 2
            y += _room(key)
    return places, found.edges, len(found.columns) * (_WIDTH + _GAP_X) - _GAP_X + 2 * _MARGIN, height


def _room(key: Key) -> int:
    return _HEIGHT + _GAP_Y if len(key) == 1 else _POINT


def _edge(edge: Sequence[Key], places: Mapping[Key, tuple[int, int]]) -> str:
    """A curve from the right side of a box to the left side of another, level through the points between."""
    x, y = places[edge[0]]
    x += _WIDTH
    path = [f"M{x} {y}"]
    for key in edge[1:]:
        to_x, to_y = places[key]
        middle = (x + to_x) // 2
        path.append(f"C{middle} {y} {middle} {to_y} {to_x} {to_y}")
        x, y = to_x, to_y
        if len(key) > 1:
            x += _WIDTH
            path.append(f"H{x}")
    head = f'<path class="head" d="M{x} {y}l-7 -4v8z"/>'
    return f'<path class="edge" d="{"".join(path)}"/>{head}'


def _box(name: str, node: Node, x: int, y: int) -> str:
    top = y - _HEIGHT // 2
    kind = "node" if node.required else "node optional"
    tip = "\n".join([name, *_said(node, ())])
    return (
        f"<g><title>{_xml(tip)}</title>"
        f'<rect class="{kind}" x="{x}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
        f'<text x="{x + 10}" y="{top + 18}">{_xml(_cut(name))}</text>'
        f'<text class="agent" x="{x + 10}" y="{top + 34}">{_xml(_cut(_label(node)))}</text></g>'
    )


def _label(node: Node) -> str:
    """What does the work, and how often."""
    if node.foreach is not None:
        return f"{target_name(node)} for each"
    return target_name(node) + (f" at most {node.repeat.at_most}x" if node.repeat is not None else "")


def _said(node: Node, needs: Sequence[str]) -> Iterator[str]:
    yield _label(node)
    if needs:
        yield f"after {', '.join(needs)}"
    if node.when is not None:
        yield f"when {node.when}"
    if not node.required:
        yield "optional"
    if node.fallback:
        yield f"else {', '.join(str(getattr(other, 'name', other)) for other in node.fallback)}"


def _cut(label: str) -> str:
    return label if len(label) <= _SHOWN else f"{label[: _SHOWN - 1]}…"


def _plain(line: str) -> str:
    return UNSAFE.sub("?", line).replace("\n", " ")


def _xml(label: str) -> str:
    return escape(UNSAFE.sub("?", label), quote=True)


def _quoted(label: str) -> str:
    """For a label in quotes: Mermaid reads entities, and everything else there as HTML."""
    return "".join(sign if sign.isalnum() or sign in " _-.,/" else f"#{ord(sign)};" for sign in _plain(label))
