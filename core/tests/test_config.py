"""Settings in layers: what holds, where it came from, and what a project may say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pegboard import config
from pegboard.config import Config
from pegboard.config_lines import line_numbers
from pegboard.errors import ConfigError, UntrustedConfigError


class Files:
    """The files of three layers, in a home of their own."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.project = root / "project"
        self.environ = {"PEGBOARD_HOME": str(self.home)}
        self.paths = {
            "system": self.home / "system" / "config.toml",
            "user": self.home / "config" / "config.toml",
            "project": self.project / ".pegboard" / "config.toml",
        }

    def write(self, layer: str, text: str) -> Path:
        path = self.paths[layer]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def load(self, environ: Mapping[str, str] | None = None, **options: Any) -> Config:
        return config.load(self.project, environ={**self.environ, **(environ or {})}, **options)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_the_highest_layer_holds(files: Files) -> None:
    """Defaults, system, user, project, environment, command line, host, in this order."""
    expected = [("defaults", "auto")]
    for layer in files.paths:
        files.write(layer, f'model = "{layer}"\n')
        expected.append((layer, layer))
        found = files.load().explain("model")
        assert found is not None
        assert (found.layer, found.value) == expected[-1]

    environ = {"PEGBOARD__MODEL": "from-environment"}
    assert files.load(environ).get("model") == "from-environment"
    assert files.load(environ, command_line={"model": "typed"}).get("model") == "typed"
    assert files.load(environ, command_line={"model": "typed"}, host={"model": "given"}).get("model") == "given"


def test_a_value_knows_where_it_was_written(files: Files) -> None:
    """Layer, file and line, and what it overrode."""
    system = files.write("system", 'model = "a"\n')
    user = files.write("user", '# mine\n\nmodel = "b"\n')

    found = files.load().explain("model")

    assert found is not None
    assert (found.value, found.layer, found.file, found.line) == ("b", "user", str(user), 3)
    assert [(value.value, value.layer, value.file, value.line) for value in found.overrode] == [
        ("a", "system", str(system), 1),
        ("auto", "defaults", None, None),
    ]


def test_a_variable_is_named(files: Files) -> None:
    """It has no file and no line."""
    found = files.load({"PEGBOARD__LIMITS__TURNS": "5"}).explain("limits.turns")

    assert found is not None
    assert (found.value, found.layer, found.file) == (5, "environment", "$PEGBOARD__LIMITS__TURNS")


@pytest.mark.parametrize(
    ("name", "text", "key", "value"),
    [
        ("MODEL", "5", "model", "5"),
        ("LIMITS__COST_USD", "0.5", "limits.cost_usd", 0.5),
        ("REQUIRED_HOOKS", '["audit"]', "required_hooks", ["audit"]),
        ("PLUGINS__CLAUDE_HOOKS__ENABLED", "false", "plugins.claude-hooks.enabled", False),
        ("PLUGINS__GIT__SIZE", "12", "plugins.git.size", 12),
        ("PLUGINS__GIT__NAME", "not toml", "plugins.git.name", "not toml"),
    ],
)
def test_variables_are_read_as_the_schema_wants(files: Files, name: str, text: str, key: str, value: Any) -> None:
    """Strings as they are, the rest as in a file."""
    assert files.load({f"PEGBOARD__{name}": text}).get(key) == value


def test_a_table_is_merged_from_all_layers(files: Files) -> None:
    """Key by key; a list is one value."""
    files.write("system", '[models.aliases]\nfast = "a"\nslow = "b"\n')
    files.write("user", '[models.aliases]\nfast = "c"\n')

    assert files.load().get("models.aliases") == {"fast": "c", "slow": "b"}


def test_keys_with_dots_are_quoted(files: Files) -> None:
    """As in the file."""
    files.write("user", '[overrides]\n"tool:git.status" = "my-dist"\n')

    found = files.load()

    assert found.get('overrides."tool:git.status"') == "my-dist"
    assert 'overrides."tool:git.status"' in set(found.keys())


def test_to_dict_is_everything(files: Files) -> None:
    """Nested, with the defaults."""
    files.write("user", "[limits]\ntokens = 100\n")

    data = files.load().to_dict()

    assert data["limits"]["tokens"] == 100
    assert data["limits"]["turns"] == 20
    assert data["model"] == "auto"


