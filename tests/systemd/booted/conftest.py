# SPDX-License-Identifier: PostgreSQL
"""A server outside of the sandbox, and the service as installed, in a booted systemd (tests/support/sd-boot.sh)."""

import json
import os
import sys

import pytest

sys.dont_write_bytecode = True
here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [here, os.path.join(os.path.dirname(os.path.dirname(here)), "support")]

import host  # noqa: E402
from pgvtest import server as servers  # noqa: E402
from pgvtest.process import resident_bytes, wait_until  # noqa: E402

if not host.RESULT:
    collect_ignore_glob = ["test_*.py"]

PASSWORD = "a secret of the test"
HOUR_INTERVAL = 0.1
HOUR_PORT = 9433


@pytest.fixture(scope="session")
def module_server():
    with servers.Postgres(
        hba=["host all pgvigil 127.0.0.1/32 scram-sha-256", "local all peered peer map=fixed"]
    ) as postgres:
        postgres.sql("ALTER ROLE pgvigil PASSWORD %s", PASSWORD)
        postgres.sql("CREATE ROLE peered LOGIN IN ROLE pg_monitor, pg_signal_backend")
        with open(f"{postgres.directory}/data/pg_ident.conf", "a", encoding="ascii") as file:
            file.write("fixed pgvigil peered\n")
        postgres.sql("SELECT pg_reload_conf()")
        wait_until(lambda: postgres.value("SELECT count(*) FROM pg_ident_file_mappings") == 1, 10, "the map is read")
        yield postgres
    servers.remove_templates()


@pytest.fixture
def server(module_server):
    yield module_server
    module_server.close_sessions()


def configuration(server, timeouts=None, enforce=True, **target):
    return {
        "enforce": enforce,
        "targets": {
            "db": {
                "conninfo": server.conninfo(),
                "password_file": "${CREDENTIALS_DIRECTORY:-/etc/credstore}/pgvigil.password",
                "poll_interval": "500ms",
                **target,
            }
        },
        "protect": {"min_age": "0s"},
        "timeouts": timeouts or {},
    }


@pytest.fixture
def service(server):
    """The installed unit, stopped, with a good configuration and the password; stopped again afterwards."""
    host.write(host.CREDENTIAL, PASSWORD + "\n", 0o600)
    host.configure(configuration(server))
    yield host
    host.remove_drop_ins()
    host.systemctl("stop", "pgvigil")
    host.systemctl("reset-failed", "pgvigil", status=None)
    wait_until(lambda: server.own_pid() is None, 5, "the server has forgotten pgvigil")


@pytest.fixture(scope="session", autouse=True)
def hour(module_server):
    """A second daemon in the same sandbox, from before the first test on; yields what it was at its start."""
    module_server.sql("CREATE ROLE hour LOGIN IN ROLE pg_monitor")
    content = configuration(module_server, enforce=False, poll_interval=f"{HOUR_INTERVAL * 1000:.0f}ms")
    content["targets"]["db"]["conninfo"] = module_server.conninfo(user="hour")
    del content["targets"]["db"]["password_file"]
    content |= {"http": {"listen": f"127.0.0.1:{HOUR_PORT}"}, "control": {"socket": "off"}}
    host.write("/etc/pgvigil-hour/pgvigil.yaml", json.dumps(content))
    host.copy_unit(
        "pgvigil-hour",
        ("ExecStart=/usr/bin/pgvigil run", "ExecStart=/usr/bin/pgvigil run -c /etc/pgvigil-hour/pgvigil.yaml"),
        ("Directory=pgvigil\n", "Directory=pgvigil-hour\n"),
        # Not those of the service under test: they are to go with it.
        ("User=pgvigil-daemon\nGroup=pgvigil\n", "User=pgvigil-hour\nGroup=nogroup\n"),
    )
    host.systemctl("start", "pgvigil-hour")
    yield {"pid": host.main_pid("pgvigil-hour"), "resident": resident_bytes(host.main_pid("pgvigil-hour"))}
    host.systemctl("stop", "pgvigil-hour")
