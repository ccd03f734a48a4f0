# SPDX-License-Identifier: PostgreSQL
"""What it says, whatever strangers call themselves, and whoever does not listen."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from pgvtest import process
from pgvtest.clients import Session, idle
from pgvtest.daemon import Daemon, config, rule, write_config

SUPPORT = os.path.dirname(os.path.dirname(os.path.abspath(process.__file__)))
ALONE = os.path.join(SUPPORT, "journald-alone.sh")

# As bytes: the server cuts names at 63 and takes whatever its encoding lets through.
HOSTILE = {
    "newline": b"a\nb\r\nPGVIGIL_EVENT=stop\nMESSAGE=forged",
    "escape": b"\x1b[2J\x1b[31mred\x07\x08",
    "quotes": b'"\'`\\"; DROP TABLE x; --',
    "percent": b"%s%n%d%%",
    "json": b'","event":"stop","x":"',
    "c1": "\u009b31m\u0085".encode(),
    "bidi": "\u202egnp.exe\u2066".encode(),
    "separators": "\u2028\u2029\ufeff\u200b".encode(),
    "wide": "日本語 🐘 é".encode(),
    "everything": bytes(range(1, 64)),
    "high": "".join(chr(c) for c in range(0xA0, 0xBF)).encode(),
    "long": b"x" * 63,
    "priority": b"<0>emerg",
}


def quoted(name):
    return '"' + name.decode().replace('"', '""') + '"'


@pytest.fixture(scope="module")
def hostile_names(module_server):
    """Roles and databases of those names; each role keeps its number."""
    for name in HOSTILE.values():
        module_server.sql(f"CREATE ROLE {quoted(name)} LOGIN")
    for name in ("newline", "escape", "json"):
        module_server.sql("CREATE DATABASE " + quoted(HOSTILE[name]))
    return HOSTILE


def hostile_sessions(server):
    """key -> session: the name as role and application name, and as database where there is one."""
    sessions = {}
    for key, name in HOSTILE.items():
        database = name.decode() if key in ("newline", "escape", "json") else "postgres"
        sessions[key] = Session(
            server, name.decode(), query="SELECT 1", application_name=name.decode(), dbname=database
        )
    return sessions


def has_control(text, allowed=""):
    return [
        c
        for c in text
        if (
            ord(c) < 32
            or 127 <= ord(c) < 160
            or c in "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069" "\u200b\ufeff"
        )
        and c not in allowed
    ]


def test_hostile_names_in_json(server, hostile_names):
    sessions = hostile_sessions(server)
    with Daemon(config(server, {"it": rule("1s")})) as daemon:
        for key, session in sessions.items():
            event = daemon.outcome(session, "gone")
            assert event["user"] == HOSTILE[key].decode(), key
            shown = server_name(server, session)
            assert shown is None or event["application_name"] == shown
            assert not has_control(event["message"]), event["message"]
        assert len(daemon.find("outcome")) == len(daemon.find("decision")) == len(sessions)
        assert not daemon.find("stop")
    assert not daemon.broken_lines


def server_name(server, session):
    rows = server.sql("SELECT application_name FROM pg_stat_activity WHERE pid = %s", session.pid)
    return rows[0][0] if rows else None


def log_text(server, rules, directory, done):
    """The text log of a daemon with these rules, stopped a while after done() has become true."""
    path = write_config(directory, config(server, rules, outputs={"log": {"level": "debug", "format": "text"}}))
    out = os.path.join(directory, "out")
    with open(out, "wb") as file:
        child = process.spawn([process.binary(), "run", "-c", path], stdout=file, stderr=subprocess.STDOUT)
    try:
        process.wait_until(done, 20)
        time.sleep(1.2)  # the outcome comes with the next poll
    finally:
        assert process.stop_process(child) == 0
    with open(out, "rb") as file:
        return file.read().decode("utf-8")


def test_hostile_names_in_text(server, hostile_names, tmp_path):
    sessions = hostile_sessions(server)
    text = log_text(server, {"it": rule("1s")}, tmp_path, lambda: not any(map(Session.alive, sessions.values())))
    lines = text.split("\n")
    assert lines.pop() == ""
    for line in lines:
        assert not has_control(line), repr(line)
    for session in sessions.values():
        about = [line for line in lines if re.search(rf"\b{session.pid}\b", line)]
        assert len(about) == 2, (about, "one intent, one outcome")
    assert not any(line.startswith(("MESSAGE=", "PGVIGIL_")) for line in lines)


# A real journal

needs_journal = pytest.mark.skipif(
    not os.path.exists("/lib/systemd/systemd-journald") or not process.may_mount(),
    reason="needs systemd-journald and a mount namespace",
)


class Journaled:
    """A daemon beside a journal of its own."""

    def __init__(self, content, directory):
        self.directory = str(directory)
        path = write_config(self.directory, content)
        self.err = open(os.path.join(self.directory, "err"), "wb")
        self.child = process.spawn(
            [ALONE, self.directory, process.binary(), "run", "-c", path], stdout=self.err, stderr=self.err
        )
        process.wait_until(
            lambda: os.path.exists(self.path("command.pid")) or self.child.poll() is not None, 15, "journald"
        )
        assert self.child.poll() is None, open(self.path("err"), encoding="utf-8").read()

    def path(self, name):
        return os.path.join(self.directory, name)

    def pid_of(self, name):
        def read():
            with open(self.path(f"{name}.pid"), encoding="ascii") as file:
                return int(file.read() or 0)

        return process.wait_until(read, 5)

    def stop(self):
        """Ends the daemon; returns its status and the journal's entries."""
        if self.child.poll() is None:
            os.kill(self.pid_of("command"), signal.SIGTERM)
        try:
            status = self.child.wait(30)
        finally:
            process.stop_process(self.child)
            self.err.close()
        with open(self.path("journal.json"), encoding="utf-8") as file:
            return status, [json.loads(line) for line in file]


