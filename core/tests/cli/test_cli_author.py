"""Commands for authors: `validate`, `compile`, `link`, `new`, `check`."""

from __future__ import annotations

import importlib.util
import json
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from pegboard_testing import on_path

PYPROJECT = """
[project]
name = "pegboard-mine"
version = "0.1"
dependencies = ["click"]

[project.entry-points."pegboard.plugins"]
mine = "pegboard_mine"
"""
MANIFEST = """\
# kept
schema = 1
id = "mine"
summary = "Mine"
api = ">=1.0,<2"
entry = "pegboard_mine.plugin:Plugin"

[hooks.provide_tools]

[[contributes.tools]]
name = "mine.add"
description = "Add two numbers."
effect = "pure"
"""
CODE = '''
from pegboard import hookimpl, tool


@tool(name="mine.add", effect="pure")
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Plugin:
    @hookimpl
    def provide_tools(self, ctx):
        return [add]
'''


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A plugin project, as its author has it."""
    folder = tmp_path / "mine"
    package = folder / "src" / "pegboard_mine"
    package.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text(CODE)
    (package / "pegboard.toml").write_text(MANIFEST)
    return folder


def test_validate_agrees(peg: Any, mine: Path) -> None:
    """A manifest that says what the code does is valid."""
    assert "manifest and code agree" in peg("plugins", "validate", str(mine)).stdout


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        pytest.param("[hooks.provide_tools]", "[hooks.tool_call]", "no `@hookimpl` function of this name", id="listed"),
        pytest.param("[hooks.provide_tools]", "", "it is not listed", id="unlisted"),
        pytest.param('summary = "Mine"', "summary = 3", "summary", id="type"),
        pytest.param('effect = "pure"', 'effect = "pure"\ninput_schema = "no.json"', "no readable JSON", id="file"),
    ],
)
def test_validate_sees_what_differs(peg: Any, mine: Path, old: str, new: str, told: str) -> None:
    """A manifest that differs from code or schema is exit code 4, and each difference is named."""
    path = mine / "src" / "pegboard_mine" / "pegboard.toml"
    path.write_text(path.read_text().replace(old, new))
    result = peg("plugins", "validate", str(mine))

    assert result.exit_code == 4
    assert told in result.stdout


def test_compile_writes_the_manifest_from_the_code(peg: Any, mine: Path) -> None:
    """Hooks and tools are written as the code has them; comments and all else stay."""
    path = mine / "src" / "pegboard_mine" / "pegboard.toml"
    path.write_text(MANIFEST.partition("[hooks")[0] + "[hooks.authorize]\nband = 3\n")
    assert peg("plugins", "compile", str(mine), "--check").exit_code == 4

    assert peg("plugins", "compile", str(mine)).exit_code == 0

    text = path.read_text()
    assert text.startswith("# kept\n")
    assert "authorize" not in text
    assert peg("plugins", "validate", str(mine)).exit_code == 0
    assert peg("plugins", "compile", str(mine), "--check").exit_code == 0


def test_compile_of_agreeing_code_changes_nothing(peg: Any, mine: Path) -> None:
    """A manifest that agrees is left as it is, to the byte."""
    text = peg.json("plugins", "compile", str(mine))["data"]["text"]
    again = peg.json("plugins", "compile", str(mine))["data"]

    assert (again["changed"], again["text"]) == (False, text)


def with_argument(mine: Path, argument: str) -> None:
    """Give the tool of the plugin an argument more."""
    code = mine / "src" / "pegboard_mine" / "plugin.py"
    code.write_text(code.read_text().replace("a: int, b: int", f"a: int, b: int, {argument}"))


def with_schema_file(mine: Path, name: str) -> Path:
    """Have the manifest name a file that holds the schema of the code as it is."""
    package = mine / "src" / "pegboard_mine"
    (package / "schemas").mkdir()
    number = {"type": "integer"}
    schema = {"additionalProperties": False, "properties": {"a": number, "b": number}, "required": ["a", "b"]}
    (package / name).write_text(json.dumps({**schema, "type": "object"}))
    (package / "pegboard.toml").write_text(f'{MANIFEST}input_schema = "{name}"\n')
    return package / name


def test_compile_rewrites_the_schema_file_that_is_named_after_its_tool(peg: Any, mine: Path) -> None:
    """A changed signature reaches the file; `--check` tells it, and writes nothing."""
    file = with_schema_file(mine, "schemas/add.json")
    assert peg("plugins", "compile", str(mine), "--check").exit_code == 0
    with_argument(mine, "c: str")
    before = file.read_text()

    assert peg("plugins", "compile", str(mine), "--check").exit_code == 4
    assert file.read_text() == before
    assert str(file) in peg("plugins", "compile", str(mine)).stdout
    assert json.loads(file.read_text())["required"] == ["a", "b", "c"]
    assert peg("plugins", "compile", str(mine), "--check").exit_code == 0


def test_compile_says_that_a_schema_file_of_the_author_differs(peg: Any, mine: Path) -> None:
    """A file with a name of the author's own is left as it is, and that it differs is an error."""
    file = with_schema_file(mine, "schemas/numbers.json")
    with_argument(mine, "c: str")
    before = file.read_text()
    result = peg("plugins", "compile", str(mine))

    assert result.exit_code == 4
    assert "`schemas/numbers.json` differs from the code" in result.stderr
    assert file.read_text() == before


