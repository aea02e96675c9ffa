"""What the larger analyses come to. Only values: whoever shows them need not have the tools that computed them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from pegboard_codeanalysis.analysis.model import (
    Degradation,
    Finding,
    LanguageRow,
    Metadata,
    Package,
    Place,
    Role,
    Skipped,
    Snapshot,
)

FILE_LIMIT_S: Final = 20.0
"""For one analyser on one file."""
DEFAULT_RANGE: Final = "HEAD~1..HEAD"
Topic = Literal["review", "security", "performance"]


# --- what there is -----------------------------------------------------------------------------------------------


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What there is, before anything is judged."""

    snapshot: Snapshot
    languages: tuple[LanguageRow, ...]
    packages: tuple[Package, ...]
    metadata: Metadata


class Problem(msgspec.Struct, frozen=True):
    """A file that an analyser could not deal with."""

    path: str
    reason: str


class Progress(msgspec.Struct, frozen=True):
    """What came of some files."""

    computed: int
    cached: int
    problems: tuple[Problem, ...]


# --- the shape ---------------------------------------------------------------------------------------------------


class Edge(msgspec.Struct, frozen=True, gc=False):
    """One file imports another."""

    importer: str
    imported: str
    line: int
    runtime: bool
    """At import time, and not only for type checkers or inside a function."""


class Cycle(msgspec.Struct, frozen=True, kw_only=True):
    """Files that all reach one another by imports at import time."""

    members: tuple[str, ...]
    shortest: tuple[Edge, ...]
    """A shortest way round, for a look."""


class Cut(msgspec.Struct, frozen=True, gc=False):
    """Imports between two children of a package that stand against the main direction."""

    importer: str
    imported: str
    count: int
    example: Place


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the picture: a module, or a package with everything in it."""

    name: str
    modules: int
    lines: int
    layer: int
    in_cycle: bool
    place: str
    """The path to look at."""


class Link(msgspec.Struct, frozen=True, gc=False):
    """How many imports lead from one part to another."""

    importer: str
    imported: str
    count: int
    example: Place


class Hub(msgspec.Struct, frozen=True, gc=False):
    """A module that many depend on."""

    path: str
    name: str
    used_by: int
    uses: int


class HotSpot(msgspec.Struct, frozen=True, kw_only=True):
    """A file with its complexity and how often it is changed."""

    path: str
    lines: int
    complexity: int
    commits: int
    score: float
    """From 0 to 1, the product of both as shares of the largest."""
    worst: str = ""
    worst_line: int = 1


class TestRow(msgspec.Struct, frozen=True, kw_only=True):
    """Which tests look at a module."""

    path: str
    complexity: int
    tests: tuple[str, ...]
    how: str
    """`imports`, `package`, `name`, `indirect` or `distribution`, the surest first; nothing where there is none."""


class Architecture(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about the shape."""

    modules: int
    edges: int
    runtime_edges: int
    external: Mapping[str, int]
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    left_out: int
    """Parts that are not in the picture, since it would be too large."""
    cycles: tuple[Cycle, ...]
    cuts: Mapping[str, tuple[Cut, ...]]
    hubs: tuple[Hub, ...]
    hot_spots: tuple[HotSpot, ...]
    tests: tuple[TestRow, ...]
    test_files: int
    findings: tuple[Finding, ...]
    unparsed: int


# --- documentation -----------------------------------------------------------------------------------------------


class ApiRow(msgspec.Struct, frozen=True, kw_only=True):
    """The public objects of one module."""

    path: str
    module: str
    summary: str
    public: int
    documented: int


class Undocumented(msgspec.Struct, frozen=True, gc=False):
    """A public object without a docstring."""

    name: str
    kind: str
    place: Place


class ApiEntry(msgspec.Struct, frozen=True, gc=False):
    """A public object of a module that users import."""

    name: str
    kind: str
    signature: str
    place: Place
    documented: bool


class Documentation(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the documentation."""

    public: int
    documented: int
    modules: tuple[ApiRow, ...]
    undocumented: tuple[Undocumented, ...]
    undocumented_left_out: int
    entries: tuple[ApiEntry, ...]
    """Functions and classes, without methods."""
    documents: int
    links: int
    findings: tuple[Finding, ...]


# --- changes -----------------------------------------------------------------------------------------------------


class ChangedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the range."""

    path: str
    status: Literal["added", "changed", "removed"]
    role: Role
    language: str
    added_lines: int
    lines: int
    """As it is afterwards; 0 where it is gone."""


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a range."""

    base: str
    head: str
    subjects: tuple[str, ...]
    files: tuple[ChangedFile, ...]
    findings: Mapping[Topic, tuple[Finding, ...]]
    skipped: tuple[Skipped, ...] = ()
    degraded: tuple[Degradation, ...] = ()
