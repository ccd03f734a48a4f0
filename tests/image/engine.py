# SPDX-License-Identifier: PostgreSQL
"""A container engine of the test's own: Debian's, unpacked and not installed, with its data in build/cache, by sudo until
it stops. No bridge and no firewall rules: containers have the host's network or none."""

import fcntl
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "support"))
sys.dont_write_bytecode = True

import elevate  # noqa: E402
from pgvtest import fetch, process  # noqa: E402

PACKAGES = ["docker.io", "containerd", "runc", "libdevmapper1.02.1", "libseccomp2"]
START_TIMEOUT = 40.0


class CannotRun(Exception):
    """Why there is no engine on this machine."""


class Engine:
    """`with` starts it and stops it; what it has built stays in build/cache for the next run."""

    def __init__(self):
        if os.geteuid() != 0:
            raise CannotRun("a container engine needs root, or sudo without a password")
        script = os.path.join(fetch.SUPPORT, "debs-fetch.sh")
        folder, why = fetch.once("docker", [script, "bookworm", "{dest}", *PACKAGES], 150)
        if not folder:
            raise CannotRun(f"docker.io cannot be had: {why}")
        self.directory = process.open_directory("pgvtest-engine-")
        libraries = [*glob.glob(f"{folder}/lib/*-linux-gnu"), *glob.glob(f"{folder}/usr/lib/*-linux-gnu")]
        self._environment = {
            "PATH": f"{folder}/usr/sbin:{folder}/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LD_LIBRARY_PATH": ":".join(libraries),
            "HOME": self.directory,
            "DOCKER_HOST": f"unix://{self.directory}/docker.sock",
            "DOCKER_BUILDKIT": "0",  # the plugin is not in Debian 12
        }
        self._data = os.path.realpath(os.path.join(fetch.CACHE, "docker-data"))
        self._lock = open(os.path.join(fetch.CACHE, "docker.lock"), "w", encoding="ascii")
        elevate.give_back(self._lock.name)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.child = None

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_):
        try:
            self.docker("rm", "--force", *self.docker("ps", "--all", "--quiet").split(), check=False)
        finally:
            self._stop()

    def _start(self):
        # What it mounts goes with it.
        argv = ["unshare", "--mount", "--propagation", "private", "dockerd"]
        argv += ["--data-root", self._data]
        argv += ["--exec-root", f"{self.directory}/run", "--pidfile", f"{self.directory}/pid"]
        argv += ["--host", self._environment["DOCKER_HOST"], "--bridge=none", "--iptables=false", "--ip6tables=false"]
        argv += ["--ip-forward=false", "--ip-masq=false", "--live-restore=false"]
        with open(f"{self.directory}/log", "wb") as log:
            self.child = process.spawn(
                argv,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self._environment,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while self.run("version", timeout=10).returncode != 0:
            if self.child.poll() is not None or time.monotonic() > deadline:
                raise CannotRun(f"dockerd does not run here: {self._last_line()}")
            time.sleep(0.1)

    def _last_line(self):
        with open(f"{self.directory}/log", encoding="utf-8", errors="replace") as file:
            return (file.read().strip().splitlines() or ["it says nothing"])[-1][-300:]

    def _stop(self):
        if self.child is not None:
            process.stop_process(self.child, signal.SIGTERM, 30)
        if "SUDO_UID" in os.environ:  # the user who is behind it could not remove the clone any more
            shutil.rmtree(self._data, ignore_errors=True)
        self._lock.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    # Commands

    def run(self, *argv, timeout=60):
        return subprocess.run(
            [shutil.which("docker", path=self._environment["PATH"]), *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=self._environment,
            check=False,
        )

    def docker(self, *argv, timeout=60, check=True):
        """Its standard output; raises with what it said when it fails."""
        done = self.run(*argv, timeout=timeout)
        if check and done.returncode != 0:
            raise RuntimeError(f"docker {' '.join(argv)}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout.strip()

    def compose(self, program, *argv, timeout=60, **environment):
        return subprocess.run(
            [program, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**self._environment, **environment},
            check=False,
        )

    def inspect(self, name):
        return json.loads(self.docker("inspect", name))[0]


class Container:
    """One that runs, or is started here. `start_up`: seconds from `docker run` until the engine says that it runs."""

    def __init__(self, engine, image, *argv, options=(), running=None):
        self.engine = engine
        began = time.monotonic()
        self.id = running or engine.docker("run", "--detach", *options, image, *argv)
        self.start_up = time.monotonic() - began
        self.pid = engine.inspect(self.id)["State"]["Pid"]

    def state(self):
        return self.engine.inspect(self.id)["State"]

    def health(self):
        return self.state().get("Health", {}).get("Status")

    def log(self):
        done = self.engine.run("logs", self.id)
        return done.stdout + done.stderr

    def execute(self, *argv, options=()):
        return self.engine.run("exec", *options, self.id, *argv)

    def wait_log(self, text, timeout=30):
        process.wait_until(lambda: text in self.log(), timeout, lambda: f"'{text}' in: {self.log()[-3000:]}", 0.1)

    def status_field(self, name):
        with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as file:
            return next(line.split(None, 1)[1].strip() for line in file if line.startswith(f"{name}:"))

    def terminate(self):
        """SIGTERM by the engine; (seconds until the process was gone, exit status)."""
        gone = f"/proc/{self.pid}/stat"
        began = time.monotonic()
        signaller = subprocess.Popen(["kill", "-TERM", str(self.pid)], stdin=subprocess.DEVNULL)
        try:
            process.wait_until(lambda: process.process_state(self.pid) in (None, "Z"), 15, f"{gone} away", 0.005)
        finally:
            signaller.wait()
        took = time.monotonic() - began
        return took, int(self.engine.docker("wait", self.id))
