"""The checked services: what a plugin declares and was granted, and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from pegboard import hookimpl
from pegboard.config import load as load_config
from pegboard.errors import CredentialsMissingError, PermissionDeniedError
from pegboard.plugins.discovery.index import PluginRecord
from pegboard.plugins.discovery.state import State
from pegboard.plugins.host import PluginHost
from pegboard.plugins.permissions import Permissions, permissions_of
from pegboard.plugins.services import PluginContext
from pegboard.types import Secret, SecretRef
from pegboard_testing import FakeClock

DECLARED: dict[str, list[str]] = {
    "fs_read": ["workspace/docs"],
    "fs_write": ["workspace/out"],
    "net": ["api.example.com:443", "*.cdn.example.com:*"],
    "exec": ["git", Path(sys.executable).name],
    "env": ["GIT_*"],
    "secrets": ["token"],
}


class Board:
    """The little that services need of a host."""

    def __init__(self, workspace: Path) -> None:
        self.clock = FakeClock()
        self._workspace = workspace

    def workspace(self) -> Path:
        return self._workspace

    def driver(self, kind: str) -> Any:
        return kind

    def refresh(self, plugin: str, what: str) -> None:
        return None

    async def resolve_secret(self, context: Any, ref: SecretRef, purpose: str, destination: str) -> Secret | None:
        return None


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    for name in ("docs", "out", "src"):
        (folder / name).mkdir(parents=True)
    (folder / "docs" / "a.txt").write_text("a")
    (folder / "src" / "b.txt").write_text("b")
    return folder


def context(workspace: Path, **narrowed: list[str]) -> PluginContext:
    permissions = Permissions("git", DECLARED, DECLARED, narrowed, "pegboard-git")
    return PluginContext("git", Board(workspace), permissions, lambda: {"token": "env:GIT_TOKEN"})


# --- which permissions hold ------------------------------------------------------------------------------------------


def record(dist: str = "pegboard-git", **options: Any) -> PluginRecord:
    manifest = {"permissions": {"exec": ["git", "sh"]}}
    return PluginRecord(**{"id": "git", "dist": dist, "manifest": manifest, **options})


def granted(dist: str, *programs: str) -> State:
    return State({"grants": {"git": {"dist": dist, "permissions": {"exec": list(programs)}}}})


@pytest.mark.parametrize(
    ("which", "state", "settings", "expected"),
    [
        (record(), granted("pegboard-git", "git", "sh"), {}, ("git", "sh")),
        (record(), granted("pegboard-git", "git"), {}, ("git",)),
        (record(), granted("pegboard-git", "git", "sh", "rm"), {}, ("git", "sh")),
        (record(), granted("other", "git", "sh"), {}, ()),
        (record(), State({}), {}, ()),
        (record(), granted("pegboard-git", "git", "sh"), {"permissions": {"exec": ["sh", "rm"]}}, ("sh",)),
        (record(source="folder"), State({}), {}, ("git", "sh")),
        (record(manifest=None), granted("pegboard-git", "git"), {}, ()),
    ],
    ids=["granted", "block-grew", "granted-more", "other-dist", "nothing", "narrowed", "by-path", "no-manifest"],
)
def test_what_holds_was_declared_granted_and_left(
    which: PluginRecord, state: State, settings: dict[str, Any], expected: tuple[str, ...]
) -> None:
    """A grant belongs to one distribution, and settings only take away."""
    assert permissions_of(which, state, settings)["exec"] == expected


def test_the_error_says_whether_it_was_declared_or_not_granted() -> None:
    """The one is for the author, the other for the person."""
    some = permissions_of(record(), granted("pegboard-git", "git"), {})

    with pytest.raises(PermissionDeniedError, match="nobody has granted it") as grown:
        some.program("sh")
    with pytest.raises(PermissionDeniedError, match="does not declare it"):
        some.address("x", 1)
    assert grown.value.hint == "peg plugins grant git"
    assert (grown.value.plugin, grown.value.dist) == ("git", "pegboard-git")
    assert some.not_granted == {"exec": ["sh"]}


def test_a_given_object_without_a_manifest_may_do_everything(workspace: Path) -> None:
    """Who wrote the program decided."""
    free = permissions_of(PluginRecord(id="x", source="object"), State({}), {})

    free.program("anything")
    free.address("anywhere", 1)
    free.secret("any")


# --- files -----------------------------------------------------------------------------------------------------------


def test_files_within_the_folders_are_read_and_written(workspace: Path) -> None:
    """Relative to the workspace; what is writable is readable."""
    ctx = context(workspace)

    ctx.fs.write("out/new.txt", b"new")

    assert ctx.fs.read("docs/a.txt") == b"a"
    assert ctx.fs.read(workspace / "out" / "new.txt") == b"new"
    assert [path.name for path in (workspace / "out").iterdir()] == ["new.txt"]


@pytest.mark.parametrize("path", ["src/b.txt", "docs/../src/b.txt", "/etc/passwd", "../x", "docs/link"])
def test_files_outside_are_refused(workspace: Path, path: str) -> None:
    """Also through `..` and through links."""
    (workspace / "docs" / "link").symlink_to(workspace / "src" / "b.txt")

    with pytest.raises(PermissionDeniedError, match="fs_read"):
        context(workspace).fs.read(path)


@pytest.mark.parametrize("path", ["docs/a.txt", "out/../docs/a.txt", "out/link/x"])
def test_writing_outside_is_refused(workspace: Path, path: str) -> None:
    """What may be read may not therefore be changed."""
    (workspace / "out" / "link").symlink_to(workspace / "docs")

    with pytest.raises(PermissionDeniedError, match="fs_write"):
        context(workspace).fs.write(path, b"")


def test_a_folder_of_the_workspace_is_no_link(workspace: Path, tmp_path: Path) -> None:
    """Who made the workspace may have put a link where a plugin may write: that does not widen its permission."""
    (workspace / "out").rmdir()
    (workspace / "out").symlink_to(tmp_path)

    with pytest.raises(PermissionDeniedError, match="fs_write"):
        context(workspace).fs.write("out/x", b"")

    assert not (tmp_path / "x").exists()


def test_a_linked_workspace_is_the_workspace(workspace: Path, tmp_path: Path) -> None:
    """Who gave it decided, also where its path has links in it."""
    (tmp_path / "linked").symlink_to(workspace)

    context(tmp_path / "linked").fs.write("out/x", b"1")

    assert (workspace / "out/x").read_bytes() == b"1"


def test_writing_goes_through_no_link(workspace: Path, tmp_path: Path) -> None:
    """Names on the way to a whole file cannot be known, so none of them can be a link that was put there."""
    for name in ("x", "new.txt"):
        (workspace / f"out/.{name}.{os.getpid()}.tmp").symlink_to(tmp_path / "victim")

    context(workspace).fs.write("out/x", b"1")

    assert not (tmp_path / "victim").exists()


def test_its_own_folders_need_no_permission(workspace: Path) -> None:
    """Made when they are first asked for, and private."""
    ctx = context(workspace)

    ctx.fs.write(ctx.data_dir / "x", b"1")

    assert ctx.fs.read(ctx.data_dir / "x") == b"1"
    assert ctx.cache_dir.stat().st_mode & 0o777 == 0o700


# --- network, programs, secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "port", "allowed"),
    [
        ("api.example.com", 443, True),
        ("API.example.com.", 443, True),
        ("api.example.com", 80, False),
        ("a.cdn.example.com", 8080, True),
        ("cdn.example.com", 443, False),
        ("evilcdn.example.com", 443, False),
        ("api.example.com.evil.org", 443, False),
    ],
)
def test_addresses(workspace: Path, host: str, port: int, allowed: bool) -> None:
    """Exactly, or by a star for the first labels or for every port."""
    ctx = context(workspace)
    if allowed:
        ctx.http.check(host, port)
        return
    with pytest.raises(PermissionDeniedError):
        ctx.http.check(host, port)


async def run_python(ctx: PluginContext, code: str, timeout_s: float = 60.0) -> Any:
    return await ctx.exec.run([Path(sys.executable).name, "-c", code], timeout_s=timeout_s)


@pytest.fixture
def python_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("python_on_path")
async def test_a_program_runs_in_the_workspace_with_little_environment(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only plain variables and those that the manifest names."""
    monkeypatch.setenv("GIT_AUTHOR", "ada")
    monkeypatch.setenv("AWS_SECRET", "hidden")
    code = "import json, os; print(json.dumps([os.getcwd(), sorted(os.environ)]))"

    result = await run_python(context(workspace), code)

    folder, names = json.loads(result.stdout)
    assert (result.exit_code, folder) == (0, str(workspace))
    assert "GIT_AUTHOR" in names
    assert "AWS_SECRET" not in names


