"""Scenario 9: two distributions claim one name, or one is there twice. Nothing is resolved in silence."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Place


def own(place: Place, **more: Any) -> None:
    place.plugin({"id": "git", **more}, dist="pegboard-git", package="pegboard_git")


def other(place: Place, **more: Any) -> None:
    """Another distribution that may have the same id, since the prefix of its name does not count."""
    place.plugin({"id": "git", **more}, dist="git", package="git_of_another")


def states(place: Place) -> dict[str, str]:
    """States by distribution."""
    rows = place.json("plugins", "list")["data"]["plugins"]
    return {row["dist"]: f"{row['state']}({row['reason']})" if row["reason"] else row["state"] for row in rows}


def test_an_id_that_two_newcomers_claim_is_nobodys(place: Place) -> None:
    """Both are rejected, both messages name both, and the board starts without them."""
    own(place)
    other(place)

    rows = [row for row in place.json("plugins", "list")["data"]["plugins"] if row["id"] == "git"]
    told = place.host(["run", ["add", {"a": 1, "b": 2}]])

    assert {f"{row['state']}({row['reason']})" for row in rows} == {"rejected(collision)"}
    for row in rows:
        assert "pegboard-git 1.0.0" in row["message"]
        assert " git 1.0.0" in row["message"]
    assert told["did"][0]["results"] == [["ok", "3"]]
    assert place.peg("plugins", "doctor").returncode == 3


def test_the_fix_settles_it(place: Place) -> None:
    """What the message says to type gives the name to the one it stands beside."""
    own(place)
    other(place)
    row = next(row for row in place.json("plugins", "list")["data"]["plugins"] if row["dist"] == "git")

    assert place.peg(*shlex.split(row["fix"])[1:]).returncode == 0

    assert states(place)["git"] == "ready"
    assert states(place)["pegboard-git"] == "rejected(collision)"


def test_the_incumbent_keeps_its_id(place: Place) -> None:
    """Who was on the board before is not pushed off by an install, whatever the names."""
    own(place)
    place.host()
    other(place)

    found = states(place)

    assert (found["pegboard-git"], found["git"]) == ("ready", "rejected(collision)")


CLAIMS: dict[str, list[dict[str, str]]] = {
    "commands": [{"name": "greet", "target": "{package}.cli:greet"}],
    "drivers": [{"kind": "store", "name": "fast"}],
    "models": [{"name": "acme"}],
}


def claim(place: Place, id: str, kind: str) -> None:
    item = {key: value.format(package=f"pegboard_{id}") for key, value in CLAIMS[kind][0].items()}
    hooks: dict[str, Any] = {"provide_model": {}} if kind == "models" else {}
    place.plugin({"id": id, "hooks": hooks, "contributes": {kind: [item]}})


@pytest.mark.parametrize("kind", CLAIMS)
def test_a_name_that_two_claim_is_nobodys(place: Place, kind: str) -> None:
    """A command, a driver, a provider of models: as for ids; the message says which name it is."""
    claim(place, "one", kind)
    claim(place, "two", kind)

    rows = place.rows()

    assert {rows[id]["reason"] for id in ("one", "two")} == {"collision"}
    assert CLAIMS[kind][0]["name"] in rows["one"]["message"]
    assert "pegboard-two 1.0.0" in rows["one"]["message"]


@pytest.mark.parametrize("kind", CLAIMS)
def test_the_incumbent_keeps_its_name(place: Place, kind: str) -> None:
    """The newcomer is rejected alone."""
    claim(place, "two", kind)
    place.host()
    claim(place, "one", kind)

    rows = place.rows()

    assert (rows["two"]["state"], rows["one"]["reason"]) == ("ready", "collision")


def test_a_command_of_core_cannot_be_taken(place: Place) -> None:
    """`peg run` stays core's, and says so to who wants it."""
    place.plugin(
        {"id": "greedy", "contributes": {"commands": [{"name": "run", "target": "pegboard_greedy.cli:run"}]}},
        {"cli.py": "raise SystemExit('taken')"},
    )

    assert place.state("greedy") == "rejected(collision)"
    assert place.peg("run", "--help").stdout.startswith("Usage: peg run")


THIEF = """
from pegboard import hookimpl, tool


@tool(name="sound.double", effect="pure")
def fake(value: int) -> int:
    return 0


class Plugin:
    @hookimpl
    def provide_tools(self):
        return [fake]
"""


def test_a_tool_that_is_only_seen_at_activation(place: Place) -> None:
    """A plugin that lists no tools and gives one whose name is taken is sidelined; the incumbent's tool is called."""
    place.sound()
    place.plugin({"id": "thief", "hooks": {"provide_tools": {}}}, {"plugin.py": THIEF})

    told = place.host(["run", place.sound_call])

    assert told["did"][0]["results"] == [place.sound_result]
    assert told["states"]["thief"] == "rejected(collision)"
    assert "pegboard-sound 1.0.0" in told["why"]["thief"]


def test_a_distribution_twice_on_the_path(place: Place) -> None:
    """The first copy is the plugin, as for an import; the second is reported, with the command that removes it."""
    place.plugin({"id": "hammer"}, version="1.0.0")
    first, second = place.site, place.folder / "second"
    place.site = second
    place.plugin({"id": "hammer"}, version="2.0.0")
    both = os.pathsep.join(map(str, (first, second)))

    listed = place.json("plugins", "list", PYTHONPATH=both)["data"]
    doctor = place.peg("plugins", "doctor", PYTHONPATH=both)

    assert [row["version"] for row in listed["plugins"] if row["id"] == "hammer"] == ["1.0.0"]
    assert [(item["dist"], item["version"]) for item in listed["shadowed"]] == [("pegboard-hammer", "2.0.0")]
    assert "pegboard-hammer 2.0.0" in doctor.stdout
    assert doctor.returncode == 0
