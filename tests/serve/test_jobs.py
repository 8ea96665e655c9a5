"""Batches: zip files of strangers, jobs and what becomes of them."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import page_sets
import pytest
from served import Client, client, npy_bytes, picture_bytes, until, words_of

from estampa.bundle.store import Bundle
from estampa.predict import predict, read_predictions
from estampa.serve import jobs as jobs_module
from estampa.serve.archive import MOST_FILES, unpack
from estampa.serve.jobs import AT_ONCE, WAITING, Jobs
from estampa.serve.models import Version
from estampa.serve.problems import Problem
from estampa.serve.settings import Settings

PNG = picture_bytes(np.full((5, 5, 3), 200, np.uint8))


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", how) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return stream.getvalue()


def entry(name: str, mode: int) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.external_attr = mode << 16
    made.create_system = 3
    return made


# ------------------------------------------------------------------ zip files


def test_an_archive_is_unpacked_without_what_file_managers_leave(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(
        zipped(("x/y.png", PNG), ("__MACOSX/._y.png", b"?"), ("x/.DS_Store", b"?"), ("x/", b""))
    )
    assert unpack(tmp_path / "a.zip", tmp_path / "out", 1 << 20) == 1
    assert [str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()] == ["x/y.png"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (zipped(("../out.png", PNG)), "leads out"),
        (zipped(("/etc/passwd", PNG)), "leads out"),
        (zipped(("a/../../b.png", PNG)), "leads out"),
        (zipped(("a\\..\\b.png", PNG)), "leads out"),
        (zipped(("c:evil.png", PNG)), "leads out"),
        (zipped(("a\nb.png", PNG)), "leads out"),
        (zipped(("/".join("abcdefgh") + ".png", PNG)), "leads out"),
        (zipped((entry("link.png", stat.S_IFLNK | 0o777), b"/etc/passwd")), "link"),
        (zipped((entry("pipe.png", stat.S_IFIFO | 0o600), b"")), "link"),
        (zipped(("a.png", PNG), ("A.PNG", PNG)), "twice"),
        (zipped(("bomb.png", bytes(9 << 20)), how=zipfile.ZIP_DEFLATED), "absurd"),
        (zipped(*[(f"{i}.png", bytes(600_000)) for i in range(40)], how=zipfile.ZIP_DEFLATED), "unpacks to more"),
        (zipped(), "no files"),
        (zipped(("__MACOSX/x", b"")), "no files"),
        (b"PK\x03\x04nonsense", "damaged"),
        (zipped(("a.png", PNG))[:-30], "damaged"),
    ],
)  # fmt: skip
def test_hostile_archives_are_refused_and_nothing_leaves_the_folder(tmp_path: Path, data: bytes, why: str) -> None:
    place = tmp_path / "deep" / "job"
    place.mkdir(parents=True)
    (place / "a.zip").write_bytes(data)
    with pytest.raises(Problem, match=why):
        unpack(place / "a.zip", place / "out", 20 << 20)
    outside = [p for p in tmp_path.rglob("*") if p.is_file() and "out" not in p.parts and p.name != "a.zip"]
    assert not outside


def test_an_archive_of_too_many_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(*[(f"{i}", b"") for i in range(MOST_FILES + 1)]))
    with pytest.raises(Problem, match="allowed are 20,000"):
        unpack(tmp_path / "a.zip", tmp_path / "out", 1 << 20)


def test_an_archive_that_lies_about_its_sizes_stops_at_the_limit(tmp_path: Path) -> None:
    data = bytearray(zipped(("a.png", bytes(900_000)), how=zipfile.ZIP_DEFLATED))
    for at in (m.start() for m in re.finditer((900_000).to_bytes(4, "little"), bytes(data))):
        data[at : at + 4] = (1000).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(bytes(data))
    with pytest.raises(Problem):
        unpack(tmp_path / "a.zip", tmp_path / "out", 5000)
    assert sum(p.stat().st_size for p in (tmp_path / "out").rglob("*") if p.is_file()) <= 5000


# ------------------------------------------------------------------ jobs


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("jobs")
    return {name: getattr(page_sets, name)(folder / name / "model") for name in ("colours", "table")}


@pytest.fixture(scope="module")
def ask(sets: dict[str, Bundle]) -> Iterator[Client]:
    with client(models=words_of(**sets)) as one:
        yield one


def ended(ask: Client, address: str) -> str:
    """The page of a job once it is over."""

    def found() -> str:
        page = ask.get(address).text
        return "" if 'hx-trigger="every 1s"' in page else page

    return str(until(found, 20, "the job goes on"))


def begun(ask: Client, model: str, name: str, data: bytes) -> str:
    answer = ask.post(f"/models/{model}/batch", files={"file": (name, data)}, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def test_a_zip_file_comes_back_as_the_table_that_predict_writes(
    ask: Client, sets: dict[str, Bundle], tmp_path: Path
) -> None:
    draw = np.random.default_rng(0)
    pictures = [(f"s/{i:02}.png", picture_bytes(draw.integers(0, 255, (9, 9, 3), np.uint8))) for i in range(30)]
    hostile = [("=SUM(A1).png", PNG), ("bad.png", b"nonsense")]
    address = begun(ask, "colours", "many.ZIP", zipped(*pictures, *hostile))
    page = ended(ask, address)
    assert "31 objects answered. 1 more could not be answered" in page
    answer = ask.get(f"{address}/answers.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    assert "\n'=SUM(A1).png," in answer.text
    (tmp_path / "back.csv").write_text(answer.text)
    back = read_predictions(tmp_path / "back.csv")
    for name, data in pictures:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    expected = predict(sets["colours"], tmp_path / "in" / "s")
    rows = [list(back.ids).index(name) for name, _ in pictures]
    assert back.predicted[rows].tolist() == expected.predicted.tolist()
    assert np.array_equal(back.probabilities[rows], expected.probabilities)  # type: ignore[index]
    assert ask.post(f"{address}/delete", follow_redirects=False).status_code == 303
    assert ask.get(address).status_code == ask.get(f"{address}/answers.csv").status_code == 404


def test_a_table_comes_back_with_its_answers(ask: Client, sets: dict[str, Bundle]) -> None:
    names = sets["table"].table.column_names
    rows = sets["table"].presets().rows  # type: ignore[union-attr]
    lines = [",".join(["id", *names]), *(f"g{i}," + ",".join(f"{v:.6g}" for v in row) for i, row in enumerate(rows))]
    page = ended(ask, begun(ask, "table", "rows.csv", "\n".join(lines).encode()))
    assert f"{len(rows)} objects answered" in page


def test_only_the_answers_stay_and_not_for_long(ask: Client) -> None:
    address = begun(ask, "colours", "a.npy", npy_bytes(np.zeros((3, 12, 12, 3), np.uint8)))
    ended(ask, address)
    folder = ask.service.settings.scratch / "jobs" / address.rpartition("/")[2]
    assert sorted(p.name for p in folder.iterdir()) == ["answers.csv", "progress.json"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    told = json.loads((folder / "progress.json").read_text())
    assert 0 < told["ends"] - time.time() <= 15 * 60
    (folder / "progress.json").write_text(json.dumps(told | {"ends": time.time() - 1}))
    assert ask.get(address).status_code == 404
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "data", "status", "words"),
    [
        ("a.exe", b"MZ", 415, "Allowed are files that end in .zip"),
        ("", b"", 400, "Choose a file first"),
    ],
)
def test_what_is_no_batch_is_refused_at_once(ask: Client, name: str, data: bytes, status: int, words: str) -> None:
    files: Any = {"file": (name, data)} if name else {"other": (None, "x")}
    answer = ask.post("/models/colours/batch", files=files, follow_redirects=False)
    assert answer.status_code == status
    assert words in answer.text


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("evil.zip", zipped(("../x.png", PNG)), "leads out of it"),
        ("cut.zip", b"PK\x03\x04", "damaged"),
        ("wrong.npy", npy_bytes(np.zeros((3, 12, 12, 2), np.uint8)), "wrong.npy"),
    ],
)
def test_a_job_that_fails_says_why_and_names_no_folder(ask: Client, name: str, data: bytes, words: str) -> None:
    page = ended(ask, begun(ask, "colours", name, data))
    assert "It could not be done" in page
    assert words in page
    assert str(ask.service.settings.scratch) not in page
    assert "/tmp" not in page


def filled(path: Path) -> None:
    path.write_bytes(npy_bytes(np.zeros((40, 12, 12, 3), np.uint8)))


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    one = Jobs(Settings(bundles=("x",), scratch=tmp_path), keep=60)
    yield one
    one.close()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Predictions that wait for this event before each step."""
    event, real = threading.Event(), jobs_module._Told.advance

    def slow(self: Any, count: int = 1, note: str = "") -> None:
        event.wait(20)
        real(self, count, note)

    monkeypatch.setattr(jobs_module._Told, "advance", slow)
    yield event
    event.set()


