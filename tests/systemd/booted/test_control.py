# SPDX-License-Identifier: PostgreSQL
"""Who may talk to the running service: the group, and nobody else."""

import os
import stat
import urllib.request

import host
import pytest
from conftest import configuration

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
