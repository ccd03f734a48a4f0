# SPDX-License-Identifier: PostgreSQL
"""P5: how much of a group may go, and what happens when ending sessions does not help."""

import select
import threading
import time

import psycopg2

from pgvtest import process
from pgvtest.clients import idle
from pgvtest.daemon import Daemon, config, rule

QUICK = {"poll_interval": "300ms"}


def limits(**more):
    return {"per_poll": 1000, "per_minute": 10000, **more}


def test_P5_share(server):
    """30 % of ten are three, however often it looks; a group of three is exempt."""
    workers, ingest = idle(server, 10, "worker"), idle(server, 3, "ingest")
    rules = {"worker": rule("500ms", match={"user": "worker"}), "ingest": rule("500ms", match={"user": "ingest"})}
    with Daemon(config(server, rules, limits=limits(share="30%"), target=QUICK)) as daemon:
        daemon.wait("outcome", outcome="gone", rule="worker", n=3)
        daemon.wait("outcome", outcome="gone", rule="ingest", n=3)
        daemon.wait("held_back", rule="worker", reason="share")
        time.sleep(2)
        assert sum(one.alive() for one in workers) == 7 and not any(one.alive() for one in ingest), daemon.tell()


def test_P5_share_and_quota(server):
    """A quota is bound by it as well."""
    workers = idle(server, 10, "worker")
    quotas = {"worker": {"max": 2, "min_idle": "0s", "match": {"user": "worker"}}}
    with Daemon(config(server, quotas=quotas, limits=limits(share="40%"), target=QUICK)) as daemon:
        daemon.wait("outcome", outcome="gone", n=4)
        daemon.wait("held_back", rule="worker", reason="share")
        time.sleep(1)
        assert sum(one.alive() for one in workers) == 6, daemon.tell()


class Stubborn:
    """A pool of n connections that comes back at once when one of them is ended."""

    def __init__(self, server, n, user="worker"):
        self.server = server
        self.user = user
        self.n_opened = 0
        self._stopped = threading.Event()
        self._connections = [self._open() for _ in range(n)]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _open(self):
        connection = self.server.connect(self.user, application_name="stubborn")
        connection.cursor().execute("SELECT 1")
        self.n_opened += 1
        return connection

    def _run(self):
        while not self._stopped.is_set():
            broken, _, _ = select.select(self._connections, [], [], 0.05)
            for connection in broken:
                connection.close()
                self._connections.remove(connection)
                try:
                    self._connections.append(self._open())
                except psycopg2.OperationalError:
                    return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join(10)
        for connection in self._connections:
            connection.close()


def decided_between(daemon, begin, end):
    """How many sessions rule `idle` has decided to end after one time and before another."""
    return sum(begin < one["said_at"] < end for one in daemon.find("decision", rule="idle"))


def test_breaker_stops_a_rule_that_does_not_help(server):
    rules = {"idle": rule("700ms", match={"user": "worker"}), "other": rule("700ms", match={"user": "ingest"})}
    bounds = limits(breaker={"rounds": 1, "pause": "3s"})
    with Stubborn(server, 4) as pool, Daemon(config(server, rules, limits=bounds, target=QUICK)) as daemon:
        tripped = daemon.wait("breaker", reason="tripped", timeout=25)
        assert tripped["rule"] == "idle" and tripped["group"] == '"stubborn"'
        assert "does not help" in tripped["message"] and "pool" in tripped["hint"]
        alarm = daemon.wait("alarm", alarm="thrashing")
        assert (alarm["reason"], alarm["severity"], alarm["group"]) == ("raised", "warning", 'idle, "stubborn"')

        # It pauses for this rule and group, and for nobody else.
        victims = idle(server, 2, "ingest")
        for victim in victims:
            assert daemon.outcome(victim, "gone")["rule"] == "other"
        daemon.wait("held_back", rule="idle", reason="breaker")
        resumed = daemon.wait("breaker", reason="resumed")
        assert 2.9 < resumed["said_at"] - tripped["said_at"] < 6
        # What was under way has settled.
        assert not decided_between(daemon, tripped["said_at"] + 0.5, resumed["said_at"])
        ended = decided_between(daemon, 0, resumed["said_at"])
        daemon.wait("alarm", alarm="thrashing", reason="cleared")

        # It tries again, and the next pause is longer.
        daemon.wait("decision", rule="idle", n=ended + 1)
        again = daemon.wait("breaker", reason="tripped", n=2, timeout=25)
        assert "3s" in tripped["message"] and "6s" in again["message"]
        time.sleep(2)
        assert not decided_between(daemon, again["said_at"] + 0.5, again["said_at"] + 5.9), "nobody is ended meanwhile"
        # Nor without a word: who came back had been ended on record.
        process.wait_until(
            lambda: pool.n_opened == 4 + len(daemon.find("outcome", rule="idle", outcome="gone")), 2, daemon.tell
        )


def test_breaker_leaves_a_rule_alone_that_helps(server):
    """Victims that stay away: no round counts."""
    rules = {"idle": rule("300ms", match={"user": "worker"})}
    bounds = limits(breaker={"rounds": 1, "pause": "3s"})
    victims = idle(server, 5, "worker")  # all before the first is ended: who comes later would replace it
    with Daemon(config(server, rules, limits=bounds, target=QUICK)) as daemon:
        for victim in victims:
            daemon.outcome(victim, "gone")
        time.sleep(6)
        for victim in idle(server, 1, "worker"):
            daemon.outcome(victim, "gone")
        assert not daemon.find("breaker") and not daemon.find("alarm")
        process.wait_until(lambda: server.count("usename = 'worker'") == 0, 5)
