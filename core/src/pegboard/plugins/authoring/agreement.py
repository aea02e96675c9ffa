"""Does a manifest agree with its files and with the code; the code is read and never run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pegboard.plugins.authoring import reading
from pegboard.plugins.authoring.reading import Reading
from pegboard.plugins.discovery.index import PluginRecord


def judged(record: PluginRecord) -> Reading:
    """What is wrong with a manifest, its files, and what it says of the code; the code is read and not run."""
    problems = [text for _, text, _ in record.problems]
    if record.manifest is None or record.package_path is None:
        return Reading(problems or ["there is no manifest"], list(record.warnings), [])
    folder = Path(record.package_path)
    found = reading.compare(record.manifest, folder)
    problems += [*_schema_files(record.manifest, folder), *found.problems]
    return Reading(problems, [*record.warnings, *found.warnings], found.unchecked)


def _schema_files(manifest: Mapping[str, Any], folder: Path) -> Iterator[str]:
    for place, value in schemas(manifest):
        if isinstance(value, str):
            try:
                json.loads((folder / value).read_text("utf-8"))
            except (OSError, ValueError) as error:
                yield f"{place}: `{value}` is no readable JSON: {error}"


def schemas(manifest: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Where a manifest names a schema, and what stands there: a file, the schema itself, or nothing."""
    yield "config.schema", manifest.get("config", {}).get("schema")
    for tool in manifest.get("contributes", {}).get("tools", ()):
        for key in ("input_schema", "output_schema"):
            yield f"tool `{tool.get('name')}`: {key}", tool.get(key)
