"""The load generator of the benchmarks: what it counts, held against a service that fails in known ways."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
GOOD = b'{"predicted":"a"}'
Answer = Callable[[int], bytes | None]


def response(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d OK\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body


class Service:
    """Answers the n-th request by `answer(n)`; None closes the connection. `bodies`: what came, in order."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.bodies, self._mutex = answer, [], threading.Lock()  # type: ignore[var-annotated]
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection = self.listening.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = connection.makefile("rb")
            while head := stream.readline():
                length = 0
                while (line := stream.readline()) != b"\r\n":
                    length = int(line.partition(b":")[2]) if line.lower().startswith(b"content-length") else length
                body = stream.read(length)
                with self._mutex:
                    number = len(self.bodies)
                    self.bodies.append((head, body))
                told = self.answer(number)
                if told is None:
                    return
                connection.sendall(told[:10])
                connection.sendall(told[10:])


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[..., tuple[dict[str, object], Service]]]:
    services = []

    def run(answer: Answer, *words: object) -> tuple[dict[str, object], Service]:
        services.append(service := Service(answer))
        bodies = [b"x" * 300_000, b"yy"]
        parts = [
            b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (i, len(b)) + b
            for i, b in enumerate(bodies)
        ]
        ends = np.cumsum([len(part) for part in parts])
        np.savez(tmp_path / "asked.npz", data=np.frombuffer(b"".join(parts), np.uint8), ends=ends)
        told = [sys.executable, "-m", "benchmarks.load", service.port, tmp_path / "asked.npz", *words]
        command = [str(word) for word in (*told, "--expect", '"predicted"')]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
        return json.loads(ended.stdout), service

    yield run
    for service in services:
        service.listening.close()


def test_requests_go_out_in_turn_and_all_are_answered(drive: Callable[..., tuple[dict[str, object], Service]]) -> None:
    found, service = drive(lambda _: response(GOOD), "--total", 100, "--clients", 3)
    assert (found["requests"], found["good"], found["failures"]) == (100, 100, {})
    assert sorted(len(body) for _, body in service.bodies) == [2] * 50 + [300_000] * 50
    assert {head for head, body in service.bodies if body == b"yy"} == {b"POST /1 HTTP/1.1\r\n"}
    assert 0 < found["p50"] <= found["p99"] <= found["most"] < 10_000


def test_every_kind_of_failure_is_counted(drive: Callable[..., tuple[dict[str, object], Service]]) -> None:
    bad = {5: response(b"no", 503), 10: None, 15: response(b"another"), 20: b"HTTP/1.1 200 OK\r\n\r\n"}
    found, _ = drive(lambda n: bad.get(n, response(GOOD)), "--total", 60, "--clients", 2)
    assert found["failures"] == {"503": 1, "closed": 1, "another answer": 1, "no content-length": 1}
    assert (found["requests"], found["good"], len(found["failed_at"])) == (60, 56, 4)


def test_a_stall_shows_in_the_latencies_of_all_that_fell_due(
    drive: Callable[..., tuple[dict[str, object], Service]],
) -> None:
    """At 100 a second over one connection, a stall of 0.5 s delays some 50 requests, not one."""
    stalled = threading.Event()

    def answer(number: int) -> bytes:
        if number == 20 and not stalled.is_set():
            stalled.set()
            time.sleep(0.5)
        return response(GOOD)

    found, _ = drive(answer, "--rate", 100, "--clients", 1, "--seconds", 1.5, "--warm", 0)
    assert found["failures"] == {}
    assert 100 < found["good"] < 220
    assert found["p95"] > 200
