"""Scenario 2: the import of a plugin never returns. The start goes on after the limit, and the culprit is named."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Place

HANGING = {"id": "broken", "activation": ["onStartup"], "startup_reason": "to be met"}
SPEED = 30.0
"""The limit of 30 s takes one."""
WAYS = {
    "sleep": "import time\ntime.sleep(3600)\n",
    "network": "import os, socket\nsocket.create_connection(('127.0.0.1', int(os.environ['PORT']))).recv(1)\n",
    "lock": "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()\n",
    "activate": "import time\n\n\nclass Plugin:\n    def activate(self, ctx):\n        time.sleep(3600)\n",
    "async activate": (
        "import asyncio\n\n\nclass Plugin:\n    async def activate(self, ctx):\n        await asyncio.Event().wait()\n"
    ),
}


@pytest.fixture
def silent_port() -> Iterator[str]:
    """A port on this machine where somebody listens and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield str(server.getsockname()[1])


@pytest.mark.parametrize("way", WAYS)
def test_a_start_does_not_wait_for_ever(place: Place, silent_port: str, way: str) -> None:
    """After the limit the plugin is abandoned, the others work, and the process ends although the import hangs on."""
    place.sound()
    place.plugin(HANGING, {"plugin.py": WAYS[way]})

    told = place.host(["run", place.sound_call], speed=SPEED, PORT=silent_port)

    assert told["did"][0]["results"] == [place.sound_result]
    assert told["states"]["broken"] == "quarantined(plugin.timeout)"
    told_of = [line for line in told["log"] if "`broken`" in line and ("activat" in line or "abandoned" in line)]
    warning, abandoned = told_of
    assert "takes long to activate" in warning
    assert "(pegboard-broken 1.0.0) did not finish within 30 s and was abandoned" in abandoned
    assert all(line.endswith("; peg plugins disable broken") for line in (warning, abandoned))


def test_who_needs_it_is_named(place: Place) -> None:
    """The message says which plugins will be missing with it, and they are rejected with that reason."""
    place.plugin(HANGING, {"plugin.py": WAYS["sleep"]})
    place.plugin({**HANGING, "id": "needy", "requires": ["broken"]})

    told = place.host(speed=SPEED)

    assert any("needed by `needy`" in line for line in told["log"])
    assert told["states"]["needy"] == "rejected(requires)"
    assert "requires plugin `broken`" in told["why"]["needy"]


def test_it_is_not_tried_again(place: Place) -> None:
    """Another 30 s at every start would be worse than being without: it stays in quarantine, until an upgrade."""
    made = place.plugin(HANGING, {"plugin.py": WAYS["sleep"]})
    place.host(speed=SPEED)

    row = place.rows()["broken"]
    again = place.host()

    assert (row["state"], row["fix"]) == ("quarantined", "peg plugins enable broken --test")
    assert "did not finish within 30 s" in row["message"]
    assert again["states"]["broken"] == "quarantined"
    assert not any(name.startswith("pegboard_broken") for name in again["modules"])
    assert place.peg("plugins", "doctor").returncode == 3
    made.remove()
    place.plugin(HANGING, version="1.0.1")
    assert place.state() == "ready"


@pytest.mark.slow
def test_the_real_limit(place: Place) -> None:
    """With a real clock: `peg run` goes on after 30 s, and trying it again fails and leaves it in quarantine."""
    place.broken("hang")

    done = place.peg("run", "-m", "scripted:demo", "hello")
    tried = place.peg("plugins", "enable", "broken", "--test", "--yes")

    assert done.returncode == 0
    assert "did not finish within 30 s" in done.stderr
    assert tried.returncode == 3
    assert place.state() == "quarantined"
