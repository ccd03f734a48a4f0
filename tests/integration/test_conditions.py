# SPDX-License-Identifier: PostgreSQL
"""The always-on alarms of the connection: raised once, cleared when it is over, and no noise between."""

import time

import pytest

from pgvtest import process
from pgvtest.clients import idle
from pgvtest.daemon import Daemon, config, rule
from pgvtest.server import Postgres

QUICK = {"connect_timeout": "1s", "query_timeout": "500ms", "poll_interval": "200ms"}
RULES = {"idle": rule("1h", match={"user": "worker"})}


def reasons(daemon, alarm):
    return [one["reason"] for one in daemon.find("alarm", alarm=alarm)]


def test_unreachable(fresh_server):
    server = fresh_server
    with Daemon(config(server, RULES, target=QUICK)) as daemon:
        daemon.wait_up()
        server.stop()
        raised = daemon.wait("alarm", alarm="unreachable")
        assert raised["severity"] == "critical" and raised["target"] == "db" and raised["message"].count("\n") == 0
        time.sleep(3)
        server.start()
        daemon.wait("alarm", alarm="unreachable", reason="cleared", timeout=40)
        assert reasons(daemon, "unreachable") == ["raised", "cleared"]


def test_a_blink_is_no_alarm(server):
    with Daemon(config(server, RULES, target={**QUICK, "poll_interval": "2s"})) as daemon:
        daemon.wait_up()
        server.sql("SELECT pg_terminate_backend(%s)", server.own_pid())
        daemon.wait_up(n=2)
        assert not daemon.find("alarm")


def test_locked_out():
    with Postgres(max_connections=15, superuser_reserved_connections=3) as server:
        server.value("SELECT 1")  # our own session is in
        held = idle(server, 11)
        with Daemon(config(server, RULES, target=QUICK)) as daemon:
            raised = daemon.wait("alarm", alarm="locked_out", reason="raised")
            assert raised["severity"] == "critical"
            time.sleep(2)
            for session in held:
                session.close()
            daemon.wait("alarm", alarm="locked_out", reason="cleared")
            assert reasons(daemon, "locked_out") == ["raised", "cleared"]


def test_own_limit(server):
    server.sql("ALTER ROLE pgvigil CONNECTION LIMIT 0")
    try:
        with Daemon(config(server, RULES, target=QUICK)) as daemon:
            daemon.wait("alarm", alarm="own_limit", reason="raised")
            server.sql("ALTER ROLE pgvigil CONNECTION LIMIT -1")
            daemon.wait("alarm", alarm="own_limit", reason="cleared", timeout=30)
            assert not daemon.find("alarm", alarm="locked_out")
    finally:
        server.sql("ALTER ROLE pgvigil CONNECTION LIMIT -1")


def test_blind(server):
    server.sql("CREATE ROLE blinded LOGIN; GRANT pg_signal_backend TO blinded")
    idle(server, 1)
    content = config(server, RULES, target={**QUICK, "conninfo": server.conninfo(user="blinded")})
    with Daemon(content) as daemon:
        raised = daemon.wait("alarm", alarm="blind", reason="raised")
        assert raised["severity"] == "critical" and "GRANT" in raised["message"]
        time.sleep(1)
        server.sql("GRANT pg_monitor TO blinded")
        daemon.wait("alarm", alarm="blind", reason="cleared")
        # Taken away while it watches.
        server.sql("REVOKE pg_monitor FROM blinded")
        daemon.wait("alarm", alarm="blind", reason="raised", n=2)
        assert reasons(daemon, "blind") == ["raised", "cleared", "raised"]


def test_sessions_that_no_rule_can_judge(fresh_server):
    """A reload of the server takes the states away; each session goes with its next command."""
    server = fresh_server
    with Daemon(config(server, {"idle": rule("1s", match={"user": "worker"})})) as daemon:
        daemon.wait_up()
        server.sql("ALTER SYSTEM SET track_activities = off")
        server.sql("SELECT pg_reload_conf()")
        time.sleep(0.5)
        (hidden,) = idle(server, 1, "worker")
        told = daemon.wait("self_check", reason="activities_off")
        assert told["level"] == "warning" and told["count"] >= 1 and "track_activities = on" in told["hint"]
        time.sleep(2)
        assert hidden.alive() and len(daemon.find("self_check", reason="activities_off")) == 1


@pytest.mark.parametrize("enforce", [True, False])
def test_powerless(server, enforce):
    server.sql("DROP ROLE IF EXISTS weak; CREATE ROLE weak LOGIN; GRANT pg_monitor TO weak")
    content = config(server, RULES, target={**QUICK, "conninfo": server.conninfo(user="weak")})
    content["enforce"] = enforce
    with Daemon(content) as daemon:
        daemon.wait_up()
        daemon.wait("self_check", reason="powerless")
        if enforce:
            assert daemon.wait("alarm", alarm="powerless")["severity"] == "warning"
        else:
            assert not daemon.find("alarm"), "who only observes has no need to signal"


def test_polls_faster_under_pressure(fresh_server):
    server = fresh_server
    # Polls come at the multiples of their interval.
    target = {"poll_interval": "1h", "pressure_poll_interval": "200ms", "pressure_at": "20%"}
    held = idle(server, 15)
    with Daemon(config(server, RULES, target=target)) as daemon:
        daemon.wait_up()
        pid = server.own_pid()

        def polled():
            return server.value("SELECT query_start FROM pg_stat_activity WHERE pid = %s", pid)

        for _ in range(3):
            before = polled()
            process.wait_until(lambda: polled() > before, 5, "a poll")
        for session in held:
            session.close()
        process.wait_until(lambda: server.count() <= 2, 5)
        time.sleep(1)
        before = polled()
        time.sleep(2)
        assert polled() == before


def test_reload_clears_the_alarms_of_what_is_gone(server):
    from test_reload import reload  # the same way

    content = config(server, RULES, target=QUICK)
    content["targets"]["gone"] = {"conninfo": server.conninfo(port=1), **QUICK}
    with Daemon(content) as daemon:
        assert "used" not in daemon.wait("alarm", alarm="unreachable", target="gone")  # nobody knows
        del content["targets"]["gone"]
        reload(daemon, content)
        daemon.wait("alarm", alarm="unreachable", target="gone", reason="cleared")
