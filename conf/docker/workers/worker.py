#!/usr/bin/python3
# SPDX-License-Identifier: PostgreSQL
"""Stand-ins for the services of the stack: what matters here is how each one pools its connections.

    worker.py sqlalchemy | asyncpg | pooled

A burst of jobs, as many at once as the pool lets through, then a pause, and so on until SIGTERM. What became of the
jobs is written as a line of JSON every minute and at the end. Everything comes from the environment; see compose.yaml.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

TELL_EVERY = 60.0


def number(name, default):
    return float(os.environ.get(name, default))


def count(name, default):
    return int(number(name, default))


def password():
    with open(os.environ["DB_PASSWORD_FILE"], encoding="utf-8") as file:
        return file.readline().rstrip("\n")


HOST = os.environ.get("DB_HOST", "db")
PORT = count("DB_PORT", 5432)
NAME = os.environ.get("DB_NAME", "app")
USER = os.environ.get("DB_USER", "worker")
JOBS = count("JOBS", 10)  # at once, in a burst
JOB_SECONDS = number("JOB_SECONDS", 0.05)
PAUSE = number("PAUSE", 1.0)  # between bursts


class Tally:
    """What became of the jobs. The connections themselves are the database's to count."""

    def __init__(self):
        self.done = 0
        self.failed = {}  # first line of the error -> how often
        self._lock = threading.Lock()
        self._told = time.monotonic()

    def add(self, error=None):
        with self._lock:
            if error is None:
                self.done += 1
            else:
                line = (str(error).strip().splitlines() or [repr(error)])[0][:200]
                self.failed[line] = self.failed.get(line, 0) + 1

    def tell(self, last=False):
        if last or time.monotonic() - self._told >= TELL_EVERY:
            self._told = time.monotonic()
            print(json.dumps({"service": USER, "done": self.done, "failed": self.failed}), flush=True)


def run_threads(job, tally):
    stopped = threading.Event()
    for signo in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signo, lambda *_: stopped.set())

    def one():
        try:
            job()
            tally.add()
        except Exception as error:  # noqa: BLE001  # it is counted and told
            tally.add(error)

    with ThreadPoolExecutor(JOBS) as threads:
        while not stopped.wait(PAUSE):
            list(threads.map(lambda _: one(), range(JOBS)))
            tally.tell()


def sqlalchemy_engine(**pool):
    from sqlalchemy import create_engine

    url = f"postgresql+psycopg2://{USER}:{quote(password(), safe='')}@{quote(HOST, safe='')}:{PORT}/{NAME}"
    return create_engine(url, connect_args={"connect_timeout": 10}, **pool)


def run_sqlalchemy(tally):
    """A pool for each process. pool_pre_ping finds out that a connection was ended while it lay in the pool, and opens
    another one unseen; pool_recycle, below the server's and pgvigil's limits, replaces it before anybody has to."""
    from sqlalchemy import text

    engine = sqlalchemy_engine(
        pool_size=count("POOL_SIZE", 10),
        max_overflow=count("MAX_OVERFLOW", 20),
        pool_timeout=count("POOL_TIMEOUT", 30),
        pool_recycle=count("POOL_RECYCLE", 600),
        pool_pre_ping=True,
    )

    def job():
        # `with` gives the connection back, whatever happens. Without it this would be the leak.
        with engine.begin() as connection:
            connection.execute(text("SELECT count(*), pg_sleep(:seconds) FROM app.item"), {"seconds": JOB_SECONDS})

    run_threads(job, tally)
    engine.dispose()


def run_pooled(tally):
    """Behind PgBouncer: it has the pool, so that a second one here would only hold what others wait for."""
    from sqlalchemy import text
    from sqlalchemy.pool import NullPool

    engine = sqlalchemy_engine(poolclass=NullPool)

    def job():
        with engine.begin() as connection:
            connection.execute(text("SELECT count(*), pg_sleep(:seconds) FROM app.item"), {"seconds": JOB_SECONDS})

    run_threads(job, tally)


async def run_asyncpg(tally):
    """max_inactive_connection_lifetime is below pgvigil's limit for idle sessions: the pool shrinks back to what it
    uses by itself after a burst. A connection that was ended is found closed, and replaced, at its next acquire."""
    import asyncpg

    stopped = asyncio.Event()
    for signo in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signo, stopped.set)
    pool = await asyncpg.create_pool(
        host=HOST,
        port=PORT,
        user=USER,
        password=password(),
        database=NAME,
        min_size=count("POOL_MIN_SIZE", 5),
        max_size=count("POOL_MAX_SIZE", 20),
        max_inactive_connection_lifetime=number("POOL_MAX_INACTIVE", 300),
        timeout=10,
    )

    async def job():
        try:
            async with pool.acquire(timeout=30) as connection:
                await connection.fetchval("SELECT count(*) FROM app.item, pg_sleep($1)", JOB_SECONDS)
            tally.add()
        except Exception as error:  # noqa: BLE001
            tally.add(error or repr(error))

    while not stopped.is_set():
        await asyncio.gather(*(job() for _ in range(JOBS)))
        tally.tell()
        try:
            await asyncio.wait_for(stopped.wait(), PAUSE)
        except asyncio.TimeoutError:
            pass
    await asyncio.wait_for(pool.close(), 5)


def main():
    kinds = {
        "sqlalchemy": run_sqlalchemy,
        "asyncpg": lambda tally: asyncio.run(run_asyncpg(tally)),
        "pooled": run_pooled,
    }
    if len(sys.argv) != 2 or sys.argv[1] not in kinds:
        sys.exit(f"usage: worker.py {' | '.join(kinds)}")
    tally = Tally()
    try:
        kinds[sys.argv[1]](tally)
    finally:
        tally.tell(last=True)


if __name__ == "__main__":
    main()
