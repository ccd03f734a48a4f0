# SPDX-License-Identifier: PostgreSQL
"""Every command: what it prints, where, and its exit status."""

import csv
import io
import json
import os
import signal
import subprocess
import time

import pytest

from pgvtest import process
from pgvtest.clients import Session, idle
from pgvtest.daemon import Daemon, command, config, rule, write_config
from pgvtest.server import Postgres

DONE, FAILED, USAGE, CONFIG = 0, 1, 2, 78
MARKER = "s3cr3tMARKER"


@pytest.fixture
def no_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("PG") and not name.startswith(("PGVIGIL_BINARY", "PGVIGIL_SAN", "PGVTEST")):
            monkeypatch.delenv(name)


def test_version_and_help():
    for arguments in (["version"], ["--version"], ["-V"]):
        done = command(*arguments)
        assert done.returncode == DONE and done.stdout.startswith("pgvigil ") and not done.stderr
    overview = command("help")
    assert overview.returncode == DONE and overview.stdout == command("--help").stdout == command("-h").stdout
    assert overview.stdout.count("\n") <= 24
    for name in ("run", "check", "report", "reap", "setup-sql", "version", "help"):
        assert name in overview.stdout
        one = command("help", name)
        assert one.returncode == DONE and one.stdout.startswith(f"usage: pgvigil {name}")
        assert one.stdout == command(name, "--help").stdout
        assert one.stdout.count("\n") <= 40 and max(map(len, one.stdout.split("\n"))) <= 100


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frob"],
        ["run", "--frob"],
        ["run", "extra"],
        ["report", "--format", "xml"],
        ["reap"],
        ["check", "-c"],
        ["reap", "--idle", "10"],
        ["help", "frob"],
        ["report", "--watch=0"],
    ],
)
def test_wrong_usage(arguments):
    done = command(*arguments)
    assert done.returncode == USAGE, done
    assert not done.stdout and done.stderr


def test_check(server, tmp_path):
    path = write_config(tmp_path, config(server, {"it": rule("10min")}))
    done = command("check", "-c", path)
    assert done.returncode == DONE, done
    bad = config(server, {"it": {"state": "idle", "after": 10}})
    bad["targetz"] = {}
    path = write_config(tmp_path, bad)
    done = command("check", "-c", path)
    assert done.returncode == CONFIG
    assert done.stderr.count(": error: ") == 2 and 'did you mean "targets"' in done.stderr
    assert f"{path}:" in done.stderr
    assert command("run", "-c", path).returncode == CONFIG
    assert command("report", "-c", path).returncode == CONFIG
    assert command("check", "-c", str(tmp_path / "none.yaml")).returncode == CONFIG


def test_check_print_is_a_configuration(server, tmp_path):
    path = write_config(
        tmp_path,
        config(server, {"it": rule("10min", match={"user": "worker"})}, apps={"a": {"match": {"user": "worker"}}}),
    )
    printed = command("check", "-c", path, "--print")
    assert printed.returncode == DONE, printed
    assert "10min" in printed.stdout and "pg_dump" in printed.stdout


def test_without_any_configuration(no_environment, tmp_path):
    done = command("run", env={"PATH": os.environ["PATH"]})
    assert done.returncode in (USAGE, CONFIG) and "PGVIGIL_CONNINFO" in done.stderr


