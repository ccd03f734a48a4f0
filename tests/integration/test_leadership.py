# SPDX-License-Identifier: PostgreSQL
"""Several watchdogs on one server: one acts, the others are ready to take over, and strangers disarm nobody."""

import os
import signal
import time

import pytest

from pgvtest import process, server as servers
from pgvtest.clients import Session, idle
from pgvtest.daemon import Daemon, config, rule, write_config

RULES = {"idle": rule("1s", match={"user": "worker"})}
KEY = "1885828713, 1734962225"


def content_of(server, dbname="postgres", user="pgvigil", **target):
    return config(server, RULES, target={"conninfo": server.conninfo(user=user, dbname=dbname), **target})


def acts(daemon):
    return daemon.find("decision", lambda one: not one.get("observe"))


def leader_of(daemons, timeout=15):
    """The one of them that leads; waits until every one knows where it stands."""

    def check():
        standings = [one.find("leadership")[-1:] for one in daemons]
        if not all(standings):
            return None
        leads = [i for i, standing in enumerate(standings) if standing[0]["reason"] == "leads"]
        return daemons[leads[0]] if len(leads) == 1 else None

    return process.wait_until(check, timeout, lambda: "\n".join(one.tell() for one in daemons))


@pytest.mark.parametrize("other", ["postgres", "template1"])
def test_one_acts_and_another_takes_over(server, other):
    with Daemon(content_of(server)) as first:
        first.wait("leadership", reason="leads")
        with Daemon(content_of(server, other)) as second:
            second.wait("leadership", reason="follows")
            for victim in idle(server, 4, "worker"):
                first.outcome(victim, "gone")
            time.sleep(1)
            assert len(acts(first)) == 4 and not acts(second)
            # It dies; nothing is said to anybody.
            first.child.kill()
            first.child.wait()
            died = time.time()
            leads = second.wait("leadership", reason="leads")
            assert leads["said_at"] - died < 1.5, "within one poll of the server noticing it"
            second.outcome(idle(server, 1, "worker")[0], "gone")
            first.child.returncode = 0  # as it was killed by us


def test_started_at_once(server):
    daemons = [Daemon(content_of(server, dbname)) for dbname in ("postgres", "template1", "postgres")]
    try:
        leader = leader_of(daemons)
        victims = idle(server, 5, "worker")
        for victim in victims:
            leader.outcome(victim, "gone")
        assert sum(len(acts(one)) for one in daemons) == 5
        assert len(acts(leader)) == 5
    finally:
        for daemon in daemons:
            daemon.destroy()


def test_an_elder_that_begins_to_enforce_waits(server):
    """Its session is the older one, and its lock free, being another database's: one acts all the same."""
    content = content_of(server, "template1")
    content["enforce"] = False
    with Daemon(content) as elder:
        elder.wait_up()
        with Daemon(content_of(server)) as leader:
            leader.wait("leadership", reason="leads")
            time.sleep(1)  # several polls: it has settled
            content["enforce"] = True
            write_config(elder.directory, content)
            os.kill(elder.pid, signal.SIGHUP)
            elder.wait("leadership", reason="follows")
            for victim in idle(server, 4, "worker"):
                leader.outcome(victim, "gone")
            assert len(acts(leader)) == 4 and not acts(elder)
            assert [one["reason"] for one in leader.find("leadership")] == ["leads"]
        elder.wait("leadership", reason="leads")
        elder.outcome(idle(server, 1, "worker")[0], "gone")


def test_an_observer_disarms_nobody(server):
    content = content_of(server)
    content["enforce"] = False
    with Daemon(content) as observer:
        observer.wait_up()
        with Daemon(content_of(server)) as actor:
            actor.wait("leadership", reason="leads")
            actor.outcome(idle(server, 1, "worker")[0], "gone")
        assert not observer.find("leadership")
        assert server.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


