# SPDX-License-Identifier: PostgreSQL
"""Through a real PgBouncer: it says so, and ends nothing."""

import shutil
import signal
import time

import psycopg2
import pytest

from pgvtest import process, server as servers
from pgvtest.clients import Session
from pgvtest.daemon import Daemon, config, rule

PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")
pytestmark = pytest.mark.skipif(not PGBOUNCER, reason="no pgbouncer here")


@pytest.fixture(params=["transaction", "session"])
def pooler(server, request):
    """Port of a PgBouncer in front of `server`."""
    directory = process.open_directory("pgvtest-bouncer-")
    port = servers.free_port()
    with open(f"{directory}/ini", "w", encoding="ascii") as file:
        file.write(
            f"""[databases]
postgres = host=127.0.0.1 port={server.port} dbname=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {directory}/users
pool_mode = {request.param}
ignore_startup_parameters = extra_float_digits,options
"""
        )
    with open(f"{directory}/users", "w", encoding="ascii") as file:
        file.write('"pgvigil" "pgvigil"\n"worker" "worker"\n"app" "app"\n')
    with open(f"{directory}/log", "wb") as log:
        child = process.spawn(
            [PGBOUNCER, f"{directory}/ini"], signal.SIGTERM, unprivileged=True, stdout=log, stderr=log, cwd="/"
        )
    try:

        def answers():
            assert child.poll() is None, open(f"{directory}/log", encoding="utf-8").read()
            try:
                psycopg2.connect(server.conninfo("app", port=port)).close()
                return True
            except psycopg2.OperationalError:
                return False

        process.wait_until(answers, 10, "PgBouncer")
        yield port
    finally:
        process.stop_process(child, signal.SIGTERM)
        shutil.rmtree(directory, ignore_errors=True)


def test_pooled_connection_is_told_and_observes_only(server, pooler):
    session = Session(server, "worker", query="SELECT 1")
    content = config(
        server, {"idle": rule("500ms", match={"user": "worker"})}, target={"conninfo": server.conninfo(port=pooler)}
    )
    with Daemon(content) as daemon:
        finding = daemon.wait("self_check", reason="pooled_connection")
        assert finding["level"] in ("warning", "error")
        daemon.wait_up()
        event = daemon.wait("decision", pid=session.pid)
        assert event["observe"] is True
        time.sleep(1.5)
        assert session.alive()
        assert not daemon.find("outcome")


def test_nothing_of_ours_stays_on_the_pooled_connection(server, pooler):
    """What a transaction pool hands to the next client must be as it was."""
    with Daemon(config(server, target={"conninfo": server.conninfo(port=pooler), "poll_interval": "200ms"})) as daemon:
        daemon.wait_up()
        time.sleep(0.6)
    connection = psycopg2.connect(server.conninfo("pgvigil", port=pooler))
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE NOT from_sql OR name LIKE '%%pgvigil%%'")
    assert cursor.fetchone()[0] == 0
    cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
    assert cursor.fetchone()[0] == 0
    for setting in ("search_path", "statement_timeout", "jit", "work_mem", "lock_timeout"):
        cursor.execute("SELECT setting = reset_val FROM pg_settings WHERE name = %s", (setting,))
        assert cursor.fetchone()[0], setting
    connection.close()


def test_idle_server_connections_of_a_pool_are_seen_by_name(server, pooler):
    """An `apps` entry recognises them; the rule ends only what it names."""
    connection = psycopg2.connect(server.conninfo("worker", port=pooler, application_name="through-the-pool"))
    connection.autocommit = True
    connection.cursor().execute("SELECT 1")
    stranger = Session(server, "app", query="SELECT 1")
    apps = {"pool": {"match": {"application_name": "through-*"}}}
    with Daemon(config(server, {"idle": rule("1s", match={"app": "pool"})}, apps=apps)) as daemon:
        daemon.wait("outcome", outcome="gone", application_name="through-the-pool")
        assert stranger.alive()
    connection.close()
