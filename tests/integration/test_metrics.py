# SPDX-License-Identifier: PostgreSQL
"""/metrics and /api/v1/status against what the server itself shows, and a real Prometheus that scrapes them."""

import contextlib
import json
import os
import time

import pytest

from pgvtest import prometheus
from pgvtest.clients import Session
from pgvtest.daemon import Daemon, config, rule, write_config
from pgvtest.process import ROOT, wait_until
from pgvtest.prometheus import Metrics, get, get_json, scrape
from pgvtest.server import free_port

REPLACED = "\ufffd"


@contextlib.contextmanager
def serving(server, timeouts=None, **sections):
    port = free_port()
    with Daemon(config(server, timeouts, http={"listen": f"127.0.0.1:{port}"}, **sections)) as daemon:
        daemon.port = port
        daemon.wait_up()
        yield daemon


def status(daemon):
    return get_json(daemon.port, "/api/v1/status")


def until(daemon, check, what, timeout=15):
    """A scrape that `check` likes."""

    def look():
        metrics = scrape(daemon.port)
        return metrics if check(metrics) else None

    return wait_until(look, timeout, what, interval=0.1)


def as_the_server_says(server):
    """Sessions by user, database and state, but for the harness's own, which is idle when others look."""
    rows = server.sql(
        """SELECT usename, datname, state, count(*) FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND usename <> 'pgvigil' GROUP BY 1, 2, 3"""
    )
    return {row[:3]: row[3] for row in rows}


def as_the_metrics_say(metrics):
    found = {}
    for labels, value in metrics.all("pgvigil_connections"):
        if labels["user"] not in ("pgvigil", "postgres"):
            key = (labels["user"], labels["database"], labels["state"])
            found[key] = found.get(key, 0) + value
    return found


def test_sessions_and_slots(server):
    apps = {"worker": {"match": {"user": "worker"}, "pool": 5}}
    for _ in range(3):
        Session(server, "worker", "SELECT 1")
    Session(server, "app", application_name="reports").begin()
    Session(server, "app", "SELECT 1", application_name="reports")
    with serving(server, {"long": rule("1h")}, apps=apps) as daemon:
        expected = as_the_server_says(server)
        metrics = until(daemon, lambda m: as_the_metrics_say(m) == expected, "the same sessions")
        used = metrics.get("pgvigil_slots", kind="used")
        assert used == metrics.sum("pgvigil_connections") == server.count()
        assert metrics.get("pgvigil_slots", kind="max") == 50
        assert metrics.get("pgvigil_slots", kind="reserved") == 3
        assert metrics.get("pgvigil_slots", kind="usable") == 47
        assert abs(metrics.get("pgvigil_usage_ratio") - used / 47) < 1e-5
        assert metrics.sum("pgvigil_connections", app="worker", state="idle") == 3
        assert metrics.sum("pgvigil_connections", app='"reports"') == 2
        assert 0 < metrics.get("pgvigil_oldest_seconds", app='"reports"', state="idle in transaction") < 60
        assert metrics.get("pgvigil_target_up", target="db") == 1
        assert metrics.get("pgvigil_target_locked_out", target="db") == 0
        assert metrics.get("pgvigil_enforcing", target="db") == 1
        assert until(daemon, lambda m: m.get("pgvigil_leader", target="db") == 1, "leads")
        assert metrics.get("pgvigil_rule_matches", rule="long") == 0
        assert metrics.get("pgvigil_decisions_total", rule="long", action="terminate") == 0
        assert metrics.get("pgvigil_alarm_severity", alarm="full") == 0
        assert metrics.get("pgvigil_config_last_reload_successful") == 1
        assert abs(metrics.get("pgvigil_last_poll_timestamp_seconds") - time.time()) < 30
        assert metrics.get("pgvigil_polls_total", result="ok") >= 1
        n_polls = metrics.get("pgvigil_poll_duration_seconds_count")
        assert n_polls == metrics.get("pgvigil_polls_total", result="ok")
        assert metrics.get("pgvigil_poll_duration_seconds_bucket", le="+Inf") == n_polls
        assert 0 < metrics.get("pgvigil_poll_duration_seconds_sum")

        document = status(daemon)["targets"][0]
        assert (document["target"], document["up"], document["current"]) == ("db", True, True)
        assert document["slots"]["used"] == used and document["slots"]["max_connections"] == 50
        worker = [one for one in document["apps"] if one["app"] == "worker"]
        assert worker[0]["sessions"] == 3 and worker[0]["pool"] == 5 and worker[0]["is_app"]
        assert sum(one["sessions"] for one in document["groups"]) == used
        assert document["rules"][0]["name"] == "long" and document["rules"][0]["enforcing"]


