# SPDX-License-Identifier: PostgreSQL
"""Alarms reach their receivers, whatever these do; nobody waits for them, and no secret gets out."""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from pgvtest import process
from pgvtest.clients import Session, idle
from pgvtest.daemon import Daemon, command, config, rule, write_config
from pgvtest.receiver import Alertmanager, Receiver, Tunnel, certificate, hang
from pgvtest.server import free_port

WORKERS = {"metric": "idle", "match": {"user": "worker"}, "above": {"warning": 1, "critical": 3}, "clear_after": "0s"}


def content_of(server, timeouts=None, alarms=None, log="json", **webhooks):
    return config(
        server,
        timeouts,
        target={"poll_interval": "200ms"},
        apps={"worker": {"match": {"user": "worker"}}},
        alarms={"workers": WORKERS} if alarms is None else alarms,
        outputs={"log": {"level": "debug", "format": log}, "webhooks": webhooks},
    )


def close(sessions):
    for session in sessions:
        session.close()


def failures(daemon, **fields):
    return daemon.find("notification_failed", **fields)


def mounted(what, where):
    """What to run a daemon with that has something else there."""
    command_line = f'mount --bind {what} $(realpath {where}) && exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", command_line, "sh"]


# ---- receivers


@pytest.mark.skipif(not Alertmanager.binary, reason="no prometheus-alertmanager")
def test_alertmanager(server):
    """Raised, escalated, eased, cleared: at no time does an alert of another severity stay behind."""
    with Alertmanager() as manager:
        content = content_of(server, oncall={"url": manager.url(), "format": "alertmanager"})
        content["alarms"]["by-app"] = {**WORKERS, "per": "app"}
        with Daemon(content) as daemon:
            daemon.wait_up()
            first = idle(server, 2, "worker")
            (alert,) = manager.wait(alarm="workers")
            labels = {"alertname": "PgvigilWorkers", "alarm": "workers", "target": "db", "severity": "warning"}
            assert alert["labels"] == labels
            assert alert["annotations"]["summary"].startswith("db: WARNING workers: idle 2 > 1 (")
            assert alert["annotations"]["holders"].startswith("worker 2")
            (alert,) = manager.wait(alarm="by-app")
            assert alert["labels"]["group"] == "worker" and alert["labels"]["alertname"] == "PgvigilByApp"

            more = idle(server, 2, "worker")
            (alert,) = manager.wait(alarm="workers", severity="critical")
            assert alert["annotations"]["summary"].startswith("db: CRITICAL workers, was WARNING: idle 4 > 3")
            manager.wait(0, alarm="workers", severity="warning")

            close(more)
            manager.wait(1, alarm="workers", severity="warning")
            manager.wait(0, alarm="workers", severity="critical")

            close(first)
            manager.wait(0)
            assert not failures(daemon)


def test_slack_and_json(server):
    with Receiver() as chat, Receiver() as other:
        content = content_of(
            server,
            chat={"url": chat.url("/services/x"), "format": "slack", "min_severity": "critical"},
            other={"url": other.url("/hook?a=b"), "format": "json", "headers": {"X-Scope-OrgID": "team"}},
        )
        with Daemon(content) as daemon:
            daemon.wait_up()
            sessions = idle(server, 2, "worker")
            raised = other.wait()
            assert raised.path == "/hook?a=b" and raised.headers["X-Scope-OrgID"] == "team"
            assert raised.headers["Content-Type"] == "application/json"
            logged = daemon.wait("alarm", reason="raised")
            logged.pop("said_at")
            assert raised.json == {**logged, "ts": raised.json["ts"]}

            sessions += idle(server, 2, "worker")
            other.wait(2, lambda one: one.json["reason"] == "escalated" or one.json["reason"] == "raised")
            escalated = chat.wait()
            assert escalated.json["text"].startswith("db: CRITICAL workers, was WARNING: idle 4 &gt; 3 (")
            close(sessions)
            other.wait(1, lambda one: one.json["reason"] == "cleared")
            chat.wait(2)
            time.sleep(0.5)
            assert len(chat.requests) == 2, "one for its beginning, one for its end"
            assert not failures(daemon)


