"""`peg plugins doctor`: what is wrong with the plugins, and the command that mends each fault; imports none of them."""

from __future__ import annotations

from pegboard import config
from pegboard.cli.contract import Answer, command
from pegboard.cli.findings import answer_of
from pegboard.cli.inventory import Inventory
from pegboard.plugins.checkup import check_plugins


@command("doctor")
def doctor() -> Answer:
    """Look for faults of plugins and name the command that fixes each."""
    inventory = Inventory()
    settings = config.load(tolerant=True)
    findings = check_plugins(inventory.index, inventory.state, inventory.selection, settings)
    return answer_of(findings, {"from_cache": inventory.index.from_cache}, config_broken=bool(settings.problems))
