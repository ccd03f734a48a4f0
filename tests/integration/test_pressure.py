# SPDX-License-Identifier: PostgreSQL
"""Rules that bite only under pressure, and rules about who holds up others."""

import time

import pytest

from pgvtest import process
from pgvtest.clients import Busy, Session, idle
from pgvtest.daemon import Daemon, config, rule
from pgvtest.server import Postgres

MATCH = {"user": ["worker", "ingest"]}
SQUEEZE = {"when": {"usage": "85%", "until": "60%"}, "match": MATCH}
QUICK = {"poll_interval": "300ms"}


@pytest.fixture(scope="module")
def small():
    """37 usable slots: 85 % are 32 of them, 60 % are 22."""
    with Postgres(max_connections=40, superuser_reserved_connections=3) as postgres:
        yield postgres


@pytest.fixture
def tight(small):
    yield small
    small.end_sessions()


def used(server):
    return server.count()


def test_usage_is_brought_to_until_and_not_below(tight):
    sessions = idle(tight, 32, "worker")  # 34 with ours and the harness'
    with Daemon(config(tight, {"squeeze": rule("100ms", **SQUEEZE)}, target=QUICK)) as daemon:
        daemon.wait("outcome", outcome="gone", n=12)
        time.sleep(1)
        assert used(tight) == 22, daemon.tell()
        assert [one.alive() for one in sessions] == [False] * 12 + [True] * 20, "longest idle first"
        decision = daemon.find("decision")[0]
        assert decision["reason"] == "pressure" and decision["usable"] == 37
        # Why it was ended, not what became of the slots by that.
        assert {(one["used"], one["usable"]) for one in daemon.find("outcome")} == {(decision["used"], 37)}
        assert "usable slots" in decision["message"]
        # Under `usage` again, it leaves alone what comes back, up to there.
        sessions += idle(tight, 9, "worker")
        time.sleep(1)
        assert used(tight) == 31 and len(daemon.find("decision")) == 12, daemon.tell()
        sessions += idle(tight, 1, "worker")
        daemon.wait("decision", n=13)
        process.wait_until(lambda: used(tight) == 22, 10, daemon.tell)
        time.sleep(0.7)
        assert used(tight) == 22


def test_until_is_kept_when_it_takes_several_polls(tight):
    idle(tight, 32, "worker")
    limits = {"per_poll": 5, "per_minute": 1000}
    with Daemon(config(tight, {"squeeze": rule("100ms", **SQUEEZE)}, target=QUICK, limits=limits)) as daemon:
        daemon.wait("outcome", outcome="gone", n=12)
        time.sleep(1)
        assert used(tight) == 22 and len(daemon.find("decision")) == 12, daemon.tell()


def test_sessions_at_work_are_left_alone_under_pressure(tight):
    busy = [Busy(tight, "SELECT pg_sleep(600)", "worker") for _ in range(25)]
    sessions = idle(tight, 7, "worker")
    with Daemon(config(tight, {"squeeze": rule("100ms", **SQUEEZE)}, target=QUICK)) as daemon:
        daemon.wait("outcome", outcome="gone", n=7)
        time.sleep(0.7)
        assert all(one.alive() for one in busy) and not any(one.alive() for one in sessions)


def test_tiers_bite_in_the_order_of_the_file(tight):
    """The first tier's sessions are the younger ones: order, not age, says who goes."""
    second, first = idle(tight, 16, "worker"), idle(tight, 16, "ingest")
    time.sleep(0.3)  # all of them come due
    rules = {
        "first": rule("100ms", when=SQUEEZE["when"], match={"user": "ingest"}),
        "second": rule("100ms", when=SQUEEZE["when"], match={"user": "worker"}),
    }
    with Daemon(config(tight, rules, target=QUICK)) as daemon:
        daemon.wait("outcome", outcome="gone", n=12)
        time.sleep(0.7)
        assert {one["rule"] for one in daemon.find("decision")} == {"first"}
        assert sum(one.alive() for one in first) == 4 and all(one.alive() for one in second)


@pytest.mark.parametrize("pressure_at, n_ended", [("60%", 12), ("100%", 3)])
def test_P5_pressure_has_a_budget_of_its_own(tight, pressure_at, n_ended):
    idle(tight, 32, "worker")
    limits = {"per_poll": 100, "per_minute": 3, "pressure_per_minute": 100}
    target = {**QUICK, "pressure_at": pressure_at, "pressure_poll_interval": "300ms"}
    with Daemon(config(tight, {"squeeze": rule("100ms", **SQUEEZE)}, target=target, limits=limits)) as daemon:
        daemon.wait("outcome", outcome="gone", n=n_ended)
        time.sleep(1)
        assert len(daemon.find("decision")) == n_ended, daemon.tell()


def test_P8_observed_tier_tells_what_it_would_end(tight):
    idle(tight, 32, "worker")
    with Daemon(config(tight, {"squeeze": rule("100ms", enforce=False, **SQUEEZE)}, target=QUICK)) as daemon:
        daemon.wait("decision", observe=True, n=12)
        time.sleep(0.7)
        assert len(daemon.find("decision")) == 12 and used(tight) == 34