def test_names_of_strangers_call_nobody(server):
    name = '<!channel> & "\\u0022'
    alarm = {"metric": "idle", "per": "application_name", "above": {"warning": 0}}
    with Receiver() as chat, Receiver() as other:
        content = content_of(
            server,
            alarms={"a": alarm},
            chat={"url": chat.url(), "format": "slack"},
            other={"url": other.url(), "format": "json"},
            manager={"url": other.url("/am"), "format": "alertmanager"},
        )
        with Daemon(content) as daemon:
            daemon.wait_up()
            Session(server, "app", query="SELECT 1", application_name=name)
            text = chat.wait(predicate=lambda one: "channel" in one.body).json["text"]
            assert "&lt;!channel&gt; &amp; " in text and "<" not in text
            # What is told of another group may name this one, too, where it lists who holds connections.
            other.wait(predicate=lambda one: one.path == "/" and "<!channel> & " in one.json["group"])
            other.wait(
                predicate=lambda one: one.path == "/am/api/v2/alerts"
                and any("<!channel> & " in alert["labels"]["group"] for alert in one.json)
            )


def test_files_are_read_at_each_attempt(server, tmp_path):
    url, token = tmp_path / "url", tmp_path / "token"

    def check(handler):
        handler.send_response(200 if handler.headers["Authorization"] == "Bearer new-token" else 401)
        handler.end_headers()

    with Receiver(answers=[check] * 100) as first, Receiver() as second:
        token.write_text("old-token\nnothing more\n")
        content = content_of(
            server, oncall={"url_file": str(url), "format": "json", "bearer_token_file": str(token)}
        )
        with Daemon(content) as daemon:
            daemon.wait_up()
            sessions = idle(server, 2, "worker")
            failed = daemon.wait("notification_failed", reason="settings")
            assert "(url_file: No such file or directory)" in failed["message"]
            url.write_text(first.url("/secret") + "\n")
            refused = first.wait()
            assert refused.headers["Authorization"] == "Bearer old-token"
            token.write_text("new-token")
            daemon.wait("notification_failed", reason="delivered", timeout=40)
            n_first = len(first.requests)
            url.write_text(second.url() + "\n")
            close(sessions)
            assert second.wait().json["reason"] == "cleared"
            assert len(first.requests) == n_first


def test_certificates_in_a_pipe_keep_nobody_waiting(server, tmp_path):
    """To open it libcurl would wait for its writer, and the watch with it."""
    pipe = tmp_path / "ca.pem"
    os.mkfifo(pipe)
    with Receiver() as receiver:
        url = receiver.url().replace("http:", "https:")
        content = content_of(
            server,
            {"idle": rule("500ms", match={"user": "app"})},
            oncall={"url": url, "format": "json", "ca_file": str(pipe)},
        )
        with Daemon(content) as daemon:
            daemon.wait_up()
            idle(server, 2, "worker")
            failed = daemon.wait("notification_failed", reason="settings")
            assert "(ca_file: not a regular file)" in failed["message"]
            latency(server, daemon)


# ---- receivers that fail


def test_a_blip_is_retried_and_not_told(server):
    with Receiver(answers=[500]) as receiver:
        with Daemon(content_of(server, oncall={"url": receiver.url(), "format": "json"})) as daemon:
            daemon.wait_up()
            idle(server, 2, "worker")
            first, second = receiver.wait(1), receiver.wait(2)
            assert first.body == second.body
            assert 0.5 < second.at - first.at < 10
            time.sleep(0.5)
            assert len(receiver.requests) == 2
            assert not failures(daemon)


def test_failures_are_told_on_the_edge(server):
    busy = (429, {"Retry-After": "2"})
    with Receiver(answers=[503, busy, 503]) as receiver:
        with Daemon(content_of(server, oncall={"url": receiver.url(), "format": "json"})) as daemon:
            daemon.wait_up()
            idle(server, 2, "worker")
            failed = daemon.wait("notification_failed", output="oncall")
            assert (failed["reason"], failed["level"]) == ("busy", "warning")
            assert failed["message"] == "cannot notify oncall: it asks to wait (HTTP status 429); trying again"
            assert receiver.wait(3).at - receiver.wait(2).at >= 1.9, "as it asked"
            well = daemon.wait("notification_failed", reason="delivered", timeout=30)
            assert well["message"] == "notifying oncall again: after 3 failed attempts"
            assert len(failures(daemon)) == 2