def test_compile_puts_a_schema_that_is_no_toml_into_a_file(peg: Any, mine: Path) -> None:
    """TOML has no null, the default of an argument that may be left out; JSON has."""
    with_argument(mine, "c: int | None = None")

    assert peg("plugins", "compile", str(mine)).exit_code == 0
    schema = json.loads((mine / "src" / "pegboard_mine" / "schemas" / "add.json").read_text())
    assert schema["properties"]["c"]["default"] is None
    assert peg("plugins", "validate", str(mine), "--deep").exit_code == 0


def test_compile_writes_schemas_that_people_can_read(peg: Any, mine: Path) -> None:
    """The schema is a table with a line for each argument, and an empty line before the next table."""
    path = mine / "src" / "pegboard_mine" / "pegboard.toml"
    path.write_text(f'{MANIFEST}\n[quality]\ntier = "bronze"\n')
    peg("plugins", "compile", str(mine))
    lines = path.read_text().splitlines()

    assert 'a = {type = "integer"}' in lines
    assert [lines[at - 1] for at, line in enumerate(lines) if line.startswith("[")] == [""] * 5
    assert "\n\n\n" not in path.read_text()


@pytest.mark.parametrize("file", [True, False])
def test_validate_deep_compares_schemas_with_the_code(peg: Any, mine: Path, file: bool) -> None:
    """A signature that changed after the manifest was written is exit code 4, wherever the schema stands."""
    if file:
        with_schema_file(mine, "schemas/add.json")
    else:
        peg("plugins", "compile", str(mine))
    assert peg("plugins", "validate", str(mine), "--deep").exit_code == 0
    with_argument(mine, "c: str")
    result = peg("plugins", "validate", str(mine), "--deep")

    assert result.exit_code == 4
    assert "differs from the code" in result.stdout


def test_check_compares_schemas_with_the_code(site: Any) -> None:
    """A plugin that tells the model another signature than it has does not conform, and the difference is named."""
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    tools = [{"name": "ill.add", "description": "Add two numbers.", "effect": "pure", "input_schema": schema}]
    code = CODE.replace("mine.add", "ill.add")
    site.plugin("ill", {"hooks": {"provide_tools": {}}, "contributes": {"tools": tools}}, {"plugin.py": code})
    done = site.peg("plugins", "check", "ill", "--tier", "bronze", "--json")

    assert done.returncode == 3
    assert "tool `ill.add`: input_schema differs from the code" in json.loads(done.stdout)["data"]["differing"][0]


def test_check_says_what_pytest_asyncio_wants_to_be_told(site: Any) -> None:
    """Outside of a project nobody has set the scope of its loops, which it warns of on every line."""
    done = site.peg("plugins", "check", "console", "--tier", "bronze", PYTEST_ADDOPTS="-vv")

    assert "asyncio_default_fixture_loop_scope=function" in done.stderr


def test_compile_names_schema_files_that_are_left_over(peg: Any, mine: Path) -> None:
    """A schema file whose tool is gone from the code is named, and not deleted: its author wrote it."""
    package = mine / "src" / "pegboard_mine"
    for name in ("old", "kept"):
        (package / f"{name}.json").write_text("{}")
    old = '\n[[contributes.tools]]\nname = "mine.old"\ninput_schema = "old.json"\n'
    (package / "pegboard.toml").write_text(f'{MANIFEST}input_schema = "kept.json"\n{old}')

    result = peg("plugins", "compile", str(mine))

    assert "`old.json` is named by nothing any more" in result.stderr
    assert "`kept.json` is named by nothing" not in result.stderr
    assert (package / "old.json").exists()


