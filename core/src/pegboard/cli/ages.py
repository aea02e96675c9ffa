"""Ages on the command line: `90s`, `30m`, `12h`, `30d`, `8w`."""

from __future__ import annotations

import re
from typing import Any

import click

_AGE = re.compile(r"(\d+)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Age(click.ParamType[float]):
    """An age; its value is in seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        found = _AGE.fullmatch(value)
        if found is None:
            self.fail(f"{value!r} is not an age such as '30m', '12h' or '30d'.", param, ctx)
        return float(int(found[1]) * _SECONDS[found[2]])
