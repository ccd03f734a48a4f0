# SPDX-License-Identifier: PostgreSQL
"""For programs that are suites of their own: the benches, the stack, the image."""

import shutil
import signal
import sys

from . import server


class Checks:
    """Counts expectations, says each, and ends as every suite does: a last line with totals."""

    def __init__(self):
        self.n_passed = self.n_failed = self.n_skipped = 0

    def expect(self, holds, text):
        print(f"{'ok  ' if holds else 'FAIL'} {text}", flush=True)
        self.n_passed += bool(holds)
        self.n_failed += not holds

    def skip(self, text):
        print(f"skip {text}", flush=True)
        self.n_skipped += 1

    def finish(self):
        print(f"{self.n_passed} passed, {self.n_failed} failed, {self.n_skipped} skipped")
        return 1 if self.n_failed or not self.n_passed + self.n_skipped else 0


def main(program):
    """Runs program() -> exit status; a signal ends it as an exception does, so that nothing stays behind."""

    def stop(signo, _):
        signal.signal(signo, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    if not shutil.which("initdb", path=server.BINDIR):
        sys.exit(f"no PostgreSQL in {server.BINDIR}")
    try:
        status = program()
    except KeyboardInterrupt:
        status = 130
    finally:
        server.remove_templates()
    sys.exit(status)
