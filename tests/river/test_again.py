"""A challenger by the champion's own recipe: what it may learn from, and the whole way by command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import made_pairs as pairs
from estampa import pipeline
from estampa.bundle.store import Bundle
from estampa.cli import main
from estampa.data.dataset import Dataset, DatasetWriter, Header, ReadRecord
from estampa.data.deal import NONE, TEST, TRAIN
from estampa.data.grow import settled
from estampa.errors import CheckFailed, ContractError, InputError
from estampa.evaluate.labels import recipe_of
from estampa.monitor.compare import compare
from estampa.predict.parts import held_of
from estampa.progress import SILENT
from estampa.river import again
from estampa.river.again import DATA, gathered
from made_tables import COLUMNS, UNITS, dataset, galaxies, make


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A forest of galaxies.h5 beside it: 360 rows learned from, 120 tested on."""
    from sklearn.tree import DecisionTreeClassifier

    return make(tmp_path_factory.mktemp("champion") / "model", DecisionTreeClassifier(max_depth=3, random_state=0))


def old_of(champion: Bundle) -> Dataset:
    return Dataset.open(champion.folder.parent / "galaxies.h5")


def fresh(
    path: Path, values: np.ndarray, labels: np.ndarray, split: np.ndarray | None = None,
    classes: tuple[str, ...] = ("kind0", "kind1"),
) -> Dataset:  # fmt: skip
    """A Dataset of a table without parts, unless they are given."""
    header = Header(
        len(values), None, "", "classification", classes, columns=COLUMNS, column_units=UNITS,
        read=ReadRecord(source="table"),
    )  # fmt: skip
    ids = [f"{path.stem}{i}" for i in range(len(values))]
    writer = DatasetWriter(path, header, ids=ids, labels=labels, split=split, fingerprint=path.stem)
    writer.put_table(values)
    return writer.finish()


def mixed(champion: Bundle, path: Path, split: np.ndarray | None = None) -> tuple[Dataset, np.ndarray]:
    """150 new rows, then 40 that the champion was tested on; and which these are."""
    values, labels = galaxies(150, seed=7)
    old = old_of(champion)
    rows = old.rows("test")[:40]
    known = np.arange(190) >= 150
    data = fresh(path, np.vstack([values, old.table_rows(rows)]), np.concatenate([labels, old.labels[rows]]), split)
    return data, known


def test_what_the_champion_was_tested_on_is_kept_aside(champion: Bundle, tmp_path: Path) -> None:
    new, known = mixed(champion, tmp_path / "new.h5")
    data, said = gathered(champion, new, None, tmp_path, SILENT)
    tested = held_of(champion, "test")[1]
    assert not np.isin(data.hashes[data.rows("train")], tested).any()
    assert not np.isin(data.hashes[data.rows("validation")], tested).any()
    assert set(np.flatnonzero(known)) <= set(data.rows("test").tolist())
    assert "kept" not in said[1]
    assert "40 objects are of the champion's test part" in said[1]
    assert len(data.rows("train")) > 90, "the other rows are dealt as ever"


def test_parts_that_would_leak_are_refused(champion: Bundle, tmp_path: Path) -> None:
    split = np.array([1, 1, 1, 2, 3], np.uint8)[np.arange(190) % 5]
    new, _ = mixed(champion, tmp_path / "new.h5", split)
    marked = new.with_split(split, {"test": 0.2, "validation": 0.2, "seed": 0, "grouped": False, "published": False})
    with pytest.raises(CheckFailed, match=r"32 rows of its train and validation parts are of the champion's test part"):
        gathered(champion, marked, None, tmp_path, SILENT)
    good = np.where(np.arange(190) >= 150, 3, split).astype(np.uint8)
    data, _ = gathered(champion, new.with_split(good, marked.split_record), None, tmp_path, SILENT)
    assert np.array_equal(data.split, good)


def test_old_parts_are_the_champions_own(champion: Bundle, tmp_path: Path) -> None:
    old = old_of(champion)
    forgotten = old.with_split(np.zeros(old.n, np.uint8), {})  # as raw files are read again: no parts
    new, _ = mixed(champion, tmp_path / "new.h5")
    data, said = gathered(champion, new, forgotten, tmp_path, SILENT)
    assert data.path == tmp_path / DATA
    assert data.n == old.n + 150, "copies of old rows are left out"
    assert np.array_equal(data.split[: old.n], old.split)
    counts = np.bincount(data.split[old.n :], minlength=4)
    assert counts[1:].min() >= 20, "the new ones are in every part"
    assert any("its parts are kept" in line for line in said)
    tested = held_of(champion, "test")[1]
    assert not np.isin(data.hashes[data.rows("train")], tested).any()


