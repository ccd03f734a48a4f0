# SPDX-License-Identifier: PostgreSQL
"""What goes wrong at three in the morning: each command says what happened, and what to do."""

import os
import signal
import subprocess
import time

from pgvtest import process
from pgvtest.daemon import command, config, wrapper, write_config
from pgvtest.served import Served


def shell(script, *arguments, timeout=30):
    """`script` with "$@" for pgvigil and its arguments."""
    argv = ["bash", "-c", "set -o pipefail; " + script, "bash", *wrapper(), process.binary(), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)


def watcher(*arguments):
    argv = [*wrapper(), process.binary(), "report", "--watch=200ms", *arguments]
    return process.spawn(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_no_standard_output(server, tmp_path):
    path = write_config(tmp_path, config(server))
    for arguments in (["report", "-c", path], ["check", "--connect", "-c", path], ["version"]):
        closed = shell('exec "$@" >&-', *arguments)
        assert closed.returncode == 1 and "standard output: Bad file descriptor" in closed.stderr, closed
        full = shell('exec "$@" >/dev/full', *arguments)
        assert full.returncode == 1 and "standard output: No space left" in full.stderr, full
        gone = shell('"$@" | true', *arguments)
        assert not gone.stderr, gone


def test_a_watch_ends_with_its_reader(server, tmp_path):
    with Served(server, tmp_path) as served:
        path = os.path.join(served.daemon.directory, "pgvigil.yaml")
        served.daemon.wait_up()
        for more in ([], ["--direct"]):
            child = watcher("-c", path, *more)
            assert child.stdout.readline()
            child.stdout.close()
            assert child.wait(timeout=20) == 1, more
            assert child.stderr.read() == b"", more
            child.stderr.close()


def test_a_watch_ends_cleanly_by_a_signal(server, tmp_path):
    with Served(server, tmp_path) as served:
        path = os.path.join(served.daemon.directory, "pgvigil.yaml")
        served.daemon.wait_up()
        for more in ([], ["--direct"]):
            child = watcher("-c", path, *more)
            assert child.stdout.readline()
            time.sleep(1)  # while it waits, and not while it asks
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=20)
            assert child.returncode == 0 and not err and out.endswith(b"\n"), (more, child.returncode, err)
