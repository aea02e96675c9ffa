"""That the table of rules says of each rule of ruff what ruff means by it."""

from __future__ import annotations

from typing import Final

import pytest
from pegboard_codeanalysis.analysis import lint, snapshot
from pegboard_codeanalysis.analysis.rules import LINT, SPEED

from .conftest import Write

_LOOP: Final = "def f(xs):\n    found = []\n    for x in xs:\n        "
SAMPLES: Final = {
    "a `%` format with names gets no mapping": "'%(a)s' % (1,)\n",
    "a `%` format gets more or fewer values than it takes": "'%s %s' % (1,)\n",
    "`str.format` misses an argument": "'{} {}'.format(1)\n",
    "a key twice in a dictionary": "x = {'a': 1, 'a': 2}\n",
    "an assert on a tuple never fails": "assert (x, 'said')\n",
    "`is` compares with a literal": "x is 'a'\n",
    "`>>` on `print`": "import sys\nprint >> sys.stderr\n",
    "an `if` on a tuple always holds": "if (x, y):\n    pass\n",
    "`break` outside of a loop": "break\n",
    "`continue` outside of a loop": "continue\n",
    "`yield` or `await` outside of a function": "yield 1\n",
    "`return` outside of a function": "return 1\n",
    "a name is defined again before it was used": "import os\nimport os\n",
    "an undefined name": "print(gone)\n",
    "`__all__` names what is not there": "__all__ = ['gone']\n",
    "a local name is used before it is assigned": "a = 1\n\n\ndef f():\n    print(a)\n    a = 2\n",
    "an import that nothing uses": "import os\n",
    "a loop variable hides an import": "import os\nfor os in range(3):\n    pass\n",
    "`import *`": "from os import *\n",
    "an f-string without a placeholder": "print(f'a')\n",
    "a value is assigned and never used": "def f():\n    a = 1\n",
    "`++` does nothing": "++n\n",
    "`os.environ` is assigned": "import os\nos.environ = {}\n",
    "`strip` with several characters": "'abc'.strip('.txt')\n",
    "a mutable default argument": "def f(a=[]):\n    pass\n",
    "a call in a default argument": "def f(a=g()):\n    pass\n",
    "`return`, `break` or `continue` in `finally`": "def f():\n    try:\n        pass\n    finally:\n        return\n",
    "a tuple of one exception": "try:\n    pass\nexcept (ValueError,):\n    pass\n",
    "a comparison whose result is dropped": "a == b\n",
    "a literal is raised": "raise 'a'\n",
    "a test expects any exception": "import pytest\nwith pytest.raises(Exception):\n    f()\n",
    "an expression whose value is dropped": "a.b\n[1]\n",
    "a cache on a method": "import functools\nclass A:\n    @functools.cache\n    def f(self): pass\n",
    "a loop overwrites what it goes over": "for a in a:\n    pass\n",
    "an f-string as docstring": "def f():\n    f'{a}'\n",
    "`suppress` without an exception": "import contextlib\nwith contextlib.suppress():\n    f()\n",
    "a function in a loop uses the loop variable": "for a in b:\n    c.append(lambda: a)\n",
    "an exception is caught twice": "try:\n    f()\nexcept ValueError:\n    g()\nexcept ValueError:\n    h()\n",
    "`*args` after a keyword argument": "f(a=1, *b)\n",
    "`except ()` catches nothing": "try:\n    f()\nexcept ():\n    g()\n",
    "`except` with something that is no exception": "try:\n    f()\nexcept 1:\n    g()\n",
    "a group of `groupby` is used twice": "import itertools\nfor k, g in itertools.groupby(a):\n"
    "    for _ in range(3):\n        h(list(g))\n",
    "a value twice in a set": "a = {1, 1}\n",
    "a dictionary comprehension with a constant key": "a = {'k': b for b in c}\n",
    "a mutable default of a `ContextVar`": "from contextvars import ContextVar\na = ContextVar('a', default=[])\n",
    "raised inside `except` without `from`": "try:\n    f()\nexcept ValueError:\n    raise KeyError('a')\n",
    "a loop changes what it goes over": "for a in b:\n    b.remove(a)\n",
    "`yield` in `__init__`": "class A:\n    def __init__(self):\n        yield 1\n",
    "`return` with a value in `__init__`": "class A:\n    def __init__(self):\n        return 1\n",
    "a base class twice": "class A: pass\nclass B(A, A): pass\n",
    "a special method with wrong parameters": "class A:\n    def __len__(self, a): pass\n",
    "an index beyond what is there": "print([1, 2][3])\n",
    "`raise` without an exception outside of `except`": "def f():\n    raise\n",
    "`await` outside of an async function": "def f():\n    await g()\n",
    "more arguments than the log message takes": "import logging\nlogging.error('%s', 1, 2)\n",
    "fewer arguments than the log message takes": "import logging\nlogging.error('%s %s', 1)\n",
    "a `%` format of the wrong type": "'%d' % '1'\n",
    "`strip` with a character twice": "'abc'.strip('aa')\n",
    "`singledispatch` on a method": "from functools import singledispatch\nclass A:\n"
    "    @singledispatch\n    def f(self, a): pass\n",
    "a character that turns the direction of text": "a = '\u202e'\n",
    "a name is assigned to itself": "a = 1\na = a\n",
    "an assert on a literal text": "assert 'a'\n",
    "an exception is made and not raised": "ValueError('a')\n",
    "a module imports itself": "from . import sample\n",
    "a default of `os.getenv` that is no text": "import os\nos.getenv('A', 1)\n",
    "`preexec_fn` with threads": "import subprocess\nsubprocess.Popen(['a'], preexec_fn=f)\n",
    "a time limit around nothing that waits": "import trio\nasync def f():\n"
    "    with trio.move_on_after(1):\n        g()\n",
    "a blocking HTTP call in an async function": "import requests\nasync def f():\n    requests.get('a')\n",
    "a process is started blockingly in an async function": "import subprocess\nasync def f():\n"
    "    subprocess.Popen(['a'])\n",
    "a process is waited for in an async function": "import os\nasync def f():\n    os.wait()\n",
    "a file is opened in an async function": "async def f():\n    open('a')\n",
    "`time.sleep` in an async function": "import time\nasync def f():\n    time.sleep(1)\n",
    "a task that nobody holds": "import asyncio\nasync def f():\n    asyncio.create_task(g())\n",
    "a mutable default in a dataclass": "from dataclasses import dataclass\n@dataclass\nclass A:\n    a: list = []\n",
    "a call as default in a dataclass": "from dataclasses import dataclass\ndef f(): return []\n"
    "@dataclass\nclass A:\n    a: list = f()\n",
    "an index of a type that does not fit": "print([1, 2]['a'])\n",
    "an assignment in an assert": "assert (a := 1) == 0\nprint(a)\n",
    "`dict.fromkeys` with a mutable value": "dict.fromkeys([1], [])\n",
    "an exception is passed over in silence": "try:\n    f()\nexcept Exception:\n    pass\n",
    "a list is made only to be gone over": "a = [1]\nfor b in list(a):\n    print(b)\n",
    "a list is filled in a loop": f"{_LOOP}if x:\n            found.append(x + 1)\n    return found\n",
    "a list is copied in a loop": f"{_LOOP}found.append(x)\n    return found\n",
    "a dictionary is filled in a loop": "def f(a):\n    found = {}\n    for k, v in a:\n"
    "        if v:\n            found[k] = v\n    return found\n",
    "a list inside `any` or `all`": "any([a for a in b])\n",
    "a collection is made twice": "list(tuple(a))\n",
    "a comprehension that only copies": "[a for a in b]\n",
    "a list is made for its first item": "list(a)[0]\n",
    "lists are summed": "sum([[1], [2]], [])\n",
    "several comparisons with one value": "a == 'b' or a == 'c'\n",
    "`key in d.keys()`": "a in b.keys()\n",
}
"""For each title the smallest code that is what the title says."""
_TABLE: Final = {**SPEED, **LINT}


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """For each title what ruff says of its sample; every sample is asked for in one call."""
    root = tmp_path_factory.mktemp("samples")
    folders = {f"sample{number}": title for number, title in enumerate(SAMPLES)}
    for folder, title in folders.items():
        (root / folder).mkdir()
        (root / folder / "__init__.py").touch()
        (root / folder / "sample.py").write_text(SAMPLES[title])
    taken = snapshot.take(str(root))
    found: dict[str, set[str]] = {title: set() for title in SAMPLES}
    for item in lint.linted(taken.root, taken.python(), _TABLE).findings:
        found[folders[item.place.path.partition("/")[0]]].add(item.rule)
    return found


def test_every_rule_has_a_sample() -> None:
    """And every title is that of one rule."""
    assert {rule.title for rule in _TABLE.values()} == set(SAMPLES)
    assert len({rule.title for rule in _TABLE.values()}) == len(_TABLE)


@pytest.mark.parametrize("code", _TABLE)
def test_a_title_says_what_ruff_means(code: str, named: dict[str, set[str]]) -> None:
    """Code that is written from the title is found by ruff under this code."""
    assert code in named[_TABLE[code].title]


@pytest.mark.parametrize(
    ("grown", "found"), [("", False), ("from collections import deque\nqueue = deque([1])\n", True)]
)
def test_a_list_may_grow_while_a_loop_goes_over_it(write: Write, grown: str, found: bool) -> None:
    """The breadth-first search over a list is sound; a deque raises."""
    search = f"{grown}for each in queue:\n    queue.append(each)\n    queue.extend(each.more)\n    queue += each\n"
    taken = snapshot.take(str(write({"a.py": search})))

    assert any(item.rule == "B909" for item in lint.linted(taken.root, taken.python()).findings) is found
