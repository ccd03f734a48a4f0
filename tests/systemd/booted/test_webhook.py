# SPDX-License-Identifier: PostgreSQL
"""The sandbox leaves a webhook through, and its address may be a credential."""

import http.server
import json
import os
import threading

import host
import pytest
from conftest import configuration
from pgvtest.process import wait_until

URL = "/etc/credstore/oncall_url"


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    with http.server.HTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.got = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


def test_an_alarm_reaches_its_webhook(service, server, receiver):
    # By name: looked up on a thread of the library's own.
    host.write(URL, f"http://localhost:{receiver.server_port}/a-secret-path\n", 0o600)
    content = configuration(server)
    content["alarms"] = {"somebody": {"metric": "connections", "above": {"warning": 0}}}
    content["outputs"] = {
        "webhooks": {"oncall": {"url_file": "${CREDENTIALS_DIRECTORY:-/etc/credstore}/oncall_url", "format": "json"}}
    }
    service.configure(content)
    host.drop_in("[Service]\nLoadCredential=oncall_url\n")
    try:
        host.systemctl("start", "pgvigil")
        wait_until(lambda: any(one["alarm"] == "somebody" for _, one in receiver.got), 15, lambda: receiver.got)
        assert {path for path, _ in receiver.got} == {"/a-secret-path"}
        assert "a-secret-path" not in host.run("journalctl", "--no-pager", "-b", "-o", "json")
    finally:
        os.unlink(URL)