@pytest.mark.usefixtures("python_on_path")
async def test_a_program_that_takes_too_long_is_killed_with_its_children(workspace: Path) -> None:
    """What it said until then is kept."""
    code = (
        "import subprocess, sys, time; print('started', flush=True);"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); time.sleep(60)"
    )

    result = await run_python(context(workspace), code, timeout_s=1.0)

    assert (result.timed_out, result.stdout.strip(), result.exit_code) == (True, b"started", -15)


@pytest.mark.usefixtures("python_on_path")
async def test_a_program_that_will_not_leave_is_killed(workspace: Path) -> None:
    """It is asked first, so that it can take its lock files along."""
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x', flush=True); time.sleep(60)"

    result = await run_python(context(workspace), code, timeout_s=1.0)

    assert (result.timed_out, result.exit_code) == (True, -9)


@pytest.mark.usefixtures("python_on_path")
async def test_a_program_gets_the_variables_that_it_is_given(workspace: Path) -> None:
    """They win over the plain ones."""
    code = "import os; print(os.environ['GIVEN'], os.environ['LANG'])"
    python = Path(sys.executable).name

    result = await context(workspace).exec.run([python, "-c", code], env={"GIVEN": "1", "LANG": "C"})

    assert result.stdout == b"1 C\n"


@pytest.mark.usefixtures("python_on_path")
async def test_output_beyond_the_limit_is_dropped_and_said(workspace: Path) -> None:
    """The program still comes to its end."""
    python = Path(sys.executable).name

    result = await context(workspace).exec.run([python, "-c", "print('x' * 100_000)"], max_output_bytes=10)

    assert (result.exit_code, result.stdout, result.truncated) == (0, b"x" * 10, True)


