# SPDX-License-Identifier: PostgreSQL
"""P4: what is never ended, while something beside it, named by the same rule, is."""

import time

import psycopg2.extras
import pytest

from pgvtest import process
from pgvtest.clients import Busy, Session
from pgvtest.daemon import Daemon, config, rule

BUILTIN = [
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "pg_basebackup",
    "pg_upgrade",
    "vacuumdb",
    "reindexdb",
    "pg_repack",
    "pgbackrest-backup",
    "barman-cloud",
    "wal-g-push",
    "Patroni heartbeat",
    "repmgrd",
    "pg_auto_failover monitor",
    "postgres_fdw",
]
MAINTENANCE = [
    "VACUUM t",
    "ANALYZE t",
    "CREATE INDEX ON t (i)",
    "REINDEX TABLE t",
    "ALTER TABLE t ADD COLUMN j int",
    "CLUSTER t USING t_pkey",
    "  /* by cron */ vacuum (verbose) t",
    "-- nightly\nREINDEX TABLE t",
]


def everyone(after="1s", state="any", **more):
    """A rule over every session there is."""
    return {"all": rule(after, state, since="backend_start", **more)}


def survives(server, content, session, decoy):
    """The decoy goes, and for two more polls nobody touches the session."""
    with Daemon(content) as daemon:
        daemon.outcome(decoy, "gone")
        time.sleep(1.2)
        assert session.alive(), daemon.tell()
        assert not daemon.find("decision", pid=session.pid)


@pytest.mark.parametrize("name", BUILTIN)
def test_P4_builtin_names(server, name):
    survives(
        server,
        config(server, everyone()),
        Session(server, "app", query="SELECT 1", application_name=name),
        Session(server),
    )


def test_builtin_names_can_be_switched_off(server):
    session = Session(server, "app", query="SELECT 1", application_name="pg_dump")
    with Daemon(config(server, everyone(), protect={"min_age": "0s", "builtin": False})) as daemon:
        daemon.outcome(session, "gone")


def test_P4_superusers(server):
    survives(server, config(server, everyone()), Session(server, "batch", query="SELECT 1"), Session(server))


def test_P4_listener(server):
    survives(server, config(server, everyone()), Session(server, "app", query='LISTEN "pgrst"'), Session(server))


def test_P4_listener_is_remembered_after_other_statements(server):
    listener, decoy = Session(server, "app", query="  listen news"), Session(server)
    with Daemon(config(server, everyone("3s"), target={"poll_interval": "200ms"})) as daemon:
        daemon.wait_up()
        time.sleep(0.8)
        listener.run("SELECT 1")
        daemon.outcome(decoy, "gone")
        time.sleep(1)
        assert listener.alive()
        listener.run("UNLISTEN *")
        daemon.outcome(listener, "gone")


def test_listener_protection_can_be_switched_off(server):
    listener = Session(server, "app", query="LISTEN news")
    with Daemon(config(server, everyone(), protect={"min_age": "0s", "listeners": False})) as daemon:
        daemon.outcome(listener, "gone")


