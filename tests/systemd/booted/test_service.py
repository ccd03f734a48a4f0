# SPDX-License-Identifier: PostgreSQL
"""The installed unit over its life: start, work, reload, every way to die, stop."""

import os
import re
import signal
import time

import host
from conftest import PASSWORD, configuration
from pgvtest.clients import Session
from pgvtest.process import wait_until

RULE = {"idle": {"state": "idle", "after": "1s", "match": {"user": "worker"}}}


def status_text():
    return host.show("StatusText")


def test_enable_and_start(service, server):
    host.systemctl("disable", "pgvigil")
    assert not os.path.exists("/etc/systemd/system/multi-user.target.wants/pgvigil.service")
    journal = host.Journal()
    host.systemctl("enable", "--now", "pgvigil")
    # systemctl came back: READY was sent, and that is after the first poll.
    assert server.own_pid(), host.recent()
    assert os.path.islink("/etc/systemd/system/multi-user.target.wants/pgvigil.service")
    assert host.is_active()
    assert re.fullmatch(r"1 target, \d+ %, 0 ended in the last hour", status_text())
    took = int(host.show("ActiveEnterTimestampMonotonic")) - int(host.show("ExecMainStartTimestampMonotonic"))
    host.print_figure(f"start-up to READY: {took / 1000:.0f} ms")
    assert took < 10e6
    wait_until(lambda: journal.find("PGVIGIL_EVENT=target_up"), 5, "the journal has it")
    host.run("systemctl", "disable", "pgvigil")


def test_a_rule_ends_a_session(service, server):
    service.configure(configuration(server, RULE))
    journal = host.Journal()
    host.systemctl("start", "pgvigil")
    other = Session(server, "app", query="SELECT 1")
    leak = Session(server, "worker", query="SELECT 1", application_name="leak\n\x1b[31m")
    leak.wait_dead()
    records = wait_until(lambda: journal.find("PGVIGIL_EVENT=outcome"), 10, "an outcome in the journal")
    assert len(records) == 1
    record = records[0]
    expected = {
        "PGVIGIL_TARGET": "db",
        "PGVIGIL_RULE": "idle",
        "PGVIGIL_ACTION": "terminate",
        "PGVIGIL_OUTCOME": "gone",
        "PGVIGIL_PID": str(leak.pid),
        "PGVIGIL_USER": "worker",
        "PGVIGIL_STATE": "idle",
        "PGVIGIL_OBSERVE": "false",
        "PGVIGIL_LIMIT_USEC": "1000000",
        "_SYSTEMD_UNIT": "pgvigil.service",
        "SYSLOG_IDENTIFIER": "pgvigil",
        "PRIORITY": "5",
        "MESSAGE_ID": "18386760058d4474a8b3a7d0d1a82490",
    }
    assert {key: record.get(key) for key in expected} == expected
    assert 1000000 <= int(record["PGVIGIL_AGE_USEC"]) < 10000000
    assert record["_PID"] == str(host.main_pid())
    assert f"session {leak.pid}" in record["MESSAGE"] and "\x1b" not in record["MESSAGE"]
    intents = journal.find("PGVIGIL_EVENT=decision", f"PGVIGIL_PID={leak.pid}")
    assert len(intents) == 1 and intents[0]["PGVIGIL_BACKEND_START"] == record["PGVIGIL_BACKEND_START"]
    assert other.alive()
    wait_until(lambda: status_text().endswith(", 1 ended in the last hour"), 10, status_text)
    # What to do next, from the catalog.
    explained = journal.text("-x", "PGVIGIL_EVENT=outcome")
    assert "Subject: What became of a session on db: gone" in explained
    assert "It has left the server, as a later look saw." in explained
    assert "journalctl -u pgvigil PGVIGIL_EVENT=outcome PGVIGIL_RULE=idle" in explained
    assert "\x1b" not in explained.replace("\x1b[0m", "")


def test_reload(service, server):
    host.systemctl("start", "pgvigil")
    pid = host.main_pid()
    service.configure(configuration(server, RULE, enforce=False))
    journal = host.Journal()
    host.systemctl("reload", "pgvigil")
    wait_until(lambda: journal.find("PGVIGIL_EVENT=config_loaded"), 10, "the new file is in effect")
    wait_until(lambda: status_text().endswith(", observing"), 10, status_text)
    assert host.is_active() and host.main_pid() == pid and host.show("NRestarts") == "0"


