"""Limits that hold for what a request unpacks to, and for all requests together."""

from __future__ import annotations

import base64
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import zipped
from served import Client, client, npy_bytes, picture_bytes, problem, until, words_of

import made_tables
from estampa.data.record import ReadRecord
from estampa.serve import archive, arrays, inputs
from estampa.serve.problems import Problem
from made_bundles import make, pictures

PNG = picture_bytes(pictures(1, (8, 8, 1))[0])
TEXT = base64.b64encode(PNG).decode()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("limits")
    read = ReadRecord(source="folder", mode="L", size=(8, 8))
    return words_of(
        small=make(folder / "small" / "model", shape=(8, 8, 1), read=read),
        table=made_tables.make(folder / "table" / "model", n=200),
    )


@pytest.fixture(scope="module")
def ask(models: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with client(models=models, keep=tmp_path_factory.mktemp("kept")) as one:
        yield one


@pytest.mark.parametrize(
    ("path", "body"), [("/classify", {"picture": TEXT}), ("/v1/predict", {"pictures": [TEXT] * 3})]
)
def test_pictures_in_small_json_are_decoded_in_a_thread(
    ask: Client, path: str, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, seen = inputs.decode_into, []

    def noted(*args: Any, **how: Any) -> None:
        seen.append(threading.current_thread().name)
        whole(*args, **how)

    monkeypatch.setattr(inputs, "decode_into", noted)
    assert ask.post(f"{path}?model=small", json=body).status_code == 200
    assert seen
    assert all(name.startswith("read_") for name in seen), seen


def test_classify_hears_consent_as_predict_does(ask: Client) -> None:
    agreed = {"x-estampa-consent": "true"}
    picture = {"picture": TEXT}
    assert ask.post("/classify?model=small", json=picture, headers=agreed).json()["kept"] is True
    assert "kept" not in ask.post("/classify?model=small", json=picture).json()
    told = ask.post("/classify?model=small", json={**picture, "consent": False}, headers=agreed).json()
    assert "kept" not in told
    row = json.loads(_example(ask))["rows"][0]
    assert ask.post("/classify?model=table", json=row, headers=agreed).json()["kept"] is True
    for odd in ("true", 1, None):
        for name, body in (("small", picture), ("table", row)):
            answer = ask.post(f"/classify?model={name}", json={**body, "consent": odd})
            assert problem(answer, "not-understood") == "'consent' must be true or false."


def _example(ask: Client) -> str:
    folder = Path(ask.service.models.pick("table").version.bundle.folder)
    return (folder / "examples" / "request.json").read_text()


# ---------------------------------------------------------------------- all of them together


def test_the_pixels_of_a_request_have_a_limit(models: tuple[str, ...]) -> None:
    files = [("f", (f"{i}.png", PNG)) for i in range(12)]
    with client(models=models, max_pixels=64) as one:
        assert one.post("/v1/predict?model=small", files=files[:8]).status_code == 200
        answer = one.post("/v1/predict?model=small", files=files)
        problem(answer, "too-large", "768 pixels", "512", "estampa predict")


def test_what_is_unpacked_at_once_has_a_limit(models: tuple[str, ...]) -> None:
    body = zipped(("images.npy", npy_bytes(np.zeros((500, 8, 8, 1), np.uint8))))
    kind = {"Content-Type": "application/x-npz"}
    with client(models=models, max_body=8192, max_objects=1000) as one:
        room = one.made.room
        assert one.post("/v1/predict?model=small", content=body, headers=kind).status_code == 200
        assert room.held == 0
        other = room.share()
        other.charge(room.most - 40_000)
        answer = one.post("/v1/predict?model=small", content=body, headers=kind)
        problem(answer, "busy")
        assert answer.headers["retry-after"] == "1"
        other.end()
        assert room.held == 0
        assert one.post("/v1/predict?model=small", content=body, headers=kind).status_code == 200
        with pytest.raises(Problem, match="room"):
            other.charge(1)  # a thread that goes on after its request has ended


def test_requests_that_wait_to_be_read_have_a_limit(models: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Semaphore(0), threading.Event()
    whole = inputs.decode_into

    def held(*args: Any, **how: Any) -> None:
        begun.release()
        assert go.wait(20)
        whole(*args, **how)

    monkeypatch.setattr(inputs, "decode_into", held)
    with client(models=models, max_waiting=1, threads=1) as one, ThreadPoolExecutor(2) as pool:

        def send() -> Any:
            return one.post("/classify?model=small", json={"picture": TEXT})

        try:
            first = [pool.submit(send) for _ in range(2)]
            assert begun.acquire(timeout=20)
            until(lambda: one.service.readers.waiting == 2, 20, "they do not wait")
            answer = send()
            problem(answer, "busy")
        finally:
            go.set()
        assert [one.result().status_code for one in first] == [200, 200]


# ---------------------------------------------------------------------- directories of zip files


def test_a_vast_directory_of_a_zip_file_is_refused_before_it_is_listed(
    ask: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = []
    whole = zipfile.ZipInfo.__init__

    def counted(self: zipfile.ZipInfo, *args: Any, **how: Any) -> None:
        listed.append(1)
        whole(self, *args, **how)

    for comment in (b"", b"a comment"):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as made:
            for i in range(archive.MOST_ENTRIES + 1):
                made.writestr(zipfile.ZipInfo(f"{i}.npy"), b"")
            made.comment = comment
        path = tmp_path / "many.zip"
        path.write_bytes(stream.getvalue())
        monkeypatch.setattr(zipfile.ZipInfo, "__init__", counted)
        with pytest.raises(Problem, match="members"):
            archive.unpack(path, tmp_path / "out", 1 << 20)
        with pytest.raises(Problem, match="members"):
            arrays.npz(path.read_bytes(), 1 << 20)
        assert not listed
        monkeypatch.undo()
    kind = {"Content-Type": "application/x-npz"}
    problem(ask.post("/v1/predict?model=small", content=path.read_bytes(), headers=kind), "too-large", "16 members")


# ---------------------------------------------------------------------- ids


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_long_ids_of_tables_are_refused_before_an_array_is_made(
    ask: Client, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sent(ids: list[str]) -> Any:
        columns: dict[str, Any] = {"id": ids, **dict.fromkeys(made_tables.COLUMNS, [1.0] * len(ids))}
        if form == "parquet":
            pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
            stream = io.BytesIO()
            parquet.write_table(pa.table(columns), stream, compression="zstd")
            body, kind = stream.getvalue(), "application/vnd.apache.parquet"
        else:
            lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
            body, kind = "\n".join(lines).encode(), "text/csv"
        return ask.post("/v1/predict?model=table", content=body, headers={"Content-Type": kind})

    whole = sent(["ñ" * 200, "b", "c"])
    assert whole.json()["answers"][0]["id"] == "ñ" * 200
    problem(sent(["ñ" * 201, "b", "c"]), "contract", "more than 200 characters")
    monkeypatch.setattr(inputs, "open_table", None)  # is not come to
    problem(sent(["a" * 80_000, *["b"] * 2000]), "contract", "more than 200 characters")
