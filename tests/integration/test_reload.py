# SPDX-License-Identifier: PostgreSQL
"""SIGHUP: a good file is taken whole, a bad one changes nothing, and nobody notices but by what it says."""

import copy
import json
import os
import signal
import time

import pytest

from pgvtest import process
from pgvtest.clients import Session, idle
from pgvtest.daemon import Daemon, command, config, rule, write_config
from pgvtest.proxy import Proxy
from pgvtest.server import Postgres

RULES = {"idle": rule("1s", match={"user": "worker"})}
NO_RULES = {"idle": rule("1h", match={"user": "worker"})}


def hang_up(daemon):
    os.kill(daemon.pid, signal.SIGHUP)


def reload(daemon, content, n=None):
    """Writes the file, reloads, and waits for the answer; n: the how many-th config_loaded without a target."""
    before = len(loaded(daemon)) if n is None else n - 1
    write_config(daemon.directory, content)
    hang_up(daemon)
    return daemon.wait("config_loaded", lambda one: "target" not in one and one["level"] != "warning", n=before + 1)


def loaded(daemon):
    return daemon.find("config_loaded", lambda one: "target" not in one and one["level"] != "warning")


def test_P9_a_bad_file_changes_nothing(server):
    content = config(server, RULES)
    with Daemon(content) as daemon:
        daemon.wait_up()
        pid = server.own_pid()
        bad = copy.deepcopy(content)
        bad["timeouts"]["idle"]["after"] = "10"
        bad["frob"] = 1
        path = write_config(daemon.directory, bad)
        for n in (1, 2):
            hang_up(daemon)
            daemon.wait("config_rejected", n=2 * n)
        details = [one["detail"] for one in daemon.find("config_rejected")]
        assert all(detail.startswith(f"{path}:") for detail in details), "position first"
        assert any("timeouts.idle.after" in detail and "no unit" in detail for detail in details)
        assert any("frob" in detail for detail in details)
        raised = daemon.find("alarm", alarm="reload_failed")
        assert [one["reason"] for one in raised] == ["raised"], "once"
        victim = Session(server, "worker", query="SELECT 1")
        daemon.outcome(victim, "gone")
        assert server.own_pid() == pid
        reload(daemon, content)
        daemon.wait("alarm", alarm="reload_failed", reason="cleared")


def test_P9_a_file_that_has_gone_changes_nothing(server):
    with Daemon(config(server, RULES), environment={"PGVIGIL_CONNINFO": server.conninfo(user="app")}) as daemon:
        daemon.wait_up()
        os.unlink(f"{daemon.directory}/pgvigil.yaml")
        hang_up(daemon)
        daemon.wait("config_rejected")
        Session(server, "worker", query="SELECT 1").wait_dead()


def test_unchanged_target_keeps_its_connection(server):
    content = config(server, NO_RULES)
    logins = server.n_logins()
    with Daemon(content) as daemon:
        daemon.wait_up()
        pid = server.own_pid()
        victim = Session(server, "worker", query="SELECT 1")
        content["timeouts"] = RULES
        content["targets"]["db"].update(poll_interval="300ms", pressure_at="50%")
        told = reload(daemon, content)
        assert "changed: idle" in told["detail"] and "1 target," in told["detail"]
        daemon.outcome(victim, "gone")
        assert server.own_pid() == pid and server.n_logins() == logins + 1
        assert not daemon.find("target_down")


def test_changed_target_is_reached_in_the_new_way(server):
    content = config(server, RULES)
    with Daemon(content) as daemon:
        daemon.wait_up()
        pid = server.own_pid()
        content["targets"]["db"]["conninfo"] = server.conninfo(dbname="template1")
        assert "changed: db" in reload(daemon, content)["detail"]
        daemon.wait_up(n=2)
        assert server.own_pid() != pid
        assert server.value("SELECT datname FROM pg_stat_activity WHERE pid = %s", server.own_pid()) == "template1"
        assert not daemon.find("target_down"), "nothing went down"
        victim = Session(server, "worker", query="SELECT 1")
        daemon.outcome(victim, "gone")


def test_changed_target_while_it_cannot_be_reached(server):
    content = config(server, RULES)
    good = content["targets"]["db"]["conninfo"]
    content["targets"]["db"]["conninfo"] = server.conninfo(port=1)
    with Daemon(content) as daemon:
        daemon.wait("target_down")
        time.sleep(3)  # deep in its back-off
        content["targets"]["db"]["conninfo"] = good
        started = time.time()
        reload(daemon, content)
        assert daemon.wait_up()["said_at"] - started < 3


def test_targets_come_and_go(server):
    content = config(server, RULES)
    with Daemon(content) as daemon:
        daemon.wait_up()
        content["targets"]["other"] = {"conninfo": server.conninfo(dbname="template1"), "poll_interval": "500ms"}
        assert "added: other" in reload(daemon, content)["detail"]
        daemon.wait_up(target="other")
        assert server.count("usename = 'pgvigil'") == 2
        del content["targets"]["db"]
        assert "removed: db" in reload(daemon, content)["detail"]
        process.wait_until(lambda: server.count("usename = 'pgvigil'") == 1, 5)
        victim = Session(server, "worker", query="SELECT 1")
        assert daemon.outcome(victim, "gone")["target"] == "other"


