# SPDX-License-Identifier: PostgreSQL
"""What answers HTTP on the loopback: how it is asked, and how a program of that kind is run."""

import http.client
import json
import os
import shutil
import tempfile
import urllib.parse

from . import process
from .server import free_port


def get(port, path, accept=None, method="GET", body=None):
    """(status, content type, body) of one request to 127.0.0.1."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        connection.request(method, path, body=body, headers={"Accept": accept} if accept else {})
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type"), response.read().decode("utf-8")
    finally:
        connection.close()


def get_json(port, path, **parameters):
    """A list as a parameter's value: it comes once for each."""
    query = f"?{urllib.parse.urlencode(parameters, doseq=True)}" if parameters else ""
    status, _, body = get(port, path + query)
    assert status == 200, f"{path}: {status} {body}"
    return json.loads(body)


class Program:
    """One that says at /-/ready that it is, on a free port and in a directory of its own. Its class makes the files,
    then calls start()."""

    def __init__(self, name):
        self.name = name
        self.directory = tempfile.mkdtemp(prefix=f"pgvtest-{name}-")
        self.port = free_port()
        self.child = None

    def path(self, name):
        return os.path.join(self.directory, name)

    def start(self, argv):
        try:
            with open(self.path("log"), "wb") as log:
                self.child = process.spawn(argv, stdout=log, stderr=log, cwd=self.directory)
            process.wait_until(self._is_ready, 30, self.log, 0.1)
        except BaseException:
            self.close()
            raise

    def _is_ready(self):
        assert self.child.poll() is None, self.log()
        try:
            return get(self.port, "/-/ready")[0] == 200
        except OSError:
            return False

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as file:
            return f"{self.name} is ready: {file.read()[-4000:]}"

    def close(self):
        if self.child:
            process.stop_process(self.child)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