def test_old_data_that_the_champion_never_saw(champion: Bundle, tmp_path: Path) -> None:
    values, labels = galaxies(100, seed=3)
    other = fresh(tmp_path / "other.h5", values, labels)
    new, _ = mixed(champion, tmp_path / "new.h5")
    data, _ = gathered(champion, new, other, tmp_path, SILENT)
    tested = held_of(champion, "test")[1]
    assert data.n == 290
    assert np.isin(data.hashes[data.rows("test")], tested).sum() == 40
    assert not np.isin(data.hashes[data.rows("train")], tested).any()


def test_new_data_keep_parts_of_their_own(champion: Bundle, tmp_path: Path) -> None:
    """What people chose to label is learned from and in no other part, with old data and without."""
    old = old_of(champion)
    values, labels = galaxies(200, seed=9)
    near, far = old.table_rows(old.rows("test")[:10]) * (1 + 1e-7), np.arange(200)
    split = np.select([far % 10 < 6, far % 10 == 6, far % 10 == 7, far % 10 == 8], [1, 2, 3, 0], 1).astype(np.uint8)
    rows = np.vstack([values, near])
    new = fresh(tmp_path / "new.h5", rows, np.r_[labels, np.zeros(10, int)], np.r_[split, np.full(10, 3)])
    new = new.with_split(np.asarray(new.split), {"seed": 0, "gathered": {"train": 40, "none": 20}})
    alone, _ = gathered(champion, new, None, tmp_path, SILENT)
    assert np.array_equal(alone.split, new.split)
    data, said = gathered(champion, new, old, tmp_path, SILENT)
    assert np.array_equal(data.split[: old.n], old.split)
    assert np.array_equal(data.split[old.n : old.n + 200], split), "what is in no part is not dealt"
    assert "210 added to" in " ".join(said)
    assert (data.path.stat().st_mode | new.path.stat().st_mode) & 0o077, "as open as both were"
    new.path.chmod(0o600)
    data, _ = gathered(champion, new, old, tmp_path, SILENT)
    assert data.path.stat().st_mode & 0o777 == 0o600


def test_own_parts_yield_to_old_ones_of_their_unit() -> None:
    given, own = np.array([TEST, TRAIN, TRAIN, TEST, NONE, TRAIN], np.uint8), np.array([0, 1, 0, 0, 0, 1])
    stated = np.array([False, False, True, True, True, True])
    parts, lost = settled(given, own, stated, stated)
    assert parts.tolist() == [TEST, TRAIN, NONE, TEST, NONE, TRAIN]
    assert lost == 1


def test_another_task_is_refused(champion: Bundle, tmp_path: Path) -> None:
    values, _ = galaxies(60)
    bare = dataset(tmp_path / "bare.h5", values, None)
    with pytest.raises(ContractError, match=r"another task.*Allowed: classification.*Got: unlabelled.*--label"):
        gathered(champion, bare, None, tmp_path, SILENT)


def test_new_and_lost_classes_are_said(champion: Bundle, tmp_path: Path) -> None:
    values, labels = galaxies(120, seed=3)
    three = fresh(tmp_path / "three.h5", values, np.arange(120) % 3, classes=("kind0", "kind1", "ring"))
    data, said = gathered(champion, three, None, tmp_path, SILENT)
    assert data.classes == ("kind0", "kind1", "ring")
    assert said[1] == "New classes, which the champion does not know: ring (40 objects)."
    new = fresh(tmp_path / "lost.h5", values, np.where(labels == 1, 1, 0), classes=("ring", "kind1"))
    _, said = gathered(champion, new, None, tmp_path, SILENT)
    assert "No object of kind0: the challenger will not know" in said[2]
    _, said = gathered(champion, new, old_of(champion), tmp_path, SILENT)
    assert "New classes, which the champion does not know: ring" in said[1]
    assert not any("No object of" in line for line in said), "the old data hold them"


@pytest.mark.parametrize(
    ("classes", "why"),
    [
        (("Kind0", "kind1"), r"spells classes otherwise.*Write 'Kind0' as 'kind0'"),
        (("kind 0", "KIND1"), r"Write 'kind 0' as 'kind0', 'KIND1' as 'kind1'"),
        (("spiral", "elliptical"), r"holds none of the champion's classes.*Allowed: kind0, kind1.*Got: spiral, ellipt"),
    ],
)
def test_renamed_classes_are_refused(classes: tuple[str, ...], why: str, champion: Bundle, tmp_path: Path) -> None:
    values, labels = galaxies(60, seed=3)
    with pytest.raises(ContractError, match=why):
        gathered(champion, fresh(tmp_path / "new.h5", values, labels, classes=classes), None, tmp_path, SILENT)


