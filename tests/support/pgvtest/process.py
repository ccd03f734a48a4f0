# SPDX-License-Identifier: PostgreSQL
"""Waiting, child processes that never outlive us, and what /proc tells about them."""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Timeout(AssertionError):
    """Something that had to happen did not."""


def wait_until(check, timeout=10.0, what=None, interval=0.02):
    """Calls `check` until it is true and returns its value; raises Timeout after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Timeout(f"not within {timeout} s: {what() if callable(what) else what or check}")
        time.sleep(interval)


def binary():
    """The pgvigil under test."""
    return os.environ.get("PGVIGIL_BINARY") or os.path.join(ROOT, "build", "gcc", "src", "pgvigil")


def may_mount():
    """In a mount namespace of our own; asked of root alone."""
    return os.geteuid() != 0 or (
        shutil.which("unshare") is not None and os.system("unshare --mount true 2>/dev/null") == 0
    )


def spawn(argv, death_signal=signal.SIGTERM, unprivileged=False, **kwargs):
    """Popen, in a session of its own, that dies with the thread that made it: call it from the main thread.
    `unprivileged`: as user postgres when we are root, since PostgreSQL and PgBouncer refuse root."""
    if unprivileged and os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        kwargs.update(user=account.pw_uid, group=account.pw_gid, extra_groups=[])

    def in_child():
        _libc.prctl(PR_SET_PDEATHSIG, death_signal)

    kwargs.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(argv, start_new_session=True, preexec_fn=in_child, **kwargs)


def run_unprivileged(argv, timeout=60):
    """Runs a command to its end as the user that owns the servers; raises with its output when it fails."""
    child = spawn(
        argv,
        unprivileged=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        cwd="/",
    )
    try:
        output, _ = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        raise
    if child.returncode != 0:
        raise RuntimeError(f"{argv[0]} failed: {output.decode(errors='replace')}")
    return output.decode(errors="replace")


def open_directory(prefix):
    """A temporary directory that the unprivileged user owns and everybody may enter."""
    path = tempfile.mkdtemp(prefix=prefix)
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        os.chown(path, account.pw_uid, account.pw_gid)
    os.chmod(path, 0o755)
    return path


def stop_process(child, signo=signal.SIGTERM, timeout=10.0):
    """Signals a child, waits, kills it when it does not go; returns its exit status."""
    if child.poll() is None:
        try:
            os.kill(child.pid, signal.SIGCONT)
            child.send_signal(signo)
        except ProcessLookupError:
            pass
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    return child.returncode


def cpu_seconds(pid):
    """CPU time that a process has used, all threads that still live, in nanosecond resolution."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        except FileNotFoundError:
            pass
    return total / 1e9


def _stat(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def minor_faults(pid):
    return int(_stat(pid)[7])


def process_state(pid):
    """R, S, T, Z ... as ps shows it; None when there is no such process."""
    try:
        return _stat(pid)[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def resident_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError(f"no VmRSS for {pid}")


def wait_stopped(pid):
    """After SIGSTOP: until the kernel says that it is stopped."""
    wait_until(lambda: process_state(pid) in ("T", "t", None), 5, f"process {pid} stopped")
