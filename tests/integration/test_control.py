# SPDX-License-Identifier: PostgreSQL
"""The operator's commands: pause, resume, reload, over the control socket; and who may give them."""

import json
import os
import pwd
import signal
import subprocess
import time

import pytest

from pgvtest import process
from pgvtest.clients import Session, idle
from pgvtest.daemon import Daemon, command, rule, wrapper, write_config
from pgvtest.proxy import Proxy
from pgvtest.served import Served, curl
from pgvtest.server import Postgres

OTHER = {"application_name": "other"}
IDLE = {"idle": rule("1s", match={"user": "worker"}, ignore=OTHER), "other": rule("1s", match=OTHER)}


BIND = b"\0pgvigil_%s\0"  # the portal without a name, then the statement's


def tell(served, *arguments):
    """A command that must succeed; what it says."""
    name, *rest = arguments
    result = command(name, "--socket", served.path, *rest)
    assert result.returncode == 0, result
    return result.stdout


def refused(served, *arguments):
    name, *rest = arguments
    result = command(name, "--socket", served.path, *rest)
    assert result.returncode == 1 and not result.stdout, result
    return result.stderr


def status(served):
    code, body = curl(served.url + "/api/v1/status")
    assert code == 200
    return json.loads(body)


def test_P8_a_pause_ends_nothing_and_a_resume_goes_on(server, tmp_path):
    alarms = {"leak": {"metric": "idle", "match": {"user": "worker"}, "above": {"warning": 0}}}
    with Served(server, tmp_path, IDLE, alarms=alarms) as served:
        daemon = served.daemon
        daemon.wait_up()
        assert tell(served, "pause", "--for", "10min").startswith("everything is paused for 10min, until 20")
        paused = daemon.wait("paused")
        assert paused["reason"] == "asked" and paused["limit_usec"] == 600 * 10**6
        assert paused["asker_uid"] == os.geteuid() and paused["asker_pid"] > 1
        session = Session(server, "worker", query="SELECT 1")
        held = daemon.wait("held_back", reason="paused", rule="idle")
        assert held["count"] == 1
        daemon.wait("alarm", alarm="leak", reason="raised")
        now = status(served)
        (target,) = now["targets"]
        (pause,) = now["pauses"]
        assert target["paused"] and all(one["paused"] for one in target["rules"])
        assert target["enforcing"] and target["leading"], "who is paused keeps the lock, so that nobody acts"
        assert pause["scope"] == "all" and 590 < pause["left_seconds"] <= 600
        assert 'pgvigil_paused{target="db"} 1' in curl(served.url + "/metrics")[1]
        text = tell(served, "status")
        assert "\nPAUSED everything until 20" in text and "paused 1" in text and "WARNING leak" in text
        assert json.loads(tell(served, "status", "--json"))["pauses"][0]["scope"] == "all"
        assert session.alive() and not daemon.find("decision")
        assert tell(served, "resume") == "resumed: everything\n"
        resumed = daemon.wait("resumed")
        assert resumed["reason"] == "asked" and resumed["asker_uid"] == os.geteuid()
        session.wait_dead()
        assert "asker_uid" not in daemon.wait("decision"), "a rule has done that"
        assert not status(served)["pauses"]
        assert tell(served, "resume") == "nothing is paused\n"


def test_P8_a_pause_takes_back_what_waits_behind_a_poll(tmp_path):
    """The first chunk of victims takes longer than the interval, and the poll after it is stalled."""
    with Postgres(max_connections=80) as server, Proxy(server.port) as line:
        seen = []

        def watch(data):
            if not seen and BIND % b"terminate" in data:
                seen.append("acts")
                time.sleep(0.7)
            elif seen == ["acts"] and BIND % b"facts" in data:
                seen.append("poll")
                line.stall()
            return data

        line.on_request = watch
        rules = {"idle": rule("1s", match={"user": "worker"})}
        target = {"conninfo": server.conninfo(port=line.port), "poll_interval": "300ms"}
        workers = idle(server, 60, "worker")
        time.sleep(1)
        with Served(server, tmp_path, rules, target=target) as served:
            process.wait_until(lambda: "poll" in seen, 15, "a poll after the first acts")
            time.sleep(0.3)
            tell(served, "pause")
            line.resume()
            n = served.daemon.wait("held_back", reason="paused")["count"]
            served.daemon.wait("outcome", outcome="gone", n=60 - n)
            assert n >= 10 and sum(one.alive() for one in workers) == n


