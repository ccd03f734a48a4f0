# SPDX-License-Identifier: PostgreSQL
"""Fixtures: `server` is shared and swept between tests; `fresh_server` is for those that harm it."""

import os
import signal
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "support"))

from pgvtest import process, proxy, server as servers, stalls  # noqa: E402


def pytest_configure(config):
    def stop(signo, _):
        signal.signal(signo, signal.SIG_IGN)
        raise KeyboardInterrupt

    if not hasattr(config, "workerinput"):
        signal.signal(signal.SIGTERM, stop)
    stalls.register(config)
    if not os.access(process.binary(), os.X_OK):
        pytest.exit(f"no daemon at {process.binary()}: run ./tests/run integration", 2)


def pytest_collection_modifyitems(items):
    # xdist begins by handing out a part of them in order: what is with the longest one had better be short.
    items.sort(key=lambda item: 0 if item.get_closest_marker("long") else 1 if item.get_closest_marker("short") else 2)
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(pytest.mark.skip("needs root"))


@pytest.fixture(scope="session", autouse=True)
def templates():
    yield
    servers.remove_templates()


@pytest.fixture(scope="session")
def kept():
    """The server that the last file left as it found it, if it did, and how that looks."""
    kept = []
    yield kept
    for postgres, _ in kept:
        postgres.destroy()


@pytest.fixture(scope="module")
def module_server(kept):
    """For a file's tests: roles, databases and settings are theirs, and no file sees what another has left of these."""
    if not kept:
        postgres = servers.Postgres()
        kept.append((postgres, postgres.fingerprint()))
    postgres, fingerprint = kept[0]
    yield postgres
    if not postgres.is_running() or postgres.fingerprint() != fingerprint:
        kept.clear()
        postgres.destroy()


@pytest.fixture
def server(module_server):
    yield module_server
    module_server.end_sessions()
    # What a test changed in the catalog is the test's to undo; drop what is easily left behind.
    module_server.sql("ALTER ROLE pgvigil RESET ALL")


@pytest.fixture
def fresh_server():
    with servers.Postgres() as postgres:
        yield postgres


@pytest.fixture
def line(server):
    """A proxy in front of `server`."""
    with proxy.Proxy(server.port) as one:
        yield one
