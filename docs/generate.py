"""Writes `docs/reference/` from the code: what can be generated is never written twice.

Each page is one function; `python docs/generate.py` writes all of them, `--check` only compares and names the pages
that are out of date. Pages that people write are not touched.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import pegboard
from pegboard import types as values
from pegboard.cli.app import peg
from pegboard.cli.groups import LazyGroup
from pegboard.config import LAYERS
from pegboard.errors import ExitCode, PegboardError, error_classes
from pegboard.events import EVENT_KINDS, EVENT_VERSION
from pegboard.hookspecs import FAMILIES, HOOK_API, SPECS, Spec

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- written by docs/generate.py; do not edit -->"

_ENTRY = re.compile(r"^(?P<key>[A-Z][a-z]+): (?P<text>.*)$")


def page(title: str, *blocks: str) -> str:
    """A whole page: the note, the title, and its blocks, one empty line between them."""
    return "\n\n".join([NOTE, f"# {title}", *(block.strip("\n") for block in blocks if block)]) + "\n"


def table(*rows: tuple[str, ...]) -> str:
    """A Markdown table; the first row is its head."""
    head, *body = (tuple(cell.replace("|", "\\|") for cell in row) for row in rows)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *body))


def summary(text: str | None) -> str:
    """The first line of a docstring."""
    return inspect.cleandoc(text or "").partition("\n")[0]


def first_paragraph(text: str | None) -> str:
    """A docstring up to its first empty line, as one line."""
    return " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split())


# --- hooks -------------------------------------------------------------------------------------------------------


def signature_of(spec: Spec) -> str:
    """The signature as it stands in the source, on one line."""
    prefix = "async def" if inspect.iscoroutinefunction(spec.function) else "def"
    text = str(inspect.signature(spec.function)).replace("'", "")
    return f"{prefix} {spec.name}{text}"


def contract_of(spec: Spec) -> Iterator[str]:
    """The entries of a spec's docstring (`When`, `Value`, `Return`, `Raises`, `Cancel`), each a list item."""
    body = inspect.cleandoc(spec.function.__doc__ or "").partition("\n\n")[2]
    entries: list[str] = []
    for line in body.splitlines():
        if (match := _ENTRY.match(line)) is not None:
            entries.append(f"* **{match['key']}**: {match['text']}")
        else:
            entries[-1] += f" {line.strip()}"
    yield from entries


def flags_of(spec: Spec) -> str:
    """What differs from the kind's own rule, in words."""
    words = {
        "timed": spec.timed,
        "`def` only": spec.sync_only,
        "a plugin that activates late gets the last value": spec.replay,
        "fails closed": spec.on_error == "closed",
        f"may change {', '.join(f'`{name}`' for name in spec.writable)}": bool(spec.writable),
        f"deprecated: {spec.deprecated}": spec.deprecated is not None,
    }
    return "; ".join(word for word, holds in words.items() if holds) or "none"


def implementers() -> dict[str, list[str]]:
    """The built-in plugins that list a hook in their manifest, by hook."""
    found: dict[str, list[str]] = {}
    for manifest in sorted(ROOT.glob("plugins_builtin/*/*/src/*/pegboard.toml")):
        data = tomllib.loads(manifest.read_text(encoding="utf-8"))
        for hook in data.get("hooks", {}):
            found.setdefault(hook, []).append(str(data["id"]))
    return found


def hook_section(spec: Spec, used_by: list[str]) -> str:
    """Everything about one hook."""
    # What must not wait cannot be interrupted either.
    limit = "none" if spec.timeout_s is None or spec.sync_only else f"{spec.timeout_s:g} s"
    facts = table(
        ("kind", "since", "limit", "threaded value", "flags", "when nobody answers", "used by"),
        (
            spec.kind,
            spec.since,
            limit,
            f"`{spec.value}`" if spec.value else "none",
            flags_of(spec),
            spec.nobody or "none",
            ", ".join(f"`{plugin}`" for plugin in used_by) or "none",
        ),
    )
    return "\n\n".join(
        [
            f"## `{spec.name}`",
            first_paragraph(spec.function.__doc__),
            f"```python\n{signature_of(spec)}\n```",
            facts,
            "\n".join(contract_of(spec)),
        ]
    )


def hook_family_page(family: str) -> str:
    """All hooks of one family."""
    module = next(module for module in FAMILIES if module.__name__.endswith(f".{family}"))
    used_by = implementers()
    sections = (hook_section(spec, used_by.get(spec.name, [])) for spec in SPECS.values() if spec.family == family)
    return page(f"Hooks: {family}", first_paragraph(module.__doc__), *sections)


