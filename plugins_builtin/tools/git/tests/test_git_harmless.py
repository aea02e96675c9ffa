"""A repository that wants to run programs, read what lies outside, or reach the network: none of it happens."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pegboard import Agent
from pegboard.types import ToolResult
from pegboard_git.harmless import switched_off
from pegboard_testing import Consent, MakeBoard, ScriptedModel, call

Use = Callable[..., Awaitable[ToolResult]]
Git = Callable[..., str]

HOOKS = [
    "applypatch-msg",
    "commit-msg",
    "fsmonitor-watchman",
    "post-checkout",
    "post-commit",
    "post-index-change",
    "post-merge",
    "post-rewrite",
    "pre-auto-gc",
    "pre-commit",
    "pre-merge-commit",
    "prepare-commit-msg",
    "reference-transaction",
]  # a list of words is read more easily
CONFIG = """
[core]
\tfsmonitor = {program}
\tpager = {program}
\teditor = {program}
\taskPass = {program}
\tsshCommand = {program}
\talternateRefsCommand = {program}
\thooksPath = {hooks}
[diff]
\texternal = {program}
[diff "evil"]
\tcommand = {program}
\ttextconv = {program}
[filter "evil"]
\tclean = {program}
\tsmudge = {program}
\tprocess = {program}
\trequired = true
[filter "strange=name.with dots"]
\tclean = {program}
\tsmudge = {program}
[merge "evil"]
\tdriver = {program} %A
[merge]
\tdefault = evil
\tverifySignatures = true
[commit]
\tgpgSign = true
[gpg]
\tprogram = {program}
[log]
\tshowSignature = true
[alias]
\tstatus = !{program}
\tlog = !{program}
[pager]
\tlog = {program}
\tdiff = {program}
[interactive]
\tdiffFilter = {program}
[credential]
\thelper = !{program}
[sequence]
\teditor = {program}
[gc]
\tauto = 1
"""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """Is there once the program of the repository has run."""
    return tmp_path / "it-ran"


def ran(mark: Path) -> str:
    """What the program was called as; nothing when it was not."""
    return mark.read_text() if mark.exists() else ""


@pytest.fixture
def evil(repository: Path, git: Git, mark: Path, tmp_path: Path) -> Path:
    """The repository, with everything configured that git would run; two branches that conflict."""
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "$0 $@" >> {mark}\nexit 0\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    git("switch", "-q", "-c", "side", "HEAD~1")
    (repository / "a.txt").write_text("one\nside\n")
    (repository / "clean.txt").write_text("x")
    git("add", ".")
    git("commit", "-q", "-m", "side")
    git("switch", "-q", "main")
    hooks = repository / ".git" / "hooks"
    for folder in (hooks, tmp_path / "hooks"):
        folder.mkdir(exist_ok=True)
        for name in HOOKS:
            (folder / name).symlink_to(program)
    (repository / ".gitattributes").write_text("*.txt filter=evil diff=evil merge=evil\n")
    with (repository / ".git" / "config").open("a") as config:
        config.write(CONFIG.format(program=program, hooks=tmp_path / "hooks"))
    (repository / "a.txt").write_text("one\ntwo\nthree\n")
    return repository


async def test_nothing_of_the_repository_is_run(use: Use, evil: Path, mark: Path) -> None:
    """By no tool: no hook, monitor, pager, editor, filter, diff, merge, signature, alias or helper."""
    calls: list[tuple[str, dict[str, object]]] = [
        ("status", {}),
        ("diff", {}),
        ("diff", {"ref": "main..side"}),
        ("log", {}),
        ("show", {}),
        ("show", {"path": "a.txt"}),
        ("branches", {}),
        ("blame", {"file": "a.txt"}),
        ("add", {"files": ["."]}),
        ("diff", {"staged": True}),
        ("commit", {"message": "x"}),
        ("branch", {"branch": "more"}),
        ("checkout", {"branch": "side"}),
        ("checkout", {"branch": "main"}),
        ("merge", {"ref": "side"}),
        ("merge", {"abort": True}),
        ("restore", {"files": ["a.txt"], "ref": "HEAD~1"}),
        ("stash", {}),
        ("stash", {"action": "pop"}),
    ]

    codes = {(tool, number): (await use(tool, **arguments)).code for number, (tool, arguments) in enumerate(calls)}

    assert not ran(mark)
    assert {key: code for key, code in codes.items() if code} == {("merge", 14): "git.conflict"}


async def test_what_the_user_configured_for_himself_stays(use: Use, repository: Path, home: Path) -> None:
    """His filters run: he put them there, as Git LFS does."""
    with (home / ".gitconfig").open("a") as config:
        config.write('[filter "upper"]\n\tclean = tr a-z A-Z\n')
    (repository / ".gitattributes").write_text("*.up filter=upper\n")
    (repository / "x.up").write_text("loud\n")

    await use("add", files=["."])

    assert "+LOUD" in (await use("diff", staged=True)).structured["patch"]


def test_only_programs_of_the_repository_are_switched_off() -> None:
    """By scope, and whatever characters their names have."""
    listing = b"\0".join([
        b"global", b"filter.lfs.clean\nx", b"local", b"filter.a=b.c.clean\nx", b"local", b"user.name\nx",
        b"worktree", b"merge.m.driver\nx", b"local", b"filter.bare", b"local", b"core.attributesfile\n/x",
    ])  # fmt: skip

    off = switched_off(listing)

    assert set(off) == {
        *(f"filter.a=b.c.{name}" for name in ("clean", "smudge", "process", "required")),
        "core.attributesfile",
        "merge.m.driver",
    }


async def test_variables_of_the_host_do_not_reach_git(
    use: Use, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would point it elsewhere."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_EXTERNAL_DIFF"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))

    assert (await use("status")).structured["branch"] == "main"
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("kind", ["file", "worktree", "link", "common", "core.worktree"])
async def test_a_repository_that_leads_out_is_refused(
    use: Use, workspace: Path, tmp_path: Path, git: Git, kind: str
) -> None:
    """Its history or files are somebody else's; git is not even asked where it would write there."""
    other = tmp_path / "other"
    other.mkdir()
    git("init", "-q", cwd=other)
    git("commit", "-q", "--allow-empty", "-m", "secret", cwd=other)
    git("worktree", "add", "-q", str(tmp_path / "linked"), cwd=other)
    back = other / ".git" / "worktrees" / "linked" / "gitdir"
    os.utime(back, (0, 0))  # so old that git would write it anew
    if kind == "file":
        (workspace / ".git").write_text(f"gitdir: {other}/.git\n")
    elif kind == "worktree":
        (workspace / ".git").write_text("gitdir: ../other/.git/worktrees/linked\n")
    elif kind == "link":
        (workspace / ".git").symlink_to(other / ".git")
    else:
        git("init", "-q")
        if kind == "common":
            (workspace / ".git" / "commondir").write_text(f"{other}/.git\n")
        else:
            git("config", "core.worktree", str(other))

    answer = await use("log")

    assert answer.code == "git.outside"
    assert str(other) not in answer.text
    assert "linked" in back.read_text()


