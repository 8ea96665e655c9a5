"""A load generator: prepared HTTP requests over kept connections to 127.0.0.1, in a closed loop or at a given rate.

    python -m benchmarks.load PORT REQUESTS.npz [--clients 8] [--seconds 5] [--rate 0] [--total 0] [--expect TEXT]

Closed loop (rate 0): each client sends its next request when the answer to its last one is there. Open loop: requests
fall due at random (exponential gaps, seeded) with that mean rate, whether or not earlier ones were answered, and are
sent over the first free connection; a latency counts from when the request was due, so a service that stalls cannot
hide it. An answer is good when its status is 200 and it holds the text expected. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import random
import select
import socket
import time
from array import array
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
LIMIT = 30.0  #: seconds after which a request without an answer has failed
_READ = 1 << 18


@dataclass(frozen=True)
class Plan:
    """What is asked of a service: `clients` connections for `seconds` (or `total` requests), `rate` a second or 0."""

    port: int
    clients: int = 8
    seconds: float = 5.0
    rate: float = 0.0
    total: int = 0  #: stop after so many requests; 0: after `seconds`
    warm: float = 0.5  #: seconds at the beginning that do not count
    expect: bytes = b""
    limit: float = LIMIT
    seed: int = 0


@dataclass
class Found:
    """What came of it. Latencies in seconds, of good answers only; `failures` by what went wrong."""

    latencies: array[float] = field(default_factory=lambda: array("d"))
    failures: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    seconds: float = 0.0
    failed_at: list[float] = field(default_factory=list)  #: seconds from the beginning, of the first thousand
    good_in: Counter[int] = field(default_factory=Counter)  #: second from the beginning -> good answers

    def facts(self) -> dict[str, object]:
        """Throughput, quantiles in milliseconds, failures."""
        ordered = sorted(self.latencies)
        made: dict[str, object] = {
            "requests": self.sent, "good": len(ordered), "seconds": self.seconds,
            "per_second": len(ordered) / self.seconds if self.seconds else 0.0, "failures": dict(self.failures),
        }  # fmt: skip
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("most", 1.0)):
            place = min(len(ordered) - 1, int(share * len(ordered)))
            made[name] = 1e3 * ordered[place] if ordered else None
        return made


class Connection:
    """One kept connection; at most one request is under way."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket: socket.socket | None = None
        self.due = self.deadline = 0.0
        self.busy = False
        self.rest = memoryview(b"")  #: of the request, still to be sent
        self.got = bytearray()
        self.length = -1  #: of the whole answer, once its head is there

    def open(self) -> int:
        """Connect (on loopback that takes no time); the descriptor."""
        self.socket = socket.create_connection((HOST, self.port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        return self.socket.fileno()

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
        self.socket, self.busy = None, False

    def begin(self, request: bytes, due: float, deadline: float) -> None:
        self.due, self.deadline, self.busy, self.length = due, deadline, True, -1
        self.got.clear()
        self.rest = memoryview(request)
        self.push()

    def push(self) -> bool:
        """Send what the socket takes; True when all is sent."""
        assert self.socket is not None
        try:
            self.rest = self.rest[self.socket.send(self.rest) :]
        except BlockingIOError:
            return False
        return not self.rest

    def pull(self) -> str | None:
        """Read what has come. "": more will come; a status: the answer is whole; None: the other side has closed."""
        assert self.socket is not None
        try:
            data = self.socket.recv(_READ)
        except BlockingIOError:
            return ""
        except ConnectionError:
            return None
        if not data:
            return None
        self.got += data
        if self.length < 0:
            end = self.got.find(b"\r\n\r\n")
            if end < 0:
                return ""
            head = bytes(self.got[:end]).lower()
            place = head.find(b"\r\ncontent-length:")
            if place < 0:
                return "no content-length"
            self.length = end + 4 + int(head[place + 17 :].split(b"\r\n", 1)[0])
        return self.got[9:12].decode() if len(self.got) >= self.length else ""


class Load:
    """Drives a plan over a list of whole requests, in turn."""

    def __init__(self, plan: Plan, requests: Sequence[bytes]) -> None:
        self.plan, self.requests, self.found = plan, requests, Found()
        self.poll = select.epoll()
        self.connections = [Connection(plan.port) for _ in range(plan.clients)]
        self.by_number: dict[int, Connection] = {}
        self.free: deque[Connection] = deque()
        self.waiting: deque[float] = deque()  #: when requests were due that found no free connection
        self.began = 0.0

    def drive(self) -> Found:
        """Send until the plan is done, then wait for what is under way."""
        plan, found = self.plan, self.found
        self.began = time.perf_counter()
        for connection in self.connections:
            self._connect(connection)
        gaps = random.Random(plan.seed)
        due = self.began
        end = self.began + plan.warm + plan.seconds
        checked = self.began
        while True:
            now = time.perf_counter()
            going = found.sent < plan.total if plan.total else now < end
            if going and plan.rate:
                while due <= now:
                    self.waiting.append(due)
                    due += gaps.expovariate(plan.rate)
            elif going:
                room = len(self.free) - len(self.waiting)
                left = plan.total - found.sent - len(self.waiting) if plan.total else room
                self.waiting.extend([now] * min(room, left))
            elif not plan.rate:
                self.waiting.clear()
            while self.waiting and self.free:
                self._send(self.free.popleft(), self.waiting.popleft(), now)
            if not going and not self.waiting and len(self.free) == len(self.connections):
                break
            if now - checked > 0.5:
                checked = now
                self._expire(now)
            pause = max(0.0, min(due - now, 0.1)) if going and plan.rate else 0.1
            select.select([self.poll.fileno()], [], [], pause)  # epoll alone would round the pause up to milliseconds
            self._read()
        found.seconds = min(time.perf_counter(), end if not plan.total else float("inf")) - self.began - plan.warm
        for connection in self.connections:
            connection.close()
        self.poll.close()
        return found

    def _connect(self, connection: Connection) -> None:
        """Open, again and again for the time limit: a service that comes back is met again."""
        until = time.perf_counter() + self.plan.limit
        while True:
            try:
                number = connection.open()
                break
            except OSError:
                if time.perf_counter() > until:
                    raise
                self.found.failures["refused"] += 1
                time.sleep(0.02)
        self.by_number[number] = connection
        self.poll.register(number, select.EPOLLIN)
        self.free.append(connection)

    def _send(self, connection: Connection, due: float, now: float) -> None:
        request = self.requests[self.found.sent % len(self.requests)]
        self.found.sent += 1
        try:
            connection.begin(request, due, now + self.plan.limit)
        except ConnectionError:
            self._fail(connection, "closed")
            return
        if connection.rest:
            assert connection.socket is not None
            self.poll.modify(connection.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _read(self) -> None:
        for number, event in self.poll.poll(0):
            connection = self.by_number[number]
            try:
                if event & select.EPOLLOUT and connection.push():
                    self.poll.modify(number, select.EPOLLIN)
            except ConnectionError:
                self._fail(connection, "closed")
                continue
            if event & ~select.EPOLLOUT:
                self._pulled(connection)

    def _pulled(self, connection: Connection) -> None:
        status = connection.pull()
        if status == "":
            return
        if status is None and not connection.busy:  # an idle connection was closed, as a service may
            self.free.remove(connection)
            self._again(connection)
        elif status == "200" and self.plan.expect in connection.got:
            now = time.perf_counter()
            if self.plan.total or self.plan.warm <= now - self.began < self.plan.warm + self.plan.seconds:
                self.found.latencies.append(now - connection.due)
                self.found.good_in[int(now - self.began)] += 1
            connection.busy = False
            self.free.append(connection)
        else:
            self._fail(connection, "closed" if status is None else "another answer" if status == "200" else status)

    def _fail(self, connection: Connection, what: str) -> None:
        self.found.failures[what] += 1
        if len(self.found.failed_at) < 1000:
            self.found.failed_at.append(time.perf_counter() - self.began)
        self._again(connection)

    def _again(self, connection: Connection) -> None:
        assert connection.socket is not None
        del self.by_number[connection.socket.fileno()]
        connection.close()
        self._connect(connection)

    def _expire(self, now: float) -> None:
        late = [c for c in self.connections if c.busy and c.deadline < now]
        for connection in late:
            self._fail(connection, "no answer in time")


def request(method: str, path: str, body: bytes = b"", kind: str = "application/json") -> bytes:
    """A whole HTTP/1.1 request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def save(path: Path, requests: Sequence[bytes]) -> None:
    """Write requests for this module's own process."""
    import numpy as np

    np.savez(path, data=np.frombuffer(b"".join(requests), np.uint8), ends=np.cumsum([len(r) for r in requests]))


def read(path: Path) -> list[bytes]:
    import numpy as np

    with np.load(path) as stored:
        data, ends = stored["data"].tobytes(), stored["ends"].tolist()
    return [data[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("port", type=int)
    words.add_argument("requests", type=Path)
    words.add_argument("--clients", type=int, default=8)
    words.add_argument("--seconds", type=float, default=5.0)
    words.add_argument("--rate", type=float, default=0.0)
    words.add_argument("--total", type=int, default=0)
    words.add_argument("--warm", type=float, default=0.5)
    words.add_argument("--expect", default="")
    asked = words.parse_args()
    plan = Plan(
        asked.port, asked.clients, asked.seconds, asked.rate, asked.total, asked.warm if not asked.total else 0.0,
        asked.expect.encode(),
    )  # fmt: skip
    found = Load(plan, read(asked.requests)).drive()
    told = {"clients": plan.clients, "rate": plan.rate, "failed_at": found.failed_at, "good_in": found.good_in}
    print(json.dumps(found.facts() | told), flush=True)


if __name__ == "__main__":
    main()
