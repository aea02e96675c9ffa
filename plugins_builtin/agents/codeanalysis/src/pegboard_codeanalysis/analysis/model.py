"""The values that analysers give and take. All are frozen, and all go through JSON and msgpack unchanged."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Severity = Literal["high", "medium", "low", "note"]
SEVERITIES: Final[tuple[Severity, ...]] = ("high", "medium", "low", "note")
"""From the worst on. A note is never a reason to fail."""
Role = Literal["code", "test", "example", "docs", "tooling", "vendored", "generated"]


class Place(msgspec.Struct, frozen=True, gc=False, order=True):
    """A line of a file, both counted as editors count them."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that somebody should look at, with the place where it is to be seen."""

    rule: str
    tool: str
    severity: Severity
    message: str
    place: Place
    confidence: float = 1.0
    """From 0 to 1: how sure the tool is that this is what it says."""
    related: tuple[Place, ...] = ()


class Degradation(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Something that was not, or not wholly, analysed."""

    what: str
    why: str


class Skipped(msgspec.Struct, frozen=True, gc=False):
    """A file or folder that nobody looked into."""

    path: str
    reason: str


class FileEntry(msgspec.Struct, frozen=True, gc=False):
    """A file of the snapshot."""

    path: str
    """Relative to the root, with `/`."""
    digest: str
    size_bytes: int
    lines: int
    language: str
    role: Role

    @property
    def is_python(self) -> bool:
        """Whether the analysers of Python read it."""
        return self.language == "Python"

    @property
    def is_judged(self) -> bool:
        """Whether findings in it are anybody's business here."""
        return self.role not in ("vendored", "generated")


class LanguageRow(msgspec.Struct, frozen=True, gc=False):
    """How much there is in one language."""

    language: str
    files: int
    lines: int


class Package(msgspec.Struct, frozen=True, gc=False):
    """A top-level package, or a single module beside the packages."""

    name: str
    path: str
    modules: int
    lines: int
    kind: Literal["package", "namespace", "module"]
    layout: Literal["flat", "src", "nested"]


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What the project says of itself. Files are read as data, and nothing is executed."""

    name: str = ""
    version: str = ""
    description: str = ""
    requires_python: str = ""
    dependencies: tuple[str, ...] = ()
    entry_points: tuple[str, ...] = ()
    build_backend: str = ""
    readme: str = ""
    licence: str = ""
    ci: tuple[str, ...] = ()
    """Paths of files that configure continuous integration."""
    test_runner: str = ""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All files as they were at one moment; everything else is computed from it."""

    root: str
    digest: str
    """Of paths and contents, so that equal digests mean equal trees."""
    files: tuple[FileEntry, ...]
    skipped: tuple[Skipped, ...] = ()
    degraded: tuple[Degradation, ...] = ()
    git_given_up: str = ""
    """Why git is asked nothing more of this folder."""

    def python(self) -> tuple[FileEntry, ...]:
        """The Python files that are judged."""
        return tuple(entry for entry in self.files if entry.is_python and entry.is_judged)


class FileHistory(msgspec.Struct, frozen=True, gc=False):
    """What git knows of one file."""

    path: str
    commits: int
    authors: int
    last_at: int
    """Seconds since the epoch."""


class Coupling(msgspec.Struct, frozen=True, gc=False):
    """Two files that are changed together."""

    first: str
    second: str
    together: int
    share: float
    """Of the commits of the one that has fewer."""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What git tells, within the window that was read."""

    available: bool = False
    reason: str = ""
    """Why there is none."""
    head: str = ""
    commits: int = 0
    authors: int = 0
    first_at: int = 0
    last_at: int = 0
    complete: bool = True
    """Whether the window holds the whole history."""
    files: tuple[FileHistory, ...] = ()
    couplings: tuple[Coupling, ...] = ()


def sound(text: str) -> str:
    """A text that can be written as UTF-8: source may hold halves of characters, by their escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


# --- facts of one file -------------------------------------------------------------------------------------------


class ImportFact(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One import statement, or one name of it."""

    module: str
    level: int
    names: tuple[str, ...]
    line: int
    typing_only: bool
    deferred: bool
    """Inside a function, and so not at import time."""


class FunctionFact(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A function and its cognitive complexity."""

    name: str
    line: int
    end: int
    complexity: int


class ApiFact(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A public object of a module."""

    name: str
    kind: str
    line: int
    documented: bool
    signature: str = ""


class UnusedFact(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A name that is defined here; it is unused when nobody uses the name anywhere."""

    name: str
    kind: str
    line: int
    confidence: int
    message: str = ""


class FileFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one Python file says of itself."""

    error: str = ""
    """Why it could not be parsed."""
    error_line: int = 0
    code_lines: int = 0
    comment_lines: int = 0
    summary: str = ""
    """The first line of the module's docstring."""
    documented: bool = False
    classes: int = 0
    imports: tuple[ImportFact, ...] = ()
    functions: tuple[FunctionFact, ...] = ()
    api: tuple[ApiFact, ...] = ()
    defined: tuple[UnusedFact, ...] = ()
    unreachable: tuple[UnusedFact, ...] = ()
    used: tuple[str, ...] = ()
    """Private names that are used, also those in strings; public ones may be used by anybody, and are not judged."""
    offered: tuple[str, ...] | None = None
    """The names in `__all__`; `None` where there is none."""
    offered_told: bool = True
    """Whether all of `__all__` can be read without running it."""
    named: tuple[str, ...] = ()
    """Strings that look like names of modules: of what is imported late, or by others."""
    suppressed: int = 0
    """Lines with `noqa`, `nosec` or `type: ignore`."""
    missing: tuple[str, ...] = ()
    """Analysers that failed on this file, with the reason."""


class SecurityFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What bandit says of one file."""

    findings: tuple[Finding, ...] = ()
    failed: str = ""
