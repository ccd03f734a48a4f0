# SPDX-License-Identifier: PostgreSQL
"""Selectors that the server answers: what was asked last, and by whom with which rights."""

import time

import pytest

from pgvtest.clients import Busy, Session
from pgvtest.daemon import Daemon, config, rule

QUICK = {"poll_interval": "300ms"}


@pytest.mark.parametrize(
    "query, ended",
    [
        ("/report_[0-9]+/", "ab"),
        ("/^select 2/i", "b"),
        ("/^select 2/", ""),
        (r"/\mreport_1\M/", "a"),  # PostgreSQL's own dialect
        (["/report_1/", "/other/"], "ac"),
    ],
)
def test_query(server, query, ended):
    sessions = {
        "a": Session(server, "worker", query="SELECT 1 AS report_1"),
        "b": Session(server, "worker", query="SELECT 2 AS report_23"),
        "c": Session(server, "worker", query="SELECT 3 AS other"),
    }
    decoy = Session(server, "ingest", query="SELECT 1")
    rules = {
        "it": rule("300ms", match={"user": "worker", "query": query}),
        "decoy": rule("300ms", match={"user": "ingest"}),
    }
    with Daemon(config(server, rules, target=QUICK)) as daemon:
        for name in ended:
            daemon.outcome(sessions[name], "gone")
        daemon.outcome(decoy, "gone")
        time.sleep(0.8)
        assert "".join(name for name, one in sessions.items() if not one.alive()) == ended, daemon.tell()


def test_query_that_runs(server):
    victim = Busy(server, "SELECT pg_sleep(600) /* nightly */", "worker")
    spared = Busy(server, "SELECT pg_sleep(600)", "worker")
    rules = {"nightly": rule("500ms", "active", action="cancel", match={"query": "/nightly/"})}
    with Daemon(config(server, rules, target=QUICK)) as daemon:
        daemon.outcome(victim, "cancelled")
        assert victim.result() == "57014" and spared.alive()
        assert not daemon.find("decision", pid=spared.pid)


def test_query_of_the_next_statement(server):
    """It moved on: what the rule asked for is not what it does any more."""
    rules = {
        "it": rule("4s", match={"query": "/report/"}),
        "log": rule("300ms", action="log", match={"query": "/report/"}),
    }
    with Daemon(config(server, rules, target=QUICK)) as daemon:
        daemon.wait_up()
        session = Session(server, "worker", query="SELECT 1 AS report")
        daemon.wait("decision", rule="log", pid=session.pid)
        session.run("SELECT 1 AS harmless")
        time.sleep(5)
        assert session.alive() and not daemon.find("decision", rule="it")


def test_query_protects(server):
    spared = Session(server, "worker", query="SELECT 1 AS precious")
    victim = Session(server, "worker", query="SELECT 1")
    protect = {"min_age": "0s", "match": {"query": "/precious/"}}
    with Daemon(config(server, {"it": rule("300ms")}, protect=protect, target=QUICK)) as daemon:
        daemon.outcome(victim, "gone")
        time.sleep(0.8)
        assert spared.alive()


@pytest.mark.parametrize("superuser, told", [(True, {"batch"}), (False, {"worker"})])
def test_superuser(server, superuser, told):
    for user in ("batch", "worker"):
        Session(server, user, query="SELECT 1", application_name="one")
    rules = {"it": rule("300ms", action="log", match={"superuser": superuser, "application_name": "one"})}
    protect = {"min_age": "0s", "superusers": False}
    with Daemon(config(server, rules, protect=protect, target=QUICK)) as daemon:
        daemon.wait("decision", rule="it")
        time.sleep(0.8)
        assert {one["user"] for one in daemon.find("decision")} == told
