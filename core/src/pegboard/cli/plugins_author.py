"""`peg plugins new`, `link`, `validate`, `compile`, `check`: for those who write plugins."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click

import pegboard
from pegboard.cli.contract import Answer, Output, command, option
from pegboard.cli.inventory import Inventory
from pegboard.cli.mending import mend
from pegboard.errors import PluginError, PluginInstallError, PluginManifestError, UsageError
from pegboard.plugins.authoring import agreement, compiling, links
from pegboard.plugins.discovery import scan
from pegboard.plugins.discovery.index import PluginRecord
from pegboard.plugins.discovery.manifest import FILE_NAME
from pegboard.plugins.discovery.state import StateFile
from pegboard.plugins.packages import programs

_CHECK_LIMIT_S = 900.0
_KINDS = frozenset({"tool", "model", "observer", "gate", "agent"})
_LICENCES = ("Apache-2.0", "MIT", "BSD-3-Clause")
_PLUGIN = click.argument("plugin", metavar="[PATH|ID]", default=".")


@command("new")
@click.argument("name")
@option("--kind", "kinds", multiple=True, default=["tool"], help="What it offers: tool, model, observer, gate, agent.")
@option("--summary", default="One line that says what the plugin does", help="What it does, in one line.")
@option("--runtime", type=click.Choice(["in-process", "subprocess"]), default="in-process", help="Where it runs.")
@option("--license", "licence", default="Apache-2.0", help="Apache-2.0, MIT or BSD-3-Clause.")
@option("--author", default="Your Name", help="Who writes it.")
@option("--output", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Where its folder is made.")
@option("--template", help="Another template: a folder or a repository.", show_default="the one of pegboard")
def new(
    name: str,
    kinds: tuple[str, ...],
    summary: str,
    runtime: str,
    licence: str,
    author: str,
    output: Path,
    template: str | None,
) -> Answer:
    """Write a new plugin NAME from the template; its distribution is pegboard-NAME."""
    if template is None:
        _check_answers(name, kinds, licence)
    answers = {
        "name": name,
        "summary": summary,
        "kinds": ",".join(kinds),
        "runtime": runtime,
        "license": licence,
        "author": author,
    }
    folder = _render(template or _own_template(), answers, output)
    steps = f"wrote {folder}\n\nnext:\n  peg plugins link {folder}\n  peg plugins check {name}"
    return Answer({"folder": str(folder), "answers": answers}, steps)


def _check_answers(name: str, kinds: tuple[str, ...], licence: str) -> None:
    """What the template itself would refuse, said before anything is written."""
    problem = None
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        problem = f"`{name}` is no name of a plugin: small letters, digits and single `-` between them"
    elif name.startswith("pegboard-"):
        problem = f"leave the prefix of the distribution out: `{name.removeprefix('pegboard-')}`"
    elif unknown := sorted(set(kinds) - _KINDS):
        problem = f"unknown kinds {', '.join(unknown)}; choose from {', '.join(sorted(_KINDS))}"
    elif licence not in _LICENCES:
        problem = f"`{licence}` is no licence of the template; choose from {', '.join(_LICENCES)}"
    if problem is not None:
        raise UsageError(problem, hint="peg plugins new --help")


def _own_template() -> str:
    """The template that comes with core; in the repository it is a link to the one at its top."""
    return str(Path(pegboard.__file__).parent / "plugin_template")


def _render(template: str, answers: dict[str, str], output: Path) -> Path:
    try:
        from cookiecutter.exceptions import CookiecutterException  # type: ignore[import-untyped]  # it has no types
        from cookiecutter.main import cookiecutter  # type: ignore[import-untyped]  # it has no types
    except ImportError as error:
        raise UsageError("the template needs cookiecutter", hint="pip install pegboard[author]") from error
    try:
        folder = Path(cookiecutter(template, no_input=True, extra_context=answers, output_dir=str(output)))
    except (CookiecutterException, ValueError) as error:  # the latter is said of a choice that it does not offer
        raise UsageError(f"the template could not be rendered: {error}", hint="peg plugins new --help") from error
    for compiled in list(folder.rglob("__pycache__")):  # an installer byte-compiles the template, too
        shutil.rmtree(compiled)
    return folder


@command("link")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@option("--reload", is_flag=True, help="Development mode: a running board loads changed files before its next run.")
def link(folder: Path, reload: bool) -> Answer:
    """Use the plugin project in FOLDER from where it is; its next start sees every change.

    With --reload a board that is running sees them too: while no run is under way it takes the plugin down, forgets its
    modules and activates it again. Otherwise the old code goes on and the plugin is `needs_restart`.
    """
    mend()
    project = links.read_project(folder)
    there = [record for record in Inventory().index.plugins if record.id in project.plugins]
    for record in there:
        if record.info_path and not Path(record.info_path, "direct_url.json").exists():
            text = f"plugin `{record.id}` is installed from {record.dist} {record.version}"
            raise PluginInstallError(text, hint=f"peg plugins uninstall {record.id} --keep-config")
    links.link(folder)
    for text in programs.unmet(project.name):
        Output.current().warn(text)
    ids = sorted(project.plugins)
    StateFile().reload(ids, project.name, on=reload)
    text = f"linked {', '.join(ids)} to {folder}"
    data = {"dist": project.name, "plugins": ids, "folder": str(folder), "reload": reload}
    return Answer(data, f"{text}; a running board reloads it before a run when its files changed" if reload else text)


@command("validate")
@_PLUGIN
@option("--deep", is_flag=True, help="Also run the code, in a process of its own, and compare the schemas of tools.")
def validate(plugin: str, deep: bool) -> Answer:
    """Check a manifest, the files it names, and that it agrees with the code. Without --deep no plugin is imported."""
    record = _record(plugin)
    found, warnings, unchecked = agreement.judged(record)
    if deep and not found:
        found += compiling.schema_differences(record)
    data = {"id": record.id, "manifest": record.manifest_path, "problems": found, "warnings": warnings}
    data["unchecked"] = unchecked
    lines = [*found, *(f"warning: {text}" for text in warnings), *(f"not checked: {text}" for text in unchecked)]
    if not found:
        return Answer(data, "\n".join([*lines, f"plugin `{record.id}`: manifest and code agree"]))
    count = f"{len(found)} problem{'' if len(found) == 1 else 's'}"
    # What cannot be read cannot be compiled either, and would only lead back here.
    broken = any("is no Python" in text for text in found)
    hint = f"python -m compileall -q {record.package_path}" if broken else f"peg plugins compile {plugin}"
    return Answer(data, "\n".join(lines), error=PluginManifestError(f"plugin `{record.id}`: {count}", hint=hint))


@command("compile")
@_PLUGIN
@option("--check", is_flag=True, help="Write nothing; it is an error when something would change.")
def compile_manifest(plugin: str, check: bool) -> Answer:
    """Write hooks and tools into the manifest as the code has them. The code is run, in a process of its own."""
    record = _record(plugin)
    if record.package_path is None:
        raise PluginManifestError(
            f"there is no package with a `{FILE_NAME}` in `{plugin}`", hint="peg plugins new my-plugin"
        )
    path = Path(record.manifest_path or Path(record.package_path, FILE_NAME))
    before = path.read_text("utf-8") if path.exists() else f'schema = 1\nid = "{record.id}"\napi = ">=1.0,<2"\n'
    after, files, differing = compiling.compiled(before, compiling.code_of(record), path.parent)
    unnamed = compiling.left_over(before, after, path.parent)
    changes = {path.name: after, **files} if before != after else files
    data = {"manifest": str(path), "changed": bool(changes), "text": after, "left_over": unnamed}
    data |= {"schemas": sorted(files), "differing": list(differing)}
    for name in unnamed:
        Output.current().warn(f"`{name}` is named by nothing any more and would still be shipped; delete it")
    if check and changes:
        error = PluginManifestError(f"{path} is not as the code is", hint=f"peg plugins compile {plugin}")
        return Answer(data, error=error)
    for name, text in changes.items():
        (path.parent / name).parent.mkdir(exist_ok=True)
        (path.parent / name).write_text(text, encoding="utf-8")
    told = f"wrote {', '.join(str(path.parent / name) for name in changes)}" if changes else ""
    if differing:
        hint = f"peg plugins validate {plugin} --deep"
        return Answer(data, told, error=PluginManifestError("; ".join(differing), hint=hint))
    return Answer(data, told or f"{path} is as the code is")


@command("check")
@click.argument("plugin", metavar="ID")
@option("--tier", type=click.Choice(["bronze", "silver"]), default="silver", help="How much is asked of it.")
def check(plugin: str, tier: str) -> Answer:
    """Run the conformance suite on an installed or linked plugin."""
    record = Inventory().find(plugin).record
    if importlib.util.find_spec("pegboard_testing") is None:
        hint = "peg plugins install pegboard-testing"
        raise PluginError("the conformance suite is in `pegboard-testing`, which is not installed", hint=hint)
    suite = ["--pyargs", "pegboard_testing.conformance", "--plugin", record.id, "--tier", tier]
    # Outside of a project nobody has said this to pytest-asyncio, which then warns.
    options = ["-q", "-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function"]
    different = compiling.schema_differences(record)
    for text in different:
        Output.current().warn(text)
    # Its stdout goes to our stderr, since ours is for the answer.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *suite], stdout=2, timeout=_CHECK_LIMIT_S, check=False
    )
    conforms = done.returncode == 0 and not different
    data = {"id": record.id, "tier": tier, "conforms": conforms, "differing": different}
    if conforms:
        return Answer(data, f"plugin `{record.id}` conforms to {tier}")
    error = PluginError(f"plugin `{record.id}` does not conform to {tier}", hint=f"peg plugins validate {record.id}")
    return Answer(data, error=error)


def _record(plugin: str) -> PluginRecord:
    """A plugin by folder, or by the id of an installed one."""
    return scan.from_folder(plugin) if Path(plugin).is_dir() else Inventory().find(plugin).record
