"""With a model: what it is asked for, what it is shown, which of its answers are taken, and what goes on without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pegboard_workflow
import pytest
from pegboard.types import ModelRequest, ToolCall, ToolResult
from pegboard_codeanalysis.agents import schemas
from pegboard_replay import DemoModel, FunctionModel
from pegboard_testing import MakeBoard, ScriptedModel

from .conftest import FAULTY, PLUGIN, SOUND, Git, Write

FOLDERS = [Path(pegboard_workflow.__file__).parent, PLUGIN]
CLAIM = {"claim": "The shell is the worst.", "severity": "high", "evidence": ["shop/faulty.py:7"]}
ANSWER = {"summary": "Mend the shell.", "claims": [CLAIM]}
JUDGES = {
    "code-analysis": ("context_gathering", "architecture_analysis", "code_review", "documentation_generation"),
    "code-review": ("change_review", "security_review", "performance_review"),
}


class Asked:
    """A model that always answers the same, and remembers what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.requests: list[ModelRequest] = []

    def __call__(self, request: ModelRequest) -> Any:
        self.requests.append(request)
        return self.answer


@pytest.fixture
def repository(write: Write, git: Git) -> Path:
    """A sound first commit, and a second one with faults."""
    root = write(SOUND)
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "start")
    write(FAULTY)
    git("add", ".")
    git("commit", "-qm", "faults")
    return root


@pytest.mark.parametrize("workflow", JUDGES)
async def test_a_summary_and_claims_are_all_that_a_model_is_asked_for(
    repository: Path, make_board: MakeBoard, workflow: str
) -> None:
    """Such an answer is taken from every agent: nothing is sent back, nothing is degraded, everybody was asked once."""
    model = Asked(ANSWER)
    board = await make_board(folders=FOLDERS, model=FunctionModel(model), workspace=repository)

    result = await board.run(workflow, ".")

    assert [part.what for part in result.degraded] == []
    assert len(model.requests) == len(JUDGES[workflow])
    assert "The shell is the worst." in result.output["text"]


@pytest.mark.parametrize("name", [*JUDGES["code-analysis"], *JUDGES["code-review"]])
async def test_nothing_computed_is_in_the_schema_that_a_model_is_shown(
    repository: Path, make_board: MakeBoard, name: str
) -> None:
    """It has two properties; those of the output that are computed are put beside them."""
    model = ScriptedModel([ANSWER])
    board = await make_board(folders=[PLUGIN], model=model, workspace=repository)

    output = (await board.run(name, ".")).output

    assert schemas.ANSWER["required"] == ["summary", "claims"]
    request = model.requests[0]
    asked = request.output_schema or next(tool.input_schema for tool in request.tools if tool.name == "final_output")
    assert set(asked["properties"]) == {"summary", "claims"}
    assert set(board.agents.get(name).config.output["required"]) == set(output)
    assert (output["judged_by"], output["model_said"]) == ("model", "Mend the shell.")


@pytest.mark.parametrize(
    "answer",
    ["no JSON", {}, {"summary": 3, "claims": []}, {"summary": "x", "claims": [{"claim": "y"}]}],
    ids=["text", "empty", "types", "claim"],
)
async def test_an_answer_that_does_not_fit_costs_only_the_judgement(
    write: Write, make_board: MakeBoard, tmp_path: Path, answer: Any
) -> None:
    """It is sent back twice; then what was computed stands, and what is missing is told."""
    model = Asked(answer)
    board = await make_board(folders=[PLUGIN], model=FunctionModel(model), workspace=tmp_path)

    result = await board.run("code_review", str(write(FAULTY)))

    assert (len(model.requests), result.output["judged_by"]) == (3, "computation")
    assert result.output["counts"]["high"] == 3
    assert [part.what for part in result.degraded] == ["judgement of code_review"]


