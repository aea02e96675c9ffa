"""What a file may say, and what is said of one that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from pegboard.errors import AgentFileError
from pegboard.types import AgentConfig, AgentDependency, ContextNeeds, ModelSettings, ResourceLimits, RetryPolicy
from pegboard_agentfile.reading import agent_of, schema

WHOLE = """\
name: clerk
version: "1.0"
description: Files things
model: scripted:demo
instructions: Be brief.
tools: [git.*, file.read]
modules: []
tiers: [core]
input_schema: {type: object, properties: {text: {type: string}}}
output: {type: object, properties: {ok: {type: boolean}}}
output_mode: tool
output_retries: 1
quality: {tone: dry}
min_confidence: 0.5
context: {sources: [notes], optimal_tokens: 500}
limits: {seconds: 60, tokens: 1000}
settings: {thinking: low, stop: [END], extra: {top_a: 1}}
max_turns: 3
parallel_tool_calls: 2
dependencies: [{name: helper, version: ">=1"}]
conflicts: []
capabilities: [filing]
fallbacks: [agent:simple]
required: false
retry: {attempts: 2}
isolation: in-process
"""
NOT_IN_FILES = {"answer", "workflow"}
"""Fields of `AgentConfig` for agents with code of their own, and for graphs."""


def read(text: str | bytes, name: str = "clerk.yaml", folder: Path = Path("/nowhere")) -> AgentConfig:
    """The agent of a file."""
    return agent_of(str(folder / name), text.encode() if isinstance(text, str) else text).config


def refused(text: str | bytes, name: str = "clerk.yaml", folder: Path = Path("/nowhere")) -> AgentFileError:
    """The error for a file."""
    with pytest.raises(AgentFileError) as caught:
        read(text, name, folder)
    return caught.value


def test_every_field_can_be_given() -> None:
    """Each arrives as an agent in Python would have it."""
    config = read(WHOLE)

    assert config.limits == ResourceLimits(seconds=60, tokens=1000)
    assert config.settings == ModelSettings(thinking="low", stop=("END",), extra={"top_a": 1})
    assert config.context == ContextNeeds(sources=("notes",), optimal_tokens=500)
    assert (config.dependencies, config.retry) == ((AgentDependency("helper", ">=1"),), RetryPolicy(attempts=2))
    assert (config.tools, config.tiers, config.fallbacks) == (("git.*", "file.read"), ("core",), ("agent:simple",))
    assert set(msgspec.structs.asdict(config)) - NOT_IN_FILES == {line.partition(":")[0] for line in WHOLE.splitlines()}


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ((), AgentConfig),
        (("context",), ContextNeeds),
        (("limits",), ResourceLimits),
        (("settings",), ModelSettings),
        (("retry",), RetryPolicy),
        (("dependencies", "items"), AgentDependency),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_schema_has_the_fields_of_core(part: tuple[str, ...], kind: type[msgspec.Struct]) -> None:
    """Under the same names: there is no second vocabulary."""
    found: Any = schema()
    for name in part:
        found = found[name] if name == "items" else found["properties"][name]
    found = schema()["$defs"]["agent"] if "$ref" in found else found

    assert set(found["properties"]) == set(kind.__struct_fields__) - NOT_IN_FILES


def test_the_schema_is_one() -> None:
    """Editors can use it, and it agrees with what is read."""
    jsonschema.Draft202012Validator.check_schema(schema())
    validator = jsonschema.Draft202012Validator(schema())

    assert validator.is_valid({"name": "clerk", "output": "shapes:Verdict", "settings": {"thinking": 100}})
    assert not validator.is_valid({"modle": "x"})


def test_the_name_of_a_file_is_the_name_of_its_agent() -> None:
    """Where it gives none; a name that no agent may have is told."""
    assert read("{}").name == "clerk"
    assert "`my clerk` is no name for an agent; give it a `name`" in refused("{}", "my clerk.yaml").message


def test_markdown_gives_its_text_as_instructions() -> None:
    """What stands between the first two lines `---` are fields; a line `---` further down is text."""
    config = read('---\nname: clerk\nversion: "2"\n---\n\n# Task\n\nBe brief.\n---\nAlways.\n', "x.md")

    assert (config.name, config.version, config.instructions) == ("clerk", "2", "# Task\n\nBe brief.\n---\nAlways.")
    assert read("---\n---\nBe brief.", "x.md").instructions == "Be brief."
    assert read("\ufeff---\r\nname: a\r\n---\r\nBe brief.\r\n", "x.md").instructions == "Be brief."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"name: \xff\n", "1: is not UTF-8"),
        ("name: [", "2: is no YAML"),
        ("name: a\nname: b\n", "2: the key `name` is there twice; the first is in line 1"),
        ("a: 1\n---\nb: 2\n", "2: holds more than one document"),
        ("a: &a [x]\nb: *c\n", "2: `*c` stands for nothing"),
        ("- name\n", "1: an agent is a mapping of fields"),
        ("", "1: an agent is a mapping of fields"),
        ("model: a\nmodl: b\n", "2: `modl` is an unknown key; did you mean `model`?"),
        ("limits:\n  secnds: 1\n", "2: `limits.secnds` is an unknown key; did you mean `seconds`?"),
        ("name: a\nmax_turns: many\n", "2: `max_turns` must be a whole number"),
        ("tools: Read, Grep\n", "1: `tools` must be a list"),
        ("version: 1.0\n", "1: `version` must be a string"),
        ("settings:\n  thinking: much\n", "1: `settings`: invalid enum value 'much'"),
        ("quality:\n  1: x\n", "2: the key `1` must be text; write it in quotes"),
        ("model: a\noutput: {type: objct}\n", "2: `output`: not a valid JSON Schema: 'objct'"),
        ("input_schema: {type: 5}\n", "1: `input_schema`: not a valid JSON Schema: 5"),
        ("workflow: {}\n", "1: `workflow` is an unknown key"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str | bytes, said: str) -> None:
    """As `file:line: what`, with the command that opens the file."""
    error = refused(text)

    assert error.message.startswith(f"/nowhere/clerk.yaml:{said}")
    assert error.hint == "${EDITOR:-vi} '/nowhere/clerk.yaml'"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# Hello\n", "1: no front matter, so this is no agent"),
        ("---\nname: a\n", "1: the front matter that begins here has no end"),
        ("---\n\nname: a\nmodl: b\n---\n", "4: `modl` is an unknown key"),
        ("---\nname: a\nname: b\n---\n", "3: the key `name` is there twice; the first is in line 2"),
        ("---\nname: a\ninstructions: x\n---\ny\n", "3: `instructions` are given twice"),
    ],
)
def test_markdown_is_told_with_the_lines_of_the_file(text: str, said: str) -> None:
    """Not with those of the front matter."""
    assert refused(text, "clerk.md").message.startswith(f"/nowhere/clerk.md:{said}")


@pytest.mark.parametrize("text", ["quality: {true: a, 1: b}\n", "settings: {extra: {1: a, 1.0: b}}\n"])
def test_keys_that_python_takes_for_one_are_told(text: str) -> None:
    """They are there twice, in whatever way they are written."""
    assert "is there twice; the first is in line 1" in refused(text).message


def test_two_letters_that_changed_places_are_known() -> None:
    """By what they have in common alone `modules` would be nearer."""
    assert refused("modle: auto\n").message.endswith("`modle` is an unknown key; did you mean `model`?")


def test_everything_that_is_wrong_is_told_at_once() -> None:
    """Up to ten things."""
    text = "".join(f"wrong{number}: 1\n" for number in range(12))
    message = refused("modl: a\nmax_turns: 0\n").message

    assert "line 2: `max_turns` must be at least 1" in message
    assert refused(text).message.endswith("and 2 more")


def test_a_small_file_cannot_stand_for_an_endless_one() -> None:
    """Aliases are counted as if written out."""
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))

    assert "stands for more than" in refused(bomb).message
    assert "nested more than" in refused("[" * 10_000).message


def test_a_workflow_is_no_agent() -> None:
    """The command that runs it is the hint."""
    error = refused("name: flow\nnodes: {a: {transform: text}}\n")

    assert error.message == "/nowhere/clerk.yaml:2: this is a workflow, and no agent"
    assert error.hint == "peg workflow run /nowhere/clerk.yaml"


# --- Python beside a file ----------------------------------------------------------------------------------------

TOOLS = """
from __future__ import annotations
from dataclasses import dataclass

