# SPDX-License-Identifier: PostgreSQL
"""The suites, and what tests/run prints about them."""

import argparse
import ctypes
import glob
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import booted
import elevate
from results import TOTALS, Result, failures_of, results_of, totals_of

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
N_JOBS = max(2, os.cpu_count() or 2)
PR_SET_CHILD_SUBREAPER = 36
FUZZ_SECONDS = 30
SUITE_TIMEOUT = 600
# Of what failed, once more at the end: of all that a run prints, some keep the last 12 KB.
FAILURES, FAILURE_LINES, FAILURES_LINES, FAILURE_COLUMNS = 40, 15, 60, 110
VALGRIND = (
    "valgrind --quiet --leak-check=full --show-leak-kinds=definite,indirect,possible "
    "--errors-for-leak-kinds=definite,indirect,possible --error-exitcode=99 --num-callers=30"
)
SANITIZER_ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "PGVIGIL_SANITIZED": "1",
}
SANITIZE = ["-Db_sanitize=address,undefined"]
# gcc takes twice the time for its sanitizers' build at -O2.
SANITIZE_GCC = [*SANITIZE, "-Doptimization=1", "-Ddebug=true"]
SANITIZE_CLANG = [*SANITIZE, "-Dbuildtype=debugoptimized", "-Db_lundef=false"]
FUZZ = ["-Dfuzz=true", "-Dc_args=-fsanitize=fuzzer-no-link"]

# name -> (compiler, meson options)
BUILDS = {
    "gcc": ("gcc", ["-Dbuildtype=debugoptimized"]),
    "gcc-sanitize": ("gcc", SANITIZE_GCC),
    "clang-sanitize": ("clang", [*SANITIZE_CLANG, *FUZZ]),
    "install": (
        "gcc",
        ["-Dbuildtype=release", "-Dtests=false", "-Dman=enabled", "--prefix=/usr", "--sysconfdir=/etc"],
    ),
}


class Stopped(BaseException):
    """A signal asked us to end."""


class Runner:
    def __init__(self):
        self.directory = None
        self.child = None
        self.logs = os.path.join(ROOT, "build", "logs")
        self.built = {}

    # Children

    def start(self, argv, log, as_root=False, **environment):
        """Starts argv in a process group of its own, its output into a file."""
        environment = {"TMPDIR": self.directory, "PYTHONDONTWRITEBYTECODE": "1", **environment}
        return subprocess.Popen(
            elevate.wrapped(argv, environment) if as_root else argv,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **environment},
        )

    def run(self, name, argv, timeout=SUITE_TIMEOUT, as_root=False, **environment):
        """Runs argv to its end, as root where that can be had if it is asked for; returns (exit status, output)."""
        path = self.log_path(name)
        with open(path, "ab") as log:
            log.write(f"$ {shlex.join(argv)}\n".encode())
            log.flush()
            at = log.tell()
            self.child = self.start(argv, log, as_root, **environment)
            try:
                status = self.child.wait(timeout)
            except subprocess.TimeoutExpired:
                status = None
                log.write(f"\nstopped after {timeout} s\n".encode())
            finally:
                end_group(self.child)
                self.child = None
        with open(path, encoding="utf-8", errors="replace") as file:
            file.seek(at)
            return status, file.read()

    def log_path(self, name):
        return os.path.join(self.logs, re.sub(r"[^a-z0-9]+", "-", name) + ".log")

    # Building

    def build(self, name):
        """Builds one configuration, once per run; returns whether it worked."""
        if name not in self.built:
            self.built[name] = self._build(name)
        return self.built[name]

    def _build(self, name):
        compiler, options = BUILDS[name]
        directory = os.path.join(ROOT, "build", name)
        stamp = os.path.join(directory, "pgvigil-options")
        wanted = json.dumps([compiler, options])
        environment = {"CC": compiler}
        log = f"build {name}"
        current = open(stamp, encoding="utf-8").read() if os.path.exists(stamp) else None
        if current != wanted or not os.path.exists(os.path.join(directory, "build.ninja")):
            shutil.rmtree(directory, ignore_errors=True)
            status, _ = self.run(log, ["meson", "setup", "--werror", *options, directory], **environment)
            if status != 0:
                return False
            with open(stamp, "w", encoding="utf-8") as file:
                file.write(wanted)
        status, _ = self.run(log, ["ninja", "-C", directory, "-j", str(N_JOBS)], **environment)
        return status == 0

    @staticmethod
    def built_path(build, *parts):
        return os.path.join(ROOT, "build", build, *parts)


