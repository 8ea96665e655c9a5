"""Bundle and data to a table: checked before the work, streamed, the same after a kill."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from estampa.bundle.store import Bundle
from estampa.cli import application
from estampa.data.dataset import Dataset, DatasetWriter, Header, ReadRecord
from estampa.data.read import ReadOptions, build
from estampa.errors import ContractError, InputError, Interrupted, SourceError, StorageError
from estampa.plain import csv_plain, csv_safe
from estampa.predict import predict, read_predictions
from estampa.predict.source import ArrayRows
from made_bundles import SHAPE, make, pictures

CLASSES = ("id", "p_x", "=1+cmd|' /C calc'!A0", 'ñandú, "x"')


def dataset(path: Path, images: np.ndarray, **header: object) -> Dataset:
    told = Header(len(images), images.shape[1:], str(images.dtype), "unlabelled", **header)
    ids = [f"object {i}" for i in range(len(images))]
    split = (np.arange(len(images)) % 4).astype(np.uint8)
    writer = DatasetWriter(path, told, ids=ids, labels=None, split=split, fingerprint="test")
    writer.write(0, images)
    return writer.finish()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make(tmp_path_factory.mktemp("run") / "model", classes=CLASSES)


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make(tmp_path_factory.mktemp("floats") / "model", dtype="float32", thresholds={"confidence": 0.56})


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset(tmp_path_factory.mktemp("data") / "many.h5", pictures(20_000))


# ------------------------------------------------------------------------------------------------ the table


def test_the_table_is_what_design_says(bundle: Bundle, many: Dataset, tmp_path: Path) -> None:
    found = predict(bundle, many, tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["id", "predicted", *(f"p_{c}" for c in CLASSES), "flags", "model"]
    assert len(rows) == 20_001
    output = bundle.score(many.images[:50]).output
    for i, row in enumerate(rows[1:51]):
        assert row[0] == f"object {i}"
        assert csv_plain(row[1]) == CLASSES[output[i].argmax()]
        np.testing.assert_array_equal(np.array(row[2:6], np.float32), output[i])
        assert row[6:] == ["", bundle.hash]
    assert (found.n, found.bad, len(found)) == (20_000, 0, 20_000)
    assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob("*.journal"))


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl", "p.parquet"])
def test_every_format_holds_the_same(bundle: Bundle, many: Dataset, tmp_path: Path, name: str) -> None:
    part = predict(bundle, many, part="validation")
    predict(bundle, many, tmp_path / name, part="validation")
    back = read_predictions(tmp_path / name)
    assert back.classes == CLASSES
    assert back.model == bundle.hash
    np.testing.assert_array_equal(back.ids, part.ids)
    np.testing.assert_array_equal(back.predicted, part.predicted)
    np.testing.assert_array_equal(back.probabilities, part.probabilities)
    assert back.ids[0] == "object 2"


def test_parquet_has_typed_columns(bundle: Bundle, tmp_path: Path) -> None:
    from pyarrow import parquet

    predict(bundle, pictures(9), tmp_path / "p.parquet")
    kinds = {f.name: str(f.type) for f in parquet.read_schema(tmp_path / "p.parquet")}
    assert list(kinds) == ["id", "predicted", *(f"p_{c}" for c in CLASSES), "flags", "model"]
    assert kinds["p_id"] == "float"
    assert kinds["id"] == "string"


def test_labels_only_are_lines_in_row_order(bundle: Bundle, many: Dataset, tmp_path: Path) -> None:
    predict(bundle, many, tmp_path / "labels.txt", labels_only=True)
    with (tmp_path / "labels.txt").open(newline="") as stream:
        lines = [csv_plain(row[0]) for row in csv.reader(stream)]
    np.testing.assert_array_equal(lines, predict(bundle, many).predicted)


def test_regression_has_values(tmp_path: Path) -> None:
    ours = make(tmp_path / "m", classes=(), task="regression")
    found = predict(ours, pictures(5), tmp_path / "p.csv")
    rows = list(csv.reader((tmp_path / "p.csv").read_text().splitlines()))
    assert rows[0] == ["id", "predicted", "flags", "model"]
    np.testing.assert_array_equal(found.predicted, ours.score(pictures(5)).output)
    assert found.probabilities is None
    assert read_predictions(tmp_path / "p.csv").predicted.dtype == np.float32


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_object_knows_how_its_file_was_written(bundle: Bundle, tmp_path: Path, kind: str) -> None:
    images = pictures(30)
    images[0] = 0
    there = predict(bundle, images)
    found = predict(bundle, images, tmp_path / "answers.txt", format=kind)
    assert "10 rows more" in found._repr_html_()
    assert found._repr_html_().split("<table>")[1] == there._repr_html_().split("<table>")[1]
    assert "_answers" not in vars(found), "a table of 20 rows does not read the whole file"
    np.testing.assert_array_equal(found.predicted, there.predicted)
    np.testing.assert_array_equal(found.probabilities, there.probabilities)
    np.testing.assert_array_equal(found.ids, there.ids)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_labels_alone_can_be_read_back(tmp_path: Path, task: str) -> None:
    ours = make(tmp_path / "m", classes=CLASSES if task == "classification" else (), task=task)
    found = predict(ours, pictures(30), tmp_path / "labels.csv", labels_only=True)
    np.testing.assert_array_equal(found.predicted, predict(ours, pictures(30)).predicted)
    assert "10 rows more" in found._repr_html_()
    with pytest.raises(SourceError, match="holds the predictions alone"):
        _ = found.ids


def test_it_is_pleasant_in_a_notebook(bundle: Bundle) -> None:
    found = predict(bundle, pictures(30))
    page = found._repr_html_()
    assert "<table>" in page
    assert "10 rows more" in page
    assert "ñandú, &quot;x&quot;" in page
    assert bundle.hash in repr(found)


def test_to_csv_writes_the_same_table(bundle: Bundle, tmp_path: Path) -> None:
    predict(bundle, pictures(30), tmp_path / "a.csv")
    predict(bundle, pictures(30)).to_csv(tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@given(st.text(max_size=12))
def test_the_guard_against_formulas_is_exact(text: str) -> None:
    safe = csv_safe(text)
    assert csv_plain(safe) == text
    number = text.strip() == text and _is_number(text)
    assert number or not safe.startswith(("=", "+", "-", "@", "\t", "\r"))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("@x", "'@x"),
        ("-5.2e3", "-5.2e3"),
        ("-x", "'-x"),
        ("'=1", "''=1"),
        ("'tis", "'tis"),
        ("a=1", "a=1"),
    ],
)
def test_formulas_are_guarded_and_numbers_are_not(text: str, safe: str) -> None:
    assert csv_safe(text) == safe


# ------------------------------------------------------------------------------------------------ refused beforehand


@pytest.mark.parametrize(
    ("images", "ours", "theirs"),
    [
        (np.zeros((3, 6, 5, 3), "u1"), "6 x 5 x 1 uint8", "6 x 5 x 3 uint8"),
        (np.zeros((3, 6, 5, 1), "f4"), "6 x 5 x 1 uint8", "6 x 5 x 1 float32"),
        (np.zeros((3, 7, 5, 1), "u1"), "6 x 5 x 1 uint8", "7 x 5 x 1 uint8"),
    ],
)
def test_another_input_is_refused_before_anything_is_written(
    bundle: Bundle, tmp_path: Path, images: np.ndarray, ours: str, theirs: str
) -> None:
    for data in (images, dataset(tmp_path / "x.h5", images)):
        with pytest.raises(ContractError) as caught:
            predict(bundle, data, tmp_path / "p.csv")
        assert ours in str(caught.value)
        assert theirs in str(caught.value)
        assert caught.value.exit_code == 2
    assert not list(tmp_path.glob("p.csv*"))


def test_another_scale_is_refused(floats: Bundle, tmp_path: Path) -> None:
    counts = pictures(20).astype(np.float32)
    with pytest.raises(ContractError, match="another scale"):
        predict(floats, dataset(tmp_path / "x.h5", counts), tmp_path / "p.csv")


def test_outputs_are_checked_before_the_work(bundle: Bundle, many: Dataset, tmp_path: Path) -> None:
    def fails(error: type[Exception], words: str, target: Path, **how: object) -> None:
        with pytest.raises(error, match=words):
            predict(bundle, many, target, **how)

    fails(InputError, "does not say the format.*csv", tmp_path / "p.xlsx")
    fails(InputError, "unknown format 'cvs'.*Did you mean 'csv'", tmp_path / "p.x", format="cvs")
    fails(InputError, "is a folder", tmp_path, format="csv")
    fails(InputError, "read and written at once", many.path, format="csv")
    fails(InputError, "beside it, in the run folder", bundle.folder / "p.csv")
    fails(InputError, "lines of text", tmp_path / "p.parquet", format="parquet", labels_only=True)
    (tmp_path / "file").write_text("")
    fails(StorageError, "its folder is a file", tmp_path / "file" / "p.csv")
    assert Bundle.open(bundle.folder).hash == bundle.hash


def test_a_part_must_be_there(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only a Dataset has parts"):
        predict(bundle, pictures(3), part="test")
    with pytest.raises(InputError, match="four axes"):
        predict(bundle, pictures(3)[0])
    with pytest.raises(InputError, match="four axes"):
        predict(bundle, pictures(3)[:0])


def test_an_empty_folder_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError):
        predict(bundle, tmp_path / "empty")


def test_strangers_are_not_read_as_predictions(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SourceError, match="not a file of predictions"):
        read_predictions(tmp_path / "x.csv")


# ------------------------------------------------------------------------------------------------ flags


def test_doubts_are_flagged(floats: Bundle) -> None:
    images = pictures(30, dtype="float32")
    images[3] += 9
    images[4, 2, 2] = np.nan
    images[5] = np.nan
    images[6] = 0.5
    found = predict(floats, images)
    assert found.flags[3] == "out_of_range"
    assert found.flags[4].startswith("not_finite")
    assert found.flags[5] == "unreadable:no finite pixel"
    assert found.predicted[5] == ""
    assert np.isnan(found.probabilities[5]).all()
    assert "low_confidence" in found.flags[6]
    assert found.bad == 1
    assert found.counts["unreadable"] == 1
    line = found.to_csv().splitlines()[6]
    assert line == f"5,,,,unreadable:no finite pixel,{floats.hash}"
    assert json.loads(found.to_text("jsonl").splitlines()[5])["probabilities"] is None


def test_refused_pixels_are_an_error_row(tmp_path: Path) -> None:
    strict = make(tmp_path / "m", dtype="float32", nan="refuse")
    images = pictures(9, dtype="float32")
    images[2, 0, 0] = np.inf
    found = predict(strict, images)
    assert found.flags[2].startswith("unreadable:pixels that are not finite")
    assert found.bad == 1


def test_a_decision_threshold_moves_the_answer(tmp_path: Path) -> None:
    images = pictures(50)
    plain = predict(make(tmp_path / "a"), images)
    bold = predict(make(tmp_path / "b", thresholds={"decision": 0.4}), images)
    light = plain.probabilities[:, 1] >= np.float32(0.4)
    np.testing.assert_array_equal(bold.predicted == "light", light)
    assert light.sum() > (plain.predicted == "light").sum()


# ------------------------------------------------------------------------------------------------ pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    where = tmp_path / "pictures"
    where.mkdir()
    for i, picture in enumerate(pictures(12, (24, 20, 1))):
        Image.fromarray(picture[..., 0]).save(where / f"{i:02}.png")
    (where / "05.png").write_bytes((where / "05.png").read_bytes()[:60])
    (where / "07 ñ.jpg").write_text("not a picture")
    return where


def test_a_bad_picture_gets_its_row_and_the_rest_is_finished(folder: Path, tmp_path: Path) -> None:
    record = ReadRecord(source="folder", mode="L", size=SHAPE[:2])
    ours = make(tmp_path / "run" / "model", read=record)
    target = tmp_path / "p.csv"
    ended = CliRunner().invoke(
        application("predict"), ["predict", str(tmp_path / "run"), str(folder), "-o", str(target), "--json"]
    )
    assert ended.exit_code == 1, ended.stderr
    told = json.loads(ended.stdout)
    assert told["n"] == 13
    assert told["bad"] == 2
    assert "2 rows have no answer" in ended.stderr
    assert "Traceback" not in ended.stderr
    rows = list(csv.DictReader(target.read_text().splitlines()))
    bad = [r for r in rows if r["flags"].startswith("unreadable:")]
    assert len(rows) == 13
    assert len(bad) == 2
    assert all(r["predicted"] == "" and r["p_dark"] == "" for r in bad)
    assert all(r["predicted"] for r in rows if r not in bad)
    assert {r["model"] for r in rows} == {ours.hash}


def test_pictures_are_read_as_the_training_pictures_were(tmp_path: Path) -> None:
    """Scoring the files gives what scoring a Dataset built from them gives: mode, size, fit and all."""
    draw = np.random.default_rng(3)
    for i, name in enumerate(["ñandú", "=b"] * 5):
        (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
        picture = draw.integers(0, 256, (30 + i, 45 - i, 3), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / "set" / name / f"{i}.jpg")
    built = build(tmp_path / "set", tmp_path / "set.h5", ReadOptions(size=(16, 12), fit="pad", mode="L"))
    ours = make(tmp_path / "m", shape=(16, 12, 1), read=built.header.read)
    files, rows = predict(ours, tmp_path / "set"), predict(ours, built)
    np.testing.assert_array_equal(files.ids, rows.ids)
    np.testing.assert_array_equal(files.probabilities, rows.probabilities)
    other = build(tmp_path / "set", tmp_path / "other.h5", ReadOptions(size=(16, 12), fit="stretch", mode="L"))
    with pytest.raises(ContractError, match="'stretch', not 'pad'"):
        predict(ours, other)


# ------------------------------------------------------------------------------------------------ killed, stopped, full

SLOW = """
import sys, time
from estampa.predict import predict, journal
from estampa.predict.source import DatasetRows
journal._EVERY = 0.0
genuine = DatasetRows.chunks
def slowly(self, start, size):
    for i, chunk in enumerate(genuine(self, start, size)):
        if i == 2:
            print("under way", flush=True)
            time.sleep(60)
        yield chunk
