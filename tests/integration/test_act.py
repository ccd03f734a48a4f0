# SPDX-License-Identifier: PostgreSQL
"""Every outcome, and what is recorded of it."""

import os
import signal
import time

import pytest

from pgvtest import process
from pgvtest.clients import Busy, Session, idle
from pgvtest.daemon import Daemon, config, rule
from pgvtest.server import Postgres

# As it stands in a Bind message, and not in the Parse message that prepares it.
TERMINATE = b"\0pgvigil_terminate\0"


@pytest.fixture
def frozen():
    """Freezes processes and never leaves one frozen."""
    pids = []

    def freeze(pid):
        os.kill(pid, signal.SIGSTOP)
        process.wait_stopped(pid)
        pids.append(pid)

    yield freeze
    for pid in pids:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass


@pytest.fixture
def holding(line):
    """A proxy that keeps back the statement which follows from a look, for as long as the test needs."""
    line.hold(TERMINATE)
    return line


def through(server, line):
    return {"conninfo": server.conninfo(port=line.port), "poll_interval": "3s", "query_timeout": "20s"}


def order(daemon, *wanted):
    events = daemon.find()
    return [events.index(one) for one in wanted]


def test_P6_gone_with_intent_before_and_outcome_after(server):
    victim = Session(server, "worker", query="SELECT 1", application_name="worker-7")
    with Daemon(config(server, {"idle": rule("1s", match={"user": "worker"})})) as daemon:
        outcome = daemon.outcome(victim, "gone")
        decision = daemon.wait("decision", pid=victim.pid)
        first, second = order(daemon, decision, outcome)
        assert first < second
        for event in (decision, outcome):
            assert event["target"] == "db" and event["rule"] == "idle" and event["action"] == "terminate"
            assert (
                event["user"] == "worker"
                and event["database"] == "postgres"
                and event["application_name"] == "worker-7"
            )
            assert event["state"] == "idle" and not event.get("observe")
            start = victim.identity.backend_start
            assert event["backend_start"].startswith(start.strftime("%Y-%m-%dT%H:%M:%S.%f"))
            assert event["limit_usec"] == 1_000_000 <= event["age_usec"] < 5_000_000
        assert 0 <= outcome["took_usec"] < 5_000_000
        assert len(daemon.find("decision", pid=victim.pid)) == len(daemon.find("outcome", pid=victim.pid)) == 1
    assert not victim.alive()


def test_P1_changed_a_session_that_became_active_is_spared(server, holding):
    victim = Session(server, "worker", query="SELECT 1")
    with Daemon(
        config(server, {"idle": rule("1s", match={"user": "worker"})}, target=through(server, holding))
    ) as daemon:
        daemon.wait("decision", pid=victim.pid)
        holding.wait_held()
        victim.run("SELECT 2")
        holding.release()
        assert "no longer idle since the poll" in daemon.outcome(victim, "changed")["message"]
        assert victim.alive()


def test_P1_changed_a_session_that_took_another_name_is_spared(server, holding):
    victim = Session(server, "worker")
    victim.begin()
    # xact_start stays as it is: only the name has changed since the look.
    rules = {"old": rule("1s", state=["idle in transaction", "active"], since="xact_start", match={"user": "worker"})}
    with Daemon(config(server, rules, target=through(server, holding))) as daemon:
        daemon.wait("decision", pid=victim.pid)
        holding.wait_held()
        victim.run("SET LOCAL application_name = 'somebody else'")
        holding.release()
        told = daemon.outcome(victim, "changed")
        assert told["message"].endswith(": in the same state, but by now protected or renamed (rule old)")
        assert victim.alive()


def test_P4_changed_a_session_that_is_protected_since(server, holding):
    """What was measured is as it was, so that must not be what the record says."""
    server.sql("CREATE ROLE climber LOGIN")
    victim = Session(server, "climber", query="SELECT 1")
    with Daemon(
        config(server, {"idle": rule("1s", match={"user": "climber"})}, target=through(server, holding))
    ) as daemon:
        daemon.wait("decision", pid=victim.pid)
        holding.wait_held()
        server.sql("ALTER ROLE climber SUPERUSER")
        holding.release()
        told = daemon.outcome(victim, "changed")
        assert told["message"].endswith(": in the same state, but by now protected or renamed (rule idle)")
        assert victim.alive()
    victim.close()
    server.sql("DROP ROLE climber")


def test_left_a_session_that_went_by_itself(server, holding):
    victim = Session(server, "worker", query="SELECT 1")
    with Daemon(
        config(server, {"idle": rule("1s", match={"user": "worker"})}, target=through(server, holding))
    ) as daemon:
        daemon.wait("decision", pid=victim.pid)
        holding.wait_held()
        victim.close()
        victim.wait_dead()
        holding.release()
        daemon.outcome(victim, "left")


def test_denied_does_not_hide_what_happened_to_others(server):
    """A superuser's session is beyond pg_signal_backend; sessions before and after it are still ended."""
    before = Session(server, "worker", query="SELECT 1")
    superuser = Session(server, "batch", query="SELECT 1")
    after = Session(server, "worker", query="SELECT 1")
    content = config(
        server,
        {"idle": rule("1s", match={"user": ["worker", "batch"]})},
        protect={"superusers": False, "min_age": "0s"},
    )
    with Daemon(content) as daemon:
        denied = daemon.outcome(superuser, "denied")
        assert denied["sqlstate"] == "42501"
        assert denied.get("hint")
        daemon.outcome(before, "gone")
        daemon.outcome(after, "gone")
        time.sleep(2)
        assert len(daemon.find("outcome", pid=superuser.pid)) == 1, "not tried again at each poll"
    assert superuser.alive()


