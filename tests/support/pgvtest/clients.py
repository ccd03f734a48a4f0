# SPDX-License-Identifier: PostgreSQL
"""Sessions that tests watch."""

import select

import psycopg2
import psycopg2.extensions

from . import process


class Session:
    """One psycopg2 connection whose backend we know by (pid, backend_start)."""

    def __init__(self, server, user="app", query=None, **more):
        self.server = server
        self.connection = server.connect(user, **more)
        self.pid = self.connection.info.backend_pid
        self.identity = server.identity(self.pid)
        server.sessions.append(self)
        if query:
            self.run(query)

    def run(self, query):
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else None

    def begin(self):
        """Leaves a transaction open."""
        self.run("BEGIN")
        self.run("SELECT txid_current()")
        return self

    def alive(self):
        return self.server.is_alive(self.identity)

    def wait_dead(self, timeout=10):
        process.wait_until(lambda: not self.alive(), timeout, f"session {self.pid} ended")

    def wait_state(self, state, timeout=5):
        def check():
            rows = self.server.sql("SELECT state FROM pg_stat_activity WHERE pid = %s", self.pid)
            return rows and rows[0][0] == state

        process.wait_until(check, timeout, f"session {self.pid} {state}")
        return self

    def close(self):
        try:
            self.connection.close()
        except psycopg2.Error:
            pass

    def sqlstate(self, query="SELECT 1"):
        """What the client sees at its next use: an SQLSTATE, "closed" for a bare break, None when all is well."""
        try:
            self.run(query)
            return None
        except psycopg2.Error as error:
            return error.pgcode or "closed"


class Busy:
    """A session that runs a query in the background: psycopg2 in its asynchronous mode."""

    def __init__(self, server, query, user="app", **more):
        self.server = server
        self.connection = psycopg2.connect(
            **{"host": server.directory, "port": server.port, "user": user, "dbname": "postgres", "async": 1, **more}
        )
        self._wait(10)
        self.pid = self.connection.info.backend_pid
        self.identity = server.identity(self.pid)
        server.sessions.append(self)
        self.cursor = self.connection.cursor()
        self.cursor.execute(query)

    def _wait(self, timeout):
        while True:
            state = self.connection.poll()
            if state == psycopg2.extensions.POLL_OK:
                return
            poll = select.poll()
            poll.register(
                self.connection.fileno(), select.POLLIN if state == psycopg2.extensions.POLL_READ else select.POLLOUT
            )
            if not poll.poll(timeout * 1000):
                raise process.Timeout("the query did not end")

    def result(self, timeout=10):
        """Waits for the query's end; returns its SQLSTATE, None when it went well, "closed" for a bare break."""
        try:
            self._wait(timeout)
            return None
        except psycopg2.Error as error:
            return error.pgcode or "closed"

    alive = Session.alive
    wait_dead = Session.wait_dead
    wait_state = Session.wait_state
    close = Session.close


def idle(server, n=1, user="app", **more):
    """n idle sessions, each after one statement."""
    return [Session(server, user, query="SELECT 1", **more) for _ in range(n)]
