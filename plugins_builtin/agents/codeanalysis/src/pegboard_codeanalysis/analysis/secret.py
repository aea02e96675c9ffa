"""Secrets that stand in files: keys by their well-known shapes, and passwords by the name that they are given to.

What is found is never repeated: reports are shown to more people than the source is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pegboard_codeanalysis.analysis import snapshot
from pegboard_codeanalysis.analysis.model import Finding, Place, Snapshot

_SHAPES: Final = {
    "AWS": (r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b", ("AKIA", "ASIA")),
    "GitHub": (r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{30,}", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_",
               "github_pat_")),
    "GitLab": (r"\bglpat-[A-Za-z0-9_-]{20,}", ("glpat-",)),
    "Stripe": (r"\b[sr]k[-_]live[-_][A-Za-z0-9]{10,}", ("k-live", "k_live")),
    "OpenAI": (r"\bsk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,}|\bsk-[A-Za-z0-9]{32,}", ("sk-",)),
    "Anthropic": (r"\bsk-ant-[A-Za-z0-9_-]{20,}", ("sk-ant-",)),
    "Slack": (r"\bxox[abeoprs]-[A-Za-z0-9-]{20,}", ("xox",)),
    "Google": (r"\bAIza[A-Za-z0-9_-]{35}", ("AIza",)),
    "SendGrid": (r"\bSG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{40,}", ("SG.",)),
    "PyPI": (r"\bpypi-AgE[A-Za-z0-9_-]{50,}", ("pypi-AgE",)),
    "npm": (r"\bnpm_[A-Za-z0-9]{36}\b", ("npm_",)),
    "Hugging Face": (r"\bhf_[A-Za-z]{34}\b", ("hf_",)),
}  # fmt: skip
_KEYS: Final = tuple((owner, re.compile(shape), starts) for owner, (shape, starts) in _SHAPES.items())
_ANY: Final = re.compile("|".join(shape for shape, _ in _SHAPES.values()))
_BLOCK: Final = re.compile(
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----(?:\\n|[\s\"'+()])*(?:[A-Za-z-]+: [^\n]*\s+)*[A-Za-z0-9+/=]{40}"
)
_NAMES: Final = ("password", "passwd", "passphrase", "pwd", "secret", "token", "key")
_KEY_OF: Final = tuple(
    f"{kind}{line}" for kind in ("api", "access", "auth", "private", "secret", "signing") for line in ("", "_", "-")
)
_GIVEN: Final = re.compile(
    r"(?P<name>[a-z]+)[\"']?\]?\s*(?::[^=\n\"']{1,40}?)?(?:=(?!=)|:)\s*[rbu]{0,2}"
    r"(?P<quote>[\"'])(?P<value>[^\"'\n]{6,200})(?P=quote)",
    re.IGNORECASE,
)
_ARGUMENT: Final = re.compile(
    r"(\w*(?:passw|pwd|passphrase|secret|token|_key)\w*[^=,]{0,60}=\s*[rbu]{0,2})([\"']).*?\2", re.IGNORECASE
)
_HOLDER: Final = re.compile(
    r"change.?me|x{3,}|your|example|dummy|placeholder|redacted|todo|replace|insert|fake|sample|test|mask|hidden"
    r"|\*{3}|\.{3}|…|[<>{}]|\$[({]|%[(s]|\\|^https?:|^urn:|^/",
    re.IGNORECASE,
)
_ENVIRONMENT: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_WORDS: Final = re.compile(r"[A-Za-z]+(?:[._/: -]+[A-Za-z]+)*[._/:-]*")
_CONFIGURATION: Final = frozenset(
    ("Python", "TOML", "YAML", "JSON", "INI", "JavaScript", "TypeScript", "Shell", "Other")
)
_FEW: Final = 6
"""So few different characters are no key: somebody filled up a place."""
_SAID: Final = frozenset(("password", "passwd", "secret", "letters", "string", "prompt", "hashed"))


def found(path: str, text: str, language: str = "Python") -> Iterator[Finding]:
    """The secrets in a file, each line once."""
    seen: set[int] = set()
    for start, finding in (*_keys(path, text), *(_passwords(path, text) if language in _CONFIGURATION else ())):
        if start not in seen:
            seen.add(start)
            yield finding


def elsewhere(taken: Snapshot) -> Iterator[Finding]:
    """The secrets in what is not Python: settings, certificates, notes."""
    for entry in taken.files:
        if entry.is_judged and not entry.is_python:
            try:
                data = snapshot.read(f"{taken.root}/{entry.path}")
            except OSError:
                continue
            yield from found(entry.path, data.decode("utf-8", "replace"), entry.language)


def masked(text: str) -> str:
    """A text of a tool, or a signature, without the secrets in it."""
    return _ARGUMENT.sub(r"\1\2…\2", _ANY.sub("…", text))


def _keys(path: str, text: str) -> Iterator[tuple[int, Finding]]:
    for owner, shape, starts in _KEYS:
        if any(start in text for start in starts):
            for match in shape.finditer(text):
                if not _HOLDER.search(match[0]) and len(set(match[0])) > _FEW:
                    line = _line(text, match.start())
                    yield line, _finding("secret-key", path, line, f"A key of {owner} stands in the source", 0.95)
    for match in _BLOCK.finditer(text) if "PRIVATE KEY-----" in text else ():
        line = _line(text, match.start())
        yield line, _finding("secret-key", path, line, "A private key stands in the source", 0.95)


def _passwords(path: str, text: str) -> Iterator[tuple[int, Finding]]:
    for match in _given(text):
        name, value = match["name"].lower(), match["value"]
        if _is_plausible(name, value):
            line = _line(text, match.start("value"))
            said = f"A {name} of {len(value)} characters stands in the source"
            yield line, _finding("secret-password", path, line, said, 0.7)


def _given(text: str) -> Iterator[re.Match[str]]:
    """Where a name that promises a secret is given a literal. Words are looked for first: that is ten times faster."""
    lower = text.lower()
    if len(lower) != len(text):  # a few letters become two, and places would be others
        lower = text
    for name in _NAMES:
        start = lower.find(name)
        while start >= 0:
            match = _GIVEN.match(text, start)
            if match and len(match["name"]) == len(name) and (name != "key" or lower.endswith(_KEY_OF, 0, start)):
                yield match
            start = lower.find(name, start + len(name))


def _is_plausible(name: str, value: str) -> bool:
    """Whether a literal is a secret, and not the name of one, a path, or a word for the reader."""
    if _HOLDER.search(value) or any(each.isspace() for each in value) or len(set(value)) < 4:
        return False
    if _ENVIRONMENT.fullmatch(value):
        return False
    letters = _WORDS.fullmatch(value) is not None
    if name.startswith("pass") or name == "pwd":
        return not letters or (value.isalpha() and value.lower() not in _SAID and "pass" not in value.lower())
    return not letters and len(value) >= 8 and any(each.isdigit() for each in value) and not value.isdigit()


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def _finding(rule: str, path: str, line: int, message: str, confidence: float) -> Finding:
    return Finding(
        rule=rule, tool="secrets", severity="high" if rule == "secret-key" else "medium", message=message,
        place=Place(path, line), confidence=confidence,
    )  # fmt: skip