# --- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modle = 'x'", "modle: is an unknown key; did you mean `model`?"),
        ("[limit]\nturns = 5", "limit: is an unknown key; did you mean `limits`?"),
        ("model = 5", "model: must be a string"),
        ("[limits]\nturns = 'many'", "limits.turns: must be a whole number"),
        ("[limits]\nturns = 0", "limits.turns: must be at least 1"),
        ("required_hooks = [5]", "required_hooks.0: must be a string"),
        ("limits = 5", "limits: must be a table"),
        ("[plugins]\ngit = 5", "plugins.git: must be a table"),
        ("model = ", "is not TOML"),
        ("x = " + "[" * 5000, "is not TOML"),
    ],
    ids=lambda value: value[:20],
)
def test_a_fault_is_named_with_file_and_line(files: Files, text: str, words: str) -> None:
    """And the hint says which file to edit."""
    path = files.write("user", "# first line\n" + text)

    with pytest.raises(ConfigError) as caught:
        files.load()

    assert words in caught.value.message
    assert caught.value.message.startswith(str(path))


def test_the_line_of_a_fault_is_that_of_the_key(files: Files) -> None:
    """Not that of the table."""
    path = files.write("user", "[limits]\nturns = 5\ntokens = 'x'\n")

    with pytest.raises(ConfigError, match=f"{path}:3: limits.tokens"):
        files.load()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"# " + b"x" * 2_000_000], ids=["bytes", "large"])
def test_an_unreadable_file_is_a_fault(files: Files, content: bytes) -> None:
    """Typed, with the path."""
    files.write("user", "").write_bytes(content)

    with pytest.raises(ConfigError, match=r"config\.toml"):
        files.load()


def test_a_variable_that_does_not_fit_is_named(files: Files) -> None:
    """By the variable."""
    with pytest.raises(ConfigError, match=r"\$PEGBOARD__LIMITS__TURNS: limits.turns: must be a whole number"):
        files.load({"PEGBOARD__LIMITS__TURNS": "many"})


def test_tolerant_loading_collects_and_leaves_out(files: Files) -> None:
    """For the commands that repair things: what is right still holds."""
    files.write("user", 'modle = "x"\nagent = "good"\n[limits]\nturns = "many"\n')

    found = files.load(tolerant=True)

    assert [type(problem) for problem in found.problems] == [ConfigError, ConfigError]
    assert (found.get("agent"), found.get("limits.turns"), found.get("modle")) == ("good", 20, None)


# --- what a project may say ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'model = "scripted:demo"',
        'agent = "helper"',
        "[limits]\nturns = 5",
        "[limits]\ncost_usd = 0.1",
        "[plugins.git]\nenabled = false",
        "[plugins.git.permissions]\nexec = []",
        'required_hooks = ["audit"]',
    ],
)
def test_a_project_may_choose_a_model_switch_off_and_narrow(files: Files, text: str) -> None:
    """Without being trusted."""
    files.write("project", text)

    assert files.load().files == [str(files.paths["project"])]


@pytest.mark.parametrize(
    "text",
    [
        "[plugins.git]\nenabled = true",
        '[plugins.git]\nruntime = "in-process"',
        '[plugins.git]\nbase_url = "https://evil.example"',
        "[limits]\nturns = 500",
        "[limits]\nturns = 5\ntokens = 1000",
        '[drivers]\nstore = "evil"',
        '[overrides]\n"plugin:git" = "evil"',
        '[models.aliases]\nfast = "evil:model"',
        'third_party_runtime = "manifest"',
        "required_hooks = []",
        '[plugins.git.permissions]\nexec = ["git"]',
        'trusted_folders = ["."]',
    ],
)
def test_a_project_may_not_enable_widen_or_point_at_code(files: Files, text: str) -> None:
    """Until its folder is trusted."""
    files.write("user", "[limits]\ntokens = 100\n[plugins.x]\ny = 1\n[plugins.git.permissions]\nexec = []\n")
    files.write("system", 'required_hooks = ["audit"]\n')
    files.write("project", text)

    with pytest.raises(UntrustedConfigError):
        files.load()


def test_an_agent_by_path_is_refused(files: Files) -> None:
    """A project names an agent; it does not point at a module."""
    files.write("project", 'agent = "module:agent"\n')

    with pytest.raises(ConfigError, match="`agent` may only be set in a trusted folder"):
        files.load()


def test_a_trusted_project_may_say_everything(files: Files) -> None:
    """The person's own file says which folders are."""
    files.write("user", f'trusted_folders = ["{files.project}"]\n')
    files.write("project", '[drivers]\nstore = "mine"\n')

    found = files.load()

    assert found.trusted
    assert found.get("drivers.store") == "mine"


