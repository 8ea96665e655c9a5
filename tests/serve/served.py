"""A service to ask: within this process for most tests, as a process of its own for those of sockets and signals."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from estampa.bundle.store import Bundle
from estampa.serve.app import create_app
from estampa.serve.problems import KINDS, MEDIA
from estampa.serve.service import Service
from estampa.serve.settings import Settings

URL = re.compile(r"at (http://\S+)")
HERE = "http://127.0.0.1"  #: the host that the clients within this process name


def words_of(*bundles: Bundle, **named: Bundle | str) -> tuple[str, ...]:
    """Bundles as they are named on the command line."""
    places = {name: b if isinstance(b, str) else str(b.folder) for name, b in named.items()}
    return (*(str(b.folder) for b in bundles), *(f"{name}={place}" for name, place in places.items()))


class Client(TestClient):
    """Asks an app within this process; a fault of the app is an answer, as it is to a client."""

    def __init__(self, settings: Settings) -> None:
        self.made = create_app(settings)
        super().__init__(self.made, base_url=HERE, raise_server_exceptions=False)

    @property
    def service(self) -> Service:
        """The service behind it."""
        return self.made.service


@contextlib.contextmanager
def client(*bundles: Bundle, models: Sequence[str] = (), **settings: Any) -> Iterator[Client]:
    """A client of a service of these bundles; `models` as on the command line, `settings` as in Settings."""
    with tempfile.TemporaryDirectory(prefix="scratch-") as scratch:
        told = {"quiet": True, "scratch": Path(scratch), "poll_seconds": 0.05, **settings}
        with Client(Settings(bundles=(*words_of(*bundles), *models), **told)) as asked:
            yield asked
        assert not [path for path in Path(scratch).rglob("*") if path.is_file()], "a file of a request stayed behind"


class Running:
    """`estampa serve` as a process of its own on a free port of 127.0.0.1.

    `setup` is Python that runs before it. `stderr` is a file; `lines()` parses the JSON lines in it.
    """

    def __init__(self, *words: str, setup: str = "", folder: Path, env: dict[str, str] | None = None) -> None:
        self.log = folder / f"stderr-{time.monotonic_ns()}.log"
        code = f"import sys\n{setup}\nfrom estampa.cli import main\nmain()"
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, "serve", *words, "--port", "0"], stderr=stream,
                stdout=subprocess.DEVNULL, env={**os.environ, **(env or {})}, start_new_session=True,
            )  # fmt: skip
        try:
            self.url = self._url()
            self.port = int(self.url.rpartition(":")[2].partition("/")[0])
            until(lambda: self._answers("/readyz"), 30, "the service is not ready", self.text)
        except BaseException:
            self.stop()
            raise

    def _url(self) -> str:
        def found() -> str:
            assert self.process.poll() is None, self.text()
            match = URL.search(self.text())
            return match[1] if match else ""

        return until(found, 30, "no address was said", self.text)

    def _answers(self, path: str) -> bool:
        try:
            return self.get(path)[0] == 200
        except OSError:
            assert self.process.poll() is None, self.text()
            return False

    def text(self) -> str:
        """What it said on stderr so far."""
        return self.log.read_text(errors="replace")

    def lines(self) -> list[dict[str, Any]]:
        """The lines of its own log."""
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET on a connection of its own."""
        return self.ask("GET", path)

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "", **more: str) -> tuple[int, bytes]:
        """Status and body of a request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            headers = {**({"Content-Type": kind} if kind else {}), **{k.replace("_", "-"): v for k, v in more.items()}}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def raw(self, *pieces: bytes, pause: float = 0.0) -> bytes:
        """Send bytes as they are; everything that comes back until the connection ends."""
        with self.connect() as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)
            return drained(connection)

    def peak(self) -> int:
        """Largest resident memory so far of the process that answers, in bytes."""
        return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())[1])

    def descriptors(self) -> int:
        """Open descriptors."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def workers(self) -> list[int]:
        """The processes that it started and that serve: not those of multiprocessing's own."""
        found = []
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            for pid in (task / "children").read_text().split():
                with contextlib.suppress(OSError):
                    command = Path(f"/proc/{pid}/cmdline").read_bytes()
                    if b"resource_tracker" not in command:
                        found.append(int(pid))
        return found

    def stop(self, by: int = signal.SIGTERM, within: float = 20) -> int:
        """End it; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(by)
        try:
            return self.process.wait(within)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


@contextlib.contextmanager
def running(*words: str, **how: Any) -> Iterator[Running]:
    """A `Running` that is ended at the end."""
    one = Running(*words, **how)
    try:
        yield one
    finally:
        one.stop()


def until(asked: Any, seconds: float, why: str, more: Any = lambda: "") -> Any:
    """Wait until `asked()` is true; give what it gave."""
    end = time.monotonic() + seconds
    while True:
        found = asked()
        if found:
            return found
        assert time.monotonic() < end, f"{why} after {seconds} s. {more()}"
        time.sleep(0.02)


def drained(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = b""
    try:
        while piece := connection.recv(1 << 16):
            found += piece
    except ConnectionResetError:
        pass
    return found


def head(path: str = "/v1/predict", *lines: str, method: str = "POST") -> bytes:
    """A request's head."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode()


def statuses(answer: bytes) -> list[int]:
    """The status of each answer in what came over a connection."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def problem(answer: httpx.Response, kind: str = "", *says: str) -> str:
    """That an answer is a whole problem of this kind, whose detail holds these words; the detail."""
    assert answer.headers["content-type"] == MEDIA, answer.text[:300]
    told = answer.json()
    assert set(told) == {"type", "title", "status", "detail", "request_id"}
    found = told["type"].rpartition("#")[2]
    assert found in KINDS, told
    assert not kind or found == kind, told
    assert told["status"] == answer.status_code == KINDS[found].status
    assert told["title"] == KINDS[found].title
    assert told["request_id"] == answer.headers["x-request-id"]
    detail = told["detail"]
    assert detail.endswith((".", "?", "!")), detail
    assert len(detail) < 4000, detail
    assert "Traceback" not in detail, detail
    for word in says:
        assert word in detail, detail
    return detail


def npy_bytes(array: np.ndarray) -> bytes:
    """An .npy file."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz_bytes(**arrays: np.ndarray) -> bytes:
    """An .npz file."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def picture_bytes(pixels: np.ndarray, form: str = "png") -> bytes:
    """A picture file of (h, w, 1) or (h, w, 3) bytes."""
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(stream, form)
    return stream.getvalue()