def test_compile_survives_code_that_ends_the_process(peg: Any, mine: Path) -> None:
    """Code that cannot be imported is an error of the plugin, and `peg` goes on."""
    (mine / "src" / "pegboard_mine" / "plugin.py").write_text("import os; os._exit(3)")
    result = peg("plugins", "compile", str(mine))

    assert result.exit_code == 3
    assert "ended the process with 3" in result.stderr


def test_link_uses_a_folder_in_place(peg: Any, mine: Path, site: Any) -> None:
    """A linked project is a plugin like any installed one, and follows its files."""
    from pegboard.plugins.authoring import links

    links.link(mine, site.folder)
    site.python("-c", "pass")  # a new process reads the `.pth` only in a site folder, so the path is given here
    done = site.peg("plugins", "info", "mine", PYTHONPATH=f"{site.folder}:{mine / 'src'}")

    assert done.returncode == 0, done.stderr
    assert str(mine / "src" / "pegboard_mine") in done.stdout
    assert (site.folder / "_pegboard_link_pegboard_mine.pth").read_text() == f"{mine / 'src'}\n"


def test_link_refuses_what_is_no_plugin(peg: Any, place: Path) -> None:
    """A folder without a plugin's project is refused with what is missing."""
    result = peg("plugins", "link", str(place))

    assert result.exit_code == 3
    assert "is no plugin's project" in result.stderr


def test_new_writes_a_plugin_that_validates(peg: Any, place: Path) -> None:
    """A plugin from the template agrees with its manifest as it is."""
    pytest.importorskip("cookiecutter")
    data = peg.json("plugins", "new", "weather", "--kind", "tool", "--kind", "gate")["data"]

    assert peg("plugins", "validate", data["folder"]).exit_code == 0


def test_check_runs_the_conformance_suite(site: Any) -> None:
    """`check` proves the tier, with the suite of `pegboard-testing`; its talk is not on stdout."""
    done = site.peg("plugins", "check", "console", "--tier", "bronze", "--json")

    assert '"conforms": true' in done.stdout, done.stderr
    assert done.stdout.count("\n") == 1


