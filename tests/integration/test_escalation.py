# SPDX-License-Identifier: PostgreSQL
"""Cancel first; then terminate, if the same query of the same backend still runs when grace is over."""

import time

import pytest

from pgvtest import process
from pgvtest.clients import Busy, Session
from pgvtest.daemon import Daemon, config, rule

# Swallows every cancel until its time is over.
STUBBORN = """
CREATE OR REPLACE FUNCTION stubborn(seconds int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    deadline timestamptz := clock_timestamp() + make_interval(secs => seconds);
BEGIN
    WHILE clock_timestamp() < deadline LOOP
        BEGIN
            PERFORM pg_sleep(1);
        EXCEPTION WHEN query_canceled THEN
            NULL;
        END;
    END LOOP;
END
$$
"""


def escalating(after="1s", grace="1s", **more):
    return rule(after, "active", action="cancel", then="terminate", grace=grace, match={"user": "worker"}, **more)


def actions(daemon, session):
    return [one["action"] for one in daemon.find("decision", pid=session.pid)]


@pytest.fixture
def stubborn(server):
    server.sql(STUBBORN)
    return server


def test_who_ignores_the_cancel_is_terminated_after_grace(stubborn):
    session = Busy(stubborn, "SELECT stubborn(600)", "worker")
    with Daemon(config(stubborn, {"long": escalating(grace="2s")}, target={"poll_interval": "300ms"})) as daemon:
        outcome = daemon.outcome(session, "gone", action="terminate")
        cancel, terminate = daemon.find("decision", pid=session.pid)
        assert (cancel["action"], terminate["action"]) == ("cancel", "terminate")
        assert 1.8 < terminate["said_at"] - cancel["said_at"] < 8, daemon.tell()
        assert outcome["rule"] == "long" and outcome["state"] == "active"
        session.wait_dead()


def test_who_heeds_the_cancel_is_left_alone(server):
    session = Busy(server, "SELECT pg_sleep(600)", "worker")
    with Daemon(config(server, {"long": escalating()}, target={"poll_interval": "300ms"})) as daemon:
        daemon.outcome(session, "cancelled")
        assert session.result() == "57014"
        time.sleep(2)
        assert session.alive() and actions(daemon, session) == ["cancel"], daemon.tell()


def test_another_query_has_a_grace_of_its_own(server):
    """The client starts the next long query at once, each time: none of them is the one that was cancelled."""
    session = Busy(server, "SELECT pg_sleep(600)", "worker")
    with Daemon(config(server, {"long": escalating("1s", "1500ms")}, target={"poll_interval": "300ms"})) as daemon:
        for _ in range(3):
            assert session.result() == "57014"
            session.cursor.execute("SELECT pg_sleep(600)")
        # It runs while the grace of the query before it ends.
        time.sleep(0.8)
        assert session.alive()
        assert set(actions(daemon, session)) == {"cancel"} and len(actions(daemon, session)) >= 3, daemon.tell()


def test_a_short_query_after_the_cancelled_one_is_nobodys(server):
    session = Busy(server, "SELECT pg_sleep(600)", "worker")
    with Daemon(config(server, {"long": escalating("1s", "1s")}, target={"poll_interval": "300ms"})) as daemon:
        assert session.result() == "57014"
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:
            session.cursor.execute("SELECT pg_sleep(0.3)")
            assert session.result() is None
        assert session.alive() and actions(daemon, session) == ["cancel"], daemon.tell()


def test_without_then_it_is_cancelled_once(stubborn):
    session = Busy(stubborn, "SELECT stubborn(600)", "worker")
    rules = {"long": rule("1s", "active", action="cancel", match={"user": "worker"})}
    with Daemon(config(stubborn, rules, target={"poll_interval": "300ms"})) as daemon:
        daemon.wait("decision", pid=session.pid)
        time.sleep(2.5)
        assert session.alive() and actions(daemon, session) == ["cancel"], daemon.tell()
    assert daemon.find("outcome", pid=session.pid, outcome="unverified")


def test_P8_observed_escalation(stubborn):
    session = Busy(stubborn, "SELECT stubborn(600)", "worker")
    rules = {"long": escalating("500ms", "500ms", enforce=False)}
    with Daemon(config(stubborn, rules, target={"poll_interval": "300ms"})) as daemon:
        daemon.wait("decision", pid=session.pid, observe=True, action="cancel")
        time.sleep(2)
        assert session.alive() and not daemon.find("outcome")


def test_the_guard_still_stands_before_the_termination(stubborn):
    """`keep`: cancelling takes nobody away, terminating would."""
    apps = {"worker": {"match": {"user": "worker"}}}
    session = Busy(stubborn, "SELECT stubborn(600)", "worker")
    content = config(
        stubborn, {"long": escalating("500ms", "500ms", keep=1)}, apps=apps, target={"poll_interval": "300ms"}
    )
    with Daemon(content) as daemon:
        daemon.wait("decision", pid=session.pid, action="cancel")
        daemon.wait("held_back", rule="long", reason="keep")
        time.sleep(1)
        assert session.alive()
        # One more, and it may go.
        Session(stubborn, "worker", query="SELECT 1")
        daemon.outcome(session, "gone", action="terminate")
    process.wait_until(lambda: stubborn.count("usename = 'worker'") == 1, 5)
