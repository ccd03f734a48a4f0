# SPDX-License-Identifier: PostgreSQL
"""What goes wrong around it: right events, no crash, no busy loop, no second connection, recovery by itself."""

import os
import shutil
import socket
import time

import psycopg2
import pytest

from pgvtest import process
from pgvtest.clients import Session, idle
from pgvtest.daemon import Daemon, config, rule
from pgvtest.server import Postgres

QUICK = {"connect_timeout": "1s", "query_timeout": "500ms", "poll_interval": "200ms"}
BUSY = 0.05  # of one CPU: far below a loop that spins, far above what a retry costs


def still_works(server, daemon):
    """The proof of recovery: it ends a session again."""
    victim = Session(server, "worker", query="SELECT 1")
    daemon.outcome(victim, "gone", timeout=30)
    assert server.count("usename = 'pgvigil'") == 1


RULES = {"idle": rule("500ms", match={"user": "worker"})}


def test_P7_server_stopped_and_started(fresh_server):
    server = fresh_server
    with Daemon(config(server, RULES)) as daemon:
        daemon.wait_up()
        server.stop()
        down = daemon.wait("target_down")
        assert down["reason"] in ("shutdown", "unreachable")
        assert daemon.cpu_over(3) < BUSY
        assert len(daemon.find("target_down")) <= 3, "on the edge, not at each try"
        server.start()
        daemon.wait_up(n=2, timeout=40)
        still_works(server, daemon)


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_P7_server_restarted(fresh_server, mode):
    server = fresh_server
    with Daemon(config(server, RULES)) as daemon:
        daemon.wait_up()
        server.restart(mode)
        daemon.wait("target_down")
        daemon.wait_up(n=2, timeout=40)
        still_works(server, daemon)


def test_own_session_ended_by_somebody(server):
    with Daemon(config(server, RULES)) as daemon:
        daemon.wait_up()
        server.sql("SELECT pg_terminate_backend(%s)", server.own_pid())
        down = daemon.wait("target_down")
        assert down["sqlstate"] == "57P01"
        daemon.wait_up(n=2, timeout=10)
        up = daemon.find("target_up")[1]["message"]
        assert ", back after " in up and "failed" not in up, up
        still_works(server, daemon)


def test_own_session_crashes(fresh_server):
    server = fresh_server
    with Daemon(config(server, RULES)) as daemon:
        daemon.wait_up()
        os.kill(server.own_pid(), 9)  # the whole server restarts then
        daemon.wait("target_down")
        daemon.wait_up(n=2, timeout=40)
        process.wait_until(lambda: _answers(server), 10)
        still_works(server, daemon)


def _answers(server):
    try:
        return server.value("SELECT true")
    except Exception:  # noqa: BLE001  # whatever a server in recovery says
        return False


def test_P7_server_frozen(fresh_server):
    """A machine that hangs accepts connections and says nothing."""
    server = fresh_server
    with Daemon(config(server, RULES, target=QUICK)) as daemon:
        daemon.wait_up()
        server.freeze()
        try:
            down = daemon.wait("target_down", timeout=20)
            assert down["reason"] in ("timeout", "poll_failed")
            assert daemon.cpu_over(4) < BUSY
        finally:
            server.thaw()
        daemon.wait_up(n=2, timeout=60)
        process.wait_until(lambda: server.count("usename = 'pgvigil'") == 1, 20, "one connection")
        still_works(server, daemon)


def test_P7_network_stalled(server, line):
    """At most one abandoned session, however long it lasts."""
    with Daemon(config(server, RULES, target={**QUICK, "conninfo": server.conninfo(port=line.port)})) as daemon:
        daemon.wait_up()
        line.stall()
        daemon.wait("target_down", timeout=20)
        for _ in range(8):
            time.sleep(0.5)
            assert server.count("usename = 'pgvigil'") <= 2
        line.resume()
        daemon.wait_up(n=2, timeout=60)
        process.wait_until(lambda: server.count("usename = 'pgvigil'") == 1, 20, "one connection")
        still_works(server, daemon)


def test_network_cut(server, line):
    with Daemon(config(server, RULES, target={"conninfo": server.conninfo(port=line.port)})) as daemon:
        daemon.wait_up()
        line.cut()
        daemon.wait("target_down")
        daemon.wait_up(n=2, timeout=10)
        line.refuse()
        daemon.wait("target_down", n=2)
        assert daemon.cpu_over(2) < BUSY
        line.accept()
        daemon.wait_up(n=3, timeout=40)
        still_works(server, daemon)


