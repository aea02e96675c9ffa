"""Which language a file is in, and what part it plays in the project, by its name and its first lines."""

from __future__ import annotations

import re
from typing import Final

from pegboard_codeanalysis.analysis.model import Role

_SUFFIXES: Final = {
    "py": "Python", "pyw": "Python", "pyi": "Python stubs", "pyx": "Cython", "pxd": "Cython", "ipynb": "Jupyter",
    "c": "C", "h": "C", "cc": "C++", "cpp": "C++", "cxx": "C++", "hpp": "C++", "hh": "C++", "rs": "Rust", "go": "Go",
    "java": "Java", "kt": "Kotlin", "scala": "Scala", "cs": "C#", "swift": "Swift", "rb": "Ruby", "php": "PHP",
    "js": "JavaScript", "mjs": "JavaScript", "cjs": "JavaScript", "jsx": "JavaScript", "ts": "TypeScript",
    "tsx": "TypeScript", "vue": "Vue", "svelte": "Svelte", "css": "CSS", "scss": "CSS", "less": "CSS",
    "html": "HTML", "htm": "HTML", "jinja": "Templates", "j2": "Templates", "djt": "Templates", "mako": "Templates",
    "sh": "Shell", "bash": "Shell", "zsh": "Shell", "fish": "Shell", "ps1": "PowerShell", "bat": "Batch",
    "sql": "SQL", "proto": "Protocol Buffers", "graphql": "GraphQL", "lua": "Lua", "r": "R", "jl": "Julia",
    "ex": "Elixir", "exs": "Elixir", "erl": "Erlang", "hs": "Haskell", "ml": "OCaml", "clj": "Clojure", "dart": "Dart",
    "md": "Markdown", "rst": "reStructuredText", "txt": "Text", "adoc": "AsciiDoc",
    "toml": "TOML", "yaml": "YAML", "yml": "YAML", "json": "JSON", "xml": "XML", "ini": "INI", "cfg": "INI",
    "po": "Translations", "pot": "Translations", "csv": "Data", "tsv": "Data", "svg": "SVG", "tf": "Terraform",
    "nix": "Nix", "cmake": "CMake",
}  # fmt: skip
_NAMES: Final = {
    "dockerfile": "Dockerfile", "makefile": "Makefile", "cmakelists.txt": "CMake", "jenkinsfile": "Groovy",
    "license": "Text", "readme": "Text", "authors": "Text", "install": "Text", "manifest.in": "Text",
}  # fmt: skip
DOCUMENTS: Final = frozenset(("Markdown", "reStructuredText", "AsciiDoc"))
_TEST_FOLDERS: Final = frozenset(("test", "tests", "testing", "unittests", "integration_tests", "e2e", "js_tests"))
_EXAMPLE_FOLDERS: Final = frozenset(
    ("example", "examples", "sample", "samples", "demo", "demos", "benchmarks", "bench")
)
_DOCS_FOLDERS: Final = frozenset(("doc", "docs"))
_VENDORED_FOLDERS: Final = frozenset(("vendor", "_vendor", "vendored", "_vendored", "third_party", "thirdparty"))
_TOOLING_FOLDERS: Final = frozenset(("scripts", "script", "ci", "hack"))
_TOOLING: Final = frozenset(("setup.py", "noxfile.py", "fabfile.py", "dodo.py"))
_GENERATED: Final = re.compile(
    rb"@generated|do not (edit|modify)|(auto[- ]?generated|generated) by|this file (is|was) (auto)?generated",
    re.IGNORECASE,
)
_SHEBANG: Final = re.compile(rb"#!.*\b(python|sh|bash|ruby|node|perl)")
_SHEBANGS: Final = {b"python": "Python", b"ruby": "Ruby", b"node": "JavaScript", b"perl": "Perl"}


def language_of(path: str, data: bytes) -> str:
    """The language of a file; `Other` where the name tells nothing."""
    if "{{" in path or "{%" in path:  # cookiecutter and its like: what is in it is no program yet
        return "Templates"
    name = path.rpartition("/")[2].lower()
    stem, dot, suffix = name.rpartition(".")
    if dot and stem and suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if name in _NAMES:
        return _NAMES[name]
    shebang = _SHEBANG.match(data[:100]) if not dot else None
    return _SHEBANGS.get(shebang[1], "Shell") if shebang else "Other"


def role_of(path: str, data: bytes) -> Role:
    """What part a file plays. Vendored and generated code is counted and not judged."""
    *folders, name = path.lower().split("/")
    inside = frozenset(folders)
    if inside & _VENDORED_FOLDERS:
        return "vendored"
    if _is_generated(data):
        return "generated"
    if inside & _TEST_FOLDERS or name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py":
        return "test"
    if inside & _EXAMPLE_FOLDERS:
        return "example"
    if inside & _DOCS_FOLDERS:
        return "docs"
    return "tooling" if _is_tooling(folders, name) else "code"


def _is_tooling(folders: list[str], name: str) -> bool:
    """What the project is built and looked after with, by its place at the top; nothing of it is shipped."""
    if not folders:
        return name in _TOOLING
    return folders[0].startswith(".") or folders[0] in _TOOLING_FOLDERS


def _is_generated(data: bytes) -> bool:
    """Only comments at the top count: a generator has the words in its strings."""
    for line in data[:2000].splitlines()[:8]:
        if line.lstrip().startswith((b"#", b"//", b"/*", b"*", b"<!--", b"--", b";")) and _GENERATED.search(line):
            return True
    return False
