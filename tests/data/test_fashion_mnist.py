"""Builder fashion_mnist, with a server on 127.0.0.1; and the bundled digits."""

from __future__ import annotations

import gzip
import hashlib
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estampa.data.builders import _download, fashion_mnist
from estampa.data.read import build
from estampa.errors import DownloadError, InputError, SourceError

CONTENT = bytes(range(256)) * 2000
GOOD = hashlib.md5(CONTENT).hexdigest()


class Server:
    """What the handler serves, and what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"/data": CONTENT}
        self.cut = 0  # answers to break off half way
        self.fail = 0  # answers with 503
        self.ranges = True
        self.asked: list[tuple[str, str]] = []
        self.url = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.asked.append((self.path, wanted))
            if state.fail:
                state.fail -= 1
                self.send_error(503)
                return
            if self.path not in state.files:
                self.send_error(404)
                return
            data = state.files[self.path]
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and state.ranges else 0
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            body = data[start:]
            if state.cut:
                state.cut -= 1
                body = body[: len(body) // 2]
                self.close_connection = True
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    state.url = f"http://127.0.0.1:{listening.server_address[1]}/"
    yield state
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_download, "PAUSE", 0.001)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def fetch(server: Server, folder: Path, name: str = "data", md5: str = GOOD) -> Path:
    return _download.download(server.url + name, name, md5, folder)


def test_a_good_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [("/data", "")]
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_a_broken_off_download_goes_on(server: Server, tmp_path: Path) -> None:
    server.cut = 2
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    begins = [int(wanted.removeprefix("bytes=").removesuffix("-") or 0) for _, wanted in server.asked]
    assert len(begins) == 3
    assert 0 == begins[0] < begins[1] < begins[2] < len(CONTENT)


def test_a_server_without_ranges_begins_again(server: Server, tmp_path: Path) -> None:
    server.cut, server.ranges = 1, False
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_download_that_always_breaks_is_kept_for_the_next_run(server: Server, tmp_path: Path) -> None:
    server.cut = _download.TRIES
    with pytest.raises(DownloadError, match="failed 4 times"):
        fetch(server, tmp_path)
    assert (tmp_path / "data.partial").stat().st_size > len(CONTENT) // 2
    assert not (tmp_path / "data").exists()
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked[-1][1].startswith("bytes=")


def test_a_partial_file_that_is_too_long_is_dropped(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.partial").write_bytes(CONTENT + b"more")
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_busy_server_is_asked_again_a_missing_file_is_not(server: Server, tmp_path: Path) -> None:
    server.fail = 2
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    asked = len(server.asked)
    with pytest.raises(DownloadError, match="the server answers 404"):
        fetch(server, tmp_path, name="absent")
    assert len(server.asked) == asked + 1


def test_a_wrong_checksum_is_never_kept(server: Server, tmp_path: Path) -> None:
    server.files["/data"] = CONTENT[:-1] + b"!"
    with pytest.raises(DownloadError, match=f"not what was published.*MD5 {GOOD}"):
        fetch(server, tmp_path)
    assert list(tmp_path.iterdir()) == []
    server.files["/data"] = CONTENT
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="failed 4 times"):
        _download.download("http://127.0.0.1:9/data", "data", GOOD, tmp_path)


def test_the_published_sums() -> None:
    assert fashion_mnist.MD5["train-images-idx3-ubyte.gz"] == "8d4fb7e6c68d591d4c3dfef9ec88bf0d"
    assert len(fashion_mnist.MD5) == 4
    assert fashion_mnist.OFFICIAL.startswith("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com")


def _idx(values: np.ndarray) -> bytes:
    head = struct.pack(">BBBB", 0, 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    return gzip.compress(head + values.astype(np.uint8).tobytes(), 1)


def test_the_whole_builder_from_a_server(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = {}
    for part, n in (("train", 60_000), ("t10k", 10_000)):
        for kind, values in (
            ("images-idx3", np.zeros((n, 28, 28), np.uint8)),
            ("labels-idx1", np.arange(n) % 10),
        ):
            name, data = f"{part}-{kind}-ubyte.gz", _idx(values)
            server.files[f"/mirror/{name}"] = data
            sums[name] = hashlib.md5(data).hexdigest()
    monkeypatch.setattr(fashion_mnist, "MD5", sums)
    monkeypatch.setenv("ESTAMPA_CACHE", str(tmp_path / "cache"))
    dataset = build("fashion_mnist", tmp_path / "f.h5", builder_options={"url": server.url + "mirror"})
    assert (dataset.n, dataset.header.origin["from"]) == (70_000, server.url + "mirror/")
    assert len(list((tmp_path / "cache" / "downloads" / "fashion-mnist").iterdir())) == 4


def test_real_fashion_mnist(fashion_files: Path, tmp_path: Path) -> None:
    dataset = build("fashion_mnist", tmp_path / "f.h5", builder_options={"folder": str(fashion_files)})
    header = dataset.header
    assert (dataset.n, dataset.shape, header.licence, header.symmetry) == (70_000, (28, 28, 1), "MIT", "hflip")
    assert (dataset.rows("train").size, dataset.rows("validation").size, dataset.rows("test").size) == (
        60_000,
        0,
        10_000,
    )
    assert header.published_split
    assert header.classes[9] == "Ankle boot"
    assert header.display["es"][9] == "Botín"
    assert dataset.labels[:3].tolist() == [9, 0, 0]
    assert int(dataset.images[0].sum()) == 76247


def test_a_folder_that_lacks_a_file_and_a_strange_option(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"is missing.*t10k-labels"):
        build("fashion_mnist", tmp_path / "f.h5", builder_options={"folder": str(tmp_path)})
    with pytest.raises(InputError, match="Did you mean 'url'"):
        build("fashion_mnist", tmp_path / "f.h5", builder_options={"ur": "x"})


def test_digits(tmp_path: Path) -> None:
    dataset = build("digits", tmp_path / "d.h5")
    assert (dataset.n, dataset.shape, dataset.dtype) == (1797, (8, 8, 1), np.uint8)
    assert (int(dataset.images.min()), int(dataset.images.max())) == (0, 16)
    assert dataset.header.classes == tuple("0123456789")
    assert dataset.header.display["es"][7] == "siete"
    assert np.bincount(dataset.labels).min() == 174
