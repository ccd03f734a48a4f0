# SPDX-License-Identifier: PostgreSQL
"""Quotas: a group is brought back to what it may hold, and nobody in it loses a query."""

import threading
import time

import pytest
import sqlalchemy
from sqlalchemy import text

from pgvtest import process
from pgvtest.clients import Busy, Session, idle
from pgvtest.daemon import Daemon, config

WORKERS = {"match": {"user": "worker"}}
APPS = {"worker": {"match": {"user": "worker"}}}
QUICK = {"poll_interval": "300ms"}


def quota(maximum, **more):
    """What can be evicted may be so at once."""
    return {"max": maximum, "min_idle": "0s", **more}


def content_of(server, target=None, **quotas):
    """Quotas' names with _ for -."""
    named = {name.replace("_", "-"): one for name, one in quotas.items()}
    return config(server, quotas=named, apps=APPS, target={**QUICK, **(target or {})})


def settle(daemon, seconds=1.0):
    """Some more polls."""
    time.sleep(seconds)
    return daemon


def alive(sessions):
    return [one for one in sessions if one.alive()]


class Pool:
    """A worker's SQLAlchemy pool with `size` open connections, that is used from its warm end."""

    def __init__(self, server, size):
        url = f"postgresql+psycopg2://worker@127.0.0.1:{server.port}/postgres"
        self.engine = sqlalchemy.create_engine(url, pool_size=size, max_overflow=0, pool_use_lifo=True)
        self.errors = []
        self.n_done = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads = []
        connections = [self.engine.connect() for _ in range(size)]
        # In the order in which they are given back: the first is idle for longest.
        self.pids = []
        for connection in connections:
            self.pids.append(connection.execute(text("SELECT pg_backend_pid()")).scalar())
            connection.close()
            time.sleep(0.01)

    def use(self, seconds, times=None):
        """A thread that runs queries of that length, one after the other; `times`: so many."""
        thread = threading.Thread(target=self._work, args=(seconds, times), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self, seconds, times):
        while not self._stopped.is_set() and times != 0:
            try:
                with self.engine.connect() as connection:
                    connection.execute(text(f"SELECT pg_sleep({seconds})"))
            except sqlalchemy.exc.DBAPIError as error:
                self.errors.append(error)
                return
            with self._lock:
                self.n_done += 1
            times = times and times - 1

    def stop(self):
        self._stopped.set()
        for thread in self._threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in self._threads)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.engine.dispose()


def test_sqlalchemy_pool_comes_back_to_its_quota_while_queries_run(server):
    """30 connections, 10 allowed, 8 of them in use: every query finishes, those idle for longest go first."""
    with Pool(server, 30) as pool:
        for _ in range(2):
            pool.use(4, times=1)
        for _ in range(6):
            pool.use(0.2)
        process.wait_until(lambda: server.count("usename = 'worker' AND state = 'active'") >= 6, 10)
        with Daemon(content_of(server, worker=quota(10, **WORKERS))) as daemon:
            daemon.wait("outcome", outcome="gone", n=20)
            ended = [one["pid"] for one in daemon.find("decision")]
            assert ended == pool.pids[:20], "those idle for longest, and in that order"
            first = daemon.find("decision")[0]
            assert first["rule"] == "worker" and first["held"] == 30 and first["allowed"] == 10
            done = pool.n_done
            process.wait_until(lambda: pool.n_done > done + 20, 20, "the pool goes on")
            pool.stop()
            assert server.count("usename = 'worker'") == 10
            assert len(daemon.find("decision")) == 20, daemon.tell()
        assert pool.errors == []


def test_who_is_busy_stays_and_a_quota_that_cannot_be_met_says_so_once(server):
    gate = Session(server, "batch", query="SELECT pg_advisory_lock(1)")
    busy = [Busy(server, "SELECT pg_advisory_xact_lock_shared(1)", "worker") for _ in range(6)]
    sessions = idle(server, 4, "worker")
    with Daemon(content_of(server, worker=quota(3, **WORKERS))) as daemon:
        for session in sessions:
            daemon.outcome(session, "gone")
        held = daemon.wait("held_back", rule="worker", reason="protected")
        assert (held["allowed"], held["count"], held["level"]) == (3, 3, "warning")
        assert "cannot be met" in held["message"]
        settle(daemon)
        assert len(daemon.find("held_back", rule="worker", reason="protected")) == 1, daemon.tell()
        gate.run("SELECT pg_advisory_unlock(1)")
        # In flight is in flight.
        assert [one.result() for one in busy] == [None] * 6
        # Now they are idle, and may go.
        process.wait_until(lambda: server.count("usename = 'worker'") == 3, 10)
        settle(daemon, 0.7)
        assert server.count("usename = 'worker'") == 3


def test_protected_sessions_count_and_are_never_victims(server):
    protected = idle(server, 3, "worker", application_name="pg_dump")
    sessions = idle(server, 4, "worker")
    with Daemon(content_of(server, worker=quota(4, **WORKERS))) as daemon:
        daemon.wait("outcome", outcome="gone", n=3)
        settle(daemon)
        assert len(alive(protected)) == 3 and len(alive(sessions)) == 1, daemon.tell()
    with Daemon(content_of(server, worker=quota(1, **WORKERS))) as daemon:
        held = daemon.wait("held_back", rule="worker", reason="protected")
        assert (held["allowed"], held["count"]) == (1, 2), "the fourth one goes"
        settle(daemon)
        assert len(alive(protected)) == 3 and not alive(sessions)


