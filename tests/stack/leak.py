# SPDX-License-Identifier: PostgreSQL
"""A worker that leaks: for each task it makes a SQLAlchemy engine of its own, uses one connection, gives it back to the
engine's pool, and keeps the engine for ever. The environment is worker.py's, and RATE, tasks a second, and TASKS: after
so many it opens no more, what is open stays, and it says how many these are: "N left", and again when some were ended.

Says at the end what the database made of it, as JSON."""

import json
import os
import select
import signal
import threading
import time

import psycopg2
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

RATE = float(os.environ["RATE"])
TASKS = int(os.environ["TASKS"])


def main():
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    with open(os.environ["DB_PASSWORD_FILE"], encoding="utf-8") as file:
        password = file.readline().rstrip("\n")
    url = URL.create(
        "postgresql+psycopg2",
        os.environ["DB_USER"],
        password,
        os.environ["DB_HOST"],
        int(os.environ["DB_PORT"]),
        os.environ["DB_NAME"],
    )
    leaked = {}  # the socket of its one connection -> engine
    said = {"opened": 0, "refused": 0, "first_refused": None, "other": []}
    started = time.monotonic()
    n, left = 0, None
    while not stopped.wait(max(0.0, started + n / RATE - time.monotonic())):
        n += 1
        if n <= TASKS:
            engine = create_engine(url, pool_size=10, connect_args={"connect_timeout": 10})
            try:
                with engine.connect() as connection:
                    connection.execute(text("SELECT 1"))
                    fileno = connection.connection.fileno()
                leaked[fileno] = engine
                said["opened"] += 1
            except Exception as error:  # noqa: BLE001  # told at the end
                refused = "too many clients" in str(error) or "connection slots are reserved" in str(error)
                if refused:
                    said["refused"] += 1
                    if said["first_refused"] is None:
                        said["first_refused"] = round(time.monotonic() - started, 1)
                        print("refused", flush=True)
                elif len(said["other"]) < 5:
                    said["other"].append(str(error)[:200])
        close_ended(leaked)
        if n >= TASKS and left != len(leaked):
            left = len(leaked)
            print(f"{left} left", flush=True)
    print(json.dumps(said), flush=True)
    os._exit(0)  # without the farewells of 500 engines


def close_ended(leaked):
    """What the server has closed is closed here, too, or we would run out of sockets."""
    poll = select.poll()
    for fileno in leaked:
        poll.register(fileno, select.POLLIN)
    for fileno, _ in poll.poll(0):
        engine = leaked.pop(fileno)
        try:
            engine.raw_connection().invalidate()
        except psycopg2.Error:
            pass
        except Exception:  # noqa: BLE001  # the pool may find it closed, and the server full
            pass
        engine.dispose()


if __name__ == "__main__":
    main()
