"""What keeps a service going when something around it fails: the log, the registry, jobs, the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import Client, client, npy_bytes, until

from estampa.bundle.store import Bundle
from estampa.errors import BundleError
from estampa.monitor import line
from estampa.monitor.registry import Registry
from estampa.serve import notes
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