def hooks_index_page() -> str:
    """Every hook on one line, with a link to its section."""
    rows = [
        (f"[`{spec.name}`]({spec.family}.md#{spec.name})", spec.family, spec.kind, summary(spec.function.__doc__))
        for spec in SPECS.values()
    ]
    return page(
        "Hooks",
        f"Hook API {HOOK_API}, {len(SPECS)} hooks. A plugin implements a hook with a method of its name, marked"
        " `@hookimpl`, that takes any subset of the arguments by name; it may be `def` or `async def` unless the"
        " hook says otherwise.",
        table(("hook", "family", "kind", "what it is for"), *rows),
    )


# --- errors, exit codes, events ------------------------------------------------------------------------------------


def error_section(cls: type[PegboardError]) -> str:
    """The page of one error code."""
    facts = table(
        ("class", "exit code", "retryable", "hint"),
        (
            f"`{cls.__name__}`",
            f"{int(cls.exit_code)} `{cls.exit_code.name}`",
            "yes" if cls.retryable else "no",
            f"`{cls.default_hint}`" if cls.default_hint else "given where it is raised",
        ),
    )
    return "\n\n".join([f"## `{cls.code}`", inspect.cleandoc(cls.__doc__ or ""), facts])


def errors_page() -> str:
    """Every error code, in order of its name."""
    classes = sorted((cls for cls in error_classes() if "code" in vars(cls)), key=lambda cls: cls.code)
    return page(
        "Errors",
        "Every error of pegboard has a stable code. `peg help CODE` prints the same text.",
        *(error_section(cls) for cls in classes),
    )


def exit_codes_page() -> str:
    """The closed set of exit codes; the meaning is the string below each member."""
    source = inspect.getsource(ExitCode)
    meanings = dict(re.findall(r"(\w+) = \d+\n\s+\"\"\"(.*?)\"\"\"", source))
    rows = [(str(code.value), f"`{code.name}`", meanings[code.name]) for code in ExitCode]
    return page("Exit codes", "What `peg` returns to the shell.", table(("exit code", "name", "meaning"), *rows))


def events_page() -> str:
    """Every kind of event that core writes."""
    rows = [(f"`{kind}`", meaning) for kind, meaning in EVENT_KINDS.items()]
    return page(
        "Events",
        f"Every record of the log is `{{v, id, run, parent, seq, kind, at, agent, plugin, data}}`; `v` is"
        f" {EVENT_VERSION}. A plugin may write kinds of its own, under a prefix that is its id.",
        table(("kind", "meaning"), *rows),
    )


# --- configuration, manifest ---------------------------------------------------------------------------------------

Schema = dict[str, Any]


def resolved(part: Schema, whole: Schema) -> Schema:
    """A part of a JSON Schema with its reference followed; its own description leads."""
    name = str(part.get("$ref", "")).rpartition("/")[2]
    return {**whole["$defs"][name], **part} if name else part


def type_of(part: Schema, whole: Schema) -> str:
    """The type of a value, in words."""
    if "enum" in part:
        return ", ".join(f"`{choice}`" for choice in part["enum"])
    kind = part.get("type", "any")
    kind = " or ".join(kind) if isinstance(kind, list) else kind
    items = resolved(part.get("items", {}), whole)
    return f"{kind} of {items.get('type', 'any').replace('object', 'table')}" if kind == "array" else str(kind)