def end_group(child):
    """Ends a child's process group: politely, then not."""
    for signo, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        try:
            elevate.kill(-child.pid, signo)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if child.poll() is not None:
                bury(child.pid)
            try:
                elevate.kill(-child.pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.02)
    child.wait()


def bury(group):
    """Who is dead in a group and ours: as subreaper we inherit what its leader had not waited for."""
    try:
        while os.waitpid(-group, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


def end_leftovers():
    """Kills what suites left behind: as subreaper we are the parent of every orphan. Returns their command lines."""
    left = []
    for _ in range(100):
        children = [
            int(pid) for pid in open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii").read().split()
        ]
        alive = []
        for pid in children:
            try:
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    alive.append(pid)
            except ChildProcessError:
                pass
        if not alive:
            break
        time.sleep(0.02)
    else:
        for pid in alive:
            try:
                left.append(
                    open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace").read().replace("\0", " ").strip()
                )
                elevate.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (OSError, ChildProcessError):
                pass
    return left


def unbuilt(runner, *builds):
    logs = [(f"build {build}", runner.log_path(f"build {build}")) for build in builds]
    notes = [f"{name} failed, see {log}" for name, log in logs]
    return Result(0, len(logs), 0, notes, tuple((name, end_of_log(log, FAILURE_LINES)) for name, log in logs))


def end_of_log(path, n_lines):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().splitlines()[-n_lines:]


def meson_test(runner, name, build, arguments, **environment):
    if not runner.build(build):
        return unbuilt(runner, build)
    base = re.sub(r"[^a-z0-9]+", "-", name)
    # A wrapper's name is appended by meson.
    pattern = runner.built_path(build, "meson-logs", f"{base}*.json")
    for old in glob.glob(pattern):
        os.remove(old)
    status, _ = runner.run(
        name,
        [
            "meson",
            "test",
            "-C",
            runner.built_path(build),
            "--no-rebuild",
            "--print-errorlogs",
            "--logbase",
            base,
            "--num-processes",
            str(N_JOBS),
            *arguments,
        ],
        **environment,
    )
    counts, notes, failures = [0, 0, 0], [], ()
    logs = glob.glob(pattern)
    if not logs:
        return Result(0, 1, 0, ["no test ran"])
    with open(logs[0], encoding="utf-8") as file:
        for line in file:
            test = json.loads(line)
            if test["result"] == "SKIP":
                one = max(
                    (0, 0, 1),
                    totals_of(test.get("stdout", ""), 0) if TOTALS.search(test.get("stdout", "")) else (0, 0, 0),
                )
                notes.append(f"skipped {test['name']}: {last_line(test.get('stdout', '')) or 'it says no reason'}")
            else:
                good = test["result"] == "OK"
                one = totals_of(test.get("stdout", ""), 0 if good else 1)
                if not good:
                    notes.append(f"failed: {test['name']} ({test['result'].lower()})")
                    cases = failures_of(f"{test.get('stdout', '')}\n{test.get('stderr', '')}")
                    failures += tuple((f"{test['name']}: {case}", said) for case, said in cases)
                notes += [
                    f"{test['name']}: {said}" for said in re.findall(r"^skip.*$", test.get("stdout", ""), re.MULTILINE)
                ]
            counts = [a + b for a, b in zip(counts, one)]
    if status != 0 and counts[1] == 0:
        counts[1] = 1
    return Result(*counts, notes, failures)


def last_line(text):
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def pytest_suite(runner, name, build, arguments, folder="integration", as_root=False, **environment):
    if not runner.build(build):
        return unbuilt(runner, build)
    report = os.path.join(runner.directory, "report.xml")
    if os.path.exists(report):
        os.remove(report)  # root's, it may be, but the directory is ours
    status, _ = runner.run(
        name,
        [
            "/usr/bin/python3",
            "-B",
            "-m",
            "pytest",
            "-q",
            "-c",
            f"tests/{folder}/pytest.ini",
            "--rootdir",
            f"tests/{folder}",
            f"--junitxml={report}",
            *arguments,
        ],
        as_root=as_root,
        PGVIGIL_BINARY=runner.built_path(build, "src", "pgvigil"),
        **environment,
    )
    if not os.path.exists(report):
        return Result(0, 1, 0, [f"pytest ended with {status}"])
    return results_of(report, status)


# The suites


def suite_build(runner):
    result = unbuilt(runner, *(name for name in BUILDS if not runner.build(name)))
    return result._replace(passed=len(BUILDS) - result.failed)


def with_server(runner, name, build, arguments, **environment):
    """meson_test() beside a private server, for those programs that talk to one."""
    from pgvtest import server  # its modules may have been installed by this very run

    tempfile.tempdir = runner.directory
    try:
        with server.Postgres() as postgres:
            environment["PGVIGIL_TEST_CONNINFO"] = postgres.conninfo("postgres", host=postgres.directory)
            return meson_test(runner, name, build, arguments, **environment)
    finally:
        server.remove_templates()


def suite_unit(runner):
    return with_server(runner, "unit", "gcc", ["--no-suite", "simulation"])


def suite_simulation(runner):
    return meson_test(runner, "simulation", "gcc", ["--suite", "simulation"])


def suite_unit_gcc_sanitize(runner):
    arguments = ["--no-suite", "simulation", "--timeout-multiplier", "3"]
    return with_server(runner, "unit gcc sanitize", "gcc-sanitize", arguments, **SANITIZER_ENVIRONMENT)


def suite_unit_clang_sanitize(runner):
    arguments = ["--no-suite", "simulation", "--timeout-multiplier", "3"]
    return with_server(runner, "unit clang sanitize", "clang-sanitize", arguments, **SANITIZER_ENVIRONMENT)


def suite_unit_valgrind(runner):
    if not runner.build("gcc"):
        return unbuilt(runner, "gcc")
    directory = runner.built_path("gcc")
    listing = subprocess.run(["meson", "introspect", "--tests", directory], check=True, stdout=subprocess.PIPE).stdout
    # Scripts are meson tests too; valgrind is for our programs.
    names = [
        test["name"]
        for test in json.loads(listing)
        if test["cmd"][0].startswith(directory) and not any("simulation" in suite for suite in test["suite"])
    ]
    arguments = ["--wrap", VALGRIND, "--timeout-multiplier", "20", *names]
    return with_server(runner, "unit valgrind", "gcc", arguments)


def suite_fuzz(runner):
    """Each target for a while, two at a time, from the seeds of the repository; what it finds new is thrown away."""
    if not runner.build("clang-sanitize"):
        return unbuilt(runner, "clang-sanitize")
    folder = runner.built_path("clang-sanitize", "tests", "fuzz")
    targets = sorted(
        name
        for name in os.listdir(folder)
        if name.startswith("fuzz_")
        and os.access(os.path.join(folder, name), os.X_OK)
        and os.path.isfile(os.path.join(folder, name))
    )
    passed, notes, failures = 0, [], ()
    for at in range(0, len(targets), 2):
        running = [(name, *fuzz_start(runner, folder, name)) for name in targets[at : at + 2]]
        for name, child, log in running:
            try:
                status = child.wait(FUZZ_SECONDS + 60)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                end_group(child)
                log.close()
            said = open(runner.log_path(name), encoding="utf-8", errors="replace").read()
            runs = re.findall(r"Done (\d+) runs", said)
            if status == 0 and runs:
                passed += 1
                notes.append(f"{name}: {int(runs[-1]):,} runs in {FUZZ_SECONDS} s")
            else:
                notes.append(f"failed: {name}, see {runner.log_path(name)} and {runner.directory}")
                failures += ((name, said.splitlines()[-FAILURE_LINES:]),)
    return Result(passed, len(failures), 0, notes, failures)


def fuzz_start(runner, folder, name):
    found = os.path.join(runner.directory, name)
    os.makedirs(found, exist_ok=True)
    seeds = os.path.join(ROOT, "tests", "fuzz", "corpus", name.removeprefix("fuzz_"))
    log = open(runner.log_path(name), "wb")
    # Crashing inputs are kept beside the logs.
    child = runner.start(
        [
            os.path.join(folder, name),
            f"-max_total_time={FUZZ_SECONDS}",
            "-timeout=10",
            "-rss_limit_mb=2048",
            f"-artifact_prefix={runner.logs}/{name}-",
            "-print_final_stats=1",
            # What libFuzzer weighs of its many features takes longer than its steps: 11 times as many runs without.
            *(["-entropic=0"] if name == "fuzz_engine" else []),
            found,
            *([seeds] if os.path.isdir(seeds) else []),
        ],
        log,
        **SANITIZER_ENVIRONMENT,
    )
    return child, log


def integration(runner, name, build, which, **environment):
    """As who we are; those that need root in a run of their own where we are not and can become it."""

    def part(which, as_root):
        arguments = ["-n", str(3 * N_JOBS), "--dist", "load", "-m", which, "tests/integration"]
        return pytest_suite(runner, name, build, arguments, as_root=as_root, **environment)

    if os.geteuid() == 0 or not elevate.possible():
        return part(which, False)
    parts = part(f"({which}) and not root", False), part(f"({which}) and root", True)
    return Result(*(a + b for a, b in zip(*parts)))


def suite_integration(runner):
    return integration(runner, "integration", "gcc", "memory or not memory")


def suite_integration_sanitize(runner):
    return integration(runner, "integration sanitize", "gcc-sanitize", "not timing", **SANITIZER_ENVIRONMENT)


def suite_integration_valgrind(runner):
    return pytest_suite(
        runner,
        "integration valgrind",
        "gcc",
        ["-m", "memory", "--timeout", "240", "tests/integration"],
        PGVTEST_WRAP=VALGRIND,
        PGVTEST_WAIT="60",
    )


def bench(runner, name, build):
    return program(runner, name, build, f"tests/bench/{name}", "--short")


def program(runner, name, build, *argv, as_root=False):
    """A program that says what it expects line by line, and totals last. What was not simply ok goes into the notes."""
    if build and not runner.build(build):
        return unbuilt(runner, build)
    status, said = runner.run(
        name,
        ["/usr/bin/python3", "-B", *argv],
        as_root=as_root,
        **({"PGVIGIL_BINARY": runner.built_path(build, "src", "pgvigil")} if build else {}),
    )
    lines = [line for line in said.splitlines() if line and not line.startswith("ok") and not TOTALS.match(line)]
    result = Result(*totals_of(said, status), lines)
    return result._replace(failures=failures_of(said)) if result.failed else result


def suite_race(runner):
    return bench(runner, "race", "gcc")


def suite_scale(runner):
    return bench(runner, "scale", "gcc")


def suite_storm(runner):
    return bench(runner, "storm", "gcc")


def suite_stack(runner):
    return program(runner, "stack", "gcc", "tests/stack/stack")


def suite_image(runner):
    return program(runner, "image", None, "tests/image/image", as_root=True)  # it is built in there


def suite_systemd(runner):
    """What is installed where, and then the unit in a booted systemd, where this machine can boot one."""
    if not runner.build("install"):
        return unbuilt(runner, "install")
    installed = booted.install(runner, "install")
    if not installed:
        return Result(0, 1, 0, ["meson install failed"])
    static = pytest_suite(
        runner, "systemd", "install", ["tests/systemd/test_installed.py"], "systemd", PGVIGIL_INSTALLED=installed
    )
    status, report, lines = booted.boot(runner, installed)
    if status == booted.CANNOT:
        there = Result(0, 0, 1, [f"skipped all that needs a booted systemd: {lines[-1]}"])
    elif report is None:
        log = runner.log_path("systemd booted")
        note = f"the booted system ended with {status}, see {log}"
        there = Result(0, 1, 0, [note], ((note, end_of_log(log, FAILURE_LINES)),))
    else:
        there = results_of(report, status)
        there = there._replace(notes=there.notes + lines)
    return Result(*(a + b for a, b in zip(static, there)))


SUITES = {
    "build": (suite_build, "all configurations, gcc and clang, warnings are errors"),
    "unit": (suite_unit, "unit, scenario, config, layers, corpora replayed: gcc"),
    "simulation": (suite_simulation, "random servers and rules, the promises asserted after each step"),
    "unit-gcc-sanitize": (suite_unit_gcc_sanitize, "the same as unit with gcc's address and undefined sanitizers"),
    "unit-clang-sanitize": (suite_unit_clang_sanitize, "the same with clang's"),
    "unit-valgrind": (suite_unit_valgrind, "the same under valgrind"),
    "fuzz": (suite_fuzz, f"libFuzzer targets, {FUZZ_SECONDS} s each"),
    "integration": (suite_integration, "the daemon and the commands against private PostgreSQL servers"),
    "integration-sanitize": (suite_integration_sanitize, "the same with the sanitizers"),
    "integration-valgrind": (suite_integration_valgrind, "a whole life of the daemon under valgrind"),
    "race": (suite_race, "tests/bench/race --short: no wrong victim"),
    "scale": (suite_scale, "tests/bench/scale --short: cost of a poll, time of reaction"),
    "storm": (suite_storm, "tests/bench/storm --short: a leak beside four applications, with and without pgvigil"),
    "systemd": (suite_systemd, "what meson install installs, and the unit in a booted systemd"),
    "stack": (suite_stack, "the services of conf/docker/compose.yaml as processes while one of them leaks"),
    "image": (suite_image, "conf/docker/Dockerfile built and run by a real container engine"),
}


def parse_arguments():
    text = "\n".join(f"  {name:22}{what}" for name, (_, what) in SUITES.items())
    parser = argparse.ArgumentParser(
        prog="tests/run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Builds pgvigil and runs its test suites (all of them, or those named).",
        epilog=f"suites:\n{text}\n\nBuilds and logs are in build/. The integration tests of one file:\n"
        "  /usr/bin/python3 -m pytest tests/integration/test_act.py -k gone",
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE")
    parser.add_argument("--list", action="store_true", help="names of the suites")
    options = parser.parse_args()
    if options.list:
        print("\n".join(SUITES))
        sys.exit(0)
    for name in options.suites:
        if name not in SUITES:
            parser.error(f"no suite '{name}' (there are: {', '.join(SUITES)})")
    return options


def temporary_directory():
    """One for all suites, that other users may enter (the servers run as one of them)."""
    base = tempfile.gettempdir()
    if os.geteuid() == 0 and not others_may_enter(base):
        base = "/tmp"
    path = tempfile.mkdtemp(prefix="pgvigil-tests-", dir=base)
    os.chmod(path, 0o755)
    return path


def others_may_enter(path):
    while True:
        if not os.stat(path).st_mode & 0o001:
            return False
        if path == "/":
            return True
        path = os.path.dirname(path)


def cpu_seconds():
    """What we and all that ended below us have used: as subreaper we wait for servers, too."""
    return sum(os.times()[:4])


def run_suites(runner, names):
    table = []
    for name in names:
        print(f"{name} ...", flush=True)
        started, used = time.monotonic(), cpu_seconds()
        log = runner.log_path(name.replace("-", " "))
        if os.path.exists(log):
            os.remove(log)
        result = SUITES[name][0](runner)
        left = end_leftovers()
        if left:
            result = result._replace(
                failed=result.failed + 1,
                notes=[*result.notes, *(f"failed: left running: {line}" for line in left)],
                failures=(*result.failures, *((f"left running: {line}", []) for line in left)),
            )
        if result.failed and not result.failures:
            result = result._replace(failures=(("; ".join(result.notes), end_of_log(log, FAILURE_LINES)),))
        table.append((name, result, time.monotonic() - started, cpu_seconds() - used))
        print(
            f"  {result.passed} passed, {result.failed} failed, {result.skipped} skipped in {table[-1][2]:.0f} s, {table[-1][3]:.0f} s of CPU",
            flush=True,
        )
        for note in result.notes:
            print(f"  {note}", flush=True)
        if result.failed and os.path.exists(log):
            print(f"  the end of {os.path.relpath(log, ROOT)}:", flush=True)
            print("".join(f"  | {line}\n" for line in end_of_log(log, 120)), flush=True)
    return table


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


def print_table(table):
    print(f"\n{'suite':24}{'passed':>9}{'failed':>9}{'skipped':>9}{'seconds':>9}{'CPU':>9}")
    for name, result, seconds, cpu in table:
        print(f"{name:24}{result.passed:9}{result.failed:9}{result.skipped:9}{seconds:9.0f}{cpu:9.0f}")
    print(f"{'':24}{'':27}{sum(row[2] for row in table):9.0f}{sum(row[3] for row in table):9.0f}\n")
    sums = [sum(getattr(result, key) for _, result, *_ in table) for key in ("passed", "failed", "skipped")]
    print(f"{sums[0]} passed, {sums[1]} failed, {sums[2]} skipped", flush=True)
    return 0 if sums[0] > 0 and sums[1] == 0 else 1


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
    try:
        table = run_suites(runner, options.suites or list(SUITES))
        print_failures(table)
        return print_table(table)
    except Stopped as stopped:
        print("stopped", file=sys.stderr)
        return 128 + stopped.args[0]
    finally:
        end_leftovers()
        elevate.remove_tree(runner.directory)


if __name__ == "__main__":
    sys.exit(main())
