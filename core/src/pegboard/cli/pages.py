"""`peg help`: the page of an error code, made from its class, and a few topics."""

from __future__ import annotations

import ast
import difflib
import inspect
import textwrap
from pathlib import Path

import click

from pegboard.cli.contract import Answer, command
from pegboard.cli.inventory import Inventory
from pegboard.errors import ExitCode, PegboardError, UsageError, error_classes
from pegboard.plugins.discovery.index import PluginRecord
from pegboard.regular import read_regular

_MAX_FILES = 1000
_MAX_SOURCE_BYTES = 1024 * 1024

TOPICS = {
    "codes": "Every error code.",
    "environment": "Environment variables that pegboard reads.",
    "exit-codes": "What the exit codes of `peg` mean.",
    "output": "What is printed where, for people and for programs.",
}

ENVIRONMENT = {
    "PEGBOARD_PLUGINS": "use these plugins only: ids, separated by commas",
    "PEGBOARD_DISABLE_PLUGINS": "do not use these plugins",
    "PEGBOARD_NO_PLUGINS": "`1`: use no plugin at all, as `peg --no-plugins`",
    "PEGBOARD_HOME": "keep cache, configuration and data below this folder",
    "PEGBOARD_QUIET": "`1`: plugins say nothing but errors; set by `--quiet`",
    "PEGBOARD_PLAIN": "`1`: no colour, no text that appears piece by piece; for screen readers",
    "NO_COLOR": "no colour; beats all that follow",
    "FORCE_COLOR": "colour, also where the output is no terminal",
    "TERM": "`dumb`: no colour",
}

_SETTINGS = """\
Every setting can be a variable, too: PEGBOARD__A__B=value sets `a.b`, with `-` in the id of a plugin written as `_`:
PEGBOARD__LIMITS__TURNS=5, PEGBOARD__PLUGINS__MY_PLUGIN__DEPTH=2. It wins over the files and loses against the command
line; `peg config explain KEY` says what holds, and `peg config schema` lists every setting."""

_OUTPUT = """\
stdout holds the answer and nothing else; talk, warnings and errors go to stderr, and so does whatever a plugin
prints. A pipe therefore never sees anything but the answer.

--json prints one object {"schema": "peg.<command>/1", "ok": …, "data": …, "error": …}. A change that could break a
reader raises the number behind the slash. `error` is {code, message, hint, help, plugin, dist, version, retryable,
exit_code, run}. --jsonl, where there is a stream of events, prints one event per line; the last line is the object
that --json would print.

Nothing prompts where there is no terminal: what would have been asked is exit code 7, with the request in `data`."""


@command("help")
@click.argument("topic", required=False, metavar="[CODE|TOPIC]")
def show_help(topic: str | None) -> Answer:
    """Explain an error code such as `plugin.load`, or a topic; without either, list the topics."""
    if topic is None:
        return Answer({"topics": TOPICS}, _table(TOPICS) + "\n\nor an error code: `peg help CODE`")
    if topic in TOPICS:
        text = topic_text(topic)
        return Answer({"topic": topic, "text": text}, text)
    page = plugin_page(topic) if topic not in classes_by_code() else None
    if page is not None:
        return Answer(page, "\n".join([topic, "", str(page["text"]), "", *_way_on(page)]))
    page = code_page(topic)
    return Answer(page, _page_text(page))


def plugin_page(code: str) -> dict[str, object] | None:
    """The page of an error that a plugin defines, from its source: nothing of it is imported.

    A plugin is asked that has the code in its files, else the one whose id begins the code.
    """
    records = Inventory().index.plugins
    for record in records:
        text = _docstring_of(code, record.package_path)
        if text is not None:
            return _of_plugin(code, record, text)
    owner = next((record for record in records if record.id == code.partition(".")[0]), None)
    return None if owner is None or "." not in code else _of_plugin(code, owner, "")


def _of_plugin(code: str, record: PluginRecord, text: str) -> dict[str, object]:
    told = text or "The files of the plugin say nothing of this code."
    return {"code": code, "text": told, "plugin": record.id, "dist": record.dist, "version": record.version}


def _way_on(page: dict[str, object]) -> list[str]:
    return [
        f"an error of plugin `{page['plugin']}` ({page['dist']} {page['version']})",
        f"more of it: peg plugins info {page['plugin']}",
    ]