def keys_of(part: Schema, whole: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every key below a schema with its own schema: `a.b` in a table, `a[].b` in an array of tables, `a.<name>.b`."""
    part = resolved(part, whole)
    for name, child in part.get("properties", {}).items():
        key = f"{path}.{name}" if path else name
        yield key, resolved(child, whole)
        yield from keys_of(child, whole, key)
    if isinstance(part.get("additionalProperties"), dict):
        yield from keys_of(part["additionalProperties"], whole, f"{path}.<name>")
    if isinstance(part.get("items"), dict):
        yield from keys_of(part["items"], whole, f"{path}[]")


PROJECT = {
    "always": "a project's file may set it",
    "narrow": "a project's file may narrow it",
    "add": "a project's file may add to it",
    "agent": "a project's file may set it, to a file or `module:object` only in a trusted folder",
}
"""What a project's file may do before its folder is trusted."""


def limits_of(part: Schema) -> str:
    """What else holds for a value."""
    words = {"default": "default", "minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than"}
    found = [f"{word} `{json.dumps(part[key])}`" for key, word in words.items() if key in part]
    found += [PROJECT[part["x-project"]]] if "x-project" in part else []
    return "; ".join(found)


def schema_table(schema: Schema) -> str:
    """Every key of a schema that holds a value or says something."""
    rows = [
        (f"`{key}`", type_of(part, schema), limits_of(part), part.get("description", ""))
        for key, part in keys_of(schema, schema)
        if "description" in part or part.get("type") != "object"
    ]
    return table(("key", "type", "limits", "meaning"), *rows)


def load_schema(path: str) -> Schema:
    """A JSON Schema that core ships."""
    schema: Schema = json.loads((ROOT / "core/src/pegboard" / path).read_text(encoding="utf-8"))
    return schema


def configuration_page() -> str:
    """Every setting of core."""
    layers = ", ".join(LAYERS)
    return page(
        "Configuration",
        f"Layers, lowest first: {layers}. `peg config explain KEY` says where a value comes from.",
        "Every setting can be a variable of the environment: `PEGBOARD__A__B=value` sets `a.b`, with `-` in the id of a"
        " plugin written as `_`. `peg config set` checks a plugin's setting against the schema in its manifest.",
        schema_table(load_schema("config.schema.json")),
    )


def manifest_page() -> str:
    """Every key of `pegboard.toml`."""
    schema = load_schema("plugins/discovery/manifest.schema.json")
    return page(
        "Manifest", f"{schema['description']} Required: `{'`, `'.join(schema['required'])}`.", schema_table(schema)
    )


# --- command line --------------------------------------------------------------------------------------------------


HELP_WIDTH = 100


def commands_below(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    """The context of a command and of everything below it; only what core brings, whatever is installed here."""
    yield context
    entries = command.entries if isinstance(command, LazyGroup) else {}
    for name, entry in entries.items():
        child = entry.load()
        yield from commands_below(child, click.Context(child, context, name, terminal_width=HELP_WIDTH))


def command_section(context: click.Context) -> str:
    """What `--help` prints."""
    depth = "#" * min(context.command_path.count(" ") + 2, 4)
    return f"{depth} `{context.command_path}`\n\n```text\n{context.command.get_help(context)}\n```"


@contextmanager
def nobodys_settings() -> Iterator[None]:
    """As on a machine where nothing is configured: help shows the defaults that are in force."""
    before = dict(os.environ)
    with TemporaryDirectory() as folder, chdir(folder):
        os.environ |= {"HOME": folder, "PEGBOARD_HOME": folder, "PEGBOARD_NO_PLUGINS": "1"}
        yield
    os.environ.clear()
    os.environ.update(before)


def command_line_page() -> str:
    """Every command of core."""
    root = click.Context(peg, info_name="peg", terminal_width=HELP_WIDTH)
    with nobodys_settings():
        sections = [command_section(context) for context in commands_below(peg, root)]
    return page("Command line", "What `--help` prints. Plugins add commands of their own.", *sections)


# --- API ------------------------------------------------------------------------------------------------------------

API = {
    "The board": ("Pegboard", "types.options.RunOptions"),
    "Agents": ("Agent", "AgentConfig", "AgentRegistry"),
    "Tools": ("tool", "Tool", "ToolContext", "Module"),
    "Models and runs": ("ModelBase", "get_model_for_name", "AgentRunner", "RunResult", "StreamEvent"),
    "Messages, events, conversations": ("Message", "Event", "ConversationManager", "ConversationContext"),
    "Plugins": ("hookimpl", "HostContext", "RunContext", "Call", "Next"),
    "Errors": ("PegboardError", "ExitCode"),
}
"""What is described by sections; a name without a module is one that `pegboard` exports."""
_DOCUMENTED = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_HEADING = re.compile(r"^(?P<name>Args|Raises|Returns|Options|Yields):$")


@cache
def source_of(module: str) -> ast.Module:
    """The syntax tree of a module: what `inspect` cannot tell is there, such as the strings below fields."""
    return ast.parse(Path(str(import_module(module).__file__)).read_text(encoding="utf-8"))


def home_of(name: str) -> str:
    """The module that a name of the API is looked for in."""
    module, _, last = name.rpartition(".")
    return f"pegboard.{module}" if module else pegboard._HOMES.get(last, "pegboard.types")


def definition(name: str) -> ast.stmt:
    """Where a name of the API is defined."""
    home, last = home_of(name), name.rpartition(".")[2]
    for node in reversed(source_of(home).body):  # of overloads, the implementation comes last
        if isinstance(node, _DOCUMENTED) and node.name == last:
            return node
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == last:
            return node
    return definition(f"{getattr(import_module(home), last).__module__.removeprefix('pegboard.')}.{last}")


def prose(text: str | None) -> str:
    """A docstring as Markdown: its lists of arguments and errors become lists."""
    lines: list[str] = []
    inside = False
    for line in inspect.cleandoc(text or "").splitlines():
        if (heading := _HEADING.match(line)) is not None:
            inside = True
            lines += [f"{heading['name']}:", ""]
        elif inside and line.startswith("    ") and not line.startswith("     "):
            name, colon, rest = line.strip().partition(": ")
            lines.append(f"* `{name}`: {rest}" if colon else f"* {line.strip()}")
        else:
            inside = inside and line.startswith("     ")
            lines.append(f"  {line.strip()}" if inside else line)
    return "\n".join(lines)


def call_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The first line of a function as it stands in the source, long ones with an argument a line."""
    prefix = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    arguments = ast.unparse(node.args)
    line = f"{prefix} {node.name}({arguments}){result}"
    if len(line) <= HELP_WIDTH:
        return line
    stub = ast.parse(f"def f({arguments}): ...").body[0]
    assert isinstance(stub, ast.FunctionDef)
    parts = [f"    {part}," for part in arguments_of(stub.args)]
    return "\n".join([f"{prefix} {node.name}(", *parts, f"){result}"])


def arguments_of(args: ast.arguments) -> Iterator[str]:
    """Each argument with its annotation and default."""
    plain = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(plain) - len(args.defaults)) + list(args.defaults)
    yield from (_with_default(arg, default) for arg, default in zip(plain, defaults, strict=True))
    if args.vararg or args.kwonlyargs:
        yield f"*{ast.unparse(args.vararg)}" if args.vararg else "*"
    yield from (_with_default(arg, default) for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True))
    if args.kwarg:
        yield f"**{ast.unparse(args.kwarg)}"


def _with_default(arg: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(arg) + (f" = {ast.unparse(default)}" if default else "")


def marks_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """What a function is decorated with."""
    return {ast.unparse(mark) for mark in node.decorator_list}


def functions_in(body: Sequence[ast.stmt]) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions that are defined there."""
    return [item for item in body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]


def calls_of(node: ast.FunctionDef | ast.AsyncFunctionDef, beside: Sequence[ast.stmt]) -> str:
    """Its signatures: those of its overloads where it has some, since what implements them says less."""
    named = [item for item in functions_in(beside) if item.name == node.name]
    overloads = [item for item in named if "overload" in marks_of(item)]
    return "\n".join(map(call_of, overloads or [node]))


def function_section(node: ast.FunctionDef | ast.AsyncFunctionDef, title: str, beside: Sequence[ast.stmt]) -> str:
    """A function or method; `beside` is what is defined where it is."""
    return "\n\n".join([title, f"```python\n{calls_of(node, beside)}\n```", prose(ast.get_docstring(node))]).rstrip()


def attributes_set_in(init: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, str, str]]:
    """Name, type and docstring of the public attributes that have one; the type where it stands there."""
    for item, below in itertools.pairwise(init.body):
        target = item.targets[0] if isinstance(item, ast.Assign) else getattr(item, "target", None)
        if not (isinstance(target, ast.Attribute) and isinstance(below, ast.Expr)) or target.attr.startswith("_"):
            continue
        if isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            value = getattr(item, "value", None)
            made = ast.unparse(value.func) if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) else ""
            kind = ast.unparse(item.annotation) if isinstance(item, ast.AnnAssign) else made.lstrip("_")
            yield f"`{target.attr}`", f"`{kind}`" if kind[:1].isupper() else "", " ".join(below.value.value.split())


