# SPDX-License-Identifier: PostgreSQL
"""A real Prometheus, and what a daemon's /metrics says."""

import json
import re
import shutil
import subprocess

from .web import Program, get, get_json

SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?')
ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


class Metrics:
    """One scrape. What is not a comment must be a sample, and no sample comes twice."""

    def __init__(self, text):
        self.text = text
        self.samples = {}
        for line in text.split("\n"):
            if not line or line.startswith("#"):
                continue
            m = SAMPLE.match(line)
            assert m, f"no sample: {line!r}"
            labels, left = {}, m[2] or ""
            while left:
                label = LABEL.match(left)
                assert label, f"no labels: {m[2]!r}"
                labels[label[1]] = re.sub(r'\\["\\n]', lambda e: ESCAPES[e[0]], label[2])
                left = left[label.end():]
            key = (m[1], frozenset(labels.items()))
            assert key not in self.samples, f"twice: {line!r}"
            self.samples[key] = float(m[3])

    def all(self, name, **labels):
        """[(labels, value)] of those that have these labels."""
        wanted = labels.items()
        return [(dict(key), value) for (found, key), value in self.samples.items() if found == name and wanted <= key]

    def get(self, name, **labels):
        """The value of the one sample with these labels; None: there is none."""
        found = self.all(name, **labels)
        assert len(found) <= 1, f"{name} {labels}: {found}"
        return found[0][1] if found else None

    def sum(self, name, **labels):
        return sum(value for _, value in self.all(name, **labels))


def scrape(port):
    status, kind, text = get(port, "/metrics")
    assert status == 200 and kind == "text/plain; version=0.0.4; charset=utf-8", (status, kind, text)
    return Metrics(text)


def check_metrics(text):
    """promtool's complaints; "": none."""
    result = subprocess.run(
        ["promtool", "check", "metrics"], input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=60, check=False,
    )
    complaints = result.stdout.decode(errors="replace")
    return complaints or (f"exit status {result.returncode}" if result.returncode else "")


def missing():
    """Why tests with the real thing cannot run here; None: they can."""
    for name in ("prometheus", "promtool"):
        if not shutil.which(name):
            return f"no {name} (Debian package prometheus)"
    return None


class Prometheus(Program):
    """Scrapes these ports of 127.0.0.1 every second, as job "pgvigil". `rules`: a file of alert rules, which fire in
    `alertmanager`, one of receiver.py."""

    def __init__(self, ports, rules=None, alertmanager=None):
        super().__init__("prometheus")
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "scrape_configs": [
                {"job_name": "pgvigil", "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
            ],
        }
        if rules:
            config["rule_files"] = [rules]
        if alertmanager:
            config["alerting"] = {
                "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager.port}"]}]}]
            }
        with open(self.path("prometheus.yaml"), "w", encoding="utf-8") as file:
            json.dump(config, file)
        self.start([
            "prometheus",
            f"--config.file={self.path('prometheus.yaml')}",
            f"--storage.tsdb.path={self.path('data')}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ])  # fmt: skip

    def query(self, expression):
        """[(labels, value)] of an instant query."""
        data = get_json(self.port, "/api/v1/query", query=expression)["data"]
        assert data["resultType"] == "vector", data
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    def value(self, expression):
        """The only value; None while there is none."""
        found = self.query(expression)
        assert len(found) <= 1, f"{expression}: {found}"
        return found[0][1] if found else None

    def rules(self):
        return [rule for group in get_json(self.port, "/api/v1/rules")["data"]["groups"] for rule in group["rules"]]

    def targets(self):
        return get_json(self.port, "/api/v1/targets")["data"]["activeTargets"]
