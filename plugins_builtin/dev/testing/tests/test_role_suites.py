"""The role suites: reference implementations pass them, and a wrong one fails. That of `files` is run by its driver."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from pegboard import Agent, Event, ModelBase, RunContext, Tool, hookimpl, tool
from pegboard.memory import MemoryStore
from pegboard.tools import as_tool
from pegboard.types import Deny, Json, Secret
from pegboard_replay import DemoModel, FunctionModel, call
from pegboard_testing.conformance.roles import (
    AgentSuite,
    BusSuite,
    CryptoSuite,
    EgressSuite,
    EngineSuite,
    EnvironmentSuite,
    GateSuite,
    ManifestSuite,
    ModelSuite,
    ModuleSuite,
    ObserverSuite,
    ProcessSuite,
    SandboxSuite,
    SecretsSuite,
    StoreSuite,
    ToolSuite,
    VectorStoreSuite,
)
from pegboard_testing.conformance.roles.situations import FAULTS


class TestDemoModel(ModelSuite):
    @pytest.fixture
    def model(self) -> ModelBase:
        return DemoModel()

    @pytest.fixture
    def calling_model(self) -> ModelBase:
        return FunctionModel(lambda request: call("probe", x=1))


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


@tool(effect="pure", inline=True)
def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


class TestFunctionTool(ToolSuite):
    @pytest.fixture
    def tool(self) -> Any:
        return add

    @pytest.fixture
    def arguments(self) -> dict[str, Json]:
        return {"a": 1, "b": 2}


class Watcher:
    id = "watcher"

    @hookimpl
    def on_event(self, event: Event) -> None:
        return None


class TestWatcher(ObserverSuite):
    @pytest.fixture
    def plugin(self) -> Watcher:
        return Watcher()


class NoKeyed:
    id = "no-keyed"

    @hookimpl
    def authorize(self, action: Any) -> Deny | None:
        return Deny("not today") if action.effect == "keyed" else None


class TestGate(GateSuite):
    @pytest.fixture
    def plugin(self) -> NoKeyed:
        return NoKeyed()


class Notes:
    name = "notes"
    description = "Keeps notes."

    def tools(self) -> Sequence[Tool]:
        return [add]

    async def initialize(self, ctx: RunContext) -> None:
        return None

    async def cleanup(self) -> None:
        return None


class TestModule(ModuleSuite):
    @pytest.fixture
    def module(self) -> Notes:
        return Notes()


class TestAgent(AgentSuite):
    @pytest.fixture
    def agent(self) -> Agent:
        return Agent("adder", version="1.0", description="Adds.")


class Queues:
    """A bus."""

    def __init__(self) -> None:
        self._queues: dict[str, list[asyncio.Queue[bytes]]] = {}

    async def publish(self, topic: str, data: bytes) -> None:
        for queue in self._queues.get(topic, ()):
            queue.put_nowait(data)

    async def subscribe(self, topic: str) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._queues.setdefault(topic, []).append(queue)
        while True:
            yield await queue.get()


class TestBus(BusSuite):
    @pytest.fixture
    def bus(self) -> Queues:
        return Queues()


class Direct:
    """An engine that remembers results by id."""

    durable = False

    def __init__(self) -> None:
        self._results: dict[str, Json] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        yield

    async def run(self, run_id: str, workflow: str, args: Json) -> Json:
        return self._results.setdefault(run_id, args)

    async def step(self, op: str, params: Json, call: Any) -> Json:
        return await call()

    async def wait(self, topic: str, timeout_s: float | None) -> Json | None:
        return None

    async def signal(self, run_id: str, topic: str, message: Json, message_id: str) -> None:
        return None


class TestEngine(EngineSuite):
    @pytest.fixture
    def engine(self) -> Direct:
        return Direct()

    @pytest.fixture
    def echo(self) -> str:
        return "echo"


class Children:
    """A process driver."""

    async def spawn(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: str | None = None) -> Any:
        return await asyncio.create_subprocess_exec(*argv, env=env, cwd=cwd, stdout=subprocess.DEVNULL)

    async def stop(self, child: Any, *, grace_s: float = 2.0) -> int:
        try:
            async with asyncio.timeout(grace_s):
                await child.wait()
        except TimeoutError:
            child.kill()
        code: int = await child.wait()
        return code


class TestProcess(ProcessSuite):
    @pytest.fixture
    def process(self) -> Children:
        return Children()


class ThisPython:
    """An environment driver that has only one environment."""

    async def ensure(self, requirements: Sequence[str], *, python: str | None = None) -> Path:
        return Path(sys.executable)

    async def remove(self, key: str) -> None:
        return None


class TestEnvironment(EnvironmentSuite):
    @pytest.fixture
    def environment(self) -> ThisPython:
        return ThisPython()


class NoSandbox:
    """A sandbox that enforces nothing, and says so."""

    capabilities: frozenset[str] = frozenset()

    def wrap(self, argv: Sequence[str], *, policy: Mapping[str, Any]) -> Sequence[str]:
        return argv


class TestSandbox(SandboxSuite):
    @pytest.fixture
    def sandbox(self) -> NoSandbox:
        return NoSandbox()


class Scan:
    """A vector store that compares with everything."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[Sequence[float], Json]] = {}

    async def add(self, ids: Sequence[str], vectors: Sequence[Sequence[float]], data: Sequence[Json]) -> None:
        self._entries.update(zip(ids, zip(vectors, data, strict=True), strict=True))

    async def query(self, vector: Sequence[float], limit: int) -> Sequence[tuple[str, float, Json]]:
        found = [
            (id, sum(a * b for a, b in zip(vector, other, strict=True)), data)
            for id, (other, data) in self._entries.items()
        ]
        return sorted(found, key=lambda item: -item[1])[:limit]

    async def remove(self, ids: Sequence[str]) -> None:
        for id in ids:
            self._entries.pop(id, None)


