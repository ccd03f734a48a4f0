# SPDX-License-Identifier: PostgreSQL
"""What goes wrong at three in the morning: each command says what happened, and what to do."""

import os
import signal
import subprocess
import time

from pgvtest import process
from pgvtest.daemon import command, config, wrapper, write_config
from pgvtest.served import Served


def shell(script, *arguments, timeout=30):
    """`script` with "$@" for pgvigil and its arguments."""
    argv = ["bash", "-c", "set -o pipefail; " + script, "bash", *wrapper(), process.binary(), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)


def watcher(*arguments):
    argv = [*wrapper(), process.binary(), "report", "--watch=200ms", *arguments]
    return process.spawn(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_no_standard_output(server, tmp_path):
    path = write_config(tmp_path, config(server))
    for arguments in (["report", "-c", path], ["check", "--connect", "-c", path], ["version"]):
        closed = shell('exec "$@" >&-', *arguments)
        assert closed.returncode == 1 and "standard output: Bad file descriptor" in closed.stderr, closed
        full = shell('exec "$@" >/dev/full', *arguments)
        assert full.returncode == 1 and "standard output: No space left" in full.stderr, full
        gone = shell('"$@" | true', *arguments)
        assert not gone.stderr, gone


def test_a_watch_ends_with_its_reader(server, tmp_path):
    with Served(server, tmp_path) as served:
        path = os.path.join(served.daemon.directory, "pgvigil.yaml")
        served.daemon.wait_up()
        for more in ([], ["--direct"]):
            child = watcher("-c", path, *more)
            assert child.stdout.readline()
            child.stdout.close()
            assert child.wait(timeout=20) == 1, more
            assert child.stderr.read() == b"", more
            child.stderr.close()


def test_a_watch_ends_cleanly_by_a_signal(server, tmp_path):
    with Served(server, tmp_path) as served:
        path = os.path.join(served.daemon.directory, "pgvigil.yaml")
        served.daemon.wait_up()
        for more in ([], ["--direct"]):
            child = watcher("-c", path, *more)
            assert child.stdout.readline()
            time.sleep(1)  # while it waits, and not while it asks
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=20)
            assert child.returncode == 0 and not err and out.endswith(b"\n"), (more, child.returncode, err)


BROKEN = "targets:\n  db: { conninfo: x\n"
COMMANDS = (["status"], ["health"], ["pause", "--for", "1min"], ["resume"], ["reload"])


def test_a_spoilt_file_keeps_nobody_from_the_daemon(server, tmp_path):
    """It says where it is spoilt, and who is asked instead: here what the rest of the files says."""
    with Served(server, tmp_path) as served:
        path = os.path.join(served.daemon.directory, "pgvigil.yaml")
        served.daemon.wait_up()
        assert not command("status", "-c", path).stderr
        os.mkdir(os.path.join(served.daemon.directory, "conf.d"))
        with open(os.path.join(served.daemon.directory, "conf.d", "a.yaml"), "w", encoding="utf-8") as spoilt:
            spoilt.write(BROKEN)
        for arguments in COMMANDS:
            done = command(*arguments, "-c", path)
            lines = done.stderr.splitlines()
            assert "a.yaml:3:1: error: " in lines[0] and "close the brace" in lines[0], done
            warning = f"pgvigil: warning: so it is not certain what control.socket is: the daemon at {served.path} is asked"
            assert lines[1].startswith(warning) and "--socket" in lines[1], done
            # The daemon reads the same file, and refuses it.
            assert done.returncode == (1 if arguments == ["reload"] else 0), done
        done = command("status", "--socket", served.path)
        assert done.returncode == 0 and not done.stderr


def test_a_spoilt_file_and_the_default_socket(tmp_path):
    path = tmp_path / "pgvigil.yaml"
    for text in (BROKEN, "control: { socket: relative }\n", "control: { socket: '${NOT_SET_ANYWHERE}' }\n"):
        path.write_text(text)
        for arguments in (["status"], ["health"]):  # who may be there is none of ours
            done = command(*arguments, "-c", path)
            assert f"{path}:" in done.stderr.splitlines()[0], done
            assert "not certain" in done.stderr and "/run/pgvigil/control.sock is asked" in done.stderr, done
    # What does not concern the socket is nobody's business here.
    path.write_text(f"targetz: 1\ncontrol: {{ socket: {tmp_path}/none }}\n")
    done = command("status", "-c", path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and f"{tmp_path}/none" in done.stderr, done
    # Perhaps another name was meant, and another daemon: that one is not guessed.
    for none in (tmp_path, tmp_path / "none.yaml"):
        done = command("status", "-c", none)
        assert done.returncode == 78 and f"{none}: cannot be read: " in done.stderr and "--socket" in done.stderr, done
