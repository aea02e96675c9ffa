"""What is remembered about plugins between starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pegboard.file_lock import file_lock, lock_owner
from pegboard.plugins.discovery import state
from pegboard.plugins.discovery.index import PluginRecord
from pegboard.plugins.discovery.state import StateFile


@pytest.fixture
def file(tmp_path: Path) -> StateFile:
    return StateFile(str(tmp_path / "deep" / "plugins.json"))


def record(dist: str = "pegboard-git", **options: Any) -> PluginRecord:
    manifest = {"permissions": {"exec": ["git"]}}
    return PluginRecord(**{"id": "git", "dist": dist, "version": "1.0", "manifest": manifest, **options})


def test_switching_off_and_on(file: StateFile) -> None:
    """The scope is kept."""
    file.disable("git")
    assert file.read().disabled("git") == "user"

    file.enable("git")
    assert file.read().disabled("git") is None


def test_enabling_ends_quarantine(file: StateFile) -> None:
    """A person said that it may be tried again."""
    file.put_in_quarantine(record(), "it hangs")
    assert file.read().quarantine(record()) is not None

    file.enable("git")

    assert file.read().quarantine(record()) is None


def test_a_newcomer_is_granted_what_it_declares(file: StateFile) -> None:
    """A person has just installed it into this environment."""
    file.accept({"git": (record(), [])}, {"pegboard-git"})

    grant = file.read().grant("git")
    assert grant is not None
    assert (grant["dist"], grant["permissions"]) == ("pegboard-git", {"exec": ["git"]})


def test_a_block_that_grew_is_not_granted(file: StateFile) -> None:
    """An upgrade keeps what was granted; more has to be asked for."""
    file.accept({"git": (record(), [])}, {"pegboard-git"})
    grown = record(version="2.0", manifest={"permissions": {"exec": ["git", "sh"]}})

    file.accept({"git": (grown, [])}, {"pegboard-git"})

    grant = file.read().grant("git")
    assert grant is not None
    assert grant["permissions"] == {"exec": ["git"]}


def test_a_grant_dies_with_its_distribution(file: StateFile) -> None:
    """Uninstalled by whatever tool, and installed again: nothing is granted until a person says so."""
    file.accept({"git": (record(), [])}, {"pegboard-git"})
    file.accept({}, set())
    assert file.read().grant("git") is None

    file.accept({"git": (record(), [])}, {"pegboard-git"})
    assert file.read().grant("git") is None


def test_another_distribution_under_the_same_id_gets_no_grant(file: StateFile) -> None:
    """A grant is never served to the next one under that name."""
    file.accept({"git": (record(), [])}, {"pegboard-git"})

    file.accept({"git": (record("git"), [])}, {"git"})

    assert file.read().grant("git") is None
    assert file.read().known_dist("git") == "git"


def test_an_uninstall_leaves_no_grant_and_no_quarantine(file: StateFile) -> None:
    """Only that the id is known remains, so that a new owner is no newcomer."""
    file.accept({"git": (record(), [])}, {"pegboard-git"})
    file.put_in_quarantine(record(), "it hangs")
    file.disable("git")

    file.forget("git")

    found = file.read()
    assert (found.grant("git"), found.quarantine(record()), found.disabled("git")) == (None, None, None)
    assert found.known_dist("git") == "pegboard-git"


def test_claims_are_remembered(file: StateFile) -> None:
    """Who has a name keeps it."""
    file.accept({"git": (record(), ["tool:git.status"])}, {"pegboard-git"})

    assert file.read().holds("git", "tool:git.status")
    assert not file.read().holds("git", "tool:other")


# --- deaths during the start -----------------------------------------------------------------------------------------


def dies_while_activating(file: StateFile, plugin: str) -> None:
    code = (
        "import os; from pegboard.plugins.discovery.state import StateFile;"
        f"StateFile({file.path!r}).starting({plugin!r}); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)


def test_a_start_that_died_is_counted(file: StateFile) -> None:
    """The next start finds the mark that nobody took away."""
    for _ in range(state.SAFE_MODE_AFTER):
        dies_while_activating(file, "bad")

    found = file.read()
    assert (found.failed_starts, found.culprit) == (state.SAFE_MODE_AFTER, "bad")


def test_a_start_that_lived_ends_the_count(file: StateFile) -> None:
    """Only deaths in a row count."""
    dies_while_activating(file, "bad")

    file.started()

    assert file.read().failed_starts == 0


def test_a_start_that_is_still_going_on_is_no_death(file: StateFile) -> None:
    """Another process that starts at the same time."""
    file.starting("slow")

    assert file.read().failed_starts == 0


# --- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"disabled": 5, "grants": [1]}', b"\xff", b"[" * 100_000], ids=str
)
def test_reading_tolerates_anything(file: StateFile, content: bytes) -> None:
    """The commands that repair things stand on it."""
    assert file.path is not None
    Path(file.path).parent.mkdir()
    Path(file.path).write_bytes(content)

    found = file.read()

    assert (found.disabled("git"), found.grant("git"), found.failed_starts) == (None, None, 0)


def test_a_damaged_file_is_kept_beside_the_new_one(file: StateFile) -> None:
    """What could not be read may still be mended by hand."""
    assert file.path is not None
    Path(file.path).parent.mkdir()
    Path(file.path).write_text("{ half")

    assert "is not JSON" in str(file.read().fault)
    file.disable("git")

    assert file.read().disabled("git") == "user"
    assert Path(f"{file.path}.broken").read_text() == "{ half"


def test_the_file_is_private(file: StateFile) -> None:
    """It decides what runs."""
    file.disable("git")

    assert file.path is not None
    assert Path(file.path).stat().st_mode & 0o777 == 0o600
    assert Path(file.path).parent.stat().st_mode & 0o777 == 0o700


def test_nothing_is_written_when_nothing_changes(file: StateFile) -> None:
    """A usual start leaves the disk alone."""
    file.accept({"git": (record(), [])}, {"pegboard-git"})
    assert file.path is not None
    before = Path(file.path).stat().st_mtime_ns
    Path(file.path).parent.chmod(0o500)

    file.accept({"git": (record(), [])}, {"pegboard-git"})

    assert Path(file.path).stat().st_mtime_ns == before
    Path(file.path).parent.chmod(0o700)


def test_writers_at_the_same_time_lose_nothing(file: StateFile) -> None:
    """Each change is made to what is there, under a lock."""
    code = "import sys; from pegboard.plugins.discovery import state; state.StateFile(sys.argv[1]).disable(sys.argv[2])"
    assert file.path is not None
    running = [subprocess.Popen([sys.executable, "-c", code, file.path, f"p{number}"]) for number in range(8)]
    assert [process.wait(60) for process in running] == [0] * 8

    assert sorted(json.loads(Path(file.path).read_text())["disabled"]) == [f"p{number}" for number in range(8)]


def test_a_lock_that_was_left_behind_is_taken_over(file: StateFile) -> None:
    """A writer that was killed does not keep the others waiting, not even for a moment."""
    assert file.path is not None
    lock = Path(f"{file.path}.lock")
    lock.parent.mkdir()
    killed = (
        "import os, signal, sys; from pegboard.file_lock import file_lock\n"
        "with file_lock(sys.argv[1]): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", killed, str(lock)], check=False)
    assert lock.exists()

    with file_lock(str(lock), timeout_s=0.0):
        assert lock.read_text() == str(os.getpid())
    file.disable("git")

    assert file.read().disabled("git") == "user"
    assert not lock.exists()


def test_a_lock_that_is_held_names_its_owner(tmp_path: Path) -> None:
    """Whoever waits in vain is told for which process."""
    lock = str(tmp_path / "lock")
    with file_lock(lock):
        assert lock_owner(lock) == str(os.getpid())
        with pytest.raises(TimeoutError, match=f"process {os.getpid()}"), file_lock(lock, timeout_s=0.0):
            pass

    assert lock_owner(lock) is None


def test_without_a_folder_nothing_is_remembered_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """No HOME is no reason not to start."""
    monkeypatch.setattr(state, "default_path", lambda: None)

    nowhere = StateFile()
    nowhere.disable("git")

    assert nowhere.read().disabled("git") is None


def test_a_project_can_only_switch_off(tmp_path: Path) -> None:
    """Whatever else its file says is not read."""
    state.project_state(str(tmp_path)).disable("git", "project")
    path = tmp_path / ".pegboard" / "plugins.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "grants": {"git": {}}}))

    assert state.project_disabled(str(tmp_path)) == ("git",)
