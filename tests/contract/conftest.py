"""Golden files: what must not change unnoticed stands in a file beside the test that compares it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
Golden = Callable[[str, Any], None]


@pytest.fixture(scope="session")
def golden() -> Golden:
    """Compares data with the golden file of that name.

    `PEGBOARD_WRITE_GOLDEN=1 pytest tests/contract` writes the files; read the difference before committing it.
    """

    def compare(name: str, current: Any) -> None:
        path = FOLDER / name
        if os.environ.get("PEGBOARD_WRITE_GOLDEN"):
            path.write_text(json.dumps(current, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        recorded = json.loads(path.read_text(encoding="utf-8"))
        assert current == recorded, f"`{name}` differs; if that is meant, run PEGBOARD_WRITE_GOLDEN=1 pytest {path}"

    return compare