DatasetRows.chunks = slowly
predict(sys.argv[1], sys.argv[2], sys.argv[3])
"""


def start(bundle: Bundle, many: Dataset, target: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", SLOW, str(bundle.folder), str(many.path), str(target)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "under way\n"
    return process


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_goes_on_to_the_same_bytes(
    bundle: Bundle, many: Dataset, tmp_path: Path, name: str, blow: signal.Signals
) -> None:
    predict(bundle, many, tmp_path / f"whole.{name}")
    process = start(bundle, many, tmp_path / name)
    process.send_signal(blow)
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0
    if blow == signal.SIGINT:
        assert "Interrupted" in said
        assert "2,048 of 20,000 rows are saved" in said
    assert not (tmp_path / name).exists()
    with (tmp_path / f"{name}.part").open("ab") as stream:  # as if the kill had come amid a write
        stream.write(b"half a li")
    lines: list[str] = []
    found = predict(bundle, many, tmp_path / name, progress=Listener(lines))
    assert any("goes on after" in line for line in lines)
    assert found.n == 20_000
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole.{name}").read_bytes()
    assert sorted(p.name for p in tmp_path.glob(f"{name}*")) == [name]


class Listener:
    def __init__(self, lines: list[str]) -> None:
        self.say = lines.append
        self.warn = lines.append

    def start(self, what: str, total: int | None, unit: str) -> None: ...
    def advance(self, count: int = 1, note: str = "") -> None: ...
    def finish(self, note: str = "") -> None: ...


def stopped(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    genuine = ArrayRows.chunks

    def chunks(self: ArrayRows, at: int, size: int) -> Iterator[object]:
        for i, chunk in enumerate(genuine(self, at, size)):
            if i == after:
                raise KeyboardInterrupt
            yield chunk

    monkeypatch.setattr(ArrayRows, "chunks", chunks)


def test_ctrl_c_saves_what_is_done(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, target = pictures(10_000), tmp_path / "p.csv"
    with monkeypatch.context() as patch:
        stopped(patch, 1)
        with pytest.raises(Interrupted, match="1,024 of 10,000 rows are saved") as caught:
            predict(bundle, images, target)
    assert caught.value.exit_code == 130
    lines: list[str] = []
    predict(bundle, images, target, progress=Listener(lines))
    assert "goes on after 1,024 of 10,000 rows" in lines[0]
    assert len(target.read_text().splitlines()) == 10_001


@pytest.mark.parametrize("change", ["model", "data", "journal"])
def test_what_was_begun_otherwise_is_begun_anew(
    bundle: Bundle, floats: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    images, target = pictures(10_000), tmp_path / "p.csv"
    with monkeypatch.context() as patch:
        stopped(patch, 1)
        with pytest.raises(Interrupted):
            predict(bundle, images, target)
    if change == "journal":
        (tmp_path / "p.csv.journal").write_bytes(b"\x00\xffnonsense")
    ours = make(tmp_path / "other") if change == "model" else bundle
    data = 255 - images if change == "data" else images
    lines: list[str] = []
    predict(ours, data, target, progress=Listener(lines))
    assert not lines
    predict(ours, data, tmp_path / "whole.csv")
    assert target.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_two_runs_do_not_write_one_file(bundle: Bundle, many: Dataset, tmp_path: Path) -> None:
    process = start(bundle, many, tmp_path / "p.csv")
    with pytest.raises(InputError, match="another run is writing it"):
        predict(bundle, many, tmp_path / "p.csv")
    process.kill()
    process.communicate()


def test_an_older_file_stays_until_the_new_one_is_whole(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "p.csv"
    target.write_text("old")
    with monkeypatch.context() as patch:
        stopped(patch, 1)
        with pytest.raises(Interrupted):
            predict(bundle, pictures(5000), target)
    assert target.read_text() == "old"
    predict(bundle, pictures(5000), target)
    assert target.read_text() != "old"


FULL = """
import resource, sys
from estampa.errors import StorageError
from estampa.predict import predict
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
try:
    predict(sys.argv[1], sys.argv[2], sys.argv[3])
