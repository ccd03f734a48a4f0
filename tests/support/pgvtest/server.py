# SPDX-License-Identifier: PostgreSQL
"""A private PostgreSQL server in a temporary directory."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections import namedtuple

import psycopg2

from . import process

BINDIR = os.environ.get("PGVTEST_BINDIR", "/usr/lib/postgresql/15/bin")
START_TIMEOUT = 30.0
STOP_TIMEOUT = 20.0
SETTINGS = {
    "fsync": "off",
    "shared_buffers": "16MB",
    "autovacuum": "off",
    "jit": "off",
    "max_connections": 50,
    "log_connections": "on",
    "log_line_prefix": "%n [%p] %u ",
    "listen_addresses": "127.0.0.1",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    "log_min_messages": "warning",
    "lc_messages": "C",
}
ROLES = """
CREATE ROLE pgvigil LOGIN PASSWORD 'pgvigil';
GRANT pg_monitor, pg_signal_backend TO pgvigil;
CREATE ROLE app LOGIN PASSWORD 'app';
CREATE ROLE worker LOGIN PASSWORD 'worker';
CREATE ROLE ingest LOGIN PASSWORD 'ingest';
CREATE ROLE batch LOGIN SUPERUSER;
GRANT ALL ON SCHEMA public TO PUBLIC;
"""

Identity = namedtuple("Identity", "pid backend_start")
_templates = {}


def free_port():
    """A port of 127.0.0.1 that nobody has now, outside of the range that outgoing connections use."""
    while True:
        port = random.SystemRandom().randint(12000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _template(bindir):
    """A data directory as initdb makes it, made once per process."""
    if bindir not in _templates:
        path = process.open_directory("pgvtest-template-")
        process.run_unprivileged(
            [
                f"{bindir}/initdb",
                "-D",
                f"{path}/data",
                "-U",
                "postgres",
                "-A",
                "trust",
                "-N",
                "-E",
                "UTF8",
                "--locale=C",
                "--wal-segsize=1",
            ]
        )
        _templates[bindir] = path
    return _templates[bindir]


def remove_templates():
    while _templates:
        shutil.rmtree(_templates.popitem()[1], ignore_errors=True)


# What tests change of a server, in the database that they use.
FINGERPRINT = """SELECT
  (SELECT string_agg(a::text, ' ' ORDER BY oid) FROM pg_authid a),
  (SELECT string_agg(m::text, ' ' ORDER BY roleid, member) FROM pg_auth_members m),
  (SELECT string_agg(s::text, ' ' ORDER BY setdatabase, setrole) FROM pg_db_role_setting s),
  (SELECT string_agg(concat_ws(' ', oid, datname, datallowconn, datconnlimit, datacl), ' ' ORDER BY oid)
   FROM pg_database),
  (SELECT string_agg(f::text, ' ' ORDER BY seqno) FROM pg_file_settings f),
  (SELECT string_agg(h::text, ' ' ORDER BY line_number) FROM pg_hba_file_rules h),
  (SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings
   WHERE source = 'command line' AND name <> 'port'),
  (SELECT string_agg(concat_ws(' ', oid, nspname, nspacl), ' ' ORDER BY oid) FROM pg_namespace
   WHERE nspname !~ '^pg_(toast_)?temp_'),
  (SELECT md5(string_agg(concat_ws(' ', oid, relacl), ' ' ORDER BY oid)) FROM pg_class WHERE relpersistence <> 't'),
  (SELECT count(*) FROM pg_replication_slots),
  (SELECT count(*) FROM pg_prepared_xacts),
  (SELECT md5(string_agg(concat_ws(' ', oid, proacl), ' ' ORDER BY oid)) FROM pg_proc)
