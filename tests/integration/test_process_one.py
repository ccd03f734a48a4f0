# SPDX-License-Identifier: PostgreSQL
"""As process 1, which is what it is in a container: signals end it, and nobody else's dead lie about."""

import os
import signal
import subprocess
import time

import pytest

from pgvtest import process
from pgvtest.daemon import config, write_config

pytestmark = pytest.mark.root  # for a process namespace


def unshare(*argv):
    return ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *argv]


def is_allowed():
    done = subprocess.run(unshare("true"), stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
    return done.returncode == 0


def children(pid):
    """pid -> state of the children of a process."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    state, parent = file.read().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == pid:
                found[int(entry)] = state
    return found


@pytest.fixture
def first(server, tmp_path):
    """(unshare, pid of a pgvigil that is process 1), which watches."""
    if not is_allowed():
        pytest.skip("no process namespaces for us here")
    path = write_config(tmp_path, config(server, outputs={"log": {"format": "text"}}))
    with open(tmp_path / "log", "wb") as log:
        child = process.spawn(unshare(process.binary(), "run", "-c", path), stdout=log, stderr=log)
    try:
        process.wait_until(lambda: b": up: " in (tmp_path / "log").read_bytes(), 20, "a first poll")
        yield child, process.wait_until(lambda: list(children(child.pid)), 5)[0]
    finally:
        process.stop_process(child, signal.SIGKILL)


def test_orphans_are_buried(first):
    _, pid = first
    inside = ["nsenter", "--target", str(pid), "--pid", "--mount"]
    subprocess.run([*inside, "sh", "-c", "for i in 1 2 3; do sleep 100 & done"], check=True, timeout=10)
    orphans = children(pid)
    assert len(orphans) == 3, "the orphans are its children"
    for orphan in orphans:
        os.kill(orphan, signal.SIGKILL)
    process.wait_until(lambda: not children(pid), 15, lambda: f"children of process 1: {children(pid)}")


@pytest.mark.timing
@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT])
def test_stops_at_once(first, signo):
    child, pid = first
    began = time.monotonic()
    os.kill(pid, signo)
    assert child.wait(10) == 0
    assert time.monotonic() - began < 1.0
