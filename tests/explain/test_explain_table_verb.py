"""`estampa explain` of a model of a table, through its bundle."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import estampa
from estampa.bundle.store import Bundle
from estampa.cli import main
from estampa.data.dataset import Dataset
from estampa.errors import ContractError, InputError
from estampa.explain import sections
from estampa.explain.table import explain_table, from_features
from made_tables import COLUMNS, galaxies, make


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make(tmp_path_factory.mktemp("table") / "run" / "model")


@pytest.fixture(scope="module")
def data(model: Bundle) -> Dataset:
    return Dataset.open(model.folder.parent / "galaxies.h5")


def test_columns_are_ranked_followed_and_reasons_add_up(model: Bundle, data: Dataset, tmp_path: Path) -> None:
    found = estampa.explain(model, data, tmp_path, seed=1)
    assert found.importance is not None
    assert set(found.importance.order) == set(COLUMNS)
    assert found.facts["Part"] == "test"
    assert found.facts["Typical objects"] == "of the training part"
    colours = [lost for lost in (*found.importance.columns, *found.importance.groups) if lost.sure]
    assert colours, "the classes differ in colour and concentration"
    assert found.n == 8
    assert any(r.truth != r.answer for r in found.reasons)
    for one in found.reasons:
        assert sum(r.effect for r in one.reasons) == pytest.approx(one.p - one.usual, abs=1e-5)
    for d in found.dependence:
        assert d.grid[0] > -1000
    page = (tmp_path / "explain.html").read_text()
    for word in ("importance", "dependence", "reasons", "reading"):
        assert f'id="{word}"' in page
    assert "<img" not in page
    with (tmp_path / "explained.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["id"] for row in rows} == {r.id for r in found.reasons}
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["n"] == 8
    assert "reasons" in found._repr_html_().lower() or found._repr_html_()


def test_one_object_by_id_from_a_shuffled_file_without_labels(
    model: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values, _ = galaxies(40, seed=9, failed=0)
    order = [3, 5, 0, 1, 4, 2]
    with (tmp_path / "new.csv").open("w") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", *(COLUMNS[c] for c in order)])
        writer.writerows([f"new{i}", *row[order]] for i, row in enumerate(values))
    with pytest.raises(SystemExit) as end:
        main(
            [
                "explain",
                str(model.folder),
                str(tmp_path / "new.csv"),
                "--id",
                "new7",
                "-o",
                str(tmp_path / "e"),
                "--json",
            ]
        )
    assert not end.value.code
    record = json.loads(capsys.readouterr().out)
    (one,) = record["objects"]
    assert one["id"] == "new7"
    assert one["truth"] is None
    assert one["p"] == pytest.approx(float(model.score(values[7:8]).output.max()), abs=1e-6)
    told = {r["columns"][0]: r for r in one["reasons"]}
    assert told["mag_r"]["values"] == [pytest.approx(values[7, 2])]
    assert record["importance"] is None
    assert (tmp_path / "e" / "explain.html").is_file()


def test_typical_objects_are_remade_from_what_the_bundle_keeps(model: Bundle, data: Dataset) -> None:
    rows = data.rows("validation")
    raw = data.table_rows(rows)
    features = model.tensors("reference")["describe"]
    made = from_features(model, features)
    good = ~model.preparation.invalid(raw)
    near = np.isclose(made, raw, rtol=1e-4, atol=1e-4)
    assert len(made) == len(raw)
    assert near[good].mean() > 0.99  # but for values that the preparation cuts at ten deviations
    whole = good.all(axis=1)
    assert whole.sum() > 60
    assert (np.abs(model.score(made[whole]).output - model.score(raw[whole]).output) < 1e-5).mean() > 0.95


def test_what_does_not_fit_is_refused(model: Bundle, data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pixels"):
        estampa.explain(model, data, window=3)
    with pytest.raises(InputError, match="no object 'nobody'"):
        explain_table(model, data, ids=["nobody"])
    with pytest.raises(InputError, match="no part 'tset'"):
        explain_table(model, data, part="tset")
    (tmp_path / "few.csv").write_text("id,mag_u,mag_g\n1,2,3\n2,3,4\n")
    with pytest.raises(ContractError, match="mag_r"):
        explain_table(model, tmp_path / "few.csv")


def test_without_matplotlib_there_are_tables(
    model: Bundle, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "drawable", lambda: False)
    explain_table(model, data, tmp_path, n=2)
    page = (tmp_path / "explain.html").read_text()
    assert "Figures need the extra" in page
    assert 'id="importance"' in page
    assert not list((tmp_path / "figures").glob("*.svg"))


def test_lines_for_a_terminal(model: Bundle, data: Dataset) -> None:
    found: Any = explain_table(model, data, n=2)
    lines = found.lines()
    assert lines[0] == found.headline()
    assert any("95 % interval" in line for line in lines)
    assert sum("typical objects" in line for line in lines) == 2


def as_csv(path: Path, values: np.ndarray, ids: list[str], labels: np.ndarray) -> Path:
    with path.open("w") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", *COLUMNS, "class"])
        writer.writerows([i, *row, f"kind{k}"] for i, row, k in zip(ids, values, labels, strict=True))
    return path


def test_what_was_learned_from_is_left_out_of_the_training_catalogue(
    model: Bundle, data: Dataset, tmp_path: Path
) -> None:
    raw, labels = data.table_rows(np.arange(data.n)), np.asarray(data.labels)
    test = {f"g{i}" for i in data.rows("test")}
    for named, ids in {"ids": [f"g{i}" for i in range(600)], "content": [f"other{i}" for i in range(600)]}.items():
        path = as_csv(tmp_path / f"{named}.csv", raw, ids, labels)
        found = explain_table(model, path, tmp_path / named, n=6)
        assert found.headline().startswith(
            "Left out: 360 objects that the model learned from and 120 objects of its validation part; explained on "
            "120 others."
        )
        assert found.facts["Objects looked at"] == 120
        assert {r.id.replace("other", "g") for r in found.reasons} <= test
        assert "Left out: 360 objects" in (tmp_path / named / "explain.html").read_text()
    asked = explain_table(model, tmp_path / "ids.csv", ids=["g0"])
    assert asked.headline().startswith("The model has learned from g0.")
    assert not explain_table(model, data, n=1).learned


def test_where_all_was_learned_from_the_first_line_says_so(model: Bundle, data: Dataset, tmp_path: Path) -> None:
    rows = data.rows("train")
    ids = [f"g{i}" for i in rows]
    path = as_csv(tmp_path / "seen.csv", data.table_rows(rows), ids, np.asarray(data.labels)[rows])
    for found in (explain_table(model, path, n=1), explain_table(model, data, n=1, part="train")):
        assert found.headline().startswith("These are objects that the model has learned from")
    said = explain_table(model, data, n=1, part="all").headline()
    assert said.startswith("360 of these 600 are objects that the model has learned from")


def test_numbers_of_rows_name_no_object(model: Bundle, tmp_path: Path) -> None:
    values, labels = galaxies(60, seed=11, failed=0)
    path = as_csv(tmp_path / "counted.csv", values, [str(i) for i in range(60)], labels)
    assert not explain_table(model, path, n=1).learned


def test_what_predict_refuses_has_no_reasons(model: Bundle, tmp_path: Path) -> None:
    values, labels = galaxies(60, seed=11, failed=0)
    values[:30] = -9999
    path = as_csv(tmp_path / "t.csv", values, [f"new{i}" for i in range(60)], labels)
    refused = estampa.predict(model, path)
    assert refused.bad == 30
    found = explain_table(model, path, n=60)
    assert found.facts["Objects looked at"] == found.n == 30
    assert not {r.id for r in found.reasons} & set(refused.ids[refused.predicted == ""].tolist())
    with pytest.raises(InputError, match="without an answer has no reasons"):
        explain_table(model, path, ids=["new3"])