"""
LEFT = """SELECT pid, usename, application_name, state, wait_event, backend_start, now(), query FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"""


class Postgres:
    """Settings are postgresql.conf's; `hba` are lines that go before "trust everybody", `roles` SQL that makes them,
    `environment` variables of the server's own."""

    def __init__(self, hba=(), bindir=BINDIR, roles=ROLES, environment=None, **settings):
        self.bindir = bindir
        self.settings = {**SETTINGS, **settings}
        self.environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **(environment or {})}
        self.directory = process.open_directory("pgvtest-pg-")
        self.port = 0
        self.child = None
        self._admin = None
        self.sessions = []  # of clients.py: a connection that nobody holds would be closed
        try:
            process.run_unprivileged(["cp", "-a", f"{_template(bindir)}/data", f"{self.directory}/data"])
            self.set_hba(*hba)
            self.start()
            if roles:
                self.sql(roles)
        except BaseException:
            self.destroy()
            raise

    # Life

    def start(self):
        for attempt in range(5):
            if not self.port or attempt:
                self.port = free_port()
            if self._start_once():
                return
        raise RuntimeError(f"PostgreSQL does not start:\n{self.log()[-3000:]}")

    def _start_once(self):
        argv = [f"{self.bindir}/postgres", "-D", f"{self.directory}/data", "-p", str(self.port), "-k", self.directory]
        for name, value in self.settings.items():
            argv += ["-c", f"{name}={value}"]
        with open(f"{self.directory}/log", "ab") as log:
            self.child = process.spawn(
                argv,
                signal.SIGQUIT,
                unprivileged=True,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self.environment,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                return False
            try:
                self.connect("postgres", application_name="harness probe").close()
                return True
            except psycopg2.OperationalError:
                time.sleep(0.02)
        raise RuntimeError("PostgreSQL did not come up")

    def stop(self, mode="fast"):
        """mode: smart, fast or immediate, as pg_ctl names them."""
        self._close_admin()
        if self.child is None:
            return
        signo = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode]
        process.stop_process(self.child, signo, STOP_TIMEOUT)
        self.child = None

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def destroy(self):
        if self.child is not None:
            self.thaw()
            self.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.destroy()

    def pids(self):
        """The postmaster and all its children."""
        listing = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.child.pid)], stdout=subprocess.PIPE, check=False
        )
        return [self.child.pid] + [int(word) for word in listing.stdout.split()]

    def freeze(self):
        """The whole server stands still, as a machine that hangs does."""
        os.kill(self.child.pid, signal.SIGSTOP)
        process.wait_stopped(self.child.pid)
        for pid in self.pids():
            self._signal(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in self.pids():
            self._signal(pid, signal.SIGCONT)

    @staticmethod
    def _signal(pid, signo):
        try:
            os.kill(pid, signo)
        except ProcessLookupError:
            pass

    def is_running(self):
        return self.child is not None and self.child.poll() is None

    # Settings

    def set_hba(self, *lines):
        path = f"{self.directory}/data/pg_hba.conf"
        with open(path, "w", encoding="ascii") as file:
            file.write(
                "\n".join(
                    [
                        *lines,
                        "local all all trust",
                        "host all all 127.0.0.1/32 trust",
                        "host replication all 127.0.0.1/32 trust",
                    ]
                )
                + "\n"
            )
        if self.child is not None:
            self.child.send_signal(signal.SIGHUP)

    def conninfo(self, user="pgvigil", port=None, **more):
        words = {
            "host": "127.0.0.1",
            "port": port or self.port,
            "user": user,
            "dbname": "postgres",
            "sslmode": "disable",
            **more,
        }
        return " ".join(f"{key}={value}" for key, value in words.items() if value is not None)

    def log(self):
        with open(f"{self.directory}/log", encoding="utf-8", errors="replace") as file:
            return file.read()

    def n_logins(self, user="pgvigil"):
        """How many logins of that role the server has let in since it was made."""
        return self.log().count(f"connection authorized: user={user} ")

    # Asking

    def connect(self, user="app", **more):
        """A psycopg2 connection in autocommit over the socket."""
        connection = psycopg2.connect(
            **{
                "host": self.directory,
                "port": self.port,
                "user": user,
                "dbname": "postgres",
                "connect_timeout": 5,
                **more,
            }
        )
        connection.autocommit = True
        return connection

    def _close_admin(self):
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def sql(self, text, *parameters):
        """Runs it as superuser over one connection that is kept; returns the rows, or None for a statement without."""
        for attempt in (1, 2):
            if self._admin is None or self._admin.closed:
                self._admin = self.connect("postgres", application_name="harness", options="-c statement_timeout=20s")
            try:
                with self._admin.cursor() as cursor:
                    cursor.execute(text, parameters or None)
                    return cursor.fetchall() if cursor.description else None
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                if not self._admin.closed or attempt == 2:
                    raise
        return None

    def value(self, text, *parameters):
        return self.sql(text, *parameters)[0][0]

    def identity(self, pid):
        rows = self.sql("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = %s", pid)
        return Identity(*rows[0]) if rows else None

    def fingerprint(self):
        """Differs when roles, rights, databases or settings do, or there is a table or a function more or less, a
        replication slot or a prepared transaction."""
        return self.sql(FINGERPRINT)[0]

    def is_alive(self, identity):
        return self.identity(identity.pid) == identity

    def count(self, where="true", *parameters):
        return self.value(
            f"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND {where}", *parameters
        )

    def close_sessions(self):
        """Those of clients.py."""
        for session in self.sessions:
            session.close()
        self.sessions.clear()

    def end_sessions(self):
        """All of them, whoever's, but for the one that asks."""
        self.close_sessions()
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE backend_type IN ('client backend', 'walsender') AND pid <> pg_backend_pid()"
        )
        process.wait_until(lambda: self.count() == 1, 10, lambda: f"all sessions ended but {self.sql(LEFT)}")

    def own_pid(self):
        """pid of the daemon's backend; None while it has none. More than one is a failure."""
        rows = self.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'pgvigil' AND application_name = 'pgvigil'")
        assert len(rows) <= 1, f"pgvigil holds {len(rows)} connections"
        return rows[0][0] if rows else None