def test_a_host_that_accepts_and_says_nothing(server):
    with socket.socket() as silent:
        silent.bind(("127.0.0.2", 0))
        silent.listen(16)
        content = config(
            server, RULES, target={**QUICK, "conninfo": server.conninfo(host="127.0.0.2", port=silent.getsockname()[1])}
        )
        content["targets"]["good"] = {"conninfo": server.conninfo(), "poll_interval": "200ms"}
        with Daemon(content) as daemon:
            daemon.wait_up(target="good", timeout=3)
            down = daemon.wait("target_down", target="db")
            assert down["reason"] == "timeout"
            victim = Session(server, "worker", query="SELECT 1")
            daemon.outcome(victim, "gone", target="good")
            assert daemon.cpu_over(2) < BUSY


def test_second_host_is_tried(server):
    """libpq then uses another socket, perhaps under the same number."""
    conninfo = (
        server.conninfo()
        .replace("host=127.0.0.1", "host=127.0.0.2,127.0.0.1")
        .replace(f"port={server.port}", f"port={server.port},{server.port}")
    )
    with Daemon(config(server, RULES, target={"conninfo": conninfo})) as daemon:
        daemon.wait_up()
        still_works(server, daemon)


def scram(server):
    server.set_hba("host all pgvigil 127.0.0.1/32 scram-sha-256")
    time.sleep(0.3)  # the postmaster reads it


def test_password_changed(fresh_server, tmp_path):
    server = fresh_server
    scram(server)
    secret = tmp_path / "password"
    secret.write_text("pgvigil\n")
    with Daemon(config(server, RULES, target={"password_file": str(secret)})) as daemon:
        daemon.wait_up()
        server.sql("ALTER ROLE pgvigil PASSWORD 'another'")
        still_works(server, daemon)
        server.sql("SELECT pg_terminate_backend(%s)", server.own_pid())
        down = daemon.wait("target_down", reason="auth")
        assert down["sqlstate"] == "28P01" and down["hint"].startswith("compare the role's password")
        assert not daemon.find("locked_out")
        secret.write_text("another\n")
        daemon.wait_up(n=2, timeout=40)
        still_works(server, daemon)


def test_password_file_missing_and_later_there(fresh_server, tmp_path):
    server = fresh_server
    scram(server)
    secret = tmp_path / "password"
    with Daemon(config(server, RULES, target={"password_file": str(secret)})) as daemon:
        daemon.wait("target_down", reason="password_file")
        secret.write_text("pgvigil\n")
        daemon.wait_up(timeout=40)


def test_wrong_database(server):
    server.sql("DROP DATABASE IF EXISTS later")
    with Daemon(config(server, RULES, target={"conninfo": server.conninfo(dbname="later")})) as daemon:
        down = daemon.wait("target_down", reason="database")
        assert down["sqlstate"] == "3D000"
        server.sql("CREATE DATABASE later")
        daemon.wait_up(timeout=40)
        still_works(server, daemon)
    server.sql("DROP DATABASE later WITH (FORCE)")


def test_wrong_role(server):
    with Daemon(config(server, RULES, target={"conninfo": server.conninfo("nobody")})) as daemon:
        assert daemon.wait("target_down", reason="auth")["sqlstate"] == "28000"


def test_P3_revoked_right_to_see(server):
    """Blind, it says so and ends nobody; it sees again without a restart."""
    with Daemon(config(server, RULES, target={"poll_interval": "200ms"})) as daemon:
        daemon.wait_up()
        server.sql("REVOKE pg_monitor FROM pgvigil")
        try:
            down = daemon.wait("target_down", reason="poll_failed")
            assert "GRANT pg_monitor" in down["hint"]
            session = Session(server, "worker", query="SELECT 1")
            time.sleep(2)
            assert session.alive()
            assert len(daemon.find("target_down")) == 1, "on the edge"
        finally:
            server.sql("GRANT pg_monitor TO pgvigil")
        daemon.outcome(session, "gone")


def test_P3_blind_with_a_right_that_is_not_inherited(server):
    """Nothing says that a grant is missing which is there."""
    modern = int(server.value("SHOW server_version_num")) >= 160000
    server.sql("CREATE ROLE shy LOGIN NOINHERIT")
    server.sql("GRANT pg_monitor TO shy" + (" WITH INHERIT FALSE" if modern else ""))
    Session(server, "worker", query="SELECT 1")
    with Daemon(config(server, RULES, target={"conninfo": server.conninfo("shy")})) as daemon:
        found = daemon.wait("self_check", reason="blind")
        assert found["hint"].startswith("GRANT pg_monitor TO shy WITH INHERIT" if modern else "ALTER ROLE shy INHERIT")
        down = daemon.wait("target_down", reason="poll_failed")
        assert "lacks" not in down["message"] and "self-check names the statement" in down["hint"], down
    server.sql("DROP ROLE shy")