@pytest.fixture
def own_site(site: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has `link` write into a folder of the test instead of this environment."""
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(site.folder))
    return site


def test_link_tells_what_is_linked(peg: Any, mine: Path, own_site: Any) -> None:
    """`link` names plugins and folder, and may be repeated."""
    assert peg("plugins", "link", str(mine)).stdout == f"linked mine to {mine}\n"
    with on_path(mine / "src"):
        assert "mine" in [row["id"] for row in peg.json("plugins", "list")["data"]["plugins"]]
        assert peg("plugins", "link", str(mine)).exit_code == 0


def test_link_switches_development_mode_on_and_off(peg: Any, mine: Path, own_site: Any) -> None:
    """`--reload` is remembered, shown by `info`, and gone after a `link` without it."""
    with on_path(mine / "src"):
        told = peg("plugins", "link", str(mine), "--reload").stdout
        on = peg.json("plugins", "info", "mine")["data"]["reload"]
        shown = peg("plugins", "info", "mine").stdout
        peg("plugins", "link", str(mine))
        off = peg.json("plugins", "info", "mine")["data"]["reload"]

    assert "a running board reloads it" in told
    assert "development: a running board reloads it" in shown
    assert (on, off) == (True, False)


def test_link_does_not_hide_an_installed_plugin(peg: Any, mine: Path, own_site: Any) -> None:
    """A plugin that is installed is not linked over; the way on is named."""
    own_site.plugin("mine", {})
    result = peg("plugins", "link", str(mine))

    assert result.exit_code == 3
    assert "hint: run `peg plugins uninstall mine --keep-config`" in result.stderr


def test_validate_of_a_folder_without_a_manifest(peg: Any, place: Path) -> None:
    """A folder in which there is no plugin is exit code 4."""
    assert peg("plugins", "validate", str(place)).exit_code == 4
    assert peg("plugins", "compile", str(place)).exit_code == 4


def test_validate_reads_packages_and_leaves_bases_alone(peg: Any, mine: Path) -> None:
    """An entry in a package is found; a class with bases is not judged, since its hooks may be inherited."""
    package = mine / "src" / "pegboard_mine"
    (package / "plugin").mkdir()
    (package / "plugin.py").rename(package / "plugin" / "__init__.py")
    assert peg("plugins", "validate", str(mine)).exit_code == 0

    (package / "plugin" / "__init__.py").write_text("from base import Base\n\n\nclass Plugin(Base): ...\n")
    result = peg("plugins", "validate", str(mine))
    assert result.exit_code == 0
    assert "not checked: hooks of `pegboard_mine.plugin:Plugin`: its base class `Base`" in result.stdout


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        pytest.param("class Plugin:", "class Plugin(:", "`plugin.py` line 11 is no Python", id="syntax"),
        pytest.param("class Plugin:", "class Other:", "there is no `Plugin` in its module", id="class"),
        pytest.param("self, ctx", "self, context", "hooks.provide_tools: has no argument `context`", id="argument"),
        pytest.param(
            'effect="pure"', 'effect="unsafe"', "tool `mine.add`: effect is `pure`, and `unsafe`", id="effect"
        ),
        pytest.param('"pure")', '"pure", tier="toolbelt")', "tier is `core`, and `toolbelt` in code", id="tier"),
    ],
)
def test_validate_reads_what_would_fail(peg: Any, mine: Path, old: str, new: str, told: str) -> None:
    """Code that cannot be imported, has wrong arguments or another effect is told without running it."""
    package = mine / "src" / "pegboard_mine"
    manifest = package / "pegboard.toml"
    manifest.write_text(manifest.read_text() + 'tier = "core"\n')
    code = package / "plugin.py"
    code.write_text(code.read_text().replace(old, new))
    result = peg("plugins", "validate", str(mine))

    assert result.exit_code == 4
    assert told in result.stdout


def test_validate_names_a_module_that_is_missing(peg: Any, mine: Path) -> None:
    """An entry whose module is not there is a problem."""
    (mine / "src" / "pegboard_mine" / "plugin.py").unlink()

    assert "there is no module `pegboard_mine.plugin`" in peg("plugins", "validate", str(mine)).stdout


def test_validate_warns_of_an_unmarked_hook(peg: Any, mine: Path) -> None:
    """A method with the name of a hook and no `@hookimpl` is a warning."""
    with (mine / "src" / "pegboard_mine" / "plugin.py").open("a") as file:
        file.write("\n    def authorize(self, ctx):\n        return None\n")
    result = peg("plugins", "validate", str(mine))

    assert result.exit_code == 0
    assert "warning: `pegboard_mine.plugin:Plugin` has a method `authorize`" in result.stdout


def test_validate_says_what_it_cannot_tell(peg: Any, mine: Path) -> None:
    """A tool whose effect is not written out is said to be not checked."""
    code = mine / "src" / "pegboard_mine" / "plugin.py"
    code.write_text(code.read_text().replace('effect="pure"', "effect=EFFECT"))

    assert "not checked: effect of the tool `mine.add`" in peg("plugins", "validate", str(mine)).stdout


def test_check_tells_when_a_plugin_does_not_conform(site: Any) -> None:
    """A plugin that breaks a rule is exit code 3."""
    site.plugin("ill", {}, {"plugin.py": "raise ValueError('no')"})
    done = site.peg("plugins", "check", "ill", "--tier", "bronze")

    assert done.returncode == 3
    assert "does not conform to bronze" in done.stderr


def test_check_names_the_suite_that_is_missing(peg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the test kit, what to install is the hint."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    assert "peg plugins install pegboard-testing" in peg("plugins", "check", "console").stderr


def test_new_leaves_compiled_files_of_the_template_out(peg: Any, tmp_path: Path) -> None:
    """A template that an installer has byte-compiled renders no `__pycache__`."""
    pytest.importorskip("cookiecutter")
    template = tmp_path / "template"
    package = template / "{{cookiecutter.name}}" / "src" / "__pycache__"
    package.mkdir(parents=True)
    (template / "cookiecutter.json").write_text('{"name": "x"}')
    (package / "a.pyc").write_bytes(b"\x00")
    (package.parent / "a.py").write_text("")
    folder = Path(peg.json("plugins", "new", "weather", "--template", str(template))["data"]["folder"])

    assert (folder / "src" / "a.py").exists()
    assert list(folder.rglob("__pycache__")) == []


@pytest.mark.parametrize(
    "arguments", [("Weather Report",), ("pegboard-weather",), ("weather", "--kind", "wrong"), ("z", "--license", "GPL")]
)
def test_new_says_what_is_wrong_with_its_answers(peg: Any, place: Path, arguments: tuple[str, ...]) -> None:
    """A name or kind that cannot be is a usage error before anything is rendered."""
    result = peg("plugins", "new", *arguments)

    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "rendered" not in result.stderr
    assert list(place.iterdir()) == []
