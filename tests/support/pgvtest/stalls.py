# SPDX-License-Identifier: PostgreSQL
"""A pytest plugin that keeps tests from their core, as a busy machine does.

PGVTEST_STALLS="0.2 2": before one line of a test in five it sleeps for 1 to 2 seconds; a third word is another seed. What
fails then rests on the time that the test's own steps take, or is one of the few that measure just that.
"""

import os
import random
import sys
import time

import pytest

TIMES = 2  # that a line is stalled at most: loops shall end


class Stalls:
    def __init__(self, words):
        share, seconds, *seed = words.split()
        self.share, self.seconds = float(share), float(seconds)
        self.seed = seed[0] if seed else "0"
        self.lines = []  # stalled, of the test that runs

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item):
        self.lines = []
        sys.settrace(self._tracer(str(item.path), random.Random(f"{self.seed} {item.nodeid}")))
        try:
            yield
        finally:
            sys.settrace(None)

    def _tracer(self, path, dice):
        times = {}

        def before_line(frame, event, _):
            line = frame.f_lineno
            if event == "line" and times.setdefault(line, 0) < TIMES:
                times[line] += 1
                if dice.random() < self.share:
                    self.lines.append(line)
                    time.sleep(self.seconds * dice.uniform(0.5, 1))
            return before_line

        return lambda frame, *_: before_line if frame.f_code.co_filename == path else None

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self):
        report = (yield).get_result()
        if report.failed:
            report.sections.append(("stalls", f"before lines {self.lines} of the test's file"))


def register(config):
    words = os.environ.get("PGVTEST_STALLS")
    if words:
        config.pluginmanager.register(Stalls(words))
