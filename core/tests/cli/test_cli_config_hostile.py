"""`peg config` where others write too, lay traps, or leave secrets: nothing is lost, shown, or waited for."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SECRET = "hunter2secret"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The person's own file; its folder is there."""
    path = tmp_path / "home" / "config" / "config.toml"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def vault(site: Any) -> Any:
    """A plugin with a secret and other options."""
    options = {"token": {"type": "string"}, "depth": {"type": "integer"}, "url": {"type": "string"}}
    schema = {"type": "object", "properties": options, "required": ["url"], "additionalProperties": False}
    site.plugin("vault", {"config": {"schema": schema, "secrets": ["token"]}, "permissions": {"secrets": ["token"]}})
    return site


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_writers_at_the_same_time_lose_no_setting(file: Path) -> None:
    """Each `config set` changes what is there, under a lock."""
    code = (
        "import sys; from pathlib import Path; from pegboard import config_edit\n"
        "config_edit.set_value(Path(sys.argv[1]), ('plugins', sys.argv[2], 'x'), 1)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(file), f"p{number}"]) for number in range(8)]
    assert [process.wait(60) for process in running] == [0] * 8

    assert len(tomllib.loads(file.read_text())["plugins"]) == 8
    assert names_in(file.parent) == ["config.toml"]


def test_a_linked_file_stays_a_link(peg: Any, file: Path, tmp_path: Path) -> None:
    """What the link leads to is written."""
    real = tmp_path / "dotfiles.toml"
    real.write_text("# mine\n")
    file.symlink_to(real)

    assert peg("config", "set", "model", "scripted:demo").exit_code == 0

    assert file.is_symlink()
    assert real.read_text() == '# mine\nmodel = "scripted:demo"\n'


def test_a_link_to_nowhere_makes_no_file(peg: Any, file: Path, tmp_path: Path) -> None:
    """Who laid the link would choose which file is made."""
    file.symlink_to(tmp_path / "other")

    result = peg("config", "set", "model", "scripted:demo")

    assert (result.exit_code, (tmp_path / "other").exists()) == (4, False)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("", "1", id="empty"),
        pytest.param("...", "1", id="dots"),
        pytest.param("limits..turns", "1", id="hole"),
        pytest.param('"', "1", id="quote"),
        pytest.param("model", "a\udcff", id="surrogate"),
        pytest.param("a\udcff", "1", id="surrogate-key"),
    ],
)
def test_what_no_file_can_hold_is_refused(peg: Any, file: Path, key: str, value: str) -> None:
    """A key without names and bytes that are no text are wrong usage; nothing is left in the folder."""
    result = peg("config", "set", key, value)

    assert result.exit_code == 2, result.output
    assert names_in(file.parent) == []


TRAPS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "huge": lambda path: path.write_bytes(b"#" * (2 * 1024 * 1024)),
    "folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("lay", TRAPS.values(), ids=TRAPS)
@pytest.mark.parametrize("where", ["user", "parent"])
@pytest.mark.parametrize(
    "command", [["config", "show"], ["config", "set", "model", "x:y"], ["plugins", "list"], ["doctor"]], ids=" ".join
)
def test_no_trap_is_waited_for(
    peg: Any, file: Path, place: Path, lay: Callable[[Path], object], where: str, command: list[str]
) -> None:
    """A pipe, a device or a huge file in the place of a `config.toml` is never read and never our fault."""
    if where == "parent":
        file = place.parent / ".pegboard" / "config.toml"
        file.parent.mkdir()
    lay(file)

    result = peg(*command)

    assert result.exit_code in (0, 3, 4), result.output
    assert names_in(file.parent) == ["config.toml"]


def test_a_foreign_project_above_is_not_asked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's `.pegboard` above the working folder switches nothing off."""
    from pegboard import folders
    from pegboard.cli.inventory import Inventory

    (place.parent / ".pegboard").mkdir()
    (place.parent / ".pegboard" / "plugins.json").write_text('{"schema": 1, "disabled": {"replay": "project"}}')
    assert "replay" not in Inventory().selection.ready

    monkeypatch.setattr(folders, "_owned", lambda folder: False)

    assert "replay" in Inventory().selection.ready


