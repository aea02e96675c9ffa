"""The paths that are never written, because a program of the user would obey what stands in them.

A name is compared as the most forgiving file system would: letter case, Unicode form and invisible characters do not
count, so that `.GIT` is `.git` also where the disk thinks otherwise.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

# fmt: off
SHELLS = (
    ".bash_aliases", ".bash_login", ".bash_logout", ".bash_profile", ".bashrc", ".config/fish", ".cshrc", ".envrc",
    ".inputrc", ".kshrc", ".login", ".logout", ".pam_environment", ".profile", ".tcshrc", ".zlogin", ".zlogout",
    ".zprofile", ".zshenv", ".zshrc",
)
EDITORS = (".emacs", ".emacs.d", ".exrc", ".idea", ".nvim", ".vim", ".vimrc", ".vscode", ".zed")
AGENTS = (
    ".agents", ".aider.conf.yml", ".claude", ".claude.json", ".clinerules", ".codex", ".continue", ".cursor",
    ".cursorrules", ".gemini", ".mcp.json", ".roo", ".windsurf", ".windsurfrules",
)
# fmt: on
# All of `.git`, not only its hooks and its configuration: a `.git` that is a file, `commondir` and `info/attributes`
# lead to other hooks and another configuration.
GIT = (".git", ".gitconfig", ".gitmodules", ".config/git")
OWN = (".pegboard",)
PROTECTED: tuple[str, ...] = (*GIT, *SHELLS, *EDITORS, *AGENTS, *OWN, ".ssh")
"""Names, or several joined by `/`, wherever they stand below the root."""


class Protected:
    """Judges real paths, whose components are given one by one."""

    __slots__ = ("_rules",)

    def __init__(self, more: Iterable[str] = ()) -> None:
        rules = [tuple(_plain(part) for part in rule.split("/") if part) for rule in (*PROTECTED, *more)]
        self._rules: dict[str, list[tuple[str, ...]]] = {}
        for rule in filter(None, rules):
            self._rules.setdefault(rule[0], []).append(rule)

    def holds(self, names: Sequence[str]) -> bool:
        """Whether a path is protected, or lies in what is."""
        plain = tuple(map(_plain, names))
        return any(
            plain[start : start + len(rule)] == rule
            for start, name in enumerate(plain)
            for rule in self._rules.get(name, ())
        )


@lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    if name.isascii():
        return name.lower().rstrip(". ")
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(each for each in folded if unicodedata.category(each) != "Cf").rstrip(". ")


__all__ = ["AGENTS", "EDITORS", "GIT", "OWN", "PROTECTED", "SHELLS", "Protected"]
