"""What each tool finds, in which order it is told, and that the analysed code is data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from pegboard_codeanalysis.agents.evidence import sentence
from pegboard_codeanalysis.analysis import documentation, facts, layout, lint, review, snapshot
from pegboard_codeanalysis.analysis.model import Finding, History, Place, Severity
from pegboard_codeanalysis.analysis.security import Bandit

from .conftest import FAULTY, SOUND, Write


def reviewed(root: Path) -> review.Review:
    taken = snapshot.take(str(root))
    bandit = Bandit()
    known, weak = {}, {}
    for entry in taken.python():
        known[entry.path] = facts.facts_of(entry.path, (root / entry.path).read_bytes(), shipped=entry.role == "code")
        weak[entry.path] = bandit.look(str(root / entry.path), entry.path)
    return review.review_of(taken, known, weak, lint.linted(taken.root, taken.python()).findings, History())


def rules(root: Path) -> dict[str, Severity]:
    return {item.rule: item.severity for item in reviewed(root).findings}


def test_a_sound_project_has_no_findings(write: Write) -> None:
    """No filler: where there is nothing to say, nothing is said."""
    found = reviewed(write(SOUND)).findings

    assert [item for item in found if item.severity != "note"] == []


def test_each_tool_finds_its_fault(write: Write) -> None:
    """An undefined name, a shell, a mutable default, an unused import, dead code, and what cannot be parsed."""
    found = rules(write(FAULTY))

    assert found["F821"] == found["B602"] == found["syntax"] == "high"
    assert found["B006"] == "medium"
    assert found["F401"] == found["unreachable"] == found["unused"] == "low"


def test_the_worst_comes_first(write: Write) -> None:
    """High before medium before low before notes."""
    order = ["high", "medium", "low", "note"]
    found = [order.index(item.severity) for item in reviewed(write(FAULTY)).findings]

    assert found == sorted(found)


def test_findings_in_tests_are_notes(write: Write) -> None:
    """Nobody depends on tests: what is wrong there is told, and is no reason to fail."""
    found = reviewed(write({"tests/test_x.py": FAULTY["shop/faulty.py"].replace("undefined_thing", "1")})).findings

    assert {item.severity for item in found} == {"note"}


def test_findings_of_one_rule_are_one_group() -> None:
    """Whoever reads decides once for a rule, and sees its first places."""
    rows = [
        Finding(rule="B006", tool="ruff", severity="medium", message="m", place=Place("a.py", line))
        for line in range(1, 21)
    ]
    (group,) = review.groups(rows, most_places=3)

    assert (group.count, group.files, [place.line for place in group.places]) == (20, 1, [1, 2, 3])
    assert group.title == "a mutable default argument"


@pytest.mark.parametrize(
    ("more", "unused"),
    [
        ({}, True),
        ({"shop/other.py": "import shop.faulty\nshop.faulty._forgotten()\n"}, False),
        ({"shop/other.py": "NAME = '_forgotten'\n"}, False),
        ({"docs/page.md": "Call `_forgotten`.\n"}, False),
    ],
    ids=["nowhere", "code", "string", "document"],
)
def test_unused_means_mentioned_nowhere(write: Write, more: Mapping[str, str], unused: bool) -> None:
    """A name counts as unused only when nothing in the whole repository says it."""
    assert ("unused" in rules(write({**FAULTY, **more}))) is unused


def test_the_configuration_of_the_target_is_not_obeyed(write: Write) -> None:
    """What the analysed project tells the tools to ignore, extend or skip is data."""
    hostile = {
        "pyproject.toml": '[tool.ruff]\nextend = "/etc/passwd"\n[tool.ruff.lint]\nignore = ["ALL"]\n'
        '[tool.bandit]\nexclude_dirs = ["shop"]\n[tool.vulture]\nmin_confidence = 100\n',
        ".bandit": "[bandit]\nexclude: /\n",
        "ruff.toml": "this is no toml",
    }

    assert rules(write({**FAULTY, **hostile})) == rules(write(FAULTY))


def test_analysed_code_is_never_run(write: Write, tmp_path: Path) -> None:
    """Neither importing nor evaluating: every file here would leave a trace if it were."""
    trap = tmp_path / "trap"
    spring = f"import pathlib\npathlib.Path({str(trap)!r}).touch()\n"
    files = ("shop/__init__.py", "shop/cart.py", "setup.py", "conftest.py", "sitecustomize.py", "ast.py", "ruff.py")

    reviewed(write({**SOUND, **dict.fromkeys(files, spring)}))

    assert not trap.exists()


def test_newer_syntax_is_no_fault(write: Write) -> None:
    """What ruff can parse and this Python cannot is listed as not analysed, and not as a syntax error."""
    newer = "type Pair[T] = tuple[T, T]\n\n\ndef f[T](x: T) -> T:\n    return x\n\n\nx = t'{f}'\n"
    found = reviewed(write({**SOUND, "shop/newer.py": newer}))

    assert "syntax" not in {item.rule for item in found.findings}
    assert [item.what for item in found.degraded] == ["shop/newer.py"]


def test_halves_of_characters_do_not_break_anything(write: Write) -> None:
    """A docstring may hold what cannot be written as UTF-8."""
    root = write({"a.py": '"""A \\ud800 half."""\npassword = "\\ud800secret"\n'})

    assert facts.facts_of("a.py", (root / "a.py").read_bytes()).summary == "A \\ud800 half."


def test_deep_nesting_is_an_answer() -> None:
    """A file that is too much for the parser is told of, and ends nothing."""
    assert facts.facts_of("a.py", b"(" * 5000 + b")" * 5000).error


def test_undocumented_objects_and_dead_links_are_found(write: Write) -> None:
    """Public objects without docstring are counted; a link within the repository must lead somewhere."""
    root = write(
        {
            **SOUND,
            "shop/bare.py": "def a(): pass\ndef b(): pass\nclass C:\n    def d(self): pass\n    def _e(self): pass\n",
            "docs/page.md": "[good](../README.md) [bad](gone.md) [out](https://x.y/z) `[code](no.md)`\n",
        }
    )
    taken = snapshot.take(str(root))
    known = {entry.path: facts.facts_of(entry.path, (root / entry.path).read_bytes()) for entry in taken.python()}

    found = documentation.documentation_of(taken, known, layout.metadata(taken))

    assert {item.name for item in found.undocumented} == {
        "shop.bare.a", "shop.bare.b", "shop.bare.C", "shop.bare.C.d",
    }  # fmt: skip
    assert [(str(item.place), item.message) for item in found.findings if item.rule == "dead-link"] == [
        ("docs/page.md:1", "`gone.md` leads to nothing in the repository")
    ]


@pytest.mark.parametrize(
    ("files", "public"),
    [
        ({"shop/__init__.py": "from ._cart import *\n"}, ["Cart", "total"]),
        ({"shop/__init__.py": "from ._cart import *\n__all__ = ['total']\n"}, ["total"]),
        ({"shop/__init__.py": "from ._cart import Cart\nfrom ._cart import total\n"}, ["Cart", "total"]),
        ({"shop/__init__.py": "from ._more import *\n", "shop/_more.py": "from ._cart import total\n"
          "__all__ = ['total']\n"}, ["total"]),
        ({"shop/__init__.py": "from ._more import *\n", "shop/_more/__init__.py": "from .._cart import *\n"},
         ["Cart", "total"]),
        ({"shop/__init__.py": "", "shop/use.py": "from ._cart import total\n"}, []),
    ],
    ids=["star", "named", "by name", "through another", "star through another", "only used"],
)  # fmt: skip
def test_what_a_package_hands_on_is_public(write: Write, files: Mapping[str, str], public: list[str]) -> None:
    """Also from private modules, under the name that users import."""
    cart = {"shop/_cart.py": "class Cart:\n    def add(self): pass\ndef total(): pass\ndef _own(): pass\n"}
    taken = snapshot.take(str(write({**cart, **files})))
    known = {each.path: facts.facts_of(each.path, Path(taken.root, each.path).read_bytes()) for each in taken.python()}

    found = documentation.documentation_of(taken, known, layout.metadata(taken))

    assert sorted(item.name for item in found.entries) == [f"shop.{name}" for name in public]
    assert found.public == len(public) + ("Cart" in public)


def test_what_cannot_be_told_is_said(write: Write) -> None:
    """An `__all__` that is put together when it runs."""
    taken = snapshot.take(
        str(write({"shop/__init__.py": "from ._a import f\n__all__ = sorted(X)\n", "shop/_a.py": "def f(): pass\n"}))
    )
    known = {each.path: facts.facts_of(each.path, Path(taken.root, each.path).read_bytes()) for each in taken.python()}

    found = documentation.documentation_of(taken, known, layout.metadata(taken))

    assert [(item.rule, item.severity) for item in found.findings if item.tool == "griffe"] == [("open-api", "note")]
    assert [item.name for item in found.entries] == ["shop.f"]


def test_a_finding_is_one_sentence(write: Write) -> None:
    """What the rule is called, why it matters, and what the tool names."""
    exec_ = "def run(text):\n    exec(text)\n    return missing\n"
    found = reviewed(write({**SOUND, "shop/run.py": exec_})).findings

    said = {group.rule: sentence(group) for group in review.groups(found)}

    assert said["B102"] == "`exec` is used. Whatever reaches it is run. Make sure that no input can."
    assert said["F821"] == "An undefined name: `missing`. It raises `NameError` when the line is reached."


def test_scripts_of_the_project_are_judged_milder(write: Write) -> None:
    """By one step, and only beside a program."""
    shell = "import subprocess\n\n\ndef run(name):\n    subprocess.call('ls ' + name, shell=True)\n"
    beside = rules(write({**SOUND, "shop/run.py": shell, "scripts/run.py": ""}))["B602"]
    script = rules(write({"shop/run.py": "", "scripts/run.py": shell}))["B602"]

    assert (beside, script) == ("high", "medium")


def test_scripts_alone_are_the_program(write: Write) -> None:
    """Where there is nothing else."""
    taken = snapshot.take(str(write({"scripts/run.py": "x = 1\n"})))

    assert [entry.role for entry in taken.files] == ["code"]