def test_a_byte_order_mark_is_accepted_and_kept(peg: Any, file: Path) -> None:
    """Editors of Windows put one in front."""
    file.write_text('\ufeffmodel = "a:b"\n', encoding="utf-8")

    peg("config", "set", "limits.turns", "3")

    assert peg.json("config", "explain", "model")["data"]["value"] == "a:b"
    assert file.read_text(encoding="utf-8").startswith('\ufeffmodel = "a:b"\n')


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1"])
def test_a_limit_is_a_finite_number(peg: Any, value: str) -> None:
    """What cannot be reached or compared is no limit."""
    assert peg("config", "set", "--", "limits.seconds", value).exit_code == 4


def test_a_number_that_no_file_may_hold_is_refused(peg: Any, file: Path) -> None:
    """What would make the whole file unreadable is not written into it."""
    assert peg("config", "set", "limits.tokens", "9" * 40).exit_code == 4
    assert not file.exists()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        pytest.param("depth", "deep", "is not of type 'integer'", id="type"),
        pytest.param("dpeth", "3", "'dpeth' was unexpected", id="unknown"),
        pytest.param("token", SECRET, "is a secret", id="secret"),
    ],
)
def test_what_a_plugin_would_refuse_is_not_written(
    peg: Any, vault: Any, file: Path, key: str, value: str, told: str
) -> None:
    """A plugin's setting is judged by its manifest when it is written."""
    result = peg("config", "set", f"plugins.vault.{key}", value)

    assert (result.exit_code, file.exists()) == (4, False)
    assert told in result.stderr
    assert SECRET not in result.output


def test_one_option_is_judged_alone(peg: Any, vault: Any) -> None:
    """What else has to be set can be set afterwards."""
    assert peg("config", "set", "plugins.vault.depth", "3").exit_code == 0
    assert peg("config", "set", "plugins.vault.token", "env:TOKEN").exit_code == 0


def test_settings_of_an_unknown_plugin_are_written_with_a_warning(peg: Any, file: Path) -> None:
    """It may be installed later."""
    result = peg("config", "set", "plugins.later.x", "1")

    assert "no plugin `later` is installed" in result.stderr
    assert "x = 1" in file.read_text()


@pytest.mark.parametrize(
    "value", [f'"{SECRET}"', f'["{SECRET}"]', f'{{a = "{SECRET}"}}'], ids=["text", "list", "table"]
)
@pytest.mark.parametrize(
    "command",
    [
        ["config", "show"],
        ["config", "show", "--json"],
        ["config", "explain", "plugins.vault.token"],
        ["config", "explain", "plugins.vault", "--json"],
        ["config", "explain", "plugins.vault.token", "--json"],
        ["doctor", "--bundle"],
    ],
    ids=" ".join,
)
def test_a_secret_that_is_written_out_is_not_shown(
    peg: Any, vault: Any, file: Path, tmp_path: Path, value: str, command: list[str]
) -> None:
    """Neither in what is printed nor in a report."""
    file.write_text(f"[plugins.vault]\nurl = 'here'\ntoken = {value}\n")

    assert SECRET not in peg(*command).output
    assert not [report for report in tmp_path.rglob("*.json") if SECRET in report.read_text()]


def test_a_secret_of_a_plugin_that_is_gone_is_not_shown(peg: Any, file: Path) -> None:
    """Its name is all that tells."""
    file.write_text(f'[plugins.gone]\npassword = "{SECRET}"\nplain = "seen"\n')

    shown = peg("config", "show").stdout

    assert SECRET not in shown
    assert "seen" in shown


def test_a_date_can_be_shown(peg: Any, file: Path) -> None:
    """TOML has values that JSON has not."""
    file.write_text("[plugins.gone]\nsince = 2026-01-01\n")

    assert "2026-01-01" in peg("config", "show").stdout


def test_the_hint_for_a_broken_file_can_be_run(site: Any, file: Path) -> None:
    """It opens the file in the person's editor."""
    file.write_text("model =\n")
    done = site.peg("config", "set", "model", "a:b")
    hint = done.stderr.partition("run `")[2].partition("`")[0]

    opened = subprocess.run(["sh", "-c", hint], env={**os.environ, "EDITOR": "cat"}, capture_output=True, text=True)

    assert opened.stdout == "model =\n"