def test_polls_faster_when_the_slots_fill_fast(tight):
    """Below pressure_at, which two free slots keep from being reached. On a slow machine they fill slower: the fewer
    are left, the less is fast."""
    target = {"poll_interval": "2s", "pressure_poll_interval": "200ms", "pressure_at": "100%"}
    with Daemon(config(tight, target=target)) as daemon:
        daemon.wait_up()
        pid = tight.own_pid()
        polls, latest = 0, None
        started = time.monotonic()
        while used(tight) < 35:
            idle(tight, 1)
            for _ in range(5):
                time.sleep(0.05)
                at = tight.value("SELECT query_start FROM pg_stat_activity WHERE pid = %s", pid)
                polls, latest = polls + (at != latest), at
            if polls > (time.monotonic() - started) / 2 + 4:
                return
        pytest.fail(f"{polls} polls in {time.monotonic() - started:.1f} s")


# Who holds up whom


@pytest.fixture
def rows(server):
    server.sql("DROP TABLE IF EXISTS rows; CREATE TABLE rows AS SELECT i, 0 AS n FROM generate_series(1, 3) AS i")
    server.sql("GRANT ALL ON rows TO PUBLIC")
    yield server
    server.end_sessions()
    server.sql("DROP TABLE rows")


UPDATE = "UPDATE rows SET n = n + 1 WHERE i = {}"


def hold(server, row, user="worker"):
    session = Session(server, user)
    session.run("BEGIN")
    session.run(UPDATE.format(row))
    return session


def wait_for(server, row, n):
    waiters = [Busy(server, UPDATE.format(row), "ingest") for _ in range(n)]
    pids = [one.pid for one in waiters]
    process.wait_until(
        lambda: server.count("pid = ANY(%s) AND wait_event_type = 'Lock'", pids) == n, 10, f"{n} waiters"
    )
    return waiters


def test_who_holds_up_others_goes_and_they_go_on(rows):
    server = rows
    blocker, harmless = hold(server, 1), hold(server, 2)
    waiters = wait_for(server, 1, 3)
    rules = {"blocker": rule("500ms", "idle in transaction", when={"blocks": 1}, match={"user": "worker"})}
    with Daemon(config(server, rules, target=QUICK)) as daemon:
        decision = daemon.wait("decision", pid=blocker.pid)
        # Row locks queue: the first waiter waits for the holder, the others for that one or for both.
        blocked = {one.pid for one in waiters}
        assert 1 <= decision["n_blocked"] <= 3 and "blocks" in decision["message"]
        named = [
            int(word) for word in decision["blocked"].replace(",", " ").split() if word.isdigit() and int(word) > 9
        ]
        assert named and set(named) <= blocked, decision
        daemon.outcome(blocker, "gone")
        assert [one.result() for one in waiters] == [None] * 3
        time.sleep(0.7)
        assert harmless.alive() and len(daemon.find("decision")) == 1, daemon.tell()


def test_blocks_counts_and_its_pids_are_told(rows):
    """Table locks: every waiter waits for the holder itself."""
    server = rows
    blocker, small_one = hold(server, 1), hold(server, 2)
    lone = wait_for(server, 2, 1)
    waiters = [
        Busy(
            server,
            "CREATE TRIGGER t BEFORE INSERT ON rows EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "batch",
        )
    ]
    waiters += [Busy(server, "TRUNCATE rows", "batch"), Busy(server, "TRUNCATE rows", "batch")]
    pids = [one.pid for one in waiters]
    process.wait_until(lambda: server.count("pid = ANY(%s) AND wait_event_type = 'Lock'", pids) == 3, 10)
    n = server.value("SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))", blocker.pid)
    assert n >= 3
    rules = {
        "blocker": rule("300ms", "idle in transaction", when={"blocks": n + 2}, match={"user": "worker"}),
        "log": rule("300ms", "idle in transaction", when={"blocks": n}, action="log", match={"user": "worker"}),
    }
    with Daemon(config(server, rules, target=QUICK)) as daemon:
        told = daemon.wait("decision", rule="log", pid=blocker.pid)
        assert told["n_blocked"] == n
        assert told["blocked"].endswith(f" and {n - 2} more")
        time.sleep(0.7)
        assert blocker.alive() and small_one.alive(), "nobody holds up so many"
        assert not daemon.find("decision", rule="blocker")
    for one in (*waiters, *lone):
        one.close()


def test_blocks_is_over_when_nobody_waits_any_more(rows):
    server = rows
    blocker = hold(server, 1)
    rules = {"blocker": rule("300ms", "idle in transaction", when={"blocks": 1}, match={"user": "worker"})}
    with Daemon(config(server, rules, target=QUICK)) as daemon:
        daemon.wait_up()
        time.sleep(1.2)
        assert blocker.alive() and not daemon.find("decision")
        # Not wait_for(): the blocker may be gone before anybody sees the waiter wait.
        waiter = Busy(server, UPDATE.format(1), "ingest")
        assert daemon.outcome(blocker, "gone")["rule"] == "blocker"
        assert waiter.result() is None
