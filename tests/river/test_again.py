"""A challenger by the champion's own recipe: what it may learn from, and the whole way by command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from estampa import pipeline
from estampa.bundle.store import Bundle
from estampa.cli import main
from estampa.data.dataset import Dataset, DatasetWriter, Header, ReadRecord
from estampa.errors import CheckFailed, ContractError
from estampa.evaluate.labels import recipe_of
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


def fresh(path: Path, values: np.ndarray, labels: np.ndarray, split: np.ndarray | None = None) -> Dataset:
    """A Dataset of a table without parts, unless they are given."""
    header = Header(
        len(values), None, "", "classification", ("kind0", "kind1"), columns=COLUMNS, column_units=UNITS,
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


def test_another_task_is_refused(champion: Bundle, tmp_path: Path) -> None:
    values, _ = galaxies(60)
    bare = dataset(tmp_path / "bare.h5", values, None)
    with pytest.raises(ContractError, match=r"another task.*Allowed: classification.*Got: unlabelled.*--label"):
        gathered(champion, bare, None, tmp_path, SILENT)


def test_a_temperature_is_found_anew(champion: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, _ = mixed(champion, tmp_path / "new.h5")
    data, _ = gathered(champion, new, None, tmp_path, SILENT)
    kept = recipe_of(champion).with_values({"train.temperature": 1.7})
    monkeypatch.setattr(again, "recipe_of", lambda _: kept)
    assert again.recipe_again(champion, data).train.temperature is None
    assert again.recipe_again(champion, data).model == kept.model
    lone = data.with_split(np.where(data.split == 2, 1, data.split), data.split_record)
    assert again.recipe_again(champion, lone).train.temperature == 1.7, "there is nothing to find it on"


def test_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESTAMPA_CACHE", str(tmp_path / "cache"))
    values, labels = galaxies(400, failed=0)
    for name, rows in (("old", slice(0, 240)), ("new", slice(200, 400))):
        lines = [f"{i},{','.join(map(str, v))},kind{k}" for i, v, k in
                 zip(range(400)[rows], values[rows].tolist(), labels[rows].tolist(), strict=True)]  # fmt: skip
        (tmp_path / f"{name}.csv").write_text("\n".join([f"objid,{','.join(COLUMNS)},class", *lines]) + "\n")
    first = pipeline.train(
        tmp_path / "old.csv", changes={"model.name": "tree", "evaluate.baselines": False}, output=tmp_path / "a"
    )
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
        main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--data", told["data"], "--json", "-q"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["n"] == challenger.manifest.parts["test"]