@pytest.mark.parametrize("where", ["postgres", "template1"])
def test_a_stranger_disarms_nobody(server, where):
    stranger = Session(server, "app", query=f"SELECT pg_advisory_lock({KEY})", dbname=where)
    with Daemon(content_of(server)) as daemon:
        standing = daemon.wait("leadership")
        if where == "postgres":  # it cannot have the lock, and acts all the same
            assert standing["reason"] == "unknown_holder" and str(stranger.pid) in standing["message"]
            daemon.wait("alarm", alarm="leader_unknown", reason="raised")
        else:
            assert standing["reason"] == "leads"
        daemon.outcome(idle(server, 1, "worker")[0], "gone")
        stranger.close()
        daemon.wait("leadership", reason="leads")
        if where == "postgres":
            daemon.wait("alarm", alarm="leader_unknown", reason="cleared")


def test_a_crowd_of_strangers_hides_nobody(server):
    """More of them share the key than are read: whoever leads is still seen, and one acts."""
    crowd = [Session(server, "app", query=f"SELECT pg_advisory_lock_shared({KEY})") for _ in range(25)]
    with Daemon(content_of(server, "template1")) as first:
        first.wait("leadership", reason="leads")
        with Daemon(content_of(server)) as second:
            second.wait("leadership", reason="follows")
            for victim in idle(server, 3, "worker"):
                first.outcome(victim, "gone")
            assert not acts(second)
            first.stop()
            second.wait("leadership", reason="unknown_holder")
            second.outcome(idle(server, 1, "worker")[0], "gone")
            for one in crowd:
                one.close()
            second.wait("leadership", reason="leads")


def test_a_strangers_function_in_autovacuum_disarms_nobody():
    """Who may create a table may have the key taken by a process that has no role."""
    settings = {"autovacuum": "on", "autovacuum_naptime": "1s", "autovacuum_analyze_threshold": "1"}
    with servers.Postgres(**settings) as server:
        app = Session(server, "app")
        # Rows are there before the function takes anything: it is for whoever analyzes them.
        make = "CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS"
        app.run(f"{make} 'BEGIN RETURN $1; END'")
        app.run("CREATE TABLE t (i int); CREATE INDEX ON t (f(i))")
        app.run("INSERT INTO t SELECT generate_series(1, 500)")
        app.run(f"{make} 'BEGIN PERFORM pg_advisory_lock({KEY}); PERFORM pg_sleep(60); RETURN $1; END'")
        app.close()  # tells the statistics of the rows at once
        process.wait_until(lambda: server.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 20)
        with Daemon(content_of(server)) as daemon:
            assert daemon.wait("leadership")["reason"] == "unknown_holder"
            daemon.outcome(idle(server, 1, "worker")[0], "gone")


def test_lets_go_when_enforcement_is_turned_off(server):
    content = content_of(server)
    with Daemon(content) as first, Daemon(content_of(server, "template1")) as second:
        leader = leader_of([first, second])
        other = second if leader is first else first
        turned = content if leader is first else content_of(server, "template1")
        turned["enforce"] = False
        write_config(leader.directory, turned)
        os.kill(leader.pid, signal.SIGHUP)
        leader.wait("leadership", reason="released")
        other.wait("leadership", reason="leads")
        other.outcome(idle(server, 1, "worker")[0], "gone")
        assert not acts(leader)


def test_survives_its_own_reconnect(server):
    with Daemon(content_of(server)) as daemon:
        daemon.wait("leadership", reason="leads")
        daemon.wait_up()
        server.sql("SELECT pg_terminate_backend(%s)", server.own_pid())
        daemon.wait_up(n=2)
        daemon.outcome(idle(server, 1, "worker")[0], "gone")
        assert len(daemon.find("leadership")) == 1, "nothing has changed"


def test_on_a_standby(fresh_server):
    """In recovery nothing can be written, but advisory locks can be taken."""
    server = fresh_server
    server.stop()
    with open(f"{server.directory}/data/standby.signal", "w", encoding="ascii"):
        pass
    server.start()
    assert server.value("SELECT pg_is_in_recovery()")
    with Daemon(content_of(server)) as first:
        first.wait("leadership", reason="leads")
        with Daemon(content_of(server, "template1")) as second:
            second.wait("leadership", reason="follows")
            first.outcome(idle(server, 1, "worker")[0], "gone")