def journal_text(value):
    """journalctl gives what is not plain text as a list of bytes."""
    return bytes(value).decode() if isinstance(value, list) else value


@pytest.mark.root
@needs_journal
def test_hostile_names_in_the_journal(server, hostile_names, tmp_path):
    sessions = hostile_sessions(server)
    content = config(server, {"it": rule("1s")}, outputs={"log": {"level": "debug", "format": "journal"}})
    journal = Journaled(content, tmp_path)
    try:
        process.wait_until(lambda: not any(session.alive() for session in sessions.values()), 20)
        time.sleep(1.2)
    finally:
        status, entries = journal.stop()
    assert status == 0
    for key, session in sessions.items():
        mine = [entry for entry in entries if entry.get("PGVIGIL_PID") == str(session.pid)]
        assert sorted(entry["PGVIGIL_EVENT"] for entry in mine) == ["decision", "outcome"], key
        for entry in mine:
            assert journal_text(entry["PGVIGIL_USER"]) == HOSTILE[key].decode()
            assert not has_control(journal_text(entry["MESSAGE"]))
            assert len(entry["MESSAGE_ID"]) == 32 and entry["PGVIGIL_RULE"] == "it"
    stops = [entry for entry in entries if entry["PGVIGIL_EVENT"] == "stop"]
    assert (
        len(stops) <= 1 and len({entry["MESSAGE_ID"] for entry in entries if entry["PGVIGIL_EVENT"] == "outcome"}) == 1
    )


def query_start(server):
    return server.value("SELECT max(query_start) FROM pg_stat_activity WHERE usename = 'pgvigil'")


def polls_go_on(server, seconds=2.0):
    before = query_start(server)
    time.sleep(seconds)
    assert query_start(server) > before


@pytest.mark.root
@needs_journal
def test_P6_a_stopped_journal_stops_neither_the_watch_nor_the_rule_of_records(server, tmp_path):
    content = config(
        server,
        {"it": rule("1s", match={"user": "worker"})},
        target={"poll_interval": "200ms"},
        outputs={"log": {"level": "debug", "format": "journal"}},
    )
    journal = Journaled(content, tmp_path)
    try:
        process.wait_until(server.own_pid, 10)
        os.kill(journal.pid_of("journald"), signal.SIGSTOP)
        # The socket takes a few hundred datagrams before a sender blocks: fill it.
        filler = subprocess.run(
            [sys.executable, "-c", FILL, str(journal.pid_of("journald"))], check=False, stdout=subprocess.PIPE
        )
        assert filler.stdout.strip() == b"full", filler
        victims = idle(server, 3, "worker")
        time.sleep(2.5)
        polls_go_on(server)
        assert all(victim.alive() for victim in victims), "no record, no action"
        os.kill(journal.pid_of("journald"), signal.SIGCONT)
        process.wait_until(lambda: not any(victim.alive() for victim in victims), 20, "recorded and ended")
        time.sleep(1)
    finally:
        os.kill(journal.pid_of("journald"), signal.SIGCONT)
        status, entries = journal.stop()
    assert status == 0
    for victim in victims:
        events = [entry["PGVIGIL_EVENT"] for entry in entries if entry.get("PGVIGIL_PID") == str(victim.pid)]
        assert events.count("outcome") == 1 and "decision" in events


# Enters the journal's mount namespace and sends until its socket takes no more.
FILL = """
import ctypes, os, socket, sys
fd = os.open(f"/proc/{sys.argv[1]}/ns/mnt", os.O_RDONLY)
if ctypes.CDLL(None).setns(fd, 0) != 0: sys.exit("setns")
end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
end.setblocking(False)
end.connect("/run/systemd/journal/socket")
try:
    for _ in range(100000): end.send(b"MESSAGE=filler\\n")
except BlockingIOError: print("full")
"""