def test_the_process_itself(server):
    with serving(server) as daemon:
        metrics = scrape(daemon.port)
        with open(f"/proc/{daemon.pid}/statm", encoding="ascii") as file:
            pages = file.read().split()
        resident = metrics.get("process_resident_memory_bytes")
        assert abs(resident - int(pages[1]) * os.sysconf("SC_PAGESIZE")) < resident / 2
        assert metrics.get("process_virtual_memory_bytes") > resident
        assert 0 < metrics.get("process_cpu_seconds_total") < 60
        assert abs(metrics.get("process_open_fds") - len(os.listdir(f"/proc/{daemon.pid}/fd"))) <= 2
        assert metrics.get("process_max_fds") > 100
        assert 0 <= time.time() - metrics.get("process_start_time_seconds") < 60
        assert metrics.get("pgvigil_events_total", event="start") == 1
        assert metrics.get("pgvigil_records_dropped_total") == 0


def test_what_was_done(server):
    timeouts = {
        "idle": rule("500ms", match={"user": "worker"}),
        "seen": rule("500ms", match={"user": "app"}, enforce=False),
        "told": rule("500ms", match={"user": "ingest"}, action="log"),
    }
    with serving(server, timeouts) as daemon:
        victims = [Session(server, "worker", "SELECT 1") for _ in range(3)]
        Session(server, "app", "SELECT 1")
        Session(server, "ingest", "SELECT 1")
        for victim in victims:
            victim.wait_dead()
        gone = {"rule": "idle", "action": "terminate", "outcome": "gone"}
        metrics = until(daemon, lambda m: m.sum("pgvigil_outcomes_total", **gone) == 3, "three gone")
        assert metrics.get("pgvigil_decisions_total", rule="idle", action="terminate") == 3
        assert metrics.get("pgvigil_time_to_death_seconds_count", target="db") == 3
        assert 0 < metrics.get("pgvigil_time_to_death_seconds_sum", target="db") < 30
        daemon.wait("decision", rule="seen", observe=True)
        daemon.wait("decision", rule="told")
        metrics = scrape(daemon.port)
        # What only would have been done is no decision.
        assert metrics.get("pgvigil_held_back_total", rule="seen", reason="observe") == 1
        assert metrics.get("pgvigil_decisions_total", rule="seen", action="terminate") == 0
        assert metrics.get("pgvigil_decisions_total", rule="told", action="log") == 1
        assert metrics.get("pgvigil_rule_matches", rule="seen") in (0, 1)

        document = status(daemon)
        rules = {one["name"]: one for one in document["targets"][0]["rules"]}
        assert rules["idle"]["totals"] == {"decisions": {"terminate": 3}, "outcomes": {"gone": 3}, "held_back": {}}
        assert rules["seen"]["totals"]["held_back"] == {"observe": 1} and not rules["seen"]["enforcing"]
        # The last events are those of the log.
        told = [(one["event"], one["level"], one["message"]) for one in document["events"]]
        assert told == [(one["event"], one["level"], one["message"]) for one in daemon.find()[: len(told)]]
        assert document["events_missed"] == 0


