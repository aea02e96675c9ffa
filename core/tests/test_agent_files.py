"""Agents in files: who is asked to read one, which settings may name one, and what is said when nobody does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pegboard import Agent, Pegboard, hookimpl
from pegboard.agent_files import MAX_BYTES, of_setting
from pegboard.agent_names import is_file, is_module_object, is_plain
from pegboard.config import Config, load
from pegboard.errors import AgentFileError, AgentNotFoundError, AgentReaderError, HookTypeError, UntrustedConfigError
from pegboard_replay import FunctionModel
from pegboard_testing import MakeBoard


class Reader:
    """Reads files whose content is the name of an agent; `wrong` in one is an answer, and `boom` is a failure."""

    plugin_id = "reader"

    def __init__(self) -> None:
        self.paths: list[str] = []

    @hookimpl
    def read_agent(self, path: str, content: bytes) -> Any:
        self.paths.append(path)
        text = content.decode()
        if text == "boom":
            raise ValueError("boom")
        if text == "wrong":
            return AgentFileError(f"{path}:1: wrong", hint="mend it")
        return None if text == "other" else Agent(text, model=FunctionModel(lambda request: f"I am {text}"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with an agent in it."""
    path = tmp_path / "clerk.yaml"
    path.write_text("clerk")
    return path


def put(file: Path, content: str | bytes | None) -> None:
    """Have something else in the place of a file; `None` is a folder."""
    file.unlink()
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("clerk", "plain"),
        ("team/clerk.v2", "plain"),
        ("crew:clerk", "code"),
        ("clerk.yaml", "file"),
        ("./a b/clerk.md", "file"),
        ("a b", ""),
        ("./clerk", ""),
        ("crew:clerk.md", "file"),
    ],
)
def test_what_a_text_names(name: str, kinds: str) -> None:
    """A plain name, `module:object`, a file, or nothing; never two of them."""
    found = {"plain": is_plain(name), "code": is_module_object(name), "file": is_file(name)}

    assert [kind for kind, holds in found.items() if holds] == ([kinds] if kinds else [])


async def test_a_program_names_a_file(file: Path, make_board: MakeBoard) -> None:
    """The plugin is given the whole path and what is in the file; the agent can be run, and added by its name."""
    reader = Reader()
    board = await make_board(plugins=[reader])
    agent = await board.read_agent(file)

    assert (await board.run(agent, "hi")).output == "I am clerk"
    assert reader.paths == [str(file)]
    await board.add_agent(agent)
    assert await board.find_agent("clerk") is agent


async def test_a_name_from_elsewhere_leads_to_no_file(file: Path, make_board: MakeBoard) -> None:
    """What a request names is not read, unless the program has said that names may lead to code."""
    board = await make_board(plugins=[Reader()])

    with pytest.raises(AgentNotFoundError):
        await board.run(str(file), "hi")
    known: dict[str, Agent] = {}
    board.locate_agents(known.__getitem__)
    assert (await board.run(str(file), "hi")).output == "I am clerk"


async def test_a_file_that_is_wrong_is_no_fault_of_the_plugin(file: Path, make_board: MakeBoard) -> None:
    """However many there are, the plugin goes on being asked."""
    board = await make_board(plugins=[Reader()])
    put(file, "wrong")
    for _ in range(5):
        with pytest.raises(AgentFileError, match=r"clerk\.yaml:1: wrong") as caught:
            await board.read_agent(file)

    assert (caught.value.hint, board.plugins.faults.count) == ("mend it", 0)


async def test_a_reader_that_fails_is_told(file: Path, make_board: MakeBoard) -> None:
    """What it raised is in the error."""
    board = await make_board(plugins=[Reader()])
    put(file, "boom")

    with pytest.raises(AgentReaderError, match="boom"):
        await board.read_agent(file)


async def test_a_reader_answers_with_an_agent(file: Path, make_board: MakeBoard) -> None:
    """Anything else is refused with the plugin's name."""

    class Wrong:
        plugin_id = "odd"

        @hookimpl
        def read_agent(self, path: str) -> Any:
            return path

    board = await make_board(plugins=[Wrong()])
    with pytest.raises(HookTypeError, match="plugin `odd` returned `str`"):
        await board.read_agent(file)


