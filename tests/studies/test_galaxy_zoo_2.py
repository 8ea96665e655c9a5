"""Study galaxy-zoo-2: nets on unequal and equal classes, baselines by the same folds, explorations beside them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from estampa import recipe, studies
from estampa.data.builders.galaxies import simulate_galaxies
from estampa.errors import InputError
from estampa.studies import galaxy_zoo_2


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every net for one epoch on one thread, two folds, ten objects a class, no UMAP."""
    read = recipe.read
    few = {
        "train.epochs": 1, "train.threads": 1, "train.dtype": "float32", "train.memory_format": "channels_last",
        "evaluate.resamples": 100, "train.pretrain_stamps": 100, "train.pretrain_epochs": 1,
    }  # fmt: skip
    monkeypatch.setattr(galaxy_zoo_2.recipe, "read", lambda name: read(name).with_values(few))
    monkeypatch.setenv("ESTAMPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ESTAMPA_DATA", raising=False)
    for name, value in (("FOLDS", 2), ("COMPONENTS", 6), ("CLUSTERS", 3), ("MAP", "first")):
        monkeypatch.setattr(galaxy_zoo_2, name, value)
    monkeypatch.setattr(galaxy_zoo_2, "SIMULATED", {"n": "100", "size": "64", "width": "4.94"})


def folder(place: Path, n: int = 72) -> Path:
    """JPEGs in one folder a class, and a class that says nothing apart."""
    images, kinds = simulate_galaxies(n, size=64, width=4.94)
    for row, (image, kind) in enumerate(zip(images, kinds, strict=True)):
        name = "spiral" if kind in (3, 4) else "elliptical" if kind < 2 else "other"
        (place / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / name / f"{row}.jpg", quality=95)
    return place


@pytest.mark.usefixtures("quick")
@pytest.mark.timeout(600)
def test_every_way_and_the_explorations_on_pictures(tmp_path: Path) -> None:
    made = studies.reproduce("galaxy-zoo-2", data=folder(tmp_path / "set"), output=tmp_path / "out")
    assert [r.way for r in made.rows] == ["as published, run here", *["done right"] * 6, "ours"]
    assert not made.rows[0].fault, "its classes are about as large as each other"
    assert {r.n for r in made.rows} == {72}
    assert made.metrics[0] == "balanced_accuracy"
    assert all("balanced_accuracy" in r.metrics for r in made.rows)
    record = json.loads((tmp_path / "out" / "table.json").read_text())
    notes = " ".join(record["notes"])
    for words in ("no row of published figures", "K-means (3 clusters", "purity", "adjusted Rand index"):
        assert words in notes
    assert "SIMULATED" not in notes
    assert (tmp_path / "out" / "explored" / "report.html").is_file()
    kept = np.load(tmp_path / "out" / "gz2-balanced.npz")
    assert kept["output"].shape == (72, 3)
    again = studies.reproduce("galaxy_zoo_2", data=tmp_path / "set", output=tmp_path / "out")
    assert [r.metrics for r in again.rows] == [r.metrics for r in made.rows]


@pytest.mark.usefixtures("quick")
def test_without_data_galaxies_are_simulated_and_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(galaxy_zoo_2, "_classical", list)
    monkeypatch.setattr(galaxy_zoo_2, "_explored", lambda *_: [])
    made = studies.reproduce("galaxy-zoo-2", output=tmp_path / "out")
    assert "100 simulated galaxies" in made.data
    assert any("SIMULATED" in note for note in made.notes)


@pytest.mark.usefixtures("quick")
def test_other_data_are_refused(tmp_path: Path) -> None:
    (tmp_path / "grey").mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "grey" / f"{name}.png")
    with pytest.raises(InputError, match="galaxy pictures with classes"):
        studies.reproduce("galaxy-zoo-2", data=tmp_path / "grey", output=tmp_path / "out")


def test_classes_are_called_neglected_where_they_are_uneven_only() -> None:
    assert not galaxy_zoo_2.fault_of(np.repeat([0, 1, 2], [20, 25, 30]), 3)
    assert "neglected" in galaxy_zoo_2.fault_of(np.repeat([0, 1, 2], [20, 25, 100]), 3)
