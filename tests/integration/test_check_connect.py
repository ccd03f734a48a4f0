# SPDX-License-Identifier: PostgreSQL
"""check --connect: what a file and a live server do not agree about, each with its line and what mends it."""

import json
import re
import time
from collections import namedtuple

import psycopg2
import pytest

from pgvtest import fetch, process, server as servers
from pgvtest.clients import Busy, Session, idle
from pgvtest.daemon import Daemon, command, config

from test_pooler import pooler  # noqa: F401

DONE, FAILED, CONFIG = 0, 1, 78
FINDING = re.compile(
    r"^(?P<file>[^:\n]+)(?::(?P<line>\d+):\d+)?: (?P<level>error|warning|note): (?P<path>[^:]+): (?P<text>.*)$"
)

Finding = namedtuple("Finding", "line level path text mend")

HEAD = """enforce: true
targets:
  db:
    conninfo: {conninfo}
"""


class Check:
    """A file, and what check --connect says of it. `text` goes below the targets."""

    def __init__(self, tmp_path, server, text="", conninfo=None, **more):
        self.path = str(tmp_path / "pgvigil.yaml")
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(HEAD.format(conninfo=conninfo or server.conninfo(**more)) + text)
        self.lines = (HEAD + text).split("\n")
        self.run()

    def run(self):
        self.done = command("check", "-c", self.path, "--connect")
        assert not self.done.stderr, self.done
        self.findings = []
        lines = self.done.stdout.split("\n")
        for line, after in zip(lines, lines[1:] + [""]):
            match = FINDING.match(line)
            if match:
                assert match["file"] == self.path, line
                mend = after.partition("mend: ")[2]
                self.findings.append(Finding(int(match["line"]), match["level"], match["path"], match["text"], mend))
        assert self.done.returncode == (FAILED if self.findings else DONE), self.done
        last = lines[-2]
        assert last.endswith(": ok, no findings") != bool(self.findings), last
        return self

    def of(self, path):
        return [finding for finding in self.findings if finding.path == path]

    def only(self, path):
        found = self.of(path)
        assert len(found) == 1, self.done.stdout
        return found[0]

    def paths(self):
        """Without what every server before 16 says."""
        return {finding.path for finding in self.findings if "reserved slots" not in finding.text}

    def at(self, finding):
        """The text of the line that it names."""
        return self.lines[finding.line - 1].strip()

    def row(self, name):
        """Cells of a table's row."""
        rows = [line.split() for line in self.done.stdout.split("\n") if line.startswith(f"  {name} ")]
        assert len(rows) == 1, self.done.stdout
        return rows[0][1:]


def test_nothing_to_say(server, tmp_path):
    idle(server, 2, "worker")
    text = "apps:\n  worker: { match: { user: worker }, pool: 10 }\n"
    text += "timeouts:\n  idle: { state: idle, after: 1h, match: { app: worker } }\n"
    check = Check(tmp_path, server, text)
    assert check.paths() == set()
    assert [finding.path for finding in check.findings] == ["targets.db"]  # no slot is reserved before 16
    assert check.findings[0].level == "note" and check.at(check.findings[0]).startswith("conninfo:")
    assert check.row("timeouts.idle") == ["terminate", "2", "-", "-", "0"]
    assert check.row("worker") == ["10", "2"] and "all pools: 10 of 47 usable slots" in check.done.stdout


def test_what_would_end_now(server, tmp_path):
    sessions = idle(server, 3, "worker")
    Session(server, "worker").begin()
    time.sleep(0.3)  # three times what the rules allow
    text = "protect: { min_age: 0s }\n"
    text += "timeouts:\n"
    text += "  idle: { state: idle, after: 100ms, match: { user: worker }, keep: 2 }\n"
    text += "  told: { state: idle in transaction, after: 100ms, match: { user: worker }, action: log }\n"
    text += "quotas:\n  worker: { match: { user: worker }, max: 1, min_idle: 0s, enforce: false }\n"
    check = Check(tmp_path, server, text)
    assert check.row("timeouts.idle") == ["terminate", "4", "-", "3", "2"]
    assert check.row("timeouts.told") == ["log", "4", "-", "1", "(reports", "1)"]
    assert check.row("quotas.worker")[0] == "terminate" and check.row("quotas.worker")[-1] == "1"
    assert all(session.alive() for session in sessions)


