# SPDX-License-Identifier: PostgreSQL
"""What the unit's sandbox denies: a probe runs in the very same one, and outside of it to show that it can tell."""

import json
import os

import host
import probe
import pytest

REPORT = "/opt/result/probe.json"
PROBE = f"/usr/bin/python3 -B {os.path.join(os.path.dirname(os.path.abspath(__file__)), 'probe.py')}"
CAP_SYS_RESOURCE = 1 << 24


@pytest.fixture(scope="module")
def found():
    """What the probe says inside and outside."""
    host.write("/home/alice/secret", "x", 0o644)
    host.write("/root/secret", "x", 0o644)
    host.write("/tmp/of-others", "x", 0o644)
    host.write(host.CREDENTIAL, "x\n", 0o600)
    host.write(host.CONFIG, "enforce: false\n", 0o640, "pgvigil")
    host.copy_unit(
        "pgvigil-probe",
        ("Type=notify", "Type=oneshot"),
        ("ExecStart=/usr/bin/pgvigil run", f"ExecStart={PROBE}\nStandardOutput=file:{REPORT}"),
        ("Restart=always", "Restart=no"),
        ("Directory=pgvigil\n", "Directory=pgvigil-probe\n"),
    )
    host.systemctl("start", "pgvigil-probe")
    with open(REPORT, encoding="ascii") as file:
        inside = json.load(file)
    host.systemctl("stop", "pgvigil-probe", status=None)
    outside = json.loads(host.run(*PROBE.split()))
    yield inside, outside
    host.run("rm", "-rf", "/home/alice", "/root/secret", "/tmp/of-others")


@pytest.mark.parametrize("name", probe.PROBES)
def test_is_denied(found, name):
    inside, outside = found
    assert outside["probes"][name] == "", f"not even root may here: {outside['probes'][name]}"
    assert inside["probes"][name] != "", "allowed"


@pytest.mark.parametrize("name", probe.NEEDS)
def test_is_allowed(found, name):
    assert found[0]["needs"][name] == ""


def test_who_it_is(found):
    inside, _ = found
    group = int(host.run("getent", "group", "pgvigil").split(":")[2])
    assert inside["uid"] >= 61184, "a dynamic user"
    assert set(inside["groups"]) == {group}


def test_the_daemon_itself(service):
    host.systemctl("start", "pgvigil")
    pid = host.main_pid()
    status = host.status_of(pid)
    for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[key], 16) == 0, key
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert "0" not in status["Uid"].split()
    assert host.show("OOMScoreAdjust") == "-500"
    if int(host.status_of(1)["CapEff"], 16) & CAP_SYS_RESOURCE:  # a machine may not have it to give
        with open(f"/proc/{pid}/oom_score_adj", encoding="ascii") as file:
            assert file.read().strip() == "-500"
    with open(f"/proc/{pid}/limits", encoding="ascii") as file:
        assert [line.split()[4] for line in file if line.startswith("Max core file size")] == ["0"]
    assert host.show("MemoryMax") == str(256 << 20)
    directory = os.stat("/run/pgvigil")
    assert directory.st_mode & 0o7777 == 0o750
    assert directory.st_gid == int(host.run("getent", "group", "pgvigil").split(":")[2])
