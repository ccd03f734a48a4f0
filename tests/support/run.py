# SPDX-License-Identifier: PostgreSQL
"""What tests/run does: the suites one after the other, those that wait beside those that work, and a table of them."""

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import time

import elevate
from results import FAILURE_LINES, Result, end_of_log
from runner import ROOT, Runner, end_group, end_leftovers, temporary_directory
from suites import SUITES, Load

PR_SET_CHILD_SUBREAPER = 36
# Of what failed, once more at the end: of all that a run prints, some keep the last 12 KB.
FAILURES, FAILURES_LINES, FAILURE_COLUMNS = 40, 60, 110
# Of the suites that work beside those that wait. Not the idle class: a test that is starved fails by its own deadline.
NICENESS, PATIENCE = 10, 4


class Stopped(BaseException):
    """A signal asked us to end."""


def parse_arguments():
    text = "\n".join(f"  {name:22}{suite.what}" for name, suite in SUITES.items())
    parser = argparse.ArgumentParser(
        prog="tests/run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Builds pgvigil and runs its test suites (all of them, or those named).",
        epilog=f"suites:\n{text}\n\nBuilds and logs are in build/. The integration tests of one file:\n"
        "  /usr/bin/python3 -m pytest tests/integration/test_act.py -k gone",
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE")
    parser.add_argument("--list", action="store_true", help="names of the suites")
    parser.add_argument("--workers", metavar="FILE", help=argparse.SUPPRESS)  # we are the part that works, see Workers
    options = parser.parse_args()
    if options.list:
        print("\n".join(SUITES))
        sys.exit(0)
    for name in options.suites:
        if name not in SUITES:
            parser.error(f"no suite '{name}' (there are: {', '.join(SUITES)})")
    return options


def cpu_seconds():
    """What we and all that ended below us have used: as subreaper we wait for servers, too."""
    return sum(os.times()[:4])


class Workers:
    """The suites that work, in a process of their own, which is told apart from what a suite leaves running."""

    def __init__(self, runner, names):
        self.runner = runner
        self.names = names
        self.child = None
        self.table = os.path.join(runner.directory, "workers.json")

    def start(self):
        if self.names and not self.child:
            argv = [sys.executable, "-B", os.path.abspath(__file__), "--workers", self.table, *self.names]
            self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)

    def finish(self):
        """Their rows of the table; waits for them."""
        if not self.child:
            return []
        status = self.child.wait()
        names, self.child, self.names = self.names, None, []  # once: a suite that waits may come after one that measures
        try:
            with open(self.table, encoding="utf-8") as file:
                return [(name, Result(*result), *rest) for name, result, *rest in json.load(file)]
        except (OSError, ValueError):
            return [(names[0], Result(0, 1, 0, [f"it, or one after it, ended with {status}"]), 0.0, 0.0)]

    def stop(self):
        if self.child:
            end_group(self.child)
            self.child = None


def run_suite(runner, name, spared):
    """A row of the table. `spared`: the process that is ours and no leftover."""
    print(f"{name} ...", flush=True)
    started, used = time.monotonic(), cpu_seconds()
    log = runner.log_path(name.replace("-", " "))
    if os.path.exists(log):
        os.remove(log)
    result = SUITES[name].run(runner)
    left = end_leftovers(spared)
    if left:
        result = result._replace(
            failed=result.failed + 1,
            notes=[*result.notes, *(f"failed: left running: {line}" for line in left)],
            failures=(*result.failures, *((f"left running: {line}", []) for line in left)),
        )
    if result.passed + result.failed + result.skipped == 0:
        result = result._replace(failed=1, notes=[*result.notes, "failed: no test ran"])
    if result.failed and not result.failures:
        result = result._replace(failures=(("; ".join(result.notes), end_of_log(log, FAILURE_LINES)),))
    seconds, cpu = time.monotonic() - started, cpu_seconds() - used
    lines = [
        f"{name}: {result.passed} passed, {result.failed} failed, {result.skipped} skipped in {seconds:.0f} s, "
        f"{cpu:.0f} s of CPU",
        *(f"  {note}" for note in result.notes),
    ]
    if result.failed and os.path.exists(log):
        lines.append(f"  the end of {os.path.relpath(log, ROOT)}:")
        lines += [*(f"  | {line}" for line in end_of_log(log, 120)), ""]
    print("\n".join(lines), flush=True)
    return name, result, seconds, cpu


