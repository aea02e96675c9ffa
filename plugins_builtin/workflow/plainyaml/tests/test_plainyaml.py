"""How YAML is read, and what is refused."""

from __future__ import annotations

import pytest
from pegboard_plainyaml import MAX_BYTES, MAX_DEPTH, MAX_VALUES, YamlFault, YamlInvalidError, read_yaml


def refused(raw: bytes | str) -> YamlFault:
    """What is wrong with a document in which one thing is."""
    with pytest.raises(YamlInvalidError) as caught:
        read_yaml(raw)
    (fault,) = caught.value.faults
    return fault


def test_scalars_are_those_of_yaml_1_2() -> None:
    """`no`, `on` and times are text; what is quoted is text always."""
    data, _ = read_yaml("[no, on, 12:30, 0o7, 1_000, '1', 12, -1.5e3, .5, true, null, ~, \"\", 2026-01-02]")
    texts = ["no", "on", "12:30", "0o7", "1_000", "1"]

    assert data == [*texts, 12, -1500.0, 0.5, True, None, None, "", "2026-01-02"]
    assert read_yaml("a:")[0] == {"a": None}


def test_lines_are_known() -> None:
    """Each key has the line that it stands in."""
    lines = read_yaml("nodes:\n  a:\n    agent: x\n")[1]

    assert lines == {("nodes",): 1, ("nodes", "a"): 2, ("nodes", "a", "agent"): 3}


def test_a_key_that_is_there_twice() -> None:
    """YAML would keep the last in silence; each such key is told, with both lines."""
    with pytest.raises(YamlInvalidError) as caught:
        read_yaml("a: 1\nb: {c: 1, c: 2}\na: 3\n")

    assert [(fault.path, fault.first_line, fault.line) for fault in caught.value.faults] == [
        (("b", "c"), 2, 2),
        (("a",), 1, 3),
    ]


@pytest.mark.parametrize("raw", ["true: a\n1: b\n", "1: a\n1.0: b\n", "0: a\nfalse: b\n"])
def test_keys_that_are_one_key_to_python(raw: str) -> None:
    """However they are written, the second would take the place of the first."""
    fault = refused(raw)

    assert (fault.first_line, fault.line) == (1, 2)
    assert fault.message.endswith("is there twice; the first is in line 1")


@pytest.mark.parametrize(
    ("raw", "said", "line"),
    [
        (b"nodes:\n  a: \xff\n", "is not UTF-8: byte 12", 2),
        ("nodes: [", "is no YAML", 2),
        ("a: 1\n---\nb: 2\n", "more than one document", 2),
        ("? [1]\n: 2\n", "a key is a list or mapping", 1),
        ("a: !!python/object/apply:os.system [x]\n", "has no meaning here", 1),
        ("a: !!binary x\n", "has no meaning here", 1),
        ("a: *b\n", "`*b` stands for nothing", 1),
        ("a: &a [*a]\n", "`*a` stands for nothing", 1),
        ("[" * 100_000, f"more than {MAX_DEPTH} deep", 1),
        ("- " * 100_000, "", 1),
    ],
    ids=["utf8", "broken", "documents", "key", "object", "binary", "alias", "itself", "flow depth", "block depth"],
)
def test_what_is_refused(raw: bytes | str, said: str, line: int) -> None:
    """With the line; nothing of it is carried out, and nothing of it ends the process."""
    fault = refused(raw)

    assert (fault.path, fault.line) == ((), line)
    assert said in fault.message


def test_aliases_that_stand_for_very_much() -> None:
    """A few lines may not stand for millions of values; plain aliases are fine."""
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))

    assert f"more than {MAX_VALUES} values" in refused(bomb).message
    assert read_yaml("a: &a {x: 1}\nb: *a\n")[0] == {"a": {"x": 1}, "b": {"x": 1}}


@pytest.mark.parametrize("raw", ["#" * (MAX_BYTES + 1), b"#" * (MAX_BYTES + 1)], ids=["text", "bytes"])
def test_what_is_very_large(raw: bytes | str) -> None:
    """It is not looked into."""
    assert refused(raw).message == "is larger than 8 MiB"
