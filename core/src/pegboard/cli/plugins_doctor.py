"""`peg plugins doctor`: what is wrong with the plugins, and the command that mends each fault.

Without `--deep` none of them is imported.
"""

from __future__ import annotations

import asyncio

from pegboard import config
from pegboard.cli.contract import Answer, command, option
from pegboard.cli.doctor import check_deep
from pegboard.cli.findings import answer_of
from pegboard.cli.inventory import Inventory
from pegboard.plugins.checkup import check_plugins


@command("doctor")
@option("--deep", is_flag=True, help="Also import and activate every plugin, each in a process of its own.")
def doctor(deep: bool) -> Answer:
    """Look for faults of plugins and name the command that fixes each."""
    inventory = Inventory()
    settings = config.load(tolerant=True)
    findings = check_plugins(inventory.index, inventory.state, inventory.selection, settings)
    findings += asyncio.run(check_deep(inventory, settings)) if deep else []
    return answer_of(findings, {"from_cache": inventory.index.from_cache}, config_broken=bool(settings.problems))
