# SPDX-License-Identifier: PostgreSQL
"""What rules name and what bounds them."""

import datetime
import statistics
import time

import pytest

from pgvtest.clients import Busy, Session, idle
from pgvtest.daemon import Daemon, config, rule


def is_in_transaction(server, user="worker"):
    return Session(server, user).begin()


def is_aborted(server):
    session = Session(server, "worker")
    session.run("BEGIN")
    session.sqlstate("SELECT 1/0")
    return session


def is_active(server):
    return Busy(server, "SELECT pg_sleep(600)", "worker")


def is_idle(server):
    return Session(server, "worker", query="SELECT 1")


KINDS = {
    "idle": is_idle,
    "idle in transaction": is_in_transaction,
    "idle in transaction (aborted)": is_aborted,
    "active": is_active,
}


@pytest.mark.parametrize(
    "state, ended",
    [
        ("idle", {"idle"}),
        ("idle in transaction", {"idle in transaction", "idle in transaction (aborted)"}),
        ("idle in transaction (aborted)", {"idle in transaction (aborted)"}),
        ("active", {"active"}),
        (["idle", "active"], {"idle", "active"}),
        ("any", set(KINDS)),
    ],
)
def test_states(server, state, ended):
    sessions = {name: make(server) for name, make in KINDS.items()}
    with Daemon(config(server, {"it": rule("1s", state)})) as daemon:
        for name in ended:
            assert daemon.outcome(sessions[name], "gone")["state"] == name
        time.sleep(0.8)
        assert {name for name, session in sessions.items() if not session.alive()} == ended


