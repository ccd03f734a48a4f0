# SPDX-License-Identifier: PostgreSQL
"""The suites: what each runs, and what came of it."""

import enum
import json
import os
import re
import subprocess
import tempfile
from collections import namedtuple

import booted
import elevate
from results import FAILURE_LINES, TOTALS, Result, end_of_log, failures_of, results_of, totals_of
from runner import BUILDS, N_JOBS, ROOT, end_group

FUZZ_SECONDS = 30
VALGRIND = (
    "valgrind --quiet --leak-check=full --show-leak-kinds=definite,indirect,possible "
    "--errors-for-leak-kinds=definite,indirect,possible --error-exitcode=99 --num-callers=30"
)
SANITIZER_ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "PGVIGIL_SANITIZED": "1",
}


def unbuilt(runner, *builds):
    logs = [(f"build {build}", runner.log_path(f"build {build}")) for build in builds]
    notes = [f"{name} failed, see {log}" for name, log in logs]
    return Result(0, len(logs), 0, notes, tuple((name, end_of_log(log, FAILURE_LINES)) for name, log in logs))


def meson_test(runner, name, build, arguments, multiplier=1, **environment):
    if not runner.build(build):
        return unbuilt(runner, build)
    base = re.sub(r"[^a-z0-9]+", "-", name)
    # A wrapper's name is appended by meson. What else begins with that name is of a suite that may run beside this one.
    written = f"{base}-valgrind.json" if "--wrap" in arguments else f"{base}.json"
    report = runner.built_path(build, "meson-logs", written)
    if os.path.exists(report):
        os.remove(report)
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
            "--timeout-multiplier",
            str(multiplier * runner.patience),
            *arguments,
        ],
        **environment,
    )
    counts, notes, failures = [0, 0, 0], [], ()
    if not os.path.exists(report):
        return Result(0, 1, 0, ["no test ran"])
    with open(report, encoding="utf-8") as file:
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
                    f"{test['name']}: {line}" for line in re.findall(r"^skip.*$", test.get("stdout", ""), re.MULTILINE)
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
            # Its own is longer by a user's name, and below it are sockets, whose paths may have 107 bytes.
            f"--basetemp={tempfile.mkdtemp(prefix='t', dir=runner.directory)}",
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


def unit_sanitized(runner, name, build):
    return with_server(runner, name, build, ["--no-suite", "simulation"], multiplier=3, **SANITIZER_ENVIRONMENT)


def suite_unit_gcc_sanitize(runner):
    return unit_sanitized(runner, "unit gcc sanitize", "gcc-sanitize")


def suite_unit_clang_sanitize(runner):
    return unit_sanitized(runner, "unit clang sanitize", "clang-sanitize")


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
    arguments = ["--wrap", VALGRIND, *names]
    return with_server(runner, "unit valgrind", "gcc", arguments, multiplier=20)


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


class Load(enum.Enum):
    """What a suite asks of the machine."""

    MEASURES = "to be alone"
    WAITS = "for time or servers to come; it bears that others work meanwhile"
    WORKS = "to compute; it bears to be slow"


Suite = namedtuple("Suite", "run what load", defaults=[Load.MEASURES])

SUITES = {
    "build": Suite(suite_build, "all configurations, gcc and clang, warnings are errors", Load.WORKS),
    "unit": Suite(suite_unit, "unit, scenario, config, layers, corpora replayed: gcc", Load.WAITS),
    "simulation": Suite(
        suite_simulation, "random servers and rules, the promises asserted after each step", Load.WORKS
    ),
    "unit-gcc-sanitize": Suite(
        suite_unit_gcc_sanitize, "the same as unit with gcc's address and undefined sanitizers", Load.WORKS
    ),
    "unit-clang-sanitize": Suite(suite_unit_clang_sanitize, "the same with clang's", Load.WORKS),
    "unit-valgrind": Suite(suite_unit_valgrind, "the same under valgrind", Load.WORKS),
    "integration": Suite(
        suite_integration, "the daemon and the commands against private PostgreSQL servers", Load.WAITS
    ),
    "integration-sanitize": Suite(suite_integration_sanitize, "the same with the sanitizers", Load.WAITS),
    "integration-valgrind": Suite(
        suite_integration_valgrind, "a whole life of the daemon under valgrind", Load.WAITS
    ),
    "image": Suite(suite_image, "conf/docker/Dockerfile built and run by a real container engine", Load.WAITS),
    "fuzz": Suite(suite_fuzz, f"libFuzzer targets, {FUZZ_SECONDS} s each"),
    "race": Suite(suite_race, "tests/bench/race --short: no wrong victim"),
    "scale": Suite(suite_scale, "tests/bench/scale --short: cost of a poll, time of reaction"),
    "storm": Suite(suite_storm, "tests/bench/storm --short: a leak beside four applications, with and without pgvigil"),
    "systemd": Suite(suite_systemd, "what meson install installs, and the unit in a booted systemd"),
    "stack": Suite(suite_stack, "the services of conf/docker/compose.yaml as processes while one of them leaks"),
}
