"""What keeps a service going when something around it fails: the log, the registry, jobs, the end."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import page_sets
import pytest
from served import Client, client, head, npy_bytes, picture_bytes, running, statuses, until, words_of

from estampa.bundle.store import Bundle
from estampa.errors import BundleError, Interrupted, StorageError
from estampa.monitor import line
from estampa.monitor.registry import Registry
from estampa.serve import jobs as jobs_module
from estampa.serve import notes, site, why
from estampa.serve.archive import unpack
from estampa.serve.events import Events
from estampa.serve.jobs import Jobs
from estampa.serve.metrics import SHARED
from estampa.serve.models import Models, Place
from estampa.serve.settings import Settings
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
print(metrics.text({}).decode())
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
        picture = base64.b64encode(picture_bytes(np.zeros((12, 12, 3), np.uint8))[:40]).decode()
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


# ------------------------------------------------------------------ faults are told to the log


def test_a_fault_behind_a_page_and_in_a_job_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = page_sets.table(tmp_path / "sky" / "model")
    for error in (BundleError("a secret is damaged"), RuntimeError("a secret that nobody foresaw")):

        def broken(*_: Any, error: Exception = error, **__: Any) -> None:
            raise error

        with client(models=words_of(sky=bundle)) as one:
            monkeypatch.setattr(site, "about_page", broken)
            assert one.get("/models/sky/about").status_code == 500
            monkeypatch.setattr(site, "classify_page", broken)
            monkeypatch.setattr(site, "_preset", broken)
            monkeypatch.setattr(jobs_module, "predict", broken)
            job = one.post("/models/sky/batch", files={"f": ("a.csv", b"a,b\n1,2\n")}).url.path
            until(lambda job=job, one=one: "could not be done" in one.get(job).text, 10, "the job does not end")
            told = [told for told in said(capsys) if told["level"] == "error"]
            assert [fault["event"] for fault in told] == ["fault", "a batch job failed"]
            assert all("a secret" in fault["traceback"] for fault in told)
            assert told[0]["request_id"]
            assert job.rpartition("/")[2] not in json.dumps(told)
        monkeypatch.undo()


# ------------------------------------------------------------------ uploads and jobs


def upload(size: int) -> tuple[bytes, str]:
    """A form with a file of so many bytes, and its content type."""
    head = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.csv"\r\n\r\n'
    return head + bytes(size) + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"


def test_an_upload_that_is_cancelled_is_no_fault(grey: Bundle, tmp_path: Path) -> None:
    body, kind = upload(3 << 20)
    with running(f"m={grey.folder}", folder=tmp_path, env={"TMPDIR": str(tmp_path)}) as service:
        with service.connect() as socket:
            lines = (f"Content-Type: {kind}", f"Content-Length: {len(body)}")
            socket.sendall(head("/models/m/batch", *lines) + body[: 2 << 20])
            spooled = f"/proc/{service.process.pid}/fd"
            until(lambda: deleted(spooled), 10, "the upload is nowhere on the disk")
            assert all("/estampa-serve-" in name for name in deleted(spooled))
        until(lambda: [t for t in service.lines() if t["event"] == "request"], 10, "the request does not end")
        assert [t["status"] for t in service.lines() if t["event"] == "request"] == [400]
        assert not deleted(spooled)
        assert "Traceback" not in service.text()


def deleted(folder: str) -> list[str]:
    """Files that a process holds open and that have no name any more."""
    found = []
    for handle in Path(folder).iterdir():
        try:
            name = str(handle.readlink())
        except OSError:
            continue
        if name.endswith("(deleted)"):
            found.append(name)
    return found


def test_turns_are_shared_by_all_workers_and_waiting_ends_with_the_service(tmp_path: Path) -> None:
    here, there = (Jobs(Settings(bundles=("x",), scratch=tmp_path)) for _ in range(2))
    here.folder.mkdir()
    first, second = jobs_module._turn(here), jobs_module._turn(there)
    with first, second:  # neither waits for the other, whichever threads ask
        ended: list[type] = []

        def wait() -> None:
            try:
                with jobs_module._turn(there):
                    ended.append(object)
            except Interrupted as error:
                ended.append(type(error))

        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        there.close()
        waiting.join(5)
        assert ended == [Interrupted]
    with jobs_module._turn(here), jobs_module._turn(here):
        pass
    here.close()


def test_a_full_disk_is_no_damaged_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.png", bytes(1000))
    (tmp_path / "a.zip").write_bytes(stream.getvalue())

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(StorageError, match="the disk is full"):
        unpack(tmp_path / "a.zip", tmp_path / "out", 1 << 20)


def test_a_large_upload_has_the_time_that_its_limit_needs(grey: Bundle, tmp_path: Path) -> None:
    body, kind = upload(1000)
    words = (f"m={grey.folder}", "--body-seconds", "0.5", "--max-body", "1", "--max-upload", "8")
    with running(*words, folder=tmp_path) as service:
        lines = (f"Content-Type: {kind}", f"Content-Length: {len(body)}")
        found = service.raw(head("/models/m/batch", *lines, "Connection: close"), body[:500], body[500:], pause=0.6)
        assert statuses(found) == [415]  # read to its end: the model is of pictures
        found = service.raw(head(PREDICT, *lines, "Connection: close"), body[:500], body[500:], pause=0.6)
        assert statuses(found) == [408]
