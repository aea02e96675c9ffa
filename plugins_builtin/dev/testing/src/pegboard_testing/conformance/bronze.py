"""The checks of the bronze tier: it is what it says it is, it starts, and it leaves without a trace."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from pegboard_testing.conformance.subject import Subject

IMPORT_LIMIT_MS: Final = 100.0
# fmt: off
HEAVY: Final = frozenset({
    "aiohttp", "anthropic", "boto3", "botocore", "chromadb", "docker", "duckdb", "faiss", "fastapi", "flask",
    "google", "grpc", "httpx", "IPython", "jinja2", "kubernetes", "langchain", "litellm", "lxml", "matplotlib",
    "mcp", "numpy", "openai", "opentelemetry", "pandas", "PIL", "playwright", "polars", "pyarrow", "requests",
    "rich", "scipy", "selenium", "sklearn", "sqlalchemy", "starlette", "tensorflow", "textual", "tokenizers",
    "torch", "transformers", "uvicorn", "wasmtime",
})
# fmt: on
"""Modules that take a tenth of a second or more, or start something; they belong behind the first use."""


class NotApplicable(Exception):  # not an error: there is nothing to judge
    """The plugin has nothing that the rule is about."""


def manifest_is_valid(subject: Subject) -> Iterable[str]:
    """By the same judgement that the host uses."""
    if not (subject.folder / "pegboard.toml").is_file():
        yield f"`{subject.package}/pegboard.toml` is missing"
        return
    answer = subject.peg("plugins", "validate", subject.plugin)
    if not answer["ok"]:
        yield from (answer["data"] or {}).get("problems") or [answer["error"]["message"]]


def manifest_equals_code(subject: Subject) -> Iterable[str]:
    """Hooks and their options; contributions and their effects are compared by the host at activation."""
    if "entry" not in subject.manifest:
        raise NotApplicable("it is data only")
    listed: dict[str, Any] = subject.manifest.get("hooks", {})
    coded: dict[str, Any] = subject.probe("hooks")["hooks"]
    yield from (f"`{hook}` is implemented and not listed" for hook in sorted(coded.keys() - listed.keys()))
    yield from (f"`{hook}` is listed and not implemented" for hook in sorted(listed.keys() - coded.keys()))
    for hook in sorted(coded.keys() & listed.keys()):
        for option, value in coded[hook].items():
            if listed[hook].get(option) != value:
                yield f"`{hook}` says {option} = {value!r} in code and {listed[hook].get(option)!r} in the manifest"
    if (answer := subject.probe("activate"))["code"] == "plugin.contributions":
        yield answer["message"]


def id_fits(subject: Subject) -> Iterable[str]:
    """The distribution's name without `pegboard-`, or that plus `/` and a name."""
    own = subject.dist.name.lower().replace("_", "-").replace(".", "-").removeprefix("pegboard-")
    if subject.plugin.partition("/")[0] != own:
        yield f"`{subject.plugin}` does not fit `{subject.dist.name}`; it must be `{own}` or begin with `{own}/`"
    if subject.manifest.get("id") != subject.plugin:
        yield f"the manifest says `{subject.manifest.get('id')}` and the entry point `{subject.plugin}`"


def is_packaged(subject: Subject) -> Iterable[str]:
    """Of a wheel by its RECORD; of an editable install by building both files."""
    wanted = f"{subject.package}/pegboard.toml"
    if subject.source is None:
        if wanted not in {str(file) for file in subject.dist.files or ()}:
            yield f"`{wanted}` is not in the wheel"
        return
    with tempfile.TemporaryDirectory(prefix="pegboard-check-") as folder:
        wheel, sdist = _built(subject.source, Path(folder))
        if wanted not in zipfile.ZipFile(wheel).namelist():
            yield f"`{wanted}` is not in the wheel"
        with tarfile.open(sdist) as archive:
            if not any(name.endswith(f"/{wanted}") for name in archive.getnames()):
                yield f"`{wanted}` is not in the sdist"