def test_reload_of_a_bad_file_fails(service, server):
    host.systemctl("start", "pgvigil")
    pid, session = host.main_pid(), server.own_pid()
    service.configure("enforce: maybe\n")
    journal = host.Journal()
    said = host.systemctl("reload", "pgvigil", status=1)
    assert "failed" in said
    assert f"{host.CONFIG}:1:10: error: enforce:" in journal.text("-u", "pgvigil")
    # It was not even asked.
    assert not journal.find("PGVIGIL_EVENT=config_rejected")
    assert host.is_active() and host.main_pid() == pid and server.own_pid() == session

    # Past the check, by the signal alone: refused, and said so.
    os.kill(pid, signal.SIGHUP)
    wait_until(lambda: "the last reload was refused" in status_text(), 10, status_text)
    wait_until(host.is_active, 10, "reloading is over")
    assert journal.find("PGVIGIL_EVENT=config_rejected")
    assert "Mend the file at the position named" in journal.text("-x", "PGVIGIL_EVENT=config_rejected")
    service.configure(configuration(server))
    host.systemctl("reload", "pgvigil")
    wait_until(lambda: status_text().endswith(" ended in the last hour"), 10, status_text)
    assert host.main_pid() == pid and server.own_pid() == session


def wait_restarted(pid, timeout=30):
    def check():
        return host.main_pid() not in (0, pid) and host.is_active()

    wait_until(check, timeout, host.recent)
    assert host.show("NRestarts") == "1"


def test_watchdog_bites_what_stands_still(service, server):
    host.drop_in("[Service]\nWatchdogSec=4\n")
    host.systemctl("start", "pgvigil")
    pid = host.main_pid()
    journal = host.Journal()
    time.sleep(5)
    assert host.main_pid() == pid, "while it works it is not bitten"
    os.kill(pid, signal.SIGSTOP)
    wait_restarted(pid)
    assert "Watchdog timeout" in journal.text("-u", "pgvigil")
    assert wait_until(server.own_pid, 10, "it watches again")


def test_watchdog_leaves_alone_what_waits_for_a_server(service, server):
    """A server that hangs and one that is off are not its fault."""
    content = configuration(server, query_timeout="500ms")
    content["targets"]["off"] = {"conninfo": "host=127.0.0.2 port=1 user=pgvigil dbname=postgres"}
    service.configure(content)
    host.drop_in("[Service]\nWatchdogSec=4\n")
    host.systemctl("start", "pgvigil")
    pid = host.main_pid()
    server.freeze()
    try:
        time.sleep(7)
        assert host.main_pid() == pid and host.show("NRestarts") == "0"
    finally:
        server.thaw()
    wait_until(lambda: re.match(r"2 targets, \d+ % / down", status_text()), 15, status_text)


def test_comes_back_after_a_kill(service, server):
    host.systemctl("start", "pgvigil")
    pid = host.main_pid()
    os.kill(pid, signal.SIGKILL)
    wait_restarted(pid)
    assert wait_until(server.own_pid, 10, "it watches again")


def test_an_invalid_file_stays_down(service):
    service.configure("targets: 1\n")
    journal = host.Journal()
    host.systemctl("start", "pgvigil", status=1)
    assert host.show("ExecMainStatus") == "78"
    time.sleep(float(host.show("RestartUSec").rstrip("s")) + 1.5)
    assert host.show("NRestarts") == "0" and host.systemctl("is-failed", "pgvigil").strip() == "failed"
    assert f"{host.CONFIG}:1:10: error: targets:" in journal.text("-u", "pgvigil")


def test_stop_is_clean_and_quick(service, server):
    host.systemctl("start", "pgvigil")
    journal = host.Journal()
    started = time.monotonic()
    host.systemctl("stop", "pgvigil")
    took = time.monotonic() - started
    host.print_figure(f"stop: {took * 1000:.0f} ms")
    assert took < 5
    assert host.show("Result") == "success" and host.show("ExecMainStatus") == "0"
    wait_until(lambda: server.own_pid() is None, 5, "its connection is closed")
    assert not os.path.exists("/run/pgvigil")
    assert not host.has_user("pgvigil-daemon"), "the user is gone with it"
    assert journal.find("PGVIGIL_EVENT=stop")


def test_the_password_is_a_credential(service, server):
    """The server asks for it (SCRAM), the file at its source is root's alone."""
    host.systemctl("start", "pgvigil")
    assert server.own_pid()
    pid = host.main_pid()
    with open(f"/proc/{pid}/environ", encoding="utf-8", errors="replace") as file:
        environment = file.read()
    assert "CREDENTIALS_DIRECTORY=/run/credentials/pgvigil.service" in environment
    assert PASSWORD not in environment
    handed = os.stat("/run/credentials/pgvigil.service/pgvigil.password")
    assert handed.st_mode & 0o077 == 0, oct(handed.st_mode)
    # A wrong one is refused by the server, and told.
    host.systemctl("stop", "pgvigil")
    host.write(host.CREDENTIAL, "wrong\n", 0o600)
    journal = host.Journal()
    host.systemctl("start", "pgvigil")
    wait_until(lambda: journal.find("PGVIGIL_EVENT=target_down", "PGVIGIL_REASON=auth"), 10, "refused")
    assert PASSWORD not in host.recent()