def test_run_with_conninfo_observes(server):
    session = Session(server, "worker", query="SELECT 1")
    child = process.spawn(
        [process.binary(), "run", "--conninfo", server.conninfo()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    process.wait_until(server.own_pid, 10)
    assert process.stop_process(child) == DONE
    child.stdout.close()
    assert session.alive()


def test_conf_d_is_merged(server, tmp_path):
    path = write_config(tmp_path, config(server, {"it": rule("1h", match={"user": "worker"})}))
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "10-quick.yaml").write_text("timeouts:\n  it:\n    after: 1s\n")
    session = Session(server, "worker", query="SELECT 1")
    with open(tmp_path / "out", "wb") as out:
        child = process.spawn([process.binary(), "run", "-c", path], stdout=out)
    try:
        session.wait_dead()
    finally:
        assert process.stop_process(child) == DONE


# report


def crowd(server):
    sessions = idle(server, 3, "worker", application_name="worker-1")
    sessions.append(Session(server, "app", application_name="open").begin())
    sessions.append(Session(server, "ingest", query="SELECT 1"))
    return sessions


def test_report_table(server):
    crowd(server)
    done = command("report", "--conninfo", server.conninfo())
    assert done.returncode == DONE, done
    for word in ("worker", "ingest", "idle in transaction", "50"):
        assert word in done.stdout
    assert "\x1b" not in done.stdout and not any(line != line.rstrip() for line in done.stdout.split("\n"))


def test_report_json(server):
    sessions = crowd(server)
    done = command("report", "--conninfo", server.conninfo(), "--format", "json")
    assert done.returncode == DONE, done
    content = json.loads(done.stdout)
    text = json.dumps(content)
    assert str(sessions[3].pid) in text and '"worker' in text


def test_report_csv(server):
    crowd(server)
    done = command("report", "--conninfo", server.conninfo(), "--format", "csv")
    assert done.returncode == DONE, done
    rows = list(csv.reader(io.StringIO(done.stdout)))
    assert len({len(row) for row in rows}) == 1 and len(rows) >= 4
    assert any("worker" in row for row in rows)


def test_report_tells_alarms_and_rules_and_ends_nothing(server, tmp_path):
    sessions = idle(server, 3, "worker")
    time.sleep(0.3)
    content = config(
        server,
        {"it": rule("100ms", match={"user": "worker"}, keep=1)},
        quotas={"most": {"match": {"user": "worker"}, "max": 1, "min_idle": "0s"}},
        alarms={"many": {"metric": "connections", "match": {"user": "worker"}, "above": {"critical": 2}, "for": "0s"}},
    )
    path = write_config(tmp_path, content)
    table = command("report", "-c", path)
    assert table.returncode == DONE and "\nCRITICAL many: connections 3\n" in table.stdout, table
    row = next(line.split() for line in table.stdout.split("\n") if line.startswith("  timeouts.it "))
    assert row[1:] == ["terminate", "3", "3", "2", "keep", "1"], table.stdout
    target = json.loads(command("report", "-c", path, "--format", "json").stdout)["targets"][0]
    assert [(alarm["name"], alarm["value"], alarm["unit"]) for alarm in target["alarms"]] == [("many", 3, "sessions")]
    assert [(one["kind"], one["name"]) for one in target["rules"]] == [("timeout", "it"), ("quota", "most")]
    assert target["rules"][0]["held_back"] == {"observe": 2, "keep": 1}
    assert "no_reserved_slot" in {finding["reason"] for finding in target["findings"]}
    assert all(session.alive() for session in sessions)


def test_report_watch(server):
    child = process.spawn(
        [process.binary(), "report", "--conninfo", server.conninfo(), "--watch=500ms"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    own = process.wait_until(server.own_pid)
    time.sleep(2.5)
    assert child.poll() is None, child.communicate()
    assert server.own_pid() == own, "one connection, held from round to round"
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=10)
    assert child.returncode == 0 and out.count(b"usable slots in use") >= 3, (out, err)
    process.wait_until(lambda: server.count("usename = 'pgvigil'") == 0)


def test_report_fails_with_a_hint():
    done = command("report", "--conninfo", "host=127.0.0.1 port=1 user=x dbname=postgres")
    assert done.returncode == FAILED and not done.stdout
    assert "hint" in done.stderr


def test_report_on_a_full_server_says_so():
    with Postgres(max_connections=12, superuser_reserved_connections=3) as server:
        sessions = idle(server, 8)
        done = command("report", "--conninfo", server.conninfo())
        assert done.returncode == FAILED and "53300" in done.stderr and "sudo -u postgres pgvigil reap" in done.stderr
        for session in sessions:
            session.close()


def test_report_of_hostile_names(server):
    server.sql('CREATE ROLE "evil\n\x1b[31m" LOGIN')
    Session(server, "evil\n\x1b[31m", query="SELECT 1", application_name='a,b"c')
    for form in ("table", "csv", "json"):
        done = command("report", "--conninfo", server.conninfo(), "--format", form)
        assert done.returncode == DONE and "\x1b" not in done.stdout, form
    json.loads(done.stdout)


# reap


def test_reap_lists_and_ends_only_with_yes(server):
    victims = idle(server, 2, "worker")
    other = Session(server, "app", query="SELECT 1")
    time.sleep(1.2)
    arguments = ["reap", "--conninfo", server.conninfo(), "--idle", "1s", "--user", "worker", "--min-age", "0s"]
    if "--min-age" not in command("help", "reap").stdout:
        arguments = arguments[:-2]
        time.sleep(5)
    listed = command(*arguments)
    assert listed.returncode == DONE, listed
    for victim in victims:
        assert str(victim.pid) in listed.stdout and victim.alive()
    done = command(*arguments, "--yes")
    assert done.returncode == DONE, done
    for victim in victims:
        assert not victim.alive()
        assert str(victim.pid) in done.stdout and "gone" in done.stdout
    assert other.alive()


def test_reap_spares_the_protected(server):
    listener = Session(server, "worker", query="LISTEN x")
    dump = Session(server, "worker", query="SELECT 1", application_name="pg_dump")
    superuser = Session(server, "batch", query="SELECT 1")
    time.sleep(5.2)
    done = command("reap", "--conninfo", server.conninfo(), "--idle", "1s", "--yes")
    assert done.returncode == DONE, done
    assert listener.alive() and dump.alive() and superuser.alive()


def test_reap_with_an_empty_selector_matches_nobody(server):
    session = Session(server, "worker", query="SELECT 1")
    time.sleep(5.2)
    done = command("reap", "--conninfo", server.conninfo(), "--idle", "1s", "--user", "", "--yes")
    assert session.alive(), done


@pytest.mark.parametrize("yes", [[], ["--yes"]])
def test_reap_that_cannot_reach_the_server_counts_nothing(server, tmp_path, yes):
    nowhere = "host=127.0.0.1 port=1 user=x dbname=postgres"
    done = command("reap", "--conninfo", nowhere, "--idle", "1min", *yes)
    assert done.returncode == FAILED and not done.stdout and "hint" in done.stderr
    settings = config(server)
    settings["targets"]["nowhere"] = {"conninfo": nowhere}
    done = command("reap", "-c", write_config(tmp_path, settings), "--idle", "365d", *yes)
    assert done.returncode == FAILED and done.stdout.startswith("0 sessions ") and "'nowhere'" in done.stderr


def test_a_password_file_that_is_missing_is_named_with_what_it_should_be(server, tmp_path):
    missing = str(tmp_path / "missing")
    settings = config(server)
    for target in settings["targets"].values():
        target["password_file"] = missing
    done = command("report", "-c", write_config(tmp_path, settings))
    assert done.returncode == FAILED and missing in done.stderr and "the first line of password_file is the password" in done.stderr


# P10


def all_outputs(path, environment):
    for arguments in (
        ["check", "-c", path],
        ["check", "-c", path, "--print"],
        ["report", "-c", path],
        ["report", "-c", path, "--format", "json"],
        ["reap", "-c", path, "--idle", "1min"],
        ["run", "-c", path],
    ):
        try:
            done = command(*arguments, timeout=3, env={**os.environ, **environment})
            yield arguments, done.stdout + done.stderr
        except subprocess.TimeoutExpired as error:
            yield arguments, ((error.stdout or b"") + (error.stderr or b"")).decode(errors="replace")


@pytest.mark.parametrize(
    "conninfo",
    [
        f"host=127.0.0.1 port=1 user=x password={MARKER} dbname=y",
        f"host=127.0.0.1 port=1 user=x password='{MARKER}",
        f"password={MARKER} frob",
        f"password={MARKER} {MARKER}=1",
        f"postgresql://x:{MARKER}@127.0.0.1:1/y",
        f"postgresql://x:{MARKER}@[127.0.0.1:1/y",
        f"postgresql://x:{MARKER}%zz@127.0.0.1:1/y",
        f"host=127.0.0.1 port={MARKER}",
        f"host=127.0.0.1 port=1 sslpassword={MARKER} sslmode={MARKER}",
    ],
)
def test_P10_secrets_of_a_conninfo_stay_inside(tmp_path, conninfo):
    content = {"targets": {"db": {"conninfo": conninfo}}, "outputs": {"log": {"level": "debug", "format": "json"}}}
    for arguments, text in all_outputs(write_config(tmp_path, content), {}):
        assert MARKER not in text, (arguments, text)
    done = command("report", "--conninfo", conninfo)
    assert MARKER not in done.stdout + done.stderr


def test_P10_secrets_of_the_environment_and_of_files_stay_inside(server, tmp_path):
    secret = tmp_path / "password"
    secret.write_text(MARKER + "\n")
    content = config(
        server, target={"password_file": str(secret), "conninfo": server.conninfo() + " sslpassword=${SECRET}"}
    )
    for arguments, text in all_outputs(write_config(tmp_path, content), {"SECRET": MARKER}):
        assert MARKER not in text, (arguments, text)


def test_P10_refused_password_is_not_shown(fresh_server, tmp_path):
    fresh_server.set_hba("host all pgvigil 127.0.0.1/32 scram-sha-256")
    time.sleep(0.3)
    content = config(fresh_server, target={"conninfo": fresh_server.conninfo() + f" password={MARKER}"})
    with Daemon(content) as daemon:
        daemon.wait("target_down", reason="auth")
        assert MARKER not in daemon.tell()


def test_P9_a_broken_file_starts_nothing(server, tmp_path):
    path = tmp_path / "pgvigil.yaml"
    path.write_text("targets: [\n")
    done = command("run", "-c", str(path))
    assert done.returncode == CONFIG and f"{path}:" in done.stderr
