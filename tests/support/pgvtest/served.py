# SPDX-License-Identifier: PostgreSQL
"""A daemon that listens, and curl to ask it."""

import contextlib
import os
import socket
import subprocess

from .daemon import Daemon, config


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def curl(url, *arguments, path=None):
    """Status and body."""
    where = ["--unix-socket", path] if path else []
    result = subprocess.run(
        ["curl", "-q", "-sS", "--noproxy", "*", "-m", "15", "-w", "\n%{http_code}", *where, *arguments, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    body, _, status = result.stdout.rpartition("\n")
    return int(status), body


class Served:
    """A daemon that listens on a port and a socket of its own."""

    def __init__(self, server, directory, timeouts=None, control_group=None, environment=None, **sections):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.path = os.path.join(directory, "control.sock")
        self.content = config(
            server,
            timeouts,
            http={"listen": f"127.0.0.1:{self.port}"},
            control={"socket": self.path, **({"group": control_group} if control_group else {})},
            **sections,
        )
        self.daemon = Daemon(self.content, environment=environment)

    def __enter__(self):
        self.daemon.__enter__()
        return self

    def __exit__(self, *failure):
        return self.daemon.__exit__(*failure)

    def connect(self, text=b"", receive_buffer=None):
        one = socket.socket()
        if receive_buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        one.settimeout(15)
        one.connect(("127.0.0.1", self.port))
        one.sendall(text)
        return one

    def besiege(self, text):
        """One that does not wait for its turn: beyond those that are served and queued the kernel lets it knock."""
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", self.port))
        with contextlib.suppress(OSError):
            one.send(text)
        return one