limit = 3

def count(text: str) -> int:
    "Count the letters of a text."
    return len(text)

@dataclass
class Verdict:
    ok: bool
    parts: list[Verdict]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with Python in it."""
    (tmp_path / "shapes.py").write_text(TOOLS)
    return tmp_path


def test_a_function_beside_the_file_is_a_tool(folder: Path) -> None:
    """As `module:function`; it stands among the names of other tools."""
    (tool, name) = read('tools: ["shapes:count", git.log]', folder=folder).tools

    assert (tool.name, name) == ("count", "git.log")


def test_a_type_beside_the_file_is_the_output(folder: Path) -> None:
    """Its annotations are looked up in its module."""
    assert read("output: shapes:Verdict", folder=folder).output.__name__ == "Verdict"


def test_a_module_is_made_once_for_a_file(folder: Path) -> None:
    """What two of its functions share is shared."""
    (folder / "till.py").write_text(
        "taken = []\ndef take(n: int) -> None:\n    'Take.'\n    taken.append(n)\n"
        "def count() -> int:\n    'Count.'\n    return len(taken)\n"
    )
    take, count = read('tools: ["till:take", "till:count"]', folder=folder).tools

    assert take.function.__globals__ is count.function.__globals__


def test_two_folders_have_modules_of_one_name(folder: Path) -> None:
    """Each file gets what lies beside it."""
    (folder / "other").mkdir()
    (folder / "other" / "shapes.py").write_text("def twice(n: int) -> int:\n    'Double a number.'\n    return 2 * n\n")

    assert read('tools: ["shapes:twice"]', folder=folder / "other").tools[0].name == "twice"
    assert read('tools: ["shapes:count"]', folder=folder).tools[0].name == "count"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('tools: ["os:remove"]', "`tools`: there is no `os.py` beside this file"),
        ('tools: ["shapes:cuont"]', "`tools`: `shapes.py` beside this file has no `cuont`; did you mean `count`?"),
        ('tools: ["shapes:limit"]', "`tools`: 3 is neither a tool nor a function"),
        ("output: shapes:limit", "`output`: `output` must be a type that pydantic can validate"),
        ("output: broken:Verdict", "`output`: `broken.py` could not be imported: SyntaxError"),
        ("output: leaves:Verdict", "`output`: `leaves.py` could not be imported: SystemExit"),
        ("output: ../shapes:Verdict", "`output` `../shapes:Verdict` does not fit the pattern"),
        ("output: shapes:Verdict.ok", "`output` `shapes:Verdict.ok` does not fit the pattern"),
        ('tools: ["shapes:os.remove"]', "`tools.0` `shapes:os.remove` does not fit the pattern"),
        ('tools: ["../shapes:count"]', "`tools.0` `../shapes:count` does not fit the pattern"),
    ],
)
def test_what_lies_beside_and_is_wrong(folder: Path, text: str, said: str) -> None:
    """Modules of Python itself are never meant, and no other folder."""
    (folder / "broken.py").write_text("boom(\n")
    (folder / "leaves.py").write_text("raise SystemExit(3)\n")

    assert refused(text, folder=folder).message.startswith(f"{folder}/clerk.yaml:1: {said}")
