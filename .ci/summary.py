"""Counts the tests of all tox environments and names those that were skipped, with the reason.

Reads the JUnit files that the environments wrote. The last line is one that people and programs can read:
`N passed, N failed, N skipped`. Runs on the standard library, before anything is installed.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree


def outcome_of(case: ElementTree.Element) -> str:
    """`passed`, `failed` or `skipped`."""
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def describe(env: str, case: ElementTree.Element, outcome: str) -> str:
    """One line about a test that did not pass."""
    skipped = case.find("skipped")
    reason = f": {skipped.get('message')}" if skipped is not None else ""
    return f"{outcome:8}{env:10}{case.get('classname')}::{case.get('name')}{reason}"


def main(folder: Path) -> int:
    """Print the summary; 1 when there is nothing to summarise or a test failed."""
    total: Counter[str] = Counter()
    for report in sorted(folder.glob("*.xml")):
        counts: Counter[str] = Counter()
        for case in ElementTree.parse(report).iter("testcase"):  # written by our own tests
            outcome = outcome_of(case)
            counts[outcome] += 1
            if outcome != "passed":
                print(describe(report.stem, case, outcome))
        print(f"{report.stem}: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
        total += counts
    print()
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 0 if total["passed"] and not total["failed"] else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
