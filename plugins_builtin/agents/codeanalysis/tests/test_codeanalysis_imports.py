"""Import statements resolved to files, circles, layers, and which tests look at what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from pegboard_codeanalysis.analysis import architecture, facts, graphs, imports, parts, snapshot
from pegboard_codeanalysis.analysis.layout import Modules
from pegboard_codeanalysis.analysis.model import FileFacts, FileHistory, History, Snapshot
from pegboard_codeanalysis.analysis.results import Architecture

from .conftest import SOUND, Write


def looked_at(root: Path) -> tuple[Snapshot, Modules, dict[str, FileFacts]]:
    taken = snapshot.take(str(root))
    known = {entry.path: facts.facts_of(entry.path, (root / entry.path).read_bytes()) for entry in taken.python()}
    return taken, Modules(taken.python()), known


def edges(root: Path) -> set[tuple[str, str]]:
    _, modules, known = looked_at(root)
    return {(edge.importer, edge.imported) for edge in imports.graph_of(modules, known).edges}


def shape(root: Path, history: History | None = None) -> Architecture:
    taken, _, known = looked_at(root)
    return architecture.architecture_of(taken, known, history or History())


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a/__init__.py": "", "a/b.py": "import a.c", "a/c.py": ""}, {("a/b.py", "a/c.py")}),
        ({"a/__init__.py": "", "a/b.py": "from . import c", "a/c.py": ""}, {("a/b.py", "a/c.py")}),
        ({"a/__init__.py": "x = 1", "a/b.py": "from a import x"}, {("a/b.py", "a/__init__.py")}),
        ({"src/a/__init__.py": "", "src/a/b.py": "", "t.py": "import a.b"}, {("t.py", "src/a/b.py")}),
        ({"ns/one/x.py": "from ns.two import y", "ns/two/y.py": ""}, {("ns/one/x.py", "ns/two/y.py")}),
        ({"a/__init__.py": "", "a/b/__init__.py": "", "a/b/c.py": "from ..d import e", "a/d.py": ""},
         {("a/b/c.py", "a/d.py")}),
        ({"tools/json.py": "", "a.py": "import json"}, set()),
        ({"a.py": "from .... import b", "b.py": ""}, set()),
        ({"a.py": "def f():\n    import b", "b.py": ""}, {("a.py", "b.py")}),
        ({"a/__init__.py": "", "a/b.py": "from a import c, d", "a/c.py": "", "a/d.py": ""},
         {("a/b.py", "a/c.py"), ("a/b.py", "a/d.py")}),
        ({"a/__init__.py": "x = 1", "a/b.py": "from a import c, x", "a/c.py": ""},
         {("a/b.py", "a/c.py"), ("a/b.py", "a/__init__.py")}),
    ],
    ids=["absolute", "relative", "package", "src", "namespace", "parent", "stdlib", "beyond", "deferred",
         "modules", "modules and more"],
)  # fmt: skip
def test_imports_are_resolved(write: Write, files: Mapping[str, str], expected: set[tuple[str, str]]) -> None:
    """Whatever the layout: packages, `src`, namespaces, relative imports, and never into the standard library."""
    assert edges(write(files)) == expected


def test_only_imports_at_import_time_make_a_circle(write: Write) -> None:
    """What is only for type checkers, or inside a function, does not tie modules together."""
    tied = {"a/__init__.py": "", "a/b.py": "from a import c", "a/c.py": "from a import b"}
    loose = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a import b\ndef f():\n    from a import b\n"

    assert [cycle.members for cycle in shape(write(tied)).cycles] == [("a/b.py", "a/c.py")]
    assert shape(write({**tied, "a/c.py": loose})).cycles == ()


def test_a_circle_is_shown_with_its_lines(write: Write) -> None:
    """The finding names each import of a shortest way round."""
    files = {"a/__init__.py": "", "a/b.py": "\nfrom a import c", "a/c.py": "from a import b"}

    finding = next(item for item in shape(write(files)).findings if item.rule == "import-cycle")

    assert [str(finding.place), *map(str, finding.related)] == ["a/b.py:2", "a/c.py:1"]


def test_a_file_that_cannot_be_parsed_costs_only_itself(write: Write) -> None:
    """The graph of all the others stands."""
    found = shape(write({**SOUND, "shop/broken.py": "def (:\n"}))

    assert (found.unparsed, found.edges) == (1, 1)


def test_layers_share_one_in_a_circle() -> None:
    """Whoever imports stands above what it imports; those in a circle stand together."""
    assert graphs.layers({"top": {"a": 1}, "a": {"b": 1}, "b": {"a": 1, "ground": 1}}) == {
        "ground": 0, "a": 1, "b": 1, "top": 2,
    }  # fmt: skip


def test_long_chains_do_not_overflow() -> None:
    """Circles and layers are found without recursion."""
    chain = {str(number): [str(number + 1)] for number in range(5000)} | {"5000": ["0"]}

    assert len(graphs.components(chain)[0]) == 5001
    assert graphs.layers({name: {follower: 1} for name, (follower,) in chain.items() if name != "5000"})["0"] == 5000


def test_tests_are_mapped(write: Write) -> None:
    """A module is reached by an import, through its package, by its name, through what uses it, or not."""
    def_ = "def f():\n    pass\n"
    files = {
        "a/__init__.py": "from a import inner",
        "a/inner.py": def_, "a/direct.py": "from a import used\n" + def_, "a/used.py": def_, "a/named.py": def_,
        "a/alone.py": def_,
        "tests/test_named.py": "", "tests/test_x.py": "from a import direct", "tests/test_y.py": "import a",
    }  # fmt: skip
    rows = {row.path: row.how for row in shape(write(files)).tests}

    assert rows == {
        "a/inner.py": "package", "a/direct.py": "imports", "a/used.py": "indirect", "a/named.py": "name",
        "a/alone.py": "distribution",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("files", "how"),
    [
        ({"tests/test_shop_cart.py": ""}, "name"),
        ({"tests/test_cart_prices.py": ""}, "name"),
        ({"tests/test_other_cart.py": ""}, ""),
        ({"tests/test_x.py": "import importlib\nimportlib.import_module('my_shop.cart')\n"}, "imports"),
        ({"my_shop/__init__.py": "_HOMES = {'Cart': 'my_shop.cart'}\n\n\ndef __getattr__(name):\n    pass\n",
          "tests/test_x.py": "import my_shop"}, "package"),
        ({"my_shop/__init__.py": "_HOMES = {'Cart': '.cart'}\n", "tests/test_x.py": "import my_shop"}, "package"),
        ({"my_shop/other.py": "", "tests/test_x.py": "from my_shop import other"}, "distribution"),
        ({"pyproject.toml": '[project.entry-points."web.plugins"]\nshop = "my_shop.plugin:Plugin"\n',
          "tests/test_x.py": ""}, "distribution"),
        ({"other/pyproject.toml": "", "other/tests/test_x.py": "import my_shop.other", "my_shop/other.py": ""}, ""),
        ({"other/pyproject.toml": "", "other/tests/test_cart_prices.py": ""}, ""),
    ],
    ids=["with its package", "and more", "of another", "by a string", "lazily", "lazily and relative", "beside it",
         "entry point", "another distribution", "name in another distribution"],
)  # fmt: skip
def test_a_test_may_get_to_a_module_in_other_ways(write: Write, files: Mapping[str, str], how: str) -> None:
    """By its name, through what is imported late, or at least through the package in the same distribution."""
    base = {"my_shop/__init__.py": "", "my_shop/cart.py": "def f():\n    pass\n"}
    rows = {row.path: row.how for row in shape(write({**base, **files})).tests}

    assert rows["my_shop/cart.py"] == how


def test_untested_says_how_sure_it_is(write: Write) -> None:
    """A note where tests use the package and may get there; low where none does."""
    hard = "def f(x):\n" + "    if x:\n        for y in x:\n            if y:\n                pass\n" * 12
    base = {"shop/__init__.py": "", "shop/cart.py": hard, "shop/other.py": ""}
    near = shape(write({**base, "tests/test_x.py": "from shop import other"})).findings
    far = shape(write({**base, "tests/test_x.py": ""})).findings

    assert [(item.rule, item.severity) for item in (*near, *far)] == [("untested", "note"), ("untested", "low")]
    assert "may get there" in near[0].message


@pytest.mark.parametrize(
    ("files", "members"),
    [
        ({"a/__init__.py": "from a.store import Store", "a/store.py": "from a import Name"}, []),
        ({"a/__init__.py": "from .b import x", "a/b.py": "from .c import y", "a/c.py": "from a import z"}, []),
        ({"a/__init__.py": "from a.b import x", "a/b.py": "import c", "c.py": "from a import z"},
         ["a/__init__.py", "a/b.py", "c.py"]),
        ({"a/__init__.py": "from a.b import x", "a/b.py": "from a.c import y", "a/c.py": "from a.b import z"},
         ["a/b.py", "a/c.py"]),
    ],
    ids=["own module", "through another", "from outside", "beside one another"],
)  # fmt: skip
def test_a_package_always_comes_before_what_is_in_it(
    write: Write, files: Mapping[str, str], members: list[str]
) -> None:
    """That a module imports its own package is no circle whose order is chance; all others stay."""
    assert [path for cycle in shape(write(files)).cycles for path in cycle.members] == members


def test_hot_spots_are_churn_times_complexity(write: Write) -> None:
    """The file that is both complex and changed often comes first."""
    hard = "def f(x):\n" + "    if x:\n        for y in x:\n            if y:\n                pass\n" * 10
    root = write({"calm.py": hard + hard.replace("f(", "g("), "busy.py": hard, "easy.py": "x = 1\n"})
    history = History(
        available=True, commits=99, files=(FileHistory("busy.py", 99, 3, 0), FileHistory("easy.py", 99, 3, 0))
    )

    found = shape(root, history)

    assert found.hot_spots[0].path == "busy.py"
    assert [item.place.path for item in found.findings if item.rule == "hot-spot"] == ["busy.py"]


def test_what_to_cut_is_told(write: Write) -> None:
    """Of a package with a circle between its parts, the imports that stand against the order."""
    files = {
        "a/__init__.py": "", "a/low/__init__.py": "", "a/low/x.py": "\n\nimport a.high.y", "a/high/__init__.py": "",
        "a/high/y.py": "import a.low.x", "a/high/z.py": "import a.low.x",
    }  # fmt: skip
    cut = shape(write(files)).cuts["a"][0]

    assert (cut.importer, cut.imported, str(cut.example)) == ("a.low", "a.high", "a/low/x.py:3")


def test_a_large_package_is_opened() -> None:
    """Its rooms and large modules are parts; what is small beside them stands in one, and never are there too many."""
    small = {f"web.{name}": 1 for name in ("urls", "apps", "__main__")}
    rooms = {f"web.db.m{number}": 50 for number in range(40)} | {f"web.forms.m{number}": 30 for number in range(40)}
    found = parts.parts({"web": 1, "web.http": 900, **small, **rooms})

    assert found["web.http"] == "web.http"
    assert found["web.urls"] == found["web.apps"] == "web.*"
    assert {found[name] for name in rooms} == {"web.db", "web.forms"}


def test_no_more_parts_than_can_be_read() -> None:
    """However many there are, and however deep."""
    names = {f"a{x}.b{y}.c{z}": x + y + z for x in range(9) for y in range(9) for z in range(9)}

    assert 9 <= len(set(parts.parts(names).values())) <= parts.MOST_PARTS


def test_a_small_project_is_shown_whole() -> None:
    """Each module for itself."""
    assert parts.parts({"a": 1, "a.b": 900, "a.b.c": 1}) == {"a": "a", "a.b": "a.b", "a.b.c": "a.b.c"}


def test_a_file_without_ties_is_left_out(write: Write) -> None:
    """Beside parts that have to do with one another."""
    found = shape(write({"a/__init__.py": "", "a/x.py": "import a.y", "a/y.py": "", "lone.py": "x = 1\n"}))

    assert ([node.name for node in found.nodes], found.left_out) == (["a.x", "a.y"], 2)