def small_pipe(daemon):
    fcntl.fcntl(daemon.child.stdout.fileno(), 1031, 4096)  # F_SETPIPE_SZ


def test_P6_unread_stdout_stops_neither_the_watch_nor_the_rule_of_records(server):
    """Without a reader nobody is ended; with one again, all is recorded and done."""
    content = config(
        server,
        {"it": rule("1s", match={"user": "worker"}), "noise": rule("1s", action="log", match={"user": "app"})},
        target={"poll_interval": "200ms"},
    )
    with Daemon(content, read=False) as daemon:
        small_pipe(daemon)
        process.wait_until(server.own_pid, 10)
        noise = idle(server, 20, "app")  # 20 records fill the pipe
        time.sleep(2.5)
        victims = idle(server, 3, "worker")
        time.sleep(2.5)
        polls_go_on(server)
        assert all(victim.alive() for victim in victims), "no record, no action"
        assert daemon.cpu_over(1) < 0.1
        daemon.start_reading()
        for victim in victims:
            daemon.outcome(victim, "gone", timeout=20)
        for event in daemon.find("outcome"):
            assert daemon.find("decision", pid=event["pid"])
        assert all(session.alive() for session in noise)


def test_P6_dropped_records_are_counted(server):
    """More records than the queue holds while nobody reads."""
    content = config(
        server,
        {f"r{i:03}": rule("100ms", action="log", match={"user": "app"}) for i in range(100)},
        target={"poll_interval": "200ms"},
    )
    with Daemon(content, read=False) as daemon:
        small_pipe(daemon)
        process.wait_until(server.own_pid, 10)
        sessions = idle(server, 40, "app")  # 40 x 100 records each time they are idle anew
        for _ in range(3):
            time.sleep(1)
            for session in sessions:
                session.run("SELECT 1")
        time.sleep(1.5)
        polls_go_on(server, 1.0)
        daemon.start_reading()
        dropped = daemon.wait("records_dropped", timeout=30)
        assert dropped["count"] >= 1
        assert process.resident_bytes(daemon.pid) < 100e6 or os.environ.get("PGVIGIL_SANITIZED")


def test_stop_with_unread_stdout_is_bounded(server):
    content = config(server, {"noise": rule("1s", action="log", match={"user": "app"})})
    with Daemon(content, read=False) as daemon:
        small_pipe(daemon)
        process.wait_until(server.own_pid, 10)
        idle(server, 20, "app")
        time.sleep(2.5)
        started = time.monotonic()
        daemon.child.terminate()
        daemon.child.wait(20)
        assert time.monotonic() - started < 8
        daemon.start_reading()


def test_P6_closed_stdout_ends_nobody(server):
    content = config(server, {"it": rule("1s", match={"user": "worker"})}, target={"poll_interval": "200ms"})
    daemon = Daemon(content, read=False)
    try:
        process.wait_until(server.own_pid, 10)
        daemon.child.stdout.close()
        victim = Session(server, "worker", query="SELECT 1")
        time.sleep(3)
        assert victim.alive()
        assert daemon.child.poll() is None
        polls_go_on(server, 1.0)
    finally:
        process.stop_process(daemon.child)
        shutil.rmtree(daemon.directory, ignore_errors=True)


def test_query_text_is_off_unless_asked_for(server):
    secret = "MARKER_IN_A_QUERY"
    first = Session(server, "worker", query=f"SELECT '{secret}'")
    with Daemon(config(server, {"it": rule("1s")})) as daemon:
        daemon.outcome(first, "gone")
        assert secret not in daemon.tell()
        assert not any("query" in event for event in daemon.find("outcome"))
    second = Session(server, "worker", query=f"SELECT '{secret}',\n  '{'x' * 500}'")
    outputs = {"log": {"level": "debug", "format": "json"}, "query_text": 60}
    with Daemon(config(server, {"it": rule("1s")}, outputs=outputs)) as daemon:
        daemon.outcome(second, "gone")
        event = daemon.wait("decision", pid=second.pid)
        assert event["query"] == f"SELECT '{secret}',   '" + "x" * (60 - 31), "cut, and on one line"


def test_levels(server):
    session = Session(server, "worker", query="SELECT 1")
    content = config(server, {"it": rule("1s")}, outputs={"log": {"level": "error", "format": "json"}})
    with Daemon(content) as daemon:
        # What is done, and what became of it, is written at every level.
        daemon.outcome(session, "gone")
        assert [event["event"] for event in daemon.find()] == ["decision", "outcome"]
