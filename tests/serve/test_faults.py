"""A service that is stopped, loses a worker, is told of another model, or finds its port taken."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from served import Running, client, drained, head, npy_bytes, running, statuses, until

from estampa.monitor.registry import Registry
from made_bundles import make, pictures

BODY = npy_bytes(pictures(1))
NPY = "application/x-npy"


class Load:
    """Asks again and again, from some threads, until it is stopped; keeps what came."""

    def __init__(self, service: Running, threads: int = 2) -> None:
        self.service, self.stopping = service, threading.Event()
        self.statuses: list[int] = []
        self.models: list[str] = []
        self.failed: list[str] = []
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self.stopping.is_set():
            try:
                status, answer = self.service.ask("POST", "/v1/predict", BODY, NPY)
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                continue
            self.statuses.append(status)
            self.models.append(json.loads(answer).get("model", ""))

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join(20)


def test_a_slow_request_is_answered_before_the_end(tmp_path: Path) -> None:
    bundle = make(tmp_path / "model")
    with running(str(bundle.folder), folder=tmp_path) as service:
        with service.connect() as slow, service.connect() as idle:
            slow.sendall(head("/v1/predict", f"Content-Type: {NPY}", f"Content-Length: {len(BODY)}") + BODY[:50])
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b'{"status":"ok"}'):  # head and body may come in pieces
                piece = idle.recv(4096)
                assert piece, f"closed after {answer!r}"
                answer += piece
            assert answer.startswith(b"HTTP/1.1 200 OK")
            service.process.send_signal(signal.SIGTERM)
            until(lambda: refused(service.port), 5, "new connections are still taken")
            assert drained(idle) == b""  # nothing was asked of it: it is closed at once
            slow.sendall(BODY[50:])
            found = drained(slow)
            assert statuses(found) == [200]
        assert service.stop() == 0
        assert not [line for line in service.lines() if line["level"] == "error"]


def refused(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return False
    except ConnectionRefusedError:
        return True


@pytest.mark.parametrize(("by", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_an_idle_service_ends_at_once(by: int, code: int, tmp_path: Path) -> None:
    bundle = make(tmp_path / "model")
    with running(str(bundle.folder), folder=tmp_path) as service:
        began = time.monotonic()
        assert service.stop(by) == code
        assert time.monotonic() - began < 5
        assert "Traceback" not in service.text()


def test_a_port_that_is_taken_is_exit_2(tmp_path: Path) -> None:
    bundle = make(tmp_path / "model")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for workers in ("1", "2"):
            ended = subprocess.run(
                [sys.executable, "-m", "estampa", "serve", str(bundle.folder), "--workers", workers, "--port",
                 str(taken.getsockname()[1])], capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert ended.returncode == 2
            assert "cannot listen there" in ended.stderr
            assert "--port" in ended.stderr
            assert "Traceback" not in ended.stderr


def test_a_killed_worker_comes_back(tmp_path: Path) -> None:
    bundle = make(tmp_path / "model")
    with running(str(bundle.folder), "--workers", "2", folder=tmp_path) as service:
        before = until(lambda: len(service.workers()) == 2 and service.workers(), 20, "no two workers")
        with Load(service) as load:
            until(lambda: len(load.statuses) > 20, 20, "no answers")
            os.kill(before[0], signal.SIGKILL)
            until(lambda: len(set(service.workers()) - {before[0]}) == 2, 15, "the worker is not back", service.text)
            count = len(load.statuses)
            until(lambda: len(load.statuses) > count + 20, 20, "no answers after it")
        assert set(load.statuses) == {200}
        assert len(load.failed) <= 4, load.failed  # those that the killed worker held
        assert b"estampa_requests_total" in service.get("/metrics")[1]
        assert service.stop() == 0
    assert not [pid for pid in before if Path(f"/proc/{pid}").exists()]


def test_the_registry_swaps_without_a_failed_request(tmp_path: Path) -> None:
    first, second = make(tmp_path / "one"), make(tmp_path / "two", thresholds={"confidence": 0.9})
    assert first.hash != second.hash
    path = tmp_path / "registry.jsonl"
    registry = Registry(path)
    registry.promote(first.folder, why="the first")

    with running(f"{path}:champion", setup=POLL, folder=tmp_path) as service, Load(service) as load:
        answering(service, first.hash)
        registry.promote(second.folder, why="better")
        answering(service, second.hash)
        registry.rollback("champion", why="worse")
        answering(service, first.hash)
        good = path.read_bytes()
        for spoil in (good[:-20], b"", b"nonsense\n", good.replace(first.hash.encode(), b"0" * 12)):
            seen = said(service)
            path.write_bytes(spoil)
            until(lambda seen=seen: said(service) > seen, 10, "the damage was not noticed", service.text)
            assert json.loads(service.get("/readyz")[1])["models"] == {"champion": first.hash}
        path.unlink()
        time.sleep(0.3)
        path.write_bytes(good)
        registry.promote(second.folder, why="again")
        answering(service, second.hash)
        load.stopping.set()
    assert set(load.statuses) == {200}
    assert load.failed == []
    assert {first.hash, second.hash} <= set(load.models)


def test_a_bundle_that_is_not_what_was_promoted_is_not_swapped_in(tmp_path: Path) -> None:
    first, second = make(tmp_path / "one"), make(tmp_path / "two", thresholds={"confidence": 0.9})
    other = make(tmp_path / "three", thresholds={"confidence": 0.8})
    path = tmp_path / "registry.jsonl"
    registry = Registry(path)
    registry.promote(first.folder, why="the first")
    with client(models=[f"{path}:champion"]) as one:
        aside = tmp_path / "aside.jsonl"
        aside.write_bytes(path.read_bytes())
        Registry(aside).promote(second.folder, why="better")
        second.folder.rename(tmp_path / "moved")
        other.folder.rename(tmp_path / "two")  # a sound bundle, but not the one that was promoted
        aside.replace(path)
        until(lambda: 'outcome="failed"} 1.0' in one.get("/metrics").text, 5, "the exchange was not noticed")
        assert one.get("/readyz").json()["models"] == {"champion": first.hash}
        assert one.post("/v1/predict", content=BODY, headers={"Content-Type": NPY}).json()["model"] == first.hash


POLL = """
from estampa.serve import settings
settings.Settings.model_fields['poll_seconds'].default = 0.05
settings.Settings.model_rebuild(force=True)
"""


def answering(service: Running, model: str) -> None:
    until(
        lambda: json.loads(service.get("/readyz")[1])["models"] == {"champion": model}, 10, "not swapped", service.text
    )


def said(service: Running) -> int:
    return service.text().count("swap failed")