def test_nobody(server, tmp_path):
    idle(server, 1, "worker")
    text = "apps:\n  worker: { match: { user: worker } }\n  ghost:\n    match: { user: ghost }\n"
    text += "  late: { match: { user: work* } }\n"
    text += "timeouts:\n  idle:\n    state: idle\n    after: 1h\n    match: { user: nobody }\n"
    text += "quotas:\n  q:\n    max: 3\n    match: { app: ghost }\n"
    text += "alarms:\n  a: { metric: idle, match: { app: worker }, above: { warning: 5 } }\n"
    text += "  b:\n    metric: idle\n    match: { app: ghost }\n    above: { warning: 5 }\n"
    check = Check(tmp_path, server, text)
    rules = {"timeouts.idle.match", "quotas.q.match", "alarms.b.match"}
    assert check.paths() == {"apps.ghost.match", "apps.late.match"} | rules
    for path, user in (("apps.ghost.match", "ghost"), ("timeouts.idle.match", "nobody")):
        found = check.only(path)
        assert found.level == "note" and found.mend and check.at(found) == f"match: {{ user: {user} }}"
    late = check.only("apps.late.match")
    assert "claimed by apps before it, such as worker" in late.text and late.level == "warning"


def test_missing_rights(server, tmp_path):
    server.sql("CREATE ROLE weak LOGIN")
    try:
        check = Check(tmp_path, server, user="weak")
        texts = [(finding.text, finding.mend) for finding in check.of("targets.db")]
        assert any("not allowed to see" in text and mend == "GRANT pg_monitor TO weak" for text, mend in texts)
        assert any("not allowed to end" in text and mend == "GRANT pg_signal_backend TO weak" for text, mend in texts)
        # One role by one name, in the finding as in what came of it: the one that setup-sql grants.
        assert any("may not see their state" in text and mend.startswith("GRANT pg_monitor TO ") for text, mend in texts)
        assert not any("pg_read_all_stats" in text + mend for text, mend in texts)
    finally:
        server.sql("DROP ROLE weak")


def test_own_limit(server, tmp_path):
    server.sql("ALTER ROLE pgvigil CONNECTION LIMIT 2")
    try:
        check = Check(tmp_path, server)
        mends = [finding.mend for finding in check.of("targets.db")]
        assert mends.count("ALTER ROLE pgvigil CONNECTION LIMIT 3") == 1
        assert len([finding for finding in check.findings if "CONNECTION LIMIT" in finding.mend]) == 1
    finally:
        server.sql("ALTER ROLE pgvigil CONNECTION LIMIT -1")


def test_connection_limits(server, tmp_path):
    idle(server, 2, "worker")
    server.sql("ALTER ROLE worker CONNECTION LIMIT 5")
    server.sql("ALTER ROLE app CONNECTION LIMIT 5")  # nobody is there: of no interest
    server.sql("ALTER DATABASE postgres CONNECTION LIMIT 40")
    try:
        text = "apps:\n  worker:\n    match: { user: worker }\n    pool: 20\n"
        text += "quotas:\n  w:\n    match: { app: worker }\n    max: 5\n  fine: { match: { app: worker }, max: 4 }\n"
        check = Check(tmp_path, server, text)
        pool = check.only("apps.worker.pool")
        assert "role worker may hold 5 connections" in pool.text and check.at(pool) == "pool: 20"
        assert pool.mend.startswith('ALTER ROLE "worker" CONNECTION LIMIT 20')
        quota = check.only("quotas.w.max")
        assert "never bites at 5" in quota.text and check.at(quota) == "max: 5"
        assert not check.of("quotas.fine.max")
        about = [finding.text for finding in check.of("targets.db")]
        assert len([text for text in about if "role worker may hold 5" in text and "2 are in use" in text]) == 1
        assert len([text for text in about if "database postgres takes 40" in text]) == 1
    finally:
        server.sql("ALTER ROLE worker CONNECTION LIMIT -1")
        server.sql("ALTER ROLE app CONNECTION LIMIT -1")
        server.sql("ALTER DATABASE postgres CONNECTION LIMIT -1")


