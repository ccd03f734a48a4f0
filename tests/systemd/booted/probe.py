# SPDX-License-Identifier: PostgreSQL
"""Tries what a service of ours has no business to do, and prints what came of each as JSON: {name: "" or the error}."""

import ctypes
import json
import mmap
import os
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000
PTRACE_TRACEME = 0


def call(name, *arguments):
    ctypes.set_errno(0)
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def write(path):
    with open(path, "w", encoding="ascii") as file:
        file.write("x")
    os.unlink(path)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def in_child(what):
    """What changes the process itself."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            what()
            os.write(w, b"ok")
        except OSError as error:
            os.write(w, (error.strerror or str(error)).encode())
        finally:
            os._exit(0)
    os.close(w)
    said = os.read(r, 1000)
    os.close(r)
    os.waitpid(pid, 0)
    if said != b"ok":
        raise OSError(0, said.decode() or "killed")


def setuid_file():
    path = "/var/lib/pgvigil-probe/file"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii"):
        os.chmod(path, 0o4755)


def real_time():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def low_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 99))


def open_socket(family, kind, protocol=0):
    socket.socket(family, kind, protocol).close()


def see_process_one():
    if "1" not in os.listdir("/proc"):
        raise OSError(2, "not there")


def executable_memory():
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def console():
    with open("/dev/console", "wb"):
        pass


PROBES = {
    "write /etc": lambda: write("/etc/pgvigil/x"),
    "write /usr": lambda: write("/usr/x"),
    "write /var": lambda: write("/var/lib/x"),
    "write /run": lambda: write("/run/x"),
    "read /home": lambda: read("/home/alice/secret"),
    "read /root": lambda: read("/root/secret"),
    "list /home": lambda: os.listdir("/home/alice"),
    "read the /tmp of others": lambda: read("/tmp/of-others"),
    "read the credential at its source": lambda: read("/etc/credstore/pgvigil.password"),
    "see process 1": see_process_one,
    "signal process 1": lambda: os.kill(1, 0),
    "open a device": console,
    "ptrace": lambda: in_child(lambda: call("ptrace", PTRACE_TRACEME, 0, 0, 0)),
    "namespace: user": lambda: in_child(lambda: call("unshare", CLONE_NEWUSER)),
    "namespace: mount": lambda: in_child(lambda: call("unshare", CLONE_NEWNS)),
    "namespace: network": lambda: in_child(lambda: call("unshare", CLONE_NEWNET)),
    "mount": lambda: call("mount", b"none", b"/mnt", b"tmpfs", 0, None),
    "make a device": lambda: os.mknod("/var/tmp/device", 0o20600, os.makedev(1, 3)),
    "chroot": lambda: in_child(lambda: os.chroot("/var")),
    "become root": lambda: in_child(lambda: os.setuid(0)),
    "change owners": lambda: os.chown("/var/tmp", 0, 12),
    "set the host's name": lambda: call("sethostname", b"x", 1),
    "read kernel settings": lambda: read("/proc/sys/kernel/hostname"),
    "setuid file": setuid_file,
    "real time": lambda: in_child(real_time),
    "low port": low_port,
    "netlink": lambda: open_socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "raw packets": lambda: open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "writable and executable memory": executable_memory,
    "32-bit personality": lambda: in_child(lambda: call("personality", 8)),
}

# What it needs must go on working.
NEEDS = {
    "write its state": lambda: write(f"{os.environ.get('STATE_DIRECTORY', '/tmp')}/x"),
    "write its runtime directory": lambda: write(f"{os.environ.get('RUNTIME_DIRECTORY', '/tmp')}/x"),
    "read its configuration": lambda: read("/etc/pgvigil/pgvigil.yaml"),
    "TCP": lambda: open_socket(socket.AF_INET, socket.SOCK_STREAM),
    "Unix sockets": lambda: open_socket(socket.AF_UNIX, socket.SOCK_STREAM),
    "/dev/null": lambda: write_null(),
}


def write_null():
    with open("/dev/null", "wb") as file:
        file.write(b"x")


def attempt(what):
    try:
        what()
        return ""
    except OSError as error:
        return error.strerror or str(error)


def main():
    result = {
        "probes": {name: attempt(what) for name, what in PROBES.items()},
        "needs": {name: attempt(what) for name, what in NEEDS.items()},
        "uid": os.getuid(),
        "groups": [os.getgid(), *os.getgroups()],
    }
    with open(sys.argv[1], "w", encoding="ascii") if len(sys.argv) > 1 else sys.stdout as file:
        json.dump(result, file)


if __name__ == "__main__":
    main()