def test_P3_blind_from_the_start(server):
    server.sql("REVOKE pg_monitor FROM pgvigil")
    try:
        session = Session(server, "worker", query="SELECT 1")
        with Daemon(config(server, RULES)) as daemon:
            daemon.wait("self_check", reason="blind")
            time.sleep(2)
            assert session.alive() and not daemon.find("decision")
    finally:
        server.sql("GRANT pg_monitor TO pgvigil")


def test_powerless(server):
    server.sql("REVOKE pg_signal_backend FROM pgvigil")
    try:
        session = Session(server, "worker", query="SELECT 1")
        with Daemon(config(server, RULES)) as daemon:
            finding = daemon.wait("self_check", reason="powerless")
            assert "pg_signal_backend" in finding["hint"]
            outcome = daemon.outcome(session, "denied")
            assert outcome["sqlstate"] == "42501"
            assert session.alive()
            # Granted: over at once, and what was denied is tried again.
            server.sql("GRANT pg_signal_backend TO pgvigil")
            daemon.wait("alarm", alarm="powerless", reason="cleared")
            daemon.outcome(session, "gone")
            # Revoked: told as it was at the connect, and nobody reconnects.
            server.sql("REVOKE pg_signal_backend FROM pgvigil")
            daemon.wait("alarm", alarm="powerless", reason="raised", n=2)
            assert len(daemon.find("self_check", reason="powerless")) == 2
            assert len(daemon.find("target_up")) == 1
    finally:
        server.sql("GRANT pg_signal_backend TO pgvigil")


def test_P7_slots_full_at_start_and_later_freed():
    with Postgres(max_connections=12, superuser_reserved_connections=3) as server:
        crowd = idle(server, 8, "app")
        with Daemon(config(server)) as daemon:
            event = daemon.wait("locked_out")
            assert event["sqlstate"] == "53300" and event["level"] == "error" and event.get("hint")
            assert daemon.cpu_over(3) < BUSY
            assert len(daemon.find("locked_out")) <= 3
            assert not daemon.find("target_up")
            crowd.pop().close()
            daemon.wait_up(timeout=3)
            assert server.count("usename = 'pgvigil'") == 1


def test_refused_logins_are_the_failed_tries(fresh_server):
    server = fresh_server
    with Daemon(config(server)) as daemon:
        daemon.wait_up()
        server.sql("ALTER ROLE pgvigil CONNECTION LIMIT 0")
        server.sql("SELECT pg_terminate_backend(%s)", server.own_pid())
        daemon.wait("target_down", reason="own_limit")
        time.sleep(1)
        server.sql("ALTER ROLE pgvigil CONNECTION LIMIT -1")
        daemon.wait_up(n=2, timeout=20)
        refused = server.log().count("pgvigil FATAL:  too many connections for role")
        up = daemon.find("target_up")[1]["message"]
        assert refused > 0 and f" and {refused} failed tr" in up, (up, refused)


def test_P7_inside_before_the_door_closes():
    with Postgres(max_connections=12, superuser_reserved_connections=3) as server:
        with Daemon(
            config(server, {"idle": rule("2s", match={"user": "app"})}, target={"poll_interval": "200ms"})
        ) as daemon:
            daemon.wait_up()
            crowd = idle(server, 7, "app")
            assert server.count() == 9  # all that ordinary roles may have
            for session in crowd:
                daemon.outcome(session, "gone")
            assert not daemon.find("target_down") and not daemon.find("locked_out")


@pytest.mark.parametrize(
    "limit, undo",
    [
        ("ALTER ROLE pgvigil CONNECTION LIMIT 0", "ALTER ROLE pgvigil CONNECTION LIMIT -1"),
        ("ALTER DATABASE postgres CONNECTION LIMIT 0", "ALTER DATABASE postgres CONNECTION LIMIT -1"),
    ],
)
def test_own_limit_is_not_a_full_server(server, limit, undo):
    server.sql(limit)
    try:
        with Daemon(config(server)) as daemon:
            down = daemon.wait("target_down", reason="own_limit")
            assert down["sqlstate"] == "53300"
            assert not daemon.find("locked_out")
            server.sql(undo)
            daemon.wait_up(timeout=40)
    finally:
        server.sql(undo)


