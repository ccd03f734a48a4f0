# SPDX-License-Identifier: PostgreSQL
"""A sidecar without a mounted file: the environment says it all."""

import contextlib
import json
import os
import time

import pytest

from pgvtest import process
from pgvtest.clients import Session
from pgvtest.daemon import command

FILE = "/etc/pgvigil/pgvigil.yaml"
NAMES = (
    "PGVIGIL_CONNINFO",
    "PGVIGIL_IDLE_TIMEOUT",
    "PGVIGIL_IDLE_IN_TRANSACTION_TIMEOUT",
    "PGVIGIL_ENFORCE",
    "PGVIGIL_LISTEN",
    "PGVIGIL_CONTROL_SOCKET",
    "PGVIGIL_PASSWORD_FILE",
    "PGVIGIL_LOG_FORMAT",
)

pytestmark = pytest.mark.skipif(os.path.exists(FILE), reason=f"{FILE} exists: it would be read")


def environment(**variables):
    """PGVIGIL_ is put before the names; nothing of it comes from outside."""
    clean = {name: value for name, value in os.environ.items() if name not in NAMES}
    clean.pop("JOURNAL_STREAM", None)
    variables = {"LISTEN": "off", "CONTROL_SOCKET": "off", **variables}
    return {**clean, **{f"PGVIGIL_{name}": value for name, value in variables.items()}}


@contextlib.contextmanager
def daemon(directory, arguments=(), **variables):
    """Yields a function that returns what it has said."""
    path = directory / "log"
    with open(path, "wb") as log:
        child = process.spawn(
            [process.binary(), "run", *arguments], stdout=log, stderr=log, env=environment(**variables), cwd=directory
        )
    try:
        yield path.read_text
    finally:
        status = process.stop_process(child, timeout=20)
    assert status == 0, path.read_text()


def old_session(server, user="worker"):
    """Older than the 5 s of min_age, which is what it is by default."""
    session = Session(server, user, query="SELECT 1")
    process.wait_until(
        lambda: server.value("SELECT now() - backend_start > '5.2s' FROM pg_stat_activity WHERE pid = %s", session.pid),
        10,
    )
    return session


def test_idle_timeouts_and_enforce(server, tmp_path):
    session = old_session(server)
    began = time.monotonic()
    leaked = Session(server, "worker").begin()
    with daemon(
        tmp_path,
        CONNINFO=server.conninfo(),
        IDLE_TIMEOUT="1s",
        IDLE_IN_TRANSACTION_TIMEOUT="7s",
        ENFORCE="true",
    ) as said:
        session.wait_dead(15)
        process.wait_until(lambda: "rule idle)" in said() and "terminated" in said(), 10, said)
        leaked.wait_dead(20)
        assert time.monotonic() - began >= 7
        process.wait_until(lambda: "rule idle-in-transaction)" in said(), 10, said)
    assert "would" not in said()


def test_P8_observes_without_enforce(server, tmp_path):
    session = old_session(server)
    with daemon(tmp_path, CONNINFO=server.conninfo(), IDLE_TIMEOUT="1s") as said:
        process.wait_until(lambda: f"session {session.pid} " in said(), 15, said)
        time.sleep(0.5)
        assert session.alive() and "would terminate" in said()


def test_the_command_line_says_where_the_environment_what(server, tmp_path):
    """--conninfo wins over the variable, --observe over the variable that enforces."""
    session = old_session(server)
    arguments = ["--conninfo", server.conninfo(), "--observe"]
    with daemon(tmp_path, arguments, CONNINFO=server.conninfo(port=1), IDLE_TIMEOUT="1s", ENFORCE="true") as said:
        process.wait_until(lambda: f"session {session.pid} " in said(), 15, said)
        assert session.alive() and "would terminate" in said()


def test_password_from_a_file_and_log_as_json(server, tmp_path):
    """As a container has them: the secret is a file."""
    (tmp_path / "secret").write_text("pgvigil\n")
    server.set_hba("host all pgvigil 127.0.0.1/32 scram-sha-256")
    try:
        variables = {"PASSWORD_FILE": str(tmp_path / "secret"), "LOG_FORMAT": "json"}
        with daemon(tmp_path, CONNINFO=server.conninfo(), **variables) as said:
            process.wait_until(lambda: '"event":"target_up"' in said().replace(": ", ":"), 15, said)
            assert all(json.loads(line) for line in said().splitlines())
    finally:
        server.set_hba()


def test_empty_variables_are_none(server, tmp_path):
    session = old_session(server)
    with daemon(tmp_path, CONNINFO=server.conninfo(), IDLE_TIMEOUT="", ENFORCE="") as said:
        process.wait_until(lambda: " up: " in said(), 15, said)
        time.sleep(1)
        assert session.alive() and str(session.pid) not in said()


@pytest.mark.parametrize(
    "name, value, told",
    [
        ("IDLE_TIMEOUT", "600", "has no unit"),
        ("IDLE_TIMEOUT", "-1s", "PGVIGIL_IDLE_TIMEOUT"),
        ("IDLE_IN_TRANSACTION_TIMEOUT", "soon", "PGVIGIL_IDLE_IN_TRANSACTION_TIMEOUT"),
        ("ENFORCE", "certainly", "PGVIGIL_ENFORCE"),
        ("LISTEN", "9432", "is not an address and a port"),
        ("CONTROL_SOCKET", "control.sock", "is not the absolute path"),
        ("PASSWORD_FILE", "secret", "PGVIGIL_PASSWORD_FILE"),
        ("LOG_FORMAT", "xml", "PGVIGIL_LOG_FORMAT"),
        ("ENFORCE", "true\ntargets: {}", "PGVIGIL_ENFORCE"),
        ("CONNINFO", "host=127.0.0.1 frob=1", "PGVIGIL_CONNINFO"),
    ],
)
def test_mistakes_name_the_variable(server, name, value, told):
    variables = {"CONNINFO": server.conninfo(), "IDLE_TIMEOUT": "1s", name: value}
    result = command("run", env=environment(**variables))
    assert result.returncode == 78, result
    assert f"PGVIGIL_{name}: error:" in result.stderr and told in result.stderr


def test_P10_a_mistake_shows_no_secret(server):
    secret = "hunter2-marker"
    result = command("run", env=environment(CONNINFO=f"password={secret} {secret}", IDLE_TIMEOUT="1s"))
    assert result.returncode == 78 and secret not in result.stdout + result.stderr


def test_check_reads_the_same(server):
    result = command(
        "check", "--print", env=environment(CONNINFO=server.conninfo(), IDLE_TIMEOUT="90s", ENFORCE="true")
    )
    assert result.returncode == 0, result
    assert "90s" in result.stdout or "1min30s" in result.stdout
    assert "port=" not in result.stdout


def test_the_variable_is_named_where_it_is_wrong():
    """Whatever is wrong with it, and not a place in a text that nobody wrote."""
    nowhere = "host=127.0.0.1 port=1 user=x dbname=postgres"
    for more in ({}, {"ENFORCE": "true"}):
        done = command("check", "--connect", env=environment(CONNINFO=nowhere, **more))
        assert done.returncode == 1 and done.stdout.startswith("PGVIGIL_CONNINFO: error: targets.postgres: "), done
        assert "\nPGVIGIL_CONNINFO: 1 finding" in done.stdout, done
    done = command("check", "--connect", "--conninfo", nowhere, env=environment())
    assert done.stdout.startswith("command line: error: ") and "\ncommand line: 1 finding" in done.stdout, done
