"""Small tables of galaxies for the tests, and classifiers fitted on them without a search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from estampa.bundle.export_table import bundle_from_table
from estampa.bundle.store import Bundle
from estampa.data.dataset import Dataset, DatasetWriter, Header, ReadRecord
from estampa.prepare.table import TablePreparation
from estampa.recipe import Recipe
from estampa.train.fitted_table import FittedTable

COLUMNS = ("mag_u", "mag_g", "mag_r", "petroR50", "petroR90", "ab")
UNITS = ("mag", "mag", "mag", "arcsec", "arcsec", "")


def galaxies(n: int, classes: int = 2, seed: int = 0, failed: float = 0.03) -> tuple[np.ndarray, np.ndarray]:
    """Raw rows (n, 6) float64 with -9999 and NaN among them, and class numbers (n,)."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, n)
    colour = draw.normal(1.2 + 0.5 * labels, 0.3)
    red = draw.uniform(14, 18, n)
    half = draw.uniform(1.5, 6, n)
    columns = [
        red + colour + draw.normal(0.7, 0.2, n), red + colour, red, half,
        half * draw.normal(2.2 + 0.4 * labels, 0.2), draw.uniform(0.2, 1, n),
    ]  # fmt: skip
    values = np.stack(columns, axis=1).round(4)
    holes = draw.random(values.shape) < failed
    holes[:, 2] = False
    values[holes] = np.where(draw.random(int(holes.sum())) < 0.5, -9999.0, np.nan)
    return values, labels


def dataset(path: Path, values: np.ndarray, labels: np.ndarray | None, **header: Any) -> Dataset:
    """A Dataset of a table alone; six tenths train, two validation, two test."""
    n = len(values)
    classes = tuple(f"kind{i}" for i in range(int(labels.max()) + 1)) if labels is not None else ()
    told = {
        "classes": classes, "columns": COLUMNS, "column_units": UNITS, "read": ReadRecord(source="table"), **header,
    }  # fmt: skip
    head = Header(n, None, "", "classification" if labels is not None else "unlabelled", **told)
    split = np.array([1, 1, 1, 2, 3], np.uint8)[np.arange(n) % 5] if labels is not None else None
    writer = DatasetWriter(path, head, ids=[f"g{i}" for i in range(n)], labels=labels, split=split, fingerprint="t")
    writer.put_table(values)
    return writer.finish()


def fitted(data: Dataset, estimator: Any, *, temperature: float = 1.0, invalid: str = "impute") -> FittedTable:
    """An estimator fitted on the training part."""
    train = data.rows("train")
    raw = data.table_rows(train)
    preparation = TablePreparation.fit(raw, data.header.columns, units=data.header.column_units, invalid=invalid)
    usable = preparation.usable(raw)
    estimator.fit(preparation.transform(raw[usable]), data.labels[train][usable])
    recipe = Recipe().with_values({"name": "made", "model.name": "forest"})
    return FittedTable(estimator, preparation, recipe, ["Made by a test."], 0.1, "done", None, data.classes,
                       temperature=temperature)  # fmt: skip


def make(folder: Path, estimator: Any = None, *, n: int = 600, classes: int = 2, **how: Any) -> Bundle:
    """Write a bundle of a small table; by default of a random forest of 20 trees.

    `how`: `gallery` of the bundle, `columns` of the table, and what `fitted` takes.
    """
    from sklearn.ensemble import RandomForestClassifier

    folder.parent.mkdir(parents=True, exist_ok=True)
    values, labels = galaxies(n, classes)
    gallery, columns = how.pop("gallery", True), how.pop("columns", COLUMNS)
    data = dataset(folder.parent / "galaxies.h5", values, labels, columns=columns)
    model = fitted(data, estimator if estimator is not None else RandomForestClassifier(20, random_state=0), **how)
    rows = {part: data.rows(part) for part in ("train", "validation", "test")}
    return bundle_from_table(model, data, rows, {}, folder, gallery=gallery)
