# SPDX-License-Identifier: PostgreSQL
"""The services of conf/docker/compose.yaml as processes of this machine. What compose says of them is taken from there:
arguments of the server, settings of the pools, versions. Only hosts, ports and paths are other ones."""

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request

import psycopg2
import yaml

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "support"))
sys.dont_write_bytecode = True

from pgvtest import fetch, process, server as servers  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
CONF = os.path.join(process.ROOT, "conf", "docker")
PYTHON = ["/usr/bin/python3", "-B"]
PAUSE = 2.0  # seconds between the bursts of a worker, each of which opens what its pool lacks, and then closes it
# For the machine's sake.
LOCAL_SETTINGS = {"shared_buffers": "64MB", "log_min_messages": "fatal", "log_connections": "off"}
PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")


class Compose:
    def __init__(self):
        with open(os.path.join(CONF, "compose.yaml"), encoding="utf-8") as file:
            self.services = yaml.safe_load(file)["services"]

    def version(self, service):
        """What stands behind the colon of its image, without a leading v."""
        return self.services[service]["image"].rpartition(":")[2].removeprefix("v")

    def environment(self, service):
        return dict(self.services[service].get("environment", {}))

    def server_settings(self):
        """name -> value of `postgres -c name=value ...`, as the image hands them to the server."""
        words = shlex.split(self.services["db"]["command"])
        assert words[0] == "postgres" and words[1::2] == ["-c"] * (len(words) // 2), words
        return dict(word.split("=", 1) for word in words[2::2])


class Secrets:
    """What make-secrets.sh makes, where PostgreSQL's user may read it, too."""

    def __init__(self):
        self.directory = process.open_directory("pgvtest-secrets-")
        script = os.path.join(CONF, "make-secrets.sh")
        subprocess.run([script, self.directory], stdin=subprocess.DEVNULL, check=True, timeout=20)
        assert os.stat(self.directory).st_mode & 0o777 == 0o700
        os.chmod(self.directory, 0o755)

    def path(self, name):
        return os.path.join(self.directory, name)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def destroy(self):
        shutil.rmtree(self.directory, ignore_errors=True)


class Part:
    """A process that says at its end, in a last line of JSON, how it went."""

    def __init__(self, name, argv, environment, directory):
        self.name = name
        self.said = None
        self.log = os.path.join(directory, f"{name}.log")
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **environment}
        with open(self.log, "wb") as log:
            self.child = process.spawn(argv, stdout=log, stderr=log, cwd="/", env=environment)

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def is_running(self):
        return self.child.poll() is None

    def stop(self):
        if self.said is None:
            self.status = process.stop_process(self.child, signal.SIGTERM, 15)
            lines = [line for line in self.text().splitlines() if line.startswith("{")]
            self.said = json.loads(lines[-1]) if lines else {}
        return self.said

    def end_of_log(self):
        return self.text()[-1500:]


