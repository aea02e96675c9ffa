"""Changing installed distributions so that it happens as a whole or not at all, even if this process is killed.

Before the first change a journal says what will be replaced, where its copy is, and what will be new. Whoever comes
next and finds a journal that nobody is working on puts everything back by it. Installers have a rollback of their own,
which dies with them.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pegboard.errors import PluginInstallError
from pegboard.plugins.discovery.unfinished import FIX, JOURNAL, STASH
from pegboard.plugins.packages import placing, present

if TYPE_CHECKING:
    from pegboard.plugins.packages.wheels import WheelFile

if sys.platform != "win32":
    import fcntl

_COPIES = ".pegboard-transaction"
_LOCK_LIMIT_S = 60.0
_LOCK_PAUSE_S = 0.05


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """What is being changed, and how it is put back; for an uninstall, how it is brought to its end."""

    what: str
    """For people: `the install of pegboard-git 1.0`."""
    names: tuple[str, ...]
    copies: tuple[tuple[str, str], ...]
    """Each file that is replaced, and its copy."""
    new: tuple[str, ...]
    """Files that are to be removed; those of them that are replaced come back."""
    stashes: tuple[str, ...]
    """What began with `~` before."""
    info: str | None = None
    """Of an uninstall: the folder of the metadata."""


def site() -> Path:
    """The folder whose distributions are changed."""
    return placing.site_folder()


# --- one at a time --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(limit_s: float = _LOCK_LIMIT_S) -> Iterator[int | None]:
    """Be the only one who changes this environment.

    The lock ends with the process, however that ends, and with the installer that was given the descriptor.

    Raises:
        PluginInstallError: another process still changes it after so long, or the folder cannot be written.
    """
    descriptor = _lock(limit_s)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(limit_s: float) -> int | None:
    end = time.monotonic() + limit_s
    while True:
        try:
            return _try_lock()
        except BlockingIOError as error:
            if time.monotonic() > end:
                text = f"another process has been changing the plugins of {sys.prefix} for {limit_s:g} s"
                raise PluginInstallError(text, hint="peg plugins doctor") from error
        except OSError as error:
            raise PluginInstallError(f"`{site()}` cannot be written: {error.strerror}") from error
        time.sleep(_LOCK_PAUSE_S)


if sys.platform == "win32":

    def _try_lock() -> int | None:
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_TEMPORARY  # gone with the process that holds it
            return os.open(site() / f"{_COPIES}.lock", flags)
        except FileExistsError as error:
            raise BlockingIOError(str(error)) from error

else:

    def _try_lock() -> int | None:
        """The folder itself is locked: a file for it would have to be left behind."""
        site().mkdir(parents=True, exist_ok=True)
        descriptor = os.open(site(), os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError:  # a file system without locks; the journal still works there
            os.close(descriptor)
            return None
        return descriptor


# --- the journal ----------------------------------------------------------------------------------------------------


def left_open() -> Journal | None:
    """The change that was begun and that nobody is working on any more."""
    if not (site() / JOURNAL).is_file():
        return None
    try:
        descriptor = _try_lock()
    except OSError:  # somebody is
        return None
    try:
        return _read()
    finally:
        if descriptor is not None:
            os.close(descriptor)


def mend() -> str | None:
    """Put back, or bring to its end, what was left open and nobody is working on; what that was, in words."""
    if left_open() is None:
        return None
    with locked():
        return recover()


def recover() -> str | None:
    """Put back, or bring to its end, what was left open; what that was, in words. Only while `locked`.

    Raises:
        PluginInstallError: the journal cannot be read, or a file cannot be put back.
    """
    journal = _read()
    if journal is not None:
        undo(journal)
        return journal.what
    shutil.rmtree(site() / _COPIES, ignore_errors=True)
    return None


def begin_install(wheels: Sequence[WheelFile]) -> Journal:
    """Copy what wheels will replace, and write down what they bring. Only while `locked`."""
    names = tuple(wheel.name for wheel in wheels)
    new: list[str] = []
    for wheel in wheels:
        new += [target.path for target in placing.targets(wheel.files, wheel.name)]
        new += placing.commands(wheel.scripts)
    what = ", ".join(f"`{wheel.name}` {wheel.version}" for wheel in wheels)
    return _begin(f"the install of {what}", names, new, replaced=_files_of(names))


def begin_uninstall(name: str, info: Path | None) -> Journal | None:
    """Write down what is to be removed; nothing where it lies elsewhere, such as on `PYTHONPATH`. Only while `locked`.

    Args:
        name: the distribution.
        info: the folder of its metadata, where it has one.
    """
    if info is None or Path(os.path.realpath(info.parent)) not in _sites():
        return None
    files = [str(file) for file in _listed(info)]
    return _begin(f"the uninstall of `{name}`", (name,), files, info=info)


def end(journal: Journal) -> None:
    """The change is complete."""
    _remove_stashes(journal)
    (site() / JOURNAL).unlink(missing_ok=True)
    shutil.rmtree(site() / _COPIES, ignore_errors=True)
    importlib.invalidate_caches()


def undo(journal: Journal) -> None:
    """Remove what is new and put back what was replaced. May be done again where it was interrupted.

    Raises:
        PluginInstallError: a file cannot be removed or written; the journal stays.
    """
    try:
        _remove(journal)
        for original, copy in journal.copies:
            _put_back(Path(original), Path(copy))
    except OSError as error:
        text = f"{journal.what} was interrupted and cannot be undone: `{error.filename}`: {error.strerror}"
        raise PluginInstallError(text, hint=FIX) from error
    end(journal)


def _begin(
    what: str, names: Sequence[str], new: Sequence[str], *, replaced: Sequence[Path] = (), info: Path | None = None
) -> Journal:
    folder = site() / _COPIES
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        copies = []
        for number, file in enumerate(replaced):
            copies.append((str(file), str(folder / str(number))))
            shutil.copy2(*copies[-1])
        journal = Journal(
            what=what,
            names=tuple(names),
            copies=tuple(copies),
            new=tuple(new),
            stashes=tuple(map(str, _stashes([*replaced, *map(Path, new)]))),
            info=str(info) if info is not None else None,
        )
        _write(journal)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise PluginInstallError(f"`{site()}` cannot be written: {error.strerror}") from error
    return journal


def _write(journal: Journal) -> None:
    """The file is there as a whole, and only after the copies are."""
    temporary = site() / _COPIES / "journal"
    with temporary.open("wb") as file:
        file.write(msgspec.json.encode(journal))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(site() / JOURNAL)


def _read() -> Journal | None:
    path = site() / JOURNAL
    try:
        return msgspec.json.decode(path.read_bytes(), type=Journal)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise PluginInstallError(f"`{path}` cannot be read: {error}", hint=f"rm '{path}'") from error


# --- files ----------------------------------------------------------------------------------------------------------


def _sites() -> set[Path]:
    """Where metadata may be: on some systems, that of compiled packages lies elsewhere."""
    return {site(), Path(placing.roots()["platlib"])}


def _infos(names: Sequence[str]) -> list[Path]:
    return [info for folder in _sites() for info in present.infos(folder, names)]


def _files_of(names: Sequence[str]) -> list[Path]:
    """Every file of these distributions, but what Python caches."""
    for folder in _sites():
        present.check_readable(names, folder)
    found: dict[Path, None] = {}
    for item in present.distributions():
        if item.name in names:
            found.update(dict.fromkeys(_listed(present.info_path(item.dist))))
    for info in _infos(names):
        found.update(dict.fromkeys([*_listed(info), *(path for path in info.rglob("*") if path.is_file())]))
    return list(found)


def _listed(info: Path) -> list[Path]:
    """The files that the RECORD of a distribution lists and that are there; none outside of the environment."""
    inside = [Path(os.path.realpath(info.parent)), *map(Path, placing.roots().values())]
    found = []
    for file in Distribution.at(info).files or ():
        path = Path(os.path.normpath(str(file.locate())))
        path = Path(os.path.realpath(path.parent), path.name)
        if path.suffix != ".pyc" and path.is_file() and any(folder in path.parents for folder in inside):
            found.append(path)
    return found


def _remove(journal: Journal) -> None:
    infos = _infos(journal.names) if journal.info is None else [Path(journal.info)]
    files = {*map(Path, journal.new), *(file for info in infos for file in _listed(info))}
    for file in files:
        file.unlink(missing_ok=True)
        if file.suffix == ".py":
            for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
                compiled.unlink(missing_ok=True)
    for info in infos:
        if info.is_dir():
            shutil.rmtree(info)
    _remove_empty({file.parent for file in files})


def _remove_empty(folders: set[Path]) -> None:
    """Folders below site-packages in which nothing is left, and those above them in which nothing is left then."""
    root = site()
    for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
        for each in (folder / "__pycache__", folder, *folder.parents):
            if root not in each.parents:
                break
            with contextlib.suppress(OSError):  # it is not empty, or not there
                each.rmdir()


def _put_back(original: Path, copy: Path) -> None:
    original.parent.mkdir(parents=True, exist_ok=True)
    original.unlink(missing_ok=True)  # it may be a link into a cache of the installer
    shutil.copy2(copy, original)


def _stashes(files: Sequence[Path]) -> list[Path]:
    """What pip has put aside beside these files and in the folders above them."""
    root = site()
    folders = {root}
    for file in files:
        folders.update(parent for parent in file.parents if root in parent.parents)
    return [path for folder in folders if folder.is_dir() for path in folder.glob(f"{STASH}*")]


def _remove_stashes(journal: Journal) -> None:
    files = [*(Path(original) for original, _ in journal.copies), *map(Path, journal.new)]
    for path in _stashes(files):
        if str(path) in journal.stashes:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
