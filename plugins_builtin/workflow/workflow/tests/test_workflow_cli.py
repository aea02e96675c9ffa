"""`peg workflow`: what it prints, as text and as JSON, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

GOOD = """\
description: Counts the characters of its input
nodes:
  text: {transform: text}
  count: {transform: count, inputs: $nodes.text}
"""
BAD = "nodes:\n  a: {transform: text, inputs: $nodes.b}\n  b: {transform: text, inputs: $nodes.a}\n"


class Peg:
    """Calls `peg` in a process of its own, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder.parent / "home"

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PEGBOARD_HOME": str(self.home), "PATH": "", "NO_COLOR": "1", "PEGBOARD_PLUGINS": "workflow"}
        return subprocess.run(
            [sys.executable, "-m", "pegboard", *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def json(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """The exit code and the one object of `--json`."""
        done = self(*arguments, "--json")
        assert done.stdout.count("\n") == 1, done.stdout + done.stderr
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
def peg(tmp_path: Path) -> Peg:
    """A trusted project with one workflow; another file, which is not sound, lies beside."""
    project = tmp_path / "project"
    (project / ".pegboard" / "workflows").mkdir(parents=True)
    (project / ".pegboard" / "workflows" / "counts.yaml").write_text(GOOD)
    (project / "bad.yaml").write_text(BAD)
    settings = tmp_path / "home" / "config" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'trusted_folders = ["{project}"]\n')
    return Peg(project)


def test_list(peg: Peg) -> None:
    """Each workflow with where it is from."""
    code, said = peg.json("workflow", "list")

    row = {"name": "counts", "plugin": "workflow", "nodes": 2, "sound": True}
    row["description"] = "Counts the characters of its input"
    assert (code, said["schema"]) == (0, "peg.workflow.list/1")
    assert said["data"]["workflows"] == [row]
    assert "counts  workflow  2" in peg("workflow", "list").stdout


@pytest.mark.parametrize(("kind", "said"), [("text", "- count: count"), ("mermaid", "n0 --> n1"), ("svg", "<svg")])
def test_show(peg: Peg, kind: str, said: str) -> None:
    """As text, Mermaid or SVG, on stdout and nothing else."""
    done = peg("workflow", "show", "counts", "--format", kind)

    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout
    assert peg.json("workflow", "show", "counts")[1]["data"]["nodes"][1]["needs"] == ["text"]


def test_check(peg: Peg) -> None:
    """Everything that is wrong, with exit code 4; a name or a file, or all there are."""
    assert peg("workflow", "check").stdout == "counts: sound\n"
    code, said = peg.json("workflow", "check", "bad.yaml")

    (problem,) = said["data"]["workflows"][0]["problems"]
    assert (code, said["ok"], said["error"]["code"]) == (4, False, "workflow.invalid")
    assert (problem["code"], problem["line"]) == ("workflow.cycle", 2)
    assert "a -> b -> a" in peg("workflow", "check", "bad.yaml").stdout


def test_hints_are_what_helps(peg: Peg) -> None:
    """To see what is taken, to mend a file, to say what a code means, to run it with something."""
    (peg.folder / "picky.yaml").write_text(
        "input: {type: object, properties: {n: {type: integer}}, required: [n]}\nnodes: {a: {transform: text}}\n"
    )
    named = peg.folder / ".pegboard" / "workflows" / "circle.yaml"
    named.write_text(BAD)

    def hint(*arguments: str) -> str:
        return str(peg.json("workflow", *arguments)[1]["error"]["hint"])

    assert hint("run", "picky.yaml") == "peg workflow show picky.yaml"
    assert hint("run", "picky.yaml", '{"n": "x"}') == "peg workflow show picky.yaml"
    assert "  n      integer  yes" in peg("workflow", "show", "picky.yaml").stdout
    for command in (("run", "bad.yaml"), ("show", "bad.yaml"), ("check", "bad.yaml")):
        assert hint(*command) == "${EDITOR:-vi} 'bad.yaml'"
    assert hint("check", "circle") == "peg help workflow.cycle"
    assert hint("run", named.with_name("counts.yaml").as_posix()).startswith("peg workflow run ")


def test_run(peg: Peg) -> None:
    """By its name, by `peg run`, and by a file."""
    file = ".pegboard/workflows/counts.yaml"
    for arguments in (("workflow", "run", "counts"), ("run", "counts"), ("workflow", "run", file)):
        done = peg(*arguments, "four")
        assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr
    code, said = peg.json("workflow", "run", "counts", "four")
    assert (code, said["data"]["output"]) == (0, 4)


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("run", "bad.yaml", "x"), 4, "workflow.invalid"),
        (("show", "cuonts"), 2, "workflow.not_found"),
        (("show", "missing.yaml"), 4, "workflow.invalid"),
        (("show",), 2, "usage"),
    ],
)
def test_exit_codes(peg: Peg, arguments: tuple[str, ...], code: int, error: str) -> None:
    """Each failure has its code, and its error in the one JSON object."""
    exit_code, said = peg.json("workflow", *arguments)

    assert (exit_code, said["error"]["code"]) == (code, error)


def test_an_untrusted_project_is_told(peg: Peg) -> None:
    """Its workflows are no agents; they can be looked at, and run by their path."""
    (peg.home / "config" / "config.toml").unlink()
    listed = peg("workflow", "list")

    assert listed.stderr.count("trusted_folders") == 1
    assert peg("workflow", "run", "counts", "x").returncode == 2
    assert "counts.yaml: sound" in peg("workflow", "check").stdout
    assert peg("workflow", "run", ".pegboard/workflows/counts.yaml", "four").stdout == "4\n"
