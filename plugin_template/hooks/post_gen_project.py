"""Removes the files of kinds that were not chosen."""

from pathlib import Path

KINDS = {kind.strip() for kind in "{{ cookiecutter.kinds }}".split(",")}
PACKAGE = Path("src/{{ cookiecutter.__package }}")
FILES = {
    "tool": [PACKAGE / "tools.py", PACKAGE / "schemas/count_words.json", Path("tests/test_tools.py")],
    "model": [PACKAGE / "model.py", Path("tests/test_model.py")],
    "observer": [Path("tests/test_observer.py")],
    "gate": [Path("tests/test_gate.py")],
    "agent": [Path("tests/test_agent.py")],
}

for kind, files in FILES.items():
    if kind not in KINDS:
        for file in files:
            file.unlink()