def properties_of(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """Name, type and docstring of each public property, and of each attribute that is told of where it is set."""
    for item in functions_in(node.body):
        if item.name == "__init__":
            yield from attributes_set_in(item)
        if not item.name.startswith("_") and marks_of(item) & {"property", "cached_property"}:
            told = " ".join(prose(ast.get_docstring(item)).split())
            yield f"`{item.name}`", f"`{ast.unparse(item.returns)}`" if item.returns else "", told


def fields_of(node: ast.ClassDef) -> Iterator[tuple[str, str, str, str]]:
    """Name, type, default and docstring of each public field."""
    for item, below in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            name, kind, default = item.target.id, ast.unparse(item.annotation), item.value
        elif isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            name, kind, default = item.targets[0].id, "", item.value
        else:
            continue
        if name.startswith("_") or kind.startswith("ClassVar"):
            continue
        told = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
        yield f"`{name}`", f"`{kind}`" if kind else "", f"`{ast.unparse(default)}`" if default else "", str(told)


def class_section(node: ast.ClassDef, title: str) -> str:
    """A class: its docstring, how it is made, its fields, its public methods and properties."""
    blocks = [title, prose(ast.get_docstring(node))]
    methods = functions_in(node.body)
    blocks += [f"```python\n{call_of(item)}\n```" for item in methods if item.name == "__init__"]
    fields = [tuple(" ".join(cell.split()) for cell in row) for row in fields_of(node)]
    blocks += [table(("field", "type", "default", "meaning"), *fields)] if fields else []
    properties = list(properties_of(node))
    blocks += [table(("property", "type", "meaning"), *properties)] if properties else []
    blocks += [
        function_section(item, f"#### `{node.name}.{item.name}`", node.body)
        for item in methods
        if not item.name.startswith("_") and not any(_is_no_method(mark) for mark in marks_of(item))
    ]
    return "\n\n".join(filter(None, blocks))


def _is_no_method(mark: str) -> bool:
    return mark in ("property", "cached_property", "overload") or mark.endswith((".setter", ".deleter"))


def api_section(name: str) -> str:
    """One name of the API."""
    node = definition(name)
    title = f"### `{name.rpartition('.')[2]}`"
    if isinstance(node, ast.ClassDef):
        return class_section(node, title)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return function_section(node, title, source_of(home_of(name)).body)
    body = source_of(pegboard._HOMES[name]).body
    told = body[body.index(node) + 1]
    assert isinstance(told, ast.Expr)
    return f"{title}\n\n```python\n{ast.unparse(node)}\n```\n\n{ast.literal_eval(told.value)}"


def value_names() -> list[str]:
    """The classes of `pegboard.types` that no section above describes."""
    told = {name for names in API.values() for name in names}
    return [name for name in sorted(values.__all__) if isinstance(getattr(values, name), type) and name not in told]


def api_page() -> str:
    """What a program imports."""
    blocks: list[str] = []
    for title, names in API.items():
        blocks += [f"## {title}", *map(api_section, names)]
    own = (name for name in value_names() if str(getattr(values, name).__module__).startswith("pegboard"))
    return page(
        "API",
        "What a program or a plugin imports: names of the sections from `pegboard`, values from `pegboard.types`. Every"
        " [error](errors.md) with its code and every [hook](hooks/index.md) has a page of its own.",
        *blocks,
        "## Values of `pegboard.types`",
        "All are frozen; `evolve(value, field=…)` makes a changed copy.",
        *map(api_section, own),
    )


# --- all pages -----------------------------------------------------------------------------------------------------


def families() -> list[str]:
    """Names of the hook families, in the order of the contract."""
    return [module.__name__.rpartition(".")[2] for module in FAMILIES]


def pages() -> dict[str, Callable[[], str]]:
    """Every generated page by its path below `docs/reference/`."""
    hooks = {f"hooks/{family}.md": lambda family=family: hook_family_page(family) for family in families()}
    return {
        "api.md": api_page,
        "command-line.md": command_line_page,
        "configuration.md": configuration_page,
        "errors.md": errors_page,
        "events.md": events_page,
        "exit-codes.md": exit_codes_page,
        "hooks/index.md": hooks_index_page,
        "manifest.md": manifest_page,
        **hooks,
    }


def stale(pages: Mapping[str, Callable[[], str]]) -> dict[Path, str]:
    """The pages whose file differs from what the code says, with their new text."""
    fresh = {REFERENCE / name: make() for name, make in pages.items()}
    return {path: text for path, text in fresh.items() if not path.exists() or path.read_text(encoding="utf-8") != text}


def main(arguments: list[str], pages: Mapping[str, Callable[[], str]]) -> int:
    """Write what is stale, or with `--check` name it and return 1."""
    outdated = stale(pages)
    for path, text in outdated.items():
        print(f"{'out of date' if arguments else 'written'}: {path.relative_to(ROOT)}")
        if not arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if outdated and arguments:
        print(f"hint: python {sys.argv[0]}", file=sys.stderr)
    return 1 if outdated and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], pages()))
