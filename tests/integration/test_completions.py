# SPDX-License-Identifier: PostgreSQL
"""What bash and zsh complete, in real shells: commands, options, values, names of the file."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time

import pytest

from pgvtest import process
from pgvtest.daemon import command

COMPLETIONS = os.path.join(process.ROOT, "conf", "completions")

# Asks the function as readline would, after the words were split as readline splits them.
BASH = r"""
source "$1"
complete -p pgvigil >/dev/null || exit 3
COMP_WORDS=() COMP_CWORD=-1
for word in "${@:2}"; do
    COMP_WORDS+=("$word")
done
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_pgvigil 2>&1
printf '%s\n' "${COMPREPLY[@]}"
"""

# Every list of matches goes to a file, before anything is shown of it.
ZSH = r"""
PS1='ready> ' TERM=dumb
unsetopt zle_bracketed_paste prompt_cr prompt_sp 2>/dev/null
fpath=($COMPLETIONS $fpath)
autoload -Uz compinit && compinit -u -D
complete-and-tell() {
    zle complete-word
    print END >>$RESULT
}
zle -N complete-and-tell
bindkey '^I' complete-and-tell
zstyle ':completion:*' insert-tab false
compadd() {
    local -a hits
    if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
        builtin compadd -A hits "$@"
        print -rl -- $hits >>$RESULT
    fi
    builtin compadd "$@"
}
"""


def names_of_help(text):
    return set(re.findall(r"^  ([a-z][a-z-]*) +[A-Z]", text, re.MULTILINE))


def options_of_help(text):
    return set(re.findall(r"^  (?:-\w, |    )(--[a-z-]+)", text, re.MULTILINE))


COMMANDS = names_of_help(command("help").stdout)


class Bash:
    def complete(self, *words, cwd=None):
        # As readline splits them: "=" is a word of its own.
        parts = []
        for word in words:
            parts += [part for part in re.split("(=)", word) if part] if word.startswith("--") else [word]
        done = subprocess.run(
            ["bash", "--norc", "-c", BASH, "bash", os.path.join(COMPLETIONS, "pgvigil.bash"), process.binary(), *parts],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd=cwd,
        )
        assert done.returncode == 0 and not done.stderr, done
        return set(done.stdout.split())

    def close(self):
        pass


class Zsh:
    """One interactive shell on a terminal of ours; each completion is typed, read from the file, and erased."""

    def __init__(self, directory):
        self.result = os.path.join(directory, "matches")
        (directory / "bin").mkdir()
        os.symlink(process.binary(), directory / "bin" / "pgvigil")
        with open(directory / ".zshrc", "w", encoding="utf-8") as file:
            file.write(ZSH)
        environment = {
            **os.environ,
            "ZDOTDIR": str(directory),
            "RESULT": self.result,
            "COMPLETIONS": COMPLETIONS,
            "PATH": f"{directory}/bin:{os.environ['PATH']}",
            "TERM": "dumb",
        }
        self.terminal, theirs = pty.openpty()
        self.child = process.spawn(
            ["zsh", "-d", "-i"], signal.SIGKILL, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        self.seen = b""
        self.wait(b"ready> ")

    def wait(self, what, timeout=30):
        deadline = time.monotonic() + timeout
        while what not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"zsh never showed {what}: {self.seen[-2000:]}"
            if select.select([self.terminal], [], [], min(left, 1))[0]:
                self.seen += os.read(self.terminal, 65536)

    def complete(self, *words, cwd=None):
        open(self.result, "w", encoding="ascii").close()
        line = " ".join(["pgvigil", *words])
        self.seen = b""
        os.write(self.terminal, f"cd {cwd or '/'}; print ci''nema\n".encode())
        self.wait(b"cinema")
        os.write(self.terminal, line.encode() + b"\t")
        # What is typed ahead would stop the completion; then the line is thrown away.
        process.wait_until(lambda: self.matches()[-1:] == ["END"], 30)
        os.write(self.terminal, b"\x15")
        return set(self.matches()[:-1])

    def matches(self):
        with open(self.result, encoding="utf-8") as file:
            return file.read().split()

    def close(self):
        process.stop_process(self.child, signal.SIGKILL)
        os.close(self.terminal)


@pytest.fixture(scope="module", params=["bash", "zsh"])
def shell(request, tmp_path_factory):
    if not shutil.which(request.param):
        pytest.skip(f"no {request.param} here")
    one = Bash() if request.param == "bash" else Zsh(tmp_path_factory.mktemp("zsh"))
    yield one
    one.close()


@pytest.fixture
def some_file(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text(
        "targets:\n  db-1: { conninfo: host=/nowhere }\n  other: { conninfo: host=/nowhere }\n"
        "apps:\n  worker: { match: { user: worker } }\n"
        "timeouts:\n  idle: { state: idle, after: 1h }\n"
        "quotas:\n  most: { max: 5 }\n"
    )
    (tmp_path / "folder").mkdir()
    return path


def test_commands(shell):
    assert len(COMMANDS) > 6
    assert shell.complete("") - {"--help", "--version"} == COMMANDS
    assert "report" in shell.complete("rep") and "check" not in shell.complete("rep")
    assert shell.complete("--") == {"--help", "--version"}
    assert COMMANDS <= shell.complete("help", "")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_options(shell, name):
    wanted = options_of_help(command("help", name).stdout)
    assert "--help" in wanted
    assert shell.complete(name, "--") == wanted


def test_values(shell, some_file):
    formats = {"table", "json", "csv"}
    assert shell.complete("report", "--format", "") == formats
    assert shell.complete("report", "--format", "j") == {"json"}
    assert shell.complete("report", "--format=") == formats
    assert shell.complete("report", "--observe", "--format=c") == {"csv"}
    folder = str(some_file.parent)
    for option in ("-c", "--config"):
        found = {name.rstrip("/") for name in shell.complete("run", option, "", cwd=folder)}
        assert found >= {"some.yaml", "folder"}, found
        assert "some.yaml" in shell.complete("run", option, "so", cwd=folder)
    assert shell.complete("reap", "--idle", "") == set()
    # What may be left out stands behind "=" only: after a space comes the next option.
    assert "--format" in shell.complete("report", "--watch", "--")


def test_names_of_the_file(shell, some_file):
    path = str(some_file)
    assert shell.complete("report", "-c", path, "--target", "") == {"db-1", "other"}
    assert shell.complete("report", f"--config={path}", "--target", "d") == {"db-1"}
    assert shell.complete("reap", "-c", path, "--app", "") == {"worker"}
    if "pause" in COMMANDS:
        assert shell.complete("pause", "-c", path, "") >= {"db-1", "other", "idle", "most"}
    # A file that cannot be read names nobody, and says nothing.
    assert shell.complete("report", "-c", path + ".none", "--target", "") == set()


def test_a_terminal(some_file):
    """Bash as a person meets it: readline splits the words."""
    directory = some_file.parent
    (directory / "bin").mkdir()
    os.symlink(process.binary(), directory / "bin" / "pgvigil")
    terminal, theirs = pty.openpty()
    child = process.spawn(
        ["bash", "--norc", "--noprofile", "-i"],
        signal.SIGKILL,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "PATH": f"{directory}/bin:{os.environ['PATH']}", "PS1": "ready> ", "TERM": "dumb"},
    )
    os.close(theirs)
    seen = b""

    def shows(what):
        nonlocal seen
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 65536)
        return what in seen

    try:
        os.write(terminal, f"source {COMPLETIONS}/pgvigil.bash; echo so''urced\n".encode())
        process.wait_until(lambda: shows(b"sourced"), 20)
        os.write(terminal, b"pgvigil rep\t--format=j\t\x01echo \n")
        process.wait_until(lambda: shows(b"\npgvigil report --format=json"), 20)
    finally:
        process.stop_process(child, signal.SIGKILL)
        os.close(terminal)
