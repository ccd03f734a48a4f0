# SPDX-License-Identifier: PostgreSQL
"""A TCP proxy between the daemon and its server that can stall, cut and delay."""

import heapq
import itertools
import select
import socket
import threading
import time

from . import process

CHUNK = 262144


class Proxy:
    """Forwards 127.0.0.1:port to `target` (a port). One thread; every method may be called from any thread.

    stall(): reads and forwards nothing more, keeps everything open.  resume()
    cut(): closes what is open; new connections work.                 refuse(): and new ones are refused.   accept()
    delay: seconds by which both directions lag.
    hold(bytes): keeps back what a client sends, from each chunk with these bytes on.   wait_held()   release()
    on_request: called with what the client sends; what it returns is forwarded instead."""

    def __init__(self, target, delay=0.0):
        self.target = target
        self.delay = delay
        self.on_request = None
        self.n_accepted = 0
        self.n_bytes_to_client = 0
        self.n_bytes_to_server = 0
        self.port = 0
        self._stalled = self._cut = False
        self._wanted = None  # bytes of the requests to be held
        self._held = []  # (socket, bytes), in the order in which they came
        self._releasing = False
        self._running = self._listening = True
        self._peer = {}  # socket -> the other one of its pair
        self._clients = set()  # those of them that the client opened
        self._queue = []  # (due, serial, socket, bytes; empty at the end)
        self._serial = itertools.count()
        self._listener = None
        self._wake_r, self._wake_w = socket.socketpair()
        self._listen()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stall(self):
        self._set(_stalled=True)

    def resume(self):
        self._set(_stalled=False)

    def hold(self, wanted):
        self._set(_wanted=wanted)

    def wait_held(self, timeout=15):
        process.wait_until(lambda: self._held, timeout, f"a request with {self._wanted}")

    def release(self):
        """Sends what was held, whatever the delay; the next such request is held again."""
        self._set(_releasing=True)
        process.wait_until(lambda: not self._releasing, 5, "proxy released what it held")

    def cut(self):
        self._set(_cut=True)
        process.wait_until(lambda: not self._cut, 5, "proxy cut")

    def refuse(self):
        self._set(_listening=False)
        process.wait_until(lambda: self._listener is None, 5, "proxy closed its port")
        self.cut()

    def accept(self):
        self._set(_listening=True)
        process.wait_until(lambda: self._listener is not None, 5, "proxy opened its port")

    def close(self):
        self._set(_running=False)
        self._thread.join(5)
        for end in [*self._peer, self._listener, self._wake_r, self._wake_w]:
            if end is not None:
                end.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _set(self, **values):
        self.__dict__.update(values)
        self._wake_w.send(b"x")

    # What follows runs in the thread (and _listen() once before it starts).

    def _listen(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self.port = listener.getsockname()[1]
        self._listener = listener

    def _run(self):
        while self._running:
            if self._listening and self._listener is None:
                self._listen()
            elif not self._listening and self._listener is not None:
                self._listener.close()
                self._listener = None
            poll = select.poll()
            ends = {self._wake_r.fileno(): self._wake_r}
            if not self._stalled:
                ends.update((end.fileno(), end) for end in self._peer)
                if self._listener is not None:
                    ends[self._listener.fileno()] = self._listener
            for fd in ends:
                poll.register(fd, select.POLLIN)
            timeout = None
            if self._queue and not self._stalled:
                timeout = max(0.0, self._queue[0][0] - time.monotonic()) * 1000
            self._step([ends[fd] for fd, _ in poll.poll(timeout)])

    def _step(self, ready):
        if self._wake_r in ready:
            self._wake_r.recv(4096)
        if self._cut:
            for client in list(self._clients):
                self._drop(client)
            self._held = []
            self._cut = False
            return
        if self._releasing:
            for end, data in self._held:
                self._push(end, data, 0)
            self._held = []
            self._releasing = False
        for end in ready:
            if end is self._listener:
                self._accept_one()
            elif end in self._peer and not self._stalled:
                self._read(end)
        while self._queue and self._queue[0][0] <= time.monotonic() and not self._stalled:
            _, _, end, data = heapq.heappop(self._queue)
            if end in self._peer:
                self._write(end, data)

    def _accept_one(self):
        client, _ = self._listener.accept()
        self.n_accepted += 1
        try:
            server = socket.create_connection(("127.0.0.1", self.target), 5)
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.settimeout(5)
        self._clients.add(client)
        self._peer[client] = server
        self._peer[server] = client

    def _read(self, end):
        try:
            data = end.recv(CHUNK)
        except OSError:
            self._drop(end)
            return
        peer = self._peer[end]
        if end in self._clients and data and self.on_request:
            data = self.on_request(data)
        if end in self._clients and self._holds(peer, data):
            self._held.append((peer, data))
        else:
            self._push(peer, data, self.delay)

    def _holds(self, peer, data):
        return any(held is peer for held, _ in self._held) or (self._wanted is not None and self._wanted in data)

    def _push(self, end, data, delay):
        heapq.heappush(self._queue, (time.monotonic() + delay, next(self._serial), end, data))

    def _write(self, end, data):
        try:
            end.sendall(data)
        except OSError:
            data = b""
        if not data:
            self._drop(end)
        elif end in self._clients:
            self.n_bytes_to_client += len(data)
        else:
            self.n_bytes_to_server += len(data)

    def _drop(self, end):
        peer = self._peer.pop(end)
        del self._peer[peer]
        self._clients -= {end, peer}
        end.close()
        peer.close()
