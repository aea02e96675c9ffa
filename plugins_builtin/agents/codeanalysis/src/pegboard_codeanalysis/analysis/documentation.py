"""What is documented and what is not: the public objects, the README, and links in Markdown that lead nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from pegboard_codeanalysis.analysis import imports, snapshot
from pegboard_codeanalysis.analysis.layout import Modules
from pegboard_codeanalysis.analysis.model import ApiFact, FileFacts, Finding, Metadata, Place, Snapshot
from pegboard_codeanalysis.analysis.results import ApiEntry, ApiRow, Documentation, Undocumented

VERSION: Final = "2"
MOST_UNDOCUMENTED: Final = 2000
# No part goes back, and none goes past the next bracket: a line of a million brackets is looked at once.
_LINK: Final = re.compile(r"!?\[[^\[\]\n]*+\]\(\s*+<?+([^)\s>\[]++)>?+[^)\n\[]*+\)")
_FENCE: Final = re.compile(r"^\s*(```|~~~)")
_CODE: Final = re.compile(r"`[^`\n]*`")


def documentation_of(taken: Snapshot, facts: Mapping[str, FileFacts], meta: Metadata) -> Documentation:
    """The state of the documentation of what is shipped and public."""
    modules = Modules(taken.python())
    public = _Public(modules, facts)
    rows = tuple(_row(modules, path, facts[path].summary, items) for path, items in public.items.items() if items)
    bare = [
        Undocumented(f"{public.module[path]}.{item.name}", item.kind, Place(path, item.line))
        for path, items in public.items.items()
        for item in items
        if not item.documented
    ]
    links, dead = _links(taken)
    shipped = any(entry.role == "code" for entry in modules.paths.values())
    return Documentation(
        public=sum(row.public for row in rows),
        documented=sum(row.documented for row in rows),
        modules=rows,
        undocumented=tuple(bare[:MOST_UNDOCUMENTED]),
        undocumented_left_out=max(0, len(bare) - MOST_UNDOCUMENTED),
        entries=tuple(
            _entry(public.module[path], path, item)
            for path, items in public.items.items()
            for item in items
            if item.kind != "method"
        ),
        documents=sum(entry.language in ("Markdown", "reStructuredText", "AsciiDoc") for entry in taken.files),
        links=links,
        findings=(*_readme(taken, meta, shipped=shipped), *_coverage(rows, bare), *public.unclear(), *dead),
    )


class _Public:
    """What users may import: what public modules define, and what they hand on from private ones."""

    def __init__(self, modules: Modules, facts: Mapping[str, FileFacts]) -> None:
        self._modules = modules
        self._facts = facts
        self.items: dict[str, tuple[ApiFact, ...]] = {}
        """Of each file, where it is defined."""
        self.module: dict[str, str] = {}
        """Of each file, under which name its objects are offered."""
        public = [path for path in sorted(facts) if _is_public(modules, path)]
        for path in public:
            self.items[path], self.module[path] = facts[path].api, modules.id_of(path)
        handed: dict[str, set[str]] = {}
        for path in sorted(public, key=lambda each: (modules.id_of(each).count("."), each)):
            self._hand_on(path, _wanted(facts[path]), path, handed, set())
        for path, names in handed.items():
            self.items[path] = tuple(item for item in facts[path].api if item.name.partition(".")[0] in names)

    def _hand_on(
        self, path: str, wanted: Sequence[str] | None, by: str, handed: dict[str, set[str]], seen: set[object]
    ) -> None:
        """Follow the imports of a module to what is private, `*` through further modules too."""
        for fact in self._facts[path].imports:
            if fact.deferred or not fact.names:
                continue
            star = fact.names == ("*",)
            if not star and wanted is None and not self._modules.is_package(path):
                continue  # a module uses what it imports; only a package without `__all__` hands it on
            source = imports.source(self._modules, path, fact)
            names = wanted if star else [name for name in fact.names if wanted is None or name in wanted]
            step = (source, tuple(names) if names is not None else None)
            if source is None or source not in self._facts or step in seen:
                continue
            seen.add(step)
            if not _is_public(self._modules, source) and self._modules.paths[source].role == "code":
                own = {item.name for item in self._facts[source].api} if names is None else set(names)
                handed.setdefault(source, set()).update(own)
                self.module.setdefault(source, self._modules.id_of(by))
                self._hand_on(source, names if names is not None else _wanted(self._facts[source]), by, handed, seen)

    def unclear(self) -> Iterator[Finding]:
        """Modules that hand on what nobody can tell without running them."""
        for path in self.items:
            known = self._facts[path]
            if not known.offered_told and not self._modules.name_of[path].startswith("_"):
                yield Finding(
                    rule="open-api", tool="griffe", severity="note", place=Place(path, 1), confidence=0.8,
                    message=f"`__all__` of `{self._modules.id_of(path)}` is put together when it runs",
                )  # fmt: skip


def _wanted(known: FileFacts) -> tuple[str, ...] | None:
    """The names that a module hands on; `None` for all, also where they cannot be told."""
    return known.offered if known.offered_told else None


def _is_public(modules: Modules, path: str) -> bool:
    name = modules.name_of[path]
    private = any(part.startswith("_") for part in name.split("."))
    return modules.paths[path].role == "code" and bool(name) and not private and "migrations" not in path.split("/")


def _row(modules: Modules, path: str, summary: str, items: Sequence[ApiFact]) -> ApiRow:
    return ApiRow(
        path=path,
        module=modules.id_of(path),
        summary=summary,
        public=len(items),
        documented=sum(item.documented for item in items),
    )


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
            message="there is no README",
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
