# SPDX-License-Identifier: PostgreSQL
"""The booted system that the tests of this folder run in: systemctl, the journal, the files of pgvigil."""

import json
import os
import pwd
import shutil
import subprocess
import time

RESULT = os.environ.get("PGVIGIL_BOOTED", "")  # where what is to be printed goes
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
UNIT = "/usr/lib/systemd/system/pgvigil.service"
CONFIG = "/etc/pgvigil/pgvigil.yaml"
CREDENTIAL = "/etc/credstore/pgvigil.password"


def run(*argv, status=0, timeout=60):
    """Runs a command to its end; returns what it printed. status=None: whatever it ends with."""
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False
    )
    text = done.stdout.decode(errors="replace")
    assert status is None or done.returncode == status, f"{argv}: {done.returncode}: {text}\n{recent()}"
    return text


def systemctl(*argv, **kwargs):
    return run("systemctl", "--no-pager", *argv, **kwargs)


def show(name, unit="pgvigil"):
    return systemctl("show", "--value", "-p", name, unit).rstrip("\n")


def main_pid(unit="pgvigil"):
    return int(show("MainPID", unit))


def is_active(unit="pgvigil"):
    return systemctl("is-active", unit, status=None).strip() == "active"


def recent():
    done = subprocess.run(
        ["journalctl", "--no-pager", "-b", "-n", "60"], stdout=subprocess.PIPE, check=False, timeout=30
    )
    return done.stdout.decode(errors="replace")


class Journal:
    """What comes into the journal from now on. (By time: a cursor together with a match loses the first that fits.)"""

    def __init__(self):
        self.since = f"--since=@{time.time():.6f}"

    def find(self, *matches):
        """The records with these fields, as dicts."""
        text = run("journalctl", "--no-pager", "-q", "-a", "-o", "json", self.since, *matches)
        return [json.loads(line) for line in text.splitlines()]

    def text(self, *arguments):
        return run("journalctl", "--no-pager", "-q", self.since, *arguments)


def write(path, text, mode=0o644, group=None):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    if group:
        shutil.chown(path, "root", group)
    os.chmod(path, mode)


def configure(content, path=CONFIG):
    """As the manual says: root's, readable for the group of the service alone."""
    write(path, content if isinstance(content, str) else json.dumps(content, indent=1) + "\n", 0o640, "pgvigil")


def drop_in(text, unit="pgvigil"):
    write(f"/run/systemd/system/{unit}.service.d/test.conf", text)
    systemctl("daemon-reload")


def remove_drop_ins(unit="pgvigil"):
    shutil.rmtree(f"/run/systemd/system/{unit}.service.d", ignore_errors=True)
    systemctl("daemon-reload")


def copy_unit(name, *replacements):
    """A unit that is in the same sandbox and does something else: (before, after) each replace one text."""
    with open(UNIT, encoding="utf-8") as file:
        text = file.read()
    for before, after in replacements:
        assert before in text, before
        text = text.replace(before, after)
    write(f"/run/systemd/system/{name}.service", text)
    systemctl("daemon-reload")


def status_of(pid):
    """/proc/PID/status as a dict."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        return {key: value.strip() for key, _, value in (line.partition(":") for line in file)}


def has_user(name):
    try:
        pwd.getpwnam(name)
        return True
    except KeyError:
        return False


def print_figure(text):
    with open(os.path.join(RESULT, "figures"), "a", encoding="utf-8") as file:
        file.write(text + "\n")