def test_failed_when_the_statement_fails(server, line):
    """An error of another kind: on the way the statement's name is changed into one that the server does not know."""
    victim = Session(server, "worker", query="SELECT 1")
    content = config(
        server,
        {"idle": rule("2s", match={"user": "worker"})},
        target={"conninfo": server.conninfo(port=line.port)},
    )
    line.on_request = lambda data: data.replace(TERMINATE, TERMINATE.upper())
    with Daemon(content) as daemon:
        assert daemon.outcome(victim, "failed")["sqlstate"] == "26000"
    assert victim.alive()


def test_cancelled_ends_the_query_and_keeps_the_session(server):
    victim = Busy(server, "SELECT pg_sleep(600)", "worker")
    rules = {"long": rule("1s", state="active", action="cancel", match={"user": "worker"})}
    with Daemon(config(server, rules)) as daemon:
        daemon.outcome(victim, "cancelled", action="cancel")
        assert victim.result() == "57014"
        assert victim.alive()
        assert len(daemon.find("decision", pid=victim.pid)) == 1


def test_cancel_follows_the_query_not_the_session(server):
    """Sent once for each query that runs too long; the next one is another."""
    victim = Busy(server, "SELECT pg_sleep(600)", "worker")
    rules = {"long": rule("500ms", state="active", action="cancel", match={"user": "worker"})}
    with Daemon(config(server, rules)) as daemon:
        daemon.outcome(victim, "cancelled")
        victim.result()
        victim.cursor.execute("SELECT pg_sleep(600)")
        daemon.wait("outcome", pid=victim.pid, outcome="cancelled", n=2)
        victim.result()


def test_still_running_when_a_cancelled_query_goes_on(server, frozen):
    victim = Busy(server, "SELECT pg_sleep(600)", "worker").wait_state("active")
    frozen(victim.pid)
    rules = {"long": rule("1s", state="active", action="cancel", match={"user": "worker"})}
    with Daemon(config(server, rules)) as daemon:
        daemon.outcome(victim, "still_running", timeout=30)


def test_lingering_when_a_session_does_not_go(server, frozen):
    victim = Session(server, "worker", query="SELECT 1")
    frozen(victim.pid)
    with Daemon(config(server, {"idle": rule("1s", match={"user": "worker"})})) as daemon:
        lingering = daemon.outcome(victim, "lingering", timeout=30)
        assert lingering["level"] in ("warning", "error")
        assert len(daemon.find("decision", pid=victim.pid)) == 1, "not signalled again at each poll"


def test_unverified_when_we_stop_first(server, frozen):
    victim = Session(server, "worker", query="SELECT 1")
    frozen(victim.pid)
    with Daemon(config(server, {"idle": rule("1s", match={"user": "worker"})})) as daemon:
        daemon.wait("decision", pid=victim.pid)
        process.wait_until(lambda: os.path.exists(f"/proc/{victim.pid}"), 1)
        time.sleep(1)  # the statement has been answered, the next polls still see it
        assert daemon.stop() == 0
        assert daemon.outcome(victim)["outcome"] == "unverified"


@pytest.mark.parametrize("executed", [True, False])
def test_unknown_when_the_connection_breaks_after_sending(server, holding, executed):
    """Settled by identity after the reconnect: never a second guess, never a lost record."""
    victim = Session(server, "worker", query="SELECT 1")
    with Daemon(
        config(server, {"idle": rule("1s", match={"user": "worker"})}, target=through(server, holding))
    ) as daemon:
        daemon.wait("decision", pid=victim.pid)
        holding.wait_held()
        if executed:
            holding.delay = 60
            holding.release()
            victim.wait_dead()  # the answer is on its way
        holding.hold(None)
        holding.cut()
        holding.delay = 0
        daemon.wait("target_down")
        daemon.wait_up(n=2, timeout=30)
        if executed:
            outcome = daemon.outcome(victim)
            assert outcome["outcome"] in ("unknown", "gone")
        else:
            daemon.outcome(victim, "gone", timeout=30)
        assert not victim.alive()
        decisions, outcomes = len(daemon.find("decision", pid=victim.pid)), len(daemon.find("outcome", pid=victim.pid))
        assert decisions <= outcomes, daemon.tell()


def test_log_reports_once_and_does_nothing(server):
    session = Session(server, "worker", query="SELECT 1")
    rules = {"idle": rule("1s", action="log", match={"user": "worker"})}
    with Daemon(config(server, rules, target={"poll_interval": "200ms"})) as daemon:
        event = daemon.wait("decision", pid=session.pid, action="log")
        assert event["rule"] == "idle"
        time.sleep(1.5)
        assert len(daemon.find("decision", pid=session.pid)) == 1
        assert not daemon.find("outcome", pid=session.pid)
        session.run("SELECT 2")
        daemon.wait("decision", pid=session.pid, n=2)
        assert session.alive()


def test_many_victims_in_one_poll():
    """More than one chunk of guarded statements."""
    with Postgres(max_connections=80) as server:
        victims = idle(server, 60, "worker")
        with Daemon(config(server, {"idle": rule("1s", match={"user": "worker"})})) as daemon:
            for victim in victims:
                daemon.outcome(victim, "gone", timeout=20)
            assert len(daemon.find("decision")) == len(victims)


def test_a_reused_connection_slot_is_another_session(server):
    first = Session(server, "worker", query="SELECT 1")
    with Daemon(config(server, {"idle": rule("2s", match={"user": "worker"})})) as daemon:
        daemon.outcome(first, "gone")
        began = time.time()
        second = Session(server, "worker", query="SELECT 1")
        assert daemon.outcome(second, "gone")["said_at"] - began >= 2