def test_one_rule_alone_and_by_itself(server, tmp_path):
    with Served(server, tmp_path, IDLE) as served:
        served.daemon.wait_up()
        assert tell(served, "pause", "idle", "--for", "4s").startswith("rule idle is paused for 4s")
        session = Session(server, "worker", query="SELECT 1")
        other = Session(server, "worker", query="SELECT 1", **OTHER)
        other.wait_dead()
        resumed = served.daemon.wait("resumed", rule="idle")
        assert resumed["reason"] == "expired"
        assert served.daemon.outcome(session, "gone")["said_at"] >= resumed["said_at"]
        session.wait_dead()
        began = served.daemon.wait("paused", rule="idle")
        assert 3.5 < resumed["said_at"] - began["said_at"] < 6


def test_one_target_alone(server, tmp_path):
    target = {"conninfo": server.conninfo(), "poll_interval": "500ms"}
    with Served(server, tmp_path, IDLE, targets={"db": target, "twin": target}) as served:
        served.daemon.wait_up(n=2)
        assert tell(served, "pause", "twin").startswith("target twin is paused for 1h,")
        assert served.daemon.wait("paused")["target"] == "twin"
        now = {one["target"]: one["paused"] for one in status(served)["targets"]}
        assert now == {"db": False, "twin": True}
        assert "target db is not paused by itself" in refused(served, "resume", "db")
        tell(served, "pause")
        result = command("resume", "twin", "--socket", served.path)
        assert result.stdout == "resumed: target twin\n" and "everything is still paused" in result.stderr


def test_a_name_that_is_none(server, tmp_path):
    with Served(server, tmp_path, IDLE) as served:
        served.daemon.wait_up()
        for name in ("pause", "resume"):
            assert (
                "there is no target and no rule 'idel\\n' (targets: db; rules: idle, other)"
                in refused(served, name, "idel\n")
            )
        tell(served, "pause", "idle")
        paused = status(served)["pauses"]
        for name in ("pause", "resume"):
            result = command(name, "", "--socket", served.path)
            assert result.returncode == 2 and not result.stdout, result
            assert f"{name}: the name is empty (without a name everything is {name}d)" in result.stderr
            for query in ("name=", "name", *(["for=90s&name="] if name == "pause" else [])):
                code, body = curl(f"{served.url}/api/v1/{name}?{query}", "-X", "POST", path=served.path)
                assert code == 400 and "the name is empty" in json.loads(body)["error"]
        assert [one["scope"] for one in paused] == [one["scope"] for one in status(served)["pauses"]] == ["rule"]
        tell(served, "resume", "idle")
        for duration in ("0s", "999ms", "7d1s"):  # the daemon does not rely on the command
            url = f"{served.url}/api/v1/pause?for={duration}"
            code, body = curl(url, "-X", "POST", path=served.path)
            assert code == 400 and "a pause lasts 1s to 7d (what" in json.loads(body)["error"]
        assert not status(served)["pauses"]


def test_how_long_a_pause_may_last(tmp_path):
    """Said before a daemon is looked for: there is none."""
    for duration in ("0s", "1ms", "999ms", "7d1s", "400d"):
        result = command("pause", "--for", duration, "--socket", str(tmp_path / "none.sock"))
        assert result.returncode == 2 and "pause: option '--for': a pause lasts 1s to 7d (what" in result.stderr, result
    assert command("pause", "--for", "8").returncode == 2
    for duration in ("1s", "7d"):
        result = command("pause", "--for", duration, "--socket", str(tmp_path / "none.sock"))
        assert result.returncode == 1 and "no daemon answers" in result.stderr, result
    assert "1s to 7d" in command("help", "pause").stdout


