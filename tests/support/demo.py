# SPDX-License-Identifier: PostgreSQL
"""The demo: applications as they come in a stack, most of them leaking; one YAML file; what pgvigil does."""

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from pgvtest import process, server as servers

GIVE_UP = 30.0  # seconds that pgvigil gets to end what leaks
KEPT = 2  # idle worker sessions: `keep` of rule idle, less the one in use
OBSERVE = 20  # seconds on a server of yours

CONFIG = """\
# Minutes have become seconds, so that you need not wait: "after: 3s" would be 10min.
enforce: true                      # leave it out, and pgvigil says what it would do, and does nothing

targets:
  demo:
    conninfo: {conninfo}
    poll_interval: 1s

apps:                              # whose connection is this? first match wins
  postgrest: {{ match: {{ application_name: "PostgREST*" }}, pool: 5 }}
  worker:    {{ match: {{ user: worker }}, pool: 30 }}
  ingest:    {{ match: {{ user: ingest }}, pool: 3 }}
  studio:    {{ match: {{ application_name: "postgres-meta*" }} }}

protect:                           # besides superusers, listeners, maintenance, pg_dump and its like
  min_age: 1s
  match: [ {{ user: reporting }} ]

timeouts:
  leaked-transaction: {{ state: idle in transaction, after: 4s }}
  ingest-leak:        {{ state: idle, after: 3s, match: {{ app: ingest }} }}
  idle:               {{ state: idle, after: 5s, keep: 3 }}    # leave each application three

quotas:
  studio: {{ match: {{ app: studio }}, max: 2, min_idle: 1s }}   # brought back to it, longest idle first

alarms:
  slots: {{ metric: usage, above: {{ warning: 80%, critical: 90% }} }}

outputs:
  log: {{ format: text, level: notice }}
http: {{ listen: "off" }}            # a demonstration is not to be reached; left out: 127.0.0.1:9432
control: {{ socket: {directory}/control.sock }}   # left out: /run/pgvigil/control.sock
"""

OBSERVE_CONFIG = """\
targets:
  server: { conninfo: "${PGVIGIL_CONNINFO}" }
timeouts:
  idle: { state: idle, after: 10min }
  leaked-transaction: { state: idle in transaction, after: 5min }
  long-query: { state: active, after: 1h, action: log }
outputs:
  log: { format: text, level: info }
http: { listen: "off" }
control: { socket: "off" }
"""

ROLES = """
CREATE ROLE authenticator LOGIN;
CREATE ROLE analyst LOGIN;
CREATE ROLE backup LOGIN;
CREATE ROLE reporting LOGIN;
CREATE ROLE studio LOGIN;
"""

COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def paint(text, code):
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


def title(text):
    print("\n" + paint(f"== {text}", "1;36"), flush=True)


def say(text):
    print(text, flush=True)


