"""Reports of faults: one JSON file that a person reads before they send it; nothing is sent by itself.

Secrets are removed by value (every environment variable whose name looks like one) and by shape (keys as providers
make them). Environment variables are named, their values never written.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from pegboard import __version__, folders

SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH|COOKIE|SESSION|DSN|_URL$", re.IGNORECASE)
_SECRET_SHAPE = re.compile(
    r"\b(?:sk|pk|rk|ghp|gho|ghs|xox[abp]|AIza|glpat|hf|pypi)[-_][A-Za-z0-9_\-]{12,}"
    r"|\beyJ[\w-]{10,}\.[\w-]+\.[\w-]+"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|(?i:(?<=bearer )[\w.\-]{8,})"
)
MASK = "***"


def mask(text: str) -> str:
    """`text` without anything that is, or looks like, a secret."""
    for name, value in os.environ.items():
        if len(value) >= 6 and SECRET_NAME.search(name):
            text = text.replace(value, MASK)
    return _SECRET_SHAPE.sub(MASK, text)


def facts() -> dict[str, Any]:
    """What every report says of this machine."""
    return {
        "pegboard": __version__,
        "python": sys.version,
        "implementation": sys.implementation.name,
        "platform": platform.platform(),
        "prefix": sys.prefix,
        "environment": sorted(name for name in os.environ if name.startswith(("PEGBOARD", "PYTHON", "LANG", "LC_"))),
    }


def write_bug_bundle(error: BaseException, command: str) -> Path | None:
    """Write a report of a fault of ours; `None` when no folder can be written."""
    report = {
        "what": "fault",
        "command": command,
        "arguments": [argument if argument.startswith("-") else "…" for argument in sys.argv[1:]],
        "traceback": traceback.format_exception(error),
        **facts(),
    }
    return write_bundle("bug", report)


def write_bundle(kind: str, report: dict[str, Any]) -> Path | None:
    """Write a report, masked, with a name of its own."""
    base = folders.cache_dir()
    if base is None:
        return None
    path = Path(base) / "reports" / f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(mask(json.dumps(report, indent=2, ensure_ascii=False, default=str)) + "\n", encoding="utf-8")
        path.chmod(0o600)
    except OSError:
        return None
    return path
