#!/usr/bin/env python3
# SPDX-License-Identifier: PostgreSQL
"""Do the manual page, the alert rules and the dashboard name the metrics that there are?

    metric_names.py SOURCE-ROOT PRINT-METRICS

The manual page names each metric with its labels, neither more nor fewer than are emitted; rules and dashboard name
none that is not emitted. Exit status: 0, 1 with findings.
"""

import json
import os
import re
import subprocess
import sys

DOCUMENTED = re.compile(r'^\*((?:pgvigil|process)_[a-z_]+)\*(?:\{(.*)\})?$', re.MULTILINE)
EMITTED = re.compile(r'^((?:pgvigil|process)_[a-z_]+)(?:\{(.*)\})? \S+$')
LABEL = re.compile(r'([a-z_]+)="(?:[^"\\]|\\.)*"')
USED = re.compile(r'\b(?:pgvigil|process)_[a-z_]+\b')
SUFFIXES = ('_bucket', '_sum', '_count')
FILES = ['conf/prometheus/pgvigil-alerts.yaml', 'conf/grafana/pgvigil.json']


def read(root, name):
    with open(os.path.join(root, name), encoding='utf-8') as f:
        return f.read()


def emitted(text):
    """({name: labels}, {name: type})"""
    types = dict(re.findall(r'^# TYPE (\S+) (\S+)$', text, re.MULTILINE))
    labels = {name: set() for name in types}
    for line in text.splitlines():
        m = EMITTED.match(line)
        if not m:
            if line and not line.startswith('# '):
                raise SystemExit(f'not a sample: {line}')
            continue
        name = m[1]
        for suffix in SUFFIXES:
            if name not in types and name.endswith(suffix):
                name = name[:-len(suffix)]
        labels[name] |= set(LABEL.findall(m[2] or '')) - {'le'}
    return labels, types


def check_manual(text, labels, types):
    named = {}
    for m in DOCUMENTED.finditer(text):
        if m[1] in named:
            yield f'{m[1]}: documented twice'
        named[m[1]] = {label.strip() for label in (m[2] or '').split(',') if label}
        said = re.match(r'\n\t(Gauge|Counter|Histogram)\b', text[m.end():])
        if not said or said[1].lower() != types.get(m[1], said[1].lower()):
            yield f'{m[1]}: the manual does not say that it is a {types.get(m[1])}'
    for name in sorted(named.keys() | labels.keys()):
        if name not in labels:
            yield f'{name}: documented, and never emitted'
        elif name not in named:
            yield f'{name}: emitted, and not documented'
        elif named[name] != labels[name]:
            yield f'{name}: documented with {sorted(named[name])}, emitted with {sorted(labels[name])}'


def check_use(name, text, types):
    names = set(types)
    for metric, kind in types.items():
        if kind == 'histogram':
            names |= {metric + suffix for suffix in SUFFIXES}
    used = set(USED.findall(text))
    if len(used) < 5:
        yield f'{name}: names {len(used)} metrics only'
    for metric in sorted(used - names):
        yield f'{name}: {metric} does not exist'


def check_dashboard(name, text):
    """What makes an import fail or a panel empty."""
    dashboard = json.loads(text)
    ids = [panel['id'] for panel in dashboard['panels']]
    if len(ids) != len(set(ids)):
        yield f'{name}: panels share an id'
    if dashboard['id'] is not None:
        yield f'{name}: has the id of an instance'
    variables = {variable['name'] for variable in dashboard['templating']['list']}
    if not {'datasource', 'target'} <= variables:
        yield f'{name}: no variables for datasource and target'
    for variable in re.findall(r'\$\{?([a-z]\w*)', text):
        if variable not in variables:
            yield f'{name}: no variable {variable}'
    for panel in dashboard['panels']:
        place = panel['gridPos']
        if place['x'] + place['w'] > 24:
            yield f'{name}: {panel["title"]} is too wide'
        for target in panel.get('targets', []):
            if target['datasource']['uid'] != '${datasource}' or not target['expr']:
                yield f'{name}: {panel["title"]} is bound to a data source'


def main():
    root, printer = sys.argv[1:]
    text = subprocess.run([printer], check=True, stdout=subprocess.PIPE, encoding='utf-8').stdout
    labels, types = emitted(text)
    findings = list(check_manual(read(root, 'docs/pgvigil-metrics.7.scd'), labels, types))
    for name in FILES:
        findings += check_use(name, read(root, name), types)
    findings += check_dashboard(FILES[1], read(root, FILES[1]))
    for finding in findings:
        print(finding)
    print(f'{len(types)} metrics, {len(findings)} findings')
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