def _docstring_of(code: str, folder: str | None) -> str | None:
    """What the class with this code says of itself, or a table of codes of it, in the files of a package."""
    for path in sorted(Path(folder).rglob("*.py"))[:_MAX_FILES] if folder else ():
        try:
            source = read_regular(path, _MAX_SOURCE_BYTES)
            tree = ast.parse(source) if code.encode() in source else None
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        for node in ast.walk(tree) if tree else ():
            if isinstance(node, ast.ClassDef) and any(_sets_code(statement, code) for statement in node.body):
                return ast.get_docstring(node) or ""
            if isinstance(node, ast.Dict) and (told := _told_in(node, code)) is not None:
                return told
    return None


def _told_in(table: ast.Dict, code: str) -> str | None:
    """What a table says of a code that has no class: `{"workflow.agent": "A node names …"}`."""
    for key, value in zip(table.keys, table.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == code and isinstance(value, ast.Constant):
            return inspect.cleandoc(value.value) if isinstance(value.value, str) else None
    return None


def _sets_code(statement: ast.stmt, code: str) -> bool:
    """`code = "replay.miss"`, with or without an annotation."""
    targets = statement.targets if isinstance(statement, ast.Assign) else ()
    value = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None
    named = [*targets, *([statement.target] if isinstance(statement, ast.AnnAssign) else ())]
    is_code = any(isinstance(target, ast.Name) and target.id == "code" for target in named)
    return is_code and isinstance(value, ast.Constant) and value.value == code


def code_page(code: str) -> dict[str, object]:
    """What is known of an error code.

    Raises:
        UsageError: there is no such code; the message names near ones.
    """
    errors = classes_by_code()
    if code not in errors:
        near = difflib.get_close_matches(code, [*errors, *TOPICS], n=3)
        meant = f"; did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ""
        text = f"no error code of pegboard or of an installed plugin, and no topic: `{code}`{meant}"
        raise UsageError(text, hint="peg help codes")
    cls = errors[code]
    return {
        "code": code,
        "text": inspect.cleandoc(cls.__doc__ or ""),
        "exit_code": int(cls.exit_code),
        "exit_name": ExitCode(cls.exit_code).name,
        "exit_meaning": exit_meanings()[ExitCode(cls.exit_code).name],
        "retryable": cls.retryable,
        "hint": cls.default_hint,
    }


def classes_by_code() -> dict[str, type[PegboardError]]:
    """Core's error class of each code; where subclasses share a code, the first."""
    classes: dict[str, type[PegboardError]] = {}
    for cls in error_classes():
        if cls.__module__ == PegboardError.__module__:  # a plugin may have been imported
            classes.setdefault(cls.code, cls)
    return dict(sorted(classes.items()))


def exit_meanings() -> dict[str, str]:
    """The sentence below each member of `ExitCode`, which is the one place where they are explained."""
    body = ast.parse(textwrap.dedent(inspect.getsource(ExitCode))).body[0]
    assert isinstance(body, ast.ClassDef)
    meanings = {}
    for statement, following in zip(body.body, body.body[1:], strict=False):
        if isinstance(statement, ast.Assign) and isinstance(following, ast.Expr):
            meanings[statement.targets[0].id] = following.value.value  # type: ignore[attr-defined]  # `NAME = n`
    return meanings


def topic_text(topic: str) -> str:
    """The page of a topic."""
    if topic == "codes":
        return _table({code: _first_line(cls) for code, cls in classes_by_code().items()})
    if topic == "exit-codes":
        meanings = exit_meanings()
        return _table({f"{code.value:>3}  {code.name}": meanings[code.name] for code in ExitCode})
    return f"{_table(ENVIRONMENT)}\n\n{_SETTINGS}" if topic == "environment" else _OUTPUT


def _first_line(cls: type[PegboardError]) -> str:
    return inspect.cleandoc(cls.__doc__ or "").splitlines()[0]


def _page_text(page: dict[str, object]) -> str:
    lines = [str(page["code"]), "", str(page["text"]), ""]
    lines.append(f"exit code: {page['exit_code']} {page['exit_name']} ({page['exit_meaning']})")
    if page["retryable"]:
        lines.append("a later try may help")
    if page["hint"]:
        lines.append(f"usual hint: run `{page['hint']}`")
    return "\n".join(lines)


def _table(rows: dict[str, str]) -> str:
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows.items())
