# SPDX-License-Identifier: PostgreSQL
"""The connection: one, opened at start, held, named, and set up so that nothing of the server's runs as us."""

import signal
import time

import pytest

from pgvtest import process
from pgvtest.clients import Session, idle
from pgvtest.daemon import Daemon, config, rule

EVIL = """
DROP SCHEMA IF EXISTS evil CASCADE;
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE TABLE evil.caught (what text);
GRANT INSERT ON evil.caught TO PUBLIC;
"""
# Look-alikes of what a watchdog calls, and of the operators it compares with.
LOOK_ALIKES = [
    "evil.pg_backend_pid() RETURNS int",
    "evil.pg_terminate_backend(int) RETURNS bool",
    "evil.pg_terminate_backend(int, bigint) RETURNS bool",
    "evil.pg_cancel_backend(int) RETURNS bool",
    "evil.clock_timestamp() RETURNS timestamptz",
    "evil.now() RETURNS timestamptz",
    "evil.current_setting(text) RETURNS text",
    "evil.set_config(text, text, bool) RETURNS text",
    "evil.repeat(text, int) RETURNS text",
    "evil.octet_length(text) RETURNS int",
    "evil.pg_postmaster_start_time() RETURNS timestamptz",
    "evil.pg_is_in_recovery() RETURNS bool",
    "evil.pg_has_role(name, text, text) RETURNS bool",
    "evil.pg_has_role(text, text) RETURNS bool",
    "evil.version() RETURNS text",
    "evil.left(text, int) RETURNS text",
    "evil.host(inet) RETURNS text",
    "evil.coalesce_(text) RETURNS text",
]
OPERATORS = [
    ("=", "int", "int"),
    ("=", "text", "text"),
    ("=", "oid", "oid"),
    ("=", "timestamptz", "timestamptz"),
    ("~*", "text", "text"),
    ("~", "text", "text"),
    ("<>", "text", "text"),
    ("-", "int", "int"),
    ("||", "text", "text"),
]


def test_P7_one_connection_opened_at_start_and_held(server):
    logins = server.n_logins()
    with Daemon(config(server, target={"poll_interval": "100ms"})) as daemon:
        daemon.wait_up(target="db")
        pid = process.wait_until(server.own_pid, 10, "its session")
        started = server.value("SELECT query_start FROM pg_stat_activity WHERE pid = %s", pid)
        process.wait_until(
            lambda: server.value("SELECT query_start FROM pg_stat_activity WHERE pid = %s", pid) > started, 5, "a poll"
        )
        time.sleep(1)
        assert server.own_pid() == pid
        assert server.n_logins() == logins + 1
        assert server.count("usename = 'pgvigil'") == 1
    assert server.own_pid() is None


def test_start_and_stop_are_told(server):
    with Daemon(config(server)) as daemon:
        daemon.wait("start")
        up = daemon.wait_up()
        assert up["target"] == "db" and up["level"] in ("info", "notice")
        for key in ("ts", "message"):
            assert up[key]
        assert daemon.stop() == 0
        daemon.wait("stop")


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it(server, signo):
    with Daemon(config(server)) as daemon:
        daemon.wait_up()
        assert daemon.stop(signo) == 0


def test_signal_ends_it_while_the_server_is_away(server):
    content = config(server, target={"conninfo": server.conninfo(port=1)})
    with Daemon(content) as daemon:
        daemon.wait("target_down")
        started = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - started < 5


def test_starts_without_a_server_and_finds_it_later(fresh_server):
    fresh_server.stop()
    with Daemon(config(fresh_server)) as daemon:
        down = daemon.wait("target_down")
        assert down["target"] == "db"
        fresh_server.start()
        daemon.wait_up(timeout=40)


def test_several_targets(server):
    content = config(server)
    content["targets"]["other"] = dict(content["targets"]["db"])
    with Daemon(content) as daemon:
        daemon.wait_up(target="db")
        daemon.wait_up(target="other")
        assert server.count("usename = 'pgvigil'") == 2


