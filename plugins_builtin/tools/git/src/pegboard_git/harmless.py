"""How git is called so that it runs nothing that a repository brings, and asks nobody.

What a repository configures is data of whoever made it. Its hooks, file system monitor, filters, diff and merge
programs, and every way to the network are switched off by variables, which win over its configuration. What the user
has configured for himself stays, for example his name and the filters of Git LFS.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

_VARIABLES: Final = {
    "GIT_ALLOW_PROTOCOL": "none",  # wins over `protocol.*.allow`; also for what is missing in a partial clone
    "GIT_ASKPASS": "",
    "GIT_EDITOR": ":",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_PAGER": "cat",
    "GIT_SEQUENCE_EDITOR": ":",
    "GIT_SSH_COMMAND": "false",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_SETTINGS: Final = {
    "color.ui": "false",
    "commit.gpgSign": "false",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.pager": "cat",
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "credential.helper": "",
    "diff.ignoreSubmodules": "dirty",  # nobody looks into them with their own configuration
    "diff.mnemonicPrefix": "false",
    "diff.noprefix": "false",
    "diff.submodule": "short",
    "gc.auto": "0",
    "i18n.commitEncoding": "UTF-8",
    "i18n.logOutputEncoding": "UTF-8",
    "log.mailmap": "false",
    "log.showSignature": "false",
    "maintenance.auto": "false",
    "merge.stat": "false",
    "merge.verifySignatures": "false",
    "safe.bareRepository": "explicit",
    "status.submoduleSummary": "false",
    "submodule.recurse": "false",
    "tag.gpgSign": "false",
}
_PROGRAM: Final = re.compile(r"(filter)\.(.+)\.(?:clean|smudge|process|required)|(merge)\.(.+)\.driver", re.DOTALL)
_FILES: Final = frozenset({"commit.template", "core.attributesfile", "core.excludesfile", "mailmap.file"})
"""Files anywhere, whose lines git would quote in what it complains of."""
_OF_THE_REPOSITORY: Final = frozenset({"local", "worktree"})


def variables(workspace: str, repository: Mapping[str, str], *, read_only: bool, literal: bool) -> dict[str, str]:
    """The environment of one call; `repository` is what `switched_off` found."""
    found = {**_VARIABLES, "GIT_CEILING_DIRECTORIES": os.path.dirname(workspace) or workspace}  # noqa: PTH120  # text
    if literal:
        found["GIT_LITERAL_PATHSPECS"] = "1"
    if read_only:
        found["GIT_OPTIONAL_LOCKS"] = "0"
    settings = {**_SETTINGS, **repository}
    found["GIT_CONFIG_COUNT"] = str(len(settings))
    for number, (key, value) in enumerate(settings.items()):
        found[f"GIT_CONFIG_KEY_{number}"], found[f"GIT_CONFIG_VALUE_{number}"] = key, value
    return found


def switched_off(listing: bytes) -> dict[str, str]:
    """Settings that switch off the filters, merge programs and files of elsewhere which a repository itself configures.

    Args:
        listing: of `git config --list --null --show-scope`.
    """
    off: dict[str, str] = {}
    for key in _own_keys(listing):
        if key in _FILES:
            off[key] = os.devnull
        found = _PROGRAM.fullmatch(key)
        if found is None:
            continue
        if found[1]:
            name = f"filter.{found[2]}"
            off |= {f"{name}.clean": "", f"{name}.smudge": "", f"{name}.process": "", f"{name}.required": "false"}
        else:
            off[f"merge.{found[4]}.driver"] = "false"  # which leaves a conflict; an empty one would take one side
    return off


def _own_keys(listing: bytes) -> Iterator[str]:
    parts: Iterable[bytes] = listing.split(b"\0")
    pairs = iter(parts)
    for scope, item in zip(pairs, pairs, strict=False):
        if scope.decode("ascii", "replace") in _OF_THE_REPOSITORY:
            yield os.fsdecode(item.partition(b"\n")[0])


__all__ = ["switched_off", "variables"]
