# SPDX-License-Identifier: PostgreSQL
"""As many polls as an hour has at the usual interval, in the background of the other tests: memory."""


import host
from conftest import HOUR_DATABASE, HOUR_INTERVAL
from pgvtest.process import resident_bytes, wait_until

N_POLLS = 720  # 3600 s / 5 s


def n_transactions(server):
    return server.value("SELECT xact_commit FROM pg_stat_database WHERE datname = %s", HOUR_DATABASE)


def test_zz_an_hour_of_polls(hour, module_server):
    wait_until(lambda: n_transactions(module_server) >= N_POLLS, N_POLLS * HOUR_INTERVAL * 2, "polls", interval=0.5)
    assert host.main_pid("pgvigil-hour") == hour["pid"] and host.show("NRestarts", "pgvigil-hour") == "0"
    resident = resident_bytes(hour["pid"])
    host.print_figure(
        f"resident memory: {hour['resident'] / 1e6:.1f} MB at the start, {resident / 1e6:.1f} MB after "
        f"{n_transactions(module_server)} polls"
    )
    assert resident < 40e6
    assert resident < hour["resident"] + 4e6