class TestVectorStore(VectorStoreSuite):
    @pytest.fixture
    def vectors(self) -> Scan:
        return Scan()


class Dictionary:
    """A place for secrets."""

    async def get(self, name: str) -> Secret | None:
        return Secret("s3cret") if name == "token" else None


class TestSecrets(SecretsSuite):
    @pytest.fixture
    def secrets(self) -> Dictionary:
        return Dictionary()

    @pytest.fixture
    def known(self) -> tuple[str, str]:
        return "token", "s3cret"


class Toy:
    """Enough of a cipher for the rules; of no use for secrets."""

    def encrypt(self, data: bytes, *, context: bytes) -> bytes:
        nonce = os.urandom(16)
        hidden = bytes(a ^ b for a, b in zip(data, self._stream(nonce, len(data)), strict=True))
        return nonce + hidden + hashlib.sha256(nonce + hidden + context).digest()

    def decrypt(self, data: bytes, *, context: bytes) -> bytes:
        nonce, hidden, tag = data[:16], data[16:-32], data[-32:]
        if tag != hashlib.sha256(nonce + hidden + context).digest():
            raise ValueError("changed")
        return bytes(a ^ b for a, b in zip(hidden, self._stream(nonce, len(hidden)), strict=True))

    def _stream(self, nonce: bytes, size: int) -> bytes:
        return hashlib.shake_256(b"key" + nonce).digest(size)


class TestCrypto(CryptoSuite):
    @pytest.fixture
    def crypto(self) -> Toy:
        return Toy()


class Pipes:
    """An egress driver."""

    @asynccontextmanager
    async def open(self, allowed: Sequence[str]) -> AsyncIterator[int]:
        reader, writer = os.pipe()
        try:
            yield reader
        finally:
            os.close(reader)
            os.close(writer)


class TestEgress(EgressSuite):
    @pytest.fixture
    def egress(self) -> Pipes:
        return Pipes()


class Taste(msgspec.Struct):
    """Settings."""

    colours: tuple[str, ...] = ("red",)
    depth: Annotated[int, msgspec.Meta(ge=1)] = 3


MANIFEST = """
[[contributes.tools]]
name = "add"
description = "Add two integers."
effect = "pure"
input_schema = "add.json"
[config.schema.properties]
colours = { default = ["red"] }
depth = { default = 3, minimum = 1, maximum = 9 }
"""


