"""Likely wrong labels: found where they were planted, shown, listed, and left out by build alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estampa.data.dataset import Dataset
from estampa.data.read import ReadOptions, build
from estampa.errors import InputError
from estampa.evaluate import labels as room
from estampa.evaluate.labels import LIST, PAGE, check_labels, made_by, write_labels
from estampa.recipe import Recipe, parse

QUICK = {
    "model": {"name": "convnet", "filters": [16], "pool_after": [1], "dense": [32]},
    "prepare": {"symmetry": "none"},
    "train": {
        "epochs": 8, "batch": 64, "rate": 0.005, "schedule": "onecycle", "threads": 1, "dtype": "float32",
        "memory_format": "channels_last",
    },
    "evaluate": {"resamples": 100},
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return parse({"name": "quick", **QUICK}, "test")


def flipped(folder: Path, share: float = 0.03) -> tuple[Path, np.ndarray]:
    """The digits as an array file, with so many labels moved to another class; which ones."""
    from sklearn.datasets import load_digits

    digits, rng = load_digits(), np.random.default_rng(0)
    labels = digits.target.copy()
    wrong = rng.choice(len(labels), round(share * len(labels)), replace=False)
    labels[wrong] = (labels[wrong] + rng.integers(1, 10, len(wrong))) % 10
    np.savez(folder / "dirty.npz", images=digits.images[..., None].astype(np.uint8), labels=labels)
    return folder / "dirty.npz", wrong


def test_flipped_labels_are_found_shown_and_left_out_on_request(tmp_path: Path, recipe: Recipe) -> None:
    source, wrong = flipped(tmp_path)
    dataset = build(str(source), tmp_path / "dirty.h5")
    found = check_labels(dataset, recipe, folds=4)
    hit = np.isin(found.rows, wrong)
    assert hit.sum() >= 0.8 * len(wrong), "at least 80 % of the flipped labels"
    assert hit.mean() >= 0.5, "at least half of the list is flipped labels"
    assert hit[: len(wrong) // 2].mean() > 0.9, "the likeliest come first"
    assert (found.given == dataset.labels[found.rows]).all()
    assert (found.likely != found.given).all()
    assert (np.diff(found.p_given) >= -1e-9).all()

    page, listed = write_labels(tmp_path / "labels", found, dataset, made_by("estampa evaluate", recipe, dataset))
    text = page.read_text()
    first = found.records(dataset)[0]
    assert f"given {first['given']}, likely {first['likely']}" in text
    assert text.count("<img") == len(found.rows)
    assert dataset.n == 1797, "nothing is deleted"
    clean = build(str(source), tmp_path / "clean.h5", ReadOptions(exclude=listed))
    assert clean.n == dataset.n - len(found.rows)
    assert not np.isin(np.asarray(dataset.ids)[found.rows], clean.ids).any()


class Sure:
    """A stand-in model that knows the brightness, and is sure."""

    def predict(self, dataset: Any, rows: np.ndarray) -> np.ndarray:
        dark = dataset.take(rows).mean(axis=(1, 2, 3)) < 100
        return np.where(dark[:, None], [0.95, 0.05, 0.0], [0.04, 0.96, 0.0])


@pytest.fixture
def spotted(make_dataset: Any) -> Dataset:
    """Dark "=cmd" and bright "two", a third class that never occurs; rows 3 and 40 are wrong."""
    labels = np.arange(80) % 2
    images = np.where(labels[:, None, None, None] == 0, 40, 160) + np.arange(80)[:, None, None, None] % 20
    labels[[3, 40]] = 1 - labels[[3, 40]]
    ids = np.array([f"=row {i}" for i in range(80)])
    return make_dataset(
        np.broadcast_to(images, (80, 6, 6, 1)).astype(np.uint8), labels, classes=("=cmd", "two", "never"), ids=ids
    )


def test_a_class_without_objects_and_names_that_a_spreadsheet_would_run(spotted: Dataset, tmp_path: Path) -> None:
    found = check_labels(spotted, Recipe(), folds=4, fit=lambda *_, **__: Sure())
    assert sorted(found.rows) == [3, 40]
    _, listed = write_labels(tmp_path, found, spotted, {})
    lines = listed.read_text().splitlines()
    assert lines[1].startswith("'=row")
    assert "'=cmd" in listed.read_text()
    from estampa.data.exclude import read_exclusion

    chosen = read_exclusion(listed, spotted.ids)
    assert sorted(np.flatnonzero(chosen.rows)) == [3, 40]
    assert not chosen.unmatched


def test_labels_that_are_right_leave_a_page_that_says_so(make_dataset: Any, tmp_path: Path) -> None:
    images = np.repeat([40, 160], 20)[:, None, None, None] + np.arange(40)[:, None, None, None] % 20
    data = make_dataset(
        np.broadcast_to(images, (40, 6, 6, 1)).astype(np.uint8), np.repeat([0, 1], 20), classes=("a", "b", "c")
    )
    found = check_labels(data, Recipe(), folds=4, fit=lambda *_, **__: Sure())
    assert not len(found.rows)
    page, listed = write_labels(tmp_path, found, data, {})
    assert "No label is in doubt among 40" in page.read_text()
    assert listed.read_text().splitlines() == ["id,given,likely,p_given,p_likely"]


def test_a_numeric_target_is_refused(make_dataset: Any) -> None:
    data = make_dataset(np.zeros((20, 4, 4, 1), np.uint8), np.linspace(0, 1, 20))
    with pytest.raises(InputError, match=r"for classes only.*regression"):
        check_labels(data, Recipe())


def test_groups_are_kept_whole(make_dataset: Any) -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat([f"g{i}" for i in range(8)], 5)
    data = make_dataset(
        rng.integers(0, 255, (40, 4, 4, 1)).astype(np.uint8), np.tile([0, 1], 20), classes=("a", "b", "c"),
        groups=groups,
    )  # fmt: skip
    asked: list[np.ndarray] = []

    class Watched(Sure):
        def predict(self, dataset: Any, rows: np.ndarray) -> np.ndarray:
            asked.append(rows)
            return super().predict(dataset, rows)

    found = check_labels(data, Recipe(), folds=4, fit=lambda *_, **__: Watched())
    assert found.grouped
    for rows in asked:
        assert not np.isin(groups[rows], np.delete(groups, rows)).any()


def test_the_verb_uses_the_recipe_of_the_run_or_the_one_named(tmp_path: Path, recipe: Recipe) -> None:
    source, wrong = flipped(tmp_path)
    (tmp_path / "quick.toml").write_text(recipe.to_toml())
    words = [sys.executable, "-m", "estampa", "evaluate", str(source), "--recipe", str(tmp_path / "quick.toml")]
    words += ["--labels-check", "--folds", "2", "-o", str(tmp_path / "out"), "--json", "--quiet"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    record = json.loads(ended.stdout)
    assert record["found"] == len(record["labels"]) > len(wrong) / 2
    assert (tmp_path / "out" / PAGE).is_file()
    assert (tmp_path / "out" / LIST).is_file()
    ended = subprocess.run([*words[:4], *words[7:]], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "needs a run and data, or data and --recipe" in ended.stderr


def test_the_recipe_of_a_bundle_is_read_back(recipe: Recipe) -> None:
    class Held:
        folder = Path("run")

        class manifest:  # noqa: N801 - stands in for an attribute
            recipe: dict[str, Any]

    Held.manifest.recipe = recipe.model_dump(mode="json")
    assert room.recipe_of(Held()).to_toml() == recipe.to_toml()  # type: ignore[arg-type]