except StorageError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_full_disk_is_an_error_and_the_run_goes_on_later(bundle: Bundle, many: Dataset, tmp_path: Path) -> None:
    """A file-size limit stands in for the disk: the system refuses the write within a line."""
    words = [sys.executable, "-c", FULL, str(bundle.folder), str(many.path), str(tmp_path / "p.csv")]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr
    assert "the disk is full" in ended.stdout
    assert not (tmp_path / "p.csv").exists()
    predict(bundle, many, tmp_path / "p.csv")
    predict(bundle, many, tmp_path / "whole.csv")
    assert (tmp_path / "p.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


# ------------------------------------------------------------------------------------------------ memory

GROWTH = """
import resource, sys
from estampa.bundle.store import Bundle
from estampa.data.read import ReadOptions, build
from estampa.data.dataset import Dataset
from estampa.predict import predict
bundle, data = Bundle.open(sys.argv[1]), Dataset.open(sys.argv[2])
predict(bundle, data, sys.argv[3] + ".first.csv", part="train")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
predict(bundle, data, sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_stays_flat(tmp_path: Path) -> None:
    """300 MB of pictures, of which a run may keep no more than a few chunks."""
    shape = (32, 32, 3)
    ours = make(tmp_path / "m", shape=shape)
    path = tmp_path / "big.h5"
    n, block = 100_000, pictures(5_000, shape)
    split = np.zeros(n, np.uint8)
    split[:8192] = 1
    writer = DatasetWriter(
        path, Header(n, shape, "uint8", "unlabelled"), ids=[str(i) for i in range(n)], labels=None, split=split,
        fingerprint="x",
    )  # fmt: skip
    for at in range(0, n, len(block)):
        writer.write(at, block)
    writer.finish()
    words = [sys.executable, "-c", GROWTH, str(ours.folder), str(path), str(tmp_path / "p.csv")]
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    assert int(ended.stdout) < 100_000  # KiB; the pictures are 300,000
