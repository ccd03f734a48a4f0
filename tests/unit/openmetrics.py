#!/usr/bin/env python3
# SPDX-License-Identifier: PostgreSQL
"""What the reference parser of OpenMetrics says of the metrics.

    openmetrics.py PRINT-METRICS

Exit status: 0, 1 with findings, 77 without the parser.
"""

import subprocess
import sys

try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
except ImportError:
    print('skip: no package python3-prometheus-client')
    sys.exit(77)


def main():
    text = subprocess.run([sys.argv[1], 'openmetrics'], check=True, stdout=subprocess.PIPE, encoding='utf-8').stdout
    try:
        families = list(text_string_to_metric_families(text))
    except ValueError as e:
        print(e)
        return 1
    samples = [(sample.name, tuple(sorted(sample.labels.items()))) for family in families for sample in family.samples]
    twice = {sample for sample in samples if samples.count(sample) > 1}
    for sample in sorted(twice):
        print(f'{sample} comes twice')
    print(f'{len(families)} families, {len(samples)} samples')
    return 1 if twice else 0


if __name__ == '__main__':
    sys.exit(main())