def test_P8_enforcement_ends_with_the_reload(server):
    content = config(server, RULES)
    with Daemon(content) as daemon:
        daemon.wait_up()
        content["enforce"] = False
        reload(daemon, content)
        spared = Session(server, "worker", query="SELECT 1")
        would = daemon.wait("decision", pid=spared.pid)
        assert would["observe"]
        time.sleep(1.5)
        assert spared.alive()
        content["enforce"] = True
        reload(daemon, content)
        daemon.outcome(spared, "gone")


@pytest.mark.parametrize("names", [False, True])
def test_P1_a_reload_takes_back_what_waits_behind_a_poll(names):
    """What the old file decided and nobody has sent is decided anew: the new one names nobody, or all of them."""
    bind = b"\0pgvigil_%s\0"  # the portal without a name, then the statement's
    with Postgres(max_connections=80) as server, Proxy(server.port) as line:
        seen = []

        def watch(data):
            if not seen and bind % b"terminate" in data:
                seen.append("acts")
                time.sleep(0.7)
            elif seen == ["acts"] and bind % b"facts" in data:
                seen.append("poll")
                line.stall()
            return data

        line.on_request = watch
        target = {"conninfo": server.conninfo(port=line.port), "poll_interval": "300ms"}
        content = config(server, RULES, target=target, limits={"per_poll": 1000, "per_minute": 1000})
        workers = idle(server, 60, "worker")
        time.sleep(1)
        with Daemon(content) as daemon:
            process.wait_until(lambda: "poll" in seen, 15, "a poll after the first acts")
            time.sleep(0.3)
            content["timeouts"] = {**RULES, "more": rule("2h")} if names else NO_RULES
            reload(daemon, content)
            line.resume()
            daemon.wait("outcome", n=60)
            unsent = daemon.find("outcome", outcome="failed")
            assert len(unsent) >= 10 and all("the configuration was reloaded" in one["detail"] for one in unsent)
            daemon.wait("outcome", outcome="gone", n=60 if names else 60 - len(unsent))
            assert sum(one.alive() for one in workers) == (0 if names else len(unsent))


def test_P8_observe_wins_over_every_file(server):
    content = config(server, RULES)
    content["enforce"] = False
    with Daemon(content, arguments=["--observe"]) as daemon:
        daemon.wait_up()
        content["enforce"] = True
        assert "observing" in reload(daemon, content)["detail"]
        spared = Session(server, "worker", query="SELECT 1")
        assert daemon.wait("decision", pid=spared.pid)["observe"]
        time.sleep(1.5)
        assert spared.alive() and not daemon.find("outcome")


def test_new_rules_tell_what_they_would_do(server):
    content = config(server, NO_RULES)
    content["enforce"] = False
    with Daemon(content) as daemon:
        daemon.wait_up()
        idle(server, 4, "worker")
        idle(server, 3, "ingest")
        time.sleep(2.5)
        content["timeouts"] = {**NO_RULES, "two": rule("1s", match={"user": ["worker", "app"]})}
        content["quotas"] = {"three": {"match": {"user": "ingest"}, "max": 1, "min_idle": "0s"}}
        reload(daemon, content)
        assert daemon.wait("config_loaded", rule="two")["count"] == 4
        three = daemon.wait("config_loaded", rule="three")
        assert three["count"] == 2 and three["target"] == "db"
        assert "times" not in three["message"]
        assert not daemon.find("config_loaded", rule="idle"), "it has not changed"


def test_what_new_rules_would_do_floods_no_log(server):
    content = config(server, NO_RULES)
    with Daemon(content) as daemon:
        daemon.wait_up()
        content["timeouts"] = {f"rule-{i}": rule("1h", match={"user": "worker"}) for i in range(230)}
        reload(daemon, content)
        daemon.wait("config_loaded", lambda one: "30 more are left out" in one["message"])
        assert len(daemon.find("config_loaded", lambda one: "rule" in one)) == 200


def test_P5_budgets_survive(server):
    """A reload every moment never ends more than per_minute."""
    content = config(server, RULES, limits={"per_poll": 100, "per_minute": 4})
    with Daemon(content) as daemon:
        daemon.wait_up()
        idle(server, 12, "worker")
        daemon.wait("outcome", outcome="gone", n=4)
        for i in range(12):
            content["timeouts"]["idle"]["after"] = f"{900 - i}ms"
            reload(daemon, content)
            time.sleep(0.25)
        assert server.count("usename = 'worker'") == 8


