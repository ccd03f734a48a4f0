# SPDX-License-Identifier: PostgreSQL
"""Who hears of alarms: an HTTP server that a test tells how to behave, and a real Alertmanager."""

import http.server
import json
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time

from . import process
from .web import Program, get_json


class Request:
    def __init__(self, path, headers, body):
        self.path, self.headers, self.body = path, headers, body
        self.at = time.monotonic()

    @property
    def json(self):
        return json.loads(self.body)


class Receiver:
    """Keeps what it is sent. `answers`: a status, or (status, headers), or a function that is given the handler, for
    one request each; afterwards 200. `tls`: (certificate, key)."""

    def __init__(self, answers=(), tls=None, port=0):
        self.requests = []
        self.answers = list(answers)
        self._condition = threading.Condition()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                with receiver._condition:
                    receiver.requests.append(Request(self.path, dict(self.headers), body.decode()))
                    answer = receiver.answers.pop(0) if receiver.answers else 200
                    receiver._condition.notify_all()
                if callable(answer):
                    answer(self)
                    return
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # a client that goes away is what some tests are about

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.scheme = "https" if tls else "http"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def url(self, path="/", host="127.0.0.1"):
        return f"{self.scheme}://{host}:{self.port}{path}"

    def wait(self, n=1, predicate=None, timeout=15):
        """The n-th request for which the predicate holds."""
        deadline = time.monotonic() + timeout
        with self._condition:
            while True:
                found = [one for one in self.requests if not predicate or predicate(one)]
                if len(found) >= n:
                    return found[n - 1]
                left = deadline - time.monotonic()
                if left <= 0:
                    told = [(one.path, one.body) for one in self.requests[-10:]]
                    raise process.Timeout(f"{len(found)} of {n} requests; the last: {told}")
                self._condition.wait(left)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Tunnel:
    """A proxy that takes every CONNECT to one port of the loopback."""

    def __init__(self, to_port):
        self.heads = []
        tunnel = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                lines = list(iter(self.rfile.readline, b"\r\n"))
                tunnel.heads.append(b"".join(lines).decode())
                with socket.create_connection(("127.0.0.1", to_port), 10) as there:
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                    back = threading.Thread(target=_pump, args=(there, self.connection), daemon=True)
                    back.start()
                    _pump(self.connection, there)
                    back.join(10)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(5)


def _pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def hang(handler):
    """Reads the request and never answers, until the client goes."""
    handler.connection.settimeout(60)
    try:
        handler.connection.recv(1)
    except OSError:
        pass


def certificate(directory, name):
    """A self-signed certificate for a host name, and its key."""
    paths = [os.path.join(directory, f"{name}.{kind}") for kind in ("pem", "key")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-out", paths[0], "-keyout", paths[1]],
        check=True,
        capture_output=True,
        timeout=30,
    )  # fmt: skip
    return paths


class Alertmanager(Program):
    """Debian's prometheus-alertmanager."""

    binary = shutil.which("prometheus-alertmanager")

    def __init__(self):
        super().__init__("alertmanager")
        config = self.path("alertmanager.yml")
        with open(config, "w", encoding="ascii") as file:
            file.write("route: { receiver: nobody }\nreceivers: [ { name: nobody } ]\n")
        self.start([
            self.binary,
            f"--config.file={config}",
            f"--storage.path={self.path('data')}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ])  # fmt: skip

    def url(self, path=""):
        return f"http://127.0.0.1:{self.port}{path}"

    def alerts(self, **labels):
        """Those that stand."""
        wanted = [f'{name}="{value}"' for name, value in labels.items()]
        return get_json(self.port, "/api/v2/alerts", active="true", filter=wanted)

    def wait(self, n=1, timeout=15, **labels):
        """Until just n such alerts stand; returns them."""
        found = []

        def check():
            found[:] = self.alerts(**labels)
            return len(found) == n

        process.wait_until(check, timeout, lambda: f"{n} alerts {labels}: {found}", 0.1)
        return list(found)
