"""Asks git, and treats the repository as data: nothing that its configuration names is ever executed.

Hooks, file system monitors, external diffs, text conversions, signature checks and lazy fetches are off, and the
variables `GIT_*` of the caller do not reach it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final, NamedTuple

from pegboard_codeanalysis.analysis.model import Coupling, FileHistory, History

MAX_COMMITS: Final = 5000
HISTORY_LIMIT_S: Final = 25.0
QUESTION_LIMIT_S: Final = 15.0
_HARMLESS: Final = (
    "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.untrackedCache=false",
    "-c", "log.showSignature=false", "-c", "diff.external=", "-c", "core.pager=cat", "-c", "core.quotePath=false",
    "-c", "protocol.allow=never", "-c", "core.sshCommand=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false",
    "-c", "submodule.recurse=false", "-c", "core.alternateRefsCommand=",
)  # fmt: skip
_COUPLED_FILES: Final = 20
"""A commit that touches more is a sweep, and says nothing of what belongs together."""
_COUPLED_TIMES: Final = 8
_COUPLED_SHARE: Final = 0.6


_COMMIT: Final = b"//"
"""Stands before each commit of a history: no path can be this."""


class GitError(Exception):
    """Git gave no answer; the message is the reason."""


class GitTimeoutError(GitError):
    """It took too long, and would again: it is asked nothing more of this folder."""


class Ignored(NamedTuple):
    """What git ignores; folders end with a slash."""

    paths: frozenset[str]
    problem: str = ""
    given_up: bool = False
    """Whether git took too long, and is not to be asked again."""


def run(root: str, *arguments: str, limit_s: float = QUESTION_LIMIT_S, stdin: bytes | None = None) -> bytes:
    """What git writes to stdout.

    Raises:
        GitError: there is no git, it failed, or it took too long.
    """
    program = shutil.which("git", path=_search_path())
    if program is None:
        raise GitError("git is not installed")
    command = [program, "--no-pager", "--no-optional-locks", *_HARMLESS, "-C", root, *arguments]
    source: dict[str, object] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    try:
        done = subprocess.run(command, capture_output=True, timeout=limit_s, env=_environment(), **source)  # type: ignore[call-overload]  # one of the two ways to feed it
    except subprocess.TimeoutExpired as exc:
        raise GitTimeoutError(f"`git {arguments[0]}` took longer than {limit_s:g} s") from exc
    except OSError as exc:
        raise GitError(f"git cannot be started: {exc.strerror}") from exc
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise GitError(lines[0].removeprefix("fatal: ") if lines else f"git ended with {done.returncode}")
    output: bytes = done.stdout
    return output


def _search_path() -> str:
    """`PATH` without relative entries: the analysed folder may be the working folder."""
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(entry for entry in entries if os.path.isabs(entry))  # noqa: PTH117


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1"}
    return {**kept, **quiet, "GIT_ALLOW_PROTOCOL": "none", "LC_ALL": "C", "PAGER": "cat", "PATH": _search_path()}


def is_repository(root: str) -> bool:
    """Whether the folder lies in a work tree. Raises `GitError` where git cannot tell."""
    try:
        return run(root, "rev-parse", "--is-inside-work-tree").strip() == b"true"
    except GitError as exc:
        if "not a git repository" in str(exc):
            return False
        raise


def ignored(root: str) -> Ignored:
    """What git ignores below a folder; nothing where there is no repository."""
    try:
        if not is_repository(root):
            return Ignored(frozenset())
        listed = run(root, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
    except GitError as exc:
        problem = "" if "not installed" in str(exc) else str(exc)
        return Ignored(frozenset(), problem, given_up=isinstance(exc, GitTimeoutError))
    return Ignored(frozenset(os.fsdecode(path) for path in listed.split(b"\0") if path))


def head(root: str) -> str:
    """The commit that is checked out. Raises `GitError`, also where there is no commit yet."""
    return run(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").decode().strip()


def history(root: str, known: Sequence[str]) -> History:
    """What git knows of these files; without a repository, the reason."""
    try:
        if not is_repository(root):
            return History(reason="it is not a git repository")
        try:
            commit = head(root)
        except GitTimeoutError:
            raise
        except GitError:
            return History(reason=_headless(root))
        raw = run(
            root, "log", f"--max-count={MAX_COMMITS}", "--no-merges", "--name-only", "--no-renames", "--relative",
            "--no-ext-diff", "--no-textconv", "--ignore-submodules", "--no-show-signature", "--no-color", "-z",
            f"--format={_COMMIT.decode()}%x00%at%x00%ae%x00", commit, "--", ".", limit_s=HISTORY_LIMIT_S,
        )  # fmt: skip
        shallow = run(root, "rev-parse", "--is-shallow-repository").strip() == b"true"
        commits = list(_commits(raw))
    except GitError as exc:
        return History(reason=str(exc))
    except ValueError as exc:
        return History(reason=f"what git tells of it cannot be read: {exc}")
    return _history(commits, frozenset(known), commit, complete=len(commits) < MAX_COMMITS and not shallow)


class _Commit(NamedTuple):
    at: int
    author: bytes
    files: tuple[str, ...]


def _headless(root: str) -> str:
    """Why there is no commit to begin at: `HEAD` leads nowhere yet, or to what cannot be read."""
    try:
        run(root, "rev-parse", "--verify", "--quiet", "HEAD")
    except GitTimeoutError:
        raise
    except GitError:
        return "the repository has no commit yet"
    return "the repository is damaged: its newest commit cannot be read"


def _commits(raw: bytes) -> Iterator[_Commit]:
    """The commits of a log. Everything in it ends with NUL, which neither a path nor an address can have."""
    items = raw.split(b"\0")
    starts = _starts(items)
    for start, end in zip(starts, [*starts[1:], len(items)], strict=True):
        when, author = items[start + 1 : start + 3]
        names = [name for name in items[start + 3 : end] if name]
        if names:
            names[0] = names[0].removeprefix(b"\n")  # it stands between the commit and its files
        yield _Commit(int(when or 0), author, tuple(os.fsdecode(name) for name in names))


def _starts(items: Sequence[bytes]) -> list[int]:
    starts: list[int] = []
    for number, item in enumerate(items):
        # An address may be anything, also what commits start with.
        if item == _COMMIT and (not starts or number > starts[-1] + 2):
            starts.append(number)
    return starts


def _history(commits: Sequence[_Commit], known: frozenset[str], commit: str, *, complete: bool) -> History:
    counts: Counter[str] = Counter()
    authors: dict[str, set[bytes]] = defaultdict(set)
    last: dict[str, int] = {}
    pairs: Counter[tuple[str, str]] = Counter()
    for each in commits:
        touched = sorted(known.intersection(each.files))
        counts.update(touched)
        for path in touched:
            authors[path].add(each.author)
            last[path] = max(last.get(path, 0), each.at)
        if len(each.files) <= _COUPLED_FILES:
            pairs.update(combinations(touched, 2))
    times = [each.at for each in commits]
    return History(
        available=True,
        head=commit,
        commits=len(commits),
        authors=len({each.author for each in commits}),
        first_at=min(times, default=0),
        last_at=max(times, default=0),
        complete=complete,
        files=tuple(FileHistory(path, counts[path], len(authors[path]), last[path]) for path in sorted(counts)),
        couplings=_couplings(pairs, counts),
    )


def _couplings(pairs: Counter[tuple[str, str]], counts: Mapping[str, int]) -> tuple[Coupling, ...]:
    found = []
    for (first, second), together in pairs.items():
        share = together / min(counts[first], counts[second])
        if together >= _COUPLED_TIMES and share >= _COUPLED_SHARE:
            found.append(Coupling(first, second, together, round(share, 2)))
    return tuple(sorted(found, key=lambda row: (-row.together, row.first, row.second)))
