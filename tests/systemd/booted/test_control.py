# SPDX-License-Identifier: PostgreSQL
"""Who may talk to the running service: the group, and nobody else."""

import os
import stat
import urllib.request

import host
import pytest
from conftest import configuration
from pgvtest.clients import Session
from pgvtest.process import wait_until

RULE = {"idle": {"state": "idle", "after": "1s", "match": {"user": "worker"}}}
SOCKET = "/run/pgvigil/control.sock"


@pytest.fixture(scope="module", autouse=True)
def users():
    host.run("useradd", "--system", "--groups", "pgvigil", "alice")
    host.run("useradd", "--system", "mallory")
    yield
    host.run("userdel", "alice")
    host.run("userdel", "mallory")


def as_user(name, *argv, **kwargs):
    return host.run("runuser", "-u", name, "--", *argv, **kwargs)


def test_the_group_may_use_the_socket(service):
    host.systemctl("start", "pgvigil")
    found = os.stat(SOCKET)
    assert stat.S_ISSOCK(found.st_mode) and found.st_mode & 0o777 == 0o660
    assert found.st_gid == int(host.run("getent", "group", "pgvigil").split(":")[2])
    assert as_user("alice", "pgvigil", "health", "--ready") == "ready\n"
    assert host.run("pgvigil", "health", "--ready") == "ready\n"


def test_nobody_else_may(service):
    host.systemctl("start", "pgvigil")
    said = as_user("mallory", "pgvigil", "health", "--socket", SOCKET, status=1)
    assert f"you may not use {SOCKET}" in said
    # Nor may he read the file, which may name hosts and users.
    assert "Permission denied" in as_user("mallory", "pgvigil", "check", status=None)
    assert ": ok (" in as_user("alice", "pgvigil", "check")


def test_metrics_are_served_on_loopback(service, server):
    service.configure(configuration(server))
    host.systemctl("start", "pgvigil")
    with urllib.request.urlopen("http://127.0.0.1:9432/metrics", timeout=5) as answer:
        assert 'pgvigil_target_up{target="db"} 1' in answer.read().decode()


def test_a_pause_outlives_a_restart(service, server):
    service.configure(configuration(server, RULE))
    host.systemctl("start", "pgvigil")
    journal = host.Journal()
    as_user("alice", "pgvigil", "pause", "--for", "10min")
    as_user("mallory", "pgvigil", "resume", "--socket", SOCKET, status=1)
    wait_until(lambda: journal.find("PGVIGIL_EVENT=paused"), 10, "told")
    host.systemctl("restart", "pgvigil")
    wait_until(lambda: ", paused, " in host.show("StatusText"), 10, lambda: host.show("StatusText"))
    leak = Session(server, "worker", query="SELECT 1")
    wait_until(lambda: journal.find("PGVIGIL_EVENT=held_back", "PGVIGIL_REASON=paused"), 10, "held back")
    assert leak.alive()
    assert "paused" in as_user("alice", "pgvigil", "status")
    leak.run("SELECT 1")
    as_user("alice", "pgvigil", "resume")
    leak.wait_dead()
    wait_until(lambda: "paused" not in host.show("StatusText"), 10, lambda: host.show("StatusText"))


def test_reload_over_the_socket(service, server):
    host.systemctl("start", "pgvigil")
    pid = host.main_pid()
    service.configure(configuration(server, RULE))
    as_user("alice", "pgvigil", "reload")
    service.configure("enforce: maybe\n")
    # The socket's path comes from the file, so it has to be named now.
    said = as_user("alice", "pgvigil", "reload", "--socket", SOCKET, status=1)
    assert f"{host.CONFIG}:1:10" in said
    wait_until(lambda: "the last reload was refused" in host.show("StatusText"), 10, lambda: host.show("StatusText"))
    assert host.is_active() and host.main_pid() == pid
