# SPDX-License-Identifier: PostgreSQL
"""What suites say of themselves, as numbers."""

import re
import xml.etree.ElementTree
from collections import namedtuple

TOTALS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.MULTILINE)

Result = namedtuple("Result", "passed failed skipped notes")


def totals_of(text, status):
    """The last totals line; a program that prints none counts as one."""
    found = TOTALS.findall(text)
    if not found:
        return (1, 0, 0) if status == 0 else (0, 1, 0)
    passed, failed, skipped = map(int, found[-1])
    return passed, failed + (1 if status != 0 and failed == 0 else 0), skipped


def results_of(report, status):
    """What a JUnit file of pytest says."""
    tree = xml.etree.ElementTree.parse(report).getroot()
    counts = {
        key: sum(int(suite.get(key)) for suite in tree.iter("testsuite"))
        for key in ("tests", "failures", "errors", "skipped")
    }
    failed = counts["failures"] + counts["errors"]
    notes = []
    for case in tree.iter("testcase"):
        title = f"{case.get('classname')}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            notes.append(f"failed: {title}")
        skipped = case.find("skipped")
        if skipped is not None:
            notes.append(f"skipped {title}: {skipped.get('message')}")
    if status not in (0, 5) and failed == 0:
        failed = 1
    return Result(
        counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"], failed, counts["skipped"], notes
    )
