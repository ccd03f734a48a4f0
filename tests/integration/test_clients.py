# SPDX-License-Identifier: PostgreSQL
"""Real clients as the watched applications: how they look, and what they see when a session is ended."""

import asyncio
import os
import warnings

import asyncpg
import psycopg
import psycopg2
import pytest
import sqlalchemy
from sqlalchemy import exc, text

from pgvtest import process
from pgvtest.daemon import Daemon, config, rule

WORKERS = {
    "idle": rule("1s", match={"user": "worker"}),
    "leak": rule("1s", "idle in transaction", match={"user": "worker"}),
}


def url(server):
    return f"postgresql+psycopg2://worker@127.0.0.1:{server.port}/postgres"


def engine_with_idle_connection(server, **more):
    engine = sqlalchemy.create_engine(url(server), pool_size=2, max_overflow=0, **more)
    with engine.connect() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
    return engine, pid


def test_sqlalchemy_without_pre_ping_sees_an_invalidated_connection(server):
    engine, pid = engine_with_idle_connection(server)
    with Daemon(config(server, WORKERS)) as daemon:
        daemon.wait("outcome", pid=pid, outcome="gone")
        with pytest.raises(exc.OperationalError) as caught:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        assert caught.value.connection_invalidated
    with engine.connect() as connection:  # the pool has healed
        assert connection.execute(text("SELECT 1")).scalar() == 1
    engine.dispose()


def test_sqlalchemy_with_pre_ping_sees_nothing(server):
    engine, pid = engine_with_idle_connection(server, pool_pre_ping=True)
    with Daemon(config(server, WORKERS)) as daemon:
        daemon.wait("outcome", pid=pid, outcome="gone")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar() != pid
    engine.dispose()


def test_sqlalchemy_leaked_checkout_is_idle_in_transaction(server):
    """Checked out after a statement and forgotten: rule `leak`, not rule `idle`."""
    engine = sqlalchemy.create_engine(url(server), pool_size=2, max_overflow=0)
    leaked = engine.connect()
    pid = leaked.execute(text("SELECT pg_backend_pid()")).scalar()
    with Daemon(config(server, WORKERS)) as daemon:
        outcome = daemon.wait("outcome", pid=pid, outcome="gone")
        assert outcome["rule"] == "leak" and outcome["state"] == "idle in transaction"
        with pytest.raises(exc.DBAPIError) as caught:
            leaked.execute(text("SELECT 1"))
        assert caught.value.connection_invalidated
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        leaked.close()
    engine.dispose()


def test_sqlalchemy_pool_in_use_is_left_alone(server):
    engine, pid = engine_with_idle_connection(server)
    # More than a busy machine keeps us from the next use, less than all uses take.
    rules = {"idle": rule("5s", match={"user": "worker"})}
    with Daemon(config(server, rules, target={"poll_interval": "200ms"})) as daemon:
        daemon.wait_up()
        for _ in range(30):
            with engine.connect() as connection:
                assert connection.execute(text("SELECT pg_backend_pid(), pg_sleep(0.2)")).one()[0] == pid
        assert not daemon.find("decision")
    engine.dispose()


def test_psycopg2_sees_a_broken_connection(server):
    """The FATAL came while nobody asked: libpq does not tell it with the next query."""
    connection = psycopg2.connect(server.conninfo("worker"))
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SELECT 1")
    with Daemon(config(server, WORKERS)) as daemon:
        daemon.wait("outcome", pid=connection.info.backend_pid, outcome="gone")
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("SELECT 1")
        assert connection.closed


def test_psycopg2_running_query_sees_a_broken_connection(server):
    """Of the two errors that libpq has (57P01, then the break) psycopg2 shows the last."""
    connection = psycopg2.connect(server.conninfo("worker"))
    connection.autocommit = True
    pid = connection.info.backend_pid
    with Daemon(config(server, {"long": rule("1s", "active", match={"user": "worker"})})) as daemon:
        daemon.wait_up()
        with pytest.raises(psycopg2.OperationalError) as caught:
            connection.cursor().execute("SELECT pg_sleep(60)")
        assert caught.value.pgcode in ("57P01", None)
        assert connection.closed
        daemon.wait("outcome", pid=pid, outcome="gone")