async def test_a_claim_about_a_line_that_the_range_does_not_have_is_dropped(
    repository: Path, make_board: MakeBoard
) -> None:
    """Of a review the files are those of the range, as they are in its last commit."""
    unfounded = {**CLAIM, "evidence": ["shop/faulty.py:900", "shop/prices.py:1"]}
    board = await make_board(
        folders=[PLUGIN], model=ScriptedModel([{"summary": "s", "claims": [CLAIM, unfounded]}]), workspace=repository
    )

    output = (await board.run("security_review", ".")).output

    assert [claim["evidence"] for claim in output["claims"] if claim["by"] == "model"] == [["shop/faulty.py:7"]]
    (dropped,) = output["dropped_claims"]
    assert dropped["reason"] == "`shop/faulty.py` has 13 lines, and not a line 900"
    assert "1 claim of the model names no line that exists: left out." in output["text"]


@pytest.mark.parametrize("workflow", JUDGES)
async def test_who_reads_the_text_is_told_of_claims_that_were_dropped(
    repository: Path, make_board: MakeBoard, workflow: str
) -> None:
    """Also of the workflow; how many there were, not what they said."""
    answer = {"summary": "s", "claims": [{**CLAIM, "claim": "The moon is made of cheese.", "evidence": ["moon.py:1"]}]}
    board = await make_board(folders=FOLDERS, model=FunctionModel(Asked(answer)), workspace=repository)

    text = (await board.run(workflow, ".")).output["text"]

    assert ("no line that exists" in text, "cheese" in text) == (True, False)


@pytest.mark.parametrize("name", ["code_review", "security_review"])
async def test_the_gravest_findings_come_with_their_lines(repository: Path, make_board: MakeBoard, name: str) -> None:
    """From the folder, or from the commit where the range ends and not from the folder; notes come without."""
    if name == "security_review":
        (repository / "shop/faulty.py").write_text("changed since\n" * 13)
    model = ScriptedModel([ANSWER])
    board = await make_board(folders=[PLUGIN], model=model, workspace=repository)

    await board.run(name, ".")

    shown = "\n".join(message.text for message in model.requests[0].messages)
    assert "     7 |     subprocess.call('ls ' + name, shell=True)\n" in shown
    assert "changed since" not in shown


def calls(*arguments: dict[str, Any]) -> list[Any]:
    """Turns that read lines one after the other, and then judge."""
    return [*(ToolCall(id=f"c{n}", name="read_lines", arguments=given) for n, given in enumerate(arguments)), ANSWER]


@pytest.mark.parametrize("name", ["code_review", "security_review"])
async def test_a_model_may_read_more_lines(repository: Path, make_board: MakeBoard, name: str) -> None:
    """Of the analysed files, as they were analysed, and of no others."""
    (repository / "secret.txt").write_text("hush\n")
    asked = [
        ("shop/faulty.py", 5, 6),
        ("../project/secret.txt", 1, 9),
        ("/etc/passwd", 1, 9),
        ("shop/faulty.py", 90, 91),
    ]
    model = ScriptedModel(calls(*({"path": path, "start": start, "end": end} for path, start, end in asked)))
    board = await make_board(folders=[PLUGIN], model=model, workspace=repository)

    output = (await board.run(name, {"path": ".", "exclude": ["*.txt"]})).output

    parts = [part for message in model.requests[-1].messages for part in message.parts]
    results = [part.text for part in parts if isinstance(part, ToolResult)]
    assert results == [
        "     5 | def run(name, seen=[]):\n     6 |     seen.append(name)",
        "there is no file `../project/secret.txt`",
        "there is no file `/etc/passwd`",
        "there are no such lines",
    ]
    assert output["judged_by"] == "model"


@pytest.mark.parametrize("workflow", JUDGES)
async def test_a_demo_model_is_no_judge(repository: Path, make_board: MakeBoard, workflow: str) -> None:
    """In a folder of `peg init` everything is computed, as without a model: no request, nothing degraded."""
    board = await make_board(folders=FOLDERS, model=DemoModel(), workspace=repository)

    result = await board.run(workflow, ".")

    assert (result.usage.requests, [part.what for part in result.degraded]) == (0, [])
