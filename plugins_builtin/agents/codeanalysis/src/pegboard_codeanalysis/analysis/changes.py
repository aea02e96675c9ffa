"""What a range of commits changes, and what is wrong with the lines that it changes.

Both sides come out of git's object store into a temporary folder; the work tree is not looked at, and nothing of it
is run.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, Literal

import msgspec

from pegboard_codeanalysis.analysis import facts, git, lint, loops, secret
from pegboard_codeanalysis.analysis.languages import language_of, role_of
from pegboard_codeanalysis.analysis.model import (
    ApiFact,
    Degradation,
    FileEntry,
    FileFacts,
    Finding,
    Place,
    Skipped,
)
from pegboard_codeanalysis.analysis.results import DEFAULT_RANGE, ChangedFile, Changes, Topic
from pegboard_codeanalysis.analysis.review import once
from pegboard_codeanalysis.analysis.rules import LINT, SPEED
from pegboard_codeanalysis.analysis.security import Bandit
from pegboard_codeanalysis.analysis.snapshot import MAX_FILE_BYTES, is_text

MOST_FILES: Final = 2000
_HUNK: Final = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@")
_RISE: Final = 10
"""How much harder to follow a function must have become to be worth a word."""


class RangeError(Exception):
    """It is no range of commits of this repository."""


class _Side(msgspec.Struct, frozen=True):
    """One of the two sides: where its files are, and what they say of themselves."""

    folder: str
    entries: Mapping[str, FileEntry]
    facts: Mapping[str, FileFacts]
    secrets: tuple[Finding, ...]
    """In what is not Python."""


def changes_of(root: str, range: str, bandit: Bandit) -> Changes:
    """Judge what a range changes.

    Raises:
        RangeError: git does not know it.
        GitError: git gave no answer.
    """
    base, head = _ends(root, range or DEFAULT_RANGE)
    listed = _listed(root, base, head)
    skipped = [Skipped(path, f"more than {MOST_FILES} files are changed") for _, path in listed[MOST_FILES:]]
    lines = _changed_lines(root, base, head)
    with tempfile.TemporaryDirectory(prefix="pegboard-") as folder:
        paths = [path for _, path in listed[:MOST_FILES]]
        before = _side(root, base, paths, f"{folder}/before", [])
        after = _side(root, head, paths, f"{folder}/after", skipped)
        degraded: list[Degradation] = []
        found = _findings(after, before, lines, bandit, degraded)
    files = [_changed(status, path, after, before, lines) for status, path in listed[:MOST_FILES]]
    return Changes(
        base=base,
        head=head,
        subjects=tuple(_subjects(root, base, head)),
        files=tuple(files),
        findings={**found, "review": (*found["review"], *_whole(files))},
        skipped=tuple(skipped),
        degraded=tuple(degraded),
    )


# --- asking git --------------------------------------------------------------------------------------------------


def _ends(root: str, range: str) -> tuple[str, str]:
    """The two commits. `A..B` is what B has and A has not, `A...B` since they parted, `A` alone is `A..HEAD`."""
    if not git.is_repository(root):
        raise RangeError("it is not a git repository")
    first, _, last = range.partition("..")
    since_parted = last.startswith(".")
    base, head = _commit(root, first or "HEAD"), _commit(root, last.lstrip(".") or "HEAD")
    if since_parted:
        base = git.run(root, "merge-base", base, head).decode().strip()
    return base, head


def _commit(root: str, name: str) -> str:
    if name.startswith("-") or not is_text(name) or "\0" in name:
        raise RangeError(f"`{name}` is no commit")
    try:
        return (
            git.run(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").decode().strip()
        )
    except git.GitError as exc:
        raise RangeError(f"there is no commit `{name}` here") from exc


def _listed(root: str, base: str, head: str) -> list[tuple[str, str]]:
    raw = git.run(root, "diff", "--name-status", "-z", "--no-renames", "--relative", "--ignore-submodules",
                  "--no-ext-diff", "--no-textconv", base, head, "--", ".", limit_s=git.HISTORY_LIMIT_S)  # fmt: skip
    parts = [part.decode("utf-8", "surrogateescape") for part in raw.split(b"\0") if part]
    return [(status[:1], path) for status, path in zip(parts[::2], parts[1::2], strict=False)]


def _subjects(root: str, base: str, head: str) -> list[str]:
    raw = git.run(root, "log", "--max-count=50", "--no-show-signature", "--format=%h %s", f"{base}..{head}")
    return [line[:200] for line in raw.decode("utf-8", "replace").splitlines()]


def _changed_lines(root: str, base: str, head: str) -> dict[str, set[int]]:
    """The lines of each file, as it is afterwards, that the range wrote."""
    raw = git.run(root, "diff", "--unified=0", "--no-renames", "--relative", "--no-color", "--no-ext-diff",
                  "--no-textconv", "--ignore-submodules", "--src-prefix=a/", "--dst-prefix=b/", base, head, "--", ".",
                  limit_s=git.HISTORY_LIMIT_S)  # fmt: skip
    found: dict[str, set[int]] = {}
    current: set[int] = set()
    body = 0
    for line in raw.decode("utf-8", "surrogateescape").split("\n"):
        if body and line[:1] == "+":
            body -= 1
        elif line.startswith("+++ b/"):
            current = found.setdefault(line[6:].rstrip("\t"), set())
        elif match := _HUNK.match(line):
            start, count = int(match[1]), int(match[2] or 1)
            current.update(range_of(start, count))
            body = count
    return found


def range_of(start: int, count: int) -> Iterator[int]:
    """Line numbers from `start` on."""
    yield from range(start, start + count)


def _side(root: str, commit: str, paths: Sequence[str], folder: str, skipped: list[Skipped]) -> _Side:
    """The files of one side, written below a folder of our own."""
    entries, known = {}, {}
    secrets: list[Finding] = []
    for path, data in _blobs(root, commit, paths, skipped):
        entry = FileEntry(path, "", len(data), data.count(b"\n"), language_of(path, data), role_of(path, data))
        entries[path] = entry
        if entry.is_python and entry.is_judged:
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            known[path] = facts.facts_of(path, data, shipped=entry.role == "code")
        elif entry.is_judged:
            secrets += secret.found(path, data.decode("utf-8", "replace"), entry.language)
    return _Side(folder, entries, known, tuple(secrets))


def _blobs(root: str, commit: str, paths: Sequence[str], skipped: list[Skipped]) -> Iterator[tuple[str, bytes]]:
    sane = [path for path in paths if is_text(path) and "\n" not in path and ".." not in PurePosixPath(path).parts]
    skipped += [Skipped(path.encode("utf-8", "backslashreplace").decode(), "the name is not UTF-8, or not a plain one")
                for path in paths if path not in set(sane)]  # fmt: skip
    for path, kind, size in _sizes(root, commit, sane):
        if kind != "blob":
            continue  # it is not on this side
        if size > MAX_FILE_BYTES:
            skipped.append(Skipped(path, f"larger than {MAX_FILE_BYTES // 1024} KiB"))
            continue
        data = git.run(root, "cat-file", "blob", f"{commit}:./{path}")
        if b"\0" in data[:8192]:
            skipped.append(Skipped(path, "binary"))
        else:
            yield path, data


def _sizes(root: str, commit: str, paths: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    asked = "".join(f"{commit}:./{path}\n" for path in paths).encode()
    raw = git.run(root, "cat-file", "--batch-check=%(objecttype) %(objectsize)", stdin=asked)
    for path, line in zip(paths, raw.decode("utf-8", "replace").splitlines(), strict=False):
        kind, _, size = line.rpartition(" ")
        yield (path, kind, int(size)) if kind in ("blob", "tree", "commit") else (path, "", 0)


# --- judging -----------------------------------------------------------------------------------------------------


def _findings(
    after: _Side, before: _Side, lines: Mapping[str, set[int]], bandit: Bandit, degraded: list[Degradation]
) -> dict[Topic, tuple[Finding, ...]]:
    judged = [after.entries[path] for path in after.facts]
    try:
        said = lint.linted(after.folder, judged, {**SPEED, **LINT})
    except lint.LintError as exc:
        said = lint.Linted((), (Degradation(what="ruff", why=str(exc)),))
    linted = said.findings
    degraded += said.degraded
    weak = [item for path in after.facts for item in bandit.look(f"{after.folder}/{path}", path).findings]
    weak += after.secrets
    review = [item for item in linted if item.rule in LINT or item.rule == "syntax"]
    review += _harder(after, before)
    found: dict[Topic, Sequence[Finding]] = {
        "review": review,
        "security": list(once([*review, *weak]))[len(list(once(review))) :],  # what both would say, the first says
        "performance": [
            *(item for item in linted if item.rule in SPEED and item.rule not in LINT),
            *_repeated(after),
        ],
    }
    kept = {topic: tuple(item for item in some if _is_new(item, lines)) for topic, some in found.items()}
    return {**kept, "review": (*kept["review"], *_gone(after, before))}


def _repeated(after: _Side) -> Iterator[Finding]:
    for path in after.facts:
        if after.entries[path].role == "code":
            yield from loops.findings(Path(after.folder, path).read_bytes(), path)


def _is_new(finding: Finding, lines: Mapping[str, set[int]]) -> bool:
    """Only what the range itself wrote; a file that cannot be parsed is new in every case, since it came with it."""
    path = finding.place.path
    return finding.rule in ("syntax", "complexity-rise") or finding.place.line in lines.get(path, ())


def _harder(after: _Side, before: _Side) -> Iterator[Finding]:
    for path, known in after.facts.items():
        old = {item.name: item.complexity for item in before.facts.get(path, FileFacts()).functions}
        for item in known.functions:
            rise = item.complexity - old.get(item.name, 0)
            if rise >= _RISE and item.complexity >= 15 and after.entries[path].role == "code":
                was = f"from {old[item.name]} to" if item.name in old else "with, being new,"
                yield Finding(
                    rule="complexity-rise", tool="complexipy", place=Place(path, item.line),
                    severity="medium" if item.complexity >= 40 else "low",
                    message=f"`{item.name}` became harder to follow: {was} a cognitive complexity of {item.complexity}",
                    confidence=0.7,
                )  # fmt: skip


def _gone(after: _Side, before: _Side) -> Iterator[Finding]:
    """Public objects that were there and are not any more; the place is where they were, in the first line left."""
    moved = {item.name for each in after.facts.values() for item in each.api}
    for path, known in before.facts.items():
        now = after.facts.get(path)
        if before.entries[path].role != "code" or (now is not None and now.error):
            continue
        left = {item.name for item in now.api} if now is not None else set()
        place = Place(path, 1 if now is not None else 0)
        yield from (_missing(item, place, moved) for item in known.api if item.name not in left)


def _missing(item: ApiFact, place: Place, moved: set[str]) -> Finding:
    where = "moved to another module" if item.name in moved else "removed"
    return Finding(
        rule="api-removed", tool="griffe", severity="low" if item.name in moved else "medium", place=place,
        message=f"the public {item.kind} `{item.name}` was {where}; it stood in line {item.line}", confidence=0.8,
    )  # fmt: skip


def _whole(files: Sequence[ChangedFile]) -> Iterator[Finding]:
    """What is to be said of the range as a whole."""
    code = [each for each in files if each.role == "code" and each.language == "Python" and each.status != "removed"]
    if not code or any(each.role == "test" for each in files) or sum(each.added_lines for each in code) < 10:
        return
    first = max(code, key=lambda each: each.added_lines)
    yield Finding(
        rule="no-test-changed", tool="git", severity="note", place=Place(first.path, 1), confidence=0.5,
        message=f"{sum(each.added_lines for each in code)} lines of code are new in {len(code)} files, "
        "and no test is changed with them",
    )  # fmt: skip


def _changed(status: str, path: str, after: _Side, before: _Side, lines: Mapping[str, set[int]]) -> ChangedFile:
    entry = after.entries.get(path) or before.entries.get(path)
    known: dict[str, Literal["added", "changed", "removed"]] = {"A": "added", "D": "removed"}
    return ChangedFile(
        path=path if is_text(path) else path.encode("utf-8", "backslashreplace").decode(),
        status=known.get(status, "changed"),
        role=entry.role if entry else "code",
        language=entry.language if entry else "Other",
        added_lines=len(lines.get(path, ())),
        lines=after.entries[path].lines if path in after.entries else 0,
    )
