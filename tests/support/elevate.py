# SPDX-License-Identifier: PostgreSQL
"""Commands of the tests that need root: by sudo where we are not, if it asks for no password."""

import functools
import os
import shutil
import signal
import subprocess

# sudo starts from an empty environment; what fetches things must know the way.
KEPT = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "LANG")


@functools.cache
def possible():
    if os.geteuid() == 0:
        return True
    return shutil.which("sudo") is not None and _sudo("true").returncode == 0


def _sudo(*argv):
    return subprocess.run(
        ["sudo", "-n", *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=30,
        check=False,
    )


def wrapped(argv, environment):
    """argv as root, with these variables; argv itself where we are root or cannot become it."""
    if os.geteuid() == 0 or not possible():
        return argv
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return ["sudo", "-n", "env", *(f"{name}={value}" for name, value in {**kept, **environment}.items()), *argv]


def kill(pid, signo):
    """Like os.kill(), which takes a group's number negated, for what may be root's, too."""
    try:
        os.kill(pid, signo)
    except PermissionError:
        if signo and possible():
            _sudo("kill", "-s", signal.Signals(signo).name.removeprefix("SIG"), "--", str(pid))


def remove_tree(path):
    """What lies below may be root's."""
    shutil.rmtree(path, ignore_errors=True)
    if os.path.exists(path) and os.geteuid() != 0 and possible():
        _sudo("rm", "-rf", "--one-file-system", path)


def give_back(path):
    """What root made for the user behind sudo becomes that user's."""
    if os.geteuid() != 0 or "SUDO_UID" not in os.environ:
        return
    owner = int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"])
    os.chown(path, *owner, follow_symlinks=False)
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(os.path.join(folder, name), *owner, follow_symlinks=False)