async def test_nobody_reads_such_files(file: Path, make_board: MakeBoard) -> None:
    """The distribution that does is named; not to a program that has installed plugins switched off."""
    board = await make_board(plugins=[Reader()])
    put(file, "other")

    with pytest.raises(AgentReaderError, match="no plugin here reads an agent") as caught:
        await board.read_agent(file)
    assert "Pegboard(autoload=True)" in (caught.value.hint or "")
    assert AgentReaderError("x").hint == "peg plugins install pegboard-agentfile"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("no.yaml", "clerk", "there is no file"),
        ("clerk.yaml", None, "is no ordinary file"),
        ("clerk.yaml", b"x" * (MAX_BYTES + 1), "is larger than 1024 KiB"),
    ],
    ids=["missing", "folder", "large"],
)
async def test_what_is_no_file_to_read(
    name: str, content: bytes | None, told: str, file: Path, make_board: MakeBoard
) -> None:
    """No plugin is asked."""
    reader = Reader()
    board = await make_board(plugins=[reader])
    put(file, content)

    with pytest.raises(AgentFileError, match=told):
        await board.read_agent(file.with_name(name))
    assert reader.paths == []


# --- the setting `agent` -----------------------------------------------------------------------------------------


async def test_the_default_agent_in_a_file(file: Path, make_board: MakeBoard) -> None:
    """It answers those that name none, in a conversation each time."""
    board = await make_board(plugins=[Reader()], config={"agent": str(file)})
    talk = board.conversations.create()

    assert (await board.run("hi")).output == "I am clerk"
    assert [(await said(talk, text)) for text in ("one", "two")] == ["I am clerk", "I am clerk"]


async def said(talk: Any, text: str) -> Any:
    result = await talk.send(text)
    return result.output


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose settings name a file; the working folder is below it."""
    monkeypatch.setenv("PEGBOARD_HOME", str(tmp_path / "home"))
    folder = tmp_path / "project"
    (folder / ".pegboard").mkdir(parents=True)
    (folder / "deep").mkdir()
    (folder / ".pegboard" / "config.toml").write_text('agent = "agents/clerk.yaml"\n')
    monkeypatch.chdir(folder / "deep")
    return folder


def own_settings(tmp_path: Path, text: str) -> None:
    """The person's own settings."""
    (tmp_path / "home" / "config").mkdir(parents=True)
    (tmp_path / "home" / "config" / "config.toml").write_text(text)


@pytest.mark.parametrize("agent", ["agents/clerk.yaml", "crew:clerk", "./odd"])
def test_a_project_that_nobody_trusts_names_no_code(project: Path, agent: str) -> None:
    """What was cloned may name an agent of a plugin, and neither a file nor `module:object`."""
    (project / ".pegboard" / "config.toml").write_text(f'agent = "{agent}"\n')

    with pytest.raises(UntrustedConfigError, match="`agent` may only be set in a trusted folder"):
        load()
    (project / ".pegboard" / "config.toml").write_text('agent = "clerk"\n')
    assert load().get("agent") == "clerk"


def test_a_relative_path_starts_where_it_was_written(tmp_path: Path, project: Path) -> None:
    """In the project for its file, else in the folder of the settings; an option's is of the working folder."""
    own_settings(tmp_path, f'trusted_folders = ["{project}"]\nagent = "mine.md"\n')

    assert of_setting(load()) == str(project / "agents" / "clerk.yaml")
    (project / ".pegboard" / "config.toml").unlink()
    assert of_setting(load()) == str(tmp_path / "home" / "config" / "mine.md")
    assert of_setting(load(command_line={"agent": "here.md"})) == str(project / "deep" / "here.md")


@pytest.mark.parametrize("agent", [None, "clerk", "crew:clerk"])
def test_a_setting_that_names_no_file(agent: str | None) -> None:
    """There is none to read."""
    board = Pegboard(config={"agent": agent} if agent else Config())

    assert of_setting(board.config) is None