def test_superusers(server, tmp_path):
    Session(server, "batch", query="SELECT 1")
    idle(server, 1, "worker")
    rules = "timeouts:\n  both: { state: idle, after: 1h, match: { user: [batch, worker] } }\n"
    rules += "  other: { state: active, after: 1h, match: { user: [batch, worker] } }\n"
    check = Check(tmp_path, server, rules)
    assert check.paths() == {"timeouts.both"}
    found = check.only("timeouts.both")
    assert found.level == "note" and "1 of the 2 sessions" in found.text and "batch" in found.text and found.mend
    check = Check(tmp_path, server, "protect: { superusers: false }\n" + rules)
    found = check.only("timeouts.both")
    assert found.level == "warning" and "42501" in found.text


def test_protected(server, tmp_path):
    Session(server, "batch", query="SELECT 1")
    idle(server, 1, "worker", application_name="pg_dump")
    text = "apps:\n  backup: { match: { user: worker, application_name: pg_dump } }\n"
    text += "protect:\n  match: [ { user: rep* }, { client_addr: 10.0.0.0/8 } ]\n"
    text += "timeouts:\n"
    never = {
        "a": "{ user: replicator }",
        "b": "{ client_addr: 10.1.0.0/16, user: [x, y] }",
        "c": "[ { superuser: true }, { application_name: pg_basebackup } ]",
        "d": "{ app: backup }",
    }
    for name, match in never.items():
        text += f"  {name}:\n    state: idle\n    after: 1h\n    match: {match}\n"
    text += "  now: { state: idle, after: 1h, match: { user: batch } }\n"
    text += "  listed: { state: idle, after: 1h, match: { user: [batch, nobody] } }\n"
    text += "  ignored: { state: idle, after: 1h, match: { user: worker }, ignore: { user: work* } }\n"
    text += "quotas:\n  q: { match: { user: replicator }, max: 3 }\n"
    text += "  log: { match: { user: rep-2 }, max: 3, action: log }\n"
    check = Check(tmp_path, server, text)
    for name, match in never.items():
        found = check.only(f"timeouts.{name}.match")
        assert found.level == "warning" and "the rule can never end a session" in found.text and found.mend, found
        if match.startswith("{"):
            assert check.at(found) == f"match: {match}"
    assert "can never end" in check.only("quotas.q.match").text
    assert "no session" in check.only("quotas.log.match").text
    assert "can never cover" in check.only("timeouts.ignored.match").text
    for name in ("now", "listed"):
        found = check.only(f"timeouts.{name}.match")
        assert "the 1 session that it covers now is protected" in found.text and "batch" in found.text, found


def test_pools(server, tmp_path):
    text = "apps:\n  a: { match: { user: worker }, pool: 40 }\n  b: { match: { user: app }, pool: 10 }\n"
    idle(server, 1, "worker")
    idle(server, 1, "app")
    check = Check(tmp_path, server, text)
    found = check.only("apps")
    assert "sum up to 50, 3 more than the 47 usable slots" in found.text and check.at(found) == "apps:"
    assert "max_connections = 53" in found.mend
    assert check.row("a") == ["40", "1"] and "all pools: 50 of 47 usable slots" in check.done.stdout


