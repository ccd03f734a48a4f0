# SPDX-License-Identifier: PostgreSQL
"""The suite that runs in a booted systemd: installs a build below a folder, boots, brings the results back."""

import os

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BOOT_TIMEOUT = 300
CANNOT = 77

# As root in the booted system. Not in /tmp: the unit has one of its own, and PostgreSQL's socket is to be seen.
CHECK = """set -eu
journalctl --update-catalog
mkdir -p /srv/tests
export TMPDIR=/srv/tests PGVIGIL_BOOTED=/opt/result PYTHONDONTWRITEBYTECODE=1
cd /opt/source
exec /usr/bin/python3 -B -m pytest -q -c tests/systemd/pytest.ini --rootdir tests/systemd \\
    --junitxml=/opt/result/report.xml tests/systemd/booted
"""


def install(runner, build):
    """The tree that `meson install` makes; None when it does not."""
    installed = os.path.join(runner.directory, "installed")
    status, _ = runner.run(
        f"install {build}",
        ["meson", "install", "-C", runner.built_path(build), "--no-rebuild", "--quiet"],
        DESTDIR=installed,
    )
    return installed if status == 0 else None


def boot(runner, installed):
    """(exit status, JUnit file or None, lines to print); status CANNOT: the last line says why."""
    directory = os.path.join(runner.directory, "booted")
    os.makedirs(directory)
    with open(os.path.join(directory, "check.sh"), "w", encoding="ascii") as file:
        file.write(CHECK)
    status, said = runner.run(
        "systemd booted",
        ["tests/support/sd-boot.sh", directory, installed, ROOT],
        timeout=BOOT_TIMEOUT,
        as_root=True,
    )
    log = read(os.path.join(directory, "check.log"))
    with open(runner.log_path("systemd booted"), "a", encoding="utf-8") as file:
        file.write(log)
    report = os.path.join(directory, "report.xml")
    lines = read(os.path.join(directory, "figures")).splitlines()
    if status == CANNOT:
        lines = said.strip().splitlines()[-1:] or ["it says no reason"]
    return status, report if os.path.exists(report) else None, lines


def read(path):
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
