# SPDX-License-Identifier: PostgreSQL
"""What goes wrong at three in the morning: each command says what happened, and what to do."""

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import time
import unicodedata

from pgvtest import process
from pgvtest.clients import Session
from pgvtest.daemon import command, config, wrapper, write_config
from pgvtest.served import Served


def shell(script, *arguments, timeout=30):
    """`script` with "$@" for pgvigil and its arguments."""
    argv = ["bash", "-c", "set -o pipefail; " + script, "bash", *wrapper(), process.binary(), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)


def watcher(interval, *arguments):
    argv = [*wrapper(), process.binary(), "report", f"--watch={interval}", *arguments]
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
            child = watcher("200ms", "-c", path, *more)
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
            child = watcher("60s", "-c", path, *more)
            assert child.stdout.readline()
            time.sleep(1)  # while it waits, and not while it asks
            child.send_signal(signal.SIGINT)
            _, err = child.communicate(timeout=20)
            assert child.returncode == 0 and not err, (more, child.returncode, err)


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


def test_an_empty_socket():
    """As of a variable that is not set."""
    done = command("status", "--socket", "")
    assert done.returncode == 2 and "'--socket' is empty" in done.stderr and not done.stdout


def test_a_spoilt_file_and_the_default_socket(tmp_path):
    path = tmp_path / "pgvigil.yaml"
    for text in (BROKEN, "control: { socket: relative }\n", "control: { socket: '${NOT_SET_ANYWHERE}' }\n"):
        path.write_text(text)
        for arguments in (["status"], ["health"]):  # who may be there is none of ours
            done = command(*arguments, "-c", path)
            assert f"{path}:" in done.stderr.splitlines()[0], done
            assert text == BROKEN or "error: control.socket: " in done.stderr, done
            assert "not certain" in done.stderr and "/run/pgvigil/control.sock is asked" in done.stderr, done
    # What does not concern the socket is nobody's business here.
    path.write_text(f"targetz: 1\ncontrol: {{ socket: {tmp_path}/none }}\n")
    done = command("status", "-c", path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and f"{tmp_path}/none" in done.stderr, done
    # Perhaps another name was meant, and another daemon: that one is not guessed.
    for none in (tmp_path, tmp_path / "none.yaml"):
        done = command("status", "-c", none)
        assert done.returncode == 78 and f"{none}: cannot be read: " in done.stderr and "--socket" in done.stderr, done


LONG = "x" * 63
# Of roles: of an application_name the server keeps ASCII alone.
STRANGE = (LONG, "日本" * 10, "ก\u0e34\u0e48" * 7, "a\u0301" * 20, "\U0001f642" * 15, "\x1b[31m" * 12, "日本", "short")


def columns_of(line):
    """How many columns a terminal needs for it, by Python's own data."""
    wide = sum(unicodedata.east_asian_width(one) in "WF" for one in line)
    return len(line) + wide - sum(unicodedata.category(one) in ("Mn", "Me") for one in line)


def on_a_terminal(columns, *arguments, **more):
    """What is written to a terminal of that width."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    environment.update(more, NO_COLOR="1")
    argv = [*wrapper(), process.binary(), *arguments]
    running = process.spawn(argv, stdout=child, stderr=subprocess.PIPE, env=environment)
    os.close(child)
    text = b""
    with contextlib.suppress(OSError):  # EIO: its end
        while piece := os.read(parent, 65536):
            text += piece
    os.close(parent)
    assert running.wait(timeout=30) == 0, running.stderr.read()
    running.stderr.close()
    return text.decode().replace("\r\n", "\n")


def sessions_of(text):
    """The lines of the table of idle sessions, its titles first."""
    lines = text.split("\nlongest idle\n")[1].split("\n\n")[0].rstrip("\n").split("\n")
    lines = [line for line in lines if "harness" not in line]
    assert len(lines) == 1 + len(STRANGE), text
    return lines


def test_names_of_strangers_on_a_narrow_terminal(server, tmp_path):
    for name in STRANGE:
        server.sql(f'CREATE ROLE "{name}" LOGIN')
        Session(server, name, query="SELECT 1", application_name=LONG)
    path = write_config(tmp_path, config(server))
    wide = sessions_of(on_a_terminal(300, "report", "-c", path))
    assert max(map(columns_of, wide)) > 120
    # The state begins where its title does, whatever stands before.
    for line in wide[1:]:
        assert columns_of(line[: line.index(" idle ")]) == wide[0].index("state") - 1, line
    for width in (120, 90):
        lines = sessions_of(on_a_terminal(width, "report", "-c", path))
        assert max(map(columns_of, lines)) <= width and "..." in lines[1], lines
        assert all(" idle " in line for line in lines[1:])
    # COLUMNS wins over the terminal, and over none; nobody else cuts.
    assert max(map(columns_of, sessions_of(on_a_terminal(300, "report", "-c", path, COLUMNS="90")))) <= 90
    piped = command("report", "-c", path, env={**os.environ, "COLUMNS": "90"}).stdout
    assert max(map(columns_of, sessions_of(piped))) <= 90
    for columns in ("", "0", "x", "-5", "99999999999999999999"):
        piped = command("report", "-c", path, env={**os.environ, "COLUMNS": columns}).stdout
        assert max(map(columns_of, sessions_of(piped))) > 120, columns
    for form in ("json", "csv"):
        whole = command("report", "-c", path, "--format", form, env={**os.environ, "COLUMNS": "20"})
        assert LONG in whole.stdout, whole