def test_names_that_no_client_should_use(server):
    name = 'a"} 1\npgvigil_target_up{target="x\\'
    server.sql('CREATE ROLE "%s" LOGIN' % name.replace('"', '""'))
    server.sql("CREATE ROLE \"b\x1b[2J\u202e\x7f\" LOGIN")
    server.sql('CREATE ROLE "你好 # HELP" LOGIN')
    try:
        hostile = [name, "b\x1b[2J\u202e\x7f", "你好 # HELP"]
        for user in hostile:
            Session(server, user, "SELECT 1", application_name='"} 1 # EOF \\')
        with serving(server) as daemon:
            shown = {name, f"b{REPLACED}[2J{REPLACED}{REPLACED}", "你好 # HELP"}
            metrics = until(
                daemon, lambda m: shown <= {one["user"] for one, _ in m.all("pgvigil_connections")}, "all of them"
            )
            assert len(metrics.all("pgvigil_target_up")) == 1
            assert all(sum(ord(c) < 32 for c in line) == 0 for line in metrics.text.split("\n"))
            if not prometheus.missing():
                assert prometheus.check_metrics(metrics.text) == ""
            _, kind, text = get(daemon.port, "/api/v1/status")
            assert kind == "application/json" and text.isascii() and text.count("\n") == 1
            users = {one["user"] for one in json.loads(text)["targets"][0]["groups"]}
            assert set(hostile) <= users
    finally:
        server.close_sessions()
        for user in hostile:
            server.sql('DROP ROLE "%s"' % user.replace('"', '""'))


def test_formats(server):
    with serving(server) as daemon:
        status_code, kind, text = get(daemon.port, "/metrics", accept="application/openmetrics-text; version=1.0.0")
        assert status_code == 200 and kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert text.endswith("\n# EOF\n")
        opened, plain = Metrics(text), scrape(daemon.port)
        assert {key for key in opened.samples if key[0] != "x"} == set(plain.samples)
        if not prometheus.missing():
            assert prometheus.check_metrics(plain.text) == ""


def test_a_server_that_is_down(fresh_server):
    server = fresh_server
    with serving(server) as daemon:
        assert scrape(daemon.port).get("pgvigil_slots", kind="used") >= 1
        server.stop("immediate")
        daemon.wait("target_down")
        metrics = until(daemon, lambda m: m.get("pgvigil_alarm_severity", alarm="unreachable") == 2, "the alarm")
        assert metrics.get("pgvigil_target_up", target="db") == 0
        assert not metrics.all("pgvigil_slots") and not metrics.all("pgvigil_connections")
        assert not metrics.all("pgvigil_usage_ratio") and not metrics.all("pgvigil_rule_matches")
        assert metrics.get("pgvigil_polls_total", result="ok") > 0
        document = status(daemon)["targets"][0]
        assert not document["up"] and not document["current"]
        assert document["error"]["kind"] == "unreachable" and document["error"]["since"]
        assert [one["name"] for one in document["alarms"]] == ["unreachable"]
        server.start()
        metrics = until(daemon, lambda m: m.get("pgvigil_target_up", target="db") == 1, "up again")
        assert metrics.get("pgvigil_slots", kind="max") == 50
        until(daemon, lambda m: m.get("pgvigil_alarm_severity", alarm="unreachable") == 0, "the alarm cleared")
        assert status(daemon)["targets"][0]["error"] is None


def test_polls_that_fail(fresh_server):
    """By how they ended: a server that hangs, and one that ends our session."""
    server = fresh_server
    with serving(server, target={"query_timeout": "300ms", "poll_interval": "200ms"}) as daemon:
        server.freeze()
        try:
            # The client waits for longer than the server's own timeout.
            until(daemon, lambda m: m.sum("pgvigil_polls_total", result="skipped") >= 1, "a tick that was skipped")
            until(
                daemon,
                lambda m: m.sum("pgvigil_polls_total", result="lost") + m.sum("pgvigil_polls_total", result="timeout"),
                "a poll that is over",
            )
        finally:
            server.thaw()
        until(daemon, lambda m: m.get("pgvigil_target_up") == 1, "up again")


