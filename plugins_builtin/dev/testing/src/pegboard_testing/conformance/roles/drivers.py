"""One thin suite per kind of driver: what its protocol in `pegboard.interfaces` says, and no more."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pegboard.errors import FilesDeniedError
from pegboard.interfaces import (
    Bus,
    Crypto,
    Egress,
    Engine,
    Environment,
    Files,
    Folder,
    Process,
    Sandbox,
    Secrets,
    VectorStore,
)
from pegboard.types import Secret

_FOREVER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"


class EngineSuite:
    """An engine, and the name of a workflow that returns its arguments."""

    @pytest.fixture
    def engine(self) -> Engine:
        """An engine that is not open."""
        raise NotImplementedError("provide the fixture `engine`")

    @pytest.fixture
    def echo(self) -> str:
        """The name of a workflow of this engine that returns its arguments."""
        raise NotImplementedError("provide the fixture `echo`")

    @pytest.mark.asyncio
    async def test_a_workflow_runs_to_its_end(self, engine: Engine, echo: str) -> None:
        """Its result is plain JSON."""
        async with engine.open():
            assert await engine.run("r1", echo, {"x": [1, "ü"]}) == {"x": [1, "ü"]}

    @pytest.mark.asyncio
    async def test_one_id_is_one_run(self, engine: Engine, echo: str) -> None:
        """Starting an id again gives the first result, whatever the arguments."""
        async with engine.open():
            await engine.run("r1", echo, 1)

            assert await engine.run("r1", echo, 2) == 1

    def test_it_says_whether_it_is_durable(self, engine: Engine) -> None:
        """A durable run is refused elsewhere."""
        assert isinstance(engine.durable, bool)


class ProcessSuite:
    """A driver that starts children."""

    @pytest.fixture
    def process(self) -> Process:
        """The driver."""
        raise NotImplementedError("provide the fixture `process`")

    @pytest.mark.asyncio
    async def test_a_child_is_ended(self, process: Process) -> None:
        """One that runs on its own."""
        child = await process.spawn([sys.executable, "-c", "import time; time.sleep(600)"], env=dict(os.environ))

        assert await process.stop(child, grace_s=0.5) != 0

    @pytest.mark.asyncio
    async def test_a_child_that_refuses_is_killed(self, process: Process) -> None:
        """After the grace, whatever it does with signals."""
        child = await process.spawn([sys.executable, "-c", _FOREVER], env=dict(os.environ))

        async with asyncio.timeout(20):
            assert await process.stop(child, grace_s=0.1) != 0

    @pytest.mark.asyncio
    async def test_the_environment_is_what_was_given(self, process: Process, tmp_path: Path) -> None:
        """Nothing is inherited that was not named."""
        code = "import os, pathlib; pathlib.Path('names').write_text(' '.join(os.environ))"
        child = await process.spawn([sys.executable, "-c", code], env={"GIVEN": "1"}, cwd=str(tmp_path))
        await process.stop(child, grace_s=20.0)

        assert set((tmp_path / "names").read_text().split()) <= {"GIVEN", "LC_CTYPE"}


class EnvironmentSuite:
    """A driver that makes Python environments."""

    @pytest.fixture
    def environment(self) -> Environment:
        """The driver, with a folder of its own."""
        raise NotImplementedError("provide the fixture `environment`")

    @pytest.mark.asyncio
    async def test_its_interpreter_runs(self, environment: Environment) -> None:
        """An environment without requirements is a Python of its own."""
        python = await environment.ensure([])

        child = await asyncio.create_subprocess_exec(python, "-c", "print(1)", stdout=subprocess.PIPE)
        said, _ = await child.communicate()
        assert said == b"1\n"

    @pytest.mark.asyncio
    async def test_equal_requirements_share_one(self, environment: Environment) -> None:
        """Nothing is made twice, also when asked at once."""
        first, second = await asyncio.gather(environment.ensure([]), environment.ensure([]))

        assert first == second


class SandboxSuite:
    """A sandbox that works on this machine."""

    @pytest.fixture
    def sandbox(self) -> Sandbox:
        """The driver."""
        raise NotImplementedError("provide the fixture `sandbox`")

    @pytest.fixture
    def policy(self) -> Mapping[str, Any]:
        """A policy within its capabilities that lets Python run."""
        return {}

    def test_it_says_what_it_enforces(self, sandbox: Sandbox) -> None:
        """By words, so that nothing is promised that is not kept."""
        assert isinstance(sandbox.capabilities, frozenset)
        assert all(isinstance(word, str) for word in sandbox.capabilities)

    def test_a_wrapped_command_runs(self, sandbox: Sandbox, policy: Mapping[str, Any]) -> None:
        """With its arguments as they are."""
        argv = sandbox.wrap([sys.executable, "-c", "import sys; print(sys.argv[1])", "a b"], policy=policy)

        done = subprocess.run(argv, capture_output=True, text=True)

        assert (done.returncode, done.stdout) == (0, "a b\n"), done.stderr


class FilesSuite:
    """Files beneath a root, which is empty."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """The root; what is beside it must stay out of reach."""
        root = tmp_path / "root"
        root.mkdir()
        (tmp_path / "outside.txt").write_text("secret")
        return root

    @pytest.fixture
    def files(self) -> Files:
        """The driver."""
        raise NotImplementedError("provide the fixture `files`")

    @pytest.fixture
    def folder(self, files: Files, root: Path) -> Folder:
        """What the driver makes of the root."""
        return files.beneath(root)

    def test_what_was_written_is_read(self, folder: Folder) -> None:
        """Replaced whole, listed and removed."""
        folder.replace("a.txt", b"one")
        folder.replace("a.txt", b"two")

        assert list(folder.list()) == ["a.txt"]
        with folder.open("a.txt") as file:
            assert file.read() == b"two"
        folder.remove("a.txt")
        assert list(folder.list()) == []

    @pytest.mark.parametrize(
        "path", ["../outside.txt", "a/../../outside.txt", "{root}/../outside.txt", "link", "up/outside.txt"]
    )
    def test_no_path_leads_out(self, folder: Folder, root: Path, path: str) -> None:
        """Neither dots nor absolute paths nor links: nothing outside is read, written or removed."""
        outside, inside = root.parent / "outside.txt", path.format(root=root)
        (root / "a").mkdir()
        (root / "link").symlink_to(outside)
        (root / "up").symlink_to(root.parent)

        assert _attempt(lambda: folder.open(inside).read()) != b"secret"
        _attempt(lambda: folder.replace(inside, b"x"))
        _attempt(lambda: folder.remove(inside))

        assert outside.read_text() == "secret"

    def test_a_refusal_is_typed_and_tells_nothing(self, folder: Folder, root: Path) -> None:
        """`files.denied`, and no word of what lies outside."""
        (root / "up").symlink_to("..")
        for path in ("../outside.txt", "up/outside.txt"):
            with pytest.raises(FilesDeniedError) as raised:
                folder.open(path)
            assert str(root.parent) not in f"{raised.value} {raised.value.hint}"

    def test_what_is_not_there_is_said(self, folder: Folder) -> None:
        """As `FileNotFoundError`, whatever is asked."""
        for act in (folder.open, folder.stat, folder.list, folder.remove, lambda path: folder.move(path, "b")):
            with pytest.raises(FileNotFoundError):
                act("a.txt")

    def test_folders_are_made_on_the_way(self, folder: Folder) -> None:
        """For a file and for a folder; one that is there is left alone."""
        folder.replace("a/b/c.txt", b"x")
        folder.make("a/d/e")
        folder.make("a/d/e")

        assert list(folder.list("a")) == ["b", "d"]

    def test_the_kind_is_that_of_the_path_itself(self, folder: Folder, root: Path) -> None:
        """A link is told as a link."""
        folder.replace("a/b.txt", b"12345")
        (root / "link").symlink_to("a/b.txt")

        kinds = [folder.stat(path).kind for path in ("a/b.txt", "a", "link")]

        assert kinds == ["file", "folder", "link"]
        assert folder.stat("a/b.txt").size_bytes == 5

    def test_a_link_inside_is_followed(self, folder: Folder, root: Path) -> None:
        """To read and to write what it stands for."""
        folder.replace("a/b.txt", b"one")
        (root / "link").symlink_to("a")

        folder.replace("link/b.txt", b"two")

        with folder.open("a/b.txt") as file:
            assert file.read() == b"two"

    def test_the_mode_is_kept(self, folder: Folder, root: Path) -> None:
        """A program stays one."""
        (root / "run").write_bytes(b"x")
        (root / "run").chmod(0o750)

        folder.replace("run", b"y")

        assert (root / "run").stat().st_mode & 0o777 == 0o750

    def test_moving_never_overwrites(self, folder: Folder) -> None:
        """The other file stays."""
        folder.replace("a", b"a")
        folder.replace("b", b"b")
        with pytest.raises(FileExistsError):
            folder.move("a", "b")

        folder.move("a", "c")

        assert list(folder.list()) == ["b", "c"]

    def test_only_empty_folders_are_removed(self, folder: Folder) -> None:
        """And links without what they lead to."""
        folder.replace("a/b", b"x")
        with pytest.raises(FilesDeniedError):
            folder.remove("a")

        folder.remove("a/b")
        folder.remove("a")

        assert list(folder.list()) == []

    @pytest.mark.parametrize("path", [".git/hooks/x", ".git/config", "sub/.git/config", ".mcp.json", ".bashrc"])
    def test_protected_paths_are_not_written(self, folder: Folder, root: Path, path: str) -> None:
        """Also when they are absent, and by no renaming."""
        folder.replace("plain/hooks/pre-commit", b"x")

        with pytest.raises(FilesDeniedError):
            folder.replace(path, b"x")
        with pytest.raises(FilesDeniedError):
            folder.make(path)
        with pytest.raises((FilesDeniedError, FileNotFoundError)):
            folder.move("plain", path)
        with pytest.raises(FilesDeniedError):
            folder.move("plain", ".git")

        assert not (root / path).exists()

    def test_nobody_waits_for_a_pipe(self, folder: Folder, root: Path) -> None:
        """What is neither file nor folder is refused at once."""
        os.mkfifo(root / "pipe")

        for act in (lambda: folder.open("pipe"), lambda: folder.replace("pipe", b"x")):
            with pytest.raises(FilesDeniedError):
                act()

    def test_a_file_with_a_second_name_is_not_written(self, folder: Folder, root: Path) -> None:
        """A hard link may be a file of anywhere."""
        os.link(root.parent / "outside.txt", root / "hard")

        with pytest.raises(FilesDeniedError):
            folder.replace("hard", b"x")

    @pytest.mark.parametrize("path", ["nul\0", "n" * 256, "d/" * 2048 + "x"], ids=["nul", "name", "path"])
    def test_impossible_names_are_refused(self, folder: Folder, path: str) -> None:
        """Typed, as everything else."""
        for act in (folder.open, folder.stat, folder.list, folder.make, folder.remove):
            with pytest.raises(FilesDeniedError):
                act(path)


def _attempt(act: Callable[[], Any]) -> Any:
    """What came of it; a refusal is `None`, however it is said."""
    try:
        return act()
    except Exception:
        return None


class VectorStoreSuite:
    """A vector store that is empty, for vectors of three numbers."""

    @pytest.fixture
    def vectors(self) -> VectorStore:
        """The driver."""
        raise NotImplementedError("provide the fixture `vectors`")

    @pytest.mark.asyncio
    async def test_the_nearest_come_first(self, vectors: VectorStore) -> None:
        """With their data, and no more than wanted."""
        await vectors.add(["x", "y", "z"], [[1, 0, 0], [0.9, 0.1, 0], [0, 0, 1]], [{"n": 1}, {"n": 2}, {"n": 3}])

        found = await vectors.query([1, 0, 0], 2)

        assert [(id, data) for id, _, data in found] == [("x", {"n": 1}), ("y", {"n": 2})]
        assert found[0][1] >= found[1][1]

    @pytest.mark.asyncio
    async def test_adding_again_replaces(self, vectors: VectorStore) -> None:
        """One id is one entry."""
        await vectors.add(["x"], [[1, 0, 0]], ["old"])
        await vectors.add(["x"], [[0, 1, 0]], ["new"])

        assert [data for _, _, data in await vectors.query([1, 0, 0], 5)] == ["new"]

    @pytest.mark.asyncio
    async def test_what_was_removed_is_not_found(self, vectors: VectorStore) -> None:
        """Removing what is not there is no error."""
        await vectors.add(["x"], [[1, 0, 0]], [None])
        await vectors.remove(["x", "never"])

        assert list(await vectors.query([1, 0, 0], 5)) == []


class BusSuite:
    """A bus that nobody uses."""

    @pytest.fixture
    def bus(self) -> Bus:
        """The driver."""
        raise NotImplementedError("provide the fixture `bus`")

    @pytest.mark.asyncio
    async def test_every_subscriber_receives(self, bus: Bus) -> None:
        """In order, and only of its topic."""
        readers = [asyncio.ensure_future(_first(bus, "topic", 2)) for _ in range(2)]
        while not all(reader.done() for reader in readers):  # who subscribes late misses what was sent before
            await bus.publish("other", b"no")
            await bus.publish("topic", b"one")
            await asyncio.sleep(0)

        assert [await reader for reader in readers] == [[b"one", b"one"]] * 2


async def _first(bus: Bus, topic: str, count: int) -> Sequence[bytes]:
    received: list[bytes] = []
    async for data in bus.subscribe(topic):
        received.append(data)
        if len(received) == count:
            break
    return received


class SecretsSuite:
    """A place for secrets that holds one."""

    @pytest.fixture
    def secrets(self) -> Secrets:
        """The driver."""
        raise NotImplementedError("provide the fixture `secrets`")

    @pytest.fixture
    def known(self) -> tuple[str, str]:
        """Name and value of a secret that it holds."""
        raise NotImplementedError("provide the fixture `known`")

    @pytest.mark.asyncio
    async def test_a_known_secret_is_found_and_hidden(self, secrets: Secrets, known: tuple[str, str]) -> None:
        """Only `reveal` shows it."""
        name, value = known

        secret = await secrets.get(name)

        assert isinstance(secret, Secret)
        assert secret.reveal() == value
        assert value not in f"{secret!r} {secret} {secrets!r}"

    @pytest.mark.asyncio
    async def test_an_unknown_one_is_none(self, secrets: Secrets) -> None:
        """Absence is an answer and no error."""
        assert await secrets.get("no-such-secret") is None


class CryptoSuite:
    """A driver that encrypts."""

    @pytest.fixture
    def crypto(self) -> Crypto:
        """The driver, with a key."""
        raise NotImplementedError("provide the fixture `crypto`")

    def test_what_was_encrypted_comes_back(self, crypto: Crypto) -> None:
        """And cannot be read before."""
        hidden = crypto.encrypt(b"plain text", context=b"c")

        assert b"plain" not in hidden
        assert crypto.decrypt(hidden, context=b"c") == b"plain text"

    def test_equal_texts_look_different(self, crypto: Crypto) -> None:
        """Or their equality could be seen."""
        assert crypto.encrypt(b"x", context=b"c") != crypto.encrypt(b"x", context=b"c")

    def test_another_context_is_refused(self, crypto: Crypto) -> None:
        """A value cannot be moved to another place."""
        hidden = crypto.encrypt(b"x", context=b"c")

        with pytest.raises(Exception):  # noqa: B017, PT011  # that it is refused is the rule, not how
            crypto.decrypt(hidden, context=b"d")

    def test_a_changed_value_is_refused(self, crypto: Crypto) -> None:
        """In any of its bytes."""
        hidden = crypto.encrypt(b"x", context=b"c")
        for place in (0, len(hidden) // 2, -1):
            changed = bytearray(hidden)
            changed[place] ^= 1

            with pytest.raises(Exception):  # noqa: B017, PT011  # that it is refused is the rule, not how
                crypto.decrypt(bytes(changed), context=b"c")


class EgressSuite:
    """A driver that opens a way to the network for a child."""

    @pytest.fixture
    def egress(self) -> Egress:
        """The driver."""
        raise NotImplementedError("provide the fixture `egress`")

    @pytest.mark.asyncio
    async def test_the_way_is_open_while_it_is_used(self, egress: Egress) -> None:
        """A descriptor inside, and none afterwards."""
        async with egress.open(["127.0.0.1:1"]) as descriptor:
            os.fstat(descriptor)

        with pytest.raises(OSError, match="file descriptor"):
            os.fstat(descriptor)


__all__ = [
    "BusSuite",
    "CryptoSuite",
    "EgressSuite",
    "EngineSuite",
    "EnvironmentSuite",
    "FilesSuite",
    "ProcessSuite",
    "SandboxSuite",
    "SecretsSuite",
    "VectorStoreSuite",
]