def test_a_pause_outlives_reload_and_restart(server, tmp_path):
    session = Session(server, "worker", query="SELECT 1")
    with Served(server, tmp_path, IDLE) as served:
        served.daemon.wait_up()
        tell(served, "pause", "idle")
        if not session.alive():  # it was over its time before
            session = Session(server, "worker", query="SELECT 1")
        write_config(served.daemon.directory, {**served.content, "limits": {"per_poll": 7}})
        assert "enforcing: 1 target, 2 rules" in tell(served, "reload")
        served.daemon.wait("held_back", reason="paused", rule="idle")
    with Served(server, tmp_path, IDLE) as served:
        assert served.daemon.wait("paused")["reason"] == "restored"
        served.daemon.wait("held_back", reason="paused", rule="idle")
        assert session.alive()
        # What is paused goes away with a reload.
        write_config(served.daemon.directory, {**served.content, "timeouts": {"renamed": IDLE["idle"]}})
        tell(served, "reload")
        assert served.daemon.wait("resumed")["reason"] == "gone"
        session.wait_dead()
    # Beside the socket, also when a reload has moved that.
    with Served(server, tmp_path, IDLE) as served:
        served.daemon.wait_up()
        tell(served, "pause", "idle")
        assert os.path.exists(served.path + ".pauses")
        moved = {**served.content, "control": {"socket": str(tmp_path / "moved.sock")}}
        write_config(served.daemon.directory, moved)
        assert "enforcing: 1 target, 2 rules" in tell(served, "reload")
        assert not os.path.exists(served.path + ".pauses")
    with Daemon(moved) as daemon:
        paused = daemon.wait("paused")
        assert (paused["reason"], paused["rule"]) == ("restored", "idle")
        result = command("resume", "--socket", moved["control"]["socket"])
        assert result.returncode == 0, result
    # In the state directory, where there is one; and what is damaged pauses.
    state = tmp_path / "state"
    state.mkdir()
    (state / "pauses.json").write_text("{")
    with Served(server, tmp_path, IDLE, environment={"STATE_DIRECTORY": str(state)}) as served:
        paused = served.daemon.wait("paused")
        assert paused["reason"] == "unreadable" and paused["level"] == "warning"
        tell(served, "resume")
        assert os.listdir(state) == []


def test_reload_waits_for_the_verdict(server, tmp_path):
    with Served(server, tmp_path, IDLE) as served:
        served.daemon.wait_up()
        path = write_config(served.daemon.directory, {**served.content, "timeouts": {"a": rule("10")}})
        result = command("reload", "-c", path)
        assert result.returncode == 1 and not result.stdout
        assert f"{path}:" in result.stderr and 'timeouts.a.after: "10" has no unit' in result.stderr
        assert "the daemon goes on as before" in result.stderr
        assert served.daemon.wait("config_rejected")["asker_uid"] == os.geteuid()
        assert {one["name"] for one in status(served)["targets"][0]["rules"]} == {"idle", "other"}
        # A file that is no YAML any more still says where the daemon is, or else the default does.
        with open(path, "w", encoding="utf-8") as file:
            file.write("control: { socket: " + served.path + " }\ntargets: [\n")
        result = command("reload", "--socket", served.path)
        assert result.returncode == 1 and f"{path}:" in result.stderr
        write_config(served.daemon.directory, {**served.content, "timeouts": {"a": rule("10s")}})
        assert f"{path}, enforcing: 1 target, 1 rule, 0 alarms" in tell(served, "reload")
        assert served.daemon.wait("config_loaded", asker_uid=os.geteuid())
        n_loaded = len(served.daemon.find("config_loaded"))
        os.kill(served.daemon.pid, signal.SIGHUP)
        served.daemon.wait("config_loaded", n=n_loaded + 1)
        assert not any("asker_uid" in one for one in served.daemon.find("config_loaded")[n_loaded:])