def test_P10_no_secret_and_no_query(server):
    secret = "S3cr3t-" + "marker"
    server.sql(f"ALTER ROLE pgvigil PASSWORD '{secret}'")
    try:
        target = {"conninfo": server.conninfo(password=secret)}
        timeouts = {"idle": rule("300ms", match={"user": "worker"})}
        with serving(server, timeouts, target=target) as daemon:
            Session(server, "worker", "SELECT 'query-marker'").wait_dead()
            daemon.wait("outcome")
            answers = [get(daemon.port, path)[2] for path in ("/metrics", "/api/v1/status")]
            assert not any(secret in text or "query-marker" in text or "password" in text for text in answers)
        outputs = {"query_text": 200, "log": {"level": "debug", "format": "json"}}
        with serving(server, timeouts, target=target, outputs=outputs) as daemon:
            Session(server, "worker", "SELECT 'query-marker'").wait_dead()
            daemon.wait("outcome")
            assert "query-marker" not in get(daemon.port, "/metrics")[2]
            text = get(daemon.port, "/api/v1/status")[2]
            assert "query-marker" in text and secret not in text
    finally:
        server.sql("ALTER ROLE pgvigil PASSWORD 'pgvigil'")


def test_a_reload_that_is_refused(server):
    with serving(server, {"idle": rule("1h")}) as daemon:
        before = scrape(daemon.port).get("pgvigil_config_last_reload_success_timestamp_seconds")
        good = config(server, {"idle": rule("2h"), "new": rule("3h")}, http={"listen": f"127.0.0.1:{daemon.port}"})
        write_config(daemon.directory, {**good, "nonsense": 1})
        daemon.child.send_signal(1)
        daemon.wait("alarm", alarm="reload_failed", reason="raised")
        metrics = scrape(daemon.port)
        assert metrics.get("pgvigil_config_last_reload_successful") == 0
        assert metrics.get("pgvigil_config_last_reload_success_timestamp_seconds") == before
        assert metrics.get("pgvigil_alarm_severity", alarm="reload_failed") == 1
        assert status(daemon)["configuration"]["last_reload_ok"] is False
        write_config(daemon.directory, good)
        daemon.child.send_signal(1)
        daemon.wait("alarm", alarm="reload_failed", reason="cleared")
        metrics = scrape(daemon.port)
        assert metrics.get("pgvigil_config_last_reload_successful") == 1
        assert metrics.get("pgvigil_config_last_reload_success_timestamp_seconds") > before
        assert metrics.get("pgvigil_decisions_total", rule="new", action="terminate") == 0
        configuration = status(daemon)["configuration"]
        assert configuration["last_reload_ok"] and configuration["rules"] == 2
        assert configuration["file"] == os.path.join(daemon.directory, "pgvigil.yaml")


@pytest.mark.skipif(prometheus.missing() is not None, reason=str(prometheus.missing()))
def test_a_real_prometheus(server):
    rules = os.path.join(ROOT, "conf", "prometheus", "pgvigil-alerts.yaml")
    for _ in range(4):
        Session(server, "worker", "SELECT 1")
    with serving(server, {"idle": rule("1h")}) as daemon, prometheus.Prometheus([daemon.port], rules) as prom:
        used = server.count()
        wait_until(lambda: prom.value('pgvigil_slots{kind="used"}') == used, 20, "the same number of slots")
        assert prom.value("up") == 1
        assert prom.value("sum(pgvigil_connections)") == used
        assert prom.value('histogram_quantile(0.5, pgvigil_poll_duration_seconds_bucket{target="db"})') > 0
        # Nothing of a scrape was left out: all samples, no duplicates, no error.
        assert prom.value("scrape_samples_scraped") == prom.value("scrape_samples_post_metric_relabeling")
        assert prom.value("scrape_samples_scraped") >= len(scrape(daemon.port).samples) - 5
        assert [one["lastError"] for one in prom.targets()] == [""]
        wait_until(lambda: all(one["health"] == "ok" for one in prom.rules()), 20, prom.rules)
        assert len(prom.rules()) > 10
