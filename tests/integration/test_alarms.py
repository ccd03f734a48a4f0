# SPDX-License-Identifier: PostgreSQL
"""Alarms: raised, escalated, eased and cleared, each once, with the numbers and who holds the slots."""

import time

import pytest

from pgvtest import process
from pgvtest.clients import Busy, Session, idle
from pgvtest.daemon import Daemon, config
from pgvtest.server import Postgres

QUICK = {"poll_interval": "200ms"}
APPS = {"worker": {"match": {"user": "worker"}}}


def content_of(server, target=None, **alarms):
    named = {name.replace("_", "-"): one for name, one in alarms.items()}
    return config(server, alarms=named, apps=APPS, target={**QUICK, **(target or {})})


def close(sessions):
    for session in sessions:
        session.close()


@pytest.mark.long
@pytest.mark.timing
@pytest.mark.timeout(300)
def test_time_to_full_sees_a_leak(fresh_server):
    """Ten sessions a minute. The forecast wants two minutes of data, and is silent until it has them."""
    leak = 6.0
    alarm = {"metric": "time_to_full", "below": {"warning": "10min"}}
    with Daemon(content_of(fresh_server, target={"poll_interval": "1s"}, filling_up=alarm)) as daemon:
        started = daemon.wait_up()["said_at"]
        n = 0
        while not daemon.find("alarm") and time.time() - started < 180:
            idle(fresh_server, 1, "worker")
            n += 1
            time.sleep(leak)
        raised = daemon.wait("alarm", alarm="filling-up", reason="raised")
        assert raised["said_at"] - started > 110, "two minutes of data"
        truth = (47 - 2 - n) * leak
        assert truth / 2 < raised["value"] / 1e6 < truth * 2, (raised, truth)
        assert raised["threshold"] == 600_000_000 and raised["metric"] == "time_to_full"


def test_usage_goes_up_and_down(server):
    """47 usable slots, two of them ours and the harness'."""
    alarm = {"metric": "usage", "above": {"warning": "50%", "critical": "75%"}}
    with Daemon(content_of(server, slots=alarm)) as daemon:
        daemon.wait_up()
        time.sleep(0.5)
        assert not daemon.find("alarm")

        first = idle(server, 23, "worker")
        raised = daemon.wait("alarm", alarm="slots")
        assert (raised["reason"], raised["severity"], raised["level"]) == ("raised", "warning", "warning")
        assert raised["threshold"] == 50 and 50 < raised["value"] <= 54 and raised["metric"] == "usage"
        assert raised["usable"] == 47 and raised["holders"].startswith("worker 2")
        assert f"usage {raised['value']}% > 50%" in raised["message"]

        more = idle(server, 12, "ingest")
        escalated = daemon.wait("alarm", alarm="slots", n=2)
        assert (escalated["reason"], escalated["severity"]) == ("escalated", "critical")
        assert escalated["threshold"] == 75 and 75 < escalated["value"] <= 79 and escalated["level"] == "error"
        assert escalated["holders"].startswith("worker 23, ")

        close(more)
        eased = daemon.wait("alarm", alarm="slots", n=3)
        assert (eased["reason"], eased["severity"], eased["threshold"]) == ("eased", "warning", 75)
        assert 50 < eased["value"] <= 75

        close(first)
        cleared = daemon.wait("alarm", alarm="slots", n=4)
        assert (cleared["reason"], cleared["severity"], cleared["threshold"]) == ("cleared", "none", 50)
        assert cleared["value"] <= 50
        time.sleep(0.7)
        assert len(daemon.find("alarm")) == 4, daemon.tell()


def test_connections_of_some_in_groups(server):
    alarm = {
        "metric": "connections",
        "match": {"user": "worker"},
        "ignore": {"application_name": "quiet"},
        "per": "application_name",
        "above": {"warning": 2},
    }
    idle(server, 2, "worker", application_name="few")
    idle(server, 4, "worker", application_name="quiet")
    idle(server, 4, "ingest", application_name="three")
    three = idle(server, 3, "worker", application_name="three")
    idle(server, 4, "worker", application_name="four")
    with Daemon(content_of(server, many=alarm)) as daemon:
        daemon.wait("alarm", n=2)
        close(three[:1])
        cleared = daemon.wait("alarm", reason="cleared")
        assert cleared["group"] == '"three"' and (cleared["value"], cleared["threshold"]) == (2, 2)
        time.sleep(0.5)
        raised = {one["group"]: one["value"] for one in daemon.find("alarm", reason="raised")}
        assert raised == {'"three"': 3, '"four"': 4}, daemon.tell()
        assert len(daemon.find("alarm")) == 3