@pytest.fixture
def german():
    """Folder with a locale that the machine itself need not have."""
    directory = process.open_directory("pgvtest-locale-")
    process.run_unprivileged(["localedef", "-i", "de_DE", "-f", "UTF-8", f"{directory}/de_DE.UTF-8"])
    yield directory
    shutil.rmtree(directory)


def test_locked_out_in_another_language(german):
    """The words of the server are translated; what tells them apart is not."""
    settings = {"max_connections": 12, "superuser_reserved_connections": 3, "lc_messages": "de_DE.UTF-8"}
    with Postgres(environment={"LOCPATH": german}, **settings) as server:
        with pytest.raises(psycopg2.Error, match="existiert nicht"):
            server.sql("SELECT * FROM nowhere")
        crowd = idle(server, 8, "app")
        with Daemon(config(server)) as daemon:
            daemon.wait("locked_out", sqlstate="53300")
        for session in crowd:
            session.close()
        server.sql("ALTER ROLE pgvigil CONNECTION LIMIT 0")
        with Daemon(config(server)) as daemon:
            daemon.wait("target_down", reason="own_limit")


def test_twenty_targets_in_one_loop(server):
    content = config(server, RULES)
    content["targets"] = {f"t{i:02}": {"conninfo": server.conninfo(), "poll_interval": "500ms"} for i in range(19)}
    content["targets"]["dead"] = {"conninfo": server.conninfo(port=1)}
    with Daemon(content) as daemon:
        for i in range(19):
            daemon.wait_up(target=f"t{i:02}")
        daemon.wait("target_down", target="dead")
        assert server.count("usename = 'pgvigil'") == 19
        assert daemon.cpu_over(3) < 0.25
        victim = Session(server, "worker", query="SELECT 1")
        daemon.outcome(victim, timeout=10)
        assert not victim.alive()


def test_statement_timeout_is_a_failed_poll_and_no_lost_connection(server):
    """A poll that the server ends: the connection stands, the next poll goes on."""
    with Daemon(config(server, RULES, target={"poll_interval": "200ms"})) as daemon:
        daemon.wait_up()
        pid = server.own_pid()
        # Cancels until one hits a poll: what statement_timeout does, at a moment of our choosing.
        process.wait_until(
            lambda: server.value("SELECT pg_cancel_backend(%s)", pid) and daemon.find("target_down"), 20, daemon.tell, 0
        )
        assert daemon.find("target_down")[0]["reason"] == "poll_failed"
        still_works(server, daemon)
        assert server.own_pid() == pid


def test_clock_of_the_server_is_not_ours(server):
    """Ages come from the server: a client zone far away changes nothing."""
    session = Session(server, "worker", query="SELECT 1")
    with Daemon(config(server, RULES), environment={"TZ": "Pacific/Kiritimati", "PGTZ": "America/Adak"}) as daemon:
        outcome = daemon.outcome(session, "gone")
        assert outcome["age_usec"] < 60_000_000


@pytest.mark.root
@pytest.mark.skipif(not process.may_mount(), reason="needs a mount namespace for a resolv.conf of its own")
def test_a_name_server_that_never_answers_delays_no_poll(server, tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.53.53", 53))
        resolv = tmp_path / "resolv.conf"
        resolv.write_text("nameserver 127.0.53.53\noptions timeout:30 attempts:3\n")
        content = config(
            server, RULES, target={"conninfo": server.conninfo(host="db.example.invalid"), "connect_timeout": "2s"}
        )
        content["targets"]["good"] = {"conninfo": server.conninfo(), "poll_interval": "200ms"}
        wrap = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            f'mount --bind {resolv} $(realpath /etc/resolv.conf) && exec "$@"',
            "sh",
        ]
        with Daemon(content, wrap=wrap) as daemon:
            daemon.wait_up(target="good", timeout=5)
            silent.settimeout(5)
            silent.recv(512)  # it was asked
            down = daemon.wait("target_down", target="db", timeout=10)
            assert down["reason"] in ("timeout", "unreachable")
            for _ in range(5):
                started = time.time()
                victim = Session(server, "worker", query="SELECT 1")
                assert daemon.outcome(victim, "gone", target="good")["said_at"] - started < 4
            assert daemon.cpu_over(2) < BUSY
            started = time.monotonic()
            assert daemon.stop() == 0
            assert time.monotonic() - started < 10
