"""Refuses answers that would render a plugin that cannot work."""

import re
import sys

KINDS = {"tool", "model", "observer", "gate", "agent"}
NAME = "{{ cookiecutter.name }}"
WANTED = {kind.strip() for kind in "{{ cookiecutter.kinds }}".split(",")}

if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", NAME):
    sys.exit(f"error: `{NAME}` is no name: small letters, digits and single `-` between them")
if NAME.startswith("pegboard-"):
    sys.exit(f"error: leave the prefix out: `{NAME.removeprefix('pegboard-')}`")
if WANTED - KINDS:
    sys.exit(f"error: unknown kinds {', '.join(sorted(WANTED - KINDS))}; choose from {', '.join(sorted(KINDS))}")