def test_without_the_credential_it_starts_and_says_so(service):
    os.unlink(host.CREDENTIAL)
    journal = host.Journal()
    host.systemctl("start", "pgvigil")
    wait_until(lambda: journal.find("PGVIGIL_EVENT=target_down", "PGVIGIL_REASON=password_file"), 10, "told")
    assert "readable for us" in journal.text("-u", "pgvigil")


def test_check_in_the_shell_knows_the_credential(service):
    """${CREDENTIALS_DIRECTORY} is the service's; its default makes the same file good for root's commands."""
    assert ": ok (" in host.run("pgvigil", "check")
    assert "usable" in host.run("pgvigil", "report")


def test_a_fixed_user_and_peer_authentication(service, server):
    """As the manual says for those who want no password: a user pgvigil, and a drop-in."""
    # While the service runs the name is taken.
    host.run("useradd", "--system", "--gid", "pgvigil", "--no-create-home", "--shell", "/usr/sbin/nologin", "pgvigil")
    try:
        conninfo = f"host={server.directory} port={server.port} user=peered dbname=postgres"
        content = configuration(server)
        content["targets"]["db"] = {"conninfo": conninfo}
        service.configure(content)
        host.drop_in("[Service]\nUser=pgvigil\n")
        host.systemctl("start", "pgvigil")
        found = server.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'peered' AND client_addr IS NULL")
        assert found == [(1,)], host.recent()
        assert host.run("ps", "-o", "user=", "-p", str(host.main_pid())).strip() == "pgvigil"
    finally:
        host.systemctl("stop", "pgvigil")
        host.run("userdel", "pgvigil")  # and with it the group of that name
        host.run("systemd-sysusers")


def test_an_encrypted_credential(service, server):
    """As the manual says for those who do not want the password on the disk."""
    os.makedirs("/etc/credstore.encrypted", exist_ok=True)
    encrypted = "/etc/credstore.encrypted/pgvigil.password"
    try:
        host.run("systemd-creds", "encrypt", "--with-key=host", host.CREDENTIAL, encrypted)
        os.unlink(host.CREDENTIAL)
        host.drop_in("[Service]\nLoadCredentialEncrypted=pgvigil.password\n")
        host.systemctl("start", "pgvigil")
        assert server.own_pid(), host.recent()
    finally:
        host.run("rm", "-f", encrypted)


def test_the_network_can_be_closed(service, server):
    """By the drop-in of the manual; and that it closes anything at all."""
    host.drop_in("[Service]\nIPAddressDeny=any\nIPAddressAllow=localhost 10.20.0.0/16\n")
    host.systemctl("start", "pgvigil")
    assert server.own_pid(), host.recent()
    # While it runs, its connection would be cut off and the server not hear of its end.
    host.systemctl("stop", "pgvigil")
    host.drop_in("[Service]\nIPAddressDeny=any\n")
    host.systemctl("start", "pgvigil")
    assert status_text().startswith("1 target, down"), host.recent()


def test_goes_on_when_journald_is_restarted(service, server):
    service.configure(configuration(server, RULE))
    host.systemctl("start", "pgvigil")
    pid = host.main_pid()
    host.systemctl("restart", "systemd-journald")
    journal = host.Journal()
    leak = Session(server, "worker", query="SELECT 1")
    leak.wait_dead()
    wait_until(lambda: journal.find("PGVIGIL_EVENT=outcome", f"PGVIGIL_PID={leak.pid}"), 10, "told to the new one")
    assert host.main_pid() == pid


def test_starts_while_the_server_is_down(service, server):
    """What is ordered after pgvigil does not wait for a database."""
    server.stop()
    try:
        host.systemctl("start", "pgvigil")
        assert host.is_active() and status_text().startswith("1 target, down")
    finally:
        server.start()
    # The port may be another one now.
    service.configure(configuration(server))
    host.systemctl("reload", "pgvigil")
    wait_until(server.own_pid, 15, "it is up")


def test_needs_no_more_than_it_is_given():
    """As installed, with its manual pages."""
    assert host.run("systemd-analyze", "verify", host.UNIT) == ""
    said = host.run("systemd-analyze", "security", "--no-pager", "pgvigil.service")
    level = float(re.search(r"Overall exposure level for pgvigil.service: ([0-9.]+)", said)[1])
    host.print_figure(f"exposure level: {level}")
    assert level <= 1.5
