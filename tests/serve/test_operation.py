"""What keeps a service going when something around it fails: the log, the registry, jobs, the end."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import page_sets
import pytest
from served import Client, client, npy_bytes, picture_bytes, running, until, words_of

from estampa.bundle.store import Bundle
from estampa.errors import BundleError
from estampa.monitor import line
from estampa.monitor.registry import Registry
from estampa.serve import notes, why
from estampa.serve.events import Events
from estampa.serve.metrics import SHARED
from estampa.serve.models import Models, Place
from made_bundles import make, pictures

NPY, PREDICT = "application/x-npy", "/v1/predict"


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make(tmp_path_factory.mktemp("operation") / "grey" / "model")


def sent(one: Client, images: np.ndarray | None = None) -> Any:
    body = npy_bytes(pictures(1) if images is None else images)
    return one.post(PREDICT, content=body, headers={"Content-Type": NPY})


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in capsys.readouterr().err.splitlines() if text.startswith("{")]


# ------------------------------------------------------------------ the log


def test_a_line_that_cannot_be_made_takes_no_answer_along(
    grey: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with client(grey, log=tmp_path / "log.jsonl") as one:

        def broken(*_: Any) -> None:
            raise BundleError("no projection", where=grey.folder)

        monkeypatch.setattr(notes, "lines_of", broken)
        assert [sent(one, pictures(2)).status_code for _ in range(3)] == [200] * 3
        assert "estampa_log_lost_total 6.0" in one.get("/metrics").text
        monkeypatch.undo()
        assert sent(one).status_code == 200
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1
    assert sum("no projection" in told.get("why", "") for told in said(capsys)) == 1


def test_what_a_line_needs_is_loaded_before_the_first_answer(tmp_path: Path) -> None:
    bundle = make(tmp_path / "grey" / "model")
    with client(bundle, log=tmp_path / "log.jsonl") as one:
        bundle.folder.rename(tmp_path / "moved")
        assert sent(one).status_code == 200
        assert "estampa_log_lost_total 0.0" in one.get("/metrics").text
    assert [line.parse(text.encode(), 1).flags for text in (tmp_path / "log.jsonl").read_text().splitlines()]


# ------------------------------------------------------------------ the registry


def test_following_a_registry_survives_an_error_and_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = make(tmp_path / "one"), make(tmp_path / "two", thresholds={"confidence": 0.9})
    path = tmp_path / "registry.jsonl"
    Registry(path).promote(first.folder, why="the first")
    whole, faults = Place.open, [MemoryError(), OSError(24, "Too many open files"), ValueError("of a library")]

    def opened(place: Place) -> Any:
        if faults:
            raise faults.pop(0)
        return whole(place)

    with client(models=[f"{path}:champion"]) as one:
        monkeypatch.setattr(Place, "open", opened)
        Registry(path).promote(second.folder, why="better")
        until(lambda: one.get("/readyz").json()["models"] == {"champion": second.hash}, 5, "it was not tried again")
        assert 'outcome="failed"} 3.0' in one.get("/metrics").text
    assert sum("swap failed" in told["event"] for told in said(capsys)) == 3


def test_a_task_that_ends_is_told(
    grey: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(Models, "watch", broken)
    with client(grey) as one:
        assert sent(one).status_code == 200
    faults = [told for told in said(capsys) if told["level"] == "error"]
    assert [told["task"] for told in faults] == ["watch"]
    assert "nobody foresaw this" in faults[0]["traceback"]


# ------------------------------------------------------------------ who watches


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_who_asks_for_the_head_alone_is_answered(grey: Bundle, path: str) -> None:
    with client(grey, token="a-token-of-a-test-0123456789") as one:
        assert one.head(path).status_code == 200
        assert (
            "head"
            not in one.get("/openapi.json", headers={"Authorization": "Bearer a-token-of-a-test-0123456789"}).json()[
                "paths"
            ][path]
        )


COUNTED = """
import sys
from pathlib import Path
from types import SimpleNamespace
from estampa.serve.metrics import Metrics

