# SPDX-License-Identifier: PostgreSQL
"""What suites say of themselves, as numbers."""

import os
import re
import xml.etree.ElementTree
from collections import namedtuple

FAILURE_LINES = 15  # of what a failed test said, shown
TOTALS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.MULTILINE)

# failures: (test, lines that it said) of each.
Result = namedtuple("Result", "passed failed skipped notes failures", defaults=[()])


def totals_of(text, status):
    """The last totals line; a program that prints none counts as one."""
    found = TOTALS.findall(text)
    if not found:
        return (1, 0, 0) if status == 0 else (0, 1, 0)
    passed, failed, skipped = map(int, found[-1])
    return passed, failed + (1 if status != 0 and failed == 0 else 0), skipped


def failures_of(text):
    """Of a program that says ok, FAIL or skip for each of its tests: those that failed, with what was said since the
    one before."""
    failures, said = [], []
    for line in filter(str.strip, text.splitlines()):
        if line.startswith("FAIL "):
            failures.append((line.removeprefix("FAIL "), said))
        if line.startswith(("ok ", "FAIL ", "skip ")):
            said = []
        else:
            said.append(line)
    return tuple(failures) or (("it ended before it could say what failed", said),)


def results_of(report, status):
    """What a JUnit file of pytest says."""
    tree = xml.etree.ElementTree.parse(report).getroot()
    counts = {
        key: sum(int(suite.get(key)) for suite in tree.iter("testsuite"))
        for key in ("tests", "failures", "errors", "skipped")
    }
    failed = counts["failures"] + counts["errors"]
    notes, failures = [], []
    for case in tree.iter("testcase"):
        title = f"{case.get('classname')}::{case.get('name')}"
        for what in [*case.findall("failure"), *case.findall("error")]:
            places = re.findall(r"^\S+\.py:\d+: .*$", what.text or "", re.MULTILINE)
            notes.append(f"failed: {title}")
            failures.append((title, places[-2:] + what.get("message", "").splitlines()))
        skipped = case.find("skipped")
        if skipped is not None:
            notes.append(f"skipped {title}: {skipped.get('message')}")
    if status not in (0, 5) and failed == 0:
        failed = 1
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    return Result(passed, failed, counts["skipped"], notes, tuple(failures))


def end_of_log(path, n_lines):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().splitlines()[-n_lines:]
