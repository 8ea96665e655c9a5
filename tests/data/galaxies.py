"""Small Galaxy Zoo sets for the tests: pictures, catalogue and map; and a server on 127.0.0.1 that misbehaves."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 64
FIRST = 587722981736579000  #: an SDSS object id; the others follow it
TEXTS = ("Er", "Ei(o)", "Ec", "Ser", "Sb", "SBc2m", "Sc?t(r)", "Sen", "A", "Sd", "Sa2l", "Seb")


def jpeg(seed: int, side: int = SIDE) -> bytes:
    """A bright ellipse on dark noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - side / 2
    light = 200 * np.exp(-((x / (side / random.uniform(4, 9))) ** 2 + (y / (side / 9)) ** 2))
    picture = light[..., None] * random.uniform(0.5, 1, 3) + random.normal(12, 4, (side, side, 3))
    stream = io.BytesIO()
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(stream, "jpeg", quality=85)
    return stream.getvalue()


def ids(n: int) -> list[str]:
    return [str(FIRST + 7 * i) for i in range(n)]


def table(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """Write a CSV, gzipped when its name says so."""
    text = io.StringIO()
    csv.writer(text).writerows([head, *rows])
    data = text.getvalue().encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def catalogue_rows(n: int) -> list[list[object]]:
    return [[name, "100.5", 10 + 0.01 * i, -1.0, TEXTS[i % len(TEXTS)], "original"] for i, name in enumerate(ids(n))]


def map_rows(n: int) -> list[list[object]]:
    return [[name, "original", 1000 + i] for i, name in enumerate(ids(n))]


CATALOGUE = ("dr7objid", "rating", "ra", "dec", "gz2class", "sample")
MAP = ("objid", "sample", "asset_id")


def lay(
    root: Path,
    n: int = 24,
    *,
    catalogue: Sequence[Sequence[object]] | None = None,
    files: Sequence[Sequence[object]] | None = None,
) -> dict[str, str]:
    """Write images/, the catalogue and the map below `root`; gives the builder's options that name them."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    for i in range(n):
        (root / "images" / f"{1000 + i}.jpg").write_bytes(jpeg(i))
    table(root / "gz2.csv.gz", CATALOGUE, catalogue_rows(n) if catalogue is None else catalogue)
    table(root / "map.csv", MAP, map_rows(n) if files is None else files)
    return {
        "images": str(root / "images"), "catalogue": str(root / "gz2.csv.gz"), "map": str(root / "map.csv"),
        "n_train": "10", "n_test": "5", "crop": "40",
    }  # fmt: skip


class Server:
    """Files by path; `behave` maps a path to what the next answers do: a list of the words below, used up in turn.

    404, 429, 503: that status. drop: closed without a word. cut: half of the body, then closed. short: half of the
    body under a length that fits. page: an HTML page in the picture's place. late: a pause first. stall: silence after
    the first bytes. trickle: a byte now and then, for ever.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.behave: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.times: list[float] = []
        self.url = ""
        self.stopped = threading.Event()

    def next_for(self, path: str) -> str:
        self.asked.append(path)
        self.times.append(time.monotonic())
        words = self.behave.get(path) or self.behave.get("*") or []
        return words.pop(0) if words else ""


class _Handler(BaseHTTPRequestHandler):
    state: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        word = self.state.next_for(path)
        data = self.state.files.get(path)
        if word.isdigit() or data is None:
            self.send_response(int(word or 404))
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if word == "drop":
            self.close_connection = True
            return
        if word == "late":
            time.sleep(0.05)
        body = {"page": b"<html>Sorry</html>", "short": data[: len(data) // 2]}.get(word, data)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self._write(word, body)

    def _write(self, word: str, body: bytes) -> None:
        if word not in ("cut", "stall", "trickle"):
            self.wfile.write(body)
            return
        self.close_connection = True
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        if word == "stall":
            self.state.stopped.wait(20)
        for at in range(len(body) // 2, len(body)) if word == "trickle" else ():
            if self.state.stopped.wait(0.05):
                return
            self.wfile.write(body[at : at + 1])
            self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def listening(handler: type[BaseHTTPRequestHandler], state: Any) -> Iterator[None]:
    """Run a server of `handler` on 127.0.0.1 until the end of the `with`; `state` is given its `url`, and `stopped`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), {"state": state}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield
    finally:
        state.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def serve(files: Mapping[str, bytes]) -> Iterator[Server]:
    """Serve `files` on 127.0.0.1 until the end of the `with`."""
    state = Server(files)
    with listening(_Handler, state):
        yield state
