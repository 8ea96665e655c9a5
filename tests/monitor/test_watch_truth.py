"""Answers given twice, and labels from wherever they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from estampa.bundle.store import Bundle
from estampa.data.dataset import Dataset
from estampa.errors import InputError, SourceError
from estampa.monitor.line import moment
from estampa.monitor.log import LogWriter, lines_of
from estampa.monitor.watch import watch
from made_tables import galaxies, make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("truth")


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return make(folder / "model", n=1500)


@pytest.fixture(scope="module")
def log(folder: Path, bundle: Bundle) -> Path:
    raw, _ = galaxies(200, seed=8)
    ids, when = [f"r{i}" for i in range(200)], moment("2026-01-01T10:00:00.000Z")
    LogWriter(folder / "log").append(lines_of(bundle, raw, bundle.score(raw), ids, when=when))
    return folder / "log"


def right(path: Path, n: int = 200) -> Path:
    _, labels = galaxies(200, seed=8)
    path.write_text("id,label\n" + "".join(f"r{i},kind{c}\n" for i, c in enumerate(labels[:n])))
    return path


def table(path: Path, columns: tuple[str, ...], raw: np.ndarray, labels: list[str], ids: list[str]) -> Path:
    """A CSV file with an id, the model's columns, and the answer."""
    rows = [",".join([i, *map(repr, row.tolist()), c]) for i, row, c in zip(ids, raw, labels, strict=True)]
    path.write_text("\n".join([",".join(["id", *columns, "label"]), *rows]) + "\n")
    return path


def test_a_file_that_is_given_twice_is_refused(bundle: Bundle, log: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(log)
    for other in (log, tmp_path / "link"):
        with pytest.raises(InputError, match="is given twice") as raised:
            watch(bundle, [log, other])
        assert str(other) in str(raised.value)


def test_ids_met_again_are_told_and_labelled_once(bundle: Bundle, log: Path, tmp_path: Path) -> None:
    once = watch(bundle, log, labels=right(tmp_path / "l.csv"))
    assert not any("more than once" in note for note in once.notes)
    shutil.copy(log, tmp_path / "copy")
    lines = log.read_text().splitlines(keepends=True)
    (tmp_path / "again").write_text("".join([*lines, *lines[:5], *lines[:2]]))
    for source, said in (([log, tmp_path / "copy"], "200 ids"), (tmp_path / "again", "5 ids")):
        found = watch(bundle, source, labels=tmp_path / "l.csv")
        assert any(note.startswith(f"{said} were met more than once") for note in found.notes)
        assert found.labelled == 200
        assert np.sum(found.confusion) == 200
        assert not any("not met" in note for note in found.notes)


def test_labels_that_match_nothing_leave_the_rate_whole(bundle: Bundle, log: Path, tmp_path: Path) -> None:
    alone = watch(bundle, log)
    (tmp_path / "l.csv").write_text("id,label\nelse,kind1\n")
    found = watch(bundle, log, labels=tmp_path / "l.csv")
    assert found.labelled == 0
    assert [f.score for f in found.figures if f.kind == "input"] == [
        f.score for f in alone.figures if f.kind == "input"
    ]
    known = watch(bundle, log, labels=right(tmp_path / "right.csv", 50))
    assert known.figure("g-r, typical").score != alone.figure("g-r, typical").score


def test_labels_within_the_data_are_used(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    with Dataset.open(folder / "galaxies.h5") as made:
        found = watch(bundle, made, part="test")
        n = len(made.rows("test"))
        columns = made.header.columns
    assert found.labelled == n
    assert any(f"of {n:,} objects" in note for note in found.notes)
    raw, labels = galaxies(200, seed=8)
    kinds, ids = [f"kind{c}" for c in labels.tolist()], [f"r{i}" for i in range(200)]
    kinds[:20] = ["odd"] * 20
    found = watch(bundle, table(tmp_path / "t.csv", columns, raw, kinds, ids), kind="data")
    assert found.labelled == 180
    assert found.figure("share of labels of classes that the model does not know").value == pytest.approx(0.1)
    codes = watch(bundle, table(tmp_path / "c.csv", columns, raw, list(map(str, labels.tolist())), ids), kind="data")
    assert codes.labelled == 200
    assert codes.figure("accuracy").value > 0.7


def test_a_source_serves_as_labels(bundle: Bundle, folder: Path, log: Path, tmp_path: Path) -> None:
    with Dataset.open(folder / "galaxies.h5") as made:
        columns = made.header.columns
    raw, labels = galaxies(200, seed=8)
    kinds, ids = [f"kind{c}" for c in labels.tolist()], [f"r{i}" for i in range(200)]
    path = table(tmp_path / "t.csv", columns, raw, kinds, ids)
    (tmp_path / "t.tsv").write_text(path.read_text().replace(",", "\t"))
    assert watch(bundle, log, labels=tmp_path / "t.tsv").labelled == 200
    np.savez(tmp_path / "l.npz", labels=labels)
    with pytest.raises(SourceError, match=r"no labels could be read.*no array of images.*columns id and label"):
        watch(bundle, log, labels=tmp_path / "l.npz")


def test_data_whose_ids_repeat_take_no_labels(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    with Dataset.open(folder / "galaxies.h5") as made:
        columns = made.header.columns
    raw, labels = galaxies(60, seed=8)
    kinds, ids = [f"kind{c}" for c in labels.tolist()], ["same", "same", *(f"r{i}" for i in range(58))]
    path = table(tmp_path / "t.csv", columns, raw, kinds, ids)
    with pytest.raises(InputError, match="labels are joined by id"):
        watch(bundle, path, labels=right(tmp_path / "l.csv"), kind="data")
    assert watch(bundle, path, kind="data").labelled == 60