class TestManifest(ManifestSuite):
    @pytest.fixture
    def package(self, tmp_path: Path) -> Path:
        (tmp_path / "pegboard.toml").write_text(MANIFEST)
        (tmp_path / "add.json").write_text(json.dumps(as_tool(add).input_schema))
        return tmp_path

    @pytest.fixture
    def tools(self) -> Sequence[Any]:
        return [add]

    @pytest.fixture
    def settings(self) -> type[Taste]:
        return Taste

    @pytest.mark.parametrize(
        ("said", "instead"),
        [
            ('"Add two', '"Subtract two'),
            ('"pure"', '"unsafe"'),
            ('effect = "pure"', 'effect = "pure"\ntimeout_s = 1'),
            ('name = "add"', 'name = "sum"'),
        ],
        ids=["description", "effect", "time limit", "name"],
    )
    def test_a_tool_that_is_told_of_wrongly_is_found(self, package: Path, said: str, instead: str) -> None:
        """What a model would be told before the import is not what the tool says."""
        (package / "pegboard.toml").write_text(MANIFEST.replace(said, instead))

        with pytest.raises(AssertionError):
            self.test_it_lists_the_tools_as_they_are(package, [add])

    @pytest.mark.parametrize(
        ("said", "instead"),
        [("default = 3", "default = 4"), ("minimum = 1", "minimum = 0"), ("depth =", "deep =")],
        ids=["default", "limit", "name"],
    )
    def test_a_setting_that_is_told_of_wrongly_is_found(self, package: Path, said: str, instead: str) -> None:
        """What a person would be told is not what the code takes."""
        (package / "pegboard.toml").write_text(MANIFEST.replace(said, instead))

        with pytest.raises(AssertionError):
            self.test_its_schema_has_the_settings_as_they_are(package, Taste)


WRONG = """
import os
from pathlib import Path

import pytest
from pegboard import ModelBase
from pegboard.memory import MemoryStore
from pegboard.types import Finish, ModelCapabilities, ModelChunk, Usage
from pegboard_testing.conformance.roles import FilesSuite, SituationSuite, StoreSuite


class Careless(MemoryStore):
    async def append(self, row, events, steps, *, barrier=False):
        await super().append(row, (), steps)


class TestCareless(StoreSuite):
    @pytest.fixture
    def store(self):
        return Careless()


class Open:
    def __init__(self, root=None):
        self.root = root

    def beneath(self, root):
        return Open(root)

    def open(self, path):
        return (self.root / path).open("rb")

    def stat(self, path):
        return (self.root / path).stat()

    def list(self, path="."):
        return sorted(os.listdir(self.root / path))

    def replace(self, path, data):
        (self.root / path).write_bytes(data)

    def make(self, path):
        (self.root / path).mkdir(parents=True)

    def move(self, path, to):
        (self.root / path).rename(self.root / to)

    def remove(self, path):
        (self.root / path).unlink()


class TestOpen(FilesSuite):
    @pytest.fixture
    def files(self):
        return Open()

    def test_nobody_waits_for_a_pipe(self):
        pass  # or it would wait


class Trusting(ModelBase):
    provider = name = "trusting"

    def capabilities(self, model):
        return ModelCapabilities()

    async def stream(self, request):
        yield ModelChunk(text="What came before the fault.")
        yield ModelChunk(finish=Finish("stop", Usage(11, 7, source="provider")))


class TestTrusting(SituationSuite):
    @pytest.fixture
    def play(self):
        return lambda situation: Trusting()
"""


def test_wrong_implementations_fail(tmp_path: Path) -> None:
    """A store that loses events, files that lead out, and a model that takes a cut answer for a whole one are found."""
    (tmp_path / "test_wrong.py").write_text(WRONG)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rf", str(tmp_path)]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert len([line for line in failed if "TestCareless" in line]) >= 4, done.stdout
    assert len([line for line in failed if "test_no_path_leads_out" in line]) == 5, done.stdout
    assert len([line for line in failed if "test_protected_paths_are_not_written" in line]) == 5, done.stdout
    assert len([line for line in failed if "test_what_the_user_sees[" in line]) == len(FAULTS), done.stdout