def activates(subject: Subject) -> Iterable[str]:
    """A plugin that needs a setting or a key says so by an error of that kind, and not by a traceback."""
    answer = subject.probe("activate")
    if answer["state"] in ("active", "degraded"):
        return
    if not str(answer["code"]).startswith(("config.", "credentials.")):
        yield f"it is `{answer['state']}`: {answer['message']}"


def imports_fast(subject: Subject) -> Iterable[str]:
    """The best of three, beside what every plugin imports of core."""
    _needs_entry(subject)
    best = min(subject.probe("import", again=attempt > 0)["cpu_ms"] for attempt in range(3))
    if best >= IMPORT_LIMIT_MS:
        yield f"its import takes {best:.0f} ms; the limit is {IMPORT_LIMIT_MS:.0f}"


def imports_clean(subject: Subject) -> Iterable[str]:
    """No thread, descriptor, handler, environment variable, path entry or signal handler."""
    _needs_entry(subject)
    yield from (f"its import left behind {item}" for item in subject.probe("import")["left"])


def imports_light(subject: Subject) -> Iterable[str]:
    """Neither a module that is known as heavy nor one that the manifest calls optional."""
    _needs_entry(subject)
    optional = set(subject.manifest.get("optional_imports", {}))
    imported = {name.partition(".")[0] for name in subject.probe("import")["modules"]}
    yield from (f"its import loads `{name}`" for name in sorted(imported & (HEAVY | optional)))


def has_files(subject: Subject) -> Iterable[str]:
    """The licence in the metadata, a README as its description, the marker of typed packages."""
    metadata = subject.dist.metadata
    if not metadata.get_all("License-File") and not _in_source(subject, "LICENSE*"):
        yield "no licence file"
    described = metadata.get("Description") or metadata.get_payload()  # type: ignore[attr-defined]  # a message
    if not str(described or "").strip() and not _in_source(subject, "README*"):
        yield "no README as the description of the distribution"
    if not (subject.folder / "py.typed").is_file():
        yield f"no `{subject.package}/py.typed`"


def leaves_nothing(subject: Subject) -> Iterable[str]:
    """What it writes goes to its data and cache folders, which `peg plugins uninstall` knows."""
    answer = subject.probe("activate")
    yield from (f"activation wrote `{path}`" for path in answer["written"])
    if subject.source is None:
        recorded = {str(file) for file in subject.dist.files or ()}
        for path in _files(subject.folder):
            if f"{subject.package}/{path}" not in recorded:
                yield f"`{subject.package}/{path}` is not in its RECORD and would stay"


def _needs_entry(subject: Subject) -> None:
    if "entry" not in subject.manifest:
        raise NotApplicable("it has no code that is imported for it")


def _built(source: Path, into: Path) -> tuple[Path, Path]:
    command = ["uv", "build", "--no-build-isolation", "--offline", "--quiet", "--python", sys.executable]
    try:
        done = subprocess.run([*command, "--out-dir", str(into), str(source)], capture_output=True, text=True)
    except FileNotFoundError as exc:
        raise NotApplicable("building needs uv") from exc
    if done.returncode:
        raise RuntimeError(f"it cannot be built: {done.stderr.strip().splitlines()[-1:]}")
    return next(into.glob("*.whl")), next(into.glob("*.tar.gz"))


def _in_source(subject: Subject, pattern: str) -> bool:
    return subject.source is not None and any(subject.source.glob(pattern))


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(folder).as_posix()


__all__ = [
    "HEAVY",
    "IMPORT_LIMIT_MS",
    "NotApplicable",
    "activates",
    "has_files",
    "id_fits",
    "imports_clean",
    "imports_fast",
    "imports_light",
    "is_packaged",
    "leaves_nothing",
    "manifest_equals_code",
    "manifest_is_valid",
]
