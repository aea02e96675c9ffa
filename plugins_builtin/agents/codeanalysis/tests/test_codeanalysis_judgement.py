"""How grave a weakness is where it stands: SQL by what is put in, hashes by what they are for, secrets by shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from pegboard_codeanalysis.analysis import changes, facts, review, secret, snapshot
from pegboard_codeanalysis.analysis.model import FileFacts, Finding, History, SecurityFacts, Severity
from pegboard_codeanalysis.analysis.security import Bandit

from .conftest import Git, Write

KEY = "sk-" + "live-" + "9fQ2mZ7xW4kR"
TOKEN = "ghp_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
BLOCK = "-----BEGIN " + "PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n"
Look = Callable[[str], list[Finding]]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """What is found in a program."""
    bandit = Bandit()

    def look(code: str) -> list[Finding]:
        path = tmp_path / "program.py"
        path.write_text(code)
        return list(bandit.look(str(path), "program.py").findings)

    return look


def severity(found: list[Finding], *rules: str) -> Severity | None:
    return next((item.severity for item in found if item.rule in rules), None)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def f(db, name):\n    db.execute(f\"SELECT * FROM a WHERE n = '{name}'\")\n", "high"),
        ("def f(db, q):\n    db.execute(\"SELECT * FROM a WHERE n like '%\" + q + \"%'\")\n", "high"),
        ("def f(db, q):\n    db.execute('SELECT * FROM a WHERE n = %s' % q)\n", "high"),
        ("def f(db, q):\n    db.execute('SELECT * FROM a WHERE n = {}'.format(q))\n", "high"),
        ("def f(db, q):\n    s = f'SELECT * FROM a {q}'\n    s += ' LIMIT 1'\n    db.execute(s)\n", "high"),
        ("def f(db, q):\n    w = q.strip()\n    db.execute(f'SELECT * FROM a WHERE n = {w}')\n", "high"),
        ("def f(db, names):\n    for n in names:\n        db.execute(f'DELETE FROM a WHERE n = {n}')\n", "high"),
        ("def f(db):\n    db.execute(f\"SELECT * FROM a WHERE n = {request.args['q']}\")\n", "high"),
        ("def f(db, q):\n    return f'SELECT * FROM a WHERE n = {q}'\n", "low"),
        ("def f(db, t):\n    if t not in TABLES:\n        raise A\n    db.execute(f'SELECT * FROM {t}')\n", "note"),
        ("def f(db, t):\n    db.execute(f'SELECT * FROM {quote_name(t)}')\n", "note"),
        ("class A:\n    def f(self, db):\n        db.execute(f'SELECT * FROM {self.table}')\n", "note"),
        ("def f(db, t):\n    db.execute('SELECT * FROM `%s`' % t)\n", "medium"),
        ("class A:\n    def f(self, db, q):\n        db.execute(f'SELECT * FROM {self.made_of(q)}')\n", "note"),
        ("def f(db, ids):\n    m = ','.join('?' * len(ids))\n    db.execute(f'SELECT * FROM a IN ({m})')\n", None),
        ("def f(db, ids):\n    db.execute('SELECT * FROM a WHERE i IN (%s)' % ','.join('?' for _ in ids))\n", None),
        ("def f(db, ids):\n    m = ','.join(['?'] * len(ids))\n    db.execute(f'SELECT * FROM a IN ({m})')\n", None),
        ("TABLE = 'a'\n\n\ndef f(db):\n    db.execute(f'SELECT * FROM {TABLE} WHERE i = 1')\n", None),
        ("def f(db, n: int):\n    db.execute(f'SELECT * FROM a WHERE i = {n}')\n", None),
        ("def f(db, n):\n    db.execute(f'SELECT * FROM a WHERE i = {int(n)}')\n", None),
        ("def f(db, a):\n    s = 'SELECT * FROM a WHERE b = ' + s\n    s = s + s\n    db.execute(s)\n", None),
    ],
    ids=["f-string", "plus", "percent", "format", "by a name", "derived", "loop", "request", "returned", "checked",
         "quoted", "own attribute", "backticks", "made of it", "marks", "marks by a generator", "marks of a list",
         "constant", "number", "int",
         "made of itself"],
)  # fmt: skip
def test_sql_is_as_grave_as_what_is_put_in(look: Look, code: str, expected: Severity | None) -> None:
    """High where a parameter reaches a database as text; nothing where all of it is fixed."""
    assert severity(look(code), "B608") == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import hashlib\n\n\ndef cache_key(a):\n    return hashlib.md5(a).hexdigest()\n", "low"),
        ("import hashlib\n\n\ndef nonce(a):\n    return hashlib.sha1(a).hexdigest()\n", "low"),
        ("import hashlib\n\n\ndef check(password):\n    return hashlib.md5(password).hexdigest()\n", "medium"),
        ("import hashlib\n\n\nclass TokenMaker:\n    def make(self, a):\n        return hashlib.sha1(a)\n", "medium"),
        ("import hashlib\n\n\ndef key(a):\n    return hashlib.md5(a, usedforsecurity=False)\n", None),
    ],
    ids=["cache", "nonce", "password", "token", "said so"],
)
def test_a_weak_hash_is_as_grave_as_what_it_is_for(look: Look, code: str, expected: Severity | None) -> None:
    """Medium for passwords, signatures and tokens, low elsewhere, and never high."""
    assert severity(look(code), "B324") == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (f"key = '{KEY}'\n", "high"),
        (f"call('{TOKEN}')\n", "high"),
        ("key = 'AKIA" + "Q3EGRIZK5VBTXN7A'\n", "high"),
        (f"key = '''{BLOCK}'''\n", "high"),
        ("PASSWORD = 'hunter2'\n", "medium"),
        ("password: str = 'tr0ub4dor&3'\n", "medium"),
        ("connect(password='letmein')\n", "medium"),
        ("settings['DB_PASSWORD'] = 'n0t-so-easy'\n", "medium"),
        ("API_KEY = '8f14e45fceea167a'\n", "medium"),
        ("key = 'AKIA" + "IOSFODNN7EXAMPLE'\n", None),
        ("key = 'ghp_" + "x" * 36 + "'\n", None),
        ("PASSWORD = 'changeme'\n", None),
        ("PASSWORD = '<your password>'\n", None),
        ("PASSWORD = '${DB_PASSWORD}'\n", None),
        ("PASSWORD = 'DB2_PASSWORD'\n", None),
        ("PASSWORD = 'password_reset'\n", None),
        ("password = 'django.contrib.auth.password'\n", None),
        ("if password == 'a1b2c3d4e5':\n    pass\n", None),
        ("token = 'csrfmiddlewaretoken'\n", None),
        ("HEAD = '-----BEGIN " + "PRIVATE KEY-----'\n", None),
    ],
)  # fmt: skip
def test_secrets_are_known_by_their_shape(look: Look, code: str, expected: Severity | None) -> None:
    """A key that looks alive is high, a likely password medium, and what only stands for one is nothing."""
    found = look(code)

    assert severity(found, "secret-key", "secret-password") == expected
    assert severity(found, "B105", "B106", "B107") is None


def test_a_secret_is_never_repeated(look: Look, write: Write) -> None:
    """Neither by what finds it, nor in the signature of a function."""
    code = f"def connect(token='{TOKEN}', password='hunter2'):\n    return {{'{KEY}', '{KEY}'}}\n"
    said = str([*look(code), *facts.facts_of("a.py", code.encode()).api])

    assert "connect" in said
    assert [text for text in (TOKEN, KEY, "hunter2") if text in said] == []


def test_secrets_are_found_in_what_is_not_python(write: Write) -> None:
    """Certificates and settings too; in tests they are notes."""
    root = write({"deploy/key.pem": BLOCK, "app.toml": f'key = "{KEY}"\n', "tests/key.pem": BLOCK, "a.py": ""})
    found = review.review_of(snapshot.take(str(root)), {}, {}, (), History()).findings

    assert [(str(item.place), item.severity) for item in found] == [
        ("app.toml:1", "high"), ("deploy/key.pem:1", "high"), ("tests/key.pem:1", "note"),
    ]  # fmt: skip


def test_what_only_imports_is_never_high(look: Look) -> None:
    """Nothing can be exploited by an import; what bandit calls high is high only where it can be as it stands."""
    assert severity(look("import ftplib\n"), "B402") == "note"
    assert severity(look("import jinja2\na = jinja2.Environment()\n"), "B701") == "medium"


def test_two_tools_that_say_the_same_are_one_finding(write: Write, git: Git) -> None:
    """Of a line that both ruff and bandit name, also when a range is reviewed."""
    root = write({"a.py": "x = 1\n"})
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "start")
    write({"a.py": "x = 1\ntry:\n    x = 2\nexcept Exception:\n    pass\n"})
    git("commit", "-qam", "more")

    found = changes.changes_of(str(root), "HEAD~1..HEAD", Bandit()).findings

    assert [item.rule for some in found.values() for item in some if item.place.line == 4] == ["S110"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def f():\n    raise NotImplementedError\n    yield\n", 0),
        ("def f():\n    return\n    yield  # a generator\n", 0),
        ("def f():\n    raise NotImplementedError\n    yield b''  # pragma: no cover\n", 0),
        ("def f():\n    if False:\n        yield\n", 0),
        ("def f():\n    raise NotImplementedError\n    print('never')\n", 1),
    ],
)
def test_a_yield_that_makes_a_generator_is_not_dead(code: str, expected: int) -> None:
    """It is there to be seen by Python, and not to be reached."""
    assert len(facts.facts_of("a.py", code.encode()).unreachable) == expected


@pytest.mark.parametrize(
    ("name", "judged"),
    [
        ("_generate_next_value_", False),
        ("_missing_", False),
        ("_repr_html_", False),
        ("_fill_text", False),
        ("_own", True),
    ],
)
def test_names_that_a_protocol_asks_for_are_used(name: str, judged: bool) -> None:
    """Enums, notebooks and the standard library call what nobody here does."""
    found = facts.facts_of("a.py", f"class A(B):\n    def {name}(self):\n        pass\n".encode())

    assert [item.name for item in found.defined] == ([name] if judged else [])


def test_facts_go_through_the_cache_unchanged() -> None:
    """Also what `__all__` says, and that there is none."""
    known = facts.facts_of("a.py", b"__all__ = ['a']\nb = 'shop.cart'\n")

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(known), type=FileFacts) == known
    assert (known.offered, known.offered_told, known.named) == (("a",), True, ("shop.cart",))
    assert SecurityFacts().findings == ()


def test_a_mask_leaves_the_rest() -> None:
    """Only the secret is taken out."""
    assert secret.masked("(host: str = 'a', password: str = 'b c', port=1)") == (
        "(host: str = 'a', password: str = '…', port=1)"
    )
