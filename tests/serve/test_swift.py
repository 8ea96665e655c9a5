"""What makes the service swift must not change what it says: the straight way, lone requests, shared writes."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest
from served import client, npy_bytes, problem

from estampa.bundle.store import Bundle
from estampa.errors import BundleError
from estampa.monitor.log import LogWriter, lines_of, read_log
from estampa.predict.source import Chunk
from estampa.serve import notes, queue
from estampa.serve.notes import Note, Notes, Outcome
from estampa.serve.queue import Found, Queue
from made_bundles import make, pictures

NPY = {"Content-Type": "application/x-npy"}


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make(tmp_path_factory.mktemp("swift") / "grey")


def test_the_straight_way_says_what_the_way_through_the_app_says(grey: Bundle) -> None:
    """`&x=1` sends a request through the app; everything but the id of the request must agree."""
    bodies = [npy_bytes(pictures(1)), npy_bytes(pictures(3)), b"", b"\x93NUMPY cut", npy_bytes(np.zeros((2, 9)))]
    with client(models=(f"grey={grey.folder}",)) as one:
        for path in ("/v1/predict", "/classify"):
            for model in ("grey", "nobody", "g" * 64, "g" * 65, "gr%65y"):
                for body in bodies:
                    told = []
                    for more in ("", "&x=1"):
                        headers = NPY | {"X-Request-Id": "the-same-id"}
                        answer = one.post(f"{path}?model={model}{more}", content=body, headers=headers)
                        kept = {k: v for k, v in answer.headers.items() if k != "date"}
                        told.append((answer.status_code, kept, answer.json()))
                    assert told[0] == told[1], (path, model)
        assert one.get("/classify").status_code == 405
        text = one.get("/metrics").text
        assert 'estampa_requests_total{code="200",route="/v1/predict"}' in text
        assert 'route="other"' not in text


def test_an_error_of_a_route_is_a_problem_on_the_straight_way_too(
    grey: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise BundleError("damaged", where="/a/path/of/the/server")

    monkeypatch.setattr("estampa.serve.models.Models.pick", fails)
    with client(grey) as one:
        answer = one.post("/v1/predict", content=npy_bytes(pictures(1)), headers=NPY)
        problem(answer, "internal")
        assert "/a/path" not in answer.text


def asked(bundle: Bundle, counts: list[int], rows: int = 1) -> list[str]:
    """Names of the threads that scored, one request after another, with so many requests open at a time."""
    made: list[str] = []
    original = queue.scored

    def scored(*words: object) -> object:
        made.append(threading.current_thread().name)
        return original(*words)  # type: ignore[arg-type]

    async def run() -> None:
        one = Queue(1, 8)
        for count in counts:
            one.open = range(count)
            found: Found = await one.answer(bundle, Chunk(0, pictures(rows)), np.arange(rows).astype(str), ("output",))
            assert len(found.answers.ids) == rows
        one.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "scored", scored)
        asyncio.run(run())
    return made


def test_a_lone_request_is_scored_at_once_when_that_takes_a_moment(
    grey: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "BRIEF", 60.0)  # whatever else the machine does
    names = asked(grey, [1, 1, 2, 1])
    assert names[0].startswith("score"), "how long it takes is not known yet"
    assert names[1] == names[3] == "MainThread"
    assert names[2].startswith("score"), "another request would have waited"
    assert all(name.startswith("score") for name in asked(grey, [1, 1, 1], rows=2))
    monkeypatch.setattr(queue, "BRIEF", 0.0)
    assert all(name.startswith("score") for name in asked(grey, [1, 1, 1]))


def test_a_model_that_fails_fails_a_lone_request(grey: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "BRIEF", 60.0)

    def fails(*_: object) -> None:
        raise BundleError("the model fails")

    async def run() -> None:
        one = Queue(1, 8)
        one.open = range(1)
        words = (grey, Chunk(0, pictures(1)), np.array(["0"]), ("output",))
        await one.answer(*words)
        monkeypatch.setattr(queue, "scored", fails)
        for _ in range(2):
            with pytest.raises(BundleError):
                await one.answer(*words)
        one.close()

    asyncio.run(run())


def test_lines_that_wait_together_are_those_that_each_would_be(
    tmp_path: Path, grey: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pictures(7)
    scores = [grey.score(images[i : i + 1]) for i in range(7)]
    flags = [["out_of_range"] if i == 3 else [] for i in range(7)]
    groups: list[int] = []

    def counted(bundle: Bundle, rows: np.ndarray, *words: object) -> object:
        groups.append(len(rows))
        return lines_of(bundle, rows, *words)  # type: ignore[arg-type]

    async def run() -> None:
        many = Notes(LogWriter(tmp_path / "many.jsonl"), said.append)
        each = [Note(grey, images[i : i + 1], scores[i], [f"r{i}.0"], [flags[i]]) for i in range(7)]
        await asyncio.gather(*(many.add(note) for note in each))
        many.close()

    said: list[Outcome] = []
    monkeypatch.setattr(notes, "lines_of", counted)
    asyncio.run(run())
    assert groups == [1, 6]
    assert said == [Outcome(0), Outcome(0)]
    alone = LogWriter(tmp_path / "alone.jsonl")
    for i in range(7):
        alone.append(lines_of(grey, images[i : i + 1], scores[i], [f"r{i}.0"], [flags[i]]))
    alone.close()
    found, wanted = (list(read_log(tmp_path / name)) for name in ("many.jsonl", "alone.jsonl"))
    for one, other in zip(found, wanted, strict=True):
        assert (one.id, one.describe, one.flags, one.model) == (other.id, other.describe, other.flags, other.model)
        assert np.allclose(one.components, other.components, atol=1e-6)
        assert one.output == other.output