def test_per_client_addr(server):
    local = idle(server, 4, "worker")
    remote = idle(server, 6, "worker", host="127.0.0.1")
    others = idle(server, 1, "ingest", host="127.0.0.1")
    with Daemon(content_of(server, per_host=quota(3, per="client_addr", **WORKERS))) as daemon:
        daemon.wait("outcome", outcome="gone", n=4)
        settle(daemon)
        assert [one.alive() for one in local] == [False] + [True] * 3
        assert [one.alive() for one in remote] == [False] * 3 + [True] * 3
        assert others[0].alive()
        told = {one["group"]: one["held"] for one in daemon.find("decision")}
        assert told == {"local": 4, "127.0.0.1": 6}


@pytest.mark.parametrize("per", ["application_name", ["user", "application_name"]])
def test_per_application_name(server, per):
    groups = {
        ("worker", "a"): (5, 2),
        ("worker", "b"): (3, 2),
        ("worker", "c"): (2, 2),
        ("ingest", "a"): (2, 2 if isinstance(per, list) else 0),
    }
    # ingest's came first: where the user makes no group, these are the ones of a that are idle for longest.
    sessions = {
        (user, name): idle(server, n, user, application_name=name)
        for (user, name), (n, _) in reversed(list(groups.items()))
    }
    with Daemon(content_of(server, per_name=quota(2, per=per, match={"user": ["worker", "ingest"]}))) as daemon:
        n = sum(n - stay for n, stay in groups.values())
        daemon.wait("outcome", outcome="gone", n=n)
        settle(daemon)
        assert {key: len(alive(some)) for key, some in sessions.items()} == {
            key: stay for key, (_, stay) in groups.items()
        }, daemon.tell()


def test_percent_follows_max_connections_over_a_restart(fresh_server):
    server = fresh_server
    server.settings["max_connections"] = 30  # 27 usable: 50 % are 13
    server.restart()
    idle(server, 16, "worker")
    with Daemon(content_of(server, worker=quota("50%", **WORKERS))) as daemon:
        assert daemon.wait("outcome", outcome="gone", n=3)["allowed"] == 13
        settle(daemon, 0.7)
        assert server.count("usename = 'worker'") == 13
        server.settings["max_connections"] = 50  # 47 usable: 23
        server.restart()
        daemon.wait_up(n=2, timeout=40)
        idle(server, 25, "worker")
        assert daemon.wait("outcome", outcome="gone", n=5, timeout=20)["allowed"] == 23
        settle(daemon, 0.7)
        assert server.count("usename = 'worker'") == 23


def test_log_tells_of_the_group_once_and_ends_nobody(server):
    sessions = idle(server, 5, "worker")
    with Daemon(content_of(server, worker=quota(3, action="log", **WORKERS))) as daemon:
        told = daemon.wait("decision", rule="worker")
        assert told["action"] == "log" and (told["held"], told["allowed"]) == (5, 3) and "pid" not in told
        settle(daemon)
        assert len(alive(sessions)) == 5 and len(daemon.find("decision")) == 1 and not daemon.find("outcome")


def test_P8_observed_quota_names_whom_it_would_evict(server):
    sessions = idle(server, 5, "worker")
    with Daemon(content_of(server, worker=quota(3, enforce=False, **WORKERS))) as daemon:
        daemon.wait("decision", observe=True, n=2)
        settle(daemon)
        assert [one["pid"] for one in daemon.find("decision")] == [one.pid for one in sessions[:2]]
        assert len(alive(sessions)) == 5 and not daemon.find("outcome")


@pytest.mark.parametrize(
    "more, ended",
    [
        ({"victims": "longest"}, "cde"),  # of the idle ones, c has been so for longest
        ({"victims": "oldest"}, "acd"),
        ({"victims": "newest"}, "edc"),
        ({"evict": ["idle in transaction", "idle"]}, "bcd"),
        ({"evict": ["idle", "idle in transaction"], "max": 1}, "cdea"),
        ({"evict": "idle in transaction"}, "b"),
        ({"min_idle": "1h"}, ""),
    ],
)
def test_whom(server, more, ended):
    """In the order of their connections: a and c to e are idle, and a since last; b is in a transaction."""
    sessions = {name: Session(server, "worker", query="SELECT 1") for name in "abcde"}
    sessions["b"].begin()
    sessions["a"].run("SELECT 1")
    with Daemon(content_of(server, worker={**quota(2, **WORKERS), **more})) as daemon:
        if ended:
            daemon.wait("outcome", outcome="gone", n=len(ended))
        else:
            daemon.wait_up()
        settle(daemon, 0.8)
        names = {session.pid: name for name, session in sessions.items()}
        assert "".join(names[one["pid"]] for one in daemon.find("decision")) == ended, daemon.tell()
        assert not any(sessions[name].alive() for name in ended)


def test_for_waits(server):
    sessions = idle(server, 3, "worker")
    with Daemon(content_of(server, worker=quota(2, **{"for": "2s"}, **WORKERS))) as daemon:
        started = daemon.wait_up()["said_at"]
        assert daemon.wait("decision")["said_at"] - started > 1.5
        daemon.outcome(sessions[0], "gone")


def test_dying_sessions_count_as_gone(server):
    """A timeout and a quota name the same sessions: what the timeout ends is not ended once more elsewhere."""
    old = idle(server, 2, "worker", application_name="old")
    young = idle(server, 3, "worker")
    time.sleep(0.2)  # the old ones come due
    content = content_of(server, worker=quota(3, **WORKERS))
    content["timeouts"] = {"old": {"state": "idle", "after": "100ms", "match": {"application_name": "old"}}}
    with Daemon(content) as daemon:
        for session in old:
            assert daemon.outcome(session, "gone")["rule"] == "old"
        settle(daemon)
        assert len(alive(young)) == 3, daemon.tell()
