"""Studies: the published numbers, the leak made visible, rows that survive a kill."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from estampa import recipe, studies
from estampa.data.builders import drawings
from estampa.data.dataset import Dataset, DatasetWriter, Header, ReadRecord
from estampa.errors import InputError, StorageError
from estampa.measure import Interval
from estampa.progress import SILENT
from estampa.studies import _ways, emojis, fashion, navigability
from estampa.studies._table import Ledger, Row


def a_row(**more: object) -> Row:
    return Row("ours", "how", {"accuracy": Interval(0.5, 0.4, 0.6)}, 100, {"a": 0.5}, **more)  # type: ignore[arg-type]


def test_a_row_is_made_once_and_then_kept(tmp_path: Path) -> None:
    made = []

    def make() -> Row:
        made.append(1)
        return a_row()

    first = Ledger(tmp_path, SILENT).add("key", make)
    second = Ledger(tmp_path, SILENT).add("key", make)
    assert len(made) == 1
    assert first == second
    assert first.seconds is not None


def test_a_damaged_row_is_named_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text("{half")
    with pytest.raises(StorageError, match=r"key\.json: is damaged.*Remove it"):
        Ledger(tmp_path, SILENT).add("key", a_row)


def test_a_folder_with_rows_of_other_data_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path, SILENT).bind("abc")
    Ledger(tmp_path, SILENT).bind("abc")
    with pytest.raises(InputError, match="holds rows of other data"):
        Ledger(tmp_path, SILENT).bind("def")


def test_the_published_figures_are_those_printed() -> None:
    assert fashion.ACCURACY == 0.8951
    assert np.mean(fashion.RECALLS) == pytest.approx(0.8951, abs=5e-5)  # balanced classes: the mean recall is accuracy
    assert emojis.ACCURACY == 0.9895
    row = _ways.published(0.8951, 10_000, "how", {}, 93_322)
    interval = row.metrics["accuracy"]
    assert (interval.low, interval.high) == pytest.approx((0.88894, 0.90096), abs=2e-4)


def test_an_unknown_study_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'fashion'"):
        studies.reproduce("fasion")


def test_missing_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is nothing"):
        studies.reproduce("emojis", data=tmp_path / "none.npz", output=tmp_path / "out")


def test_other_data_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((8, 9, 9), np.uint8), y=np.arange(8) % 2)
    with pytest.raises(InputError, match="is not the emojis set"):
        studies.reproduce("emojis", data=tmp_path / "x.npz", output=tmp_path / "out")


@pytest.fixture
def planted(tmp_path: Path) -> Dataset:
    """Labels at random: no honest fold can score above chance."""
    random = np.random.default_rng(5)
    n = 150
    header = Header(
        n=n, shape=(32, 32, 1), dtype="uint8", task="classification", classes=drawings.CLASSES,
        read=ReadRecord(source="arrays"),
    )  # fmt: skip
    writer = DatasetWriter(
        tmp_path / "planted.h5", header, ids=[f"i{k}" for k in range(n)], labels=random.permutation(n) % 5,
        fingerprint="planted",
    )  # fmt: skip
    writer.write(0, (random.random((n, 32, 32, 1)) < 0.3).astype(np.uint8))
    return writer.finish()


def test_the_published_way_scores_on_labels_planted_at_random_and_the_right_way_does_not(
    planted: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = recipe.read("emojis").with_values({"train.epochs": 12, "train.batch": 16, "train.threads": 1})
    monkeypatch.setattr(_ways.recipe, "read", lambda _name: quick)
    fold = np.random.default_rng(0).permutation(planted.n) % 5
    leaking = _ways.folds_as_published(planted, "emojis", fold, SILENT)
    later = fold > 0
    leaked = (leaking.argmax(1) == planted.labels)[later].mean()
    right = _ways.crossval(planted, quick, 5).judgement.metrics["accuracy"]
    assert leaked > 0.6
    assert right.high < 0.4


@pytest.mark.timeout(600)
def test_emojis_without_data_is_simulated_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ESTAMPA_DATA", raising=False)
    few = drawings.build(tmp_path / "few.h5", {"people": "6", "each": "3"})
    monkeypatch.setattr(emojis, "build", lambda *_words, **_more: few)
    monkeypatch.setenv("ESTAMPA_TRAIN_EPOCHS", "1")
    read = recipe.read
    monkeypatch.setattr(_ways.recipe, "read", lambda name: read(name).with_values({"train.epochs": 1}))
    made = studies.reproduce("emojis", output=tmp_path / "out")
    assert [r.way for r in made.rows].count("as published, run here") == 2
    assert any("SIMULATED" in note for note in made.notes)
    record = json.loads((tmp_path / "out" / "table.json").read_text())
    assert record["rows"][0]["comparable"] is False
    assert {r["way"] for r in record["rows"]} == set(studies.WAYS)
    for row in record["rows"]:
        interval = row["metrics"]["accuracy"]
        assert interval["low"] <= interval["value"] <= interval["high"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "trained on through all folds" in page
    assert "emojis on " in "\n".join(made.lines())


def test_the_published_reshape_mixes_the_four_images() -> None:
    patch = np.stack([np.full((20, 20), k, np.float32) for k in range(4)], -1)[None]
    assert [set(patch[0, ..., c].ravel()) for c in range(4)] == [{0}, {1}, {2}, {3}]
    joined = navigability.mixed(patch)
    assert joined.shape == patch.shape
    assert [set(joined[0, :5, :, c].ravel()) for c in range(4)] == [{0}] * 4  # the first image fills the upper quarter
    assert [set(joined[0, ..., c].ravel()) for c in range(4)] == [{0, 1, 2, 3}] * 4
    images = np.random.default_rng(0).normal(size=(7, 4, 20, 20))  # as a pickled record holds them
    np.testing.assert_array_equal(navigability.mixed(np.moveaxis(images, 1, -1)), images.reshape(7, 20, 20, 4))


def quick_terrain(monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    read = recipe.read
    monkeypatch.setattr(
        recipe, "read", lambda name: read(name).with_values({"train.epochs": epochs, "train.threads": 1})
    )


@pytest.mark.timeout(600)
def test_navigability_on_an_elevation_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    np.savez(tmp_path / "dem.npz", height_m=random.normal(size=(180, 180)).cumsum(0).cumsum(1) / 30, pixel_m=10.0)
    quick_terrain(monkeypatch, 2)
    made = studies.reproduce("navigability", data=tmp_path / "dem.npz", output=tmp_path / "out")
    record = json.loads((tmp_path / "out" / "table.json").read_text())
    assert [r["way"] for r in record["rows"]] == [
        "published", "as published, run here", "done right", "done right", "done right", "ours",
    ]  # fmt: skip
    assert record["rows"][0]["metrics"]["mse"]["value"] == 0.3367
    assert record["rows"][0]["comparable"] is False
    assert record["rows"][1]["parameters"] == record["rows"][3]["parameters"] == 60_833
    assert "stand in different folds" in record["rows"][2]["fault"]
    reached = [row.metrics["mse"].value for row in made.rows]
    for other, name in zip((3, 4), navigability.DIFFERENCES.values(), strict=True):
        pair = record["rows"][5]["metrics"][name]
        assert pair["low"] <= pair["value"] <= pair["high"]
        assert pair["value"] == pytest.approx(reached[5] - reached[other])
    said = "\n".join(made.lines())
    assert "DERIVED" in said
    assert "SIMULATED" not in said
    again = studies.reproduce("navigability", data=tmp_path / "dem.npz", output=tmp_path / "out")
    assert [r.metrics for r in again.rows] == [r.metrics for r in made.rows]  # rows are kept, nothing is trained


def test_other_data_than_patches_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((8, 20, 20, 4), np.uint8), y=np.arange(8) % 2)
    with pytest.raises(InputError, match="is not a navigability set"):
        studies.reproduce("navigability", data=tmp_path / "x.npz", output=tmp_path / "out")


@pytest.mark.timeout(600)
def test_navigability_on_the_studys_own_layout_has_folds_at_random(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    records = [
        [float(random.uniform(1, 4)), None, *random.integers(0, 256, (4, 20, 20)).astype(np.uint8)] for _ in range(60)
    ]
    (tmp_path / "navigability").write_bytes(pickle.dumps(records))
    quick_terrain(monkeypatch, 1)
    made = studies.reproduce("navigability", data=tmp_path / "navigability", output=tmp_path / "out")
    assert [r.way for r in made.rows] == ["published", "as published, run here", "done right", "done right", "ours"]
    assert all("at random" in r.how for r in made.rows)
    said = "\n".join(made.notes)
    assert "name no areas" in said
    assert "DERIVED" not in said
