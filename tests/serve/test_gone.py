"""Clients that go away, and clients that do not take their answers."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import numpy as np
import pytest
from served import Running, npy_bytes

from made_bundles import make, pictures

SLOW = """
import time
import estampa.serve.queue as queue
score = queue._score
def slow(items):
    time.sleep(0.4)
    return score(items[:1]) if len(items) == 1 else [score([item])[0] for item in items]
queue._score = slow
queue.BRIEF = 0.0
queue.batch_size = lambda contract: 1
"""
STUBBORN = """
import estampa.serve.wire as wire
wire.TAKE_SECONDS = 0.5
"""


def request(body: bytes, kind: str = "application/x-npy") -> bytes:
    head = (
        f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def test_who_goes_away_is_not_scored(tmp_path: Path) -> None:
    make(tmp_path / "model")
    body = npy_bytes(pictures(1))
    running = Running(str(tmp_path / "model"), "--threads", "1", setup=SLOW, folder=tmp_path)
    try:
        for _ in range(20):
            with running.connect() as gone:
                gone.sendall(request(body))
                time.sleep(0.01)
        began = time.monotonic()
        assert running.ask("POST", "/v1/predict", body, "application/x-npy")[0] == 200
        assert time.monotonic() - began < 4, "the rows of those who went were scored first"
        metrics = running.get("/metrics")[1].decode()
        scored = sum(
            float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("estampa_predictions_t")
        )
        assert 1 <= scored < 8
        assert not [line for line in running.lines() if line["level"] == "error"]
    finally:
        running.stop()


@pytest.mark.long
def test_who_does_not_take_an_answer_loses_it(tmp_path: Path) -> None:
    make(tmp_path / "model")
    body = npy_bytes(np.repeat(pictures(1), 60_000, axis=0))  # 13 MB of answer, more than a socket holds
    running = Running(str(tmp_path / "model"), "--max-objects", "100000", setup=STUBBORN, folder=tmp_path)
    try:
        with socket.socket() as stubborn:
            stubborn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stubborn.connect(("127.0.0.1", running.port))
            stubborn.sendall(request(body))
            time.sleep(8)
            taken = 0
            stubborn.settimeout(5)
            try:
                while piece := stubborn.recv(1 << 16):
                    taken += len(piece)
            except ConnectionResetError:
                taken += 0
            assert taken < 11_000_000, "the connection is ended while most of the answer waits"
        whole = running.ask("POST", "/v1/predict", body, "application/x-npy")
        assert whole[0] == 200
        assert len(whole[1]) > 11_000_000, "who reads gets all of it"
    finally:
        running.stop()