def test_a_trusted_project_cannot_trust_others(files: Files) -> None:
    """Only a person can."""
    files.write("user", f'trusted_folders = ["{files.project}"]\n')
    files.write("project", 'trusted_folders = ["/"]\n')

    with pytest.raises(UntrustedConfigError):
        files.load()


def test_the_hint_trusts_the_folder(files: Files) -> None:
    """A command to run."""
    files.write("project", '[drivers]\nstore = "x"\n')

    with pytest.raises(UntrustedConfigError) as caught:
        files.load()
    assert caught.value.hint == f"peg config set trusted_folders '[\"{files.project}\"]'"


def test_the_project_is_the_nearest_folder_above(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the working folder upwards."""
    files.write("project", 'model = "a"\n')
    below = files.project / "deep" / "er"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)

    assert config.load(environ=files.environ).project == files.project


# --- settings of plugins ---------------------------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "properties": {
        "size": {"type": "integer", "default": 3},
        "token": {"type": "string"},
        "deep": {"type": "object", "properties": {"x": {"type": "boolean"}}},
    },
    "required": ["size"],
    "additionalProperties": False,
}


def test_settings_of_a_plugin_have_its_defaults(files: Files) -> None:
    """And none of core's own keys."""
    files.write("user", '[plugins.git]\nenabled = true\ntoken = "env:TOKEN"\n')

    assert files.load().plugin_settings("git", SCHEMA, ["token"]) == {"size": 3, "token": "env:TOKEN"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('size = "big"', "plugin \"git\", option \"size\": 'big' is not of type 'integer'"),
        ("[plugins.git.deep]\nx = 1", 'plugin "git", option "deep.x": 1 is not of type \'boolean\''),
        ("colour = 1", 'plugin "git": Additional properties are not allowed'),
    ],
)
def test_a_setting_that_does_not_fit_is_named(files: Files, text: str, message: str) -> None:
    """With plugin and option."""
    files.write("user", f"[plugins.git]\n{text}\n")

    with pytest.raises(ConfigError) as caught:
        files.load().plugin_settings("git", SCHEMA)

    assert message in caught.value.message
    assert caught.value.plugin == "git"


def test_a_setting_that_does_not_fit_has_a_place(files: Files) -> None:
    """File and line."""
    path = files.write("user", '[plugins.git]\n\nsize = "big"\n')

    with pytest.raises(ConfigError, match=rf"\({path}:3\)$"):
        files.load().plugin_settings("git", SCHEMA)


@pytest.mark.parametrize("value", ["abc123", "keyring:", "http:abc123"])
def test_a_secret_is_a_reference(files: Files, value: str) -> None:
    """What looks like the secret itself is refused, and not repeated in the message."""
    files.write("user", f"[plugins.git]\ntoken = {value!r}\n")

    with pytest.raises(ConfigError, match='plugin "git", option "token"') as caught:
        files.load().plugin_settings("git", SCHEMA, ["token"])
    assert value not in caught.value.message


def test_settings_of_an_absent_plugin_are_a_warning(files: Files) -> None:
    """With a near name."""
    files.write("user", "[plugins.gti]\nsize = 1\n")

    assert files.load().unknown_plugins(["git"]) == [
        "there are settings for the plugin `gti`, which is not installed; did you mean `git`?"
    ]


def test_disabled_plugins_have_a_layer(files: Files) -> None:
    """The highest that says so."""
    files.write("user", "[plugins.a]\nenabled = false\n[plugins.b]\nenabled = true\n")
    files.write("project", "[plugins.b]\nenabled = false\n")

    assert files.load().disabled_plugins() == {"a": "user", "b": "project"}


# --- lines -----------------------------------------------------------------------------------------------------------


def test_lines_are_found_through_all_that_toml_has() -> None:
    """Strings over several lines, lists, inline tables, quoted keys, comments with brackets."""
    text = '''# [not.a.table]
a = 1
"b.c" = "# no comment"
d.e = [
  1, # ]
  2,
]
f = """
g = 1
[h]
"""
[i."j k"]
l = { m = 1, n = "}" }
[[o]]
p = 'x = 1'
'''

    found = line_numbers(text)

    assert {".".join(path): line for path, line in found.items()} == {
        "a": 2,
        "b.c": 3,
        "d.e": 4,
        "f": 8,
        "i.j k": 12,
        "i.j k.l": 13,
        "i.j k.l.m": 13,
        "i.j k.l.n": 13,
        "o": 14,
        "o.p": 15,
    }
