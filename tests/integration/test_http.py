# SPDX-License-Identifier: PostgreSQL
"""What is served: health over TCP and the control socket, asked by curl; and clients that mean no good."""

import contextlib
import json
import os
import signal
import socket
import stat
import statistics
import time

import pytest

from pgvtest import process
from pgvtest.daemon import Daemon, command, config, write_config
from pgvtest.served import Served, curl, free_port

REQUEST_WITHIN = 10  # seconds, as documented
MAX_CONNECTIONS = 64


def test_health_over_both(server, tmp_path):
    with Served(server, tmp_path) as served:
        served.daemon.wait_up()
        for path in (None, served.path):
            assert curl(served.url + "/healthz", path=path) == (200, "healthy\n")
            status, body = curl(served.url + "/readyz", path=path)
            assert status == 200 and body.startswith("ready\ndb: polled ")
            assert curl(served.url + "/nothing", path=path)[0] == 404
            status, body = curl(served.url + "/", path=path)
            assert status == 200 and "GET /readyz\n" in body
            assert curl(served.url + "/healthz?x=1", "-I", path=path)[0] == 200
            assert curl(served.url + "/readyz", "-X", "POST", path=path)[0] == 405
            assert curl(served.url + "/readyz", "-X", "DELETE", path=path)[0] == 501
        assert os.stat(served.path).st_mode & 0o777 == 0o660
        result = command("health", "--socket", served.path)
        assert (result.returncode, result.stdout) == (0, "healthy\n"), result
        result = command("health", "--ready", "-c", os.path.join(served.daemon.directory, "pgvigil.yaml"))
        assert (result.returncode, result.stdout) == (0, "ready\n"), result
    assert not os.path.exists(served.path)


def test_a_server_that_is_down_is_not_ready_but_healthy(server, tmp_path):
    target = {"conninfo": server.conninfo(port=1), "poll_interval": "100ms"}
    targets = {"targets": {"db": {"conninfo": server.conninfo(), "poll_interval": "100ms"}, "other": target}}
    with Served(server, tmp_path, **targets) as served:
        served.daemon.wait_up()
        served.daemon.wait("target_down", target="other")
        assert curl(served.url + "/healthz") == (200, "healthy\n")
        status, body = curl(served.url + "/readyz")
        assert status == 503
        first, *rest = body.splitlines()
        assert first.startswith("not ready: other: not polled yet; unreachable: ")
        assert "db: " not in first and any(line.startswith("db: polled ") for line in rest)
        result = command("health", "--socket", served.path)
        assert result.returncode == 0
        result = command("health", "--ready", "--socket", served.path)
        assert (result.returncode, result.stdout) == (1, first + "\n"), result


def test_a_daemon_that_stopped_working_is_told_from_none(server, tmp_path):
    with Served(server, tmp_path) as served:
        served.daemon.wait_up()
        os.kill(served.daemon.pid, signal.SIGSTOP)
        try:
            process.wait_stopped(served.daemon.pid)
            result = command("health", "--socket", served.path)
        finally:
            os.kill(served.daemon.pid, signal.SIGCONT)
        assert result.returncode == 1 and "did not answer within 5s" in result.stderr
    result = command("health", "--socket", served.path)
    assert result.returncode == 1 and "there is no such socket" in result.stderr


def poll_times(server, seconds):
    """When the server saw polls begin: some, even if we were not there to look."""
    seen = set()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline or len(seen) < 5:
        began = server.value(
            "SELECT max(query_start) FROM pg_stat_activity WHERE application_name = 'pgvigil' AND usename = 'pgvigil'"
        )
        seen.add(began)
        time.sleep(0.004)
    return sorted(seen)


def poll_gap(server, seconds=2.0):
    times = poll_times(server, seconds)
    return statistics.median((b - a).total_seconds() for a, b in zip(times, times[1:]))