def test_nothing_under_way_is_lost(server):
    """Every act that was announced has its outcome, whatever is reloaded meanwhile."""
    # The next victims come at once: where we are slow that is what the breaker is for, and not what this is about.
    limits = {"per_poll": 1000, "per_minute": 10000, "breaker": {"rounds": 1000}}
    content = config(server, RULES, limits=limits)
    ways = [server.conninfo(), server.conninfo(dbname="template1")]
    with Daemon(content) as daemon:
        daemon.wait_up()
        for i in range(8):
            victims = idle(server, 5, "worker")
            time.sleep(0.7)
            for k in range(6):
                content["timeouts"]["idle"]["after"] = f"{1000 + 10 * k}ms"
                if k == 3:
                    content["targets"]["db"]["conninfo"] = ways[i % 2]
                reload(daemon, content)
                time.sleep(0.06)
            for victim in victims:
                victim.wait_dead()
        daemon.wait("outcome", lambda one: one["outcome"] not in ("unknown", "failed"), n=40)
        started = {one["pid"] for one in daemon.find("decision")}
        assert {one["pid"] for one in daemon.find("outcome")} == started
        # A reload takes back what is not sent yet; the next poll decides anew.
        others = daemon.find("outcome", lambda one: one["outcome"] not in ("gone", "left", "changed"))
        assert all(one["outcome"] == "failed" and "reloaded" in one["detail"] for one in others)


def test_log_level_and_format(server):
    content = config(server, RULES)
    with Daemon(content) as daemon:
        daemon.wait_up()
        content["outputs"] = {"log": {"level": "notice", "format": "text"}}
        write_config(daemon.directory, content)
        hang_up(daemon)
        process.wait_until(lambda: any(b"configuration loaded" in line for line in daemon.broken_lines), 5)
        lines = len(daemon.broken_lines)
        content["outputs"] = {"log": {"level": "debug", "format": "json"}}
        reload(daemon, content)
        victim = Session(server, "worker", query="SELECT 1")
        daemon.outcome(victim, "gone")
        assert len(daemon.broken_lines) == lines
        daemon.broken_lines.clear()


def test_without_a_file(server, tmp_path):
    environment = {
        **os.environ,
        "PGVIGIL_CONNINFO": server.conninfo(),
        "PGVIGIL_IDLE_TIMEOUT": "1s",
        "PGVIGIL_ENFORCE": "true",
        "PGVIGIL_CONTROL_SOCKET": str(tmp_path / "socket"),
        "PGVIGIL_LOG_FORMAT": "json",
    }
    with open(tmp_path / "log", "wb") as log:
        child = process.spawn([process.binary(), "run"], stdout=log, stderr=log, env=environment, cwd=tmp_path)
    try:
        text = (tmp_path / "log").read_text
        process.wait_until(lambda: '"target_up"' in text(), 15)
        # min_age is 5 s by default
        Session(server, "worker", query="SELECT 1").wait_dead(20)
        child.send_signal(signal.SIGHUP)
        process.wait_until(lambda: "nothing to read again" in text(), 5, text)
        done = command("reload", "--socket", str(tmp_path / "socket"))
        assert done.returncode == 1 and "nothing to read again" in done.stdout + done.stderr, done
        told = [json.loads(line) for line in text().splitlines() if "nothing to read again" in line]
        assert [(one["event"], one["level"]) for one in told] == [("config_rejected", "error")] * 2, told
        assert "reload_failed" not in text(), "no file would ever clear it"
        assert child.poll() is None
    finally:
        assert process.stop_process(child) == 0


@pytest.mark.timing
def test_memory_does_not_grow(server):
    """Edited a thousand times under load."""
    content = config(server, {f"r{i}": rule("1h", match={"user": f"u{i}"}) for i in range(30)}, target={"poll_interval": "100ms"})
    content["outputs"]["log"]["level"] = "notice"
    with Daemon(content) as daemon:
        daemon.wait_up()
        idle(server, 20, "worker")
        sizes = []
        for i in range(1000):
            content["timeouts"][f"r{i % 30}"]["after"] = f"{100 + i}s"
            content["apps"] = {f"app{i}": {"match": {"application_name": f"a{i}*"}}}
            if i % 50 == 20:
                content["targets"]["extra"] = {"conninfo": server.conninfo(dbname="template1")}
            elif i % 50 == 30:
                del content["targets"]["extra"]
            reload(daemon, content, n=i + 1)
            if i in (200, 999):
                sizes.append(process.resident_bytes(daemon.pid))
        assert sizes[1] < sizes[0] * 1.1 + (1 << 20), sizes
        assert not daemon.find("config_rejected")


@pytest.mark.memory
def test_life_with_reloads(fresh_server):
    """Short enough for valgrind."""
    server = fresh_server
    content = config(server, RULES)
    with Daemon(content) as daemon:
        daemon.wait_up()
        for i in range(4):
            content["timeouts"]["idle"]["after"] = f"{1000 + i}ms"
            content["targets"]["db"]["conninfo"] = server.conninfo(dbname=["template1", "postgres"][i % 2])
            content["targets"].pop("other", None)
            if i % 2:
                content["targets"]["other"] = {"conninfo": server.conninfo()}
            reload(daemon, content)
            Session(server, "worker", query="SELECT 1").wait_dead(30)
        content["frob"] = 1
        write_config(daemon.directory, content)
        hang_up(daemon)
        daemon.wait("alarm", alarm="reload_failed")