def test_what_happened_meanwhile_is_told_as_it_is(server):
    """The receiver is away while the alarm comes, escalates and goes."""
    port = free_port()
    with Daemon(content_of(server, oncall={"url": f"http://127.0.0.1:{port}/", "format": "json"})) as daemon:
        daemon.wait_up()
        sessions = idle(server, 2, "worker")
        daemon.wait("alarm", reason="raised")
        daemon.wait("notification_failed", reason="unreachable")
        sessions += idle(server, 2, "worker")
        daemon.wait("alarm", reason="escalated")
        close(sessions)
        daemon.wait("alarm", reason="cleared")
        with Receiver(port=port) as receiver:
            assert receiver.wait(timeout=40).json["reason"] == "cleared"
            daemon.wait("notification_failed", reason="delivered")
            assert len(receiver.requests) == 1


def test_certificates_are_verified(server, tmp_path):
    right, wrong = certificate(tmp_path, "localhost"), certificate(tmp_path, "elsewhere.example")
    with Receiver(tls=right) as good, Receiver(tls=wrong) as bad:
        content = content_of(
            server,
            stranger={"url": good.url(host="localhost"), "format": "json"},
            elsewhere={"url": bad.url(host="localhost"), "format": "json", "ca_file": wrong[0]},
            trusted={"url": good.url("/trusted", host="localhost"), "format": "json", "ca_file": right[0]},
            nothing={"url": good.url(host="localhost"), "format": "json", "ca_file": str(tmp_path / "none")},
        )
        with Daemon(content) as daemon:
            daemon.wait_up()
            idle(server, 2, "worker")
            good.wait(predicate=lambda one: one.path == "/trusted")
            for output in ("stranger", "elsewhere"):
                daemon.wait("notification_failed", output=output, reason="tls")
            failed = daemon.wait("notification_failed", output="nothing", reason="settings")
            assert "ca_file cannot be read" in failed["message"]
            time.sleep(1.5)
            assert {one.path for one in good.requests} == {"/trusted"} and not bad.requests


@pytest.mark.root
@pytest.mark.skipif(not process.may_mount(), reason="needs a mount namespace for certificates of its own")
@pytest.mark.parametrize("by_hash", [True, False])
def test_certificates_of_the_system(server, tmp_path, by_hash):
    """As a folder in which they are found by hash, and as one file."""
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    right, other = certificate(tmp_path, "localhost"), certificate(tmp_path, "other.example")
    if by_hash:
        for one in (right, other):
            name = subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", one[0]], check=True, capture_output=True)
            shutil.copy(one[0], trusted / (name.stdout.decode().strip() + ".0"))
    else:
        with open(trusted / "ca-certificates.crt", "wb") as file:
            file.write(b"".join(open(one[0], "rb").read() for one in (other, right)))
    with Receiver(tls=right) as receiver, Receiver(tls=other) as elsewhere:
        content = content_of(
            server,
            oncall={"url": receiver.url(host="localhost"), "format": "json"},
            elsewhere={"url": elsewhere.url(host="localhost"), "format": "json"},
        )
        with Daemon(content, wrap=mounted(trusted, "/etc/ssl/certs")) as daemon:
            daemon.wait_up()
            idle(server, 2, "worker")
            receiver.wait()
            daemon.wait("notification_failed", output="elsewhere", reason="tls")
            assert not failures(daemon, output="oncall")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_through_a_proxy(server, tmp_path, host):
    """http as a request for the whole URL, https as a tunnel; the environment's proxies are not asked."""
    pem = certificate(tmp_path, "localhost")
    with Receiver(tls=pem) as receiver, Tunnel(receiver.port) as proxy, Receiver() as plain:
        via = f"http://user:hunter2@{host}:{proxy.port}"
        content = content_of(
            server,
            tunnelled={"url": "https://localhost:1/a", "format": "json", "ca_file": pem[0], "proxy": via},
            asked={"url": "http://hooks.invalid/b", "format": "json", "proxy": f"http://{host}:{plain.port}"},
            direct={"url": plain.url("/c", host="localhost"), "format": "json"},
        )
        environment = {f"{name}_proxy": "http://127.0.0.1:1" for name in ("http", "https", "all")}
        with Daemon(content, environment=environment) as daemon:
            daemon.wait_up()
            idle(server, 2, "worker")
            assert receiver.wait().path == "/a"
            assert proxy.heads[0].startswith("CONNECT localhost:1 HTTP/1.1") and "Proxy-Authorization" in proxy.heads[0]
            plain.wait(predicate=lambda one: one.path == "http://hooks.invalid/b")
            plain.wait(predicate=lambda one: one.path == "/c")
            assert not failures(daemon)