def test_server_timeouts(server, tmp_path):
    idle(server, 2, "worker")
    idle(server, 1, "app")
    server.sql("ALTER SYSTEM SET idle_session_timeout = '30min'")
    server.sql("SELECT pg_reload_conf()")
    server.sql("ALTER ROLE worker SET idle_in_transaction_session_timeout = '1min'")
    server.sql("ALTER ROLE app IN DATABASE postgres SET statement_timeout = '1.5 h'")
    server.sql("ALTER ROLE worker SET idle_session_timeout = 0")
    server.sql("ALTER ROLE pgvigil SET statement_timeout = '5s'")  # ours says nothing of others
    try:
        process.wait_until(lambda: server.value("SHOW idle_session_timeout") == "30min", 10)
        text = "timeouts:\n"
        for name, more in {
            "idle": "state: idle\n    after: 1h",
            "quick": "state: idle\n    after: 10min",
            "leak": "state: idle in transaction\n    after: 5min\n    match: { user: worker }",
            "other-leak": "state: idle in transaction\n    after: 5min\n    match: { user: app }",
            "long": "state: active\n    after: 2h\n    action: cancel",
            "transaction": "state: any\n    since: xact_start\n    after: 2h\n    match: { user: worker }",
            "nobody": "state: idle\n    after: 2h\n    match: { user: nobody }",
        }.items():
            text += f"  {name}:\n    {more}\n"
        check = Check(tmp_path, server, text)
        found = check.only("timeouts.idle.after")
        # Those of worker have none; of the rest one is the test's own, and not ours.
        assert "idle_session_timeout ends sessions that are idle after 30min" in found.text
        assert "for 2 of the 4 sessions" in found.text and check.at(found) == "after: 1h"
        assert "ALTER SYSTEM SET idle_session_timeout = 0" in found.mend
        found = check.only("timeouts.leak.after")
        assert "(ALTER ROLE worker)" in found.text and "ALTER ROLE worker SET idle_in_transaction" in found.mend
        found = check.only("timeouts.long.after")
        assert "statement_timeout ends statements after 1h30min" in found.text
        assert "(ALTER ROLE app IN DATABASE postgres)" in found.text and "for 1 of the 4" in found.text
        assert "idle_session_timeout" in check.only("timeouts.nobody.after").text
        for name in ("quick", "other-leak", "transaction"):
            assert not check.of(f"timeouts.{name}.after")
    finally:
        server.sql("ALTER SYSTEM RESET idle_session_timeout")
        server.sql("SELECT pg_reload_conf()")
        server.sql("ALTER ROLE worker RESET ALL")
        server.sql("ALTER ROLE app IN DATABASE postgres RESET ALL")


def test_collation(server, tmp_path):
    create = "CREATE DATABASE \"col La\" LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C' TEMPLATE template0"
    try:
        server.sql(create)
    except psycopg2.Error as error:
        pytest.skip(f"a server without ICU: {error}")
    try:
        assert Check(tmp_path, server).paths() == set()
        server.sql("UPDATE pg_database SET datcollversion = '1.0' WHERE datname = 'col La'")
        found = [finding for finding in Check(tmp_path, server).of("targets.db") if "collation" in finding.text]
        assert len(found) == 1 and found[0].level == "warning" and "built with collation version 1.0" in found[0].text
        assert found[0].mend == 'REINDEX DATABASE "col La"; ALTER DATABASE "col La" REFRESH COLLATION VERSION'
    finally:
        server.sql('DROP DATABASE "col La"')


def test_watchdogs(server, tmp_path):
    check = Check(tmp_path, server)
    assert check.paths() == set()
    with Daemon(config(server)) as first:
        first.wait_up()
        assert check.run().paths() == set()  # the daemon that the file is for
        with Daemon(config(server)) as second:
            second.wait_up()
            found = [finding for finding in check.run().findings if "watchdogs" in finding.text]
            assert len(found) == 1 and found[0].text.count("pid ") == 2
            assert found[0].text.count("holds the lock") == 1 and "the first to hold the lock acts" in found[0].mend
    process.wait_until(lambda: server.count("usename = 'pgvigil'") == 0, 10)
    # From somewhere else: over the socket, while we come over TCP.
    with Daemon(config(server, target={"conninfo": server.conninfo(host=server.directory)})) as other:
        other.wait_up()
        found = [finding for finding in check.run().findings if "watchdogs" in finding.text]
        assert len(found) == 1 and "from local" in found[0].text
    server.sql("CREATE ROLE stranger LOGIN")
    try:
        stranger = Session(server, "stranger")
        stranger.run("SELECT pg_advisory_lock(1885828713, 1734962225)")
        found = [finding for finding in check.run().findings if "another role holds the lock" in finding.text]
        assert len(found) == 1 and "of role stranger" in found[0].text
        stranger.close()
    finally:
        process.wait_until(lambda: server.count("usename = 'stranger'") == 0, 10)
        server.sql("DROP ROLE stranger")