def keep_busy(session, seconds, until=None):
    """A statement every 100 ms, so that state_change stays young."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not (until and until()):
        if session.sqlstate():
            return
        time.sleep(0.1)


@pytest.mark.parametrize(
    "since, ended",
    [(None, False), ("state_change", False), ("query_start", False), ("xact_start", True), ("backend_start", True)],
)
def test_since(server, since, ended):
    rules = {"it": rule("4s", "idle in transaction", **({"since": since} if since else {}))}
    with Daemon(config(server, rules, target={"poll_interval": "200ms"})) as daemon:
        daemon.wait_up()
        session = is_in_transaction(server)
        keep_busy(session, 6)
        assert session.alive() is not ended, daemon.tell()


def test_since_query_start_counts_an_idle_session_from_its_last_query(server):
    session = is_idle(server)
    with Daemon(config(server, {"it": rule("1s", since="query_start")})) as daemon:
        daemon.outcome(session, "gone")


def test_active_is_counted_from_the_start_of_the_query(server):
    session = is_active(server)
    with Daemon(config(server, {"it": rule("2s", "active")})) as daemon:
        outcome = daemon.outcome(session, "gone")
        assert 2_000_000 <= outcome["age_usec"] < 5_000_000


def test_keep(server):
    apps = {"worker": {"match": {"user": "worker"}}, "ingest": {"match": {"user": "ingest"}}}
    workers, ingest = idle(server, 5, "worker"), idle(server, 3, "ingest")
    content = config(server, {"it": rule("1s", keep=2, match={"app": ["worker", "ingest"]})}, apps=apps)
    with Daemon(content) as daemon:
        daemon.wait("outcome", outcome="gone", n=4)
        time.sleep(1.2)
        assert sum(one.alive() for one in workers) == 2 and sum(one.alive() for one in ingest) == 2, daemon.tell()
        assert daemon.find("held_back", reason="keep")


@pytest.mark.parametrize(
    "match, ended",
    [
        ({"user": "worker"}, "abc"),
        ({"user": "work*", "application_name": "a"}, "a"),
        ({"application_name": ["a", "d"]}, "ad"),
        ({"application_name": "/^[ab]$/"}, "ab"),
        ({"application_name": "/^A$/i"}, "a"),
        ([{"application_name": "a"}, {"user": "ingest"}], "ad"),
        ({"database": "postgres", "application_name": "?"}, "abcd"),
        ({"database": "template1"}, ""),
        ({"client_addr": "local"}, "abd"),
        ({"client_addr": "127.0.0.0/8"}, "c"),
        ({"target": "db", "application_name": "b"}, "b"),
        ({"application_name": ""}, ""),
    ],
)
def test_match(server, match, ended):
    sessions = {
        "a": Session(server, "worker", query="SELECT 1", application_name="a"),
        "b": Session(server, "worker", query="SELECT 1", application_name="b"),
        "c": Session(server, "worker", query="SELECT 1", application_name="c", host="127.0.0.1"),
        "d": Session(server, "ingest", query="SELECT 1", application_name="d"),
    }
    decoy = Session(server, "app", query="SELECT 1", application_name="decoy")
    rules = {"it": rule("1s", match=match), "decoy": rule("1s", match={"application_name": "decoy"})}
    with Daemon(config(server, rules)) as daemon:
        for name in ended:
            daemon.outcome(sessions[name], "gone")
        daemon.outcome(decoy, "gone")
        time.sleep(0.6)
        assert "".join(name for name, one in sessions.items() if not one.alive()) == ended, daemon.tell()


def test_an_empty_name_is_a_name(server):
    nameless, named = is_idle(server), Session(server, "worker", query="SELECT 1", application_name="x")
    with Daemon(config(server, {"it": rule("1s", match={"application_name": ""})})) as daemon:
        daemon.outcome(nameless, "gone")
        time.sleep(0.8)
        assert named.alive()


def test_ignore_wins_over_match(server):
    spared = Session(server, "worker", query="SELECT 1", application_name="report")
    victim = is_idle(server)
    rules = {"it": rule("1s", match={"user": "worker"}, ignore={"application_name": "report"})}
    with Daemon(config(server, rules)) as daemon:
        daemon.outcome(victim, "gone")
        time.sleep(0.8)
        assert spared.alive()


def test_apps_claim_in_file_order(server):
    apps = {"first": {"match": {"application_name": "w-1"}}, "second": {"match": {"user": "worker"}}}
    one = Session(server, "worker", query="SELECT 1", application_name="w-1")
    two = Session(server, "worker", query="SELECT 1", application_name="w-2")
    stranger = Session(server, "ingest", query="SELECT 1", application_name="second")
    with Daemon(config(server, {"it": rule("1s", match={"app": "second"})}, apps=apps)) as daemon:
        assert daemon.outcome(two, "gone")["app"] == "second"
        time.sleep(0.8)
        assert one.alive() and stranger.alive(), "calling oneself second does not join the app"


def test_the_first_rule_that_acts_claims_the_session(server):
    session = is_idle(server)
    rules = {
        "look": rule("1s", action="log"),
        "off": rule("1s", enforce=False),
        "first": rule("1s"),
        "second": rule("1s"),
    }
    with Daemon(config(server, rules)) as daemon:
        assert daemon.outcome(session, "gone")["rule"] == "first"
        daemon.wait("decision", pid=session.pid, rule="look")
        assert not daemon.find("decision", pid=session.pid, rule="second")


def test_P5_per_poll(server):
    idle(server, 6, "worker")
    content = config(
        server,
        {"it": rule("500ms", match={"user": "worker"})},
        limits={"per_poll": 2, "per_minute": 100},
        target={"poll_interval": "1s"},
    )
    with Daemon(content) as daemon:
        daemon.wait("outcome", outcome="gone", n=6)
        # By its clock, to the millisecond: a busy reader gets the decisions of several polls at once.
        times = sorted(datetime.datetime.fromisoformat(one["ts"]).timestamp() for one in daemon.find("decision"))
        assert max(sum(start <= at < start + 0.003 for at in times) for start in times) <= 2, times
        assert daemon.find("held_back", reason="budget")


def three_a_minute(server):
    return config(
        server,
        {"it": rule("500ms", match={"user": "worker"})},
        limits={"per_poll": 10, "per_minute": 3},
        target={"poll_interval": "200ms"},
    )


def test_P5_per_minute(server):
    victims = idle(server, 6, "worker")
    with Daemon(three_a_minute(server)) as daemon:
        daemon.wait("outcome", outcome="gone", n=3)
        daemon.wait("held_back", reason="budget")
        time.sleep(2)
        assert sum(victim.alive() for victim in victims) == 3


def test_P5_the_budget_survives_a_reconnect(server):
    victims = idle(server, 6, "worker")
    with Daemon(three_a_minute(server)) as daemon:
        daemon.wait("outcome", outcome="gone", n=3)
        server.sql("SELECT pg_terminate_backend(%s)", server.own_pid())
        daemon.wait_up(n=2, timeout=30)
        time.sleep(2)
        assert sum(victim.alive() for victim in victims) == 3


def observed(server, content, arguments=()):
    session = is_idle(server)
    with Daemon(content, arguments) as daemon:
        event = daemon.wait("decision", pid=session.pid)
        assert event["observe"] is True
        time.sleep(1.2)
        assert session.alive()
        assert len(daemon.find("decision", pid=session.pid)) == 1, "once per session and rule"
        assert not daemon.find("outcome")


def test_P8_observe_without_enforce(server):
    observed(server, config(server, {"it": rule("500ms")}, enforce=False))
    content = config(server, {"it": rule("500ms")})
    del content["enforce"]
    observed(server, content)


def test_P8_observe_by_target_rule_or_command_line(server):
    observed(server, config(server, {"it": rule("500ms")}, target={"enforce": False}))
    observed(server, config(server, {"it": rule("500ms", enforce=False)}))
    observed(server, config(server, {"it": rule("500ms")}), ["--observe"])


def test_P8_observe_ends_nobody_with_any_rule(server):
    sessions = [make(server) for make in KINDS.values()]
    rules = {"any": rule("500ms", "any"), "cancel": rule("500ms", "active", action="cancel")}
    with Daemon(config(server, rules, enforce=False)) as daemon:
        for session in sessions:
            daemon.wait("decision", pid=session.pid, observe=True)
        time.sleep(1)
    assert all(session.alive() for session in sessions)


def test_it_looks_when_a_session_comes_due_and_not_a_poll_later(server):
    """Polls every 30 s, a rule of 3 s: only looks at the right time can be this quick."""
    sessions = idle(server, 8, "worker")
    rules = {"it": rule("3s", match={"user": "worker"})}
    with Daemon(config(server, rules, target={"poll_interval": "30s"})) as daemon:
        late = [daemon.outcome(session, "gone", timeout=10)["age_usec"] / 1e6 - 3 for session in sessions]
        assert 0 <= statistics.median(late) < 1, late


def test_due_sessions_that_come_one_after_the_other(server):
    sessions = []
    for _ in range(6):
        sessions.append(is_idle(server))
        time.sleep(0.25)
    with Daemon(
        config(server, {"it": rule("7s", match={"user": "worker"})}, target={"poll_interval": "60s"})
    ) as daemon:
        for session in sessions:
            decision = daemon.wait("decision", pid=session.pid)
            assert decision["age_usec"] < 8_000_000
        # A daemon that is stopped between an intent and its statement does not send it.
        for session in sessions:
            daemon.outcome(session, "gone")
    assert not any(session.alive() for session in sessions)


def test_a_session_that_is_used_is_never_ended(server):
    session = is_idle(server)
    with Daemon(config(server, {"it": rule("4s")}, target={"poll_interval": "200ms"})) as daemon:
        daemon.wait_up()
        keep_busy(session, 6)
        assert session.alive()
        assert not daemon.find("decision", pid=session.pid)
        daemon.outcome(session, "gone")