@pytest.mark.usefixtures("python_on_path")
async def test_a_program_ends_with_the_caller(workspace: Path) -> None:
    """It is gone when the cancelled call has returned."""
    code = "import os, pathlib, time; pathlib.Path('pid').write_text(f'{os.getpid()} '); time.sleep(60)"
    running = asyncio.create_task(run_python(context(workspace), code))
    while not (workspace / "pid").exists() or not (workspace / "pid").read_text().endswith(" "):  # noqa: ASYNC110  # a file is no event
        await asyncio.sleep(0.01)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    with pytest.raises(ProcessLookupError):
        os.kill(int((workspace / "pid").read_text()), 0)


async def test_a_program_that_was_not_granted_is_refused(workspace: Path) -> None:
    """By its name, and a path does not help."""
    for program in ("sh", "/usr/bin/git"):
        with pytest.raises(PermissionDeniedError, match="exec"):
            await context(workspace).exec.run([program])


async def test_a_secret_comes_from_the_environment(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Core itself knows `env:` references only."""
    monkeypatch.setenv("GIT_TOKEN", "s3cret")

    secret = await context(workspace).secrets.get("token")

    assert secret.reveal() == "s3cret"
    assert "s3cret" not in repr(secret)


async def test_a_secret_that_is_not_there_names_the_variable(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what to type."""
    monkeypatch.delenv("GIT_TOKEN", raising=False)

    with pytest.raises(CredentialsMissingError, match="env:GIT_TOKEN") as caught:
        await context(workspace).secrets.get("token")
    assert caught.value.hint == "export GIT_TOKEN=…"


async def test_a_secret_that_was_not_declared_is_refused(workspace: Path) -> None:
    """Before it is looked for."""
    with pytest.raises(PermissionDeniedError):
        await context(workspace).secrets.get("other")


async def test_plugins_resolve_other_references() -> None:
    """Through the hook `resolve_secret`, with purpose and destination."""
    asked: list[tuple[str, str, str]] = []

    class Keyring:
        @hookimpl
        def resolve_secret(self, ref: SecretRef, purpose: str, destination: str) -> Secret | None:
            asked.append((ref.ref, purpose, destination))
            return Secret("from the keyring")

    class Client:
        manifest = {
            "summary": "x",
            "config": {"secrets": ["token"]},
            "permissions": {"secrets": ["token"]},
        }

        def activate(self, ctx: Any) -> None:
            self.ctx = ctx

    client = Client()
    settings = {"plugins": {"client": {"token": "keyring:client"}}}
    host = PluginHost([Keyring, client], config=load_config(host=settings, environ={}))
    await host.start()

    secret = await client.ctx.secrets.get("token", purpose="list", destination="api.example.com")

    assert secret.reveal() == "from the keyring"
    assert asked == [("keyring:client", "list", "api.example.com")]
    await host.stop()