Metrics.forget_dead(Path(sys.argv[1]))
manifest = SimpleNamespace(hashes=SimpleNamespace(model=sys.argv[2]))
metrics = Metrics()
metrics.model("m", SimpleNamespace(label=sys.argv[2], hash=sys.argv[2], bundle=SimpleNamespace(manifest=manifest)))
metrics.request("/classify", 200, 0.1)
print(metrics.text().decode())
"""


def test_what_a_dead_worker_said_of_its_model_goes_and_its_counts_stay(tmp_path: Path) -> None:
    told = ""
    for model in ("old", "new"):
        words = [sys.executable, "-c", COUNTED, str(tmp_path), model]
        env = {**os.environ, SHARED: str(tmp_path)}
        told = subprocess.run(words, env=env, capture_output=True, text=True, check=True, timeout=60).stdout
    assert 'sha="new"' in told
    assert 'sha="old"' not in told
    assert 'estampa_requests_total{code="200",route="/classify"} 2.0' in told


def test_objects_are_counted_from_nothing_answered_or_not(tmp_path: Path) -> None:
    bundle = page_sets.table(tmp_path / "sky" / "model")
    row = dict(zip(bundle.table.column_names, [1.0] * len(bundle.table.columns), strict=True))
    with client(models=words_of(m=bundle)) as one:
        begun = one.get("/metrics").text
        for name in ("objects", "abstained"):
            assert f'estampa_{name}_total{{model="m"}} 0.0' in begun
        bad = dict.fromkeys(row)
        assert one.post(PREDICT, json={"rows": [row, bad, bad]}).status_code == 200
        one.post("/classify", json=bad)
        told = one.get("/metrics").text
    assert 'estampa_objects_total{model="m"} 4.0' in told


def test_a_picture_that_cannot_be_read_is_an_object_without_an_answer(tmp_path: Path) -> None:
    with client(models=words_of(m=page_sets.colours(tmp_path / "colours"))) as one:
        picture = base64.b64encode(picture_bytes(np.zeros((12, 12, 3), np.uint8))[:60]).decode()
        assert one.post("/classify", json={"picture": picture}).status_code == 422
        told = one.get("/metrics").text
    for name in ("objects", "abstained"):
        assert f'estampa_{name}_total{{model="m"}} 1.0' in told


def test_the_token_is_in_no_environment_and_in_no_file_of_others(grey: Bundle, tmp_path: Path) -> None:
    token = "a-token-of-a-test-0123456789"
    (tmp_path / "token").write_text(token)
    words = (str(grey.folder), "--workers", "2", "--token-file", str(tmp_path / "token"))
    with running(*words, folder=tmp_path, env={"TMPDIR": str(tmp_path)}) as service:
        workers = until(lambda: len(service.workers()) == 2 and service.workers(), 20, "no two workers")
        for pid in (service.process.pid, *workers):
            assert token.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        holding = [path for path in tmp_path.glob("estampa-serve-*/*") if path.is_file()]
        assert [oct(path.stat().st_mode & 0o777) for path in holding] == ["0o600"]
        assert service.get("/version")[0] == 401
        assert service.ask("GET", "/version", Authorization=f"Bearer {token}")[0] == 200
    assert not list(tmp_path.glob("estampa-serve-*"))


def test_a_write_that_fails_silences_no_later_line() -> None:
    class Full(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    stream = Full()
    events = Events(stream)
    events.say("lost")
    stream.full = False
    events.say("written")
    assert not events.quiet
    assert [json.loads(text)["event"] for text in stream.getvalue().splitlines()] == ["written"]


# ------------------------------------------------------------------ reasons


def test_too_many_who_ask_for_reasons_are_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    going = threading.Event()
    monkeypatch.setattr(why, "explained", lambda *told: going.wait(20) and told[-1])
    bundle = page_sets.table(tmp_path / "sky" / "model")
    with client(bundle) as one:
        page, found = f"/models/{one.service.models.names()[0]}?preset=0&why", []
        asking = [threading.Thread(target=lambda: found.append(one.get(page).status_code)) for _ in range(6)]
        for thread in asking:
            thread.start()
        until(lambda: len(found) == 2, 10, "nobody was turned away")
        assert found == [503, 503]
        going.set()
        for thread in asking:
            thread.join(20)
        assert found == [503, 503, 200, 200, 200, 200]
