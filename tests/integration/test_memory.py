# SPDX-License-Identifier: PostgreSQL
"""A whole life of the daemon and of each command, short enough for valgrind; leaks and errors end it with a status."""

import pytest

from pgvtest import process
from pgvtest.clients import Busy, Session, idle
from pgvtest.daemon import Daemon, command, config, rule, write_config
from pgvtest.proxy import Proxy
from pgvtest.receiver import Receiver

pytestmark = pytest.mark.memory
RULES = {
    "log": rule("1s", action="log", match={"user": "app"}),
    "idle": rule("1s", keep=1, match={"application_name": "/^(worker|batch)/"}, ignore={"client_addr": "10.0.0.0/8"}),
    "long": rule("1s", "active", action="cancel"),
}


def test_life(fresh_server):
    server = fresh_server
    with Proxy(server.port) as line, Receiver() as receiver:
        content = config(
            server,
            RULES,
            apps={"worker": {"match": {"user": "worker"}}},
            protect={"min_age": "0s", "superusers": False},
            target={"conninfo": server.conninfo(port=line.port), "query_timeout": "2s"},
        )
        content["targets"]["dead"] = {"conninfo": server.conninfo(host="localhost", port=1)}
        content["targets"]["second"] = {"conninfo": server.conninfo(), "enforce": False}
        content["alarms"] = {"idle": {"metric": "idle", "above": {"warning": 0}}}
        content["outputs"]["webhooks"] = {
            "heard": {"url": receiver.url(host="localhost"), "format": "alertmanager", "headers": {"X-A": "b"}},
            "away": {"url": "https://localhost:1/", "format": "slack"},
        }
        with Daemon(content) as daemon:
            daemon.wait_up(target="db")
            daemon.wait_up(target="second")
            daemon.wait("target_down", target="dead")
            receiver.wait()
            daemon.wait("notification_failed", output="away")
            idle(server, 3, "worker", application_name="worker")
            superuser = Session(server, "batch", query="SELECT 1", application_name="batch")
            Session(server, "batch", query="SELECT 1", application_name="batch")
            logged = Session(server, "app", query="LISTEN x")
            logged = Session(server, "app", query="SELECT 1")
            query = Busy(server, "SELECT pg_sleep(600)", "app")
            daemon.wait("outcome", outcome="gone", n=2)
            daemon.outcome(query, "cancelled")
            daemon.wait("decision", pid=logged.pid, action="log")
            daemon.wait("outcome", outcome="denied")
            assert superuser.alive()
            line.cut()
            daemon.wait("target_down", target="db")
            daemon.wait_up(target="db", n=2)
            line.stall()
            daemon.wait("target_down", target="db", n=2)
            line.resume()
            server.restart()
            daemon.wait_up(target="db", n=3)


def test_commands(server, tmp_path):
    idle(server, 3, "worker")
    path = write_config(tmp_path, config(server, RULES))
    assert command("check", "-c", path, "--print").returncode == 0
    for form in ("table", "json", "csv"):
        assert command("report", "-c", path, "--format", form).returncode == 0
    assert command("reap", "-c", path, "--idle", "1ms").returncode == 0
    process.wait_until(
        lambda: server.value(
            "SELECT clock_timestamp() - max(backend_start) > '5s' FROM pg_stat_activity " "WHERE usename = 'worker'"
        ),
        10,
    )
    assert command("reap", "-c", path, "--idle", "1s", "--user", "worker", "--yes").returncode == 0
    assert server.count("usename = 'worker'") == 0
    content = config(server, {"x": {"state": "idle", "after": "10", "frob": [1]}})
    assert command("check", "-c", write_config(tmp_path, content)).returncode == 78
    assert command("help", "reap").returncode == 0
    assert command("frob").returncode == 2
