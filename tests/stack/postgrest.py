# SPDX-License-Identifier: PostgreSQL
"""Connects as PostgREST does: a pool of connections with its application name, each request one transaction of prepared
statements under SET LOCAL ROLE, and one session that listens on channel pgrst for ever.

The environment: DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD_FILE, PGRST_DB_POOL, PGRST_DB_ANON_ROLE, VERSION. Says
at the end, as JSON, how the requests went, how many connections it had to open, and how many notifications came."""

import json
import os
import select
import signal
import threading

import psycopg
from psycopg import sql

POOL = int(os.environ["PGRST_DB_POOL"])
PAUSE = 0.3


def connect():
    with open(os.environ["DB_PASSWORD_FILE"], encoding="utf-8") as file:
        password = file.readline().rstrip("\n")
    return psycopg.connect(
        host=os.environ["DB_HOST"],
        port=os.environ["DB_PORT"],
        dbname=os.environ["DB_NAME"],
        user=os.environ["DB_USER"],
        password=password,
        application_name=f"PostgREST {os.environ['VERSION']}",
        connect_timeout=10,
        autocommit=True,
    )


class Said:
    def __init__(self):
        self.lock = threading.Lock()
        self.counts = {"requests": 0, "connections": 0, "notified": 0, "listeners": 0}
        self.errors = {}

    def add(self, what, n=1):
        with self.lock:
            self.counts[what] += n

    def fail(self, error):
        with self.lock:
            line = (str(error).strip().splitlines() or [repr(error)])[0][:200]
            self.errors[line] = self.errors.get(line, 0) + 1


def serve(said, stopped):
    connection = None
    role = sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(os.environ["PGRST_DB_ANON_ROLE"]))
    while not stopped.wait(PAUSE):
        try:
            if connection is None:
                connection = connect()
                said.add("connections")
            with connection.transaction():
                connection.execute(role)
                connection.execute("SELECT set_config('request.method', %s, true)", ["GET"], prepare=True)
                connection.execute("SELECT count(*) FROM app.item WHERE id > %s", [0], prepare=True).fetchall()
            said.add("requests")
        except psycopg.Error as error:
            said.fail(error)
            if connection is not None:
                connection.close()
            connection = None


def listen(said, stopped):
    while not stopped.is_set():
        try:
            with connect() as connection:
                connection.execute('LISTEN "pgrst"')
                said.add("listeners")
                poll = select.poll()
                poll.register(connection.fileno(), select.POLLIN)
                while not stopped.is_set():
                    if poll.poll(200):
                        # Nothing is asked of the server: it shall see the LISTEN as last statement for ever.
                        connection.pgconn.consume_input()
                        if connection.pgconn.status != psycopg.pq.ConnStatus.OK:
                            raise psycopg.OperationalError("the listener's session was ended")
                        while connection.pgconn.notifies():
                            said.add("notified")
        except psycopg.Error as error:
            said.fail(error)
            stopped.wait(0.5)


def main():
    said, stopped = Said(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    threads = [threading.Thread(target=listen, args=(said, stopped))]
    threads += [threading.Thread(target=serve, args=(said, stopped)) for _ in range(POOL)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({**said.counts, "failed": said.errors}), flush=True)


if __name__ == "__main__":
    main()