def test_a_prepared_transaction_holds_the_lock(tmp_path):
    """It has no pid: what is asked about the others must not depend on it."""
    with servers.Postgres(max_prepared_transactions=1) as server:
        stranger = Session(server, "app", application_name="pgvigil")
        server.sql("BEGIN; SELECT pg_advisory_xact_lock(1885828713, 1734962225); PREPARE TRANSACTION 'held'")
        found = [finding.text for finding in Check(tmp_path, server).of("targets.db") if "watchdogs" in finding.text]
        assert len(found) == 1 and f"are connected: pid {stranger.pid} of role app" in found[0]


def test_pooler(server, pooler, tmp_path):  # noqa: F811
    idle(server, 1, "worker")
    check = Check(tmp_path, server, port=pooler)
    found = [finding for finding in check.of("targets.db") if "pooler" in finding.text]
    assert len(found) == 1 and found[0].level == "error" and "conninfo" in found[0].mend


def test_server_is_down(server, tmp_path):
    port = servers.free_port()
    check = Check(tmp_path, server, "timeouts:\n  it: { state: idle, after: 1h, match: { user: nobody } }\n", port=port)
    assert [finding.path for finding in check.findings] == ["targets.db"]
    assert check.findings[0].level == "error" and "unreachable" in check.findings[0].text and check.findings[0].mend


def test_several_servers(server, tmp_path):
    """What covers nobody on one server alone is no finding."""
    idle(server, 1, "worker")
    with servers.Postgres() as other:
        other_idle = idle(other, 1, "app")
        text = f"  other:\n    conninfo: {other.conninfo()}\n"
        text += "apps:\n  worker: { match: { user: worker }, pool: 30 }\n  app: { match: { user: app }, pool: 30 }\n"
        text += "  ghost: { match: { user: ghost }, pool: 40 }\n"
        check = Check(tmp_path, server, text)
        assert check.paths() == {"apps.ghost.match"}
        assert len(check.of("apps.ghost.match")) == 1 and " on " not in check.only("apps.ghost.match").text
        assert other_idle[0].alive()
        # On which server an app lives only its sessions tell: other pools are shown, and are not in the sum.
        here, there = check.done.stdout.split("\nother: PostgreSQL")
        assert re.search(r"^  worker +30 +1$", here, re.MULTILINE), here
        assert re.search(r"^  app +\(left out\) 30 +-$", here, re.MULTILINE), here
        assert re.search(r"^  worker +\(left out\) 30 +-$", there, re.MULTILINE), there
        for table in (here, there):
            assert re.search(r"^  ghost +\(left out\) 40 +-$", table, re.MULTILINE), table
            assert "\n  all pools: 30 of " in table and "\n  left out: 70, of apps without a session here" in table
        done = command("check", "-c", check.path, "--connect", "--json")
        target = json.loads(done.stdout)["targets"][0]
        assert (target["pools"], target["pools_left_out"]) == (30, 70)
        assert [(one["app"], one["pool"], one["counted"]) for one in target["apps"]] == [
            ("worker", 30, True),
            ("app", 30, False),
            ("ghost", 40, False),
        ]
        # Of a server that does not answer nobody knows.
        other.stop()
        check.run()
        assert check.paths() == {"targets.other"} and check.only("targets.other").level == "error"


