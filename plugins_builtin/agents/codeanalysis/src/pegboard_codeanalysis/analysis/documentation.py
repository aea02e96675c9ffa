"""What is documented and what is not: the public objects, the README, and links in Markdown that lead nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from pegboard_codeanalysis.analysis import snapshot
from pegboard_codeanalysis.analysis.layout import Modules
from pegboard_codeanalysis.analysis.model import ApiFact, FileFacts, Finding, Metadata, Place, Snapshot
from pegboard_codeanalysis.analysis.results import ApiEntry, ApiRow, Documentation, Undocumented

VERSION: Final = "1"
MOST_UNDOCUMENTED: Final = 2000
_LINK: Final = re.compile(r"!?\[[^\]\n]*\]\(\s*<?([^)\s>]+)>?[^)\n]*\)")
_FENCE: Final = re.compile(r"^\s*(```|~~~)")
_CODE: Final = re.compile(r"`[^`\n]*`")


def documentation_of(taken: Snapshot, facts: Mapping[str, FileFacts], meta: Metadata) -> Documentation:
    """The state of the documentation of what is shipped and public."""
    modules = Modules(taken.python())
    public = [path for path in sorted(facts) if _is_public(modules, path)]
    rows = tuple(_row(modules, path, facts[path]) for path in public if facts[path].api)
    bare = list(_undocumented(modules, facts, public))
    links, dead = _links(taken)
    shipped = any(entry.role == "code" for entry in modules.paths.values())
    return Documentation(
        public=sum(row.public for row in rows),
        documented=sum(row.documented for row in rows),
        modules=rows,
        undocumented=tuple(bare[:MOST_UNDOCUMENTED]),
        undocumented_left_out=max(0, len(bare) - MOST_UNDOCUMENTED),
        entries=tuple(_entries(modules, facts, public)),
        documents=sum(entry.language in ("Markdown", "reStructuredText", "AsciiDoc") for entry in taken.files),
        links=links,
        findings=(*_readme(taken, meta, shipped=shipped), *_coverage(rows, bare), *dead),
    )


def _is_public(modules: Modules, path: str) -> bool:
    name = modules.name_of[path]
    private = any(part.startswith("_") for part in name.split("."))
    return modules.paths[path].role == "code" and bool(name) and not private and "migrations" not in path.split("/")


def _row(modules: Modules, path: str, known: FileFacts) -> ApiRow:
    return ApiRow(
        path=path,
        module=modules.id_of(path),
        summary=known.summary,
        public=len(known.api),
        documented=sum(item.documented for item in known.api),
    )


def _undocumented(modules: Modules, facts: Mapping[str, FileFacts], public: Sequence[str]) -> Iterator[Undocumented]:
    for path in public:
        for item in facts[path].api:
            if not item.documented:
                yield Undocumented(f"{modules.id_of(path)}.{item.name}", item.kind, Place(path, item.line))


def _entries(modules: Modules, facts: Mapping[str, FileFacts], public: Sequence[str]) -> Iterator[ApiEntry]:
    for path in public:
        for item in facts[path].api:
            if item.kind != "method":
                yield _entry(modules.id_of(path), path, item)


def _entry(module: str, path: str, item: ApiFact) -> ApiEntry:
    return ApiEntry(f"{module}.{item.name}", item.kind, item.signature, Place(path, item.line), item.documented)


# --- findings ----------------------------------------------------------------------------------------------------


def _readme(taken: Snapshot, meta: Metadata, *, shipped: bool) -> Iterator[Finding]:
    if meta.readme or not shipped:
        return
    first = next((entry for entry in taken.files if entry.role == "code" and entry.lines), None)
    if first is not None:
        yield Finding(
            rule="no-readme", tool="files", severity="low", place=Place(first.path, 1),
            message="there is no README in the top folder",
        )  # fmt: skip


def _coverage(rows: Sequence[ApiRow], bare: Sequence[Undocumented]) -> Iterator[Finding]:
    """One finding for each module where most is undocumented, the worst first, and only few."""
    worst = sorted(rows, key=lambda row: (row.documented - row.public, row.path))[:10]
    first = {item.place.path: item for item in reversed(bare)}
    for row in worst:
        missing = row.public - row.documented
        if missing < 5 or row.documented * 2 >= row.public:
            continue
        yield Finding(
            rule="undocumented", tool="griffe", severity="low", place=first[row.path].place, confidence=0.9,
            message=f"{missing} of {row.public} public functions, classes and methods of `{row.module}` have no "
            f"docstring, first of all `{first[row.path].name.removeprefix(row.module + '.')}`",
        )  # fmt: skip


def _links(taken: Snapshot) -> tuple[int, list[Finding]]:
    known = {entry.path for entry in taken.files} | {item.path for item in taken.skipped}
    folders = {"/".join(path.split("/")[:n]) for path in known for n in range(path.count("/") + 1)}
    total, dead = 0, []
    for entry in taken.files:
        if entry.language != "Markdown" or not entry.is_judged or entry.role == "test":
            continue
        for line, target in _targets(taken, entry.path):
            total += 1
            place = _resolved(entry.path, target)
            if place is not None and place not in known and place not in folders:
                dead.append(
                    Finding(
                        rule="dead-link",
                        tool="files",
                        severity="low",
                        place=Place(entry.path, line),
                        confidence=0.9,
                        message=f"`{target}` leads to nothing in the repository",
                    )
                )
    return total, dead


def _targets(taken: Snapshot, path: str) -> Iterator[tuple[int, str]]:
    try:
        text = snapshot.read(f"{taken.root}/{path}").decode("utf-8", "replace")
    except OSError:
        return
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            for target in _LINK.findall(_CODE.sub("", line)):
                yield number, target


def _resolved(path: str, target: str) -> str | None:
    """The path that a link leads to; `None` where it leads out of the repository or only within the page."""
    if "{" in target or "$" in target:  # a template fills it in
        return None
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    if parts.scheme or parts.netloc or not parts.path or parts.path.startswith("/"):
        return None
    folders = path.split("/")[:-1]
    for part in unquote(parts.path).split("/"):
        if part == "..":
            if not folders:
                return None
            folders.pop()
        elif part not in ("", "."):
            folders.append(part)
    return "/".join(folders)