class Crowd:
    """All applications, and the fate of each session: `doomed` and `safe` map identities to descriptions."""

    def __init__(self, server):
        self.server = server
        self.doomed = {}
        self.safe = {}
        self.pools = []  # kept from the garbage collector
        self.stopped = threading.Event()
        self.threads = []
        self.errors = []

    def session(self, fate, what, user, name="", **more):
        connection = self.server.connect(user, host="127.0.0.1", application_name=name, **more)
        fate[self.server.identity(connection.info.backend_pid)] = what
        self.pools.append(connection)
        return connection

    def query(self, connection, text):
        with connection.cursor() as cursor:
            cursor.execute(text)

    def use(self, connection, what):
        """Keeps a session in use: a short query every now and then."""

        def work():
            while not self.stopped.wait(0.4):
                try:
                    self.query(connection, "SELECT count(*) FROM pg_class")
                except Exception as error:  # noqa: BLE001  # told at the end
                    self.errors.append(f"{what}: {error}")
                    return

        self.run(work)

    def run(self, work):
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self.threads.append(thread)

    def start_postgrest(self):
        listener = self.session(
            self.safe, "PostgREST's LISTEN session, idle for ever by design", "authenticator", "PostgREST 12.2.0"
        )
        self.query(listener, 'LISTEN "pgrst"')
        for _ in range(4):
            what = "PostgREST's pool, in use"
            self.use(self.session(self.safe, what, "authenticator", "PostgREST 12.2.0"), what)
        say("  PostgREST     a pool of 4 in use, and one LISTEN session")

    def start_sqlalchemy(self):
        from sqlalchemy import create_engine, text

        engine = create_engine(
            f"postgresql+psycopg2://worker@127.0.0.1:{self.server.port}/postgres",
            pool_size=10,
            max_overflow=20,
            pool_pre_ping=True,
        )
        used = [engine.connect() for _ in range(9)]
        leaked = engine.connect()
        pids = [one.execute(text("SELECT pg_backend_pid()")).scalar() for one in [*used, leaked]]
        self.doomed[self.server.identity(pids[-1])] = "SQLAlchemy: checked out, a statement, forgotten"
        for connection in used:
            connection.close()  # back into the pool, and idle there
        self.sqlalchemy_idle = [self.server.identity(pid) for pid in pids[:-1]]
        self.engine = engine
        self.pools.append(leaked)
        what = "a worker's session in use"
        self.use(self.session(self.safe, what, "worker", "worker-busy"), what)
        say(
            "  worker        SQLAlchemy pool_size=10, max_overflow=20: 9 idle after a burst, 1 forgotten in a transaction"
        )

    def start_asyncpg(self):
        ready = threading.Event()

        async def main():
            import asyncpg

            pool = await asyncpg.create_pool(
                host="127.0.0.1", port=self.server.port, user="worker", database="postgres", min_size=5, max_size=20
            )
            rows = await asyncio.gather(
                *(pool.fetchval("SELECT pg_backend_pid() FROM pg_sleep(0.2)") for _ in range(8))
            )
            self.asyncpg_idle = [self.server.identity(pid) for pid in sorted(set(rows))]
            ready.set()
            while not self.stopped.is_set():
                await asyncio.sleep(0.2)
            pool.terminate()

        def work():
            try:
                asyncio.run(main())
            except Exception as error:  # noqa: BLE001
                self.errors.append(f"asyncpg: {error}")
                ready.set()

        self.run(work)
        ready.wait(20)
        say(f"  worker        asyncpg min 5, max 20: a burst left {len(self.asyncpg_idle)} idle")

    def start_others(self):
        for _ in range(7):
            self.query(self.session(self.doomed, "the ingest job's leak", "ingest", "telethon-ingest"), "SELECT 1")
        say("  ingest        a job that opens a connection for each batch, and closes none: 7 so far")
        for fate, what, count in (
            (self.doomed, "Studio's sessions over its quota, longest idle first", 4),
            (self.safe, "Studio's sessions within its quota", 2),
        ):
            for _ in range(count):
                self.query(self.session(fate, what, "studio", "postgres-meta 0.95.2"), "SELECT 1")
        say("  studio        postgres-meta, 6 idle; its quota is 2")
        forgotten = self.session(self.doomed, "a transaction left open in psql", "analyst", "psql")
        self.query(forgotten, "BEGIN")
        self.query(forgotten, "SELECT count(*) FROM pg_class")
        say("  analyst       BEGIN; SELECT ...; and off to lunch")
        dump = self.session(self.safe, "the backup (pg_dump), in its one long transaction", "backup", "pg_dump")
        self.query(dump, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self.query(dump, "SELECT count(*) FROM pg_class")
        report = self.session(self.safe, "reporting, protected by the file", "reporting", "dashboard")
        self.query(report, "SELECT 1")
        say("  backup        pg_dump, idle in its transaction between two tables")
        say("  reporting     idle, but protected by the file")

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(5)

    def idle_workers(self):
        return [identity for identity in self.sqlalchemy_idle + self.asyncpg_idle if self.server.is_alive(identity)]

    def is_done(self):
        return not any(map(self.server.is_alive, self.doomed)) and len(self.idle_workers()) <= KEPT


def report(path):
    done = subprocess.run([process.binary(), "report", "-c", path], stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"report ended with {done.returncode}")


def show_log(child):
    for line in child.stdout:
        print(paint("  | ", "36") + line.decode(errors="backslashreplace").rstrip("\n"), flush=True)


def status_of(path):
    """What a second shell would see."""
    done = subprocess.run(
        [process.binary(), "status", "-c", path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=20,
        check=False,
    )
    return done.stdout.decode(errors="backslashreplace").rstrip("\n")


def watch(path, crowd):
    """Runs pgvigil until nothing leaks any more, and one poll longer; its exit status, and its status at the end."""
    seen = ""
    child = process.spawn([process.binary(), "run", "-c", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    reader = threading.Thread(target=show_log, args=(child,), daemon=True)
    reader.start()
    try:
        process.wait_until(lambda: crowd.is_done() or child.poll() is not None, GIVE_UP, "the leaks to be gone", 0.2)
        time.sleep(2.5)
        seen = status_of(path)
    except process.Timeout:
        pass  # the verdict says what is left
    finally:
        status = process.stop_process(child)
        reader.join(5)
    return status, seen


def verdict(crowd, status, seen):
    good = True

    def line(holds, text):
        nonlocal good
        good = good and holds
        say(f"  {paint('ok  ', '32') if holds else paint('FAIL', '1;31')} {text}")

    for fates, alive, word in ((crowd.doomed, False, "ended"), (crowd.safe, True, "alive")):
        for what in dict.fromkeys(fates.values()):
            of_it = [identity for identity, text in fates.items() if text == what]
            right = sum(crowd.server.is_alive(identity) is alive for identity in of_it)
            line(right == len(of_it), f"{word} {right} of {len(of_it)}: {what}")
    left = len(crowd.idle_workers())
    n_idle = len(crowd.sqlalchemy_idle) + len(crowd.asyncpg_idle)
    line(
        left == KEPT,
        f"{left} of {n_idle} idle worker sessions are left (keep: 3, one is in use)",
    )
    line(not crowd.errors, "no application in use noticed anything" if not crowd.errors else "; ".join(crowd.errors))
    line("gone 4" in seen, "pgvigil status tells the four that the quota evicted")
    line(status == 0, f"pgvigil ended with status {status}")
    return good


def client_view(crowd):
    from sqlalchemy import text

    with crowd.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    say("  SQLAlchemy with pool_pre_ping=True took a connection from its pool again: it noticed nothing.")


def demo(directory):
    title("A private PostgreSQL server, max_connections = 48, and a stack of applications")
    with servers.Postgres(max_connections=48) as server:
        server.sql(ROLES)
        crowd = Crowd(server)
        try:
            crowd.start_postgrest()
            crowd.start_sqlalchemy()
            crowd.start_asyncpg()
            crowd.start_others()
            path = os.path.join(directory, "pgvigil.yaml")
            text = CONFIG.format(conninfo=server.conninfo(), directory=directory)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            title("The configuration")
            say("\n".join(f"  {line}".rstrip() for line in text.splitlines()))
            title("Who holds the slots now (pgvigil report)")
            report(path)
            title("pgvigil watches, and says what it does and why (pgvigil run)")
            status, seen = watch(path, crowd)
            title("What it saw and did, asked in a second shell (pgvigil status)")
            say(seen)
            title("Who is gone and who is alive, by pid and start of the backend")
            good = verdict(crowd, status, seen)
            client_view(crowd)
        finally:
            crowd.stop()
    return 0 if good else 1


def observe(directory):
    path = os.path.join(directory, "pgvigil.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(OBSERVE_CONFIG)
    title("Who holds the slots of your server (pgvigil report)")
    report(path)
    title(f"What pgvigil would do, for {OBSERVE} s (pgvigil run --observe); it ends nothing")
    child = process.spawn(
        [process.binary(), "run", "--observe", "-c", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    reader = threading.Thread(target=show_log, args=(child,), daemon=True)
    reader.start()
    try:
        child.wait(OBSERVE)
    except subprocess.TimeoutExpired:
        pass
    status = process.stop_process(child)
    reader.join(5)
    return status


def main():
    def stop(signo, _):
        signal.signal(signo, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # of ended connections, at the very end
    started = time.monotonic()
    directory = tempfile.mkdtemp(prefix="pgvigil-demo-")
    try:
        status = observe(directory) if os.environ.get("PGVIGIL_CONNINFO") else demo(directory)
        title(f"{'Done' if status == 0 else 'FAILED'} after {time.monotonic() - started:.0f} s")
        return status
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        servers.remove_templates()


if __name__ == "__main__":
    sys.exit(main())
