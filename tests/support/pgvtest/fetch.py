# SPDX-License-Identifier: PostgreSQL
"""What tests download: once, into build/cache, and never into the machine."""

import contextlib
import fcntl
import os
import shutil
import subprocess

import elevate

from . import process

CACHE = os.path.join(process.ROOT, "build", "cache")
SUPPORT = os.path.join(process.ROOT, "tests", "support")


@contextlib.contextmanager
def locked():
    if not os.path.exists(CACHE):
        os.makedirs(CACHE, exist_ok=True)
        elevate.give_back(CACHE)
    with open(os.path.join(CACHE, "lock"), "w", encoding="ascii") as lock:
        elevate.give_back(lock.name)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def once(name, argv, timeout, **environment):
    """Folder build/cache/NAME, made by argv (`{dest}` in it is the folder); (None, why) where it cannot be had."""
    dest = os.path.join(CACHE, name)
    argv = [word.replace("{dest}", dest) for word in argv]
    with locked():
        if os.path.exists(f"{dest}.done"):
            return dest, None
        shutil.rmtree(dest, ignore_errors=True)
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                text=True,
                errors="replace",
                env={**os.environ, **environment},
            )
        except subprocess.TimeoutExpired:
            return None, f"not within {timeout} s"
        except OSError as error:
            return None, str(error)
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            said = [line for line in said if "complete log of this run" not in line]  # npm's last word
            return None, said[-1] if said else "no reason given"
        open(f"{dest}.done", "w", encoding="ascii").close()
        for path in (dest, f"{dest}.done"):
            elevate.give_back(path)
    return dest, None


def postgresql(suite, major):
    """Folder of that server's programs from another suite of Debian."""
    script = os.path.join(SUPPORT, "pg-fetch.sh")
    dest, why = once(f"postgresql-{major}", [script, suite, str(major), "{dest}"], 100)
    return (os.path.join(dest, "usr", "lib", "postgresql", str(major), "bin"), None) if dest else (None, why)


def docker_compose():
    """The program that `docker compose` is, which Debian 12 has not."""
    script = os.path.join(SUPPORT, "debs-fetch.sh")
    dest, why = once("docker-compose", [script, "trixie", "{dest}", "docker-compose"], 100)
    program = "usr/libexec/docker/cli-plugins/docker-compose"
    return (os.path.join(dest, program), None) if dest else (None, why)
