# SPDX-License-Identifier: PostgreSQL
"""As many polls as an hour has at the usual interval, in the background of the other tests: memory."""

import re
import urllib.request

import host
from conftest import HOUR_INTERVAL, HOUR_PORT
from pgvtest.process import resident_bytes, wait_until

N_POLLS = 720  # 3600 s / 5 s
POLLS = re.compile(r'^pgvigil_polls_total\{.*result="ok".*\} (\d+)$', re.MULTILINE)


def n_polls():
    with urllib.request.urlopen(f"http://127.0.0.1:{HOUR_PORT}/metrics", timeout=5) as answer:
        return int(POLLS.search(answer.read().decode())[1])


def test_an_hour_of_polls(hour):
    wait_until(lambda: n_polls() >= N_POLLS, N_POLLS * HOUR_INTERVAL * 2, n_polls, interval=0.5)
    assert host.main_pid("pgvigil-hour") == hour["pid"] and host.show("NRestarts", "pgvigil-hour") == "0"
    resident = resident_bytes(hour["pid"])
    host.print_figure(
        f"resident memory: {hour['resident'] / 1e6:.1f} MB at the start, {resident / 1e6:.1f} MB after {n_polls()} polls"
    )
    assert resident < 40e6
    assert resident < hour["resident"] + 4e6
