#!/usr/bin/env python3
# SPDX-License-Identifier: PostgreSQL
"""What Prometheus' own tools say of the metrics, the rules and the expressions of the dashboard.

    promtool.py SOURCE-ROOT PRINT-METRICS

Exit status: 0, 1 with findings, 77 without promtool.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

RULES = 'conf/prometheus/pgvigil-alerts.yaml'
CONFIG = 'conf/prometheus/prometheus.yaml'
TESTS = 'tests/unit/alerts.yaml'
DASHBOARD = 'conf/grafana/pgvigil.json'


def run(*args, stdin=None, **kwargs):
    result = subprocess.run(args, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, **kwargs)
    return result.returncode, result.stdout.decode(errors='replace').strip()


def complain(what, answer, silent=False):
    code, text = answer
    if code != 0 or (silent and text):
        return [f'{what}: exit status {code}\n{text}']
    print(f'ok {what}')
    return []


def check_metrics(printer):
    text = run(printer)[1] + '\n'
    # Words of advice are findings, too: exit status 3 with a line for each.
    return complain('promtool check metrics', run('promtool', 'check', 'metrics', stdin=text.encode()), silent=True)


def expressions(dashboard):
    for panel in dashboard['panels']:
        for target in panel.get('targets', []):
            yield panel['title'], target['expr']
    for annotation in dashboard['annotations']['list']:
        if 'expr' in annotation:
            yield annotation['name'], annotation['expr']


def check_dashboard(root):
    """The expressions with values for their variables, as recording rules, which promtool can parse."""
    with open(os.path.join(root, DASHBOARD), encoding='utf-8') as f:
        found = list(expressions(json.load(f)))
    rules = [{'record': f'panel:{i}', 'expr': re.sub(r'\$[a-z]+', '.*', expr.replace('$__rate_interval', '5m'))}
             for i, (_, expr) in enumerate(found)]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'rules.json')
        with open(path, 'w', encoding='utf-8') as f:
            json.dump({'groups': [{'name': 'dashboard', 'rules': rules}]}, f)
        return complain(f'{len(rules)} expressions of the dashboard', run('promtool', 'check', 'rules', path))


def main():
    root, printer = sys.argv[1:]
    if not shutil.which('promtool'):
        print('skip: no promtool (package prometheus)')
        return 77
    findings = [
        *check_metrics(printer),
        *complain('promtool check rules', run('promtool', 'check', 'rules', os.path.join(root, RULES))),
        *complain('promtool check config', run('promtool', 'check', 'config', os.path.join(root, CONFIG))),
        *complain('promtool test rules', run('promtool', 'test', 'rules', os.path.join(root, TESTS))),
        *check_dashboard(root),
    ]
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