def test_redirects_are_not_followed(server):
    with Receiver() as other:
        with Receiver(answers=[(307, {"Location": other.url("/elsewhere")})]) as receiver:
            with Daemon(content_of(server, oncall={"url": receiver.url(), "format": "json"})) as daemon:
                daemon.wait_up()
                idle(server, 2, "worker")
                failed = daemon.wait("notification_failed", reason="refused")
                assert "HTTP status 307" in failed["message"]
                receiver.wait(2)
                assert not other.requests


def endless(handler):
    handler.send_response(503)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"x" * 65536)
    except OSError:
        pass


def garbage(handler):
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    handler.close_connection = True


def test_answers_are_bounded(server):
    with Receiver(answers=[endless, garbage, lambda handler: handler.connection.close()]) as receiver:
        content = content_of(server, oncall={"url": receiver.url(), "format": "json", "timeout": "30s"})
        with Daemon(content) as daemon:
            daemon.wait_up()
            idle(server, 2, "worker")
            receiver.wait(4, timeout=30)
            well = daemon.wait("notification_failed", reason="delivered")
            assert "after 3 failed attempts" in well["message"]


def latency(server, daemon):
    """How long a session that comes due lives: the loop at work."""
    started = time.monotonic()
    victim = Session(server, "app", query="SELECT 1")
    daemon.outcome(victim, "gone")
    return time.monotonic() - started


def test_a_receiver_that_hangs_delays_nothing(server):
    rules = {"idle": rule("500ms", match={"user": "app"})}
    with Receiver(answers=[hang] * 100) as receiver:
        content = content_of(
            server,
            rules,
            hanging={"url": receiver.url(), "format": "json", "timeout": "1s"},
            slow={"url": receiver.url(), "format": "json", "timeout": "1min"},
        )
        with Daemon(content) as daemon:
            daemon.wait_up()
            alone = min(latency(server, daemon) for _ in range(3))
            idle(server, 2, "worker")
            receiver.wait(2)
            daemon.wait("notification_failed", output="hanging", reason="timeout")
            assert min(latency(server, daemon) for _ in range(3)) < 2 * alone + 0.2
            assert daemon.cpu_over(1) < 0.1
            assert not failures(daemon, output="slow")
            started = time.monotonic()
            assert daemon.stop() == 0
            assert time.monotonic() - started < 2, "half a second for what is owed"
            dropped = daemon.wait("notification_failed", output="slow", reason="dropped")
            assert dropped["message"] == "cannot notify slow: the output ends and still owed 1 alarm"