@pytest.mark.root  # to give a socket to other groups
@pytest.mark.skipif(os.path.exists("/run/systemd/journal/socket"), reason="needs a machine without a journal")
def test_P9_a_refused_reload_opens_the_socket_to_nobody(server, tmp_path):
    with Served(server, tmp_path, control_group="4711") as served:
        served.daemon.wait_up()
        content = {**served.content, "control": {"socket": served.path, "group": "4712"}}
        write_config(served.daemon.directory, {**content, "outputs": {"log": {"format": "journal"}}})
        assert "goes on as before" in refused(served, "reload")
        assert os.stat(served.path).st_gid == 4711
        write_config(served.daemon.directory, content)
        tell(served, "reload")
        assert os.stat(served.path).st_gid == 4712


def test_without_a_daemon(tmp_path):
    path = str(tmp_path / "none.sock")
    for name in ("status", "pause", "resume", "reload", "health"):
        result = command(name, "--socket", path)
        assert result.returncode == 1 and f"no daemon answers at {path}: there is no such socket" in result.stderr
    (tmp_path / "file").write_text("mine")
    result = command("status", "--socket", str(tmp_path / "file"))
    assert result.returncode == 1 and "file: it is no socket" in result.stderr, result
    result = command("pause", "-c", write_config(tmp_path, {"control": {"socket": "off"}}))
    assert result.returncode == 1 and "control.socket is off" in result.stderr


