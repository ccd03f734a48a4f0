# SPDX-License-Identifier: PostgreSQL
"""The oldest and the newest servers that pgvigil supports; this machine's own is what all other tests run on."""

import pytest

from pgvtest import fetch
from pgvtest.clients import Busy, Session, idle
from pgvtest.daemon import Daemon, command, config, rule
from pgvtest.server import Postgres


@pytest.fixture(scope="module", params=[("bullseye", 13), ("trixie", 17), ("sid", 18)], ids=lambda param: str(param[1]))
def other_server(request):
    bindir, why = fetch.postgresql(*request.param)
    if bindir is None:
        pytest.skip(f"PostgreSQL {request.param[1]} cannot be had: {why}")
    with Postgres(bindir=bindir) as postgres:
        yield postgres


def test_life(other_server):
    server = other_server
    gone = Session(server, "worker", query="SELECT 1")
    left_open = Session(server, "worker").begin()
    listener = Session(server, "app", query="LISTEN x")
    superuser = Session(server, "batch", query="SELECT 1")
    query = Busy(server, "SELECT pg_sleep(600)", "app")
    rules = {
        "idle": rule("1s"),
        "leak": rule("1s", "idle in transaction"),
        "long": rule("1s", "active", action="cancel"),
    }
    with Daemon(config(server, rules)) as daemon:
        up = daemon.wait_up()
        version = server.value("SHOW server_version_num")
        assert f"PostgreSQL {int(version) // 10000}." in up["message"]
        daemon.outcome(gone, "gone")
        daemon.outcome(left_open, "gone")
        daemon.outcome(query, "cancelled")
        assert listener.alive() and superuser.alive()
        assert not daemon.find("target_down")
        assert server.count("usename = 'pgvigil'") == 1


def test_denied(other_server):
    superuser = Session(other_server, "batch", query="SELECT 1")
    content = config(
        other_server, {"idle": rule("1s", match={"user": "batch"})}, protect={"superusers": False, "min_age": "0s"}
    )
    with Daemon(content) as daemon:
        assert daemon.outcome(superuser, "denied")["sqlstate"] == "42501"
    assert superuser.alive()


def test_full(other_server):
    with Postgres(bindir=other_server.bindir, max_connections=12, superuser_reserved_connections=3) as server:
        crowd = idle(server, 8, "app")
        with Daemon(config(server)) as daemon:
            daemon.wait("locked_out", sqlstate="53300")
            crowd.pop().close()
            daemon.wait_up(timeout=5)


def test_report(other_server):
    idle(other_server, 2, "worker")
    done = command("report", "--conninfo", other_server.conninfo())
    assert done.returncode == 0 and "worker" in done.stdout
