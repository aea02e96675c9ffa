"""What a worker can be asked. Each answer depends on the files alone, so it is kept in the cache by their digest.

The operations hand on large things through the cache and not through the host: the host gives a digest and gets what
it needs to show.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import msgspec

from pegboard_codeanalysis.analysis import (
    architecture,
    changes,
    documentation,
    facts,
    git,
    layout,
    lint,
    review,
    security,
    snapshot,
)
from pegboard_codeanalysis.analysis.cache import Cache, CacheError, key_of
from pegboard_codeanalysis.analysis.model import (
    Degradation,
    FileEntry,
    FileFacts,
    History,
    SecurityFacts,
    Snapshot,
)
from pegboard_codeanalysis.analysis.results import (
    FILE_LIMIT_S,
    Architecture,
    Changes,
    Documentation,
    Problem,
    Progress,
    Survey,
)

T = TypeVar("T")
VERSION: Final = f"3:{sys.version_info[0]}.{sys.version_info[1]}"
_VERSIONS: Final = {"facts": facts.VERSION, "security": security.VERSION}


class Operations:
    """The operations of one worker, over one cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._bandit = security.Bandit()
        self._last: Snapshot | None = None

    def names(self) -> Mapping[str, Callable[..., Any]]:
        """The operations by name."""
        return {
            "survey": self.survey,
            "history": self.history,
            "files": self.files,
            "lint": self.lint,
            "architecture": self.architecture,
            "review": self.review,
            "documentation": self.documentation,
            "changes": self.changes,
            "trim": self.trim,
        }

    # --- reading

    def survey(self, root: str, exclude: Sequence[str] = ()) -> Survey:
        """Take a snapshot, and keep it for the others."""
        taken = snapshot.take(root, exclude=exclude)
        key = self._snapshot_key(taken.root, taken.digest)
        self._keep(key, taken)
        modules = layout.Modules(taken.python())
        return Survey(
            snapshot=taken,
            languages=snapshot.languages(taken.files),
            packages=layout.packages(modules),
            metadata=layout.metadata(taken),
        )

    def history(self, root: str, digest: str) -> History:
        """What git knows, kept by the commit that is checked out."""
        taken = self._snapshot(root, digest)
        if taken.git_given_up:
            return History(reason=taken.git_given_up)
        try:
            commit = git.head(root)
        except git.GitError:
            commit = ""
        if not commit:
            return git.history(root, [entry.path for entry in taken.files])
        key = key_of("history", VERSION, root, digest, commit)
        return self._kept(key, History, lambda: git.history(root, [entry.path for entry in taken.files]))

    def trim(self) -> None:
        """Forget what nobody has used for long."""
        self._cache.trim()

    # --- file by file

    def files(self, root: str, digest: str, kind: str, start: int, stop: int, only: str = "") -> Progress:
        """Look into some of the Python files, unless the cache knows them already."""
        entries = self._snapshot(root, digest).python()[start:stop]
        if only:
            entries = tuple(entry for entry in entries if entry.path == only)
        keys = {self._file_key(kind, entry): entry for entry in entries}
        missing = self._cache.missing(list(keys))
        rows, problems = [], []
        for key, entry in keys.items():
            if key in missing:
                value, problem, keep = self._file(kind, root, entry)
                if problem is not None:
                    problems.append(problem)
                if keep:
                    rows.append((key, msgspec.msgpack.encode(value)))
        if rows:
            self._cache.put_many(rows)
        return Progress(len(missing), len(keys) - len(missing), tuple(problems))

    def _file(self, kind: str, root: str, entry: FileEntry) -> tuple[Any, Problem | None, bool]:
        """What is found, what went wrong, and whether it is to be kept."""
        full = f"{root}/{entry.path}"
        try:
            with _limited(FILE_LIMIT_S):
                if kind == "security":
                    return self._bandit.look(full, entry.path), None, True
                shipped = entry.role == "code"
                return facts.facts_of(entry.path, snapshot.read(full), shipped=shipped), None, True
        except TimeoutError:
            reason = f"{kind}: took longer than {FILE_LIMIT_S:g} s"
        except OSError as exc:
            return None, Problem(entry.path, f"{kind}: unreadable: {exc.strerror}"), False
        except MemoryError:
            reason = f"{kind}: needs too much memory"
        except RecursionError:
            reason = f"{kind}: nested too deeply"
        except Exception as exc:
            reason = f"{kind}: {type(exc).__name__}: {exc}"[:300]
        failed = SecurityFacts(failed=reason) if kind == "security" else FileFacts(error=reason, error_line=1)
        return failed, Problem(entry.path, reason), True

    def lint(self, root: str, digest: str) -> lint.Linted:
        """What ruff says of all files."""
        taken = self._snapshot(root, digest)
        key = key_of("lint", f"{VERSION}:{lint.VERSION}", root, digest)
        return self._kept(key, lint.Linted, lambda: lint.linted(root, taken.python()), keep=_ran)

    # --- putting together

    def architecture(self, root: str, digest: str, head: str) -> Architecture:
        """The shape of the project."""
        key = self._stage_key("architecture", architecture.VERSION, root, digest, head)

        def make() -> Architecture:
            taken = self._snapshot(root, digest)
            return architecture.architecture_of(taken, self._facts(taken), self.history(root, digest))

        return self._kept(key, Architecture, make)

    def review(self, root: str, digest: str, head: str) -> review.Review:
        """Every finding, in order."""
        key = self._stage_key("review", review.VERSION, root, digest, head)

        def make() -> review.Review:
            taken = self._snapshot(root, digest)
            try:
                linted = self.lint(root, digest)
            except lint.LintError as exc:
                linted = lint.Linted((), (Degradation(what="ruff", why=str(exc)),))
            found = self._of_files("security", taken, SecurityFacts)
            history = self.history(root, digest)
            return review.review_of(taken, self._facts(taken), found, linted.findings, history, linted.degraded)

        return self._kept(key, review.Review, make, keep=_ran)

    def documentation(self, root: str, digest: str) -> Documentation:
        """The state of the documentation."""
        key = self._stage_key("documentation", documentation.VERSION, root, digest, "")

        def make() -> Documentation:
            taken = self._snapshot(root, digest)
            return documentation.documentation_of(taken, self._facts(taken), layout.metadata(taken))

        return self._kept(key, Documentation, make)

    def changes(self, root: str, range: str) -> Changes:
        """What a range of commits changes, and what is wrong with it."""
        return changes.changes_of(root, range, self._bandit)

    # --- the cache

    def _facts(self, taken: Snapshot) -> dict[str, FileFacts]:
        return self._of_files("facts", taken, FileFacts)

    def _of_files(self, kind: str, taken: Snapshot, type_: type[T]) -> dict[str, T]:
        keys = {self._file_key(kind, entry): entry.path for entry in taken.python()}
        decoder = msgspec.msgpack.Decoder(type_)
        found = self._cache.get_many(list(keys))
        return {path: decoder.decode(found[key]) for key, path in keys.items() if key in found}

    def _file_key(self, kind: str, entry: FileEntry) -> str:
        return key_of(kind, f"{VERSION}:{_VERSIONS[kind]}", entry.digest, entry.path, entry.role)

    def _stage_key(self, stage: str, version: str, root: str, digest: str, head: str) -> str:
        versions = f"{VERSION}:{version}:{facts.VERSION}:{security.VERSION}:{lint.VERSION}"
        return key_of(f"stage-{stage}", versions, root, digest, head)

    def _snapshot_key(self, root: str, digest: str) -> str:
        return key_of("snapshot", VERSION, root, digest)

    def _snapshot(self, root: str, digest: str) -> Snapshot:
        last = self._last
        if last is None or last.digest != digest or last.root != root:
            raw = self._cache.get(self._snapshot_key(root, digest))
            if raw is None:
                raise CacheError("the snapshot is not in the cache any more")
            last = self._last = msgspec.msgpack.decode(raw, type=Snapshot)
        return last

    def _kept(self, key: str, type_: Any, make: Callable[[], T], *, keep: Callable[[T], bool] = lambda _: True) -> T:
        raw = self._cache.get(key)
        if raw is not None:
            try:
                value: T = msgspec.msgpack.decode(raw, type=type_)
            except msgspec.DecodeError:
                pass  # of an earlier shape: made anew
            else:
                return value
        made = make()
        if keep(made):
            self._keep(key, made)
        return made

    def _keep(self, key: str, value: Any) -> None:
        self._cache.put(key, msgspec.msgpack.encode(value))


def _ran(value: lint.Linted | review.Review) -> bool:
    """Whether ruff has seen all that it can: only then is the answer one of the files alone."""
    return all(item.what != "ruff" for item in value.degraded)


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` in here after some time, where signals can do that; the host has a limit of its own."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def strike(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