class Stack:
    """One server with its services. Everything is stopped by destroy()."""

    def __init__(self, compose, bindir):
        self.compose = compose
        self.directory = process.open_directory("pgvtest-stack-")
        self.secrets = Secrets()
        self.parts = {}
        self.pooler = self.meta = self.postgres = None
        self.left_out = []
        try:
            self._start_server(bindir)
        except BaseException:
            self.destroy()
            raise

    def destroy(self):
        for part in [*self.parts.values(), self.meta, self.pooler]:
            if part is not None:
                process.stop_process(part.child if isinstance(part, Part) else part, signal.SIGTERM, 5)
        if self.postgres:
            self.postgres.destroy()
        self.secrets.destroy()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.destroy()

    # The database

    def _start_server(self, bindir):
        settings = self.compose.server_settings()
        known = known_settings(bindir)
        self.left_out = [name for name in settings if name not in known]
        settings = {name: value for name, value in settings.items() if name in known}
        hba = ["local all web,pgbouncer scram-sha-256", "host all all 127.0.0.1/32 scram-sha-256"]
        self.postgres = servers.Postgres(hba, bindir, roles=None, **{**settings, **LOCAL_SETTINGS})
        self.postgres.sql("CREATE DATABASE app")
        for name in sorted(os.listdir(os.path.join(CONF, "initdb"))):
            self._run_sql(bindir, os.path.join(CONF, "initdb", name))

    def _run_sql(self, bindir, path):
        """As the image's entry point does."""
        psql = os.path.join(bindir, "psql")
        if not os.path.exists(psql):
            psql = os.path.join(servers.BINDIR, "psql")
        argv = [psql, "-v", "ON_ERROR_STOP=1", "--no-psqlrc", "--no-password", "-q", "-f", path]
        argv += ["-h", self.postgres.directory, "-p", str(self.postgres.port), "-U", "postgres", "-d", "app"]
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            env={**os.environ, "SECRETS": self.secrets.directory},
        )
        if done.returncode != 0 or done.stderr:
            raise RuntimeError(f"{path}: {done.stderr}")

    def sql(self, text, *parameters):
        return self.postgres.sql(text, *parameters)

    def login(self, user="worker", port=None, host="127.0.0.1", **more):
        """A connection as a service makes it: TCP, with its password."""
        connection = psycopg2.connect(
            host=host,
            port=port or self.postgres.port,
            user=user,
            dbname="app",
            password=self.secrets.read(f"{user}_password"),
            connect_timeout=10,
            **more,
        )
        connection.autocommit = True
        return connection

    # The services

    def environment(self, service):
        """Of a service, with this machine's places in it."""
        environment = self.compose.environment(service)
        port = self.pooler_port if environment.get("DB_HOST") == "pgbouncer" else self.postgres.port
        environment.update(DB_HOST="127.0.0.1", DB_PORT=str(port), DB_NAME="app")
        if "DB_PASSWORD_FILE" in environment:
            environment["DB_PASSWORD_FILE"] = self.secrets.path(os.path.basename(environment["DB_PASSWORD_FILE"]))
        return environment

    def start(self, name, argv, **environment):
        self.parts[name] = Part(name, argv, environment, self.directory)
        return self.parts[name]

    def start_worker(self, service):
        command = self.compose.services[service]["command"]
        argv = [*PYTHON, os.path.join(CONF, "workers", "worker.py"), command]
        return self.start(service, argv, **{**self.environment(service), "PAUSE": str(PAUSE)})

    def start_leak(self, rate, tasks):
        argv = [*PYTHON, os.path.join(HERE, "leak.py")]
        return self.start("leak", argv, **{**self.environment("worker"), "RATE": str(rate), "TASKS": str(tasks)})

    def start_postgrest(self):
        environment = self.environment("rest")
        environment.pop("PGRST_DB_URI")
        environment.update(
            DB_USER="authenticator",
            DB_PASSWORD_FILE=self.secrets.path("authenticator_password"),
            VERSION=self.compose.version("rest"),
        )
        return self.start("rest", [*PYTHON, os.path.join(HERE, "postgrest.py")], **environment)

    def start_pgbouncer(self):
        """Its very file, over the server's socket: so its connections have an address that nobody else has."""
        parser = pgbouncer_settings()
        place = f"host={self.postgres.directory} port={self.postgres.port}"
        parser["databases"]["app"] = re.sub(r"host=\S+ port=\S+", place, parser["databases"]["app"])
        self.pooler_port = servers.free_port()
        parser["pgbouncer"].update(
            listen_addr="127.0.0.1", listen_port=str(self.pooler_port), auth_file=self.secrets.path("pgbouncer_users")
        )
        path = os.path.join(self.directory, "pgbouncer.ini")
        with open(path, "w", encoding="utf-8") as file:
            parser.write(file)
        with open(os.path.join(self.directory, "pgbouncer.log"), "wb") as log:
            self.pooler = process.spawn([PGBOUNCER, path], unprivileged=True, stdout=log, stderr=log, cwd="/")

        def answers():
            assert self.pooler.poll() is None, open(log.name, encoding="utf-8").read()
            try:
                self.login("web", self.pooler_port).close()
                return True
            except psycopg2.OperationalError:
                return False

        process.wait_until(answers, 15, lambda: "PgBouncer; " + open(log.name, encoding="utf-8").read()[-2000:])

    def start_meta(self, folder):
        environment = self.compose.environment("meta")
        for name in ("PG_META_DB_PASSWORD_FILE", "CRYPTO_KEY_FILE"):
            environment[name] = self.secrets.path(os.path.basename(environment[name]))
        self.meta_port = servers.free_port()
        environment.update(
            PG_META_HOST="127.0.0.1",
            PG_META_PORT=str(self.meta_port),
            PG_META_DB_HOST="127.0.0.1",
            PG_META_DB_PORT=str(self.postgres.port),
        )
        script = os.path.join(folder, "node_modules", "@supabase", "postgres-meta", "dist", "server", "server.js")
        # Its admin port is always the next one.
        self.meta = Part("meta", ["node", script], {**environment, "HOME": self.directory}, self.directory)

        def answers():
            assert self.meta.is_running(), self.meta.end_of_log()
            return self.ask_meta("/health", timeout=2) == 200

        process.wait_until(answers, 60, lambda: "postgres-meta; " + self.meta.end_of_log(), 0.2)

    def ask_meta(self, path, query=None, timeout=20):
        """Status of an HTTP request; what it was told when it was none."""
        data = json.dumps({"query": query}).encode() if query else None
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.meta_port}{path}", data, {"Content-Type": "application/json"} if data else {}
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                answer.read()
                return answer.status
        except urllib.error.HTTPError as error:
            return f"{error.code} {error.read()[:200].decode(errors='replace')}"
        except OSError as error:
            return str(error)


def pgbouncer_settings():
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=(";",))
    parser.optionxform = str
    parser.read(os.path.join(CONF, "pgbouncer.ini"), encoding="utf-8")
    return parser


def known_settings(bindir):
    """Names of all settings that a server knows."""
    with tempfile.TemporaryDirectory(prefix="pgvtest-") as directory:
        os.chmod(directory, 0o755)
        return set(
            line.split("\t")[0]
            for line in process.run_unprivileged([f"{bindir}/postgres", "--describe-config"]).splitlines()
        )


def server_programs(compose):
    """Folder of the server's programs in the version that compose names, else of this machine's; and why not."""
    major = re.match(r"\d+", compose.version("db")).group()
    suites = {"17": "trixie", "18": "sid"}
    bindir, why = fetch.postgresql(suites[major], major) if major in suites else (None, "no suite of Debian has it")
    return (bindir, None) if bindir else (servers.BINDIR, f"PostgreSQL {major} cannot be had ({why})")


def meta_program(compose):
    """Folder in which npm has installed postgres-meta in the version that compose names."""
    if not shutil.which("node") or not shutil.which("npm"):
        return None, "no node or no npm here"
    version = compose.version("meta")
    package = f"@supabase/postgres-meta@{version}"
    argv = ["npm", "install", "--prefix", "{dest}", "--no-save", "--omit=dev", "--ignore-scripts"]
    argv += ["--no-audit", "--no-fund"]
    return fetch.once(f"postgres-meta-{version}", [*argv, package], 180)