def test_connections_below(server):
    """A worker pool that has gone: `below`."""
    sessions = idle(server, 3, "worker")
    alarm = {"metric": "connections", "match": {"app": "worker"}, "below": {"warning": 2, "critical": 1}}
    with Daemon(content_of(server, few=alarm)) as daemon:
        daemon.wait_up()
        time.sleep(0.5)
        assert not daemon.find("alarm")
        close(sessions)
        raised = daemon.wait("alarm", severity="critical")
        assert (raised["value"], raised["threshold"]) == (0, 1)
        idle(server, 2, "worker")
        daemon.wait("alarm", reason="cleared")


def test_states_ages_and_locks(server):
    """One of each, all at once: what each metric counts, and nothing else."""
    server.sql("DROP TABLE IF EXISTS held; CREATE TABLE held AS SELECT 1 AS i; GRANT ALL ON held TO PUBLIC")
    counts = {"idle": 3, "active": 3, "idle_in_transaction": 2, "waiting": 1, "blocked": 1}
    ages = ("longest_idle", "longest_query", "longest_transaction", "longest_idle_in_transaction")
    alarms = {
        metric: {"metric": metric, "match": {"user": "worker"}, "above": {"warning": n - 1 if n > 1 else 1}}
        for metric, n in counts.items()
        if n > 1
    }
    alarms.update({name: {"metric": name, "match": {"user": "worker"}, "above": {"warning": "1s"}} for name in ages})
    idle(server, 3, "worker")
    blocker = Session(server, "worker").begin()
    blocker.run("UPDATE held SET i = 2")
    Session(server, "worker").begin()
    busy = [Busy(server, "SELECT pg_sleep(600)", "worker") for _ in range(2)]
    waiter = Busy(server, "UPDATE held SET i = 3", "worker")
    with Daemon(content_of(server, **alarms)) as daemon:
        for metric in counts:
            if counts[metric] > 1:
                assert daemon.wait("alarm", alarm=metric.replace("_", "-"))["value"] == counts[metric]
        for metric in ages:
            raised = daemon.wait("alarm", metric=metric)
            assert raised["threshold"] == 1_000_000 and 1_000_000 < raised["value"] < 20_000_000
    assert all(one.alive() for one in busy) and waiter.alive()


def test_waiting_and_blocked(server):
    """An advisory lock is a lock."""
    holder = Session(server, "worker", query="SELECT pg_advisory_lock(4711)")
    waiters = [Busy(server, "SELECT pg_advisory_lock(4711)", "worker") for _ in range(3)]
    alarms = {
        "waiting": {"metric": "waiting", "above": {"warning": 1, "critical": 2}},
        "blocked": {"metric": "blocked", "above": {"critical": 2}},
    }
    with Daemon(content_of(server, **alarms)) as daemon:
        for name in alarms:
            raised = daemon.wait("alarm", alarm=name)
            assert (raised["reason"], raised["severity"], raised["value"]) == ("raised", "critical", 3)
        holder.run("SELECT pg_advisory_unlock(4711)")
        for name, reason in (("blocked", "cleared"), ("waiting", "eased")):
            assert daemon.wait("alarm", alarm=name, reason=reason)["value"] == 2
    for one in waiters:
        server.sql("SELECT pg_terminate_backend(%s)", one.pid)