def test_two_are_scored_at_once_eight_wait_and_no_more(
    jobs: Jobs, held: threading.Event, sets: dict[str, Bundle]
) -> None:
    version = Version(sets["colours"])
    names = [jobs.begin("colours", version, filled, "a.npy") for _ in range(AT_ONCE + WAITING)]
    until(lambda: sum(jobs.state(n).state == "working" for n in names) == AT_ONCE, 10, "they do not start")  # type: ignore[union-attr]
    with pytest.raises(Problem, match="wait already"):
        jobs.begin("colours", version, filled, "a.npy")
    held.set()
    until(lambda: all(jobs.state(n).state == "done" for n in names), 20, "they do not end")  # type: ignore[union-attr]


def test_a_job_stops_when_it_is_deleted(jobs: Jobs, held: threading.Event, sets: dict[str, Bundle]) -> None:
    name = jobs.begin("colours", Version(sets["colours"]), filled, "a.npy")
    until(lambda: jobs.state(name).state == "working", 10, "it does not start")  # type: ignore[union-attr]
    jobs.delete(name)
    held.set()
    until(lambda: not (jobs.folder / name).exists(), 10, "it goes on")
    assert jobs.state(name) is None


def test_a_job_whose_worker_has_died_is_called_lost(jobs: Jobs, held: threading.Event, sets: dict[str, Bundle]) -> None:
    name = jobs.begin("colours", Version(sets["colours"]), filled, "a.npy")
    until(lambda: jobs.state(name).state == "working", 10, "it does not start")  # type: ignore[union-attr]
    path = jobs.folder / name / "progress.json"
    gone = os.spawnlp(os.P_WAIT, "true", "true") or 2**22 - 3  # a number that no process has
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pid": gone}))
    assert jobs.state(name).state == "lost"  # type: ignore[union-attr]
    assert [p.name for p in (jobs.folder / name).iterdir()] == ["progress.json"], "what came is deleted all the same"


def test_jobs_end_with_the_service(tmp_path: Path, held: threading.Event, sets: dict[str, Bundle]) -> None:
    jobs = Jobs(Settings(bundles=("x",), scratch=tmp_path))
    names = [jobs.begin("colours", Version(sets["colours"]), filled, "a.npy") for _ in range(4)]
    until(lambda: jobs.state(names[0]).state == "working", 10, "it does not start")  # type: ignore[union-attr]
    threading.Timer(0.2, held.set).start()
    jobs.close()
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_ids_cannot_be_made_up(jobs: Jobs) -> None:
    for name in ("", "..", "../../etc", "x" * 24, "x" * 25, "turn-0"):
        assert jobs.state(name) is None
        jobs.delete(name)


def test_a_refused_file_is_named_once_whatever_its_name_is(ask: Client) -> None:
    """Its name holds every letter that a path of the server does."""
    name = "aestmpv-jobinrch0123456789.csv"
    page = ended(ask, begun(ask, "table", name, b"semi,colons\n1,2\n"))
    assert "It could not be done" in page
    assert len(page) < 30_000
    assert page.count(name) < 5
