"""Limits that hold for what a request unpacks to, and for all requests together."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Client, client, picture_bytes, problem, words_of

import made_tables
from estampa.data.record import ReadRecord
from estampa.serve import inputs
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