def as_nobody(*arguments, groups=()):
    account = pwd.getpwnam("nobody")
    return subprocess.run(
        [*wrapper(), process.binary(), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=groups,
        cwd="/",
    )


@pytest.mark.root  # to be somebody else
def test_who_may(server, tmp_path):
    probe = as_nobody("version")
    if probe.returncode != 0:
        pytest.skip("the binary is out of reach of other users")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and str(folder) != "/" and not folder.stat().st_mode & 1:
            folder.chmod(0o755)
    gid = 54321
    with Served(server, tmp_path, IDLE, control_group=str(gid)) as served:
        served.daemon.wait_up()
        assert os.stat(served.path).st_gid == gid
        result = as_nobody("pause", "--socket", served.path)
        assert result.returncode == 1 and f"you may not use {served.path}" in result.stderr, result
        result = as_nobody("pause", "idle", "--socket", served.path, groups=[gid])
        assert result.returncode == 0, result
        # Opened up for numbers, it is not opened up for switches.
        os.chmod(served.path, 0o666)
        assert as_nobody("health", "--socket", served.path).returncode == 0
        result = as_nobody("resume", "--socket", served.path)
        assert result.returncode == 1 and "commands are for root" in result.stderr, result
        assert len(status(served)["pauses"]) == 1


def test_commands_are_posts_on_the_socket(server, tmp_path):
    with Served(server, tmp_path, IDLE) as served:
        served.daemon.wait_up()
        local_only = "commands are taken on the control socket only\n"
        assert curl(served.url + "/api/v1/pause", "-X", "POST") == (405, local_only)
        for path in ("pause", "resume", "reload", "reap"):
            assert curl(f"{served.url}/api/v1/{path}") == (403, local_only), path
            code, answer = curl(f"{served.url}/api/v1/{path}", "-i", path=served.path)
            assert code == 405 and "\nAllow: POST\n" in answer and "POST it" in answer, answer
        assert "\nAllow: GET, HEAD\n" in curl(served.url + "/metrics", "-i", "-X", "POST", path=served.path)[1]
        assert "\nAllow: GET, HEAD\n" in curl(served.url + "/metrics", "-i", "-X", "POST")[1]
        code, body = curl(served.url + "/api/v1/pause?name=idle&for=90s", "-X", "POST", path=served.path)
        assert code == 200 and json.loads(body)["message"].startswith("rule idle is paused for 1min30s, ")
        code, body = curl(served.url + "/api/v1/pause?for=soon", "-X", "POST", path=served.path)
        assert code == 400 and "duration" in json.loads(body)["error"]
        assert not curl(served.url + "/")[1].count("POST")


def test_P2_a_command_that_is_not_wholly_understood_is_refused(server, tmp_path):
    """What nobody reads may be what should have narrowed it."""
    with Served(server, tmp_path, IDLE) as served:
        served.daemon.wait_up()

        def post(path, *arguments):
            code, body = curl(f"{served.url}/api/v1/{path}", "-X", "POST", *arguments, path=served.path)
            return code, json.loads(body).get("error")

        assert post("pause?name=idle&for=1h") == (200, None)
        json_body = ("-H", "Content-Type: application/json", "-d", '{"name": "idle"}')
        twice = "pause?name=idle&name=db"
        for path in ("resume?nmae=x", "resume?name", "resume?name=idle&for=1h", "pause?fro=5m", twice):
            code, error = post(path)
            assert code == 400 and "parameter" in error, (path, error)
        assert "'nmae'" in post("resume?nmae=x")[1] and "(known: name)" in post("resume?nmae=x")[1]
        for path in ("resume", "pause", "resume?name=idle", "reload"):
            code, error = post(path, *json_body)
            assert code == 400 and "takes no body" in error, (path, error)
        for path in ("reload?target=db", "reap?target=db"):
            code, error = post(path)
            assert code == 400 and "(known: none)" in error, (path, error)
        (pause,) = status(served)["pauses"]
        assert (pause["scope"], pause["name"]) == ("rule", "idle"), pause
        assert post("resume?name=idle&", "-d", "") == (200, None)
        assert post("reload") == (200, None)


def fill(server):
    """Idle workers until the server has no slot left for them."""
    workers = idle(server, int(server.value("SHOW max_connections")) - 3 - server.count(), "worker")
    with pytest.raises(Exception, match="remaining connection slots are reserved|too many clients"):
        Session(server, "worker")
    return workers


def test_P7_report_on_a_full_server(fresh_server, tmp_path):
    with Served(fresh_server, tmp_path) as served:
        served.daemon.wait_up()
        path = os.path.join(served.daemon.directory, "pgvigil.yaml")
        workers = fill(fresh_server)
        result = command("report", "-c", path, "--direct")
        assert result.returncode == 1 and "53300" in result.stderr, result
        result = command("report", "-c", path, "--format", "json")
        assert result.returncode == 0, result
        (target,) = json.loads(result.stdout)["targets"]
        (users,) = [one for one in target["users"] if one["user"] == "worker"]
        # Asked of the server just now, and not of the last interval.
        assert users["sessions"] == len(workers) and target["slots"]["used"] == target["slots"]["usable"]
        assert [one["user"] for one in target["longest_idle"]].count("worker") >= 5
        assert not [one for one in target["longest_transactions"] if one["user"] == "pgvigil"]
        direct = {"server", "slots", "apps", "users", "databases", "states", "groups", "rules", "alarms", "findings"}
        assert direct < set(target)


def test_report_without_the_daemon(server, tmp_path):
    with Served(server, tmp_path) as served:
        served.daemon.wait_up()
        path = write_config(tmp_path, {**served.content, "targets": {"new": served.content["targets"]["db"]}})
        result = command("report", "-c", path)
        assert result.returncode == 0 and "does not watch 'new'" in result.stderr, result
    result = command("report", "-c", path)
    assert result.returncode == 0 and not result.stderr, "no daemon is no news"


def reap(served, *arguments):
    path = os.path.join(served.daemon.directory, "pgvigil.yaml")
    return command("reap", "-c", path, "--user", "worker", *arguments)


def test_P7_reap_on_a_full_server(fresh_server, tmp_path):
    """By a daemon that only observes, as here a person says what to end; and what it did is in its log."""
    with Served(fresh_server, tmp_path, enforce=False) as served:
        served.daemon.wait_up()
        workers = fill(fresh_server)
        time.sleep(1.2)
        result = reap(served, "--idle", "1s", "--direct")
        assert result.returncode == 1 and "53300" in result.stderr, result
        result = reap(served, "--idle", "1s", "--max", "7")
        assert result.returncode == 0 and "7 sessions would be ended; held back: " in result.stdout, result
        assert not served.daemon.find("decision"), "a list is no event"
        result = reap(served, "--idle", "1s", "--max", "7", "--yes")
        assert result.returncode == 0 and "\n7 sessions chosen: 7 gone; held back: " in result.stdout, result
        assert sum(not one.alive() for one in workers) == 7
        intents = served.daemon.find("decision", rule="reap-idle")
        outcomes = served.daemon.find("outcome", rule="reap-idle", outcome="gone")
        assert len(intents) == len(outcomes) == 7 and not any(one["observe"] for one in intents)
        for one in intents + outcomes:
            assert one["asker_uid"] == os.geteuid() and one["asker_pid"] > 1
            assert f" (asked by uid {os.geteuid()}, pid {one['asker_pid']})" in one["message"]
        assert "asked by" not in result.stdout, "that is known here"
        # Nothing of its own has changed.
        assert reap(served, "--idle", "1s", "--app", "none").returncode == 2
        assert not served.daemon.find("alarm", alarm="lingering")


def test_P1_reap_and_a_rule_name_the_same(server, tmp_path):
    with Served(server, tmp_path, {"idle": rule("2s", match={"user": "worker"})}) as served:
        served.daemon.wait_up()
        workers = idle(server, 10, "worker")
        deadline = time.monotonic() + 15
        while any(one.alive() for one in workers) and time.monotonic() < deadline:
            result = reap(served, "--idle", "2s", "--yes")
            assert result.returncode == 0, result
        for one in workers:
            one.wait_dead()
            served.daemon.outcome(one, "gone")
        for one in workers:
            assert len(served.daemon.find("decision", pid=one.pid)) == 1, "one act for each"


def test_P4_reap_spares_who_listens(server, tmp_path):
    """The daemon has seen the LISTEN; the last statement does not show it any more."""
    with Served(server, tmp_path) as served:
        served.daemon.wait_up()
        listener, other = Session(server, "worker", query="LISTEN x"), Session(server, "worker", query="SELECT 1")
        command("report", "-c", os.path.join(served.daemon.directory, "pgvigil.yaml"))  # polls anew
        listener.run("SELECT 1")
        time.sleep(1.2)
        result = reap(served, "--idle", "1s", "--yes")
        assert "1 session chosen: 1 gone; held back: 1 protected" in result.stdout, result
        assert listener.alive() and not other.alive()


def test_reap_while_paused_and_over_a_reload(server, tmp_path):
    with Served(server, tmp_path, IDLE) as served:
        served.daemon.wait_up()
        tell(served, "pause")
        workers = idle(server, 5, "worker")
        time.sleep(1.2)
        result = reap(served, "--idle", "1s", "--yes", "--target", "db")
        assert "5 sessions chosen: 5 gone" in result.stdout, result
        assert not any(one.alive() for one in workers)
        body = json.dumps({"idle": 1, "match": {"user": []}})
        code, answer = curl(served.url + "/api/v1/reap", "-d", body, path=served.path)
        assert code == 400 and "cannot be read" in answer, "P2: an empty filter matches nobody"
        body = json.dumps({"idle": 1, "match": {"client_addr": ["10.0.0.1/8"]}})
        code, answer = curl(served.url + "/api/v1/reap", "-d", body, path=served.path)
        assert code == 400 and "client_addr: " in answer
        for bad in ("", "[]", "{}", '{"idle": "1s"}', '{"idle": -5}', '{"idle": 1, "match": {"users": ["x"]}}'):
            assert curl(served.url + "/api/v1/reap", "-d", bad, path=served.path)[0] == 400, bad


def reap_by(directory, served, *arguments, **sections):
    """By a file of its own, of which the daemon knows nothing but the socket."""
    path = write_config(directory, {**served.content, **sections})
    return command("reap", "-c", path, "--idle", "1s", *arguments)


def test_P1_a_name_that_stands_for_another_server(server, tmp_path):
    with Served(server, tmp_path) as served:
        served.daemon.wait_up()
        worker = Session(server, "worker", query="SELECT 1")
        time.sleep(1.2)
        staging = {"db": {"conninfo": "host=127.0.0.1 port=1 user=pgvigil dbname=postgres"}}
        result = reap_by(tmp_path, served, "--user", "worker", "--yes", targets=staging)
        said = f"not asked: its 'db' is 127.0.0.1:{server.port}: the servers are asked directly"
        assert result.returncode == 1 and said in result.stderr and not result.stdout, result
        result = command("report", "-c", write_config(tmp_path, {**served.content, "targets": staging}))
        assert result.returncode == 1 and said in result.stderr and "worker" not in result.stdout, result
        assert worker.alive() and not served.daemon.find("decision")


def test_P4_a_file_with_other_apps_and_protections(server, tmp_path):
    with Served(server, tmp_path) as served:
        served.daemon.wait_up()
        worker = Session(server, "worker", query="SELECT 1")
        time.sleep(1.2)
        said = "it goes by other apps or protections than that file (pgvigil reload?): the servers are asked directly"
        protect = {**served.content.get("protect", {}), "match": {"user": "worker"}}
        result = reap_by(tmp_path, served, "--user", "worker", "--yes", protect=protect)
        assert result.returncode == 0 and said in result.stderr, result
        assert "0 sessions chosen; held back: 1 protected" in result.stdout
        assert worker.alive()
        apps = {"mine": {"match": {"user": "worker"}}}
        result = reap_by(tmp_path, served, "--app", "mine", apps=apps)
        assert "1 session would be ended" in result.stdout and said in result.stderr, result
        result = command("report", "-c", write_config(tmp_path, {**served.content, "apps": apps}))
        assert result.returncode == 0 and "goes by other apps or protections than" in result.stderr, result
        result = reap(served, "--idle", "1s", "--yes")
        assert "1 session chosen: 1 gone" in result.stdout and not result.stderr, "the daemon's own file"


def test_reap_concerns_the_servers_of_the_file(server, tmp_path):
    targets = {name: {"conninfo": server.conninfo()} for name in ("db", "other")}
    with Served(server, tmp_path, targets=targets) as served:
        served.daemon.wait("target_up", n=2)
        Session(server, "worker", query="SELECT 1")
        time.sleep(1.2)
        few = {"other": targets["other"]}
        result = reap_by(tmp_path, served, "--user", "worker", "--yes", targets=few)
        assert "1 session chosen: 1 gone" in result.stdout and not result.stderr, result
        assert {one["target"] for one in served.daemon.find("decision")} == {"other"}
        more = {**targets, "third": {"conninfo": server.conninfo()}}
        result = reap_by(tmp_path, served, "--user", "worker", targets=more)
        assert result.returncode == 0 and "does not watch all of these servers (pgvigil reload?)" in result.stderr
        assert "0 sessions would be ended" in result.stdout, result


def test_P2_a_reap_that_is_not_wholly_understood_is_refused(server, tmp_path):
    """What another version may ask for: a filter that is not applied would be one that matches everybody."""
    strange = (
        {"ignore": {"user": ["worker"]}},
        {"target": "db"},
        {"targets": []},
        {"targets": ["db"]},
        {"targets": [{"target": 1}]},
        {"targets": [{"target": "db", "address": None}]},
        {"targets": [{"target": "db", "port": 1}]},
        {"scope": 1},
        {"cancel": "yes"},
        {"match": {}},
        {"keep": "5"},
        {"max": 1.5},
        {"active": "1h"},
        {"active": -1},
    )
    with Served(server, tmp_path) as served:
        served.daemon.wait_up()
        worker = Session(server, "worker", query="SELECT 1")
        for more in strange:
            body = json.dumps({"idle": 0, "yes": True, **more})
            assert curl(served.url + "/api/v1/reap", "-d", body, path=served.path)[0] == 400, more
        assert worker.alive() and not served.daemon.find("decision")
