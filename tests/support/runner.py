# SPDX-License-Identifier: PostgreSQL
"""Runs the programs of a suite: built once, logged, bounded in time, and nothing of them left behind."""

import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

import elevate

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
N_JOBS = max(2, os.cpu_count() or 2)
SUITE_TIMEOUT = 600
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


class Runner:
    def __init__(self):
        self.directory = None
        self.child = None
        self.patience = 1  # how many times as long everything may take
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
                status = self.child.wait(timeout * self.patience)
            except subprocess.TimeoutExpired:
                status = None
                log.write(f"\nstopped after {timeout * self.patience} s\n".encode())
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
            # Of two runs, or two parts of one, the later waits and finds it built.
            with open(os.path.join(ROOT, "build", f"{name}.lock"), "wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
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


def end_leftovers(spared=None):
    """Kills what suites left behind: as subreaper we are the parent of every orphan. `spared`: the child that is none.
    Returns their command lines."""
    left = []
    for _ in range(100):
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            children = [int(pid) for pid in file.read().split() if not spared or int(pid) != spared.pid]
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