def test_role_limit_and_database_limit(server):
    server.sql("ALTER ROLE ingest CONNECTION LIMIT 5")
    server.sql("CREATE DATABASE limited CONNECTION LIMIT 4")
    try:
        alarms = {
            "role": {"metric": "role_limit", "above": {"warning": "70%"}},
            "database": {"metric": "database_limit", "above": {"warning": "70%"}},
        }
        idle(server, 2, "ingest")
        with Daemon(content_of(server, **alarms)) as daemon:
            daemon.wait_up()
            time.sleep(0.5)
            assert not daemon.find("alarm")
            more = idle(server, 2, "ingest")
            raised = daemon.wait("alarm", alarm="role")
            assert (raised["value"], raised["threshold"]) == (80, 70)
            assert "role 'ingest' has 4 of 5 connections" in raised["message"]
            close(more)
            daemon.wait("alarm", alarm="role", reason="cleared")
            sessions = idle(server, 3, "worker", dbname="limited")
            raised = daemon.wait("alarm", alarm="database")
            assert raised["value"] == 75 and "database 'limited' has 3 of 4 connections" in raised["message"]
            close(sessions)
            daemon.wait("alarm", alarm="database", reason="cleared")
    finally:
        server.sql("ALTER ROLE ingest CONNECTION LIMIT -1")
        process.wait_until(lambda: server.count("datname = 'limited'") == 0, 10)
        server.sql("DROP DATABASE limited")


def test_for_and_clear_after(server):
    """A blink raises nothing, and a blink clears nothing."""
    alarm = {
        "metric": "connections",
        "match": {"user": "worker"},
        "above": {"warning": 1},
        "for": "4s",
        "clear_after": "4s",
    }
    with Daemon(content_of(server, many=alarm)) as daemon:
        daemon.wait_up()
        sessions = idle(server, 2, "worker")
        time.sleep(0.6)
        close(sessions)
        time.sleep(4.3)
        assert not daemon.find("alarm"), daemon.tell()
        at = time.time()
        sessions = idle(server, 2, "worker")
        assert daemon.wait("alarm", reason="raised")["said_at"] - at >= 4
        close(sessions)
        time.sleep(0.6)
        sessions = idle(server, 2, "worker")
        time.sleep(4.3)
        assert len(daemon.find("alarm")) == 1, daemon.tell()
        at = time.time()
        close(sessions)
        assert daemon.wait("alarm", reason="cleared")["said_at"] - at >= 4


def test_absent_data_clears_nothing(fresh_server):
    idle(fresh_server, 3, "worker")
    alarm = {"metric": "connections", "match": {"user": "worker"}, "above": {"warning": 2}}
    with Daemon(content_of(fresh_server, many=alarm)) as daemon:
        daemon.wait("alarm", alarm="many", reason="raised")
        fresh_server.stop()
        daemon.wait("target_down")
        time.sleep(2)
        assert not daemon.find("alarm", alarm="many", reason="cleared"), "nobody knows"
        fresh_server.start()
        daemon.wait("alarm", alarm="many", reason="cleared", timeout=40)
        assert len(daemon.find("alarm", alarm="many")) == 2


def test_full_and_locked_out():
    """Full as long as we are inside; locked out when our own slot is taken, too."""
    with Postgres(max_connections=15, superuser_reserved_connections=3) as server:
        server.value("SELECT 1")
        target = {"connect_timeout": "1s", "query_timeout": "500ms"}
        with Daemon(content_of(server, target=target)) as daemon:
            daemon.wait_up()
            sessions = idle(server, 10, "worker")
            full = daemon.wait("alarm", alarm="full")
            assert (full["reason"], full["severity"]) == ("raised", "critical")
            assert (full["used"], full["usable"]) == (12, 12) and full["holders"].startswith("worker 10")
            assert not daemon.find("alarm", alarm="locked_out")
            # Somebody is quicker than us: superusers may take the reserved slots, and then ours.
            superusers = idle(server, 3, "batch")
            server.sql("SELECT pg_terminate_backend(%s)", server.own_pid())
            locked_out = daemon.wait("alarm", alarm="locked_out", timeout=20)
            assert (locked_out["reason"], locked_out["severity"]) == ("raised", "critical")
            close(superusers + sessions)
            daemon.wait("alarm", alarm="locked_out", reason="cleared", timeout=20)
            daemon.wait("alarm", alarm="full", reason="cleared", timeout=30)
            assert [one["reason"] for one in daemon.find("alarm", alarm="full")] == ["raised", "cleared"]


def test_forged_names(server):
    idle(server, 6, "worker", application_name="pg_dump")
    with Daemon(content_of(server)) as daemon:
        raised = daemon.wait("alarm", alarm="forged_name")
        assert raised["severity"] == "warning" and "pg_dump" in raised["group"] and "worker" in raised["group"]
