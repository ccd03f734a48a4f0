# SPDX-License-Identifier: PostgreSQL
"""What a service manager is told (sd_notify), without one. In a real one: tests/systemd."""

import os
import shutil
import signal
import socket
import tempfile
import time

import pytest

from pgvtest import daemon
from pgvtest.clients import Session
from pgvtest.process import Timeout, wait_until


class Manager:
    """The socket of a service manager. `said`: every line that came, with its time."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="pgvtest-notify-")
        self.path = os.path.join(self.directory, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.said = []

    def read(self, timeout=0.05):
        """What comes within the time, as lines."""
        lines = []
        self.socket.settimeout(timeout)
        try:
            while True:
                lines += self.socket.recv(4096).decode().split("\n")[:-1]
                self.socket.settimeout(0.01)
        except TimeoutError:
            pass
        self.said += lines
        return lines

    def wait(self, check, timeout=15):
        """Until a line, of all that came since the start, fits; returns it."""

        def look():
            self.read()
            return [line for line in self.said if check(line)]

        return wait_until(look, timeout, lambda: f"{self.said[-20:]}")[0]

    def environment(self, watchdog=None):
        return {"NOTIFY_SOCKET": self.path, **({"WATCHDOG_USEC": str(int(watchdog * 1e6))} if watchdog else {})}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture
def manager():
    with Manager() as one:
        yield one


def is_ready(line):
    return line == "READY=1"


def test_ready_after_the_first_poll(server, manager):
    content = daemon.config(server)
    with daemon.Daemon(content, environment=manager.environment()) as pgvigil:
        manager.wait(is_ready)
        assert server.own_pid()
        pgvigil.wait_up(timeout=1)
        manager.wait(lambda line: line.startswith("STATUS=1 target, ") and line.endswith(" %, 0 ended in the last hour"))
        assert manager.said.count("READY=1") == 1
        pgvigil.stop()
        assert "STOPPING=1" in manager.read()


def test_ready_is_not_said_before_the_verdict(server, line, manager):
    """A server that does not answer yet: no verdict until connect_timeout is over."""
    line.stall()
    content = daemon.config(server, target={"conninfo": server.conninfo(port=line.port), "connect_timeout": "3s"})
    with daemon.Daemon(content, environment=manager.environment()):
        started = time.monotonic()
        first = manager.wait(lambda one: one.startswith("STATUS="))
        assert first == "STATUS=1 target, connecting, 0 ended in the last hour"
        manager.wait(is_ready)
        assert time.monotonic() - started > 2
        manager.wait(lambda one: one.startswith("STATUS=1 target, down"), timeout=20)


def test_ready_needs_every_target(server, line, manager):
    line.stall()
    content = daemon.config(server)
    content["targets"]["other"] = {"conninfo": server.conninfo(port=line.port), "connect_timeout": "40s"}
    with daemon.Daemon(content, environment=manager.environment()) as pgvigil:
        pgvigil.wait_up(target="db")
        with pytest.raises(Timeout):
            manager.wait(is_ready, timeout=0.5)
        line.resume()
        manager.wait(is_ready)
        pgvigil.wait_up(target="other", timeout=1)


def test_a_server_that_is_down_is_a_verdict(server, manager):
    """What is ordered after us does not wait for a database that is off."""
    content = daemon.config(server, target={"conninfo": "host=127.0.0.2 port=1 user=pgvigil dbname=postgres"})
    with daemon.Daemon(content, environment=manager.environment()):
        manager.wait(is_ready)


def test_status_counts_what_was_ended(server, manager):
    content = daemon.config(server, {"idle": daemon.rule("200ms")})
    with daemon.Daemon(content, environment=manager.environment(1)) as pgvigil:
        manager.wait(is_ready)
        session = Session(server, query="SELECT 1")
        pgvigil.outcome(session, "gone")
        manager.wait(lambda line: line.endswith(", 1 ended in the last hour"))


def test_reload_good_and_bad(server, manager):
    content = daemon.config(server)
    with daemon.Daemon(content, environment=manager.environment()) as pgvigil:
        manager.wait(is_ready)
        before = time.monotonic()
        os.kill(pgvigil.pid, signal.SIGHUP)
        at = manager.wait(lambda line: line.startswith("MONOTONIC_USEC="))
        assert before <= int(at.partition("=")[2]) / 1e6 <= time.monotonic()
        wait_until(lambda: manager.read() is not None and manager.said.count("READY=1") == 2, 10)
        assert manager.said.count("RELOADING=1") == 1

        with open(os.path.join(pgvigil.directory, "pgvigil.yaml"), "a", encoding="utf-8") as file:
            file.write("nonsense\n")
        os.kill(pgvigil.pid, signal.SIGHUP)
        manager.wait(lambda line: line.startswith("STATUS=") and "the last reload was refused" in line)
        wait_until(lambda: manager.read() is not None and manager.said.count("READY=1") == 3, 10)
        assert manager.said.count("RELOADING=1") == 2

        daemon.write_config(pgvigil.directory, {**content, "enforce": False})
        os.kill(pgvigil.pid, signal.SIGHUP)
        manager.wait(lambda line: line.startswith("STATUS=") and line.endswith(", observing"))


def fed(manager, seconds):
    """How often the watchdog was fed in that time."""
    manager.read()
    time.sleep(seconds)
    return manager.read().count("WATCHDOG=1")


def test_watchdog_is_fed_while_the_work_goes_on(server, line, manager):
    """Also with a server that hangs and one that is off: neither is our fault."""
    content = daemon.config(server, target={"conninfo": server.conninfo(port=line.port), "query_timeout": "1s"})
    content["targets"]["off"] = {"conninfo": "host=127.0.0.2 port=1 user=pgvigil dbname=postgres"}
    with daemon.Daemon(content, environment=manager.environment(0.8)) as pgvigil:
        manager.wait(is_ready)
        assert fed(manager, 1.5) >= 3
        line.stall()
        pgvigil.wait("target_down", target="db")
        assert fed(manager, 1.5) >= 3
        line.resume()


def test_a_manager_that_does_not_read_stops_nobody(server, manager):
    content = daemon.config(server, {"idle": daemon.rule("500ms")})
    with daemon.Daemon(content, environment=manager.environment(0.2)) as pgvigil:
        manager.wait(is_ready)
        time.sleep(1.5)  # the queue of the socket is full after ten or so
        pgvigil.outcome(Session(server, query="SELECT 1"), "gone")
    assert "READY=1" in manager.said
