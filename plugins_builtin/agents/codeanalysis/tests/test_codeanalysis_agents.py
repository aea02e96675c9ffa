"""The agents: what they give without a model, what a model adds, and which of its claims are passed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pegboard.errors import ModelRateLimitedError
from pegboard.types import ContextNeeds, evolve
from pegboard_codeanalysis.agents.evidence import Claim, Lines, checked, from_model
from pegboard_testing import MakeBoard, ScriptedModel

from .conftest import FAULTY, PLUGIN, SOUND, Git, Write

AGENTS = ("context_gathering", "architecture_analysis", "code_review", "documentation_generation")


def judgement(*evidence: str, claim: str = "The shell is the worst.") -> dict[str, Any]:
    return {"summary": "Mend the shell.", "claims": [{"claim": claim, "severity": "high", "evidence": list(evidence)}]}


@pytest.mark.parametrize("name", AGENTS)
async def test_an_agent_computes_without_a_model(
    write: Write, make_board: MakeBoard, tmp_path: Path, name: str
) -> None:
    """The output fits its schema, every claim stands on a line, and nobody was asked."""
    board = await make_board(folders=[PLUGIN], workspace=tmp_path)

    result = await board.run(name, str(write(FAULTY)))

    jsonschema.validate(result.output, result_schema(board, name))
    assert result.output["judged_by"] == "computation"
    assert result.usage.requests == 0
    assert all(claim["evidence"] for claim in result.output["claims"])
    assert result.confidence == result.output["confidence"] > 0.5


def result_schema(board: Any, name: str) -> Any:
    return board.agents.get(name).config.output


async def test_a_model_is_given_the_findings_and_judges(write: Write, make_board: MakeBoard, tmp_path: Path) -> None:
    """The worst findings are in its context, and its claim stands before the computed ones."""
    model = ScriptedModel([judgement("shop/faulty.py:7")])
    board = await make_board(folders=[PLUGIN], model=model, workspace=tmp_path)

    output = (await board.run("code_review", str(write(FAULTY)))).output

    shown = "\n".join(message.text for message in model.requests[0].messages)
    assert "shop/faulty.py:7" in shown
    assert (output["judged_by"], output["model_said"]) == ("model", "Mend the shell.")
    assert output["claims"][0] == {
        "claim": "The shell is the worst.", "severity": "high", "evidence": ["shop/faulty.py:7"], "by": "model",
        "count": 0,
    }  # fmt: skip


async def test_a_claim_without_a_line_that_exists_is_dropped(
    write: Write, make_board: MakeBoard, tmp_path: Path
) -> None:
    """It is listed with the reason, and the rest stands."""
    model = ScriptedModel([judgement("shop/faulty.py:700", "shop/gone.py:1")])
    board = await make_board(folders=[PLUGIN], model=model, workspace=tmp_path)

    output = (await board.run("code_review", str(write(FAULTY)))).output

    assert output["dropped_claims"] == [
        {"claim": "The shell is the worst.", "reason": "`shop/faulty.py` has 13 lines, and not a line 700"}
    ]
    assert {claim["by"] for claim in output["claims"]} == {"computation"}


async def test_what_a_model_says_of_figures_is_not_taken(write: Write, make_board: MakeBoard, tmp_path: Path) -> None:
    """Computed fields are computed, whatever a model writes into them."""
    model = ScriptedModel([{**judgement("shop/faulty.py:7"), "counts": {"high": 0}, "confidence": 1}])
    board = await make_board(folders=[PLUGIN], model=model, workspace=tmp_path)

    output = (await board.run("code_review", str(write(FAULTY)))).output

    assert output["counts"]["high"] == 3


async def test_a_model_that_fails_costs_only_its_judgement(write: Write, make_board: MakeBoard, tmp_path: Path) -> None:
    """Everything that was computed stands, and what is missing is told."""
    model = ScriptedModel([ModelRateLimitedError("slow down")])
    board = await make_board(folders=[PLUGIN], model=model, workspace=tmp_path)

    result = await board.run("code_review", str(write(FAULTY)))

    assert result.output["judged_by"] == "computation"
    assert [row["what"] for row in result.output["degraded"]] == ["judgement of code_review"]
    assert [part.what for part in result.degraded] == ["judgement of code_review"]


async def test_findings_stay_within_the_token_budget(write: Write, make_board: MakeBoard, tmp_path: Path) -> None:
    """A large project has more findings than a model is shown; the worst are shown, the rest is recorded as dropped."""
    files = {f"m{number}.py": FAULTY["shop/faulty.py"] for number in range(30)}
    body = "    if x:\n        for y in x:\n            if y:\n                pass\n" * 8
    names = [f"function_with_a_long_name_{number}" * 4 for number in range(300)]
    hard = {f"{name}.py": f"import m1\n\n\ndef {name}(x):\n{body}" for name in names}
    board = await make_board(folders=[PLUGIN], model=ScriptedModel([judgement("m1.py:7")]), workspace=tmp_path)

    agent = await board.find_agent("architecture_analysis")
    agent.config = evolve(agent.config, context=ContextNeeds(optimal_tokens=3_000))
    result = await board.run(agent, str(write({**files, **hard})))

    (built,) = [event.data for event in result.events if event.kind == "context.built"]
    assert built["used"] <= built["budget"] == 3_000
    assert {part["reason"] for part in built["dropped"]} == {"budget"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a.py:1", None),
        ("./a.py:3", None),
        ("`a.py:2`", None),
        ("a.py:2-3", None),
        ("a.py:0", "`a.py` has 3 lines, and not a line 0"),
        ("a.py:4", "`a.py` has 3 lines, and not a line 4"),
        ("b.py:1", "there is no file `b.py`"),
        ("a.py", "`a.py` is no `path:line`"),
        ("../a.py:1", "there is no file `../a.py`"),
    ],
)
def test_evidence_is_a_line_that_exists(text: str, fault: str | None) -> None:
    """In the ways that models write it."""
    assert Lines.of({"a.py": 3}).fault(text) == fault


def test_a_claim_keeps_only_the_evidence_that_holds() -> None:
    """One good line is enough; what is wrong beside it is taken away."""
    kept, dropped = checked([Claim(claim="c", severity="low", evidence=("a.py:9", "a.py:1"))], Lines.of({"a.py": 1}))

    assert ([claim.evidence for claim in kept], dropped) == ([("a.py:1",)], ())


@pytest.mark.parametrize("data", [None, "text", [1, None, {"claim": 3}], [{"claim": " "}], {"claim": "x"}])
def test_nonsense_of_a_model_is_no_claim(data: Any) -> None:
    """Whatever else it answers."""
    assert from_model(data) == ()


async def test_an_empty_folder_is_analysed(make_board: MakeBoard, tmp_path: Path) -> None:
    """There is nothing to find, and every agent says so."""
    empty = tmp_path / "empty"
    empty.mkdir()
    board = await make_board(folders=[PLUGIN], workspace=tmp_path)

    outputs = [(await board.run(name, str(empty))).output for name in AGENTS]

    assert [output["claims"] for output in outputs] == [[], [], [], []]
    assert outputs[2]["summary"] == "There is no Python to look at."


async def test_a_project_without_python_is_analysed(write: Write, make_board: MakeBoard, tmp_path: Path) -> None:
    """Files, documents and history are there all the same."""
    board = await make_board(folders=[PLUGIN], workspace=tmp_path)

    output = (
        await board.run("context_gathering", str(write({"main.go": "package main\n", "README.md": "# x\n"})))
    ).output

    assert {row["language"] for row in output["languages"]} == {"Go", "Markdown"}
    assert "There is no Python in it" in output["summary"]


async def test_a_repository_without_a_commit_has_no_history(
    write: Write, git: Git, make_board: MakeBoard, tmp_path: Path
) -> None:
    """It is said so, and is no history of no commits by nobody."""
    root = write({"a.py": "x = 1\n"})
    git("init", "-q")
    board = await make_board(folders=[PLUGIN], workspace=tmp_path)

    result = await board.run("context_gathering", str(root))

    assert "There is no history to draw on: " in result.output["summary"]
    assert "1970" not in result.output["text"]
    assert [part.what for part in result.degraded] == ["git history"]


async def test_a_folder_that_is_not_there_fails_the_run(make_board: MakeBoard, tmp_path: Path) -> None:
    """With the code, and nothing of a crash."""
    board = await make_board(folders=[PLUGIN], workspace=tmp_path)

    result = await board.run("context_gathering", "gone", check=False)

    assert (result.end_reason, getattr(result.error, "code", None)) == ("failed", "codeanalysis.target")


async def test_an_agent_that_is_alone_fails_by_its_threshold(
    write: Write, make_board: MakeBoard, tmp_path: Path
) -> None:
    """`fail_on` is a quality standard: the output is kept, and the run has failed."""
    board = await make_board(folders=[PLUGIN], workspace=tmp_path)
    root = str(write({**SOUND, "docs/x.md": "[a](gone.md)\n"}))

    fine = await board.run("documentation_generation", {"path": root, "fail_on": "high"}, check=False)
    failed = await board.run("documentation_generation", {"path": root, "fail_on": "low"}, check=False)

    assert (fine.ok, failed.end_reason, failed.output["fails"]) == (True, "failed", True)
    assert getattr(failed.error, "exit_code", None) == 1
