# SPDX-License-Identifier: PostgreSQL
"""The role that setup-sql makes, on every version: made twice, it is what the self-check wants."""

import os
import shutil
import subprocess

import psycopg2
import pytest

from pgvtest import fetch
from pgvtest.clients import Session
from pgvtest.daemon import Daemon, command, config, rule
from pgvtest.server import BINDIR, Postgres

USAGE = 2
STRANGE = "wei\"rd $pgvigil$ $pgvigil1$ \\ r'ôle"
SERVERS = [(None, 15), ("bullseye", 13), ("trixie", 17), ("sid", 18)]


@pytest.mark.parametrize("suite, major", SERVERS)
def test_on_a_server(suite, major):
    """One test for each version, as a server of its own for each case would take a minute."""
    bindir, why = (BINDIR, None) if suite is None else fetch.postgresql(suite, major)
    if bindir is None:
        pytest.skip(f"PostgreSQL {major} cannot be had: {why}")
    settings = {"reserved_connections": 3} if major >= 16 else {}
    with Postgres(bindir=bindir, **settings) as postgres:
        postgres.sql("DROP ROLE IF EXISTS pgvigil")
        twice_and_the_self_check(postgres, "pgvigil")
        twice_and_the_self_check(postgres, STRANGE)
        mends_what_is_wrong(postgres)
        leaves_superusers_alone(postgres)
        by_who_is_no_superuser(postgres)
        a_hostile_search_path(postgres)


def run(server, role=None, user="postgres"):
    """What psql said when it ran the output."""
    made = command("setup-sql", *(["--role", role] if role else []))
    assert made.returncode == 0 and not made.stderr, made
    done = subprocess.run(
        [shutil.which("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", server.directory, "-p", str(server.port)]
        + ["-U", user, "-d", "postgres"],
        input=made.stdout,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "PGOPTIONS": "", "LC_ALL": "C.UTF-8"},
    )
    assert not done.stdout, done
    return done


def findings(server, role):
    content = config(
        server, {"it": rule("1s", match={"user": "worker"})}, {"conninfo": server.conninfo(user=quoted(role))}
    )
    with Daemon(content) as daemon:
        daemon.wait_up()
        session = Session(server, "worker", query="SELECT 1")
        daemon.outcome(session, "gone")
        found = [one for one in daemon.find("self_check") if one["reason"] != "superuser_sessions"]
        assert server.count("usename = %s", role) == 1
    return {one["reason"] for one in found}


def quoted(value):
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def twice_and_the_self_check(server, role):
    major = int(server.value("SHOW server_version_num")) // 10000
    first = run(server, None if role == "pgvigil" else role)
    assert first.returncode == 0, first
    assert ("is new" in first.stderr) and ("reserved slots" in first.stderr) == (major < 16)
    before = rights(server, role)
    second = run(server, None if role == "pgvigil" else role)
    assert second.returncode == 0 and "is new" not in second.stderr and "already" not in second.stderr, second
    assert rights(server, role) == before
    assert findings(server, role) == ({"no_reserved_slot"} if major < 16 else set())


def rights(server, role):
    """All that the server knows of a role, besides its password."""
    return server.sql(
        "SELECT rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, "
        "rolconnlimit, rolpassword IS NULL, "
        "ARRAY(SELECT to_jsonb(m) ->> 'roleid' || coalesce(to_jsonb(m) ->> 'inherit_option', '') "
        "|| (to_jsonb(m) ->> 'admin_option') FROM pg_auth_members m WHERE m.member = a.oid ORDER BY 1) "
        "FROM pg_authid a WHERE rolname = %s",
        role,
    )


def mends_what_is_wrong(server):
    modern = int(server.value("SHOW server_version_num")) >= 160000
    server.sql("CREATE ROLE half NOLOGIN NOINHERIT CONNECTION LIMIT 1")
    server.sql("GRANT pg_monitor TO half" + (" WITH INHERIT FALSE" if modern else ""))
    server.sql("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
    try:
        with pytest.raises(psycopg2.OperationalError):
            server.connect("half").close()
        assert run(server, "half").returncode == 0
        server.connect("half").close()
        assert findings_of_rights(server, "half") == set()
    finally:
        server.sql("GRANT CONNECT ON DATABASE postgres TO PUBLIC")


def findings_of_rights(server, role):
    with Daemon(config(server, target={"conninfo": server.conninfo(user=role)})) as daemon:
        daemon.wait_up()
        return {one["reason"] for one in daemon.find("self_check")} - {"superuser_sessions", "no_reserved_slot"}


def leaves_superusers_alone(server):
    done = run(server, "postgres")
    assert done.returncode != 0 and "is a superuser" in done.stderr
    assert server.value("SELECT rolsuper FROM pg_roles WHERE rolname = 'postgres'")


def by_who_is_no_superuser(server):
    """Hosted servers give nobody that right; what cannot be granted is told, and the rest is done."""
    modern = int(server.value("SHOW server_version_num")) >= 160000
    server.sql("CREATE ROLE dba LOGIN CREATEROLE")
    server.sql("GRANT pg_monitor, pg_signal_backend TO dba WITH ADMIN OPTION")
    done = run(server, "hosted", user="dba")
    assert done.returncode == 0 and ("not granted: pg_use_reserved_connections" in done.stderr) == modern, done
    assert findings_of_rights(server, "hosted") == set()
    server.sql("CREATE ROLE nobody LOGIN")
    done = run(server, "other", user="nobody")
    assert done.returncode != 0 and "permission denied" in done.stderr


def a_hostile_search_path(server):
    """Objects of others that a superuser's session would find first are not used."""
    server.sql("CREATE SCHEMA evil")
    server.sql(
        "CREATE FUNCTION evil.format(text, name) RETURNS text LANGUAGE sql "
        "AS $$SELECT 'CREATE ROLE owned SUPERUSER'$$"
    )
    server.sql("ALTER ROLE postgres SET search_path = evil, pg_catalog")
    try:
        assert run(server, "careful").returncode == 0
        assert server.sql("SELECT rolname FROM pg_roles WHERE rolname IN ('owned', 'careful')") == [("careful",)]
    finally:
        server.sql("ALTER ROLE postgres RESET search_path")
        server.sql("DROP SCHEMA evil CASCADE")


@pytest.mark.parametrize("name", ["", "x" * 64, "new\nline", "bell\a", "hidden\u202e", "\udcff"])
def test_names_that_no_role_has(name):
    done = command("setup-sql", "--role", name)
    assert done.returncode == USAGE and not done.stdout and done.stderr
