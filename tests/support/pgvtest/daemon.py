# SPDX-License-Identifier: PostgreSQL
"""pgvigil run under a test: its configuration, its JSON events, its life."""

import contextlib
import datetime
import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from . import process

WAIT = float(os.environ.get("PGVTEST_WAIT", "15"))


def config(server, timeouts=None, target=None, **sections):
    """A configuration with one target, "db", that enforces and is quick; keywords replace or add sections."""
    return {
        "enforce": True,
        "targets": {"db": {"conninfo": server.conninfo(), "poll_interval": "500ms", **(target or {})}},
        "protect": {"min_age": "0s"},
        "timeouts": timeouts or {},
        "limits": {"per_poll": 1000, "per_minute": 10000},
        "outputs": {"log": {"level": "debug", "format": "json"}},
        **sections,
    }


def rule(after="1s", state="idle", **more):
    return {"state": state, "after": after, **more}


def write_config(directory, content):
    """JSON is YAML, and needs no other module. Nothing listens unless the test wants it: daemons run side by side."""
    content = {"http": {"listen": "off"}, "control": {"socket": "off"}, **content}
    path = os.path.join(directory, "pgvigil.yaml")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=1)
        file.write("\n")
    return path


def wrapper():
    """What stands before pgvigil on every command line: valgrind, or nothing."""
    return shlex.split(os.environ.get("PGVTEST_WRAP", ""))


def command(*argv, timeout=30, **kwargs):
    """Runs pgvigil with these arguments to its end."""
    return subprocess.run(
        [*wrapper(), process.binary(), *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=timeout,
        check=False,
        text=True,
        errors="surrogateescape",
        **kwargs,
    )


class Daemon:
    """Runs until stop(); `with` does that and checks its exit status. Events are dicts as its JSON lines give them,
    with their `ts` as seconds in `said_at` too: what a slow reader makes of the times between them says nothing.
    `content`: of the configuration file, or the path of one that is there. `program`: another one than the pgvigil
    under test."""

    def __init__(self, content, arguments=(), environment=None, wrap=None, read=True, program=None):
        self.directory = tempfile.mkdtemp(prefix="pgvtest-daemon-")
        self.events = []
        self.broken_lines = []
        self._condition = threading.Condition()
        self._ended = False
        path = content if isinstance(content, str) else write_config(self.directory, content)
        wrap = wrapper() if wrap is None else wrap
        self.stderr_path = os.path.join(self.directory, "stderr")
        with open(self.stderr_path, "wb") as stderr:
            self.child = process.spawn(
                [*wrap, program or process.binary(), "run", "-c", path, *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **(environment or {})},
            )
        self.pid = self.child.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        if read:
            self.start_reading()

    def start_reading(self):
        self._reader.start()

    def _read(self):
        for line in self.child.stdout:
            try:
                event = json.loads(line)
                event["said_at"] = datetime.datetime.fromisoformat(event["ts"]).timestamp()
            except (ValueError, KeyError):
                self.broken_lines.append(line)
                continue
            with self._condition:
                self.events.append(event)
                self._condition.notify_all()
        with self._condition:
            self._ended = True
            self._condition.notify_all()

    def find(self, event=None, predicate=None, **fields):
        """All events so far of that kind whose fields have these values."""
        with self._condition:
            events = list(self.events)
        return [one for one in events if _fits(one, event, predicate, fields)]

    def wait(self, event=None, predicate=None, timeout=None, n=1, **fields):
        """Waits until n such events have come since the start; returns the n-th."""
        deadline = time.monotonic() + (timeout or WAIT)
        with self._condition:
            at = 0
            found = []
            while True:
                found += [one for one in self.events[at:] if _fits(one, event, predicate, fields)]
                at = len(self.events)
                if len(found) >= n:
                    return found[n - 1]
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    break
                self._condition.wait(left)
        raise process.Timeout(f"no event {event} {fields} ({len(found)} of {n}); {self.tell()}")

    def outcome(self, session, outcome=None, timeout=None, **fields):
        """The settled outcome for a session's backend."""
        if outcome:
            fields["outcome"] = outcome
        return self.wait("outcome", pid=session.pid, timeout=timeout, **fields)

    def wait_up(self, n=1, **fields):
        return self.wait("target_up", n=n, **fields)

    def tell(self):
        """What it said, for failures."""
        lines = [json.dumps(event, ensure_ascii=True) for event in self.find()[-40:]]
        return "\n".join(
            [f"exit status {self.child.poll()}", *lines, *map(repr, self.broken_lines[-5:]), self.stderr()[-4000:]]
        )

    def stderr(self):
        with open(self.stderr_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def cpu_over(self, seconds):
        """Its CPU time in a stretch of wall time, as a share of one CPU."""
        before = process.cpu_seconds(self.pid)
        time.sleep(seconds)
        return (process.cpu_seconds(self.pid) - before) / seconds

    def stop(self, signo=signal.SIGTERM, timeout=20.0):
        """Ends it and returns its exit status. The events stay."""
        status = process.stop_process(self.child, signo, timeout)
        if self._reader.is_alive() or self._reader.ident:
            self._reader.join(5)
        with contextlib.suppress(OSError):
            self.child.stdout.close()
        return status

    def destroy(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        status = self.stop()
        told = self.tell()
        shutil.rmtree(self.directory, ignore_errors=True)
        if kind is None:
            assert status == 0, f"pgvigil ended with {status}; {told}"
            assert not self.broken_lines, f"not JSON: {self.broken_lines[:3]}"


def _fits(one, event, predicate, fields):
    return (
        (event is None or one.get("event") == event)
        and all(one.get(key) == value for key, value in fields.items())
        and (predicate is None or bool(predicate(one)))
    )