def run_suites(runner, names, workers):
    """The rows of the table. Before the first suite that measures all workers have ended."""
    names = [name for name in names if name not in workers.names]
    table = []
    for name in names:
        if SUITES[name].load is Load.WAITS:
            workers.start()
        else:
            table += workers.finish()
        table.append(run_suite(runner, name, workers.child))
    return table + workers.finish()


def workers_among(names):
    """What may run beside others; nothing where those are missing: then each has the machine for itself."""
    if any(SUITES[name].load is Load.WAITS for name in names):
        return [name for name in names if SUITES[name].load is Load.WORKS]
    return []


def print_failures(table):
    """Once more, for those who see but the end of the output."""
    failures = [(f"{suite}: {test}", said) for suite, result, *_ in table for test, said in result.failures]
    if failures:
        print("\nfailed:")
    n_lines = max(1, min(FAILURE_LINES, FAILURES_LINES // max(1, len(failures))))
    for test, said in failures[:FAILURES]:
        print(f"  {test}"[: 2 * FAILURE_COLUMNS])
        # The beginning says what was expected, the end how it went on.
        n_first = min(len(said), n_lines // 3)
        for line in said[:n_first] + said[n_first:][-(n_lines - n_first) :]:
            print(f"  | {line}"[:FAILURE_COLUMNS])
    if len(failures) > FAILURES:
        print(f"  and {len(failures) - FAILURES} more")


def print_table(table, seconds):
    print(f"\n{'suite':24}{'passed':>9}{'failed':>9}{'skipped':>9}{'seconds':>9}{'CPU':>9}")
    for name, result, took, cpu in table:
        print(f"{name:24}{result.passed:9}{result.failed:9}{result.skipped:9}{took:9.0f}{cpu:9.0f}")
    print(f"{'':24}{'':27}{seconds:9.0f}{sum(row[3] for row in table):9.0f}\n")
    sums = [sum(getattr(result, key) for _, result, *_ in table) for key in ("passed", "failed", "skipped")]
    print(f"{sums[0]} passed, {sums[1]} failed, {sums[2]} skipped", flush=True)
    return 0 if sums[0] > 0 and sums[1] == 0 else 1


def run(runner, options, workers):
    names = options.suites or list(SUITES)
    if options.workers:
        os.nice(NICENESS)
        runner.patience = PATIENCE
        table = [run_suite(runner, name, None) for name in names]
        with open(options.workers, "w", encoding="utf-8") as file:
            json.dump(table, file)
        return 0
    started = time.monotonic()
    workers.names = workers_among(names)
    table = run_suites(runner, names, workers)
    table.sort(key=lambda row: names.index(row[0]))
    print_failures(table)
    return print_table(table, time.monotonic() - started)


def main():
    options = parse_arguments()

    def stop(signo, _):
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(one, signal.SIG_IGN)
        raise Stopped(signo)

    for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signo, stop)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    runner = Runner()
    os.makedirs(runner.logs, exist_ok=True)
    runner.directory = temporary_directory()
    workers = Workers(runner, [])
    try:
        return run(runner, options, workers)
    except Stopped as stopped:
        print("stopped", file=sys.stderr)
        return 128 + stopped.args[0]
    finally:
        workers.stop()
        end_leftovers()
        elevate.remove_tree(runner.directory)


if __name__ == "__main__":
    sys.exit(main())