@pytest.mark.root
@pytest.mark.skipif(not process.may_mount(), reason="needs a mount namespace for a resolv.conf of its own")
def test_a_name_server_that_never_answers_delays_nothing(server, tmp_path):
    """libcurl's own resolver would be joined when the attempt is given up."""
    rules = {"idle": rule("500ms", match={"user": "app"})}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.53.54", 53))
        resolv = tmp_path / "resolv.conf"
        resolv.write_text("nameserver 127.0.53.54\noptions timeout:30 attempts:3\n")
        content = content_of(
            server, rules, oncall={"url": "http://hooks.example.invalid/", "format": "json", "timeout": "1s"}
        )
        with Daemon(content, wrap=mounted(resolv, "/etc/resolv.conf")) as daemon:
            daemon.wait_up()
            alone = min(latency(server, daemon) for _ in range(3))
            idle(server, 2, "worker")
            silent.settimeout(10)
            assert b"hooks" in silent.recv(512)
            daemon.wait("notification_failed", reason="unresolved")
            assert min(latency(server, daemon) for _ in range(3)) < 2 * alone + 0.2
            assert daemon.cpu_over(1) < 0.1
            started = time.monotonic()
            assert daemon.stop() == 0
            assert time.monotonic() - started < 2


# ---- life


def test_a_stop_takes_no_more_commands(server, tmp_path):
    """The loop goes on for what is owed. A reload then would begin to watch anew."""
    with Receiver(answers=[hang] * 10) as receiver:
        content = content_of(server, hanging={"url": receiver.url(), "format": "json"})
        path = str(tmp_path / "control.sock")
        with Daemon({**content, "control": {"socket": path}}) as daemon:
            daemon.wait_up()
            idle(server, 2, "worker")
            receiver.wait()
            os.kill(daemon.pid, signal.SIGTERM)
            process.wait_until(lambda: server.count("usename = 'pgvigil'") == 0, 10, "no session", interval=0.005)
            assert command("reload", "--socket", path).returncode == 1
            assert daemon.child.wait(10) == 0
            assert not daemon.find("config_loaded", level="notice") and not daemon.find("target_up")[1:]


def test_a_stop_tells_what_is_owed(server):
    port = free_port()
    with Daemon(content_of(server, oncall={"url": f"http://127.0.0.1:{port}/", "format": "slack"})) as daemon:
        daemon.wait_up()
        idle(server, 2, "worker")
        daemon.wait("notification_failed", reason="unreachable")
        time.sleep(3)  # the next attempt is seconds away
        with Receiver(port=port) as receiver:
            assert daemon.stop() == 0
            assert len(receiver.requests) == 1
            daemon.wait("notification_failed", reason="delivered")


def test_reload_is_live(server):
    """What stays keeps what it owes; what comes is told what stands; what goes says what it takes along."""
    port = free_port()
    away = {"url": f"http://127.0.0.1:{port}/", "format": "json"}
    content = content_of(server, away=away, gone={**away, "format": "slack"})
    with Receiver() as receiver, Daemon(content) as daemon:
        daemon.wait_up()
        sessions = idle(server, 2, "worker")
        for output in ("away", "gone"):
            daemon.wait("notification_failed", output=output, reason="unreachable")
        content["outputs"]["webhooks"] = {
            "new": {"url": receiver.url(), "format": "json"},
            "away": {**away, "timeout": "3s"},
        }
        write_config(daemon.directory, content)
        os.kill(daemon.pid, signal.SIGHUP)
        loaded = daemon.wait("config_loaded", predicate=lambda one: "webhook" in one["message"])
        assert "2 webhooks (changed: away; added: new; removed: gone)" in loaded["message"]
        assert receiver.wait().json["alarm"] == "workers"
        daemon.wait("notification_failed", output="gone", reason="dropped")
        with Receiver(port=port) as back:
            os.kill(daemon.pid, signal.SIGHUP)  # and tries at once
            assert back.wait(timeout=3).json["reason"] == "raised"
        content["outputs"]["webhooks"]["new"]["format"] = "teams"
        write_config(daemon.directory, content)
        os.kill(daemon.pid, signal.SIGHUP)
        assert receiver.wait(predicate=lambda one: one.json["alarm"] == "reload_failed").json["reason"] == "raised"
        close(sessions)
        receiver.wait(predicate=lambda one: one.json["alarm"] == "workers" and one.json["reason"] == "cleared")


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_notifications_are_counted(server):
    port = free_port()
    with Receiver(answers=[500]) as receiver:
        content = content_of(server, oncall={"url": receiver.url(), "format": "json"})
        content["http"] = {"listen": f"127.0.0.1:{port}"}
        with Daemon(content) as daemon:
            daemon.wait_up()
            sessions = idle(server, 2, "worker")
            daemon.wait("alarm", reason="raised")
            close(sessions)
            receiver.wait(predicate=lambda one: one.json["reason"] == "cleared")

            def counted():
                found = re.findall(r'^pgvigil_notifications_total\{output="oncall",result="(\w+)"\} (\d+)$',
                                   get(port, "/metrics"), re.MULTILINE)  # fmt: skip
                return {result: int(n) for result, n in found}

            def told():
                counts = counted()
                return counts.get("sent", 0) + counts.get("superseded", 0) == 2 and counts["retried"] == 1

            process.wait_until(told, 10, counted)