def test_the_column_of_the_answer_may_be_named(champion: Bundle, tmp_path: Path) -> None:
    from sklearn.tree import DecisionTreeClassifier

    other = make(tmp_path / "other" / "model", DecisionTreeClassifier(max_depth=1, random_state=0))
    values, labels = galaxies(60, seed=3, failed=0)
    lines = [
        f"{i},{','.join(map(str, v))},kind{k}" for i, (v, k) in enumerate(zip(values.tolist(), labels, strict=True))
    ]
    (tmp_path / "new.csv").write_text("\n".join([f"objid,{','.join(COLUMNS)},morph", *lines]) + "\n")
    with pytest.raises(InputError, match="no labelled row"):
        compare(champion, other, tmp_path / "new.csv")
    assert compare(champion, other, tmp_path / "new.csv", label="morph").n == 60
    with pytest.raises(ContractError, match=r"new.csv: its labels are of another task.*--label"):
        gathered(champion, tmp_path / "new.csv", None, tmp_path, SILENT)
    data, _ = gathered(champion, tmp_path / "new.csv", None, tmp_path, SILENT, label="morph")
    assert data.classes == ("kind0", "kind1")
    assert data.labelled().all()


def test_other_input_is_refused_before_training(champion: Bundle, tmp_path: Path) -> None:
    of_pictures = pairs.model(tmp_path / "pictures", 0.3)
    header = Header(40, (9, 9, 1), "uint8", "classification", ("dark", "light"), read=ReadRecord(source="arrays"))
    writer = DatasetWriter(
        tmp_path / "wide.h5", header, ids=list(map(str, range(40))), labels=np.arange(40) % 2, fingerprint="wide"
    )
    writer.write(0, np.random.default_rng(0).integers(0, 255, (40, 9, 9, 1)).astype(np.uint8), {})
    wide = writer.finish()
    with pytest.raises(ContractError, match=r"not what the model was fed: another size.*6 x 5.*9 x 9"):
        gathered(of_pictures, wide, None, tmp_path, SILENT)
    with pytest.raises(ContractError, match=r"no table.*Got: pictures alone"):
        gathered(champion, wide, None, tmp_path, SILENT)
    with pytest.raises(ContractError, match=r"not what the model was fed: no images"):
        gathered(of_pictures, old_of(champion), None, tmp_path, SILENT)


def test_a_temperature_is_found_anew(champion: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, _ = mixed(champion, tmp_path / "new.h5")
    data, _ = gathered(champion, new, None, tmp_path, SILENT)
    kept = recipe_of(champion).with_values({"train.temperature": 1.7})
    monkeypatch.setattr(again, "recipe_of", lambda _: kept)
    assert again.recipe_again(champion, data).train.temperature == 1.7, "too few to find it on: the champion's is kept"
    assert again.recipe_again(champion, data).model == kept.model
    many = data.with_split(np.where(np.arange(data.n) < 100, 2, 1).astype(np.uint8), data.split_record)
    assert again.recipe_again(champion, many).train.temperature is None


def test_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESTAMPA_CACHE", str(tmp_path / "cache"))
    values, labels = galaxies(400, failed=0)
    for name, rows in (("old", slice(0, 240)), ("new", slice(200, 400))):
        lines = [f"{i},{','.join(map(str, v))},kind{k}" for i, v, k in
                 zip(range(400)[rows], values[rows].tolist(), labels[rows].tolist(), strict=True)]  # fmt: skip
        (tmp_path / f"{name}.csv").write_text("\n".join([f"objid,{','.join(COLUMNS)},class", *lines]) + "\n")
    short = {"model.name": "tree", "evaluate.baselines": False, "evaluate.resamples": 100}
    first = pipeline.train(tmp_path / "old.csv", changes=short, output=tmp_path / "a")
    words = ["retrain", str(tmp_path / "a"), "--data", str(tmp_path / "new.csv"), "--add", str(tmp_path / "old.csv")]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--no-baselines", "-o", str(tmp_path / "b"), "--json", "-q"])
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["data"] == str(tmp_path / "b" / DATA)
    challenger, champion = Bundle.open(tmp_path / "b"), Bundle.open(first.folder)
    assert champion.hash in challenger.manifest.decisions[0]
    assert challenger.manifest.recipe["model"] == champion.manifest.recipe["model"]
    assert sum(challenger.manifest.parts.values()) == 400, "40 of the new ones are copies"
    assert not np.isin(held_of(champion, "test")[1], held_of(challenger, "train")[1]).any()
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "compare",
                str(tmp_path / "a"),
                str(tmp_path / "b"),
                "--data",
                told["data"],
                "--json",
                "-q",
                "--resamples",
                "100",
            ]
        )
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["n"] == challenger.manifest.parts["test"]
