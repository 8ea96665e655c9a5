"""Study galaxy-photometry: every way answers every object once; the published search sees little; leaks are out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from estampa import recipe, studies
from estampa.data.read import build
from estampa.errors import InputError
from estampa.studies import galaxy_photometry
from estampa.train import classical


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One or two settings, three folds, few resamples."""
    read = recipe.read

    def shortened(name: str) -> recipe.Recipe:
        few = {"search.trials": 1, "search.folds": 3, "evaluate.resamples": 100, "evaluate.baselines": False}
        if name == "tables":
            few |= {"search.methods": ["logistic", "tree"]}
        return read(name).with_values(few)

    monkeypatch.setattr(galaxy_photometry.recipe, "read", shortened)
    monkeypatch.setattr("estampa.studies._ways.recipe.read", shortened)
    monkeypatch.delenv("ESTAMPA_DATA", raising=False)


@pytest.mark.usefixtures("quick")
@pytest.mark.timeout(300)
def test_every_way_on_a_simulated_catalogue_and_its_page(tmp_path: Path) -> None:
    build("photometry", tmp_path / "sky.h5", builder_options={"n": "400", "file": str(tmp_path / "sky.csv")})
    made = studies.reproduce("galaxy-photometry", data=tmp_path / "sky.csv", output=tmp_path / "out")
    ways = [row.way for row in made.rows]
    assert ways == ["published"] * 3 + ["as published, run here", "done right"] * 3 + ["ours"] * 2
    known = {row.n for row in made.rows if row.way in ("as published, run here", "done right")}
    assert len(known) == 1
    assert 0 < known.pop() < made.rows[-2].n  # ours answers also the rows with failed measurements
    assert all(row.fault for row in made.rows if row.way == "as published, run here")
    assert made.rows[-2].metrics["balanced_accuracy"].low > 0.7
    assert any("redshift" in note for note in made.notes)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "random forest" in page
    assert "What is taken for what" in page
    assert len(list((tmp_path / "out").glob("judged-*.json"))) == 7
    again = studies.reproduce("galaxy-photometry", data=tmp_path / "sky.csv", output=tmp_path / "out")
    assert [row.to_json() for row in again.rows] == [row.to_json() for row in made.rows]  # kept, not made anew


def test_the_folder_of_a_set_is_searched_for_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="holds no table with classes"):
        studies.reproduce("galaxy-photometry", data=empty, output=tmp_path / "out")


def test_the_published_search_sees_an_eighth(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def fit(ledger: object, dataset: object, made: recipe.Recipe, rows: np.ndarray) -> object:
        seen.append(len(rows))
        return type("Fitted", (), {"recipe": made})()

    class Data:
        labels = np.arange(800) % 2
        task = "classification"

    monkeypatch.setattr(galaxy_photometry, "_searched", fit)
    monkeypatch.setattr(classical, "fit_table", lambda *_given, train_rows, **_more: seen.append(len(train_rows)))
    ledger = type("Ledger", (), {"progress": None})()
    galaxy_photometry._searched_on_few(ledger, Data(), recipe.read("photometry-tree"), np.arange(800))  # type: ignore[arg-type]
    assert seen == [100, 700]
