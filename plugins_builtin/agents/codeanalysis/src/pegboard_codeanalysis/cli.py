"""`peg analyse` and `peg review`: `peg run` of the two workflows, with options instead of `name=value`."""

from __future__ import annotations

import json
from typing import Any, Final

import click
from pegboard.cli.contract import Answer, command, option
from pegboard.cli.run import run as run_agent

from pegboard_codeanalysis.analysis.results import DEFAULT_RANGE

_FAIL_ON: Final = click.Choice(["high", "medium", "low"])
_DATA: Final = ("verdict", "counts", "findings", "findings_left_out", "report")
"""What a program asks for, of the output of the run: it stands in `data` itself, and `output` is the text."""
_HELP: Final = "End with exit code 1 where there is a finding as grave as this, or worse."


@command("analyse", stream=True)
@click.argument("path", default=".")
@option("--fail-on", type=_FAIL_ON, help=_HELP)
@option("--exclude", multiple=True, metavar="PATTERN", help="Leave out paths, as `docs/*`. May be repeated.")
@option("-m", "--model", help="The model that judges what was computed.")
def analyse(path: str, fail_on: str | None, exclude: tuple[str, ...], model: str | None) -> Answer:
    """Analyse the code base in PATH, and leave a report in `.pegboard/reports`."""
    return _run("code-analysis", model, path=path, fail_on=fail_on, exclude=list(exclude))


@command("review", stream=True)
@click.argument("range", default=DEFAULT_RANGE)
@option("--path", default=".", help="The folder of the repository.")
@option("--fail-on", type=_FAIL_ON, help=_HELP)
@option("-m", "--model", help="The model that judges what was computed.")
def review(range: str, path: str, fail_on: str | None, model: str | None) -> Answer:
    """Review the commits of RANGE, without it the last one: `HEAD~1..HEAD`.

    RANGE is `A..B` (what B has and A has not), `A...B` (what B has since the two parted), or `A` alone for `A..HEAD`.
    One commit alone is `COMMIT~1..COMMIT`. What is not committed is not looked at.
    """
    return _run("code-review", model, path=path, range=range, fail_on=fail_on)


def _run(agent: str, model: str | None, **inputs: Any) -> Answer:
    """What `peg run` answers, with what was found as data; its own options keep their defaults."""
    words = [*(["-m", model] if model else []), agent, json.dumps(inputs)]
    context = run_agent.make_context("run", words, parent=click.get_current_context())
    with context:
        answer: Answer = context.invoke(run_agent.callback, **context.params)  # type: ignore[arg-type]  # it has one
    output = answer.data["output"]
    if isinstance(output, dict) and "findings" in output:
        found = {name: output[name] for name in _DATA if name in output}
        answer.data = {**answer.data, **found, "output": output["text"]}
    return answer