# ---- P10


def reflect(handler):
    """An answer that quotes what it was sent."""
    text = f"{handler.path} {handler.headers}".encode()
    handler.send_response(404, "no " + handler.path)
    handler.end_headers()
    handler.wfile.write(text)


@pytest.mark.parametrize("log", ["json", "text"])
def test_P10_no_secret_leaves(server, tmp_path, log):
    marker = "hunter2"
    (tmp_path / "url").write_text(f"https://{marker}.invalid:1/{marker}\n")
    (tmp_path / "token").write_text(f"{marker}\n")
    (tmp_path / "mistake").write_text(f"{marker}://{marker}\n")
    port = free_port()
    headers = {"X-Token": marker}
    with Receiver(answers=[reflect] * 100) as receiver:
        webhooks = {
            "refusing": {"url": receiver.url(f"/{marker}?{marker}"), "bearer_token_file": str(tmp_path / "token")},
            "user": {"url": f"http://{marker}:{marker}@127.0.0.1:1/{marker}"},
            "unresolved": {"url_file": str(tmp_path / "url")},
            "mistake": {"url_file": str(tmp_path / "mistake")},
            "tls": {"url": f"https://localhost:{receiver.port}/{marker}"},
            "proxied": {"url": f"https://{marker}/", "proxy": f"http://{marker}:{marker}@{marker}.invalid:1"},
        }
        webhooks = {name: {"format": "json", "headers": headers, **one} for name, one in webhooks.items()}
        content = content_of(server, log=log, **webhooks)
        content["http"] = {"listen": f"127.0.0.1:{port}"}
        path = write_config(tmp_path, content)
        outputs = []
        with Daemon(content, read=False) as daemon:
            process.wait_until(lambda: "pgvigil_build_info" in _try_get(port, "/metrics"), 10)
            idle(server, 2, "worker")
            receiver.wait(3)
            time.sleep(1.5)
            outputs += [_try_get(port, "/metrics"), _try_get(port, "/api/v1/status"), _try_get(port, "/readyz")]
            os.kill(daemon.pid, signal.SIGHUP)
            time.sleep(1)
            os.kill(daemon.pid, signal.SIGTERM)
            outputs += [daemon.child.stdout.read().decode(), daemon.stderr()]
            assert daemon.child.wait(10) == 0
        shown = command("check", "-c", path, "--print")
        outputs += [shown.stdout, shown.stderr]
        broken = {**content, "outputs": {"webhooks": {
            "a": {"url": marker, "format": "json"},
            "b": {"url": f"ftp://{marker}", "format": "json", "headers": {"X": f"{marker}\n"}},
            "c": {"url_file": marker, "bearer_token_file": marker, "ca_file": marker, "format": "json"},
            "d": {"url": [marker], "headers": marker, "format": "json"},
        }}}  # fmt: skip
        refused = command("check", "-c", write_config(tmp_path, broken))
        assert refused.returncode == 78
        outputs += [refused.stdout, refused.stderr]
        assert refused.stderr.count("error:") >= 7
    log_text = outputs[3]
    for output in webhooks:
        assert re.search(rf"cannot notify {output}: ", log_text), (output, log_text)
    assert "url: (set)" in shown.stdout and "X-Token: (set)" in shown.stdout
    for text in outputs:
        assert marker not in text


def _try_get(port, path):
    try:
        return get(port, path)
    except OSError:
        return ""