def test_hostile_clients_delay_no_poll(server, tmp_path):
    target = {"poll_interval": "100ms"}
    with Served(server, tmp_path, target=target) as served, contextlib.ExitStack() as stack:
        served.daemon.wait_up()
        before = poll_gap(server)
        began = time.monotonic()
        slow = stack.enter_context(served.connect(b"GET /readyz HTTP/1.1\r\nHost: x\r\nX: "))
        deaf = [
            stack.enter_context(served.connect(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", receive_buffer=1))
            for _ in range(10)
        ]
        half_open = [stack.enter_context(served.besiege(text)) for text in [b"", b"GET / HT"] * 100]
        during = poll_gap(server)
        assert during < 1.5 * before, (before, during)
        assert len(os.listdir(f"/proc/{served.daemon.pid}/fd")) < MAX_CONNECTIONS + 40
        # The commands have connections of their own.
        assert command("health", "--socket", served.path).returncode == 0
        assert time.monotonic() < began + REQUEST_WITHIN - 1, "too slow a machine for what follows"
        # A byte a second puts nothing off.
        slow.settimeout(1)
        ended = None
        while not ended and time.monotonic() < began + REQUEST_WITHIN + 5:
            try:
                slow.sendall(b"x")
                if slow.recv(1000) == b"":
                    ended = time.monotonic()
            except socket.timeout:
                pass
            except OSError:
                ended = time.monotonic()
        assert ended and REQUEST_WITHIN - 1.5 < ended - began < REQUEST_WITHIN + 3
        # Who asks properly is served as soon as there is room.
        for one in deaf + half_open:
            one.close()
        assert curl(served.url + "/healthz")[0] == 200
        assert poll_gap(server, 1) < 1.5 * before


def test_on_a_loopback_address_it_answers_to_no_stranger_s_name(server, tmp_path):
    with Served(server, tmp_path) as served:
        served.daemon.wait_up()

        def ask(host, url=served.url, path=None):
            return [
                curl(url + route, "-H", f"Host: {host}", path=path)[0] for route in ("/metrics", "/api/v1/status", "/")
            ]

        for host in ("evil.example", f"evil.example:{served.port}", "127.0.0.1.evil.example", "pgvigil:9432"):
            assert ask(host) == [421] * 3, host
            assert ask(host, path=served.path) == [200] * 3, host
        for host in ("127.0.0.1", f"127.0.0.1:{served.port}", "localhost:80", "[::1]", "10.0.0.1:1"):
            assert ask(host) == [200] * 3, host
        body = curl(served.url + "/metrics", "-H", "Host: evil.example")[1]
        assert body == "on a loopback address Host must be an IP address or localhost\n"
        assert curl(served.url + "/metrics", "-0", "-H", "Host:")[0] == 200
        # Whoever asks for another address gives it its names: a service of a compose file, say.
        n_loaded = len(served.daemon.find("config_loaded"))
        everywhere = {**served.content, "http": {"listen": f"0.0.0.0:{served.port}"}}
        write_config(served.daemon.directory, everywhere)
        os.kill(served.daemon.pid, signal.SIGHUP)
        served.daemon.wait("config_loaded", n=n_loaded + 1)
        assert ask("pgvigil:9432") == [200] * 3


def ask_at_once(served, path, n=MAX_CONNECTIONS):
    """Bodies of requests that are all there before the first is answered."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        os.kill(served.daemon.pid, signal.SIGSTOP)
        try:
            process.wait_stopped(served.daemon.pid)
            asking = [stack.enter_context(served.connect(request)) for _ in range(n)]
        finally:
            os.kill(served.daemon.pid, signal.SIGCONT)
        answers = [b"".join(iter(lambda one=one: one.recv(65536), b"")) for one in asking]
    heads, bodies = zip(*(answer.split(b"\r\n\r\n", 1) for answer in answers))
    assert all(head.startswith(b"HTTP/1.1 200 ") for head in heads)
    return bodies


def test_many_that_ask_at_once_cost_one_answer(server, tmp_path):
    with Served(server, tmp_path, target={"poll_interval": "20s"}) as served:
        served.daemon.wait_up()
        for path in ("/api/v1/status", "/metrics"):
            bodies = ask_at_once(served, path)
            # Each rendering tells its time and what CPU it took, so that no two are equal.
            assert len(set(bodies)) <= MAX_CONNECTIONS // 8, path
            assert all(len(body) > 1000 for body in bodies)
        for _ in range(3):
            for is_paused, verb in ((True, "pause"), (False, "resume")):
                assert command(verb, "--socket", served.path).returncode == 0
                for path in (None, served.path):
                    pauses = json.loads(curl(served.url + "/api/v1/status", path=path)[1])["pauses"]
                    assert bool(pauses) == is_paused


def test_connections_are_bounded_and_the_next_waits(server, tmp_path):
    with Served(server, tmp_path) as served, contextlib.ExitStack() as stack:
        served.daemon.wait_up()
        held = [stack.enter_context(served.connect(b"GET")) for _ in range(MAX_CONNECTIONS)]
        late = stack.enter_context(served.connect(b"GET /healthz HTTP/1.0\r\n\r\n"))
        late.settimeout(0.5)
        with pytest.raises(socket.timeout):
            late.recv(1)
        held[0].close()
        late.settimeout(10)
        assert late.recv(1000).startswith(b"HTTP/1.0 200 ")


def test_what_is_no_request_is_refused(server, tmp_path):
    cases = [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 80 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"GET /" + b"x" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    ]
    with Served(server, tmp_path) as served:
        served.daemon.wait_up()
        for request, status in cases:
            with served.connect(request) as one:
                answer = b""
                while piece := one.recv(4096):
                    answer += piece
                assert answer.startswith(f"HTTP/1.1 {status} ".encode()), (request[:40], answer)


def test_a_left_socket_is_replaced_and_a_living_one_is_not(server, tmp_path):
    with Served(server, tmp_path) as served:
        served.daemon.wait_up()
        content = {**served.content, "http": {"listen": "off"}}
        result = command("run", "-c", write_config(tmp_path, content))
        assert result.returncode == 1 and "control.socket: cannot listen on" in result.stderr
        assert "another process answers there" in result.stderr
        assert command("health", "--socket", served.path).returncode == 0
        served.daemon.stop(signal.SIGKILL)
        assert os.path.exists(served.path)
        with Daemon(content) as second:
            second.wait_up()
            assert command("health", "--socket", served.path).returncode == 0
        served.daemon.child.returncode = 0
    assert not os.path.exists(served.path)


def test_what_is_there_and_no_socket_stays(server, tmp_path):
    path = tmp_path / "control.sock"
    path.write_text("mine")
    result = command("run", "-c", write_config(tmp_path, config(server, control={"socket": str(path)})))
    assert result.returncode == 1 and "something that is no socket is there" in result.stderr
    assert path.read_text() == "mine"


def test_a_written_address_that_is_taken_is_an_error(server, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        result = command("run", "-c", write_config(tmp_path, config(server, http={"listen": listen})))
    assert result.returncode == 1
    assert f"http.listen: cannot listen on {listen}: Address already in use (by another pgvigil?)" in result.stderr


def test_a_default_that_is_taken_is_a_warning(server, tmp_path):
    with contextlib.ExitStack() as stack:
        taken = stack.enter_context(socket.socket())
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 9432))
            taken.listen()
        except OSError:
            pass  # it is taken by somebody else, then
        path = write_config(tmp_path, {})
        content = config(server, control={"socket": "off"})
        with open(path, "w", encoding="utf-8") as file:
            file.write(str(content).replace("'", '"').replace("True", "true"))
        with Daemon(path) as daemon:
            daemon.wait_up()
            warning = daemon.wait("config_loaded", reason="not_listening")
            assert warning["level"] == "warning"
            said = "cannot listen on 127.0.0.1:9432, the default of http.listen: Address already in use (by another "
            said += "pgvigil?); /metrics, /healthz, /readyz and /api/v1/status are not served; hint: write http: { listen: "
            assert warning["message"].startswith(said), warning


@pytest.mark.parametrize("instead", [None, "file", "socket"])
def test_a_reload_brings_a_deleted_socket_back(server, tmp_path, instead):
    with Served(server, tmp_path) as served:
        served.daemon.wait_up()
        os.unlink(served.path)
        if instead == "file":
            with open(served.path, "w", encoding="utf-8"):
                pass
        elif instead == "socket":
            with socket.socket(socket.AF_UNIX) as other:
                other.bind(served.path)
        os.kill(served.daemon.pid, signal.SIGHUP)
        if instead == "file":
            rejected = served.daemon.wait("config_rejected")
            assert "something that is no socket is there" in rejected["detail"]
            assert os.path.getsize(served.path) == 0 and not stat.S_ISSOCK(os.stat(served.path).st_mode)
            return
        again = served.daemon.wait("config_loaded", reason="listening_again")
        assert again["detail"] == f"control.socket: {served.path} had been deleted, and is there again"
        assert command("health", "--socket", served.path).returncode == 0
        assert os.stat(served.path).st_mode & 0o777 == 0o660
        inode = os.stat(served.path).st_ino
        n_loaded = len(served.daemon.find("config_loaded"))
        os.kill(served.daemon.pid, signal.SIGHUP)
        served.daemon.wait("config_loaded", n=n_loaded + 1)
        assert os.stat(served.path).st_ino == inode, "what is there stays"
    assert not os.path.exists(served.path)


def test_a_reload_moves_it(server, tmp_path):
    with Served(server, tmp_path) as served:
        daemon = served.daemon
        daemon.wait_up()
        n = 1

        def reload(**sections):
            nonlocal n
            write_config(daemon.directory, {**served.content, **sections})
            os.kill(daemon.pid, signal.SIGHUP)

        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            reload(http={"listen": f"127.0.0.1:{taken.getsockname()[1]}"})
            refused = daemon.wait("config_rejected")
            assert "Address already in use" in refused["detail"]
        assert curl(served.url + "/healthz")[0] == 200
        other = str(tmp_path / "other.sock")
        port = free_port()
        reload(http={"listen": f"127.0.0.1:{port}"}, control={"socket": other})
        daemon.wait("alarm", alarm="reload_failed", reason="cleared")
        assert curl(f"http://127.0.0.1:{port}/healthz")[0] == 200
        assert command("health", "--socket", other).returncode == 0
        assert not os.path.exists(served.path)
        with pytest.raises(ConnectionRefusedError):
            served.connect()
        # All addresses, on the same port.
        n_loaded = len(daemon.find("config_loaded"))
        reload(http={"listen": f"0.0.0.0:{port}"}, control={"socket": "off"})
        daemon.wait("config_loaded", n=n_loaded + 1)
        assert curl(f"http://127.0.0.1:{port}/healthz")[0] == 200
        assert not os.path.exists(other)