def test_hostile_names(server, tmp_path):
    name = 'evil\x1b[31m"\nrole'
    quoted = '"' + name.replace('"', '""') + '"'
    server.sql(f"CREATE ROLE {quoted} LOGIN SUPERUSER")
    try:
        session = Session(server, name, query="SELECT 1")
        idle(server, 1, "worker")
        check = Check(tmp_path, server, "timeouts:\n  it: { state: idle, after: 1h, match: { database: postgres } }\n")
        assert "evil\\x1b[31m" in check.done.stdout or "postgres" in check.only("timeouts.it").text
        assert "\x1b" not in check.done.stdout
        session.close()
    finally:
        server.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", name)
        server.sql(f"DROP ROLE {quoted}")


def test_of_a_bad_file_no_server_is_asked(server, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(HEAD.format(conninfo=server.conninfo()) + "timeouts:\n  it: { state: idle, after: 10 }\n")
    before = server.n_logins()
    done = command("check", "-c", str(path), "--connect")
    assert done.returncode == CONFIG and not done.stdout and server.n_logins() == before


def test_without_a_file(server):
    done = command("check", "--connect", "--conninfo", server.conninfo())
    assert done.returncode == FAILED and "reserved slots" in done.stdout and server.conninfo() not in done.stdout


def test_json(server, tmp_path):
    idle(server, 2, "worker")
    text = "apps:\n  worker: { match: { user: worker }, pool: 90 }\n"
    text += "timeouts:\n  it: { state: idle, after: 1h, match: { user: nobody } }\n"
    check = Check(tmp_path, server, text)
    done = command("check", "-c", check.path, "--connect", "--json")
    assert done.returncode == FAILED and not done.stderr
    content = json.loads(done.stdout)
    told = [(one["line"], one["level"], one["path"], one["hint"]) for one in content["findings"]]
    assert told == [(one.line, one.level, one.path, one.mend) for one in check.findings]
    target = content["targets"][0]
    assert target["pools"] == 90 and target["apps"] == [{"app": "worker", "pool": 90, "counted": True, "sessions": 2}]
    assert target["pools_left_out"] == 0
    assert target["rules"][0]["covers"] == 0 and target["usable"] == 47
    assert command("check", "-c", check.path, "--json").returncode == 2


def test_leaves_nothing_behind(server, tmp_path):
    busy = Busy(server, "SELECT pg_sleep(60)", "worker")
    time.sleep(0.3)
    text = "protect: { min_age: 0s }\ntimeouts:\n  it: { state: active, after: 100ms, match: { user: worker } }\n"
    assert Check(tmp_path, server, text).row("timeouts.it")[-1] == "1"
    assert busy.alive()
    process.wait_until(lambda: server.count("usename = 'pgvigil'") == 0, 10)
    assert server.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


@pytest.mark.parametrize("suite, major", [("bullseye", 13), ("trixie", 17), ("sid", 18)])
def test_versions(suite, major, tmp_path):
    bindir, why = fetch.postgresql(suite, major)
    if bindir is None:
        pytest.skip(f"PostgreSQL {major} cannot be had: {why}")
    modern = major >= 16
    with servers.Postgres(bindir=bindir, **({"reserved_connections": 3} if modern else {})) as server:
        if modern:
            server.sql("GRANT pg_use_reserved_connections TO pgvigil")
            server.sql("ALTER ROLE worker SET transaction_timeout = '10s'")
        server.sql("ALTER ROLE worker SET idle_in_transaction_session_timeout = '10s'")
        idle(server, 1, "worker")
        text = "timeouts:\n  leak: { state: idle in transaction, after: 1min, match: { user: worker } }\n"
        check = Check(tmp_path, server, text)
        assert check.paths() == {"timeouts.leak.after"}
        texts = " ".join(finding.text for finding in check.of("timeouts.leak.after"))
        assert "idle_in_transaction_session_timeout" in texts
        assert ("transaction_timeout ends transactions" in texts) == modern
        server.sql("ALTER ROLE worker RESET ALL")
        check.run()
        assert check.paths() == set() and check.done.returncode == (DONE if modern else FAILED)
