# SPDX-License-Identifier: PostgreSQL
"""The daemon, a real Prometheus and a real Alertmanager: a server fills up, people hear of it, sessions end, all is well
again; and whoever is asked says the same numbers."""

import contextlib
import json
import os
import re
import signal

import pytest

from pgvtest import prometheus
from pgvtest.clients import Session, idle
from pgvtest.daemon import Daemon, command, config, rule, write_config
from pgvtest.process import ROOT, wait_until
from pgvtest.prometheus import get_json, scrape
from pgvtest.receiver import Alertmanager
from pgvtest.server import Postgres, free_port

RULES = os.path.join(ROOT, "conf", "prometheus", "pgvigil-alerts.yaml")
USABLE = 17
WORKERS = "usename = 'worker'"

pytestmark = [
    pytest.mark.skipif(prometheus.missing() is not None, reason=str(prometheus.missing())),
    pytest.mark.skipif(not Alertmanager.binary, reason="no prometheus-alertmanager"),
]


class Stack:
    """All of it. The harness's own session is a superuser's and holds a slot, like pgvigil's."""

    def __init__(self, stack, directory):
        self.server = stack.enter_context(Postgres(max_connections=20))
        self.manager = stack.enter_context(Alertmanager())
        self.port = free_port()
        self.socket = os.path.join(directory, "control.sock")
        self.daemon = stack.enter_context(Daemon(self.content("1h")))
        self.prom = stack.enter_context(prometheus.Prometheus([self.port], RULES, self.manager))
        self.daemon.wait_up()

    def content(self, after):
        return config(
            self.server,
            {"idle-worker": rule(after, match={"app": "worker"})},
            target={"poll_interval": "300ms"},
            apps={"worker": {"match": {"user": "worker"}, "pool": 10}},
            alarms={
                "slots": {
                    "metric": "usage",
                    "above": {"warning": "60%", "critical": "90%"},
                    "for": "0s",
                    "clear_after": "1s",
                }
            },
            http={"listen": f"127.0.0.1:{self.port}"},
            control={"socket": self.socket},
            outputs={
                "log": {"level": "debug", "format": "json"},
                "webhooks": {"oncall": {"url": self.manager.url(), "format": "alertmanager"}},
            },
        )

    def reload(self, after):
        write_config(self.daemon.directory, self.content(after))
        self.daemon.child.send_signal(signal.SIGHUP)

    def report(self):
        """What `pgvigil report` says of the target, over the connection that the daemon holds."""
        path = os.path.join(self.daemon.directory, "pgvigil.yaml")
        result = command("report", "-c", path, "--format", "json")
        assert result.returncode == 0, result.stderr
        (target,) = json.loads(result.stdout)["targets"]
        return target

    def numbers(self):
        """(slots used, sessions of the app worker) by whom one may ask."""
        document = get_json(self.port, "/api/v1/status")["targets"][0]
        metrics = scrape(self.port)
        report = self.report()
        worker = 'sum(pgvigil_connections{app="worker"}) or vector(0)'

        def of_app(apps):
            return sum(one["sessions"] for one in apps if one["app"] == "worker")

        return {
            "pg_stat_activity": (self.server.count(), self.server.count(WORKERS)),
            "/metrics": (
                metrics.get("pgvigil_slots", kind="used"),
                metrics.sum("pgvigil_connections", app="worker"),
            ),
            "/api/v1/status": (document["slots"]["used"], of_app(document["apps"])),
            "report": (report["slots"]["used"], of_app(report["apps"])),
            "Prometheus": (self.prom.value('pgvigil_slots{kind="used"}'), self.prom.value(worker)),
        }

    def agree(self, used, workers):
        """Until all say just these; they look at different moments."""
        last = {}

        def check():
            last.update(self.numbers())
            return set(last.values()) == {(used, workers)}

        wait_until(check, 20, lambda: f"all say {(used, workers)}: {last}", 0.2)


def fill(server):
    """Idle workers until the server has no slot left for them."""
    workers = idle(server, USABLE - server.count(), "worker")
    with pytest.raises(Exception, match="remaining connection slots are reserved|too many clients"):
        Session(server, "worker")
    return workers


def test_a_server_that_fills_up(tmp_path):
    with contextlib.ExitStack() as stack:
        world = Stack(stack, tmp_path)
        server, manager, prom = world.server, world.manager, world.prom
        before = server.count()
        early = idle(server, 11 - before, "worker")
        world.agree(11, len(early))
        # 64 %: pgvigil's own webhook, and the rules in Prometheus, tell a warning.
        (alert,) = manager.wait(alertname="PgvigilSlots", severity="warning")
        assert alert["labels"]["target"] == "db"
        assert re.search(r"WARNING slots: .*\(11 of 17 usable slots; worker 9, ", alert["annotations"]["summary"])
        manager.wait(alertname="PgvigilAlarm", alarm="slots", severity="warning", timeout=30)

        workers = early + fill(server)
        (alert,) = manager.wait(alertname="PgvigilSlots", severity="critical")
        assert "CRITICAL slots" in alert["annotations"]["summary"]  # a poll may have come before the last of them
        (alert,) = manager.wait(alertname="PgvigilFull", severity="critical")
        assert "17 of 17 usable slots" in alert["annotations"]["summary"]
        manager.wait(0, alertname="PgvigilSlots", severity="warning")
        manager.wait(alertname="PgvigilAlarm", alarm="full", severity="critical", timeout=30)
        world.agree(USABLE, len(workers))
        metrics = scrape(world.port)
        assert metrics.get("pgvigil_usage_ratio") == 1
        assert metrics.get("pgvigil_alarm_severity", alarm="slots") == 2
        assert prom.value("pgvigil_usage_ratio") == 1
        document = get_json(world.port, "/api/v1/status")["targets"][0]
        assert {one["name"]: one["severity"] for one in document["alarms"]} == {"slots": "critical", "full": "critical"}

        # Now the rule bites.
        world.reload("1s")
        for worker in workers:
            worker.wait_dead(20)
        gone = 'sum(pgvigil_outcomes_total{rule="idle-worker",app="worker",outcome="gone"})'
        wait_until(lambda: prom.value(gone) == len(workers), 20, "Prometheus has counted them", 0.2)
        assert scrape(world.port).sum("pgvigil_outcomes_total", outcome="gone") == len(workers)
        assert prom.value('pgvigil_time_to_death_seconds_count{target="db"}') == len(workers)
        rules = get_json(world.port, "/api/v1/status")["targets"][0]["rules"]
        assert rules[0]["totals"]["outcomes"] == {"gone": len(workers)}
        assert len(world.daemon.find("outcome", outcome="gone")) == len(workers)

        # All is well, for everybody.
        world.agree(before, 0)
        manager.wait(0, timeout=40)
        assert scrape(world.port).get("pgvigil_alarm_severity", alarm="slots") == 0
        sent = scrape(world.port).get("pgvigil_notifications_total", output="oncall", result="sent")
        assert sent >= 4  # raised, escalated, full, and their ends
        assert scrape(world.port).get("pgvigil_notifications_total", output="oncall", result="dropped") == 0