async def test_a_planted_bare_repository_is_none(use: Use, workspace: Path, git: Git) -> None:
    """Nobody meant a folder to be one that only looks like one."""
    git("init", "-q", "--bare", "bare")

    assert (await use("status", repository="bare")).code == "git.no_repository"


async def test_another_users_repository_is_told(use: Use, repository: Path) -> None:
    """With the command by which a person says that it is trusted."""
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    for path in (repository, repository / ".git"):
        os.chown(path, 12345, 12345)

    answer = await use("status")

    assert answer.code == "git.owner"
    assert f"git config --global --add safe.directory {repository}" in answer.text


async def test_a_file_of_elsewhere_is_not_quoted(use: Use, repository: Path, tmp_path: Path, git: Git) -> None:
    """A list of commits to ignore is any file, and git shows what is no commit in it."""
    (tmp_path / "secret").write_text("token-5f3a\n")
    git("config", "blame.ignoreRevsFile", str(tmp_path / "secret"))

    answer = await use("blame", file="a.txt")

    assert "token-5f3a" not in answer.text
    assert "blame.ignoreRevsFile" in answer.text


async def test_a_partial_clone_fetches_nothing(
    use: Use, repository: Path, tmp_path: Path, git: Git, mark: Path
) -> None:
    """What is missing stays missing: `ext::` and `file://` are ways out as well."""
    git("config", "extensions.partialClone", "origin")
    git("config", "remote.origin.promisor", "true")
    git("config", "remote.origin.url", f"ext::sh -c touch% {mark}")
    git("config", "protocol.ext.allow", "always")
    blob = git("rev-parse", "HEAD:a.txt")
    (repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()

    answer = await use("show", path="a.txt")

    assert answer.status == "error"
    assert not ran(mark)


async def test_a_call_that_is_cancelled_takes_git_along(
    make_board: MakeBoard, repository: Path, home: Path, tmp_path: Path
) -> None:
    """And its lock files: git is asked to leave before it is killed."""
    pid = tmp_path / "pid"
    with (home / ".gitconfig").open("a") as file:
        file.write(f'[filter "slow"]\n\tclean = "echo $$ > {pid}; sleep 600"\n')
    (repository / ".gitattributes").write_text("*.slow filter=slow\n")
    (repository / "x.slow").write_text("x")
    config = {"drivers": {"files": "local"}}
    board = await make_board(autoload=True, workspace=repository, config=config, plugins=[Consent()])
    model = ScriptedModel([call("git.add", files=["x.slow"])])
    agent = Agent("worker", model=model, tools=["git.*"])
    running = asyncio.create_task(board.run(agent, "go", run="r", check=False))
    while not pid.exists() or not pid.read_text().strip():  # noqa: ASYNC110  # a file is no event
        await asyncio.sleep(0.01)

    await board.cancel("r", "enough")
    await running

    assert not (repository / ".git" / "index.lock").exists()
    async with asyncio.timeout(10):
        while lives(int(pid.read_text())):  # noqa: ASYNC110  # who inherits an orphan takes its time to bury it
            await asyncio.sleep(0.01)


def lives(pid: int) -> bool:
    """Whether a process is there, and not only its remains."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False