def test_psycopg_running_query_is_told_why(server):
    connection = psycopg.connect(server.conninfo("worker"), autocommit=True)
    pid = connection.info.backend_pid
    with Daemon(config(server, {"long": rule("1s", "active", match={"user": "worker"})})) as daemon:
        daemon.wait_up()
        with pytest.raises(psycopg.OperationalError) as caught:
            connection.execute("SELECT pg_sleep(60)")
        assert "terminating connection due to administrator command" in str(caught.value)
        daemon.wait("outcome", pid=pid, outcome="gone")


def test_psycopg_idle_session_is_told_why(server):
    connection = psycopg.connect(server.conninfo("worker"), autocommit=True)
    connection.execute("SELECT 1")
    with Daemon(config(server, WORKERS)) as daemon:
        daemon.wait("outcome", pid=connection.info.backend_pid, outcome="gone")
        with pytest.raises(psycopg.OperationalError) as caught:
            connection.execute("SELECT 1")
        assert "terminating connection due to administrator command" in str(caught.value)
        assert connection.closed or connection.broken


def test_psycopg_cancelled_query_leaves_the_session_usable(server):
    connection = psycopg.connect(server.conninfo("worker"), autocommit=True)
    rules = {"long": rule("1s", "active", action="cancel", match={"user": "worker"})}
    with Daemon(config(server, rules)) as daemon:
        daemon.wait_up()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(600)")
        assert connection.execute("SELECT 1").fetchone() == (1,)
        daemon.wait("outcome", pid=connection.info.backend_pid, outcome="cancelled")
    connection.close()


def test_asyncpg_pool_heals_and_its_idle_connections_go(server):
    async def burst():
        pool = await asyncpg.create_pool(
            host="127.0.0.1", port=server.port, user="worker", database="postgres", min_size=2, max_size=8
        )
        await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.2)") for _ in range(8)))
        assert server.count("usename = 'worker'") == 8, "a burst fills the pool, and it stays so"
        loop = asyncio.get_running_loop()
        with Daemon(config(server, WORKERS)) as daemon:
            await loop.run_in_executor(None, lambda: daemon.wait("outcome", outcome="gone", n=8))
            for outcome in daemon.find("outcome"):
                process.wait_until(lambda pid=outcome["pid"]: not os.path.exists(f"/proc/{pid}"), 10)
            await asyncio.sleep(0.2)  # the loop sees the ends of its sockets
            assert await pool.fetchval("SELECT 1") == 1
        pool.terminate()

    asyncio.run(burst())


def test_asyncpg_connection_sees_the_end(server):
    """Without a query. One that comes between the server's last message and the end of the stream gets an
    InternalClientError of asyncpg."""

    async def closed(connection):
        while not connection.is_closed():
            await asyncio.sleep(0.01)

    async def run():
        connection = await asyncpg.connect(host="127.0.0.1", port=server.port, user="worker", database="postgres")
        pid = connection.get_server_pid()
        loop = asyncio.get_running_loop()
        with Daemon(config(server, WORKERS)) as daemon:
            await loop.run_in_executor(None, lambda: daemon.wait("outcome", pid=pid, outcome="gone"))
            await asyncio.wait_for(closed(connection), 10)
            with pytest.raises(asyncpg.InterfaceError, match="connection is closed"):
                await connection.fetchval("SELECT 1")

    asyncio.run(run())


def test_nameless_clients_are_told_apart_by_user(server):
    """Neither SQLAlchemy nor asyncpg sets an application name."""
    engine, pid = engine_with_idle_connection(server)
    assert server.value("SELECT application_name FROM pg_stat_activity WHERE pid = %s", pid) == ""
    apps = {"worker": {"match": {"user": "worker", "application_name": ["", "worker-*"]}}}
    with Daemon(config(server, {"idle": rule("1s", match={"app": "worker"})}, apps=apps)) as daemon:
        assert daemon.wait("outcome", pid=pid, outcome="gone")["app"] == "worker"
    engine.dispose()
    process.wait_until(lambda: server.count("usename = 'worker'") == 0, 5)
