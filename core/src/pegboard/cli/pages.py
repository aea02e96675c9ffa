"""`peg help`: the page of an error code, made from its class, and a few topics."""

from __future__ import annotations

import ast
import difflib
import inspect
import textwrap

import click

from pegboard.cli.contract import Answer, command
from pegboard.errors import ExitCode, PegboardError, UsageError, error_classes

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
    page = code_page(topic)
    return Answer(page, _page_text(page))


def code_page(code: str) -> dict[str, object]:
    """What is known of an error code.

    Raises:
        UsageError: there is no such code; the message names near ones.
    """
    errors = classes_by_code()
    if code not in errors:
        near = difflib.get_close_matches(code, [*errors, *TOPICS], n=3)
        meant = f"; did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ""
        raise UsageError(f"no error code or topic `{code}`{meant}", hint="peg help codes")
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
    """The error class of each code; where subclasses share a code, the first."""
    classes: dict[str, type[PegboardError]] = {}
    for cls in error_classes():
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
    return _table(ENVIRONMENT) if topic == "environment" else _OUTPUT


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