def test_nothing_of_a_hostile_search_path_runs_as_us(fresh_server):
    server = fresh_server
    server.sql(EVIL)
    for function in LOOK_ALIKES:
        name, returns = function.split("(")[0], function.split("RETURNS ")[1]
        server.sql(
            f"CREATE FUNCTION {function} LANGUAGE sql AS "
            f"$$ INSERT INTO evil.caught VALUES ('{name}') RETURNING NULL::{returns} $$"
        )
    for i, (operator, left, right) in enumerate(OPERATORS):
        result = "text" if operator == "||" else "int" if operator == "-" else "bool"
        server.sql(
            f"CREATE FUNCTION evil.op{i}({left}, {right}) RETURNS {result} LANGUAGE sql AS "
            f"$$ INSERT INTO evil.caught VALUES ('operator {operator} {left}') RETURNING NULL::{result} $$"
        )
        server.sql(f"CREATE OPERATOR evil.{operator} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = evil.op{i})")
    server.sql("ALTER ROLE pgvigil SET search_path = evil, pg_catalog")
    victim = Session(server, "worker", query="SELECT 1")
    with Daemon(config(server, {"idle": rule("500ms")})) as daemon:
        daemon.outcome(victim, "gone")
    assert server.sql("SELECT what, count(*) FROM evil.caught GROUP BY 1") == []


def test_settings_of_the_role_do_not_harm_it(server):
    for setting in (
        "idle_session_timeout = '300ms'",
        "default_transaction_read_only = on",
        "default_transaction_isolation = 'serializable'",
        "datestyle = 'SQL, DMY'",
        "intervalstyle = 'iso_8601'",
        "timezone = 'Asia/Kathmandu'",
        "bytea_output = 'escape'",
        "extra_float_digits = -15",
        "standard_conforming_strings = off",
        "idle_in_transaction_session_timeout = '100ms'",
        "lock_timeout = '1ms'",
        "work_mem = '64kB'",
        "jit = on",
        "plan_cache_mode = force_generic_plan",
    ):
        server.sql(f"ALTER ROLE pgvigil SET {setting}")
    logins = server.n_logins()
    victim = Session(server, "worker", query="SELECT 1")
    with Daemon(config(server, {"idle": rule("2s")}, target={"poll_interval": "1500ms"})) as daemon:
        daemon.outcome(victim, "gone")
        assert server.n_logins() == logins + 1


def test_session_is_set_up_as_promised(fresh_server):
    """What it sets cannot be seen from another session; the server's log can."""
    fresh_server.sql("ALTER ROLE pgvigil SET log_statement = 'all'")
    with Daemon(config(fresh_server)) as daemon:
        daemon.wait_up()
    log = fresh_server.log()
    for word in (
        "search_path",
        "statement_timeout",
        "lock_timeout",
        "idle_session_timeout",
        "jit",
        "tcp_keepalives_idle",
        "tcp_keepalives_interval",
        "tcp_keepalives_count",
        "tcp_user_timeout",
    ):
        assert word in log, word
    assert "pg_stat_activity" not in log.split("pgvigil LOG", 1)[1], "the view's joins are not used"


def test_poll_interval_is_kept(server):
    server.sql("ALTER ROLE pgvigil SET log_statement = 'all'")
    with Daemon(config(server, target={"poll_interval": "200ms"})) as daemon:
        daemon.wait_up()
        before, started = server.log().count("LOG:  execute pgvigil_facts"), time.monotonic()
        time.sleep(3)
        polls, took = server.log().count("LOG:  execute pgvigil_facts") - before, time.monotonic() - started
    assert 3 * took <= polls <= 6 * took, f"{polls} statements in {took:.1f} s"


def test_idle_daemon_uses_next_to_no_cpu(server):
    sessions = idle(server, 5)
    with Daemon(config(server, {"idle": rule("1h")}, target={"poll_interval": "1s"})) as daemon:
        daemon.wait_up()
        assert daemon.cpu_over(3) < 0.02
    assert all(session.alive() for session in sessions)