@pytest.mark.parametrize("statement", MAINTENANCE)
def test_P4_maintenance(server, statement):
    server.sql("DROP TABLE IF EXISTS t")
    server.sql("CREATE TABLE t (i int PRIMARY KEY)")
    server.sql("ALTER TABLE t OWNER TO app")
    holder = Session(server, "postgres")
    holder.run("BEGIN")
    holder.run("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
    session = Busy(server, statement).wait_state("active")
    survives(server, config(server, everyone()), session, Busy(server, "SELECT pg_sleep(600)"))
    holder.close()


def test_P4_maintenance_refresh(server):
    server.sql("DROP MATERIALIZED VIEW IF EXISTS m")
    server.sql("CREATE MATERIALIZED VIEW m AS SELECT 1")
    server.sql("ALTER MATERIALIZED VIEW m OWNER TO app")
    holder = Session(server, "postgres")
    holder.run("BEGIN")
    holder.run("LOCK TABLE pg_catalog.pg_description IN SHARE MODE")
    holder.run("REFRESH MATERIALIZED VIEW m")
    session = Busy(server, "REFRESH MATERIALIZED VIEW m").wait_state("active")
    survives(server, config(server, everyone()), session, Busy(server, "SELECT pg_sleep(600)"))
    holder.close()


def test_maintenance_protection_ends_with_the_command(server):
    session = Session(server, "app", query="ANALYZE")
    with Daemon(config(server, everyone())) as daemon:
        daemon.outcome(session, "gone")


def test_maintenance_protection_can_be_switched_off(server):
    server.sql("DROP TABLE IF EXISTS t")
    server.sql("CREATE TABLE t (i int)")
    server.sql("ALTER TABLE t OWNER TO app")
    holder = Session(server, "postgres")
    holder.run("BEGIN")
    holder.run("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
    session = Busy(server, "VACUUM t").wait_state("active")
    with Daemon(config(server, everyone(), protect={"min_age": "0s", "maintenance": False})) as daemon:
        daemon.outcome(session, "gone")
    holder.close()


def test_P4_waiting_for_synchronous_replication(fresh_server):
    """Ended, it would look like a failed commit that did happen."""
    server = fresh_server
    server.sql("CREATE TABLE t (i int)")
    server.sql("GRANT ALL ON t TO app")
    server.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    server.sql("SELECT pg_reload_conf()")
    process.wait_until(lambda: server.value("SHOW synchronous_standby_names") == "nobody", 5)
    session = Busy(server, "INSERT INTO t VALUES (1)")
    process.wait_until(lambda: server.count("pid = %s AND wait_event = 'SyncRep'", session.pid), 5, "SyncRep")
    survives(server, config(server, everyone()), session, Busy(server, "SELECT pg_sleep(600)"))
    rules = {"cancel": rule("1s", state="active", action="cancel")}
    decoy = Busy(server, "SELECT pg_sleep(600)")
    with Daemon(config(server, rules)) as daemon:
        daemon.outcome(decoy, "cancelled")
        assert server.count("pid = %s AND wait_event = 'SyncRep'", session.pid)


def test_P4_minimum_age(server):
    session = Session(server, "app", query="SELECT 1")
    with Daemon(config(server, {"idle": rule("500ms")}, protect={"min_age": "4s"})) as daemon:
        outcome = daemon.outcome(session, "gone")
        age = server.value("SELECT extract(epoch FROM clock_timestamp() - %s)", session.identity.backend_start)
        assert age >= 4, daemon.tell()
        assert outcome["limit_usec"] == 500_000


def test_P4_own_sessions(server):
    """Our role with our name is another pgvigil; our role with another name is a guest."""
    other = Session(server, "pgvigil", query="SELECT 1", application_name="pgvigil")
    decoy = Session(server, "pgvigil", query="SELECT 1", application_name="psql")
    with Daemon(config(server, everyone())) as daemon:
        daemon.outcome(decoy, "gone")
        time.sleep(1.2)
        assert other.alive()
        own = server.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'pgvigil' AND pid <> %s", other.pid)
        assert len(own) == 1 and not daemon.find("decision", pid=own[0][0])


def test_P4_two_daemons_leave_each_other_alone(server):
    with Daemon(config(server, everyone())) as one, Daemon(config(server, everyone())) as two:
        one.wait_up()
        two.wait_up()
        decoy = Session(server)
        process.wait_until(lambda: not decoy.alive(), 10)
        time.sleep(1)
        assert server.count("usename = 'pgvigil'") == 2
        assert not one.find("target_down") and not two.find("target_down")


def test_P4_walsender_is_no_client(server):
    server.sql("DROP ROLE IF EXISTS replica")
    server.sql("CREATE ROLE replica LOGIN REPLICATION")
    sender = psycopg2.connect(
        server.conninfo("replica"), connection_factory=psycopg2.extras.PhysicalReplicationConnection
    )
    pid = sender.info.backend_pid
    identity = server.identity(pid)
    decoy = Session(server)
    with Daemon(config(server, everyone())) as daemon:
        daemon.outcome(decoy, "gone")
        time.sleep(1.2)
        assert server.is_alive(identity)
        assert not daemon.find("decision", pid=pid)
    sender.close()


def test_P4_background_processes_go_on(server):
    decoy = Session(server)
    others = "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE backend_type <> 'client backend'"
    before = server.value(others)
    with Daemon(config(server, everyone())) as daemon:
        daemon.outcome(decoy, "gone")
        time.sleep(1)
    assert server.value(others) == before


def test_P4_names_of_the_file(server):
    content = config(
        server, everyone(), protect={"min_age": "0s", "match": [{"user": "ingest"}, {"application_name": "migrate-*"}]}
    )
    migration = Session(server, "app", application_name="migrate-7")
    survives(server, content, Session(server, "ingest"), Session(server))
    survives(server, content, migration, Session(server))


def test_held_back_sessions_are_reported(server):
    Session(server, "app", query="SELECT 1", application_name="pg_dump")
    with Daemon(config(server, {"idle": rule("500ms")})) as daemon:
        held = daemon.wait("held_back", reason="protected")
        assert held["count"] >= 1
