"""Likely wrong labels without a trained model: the doubts of a simple one, for the contact sheet of `estampa check`.

Logistic regression on block means and histograms of oriented gradients (prepare/descriptors.py) of the pictures at 64
pixels or fewer, reduced to their principal components, cross-validated by `labels.check_labels`, so that each object
is answered by a model that has not seen it. A minute's model: a real one finds more and doubts less
(`estampa evaluate RUN DATA --labels-check`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from estampa import machine
from estampa.data.cleaning import Doubts
from estampa.data.duplicates import shrink
from estampa.evaluate.baselines import block_means
from estampa.evaluate.labels import FOLDS, LabelCheck, check_labels
from estampa.prepare.descriptors import histograms
from estampa.progress import SILENT, Progress
from estampa.recipe import Recipe, parse

if TYPE_CHECKING:
    from estampa.data.dataset import Dataset

MOST_ROWS = 20_000  #: labelled objects beyond which labels are not looked at: that is work for a real model
_SIDE, _VALUES, _COMPONENTS = 64, 768, 150
_NAMED = 5  # classes in a remark
_FEW = 10  # objects of a class below which cross-validation says nothing
_BETTER = 0.5  # of the way from always the commonest class to always right: a weaker model's doubts are its own


def quick_doubts(dataset: Dataset, progress: Progress = SILENT, *, seed: int = 0) -> Doubts | None:
    """Find labels that are likely wrong by a simple model; None where there are no classes or pictures to learn from.

    Where the model is too weak, or the objects too many, `Doubts` are empty and the remark says why. Raises
    MissingExtra without scikit-learn and cleanlab.
    """
    if dataset.task != "classification" or dataset.shape is None:
        return None
    machine.require("train", "sklearn", "cleanlab", needed_for="estampa check --labels")
    known = dataset.labelled()
    counts = np.bincount(np.asarray(dataset.labels)[known], minlength=len(dataset.classes))
    if (counts > 0).sum() < 2:
        return _none("Not looked for: there is one class only.")
    small = [repr(name) for name, count in zip(dataset.classes, counts, strict=True) if 0 < count < _FEW]
    if small:
        some = f"{', '.join(small[:_NAMED])}{', ...' if len(small) > _NAMED else ''}"
        return _none(
            f"Not looked for: a class with fewer than {_FEW} objects cannot be cross-validated: {some}. Build without "
            "such classes, and check that."
        )
    if known.sum() > MOST_ROWS:
        return _none(
            f"Not looked for among {known.sum():,} labels (at most {MOST_ROWS:,}): train, then "
            "estampa evaluate RUN DATA --labels-check."
        )
    rows = np.flatnonzero(known)
    values = _Features(rows, _reduced(_features(dataset, rows, progress)))
    found = check_labels(
        dataset, _recipe(), folds=FOLDS, seed=seed, progress=progress,
        fit=lambda *_, train_rows, validation_rows, **__: _Learned(dataset, values, [train_rows, validation_rows]),
    )  # fmt: skip
    right = found.judgement.metrics["accuracy"].value
    least = counts.max() / counts.sum()
    if right < least + _BETTER * (1 - least):
        return _none(
            f"The simple model that looks for them agrees with {100 * right:.0f} % of the labels only, too few for its "
            "doubts to mean anything. Train a real one, then: estampa evaluate RUN DATA --labels-check."
        )
    return _doubts(found, dataset)


def _none(remark: str) -> Doubts:
    return Doubts(np.zeros(0, np.int64), (), remark)


def _doubts(found: LabelCheck, dataset: Dataset) -> Doubts:
    notes = [
        f"likely {r['likely']} ({r['p_likely']:.2f}; {r['given']} {r['p_given']:.2f})" for r in found.records(dataset)
    ]
    right = found.judgement.metrics["accuracy"].value
    remark = (
        f"The simple model agrees with {100 * right:.1f} % of {found.n:,} labels ({found.folds}-fold "
        "cross-validation), so many of these doubts are its own mistakes. A trained model doubts fewer labels "
        "that are right: estampa evaluate RUN DATA --labels-check."
    )
    return Doubts(found.rows, notes, remark)


def _recipe() -> Recipe:
    """What `check_labels` wants to know of a recipe: no rows are kept back, and no intervals are shown."""
    return parse({"name": "simple", "train": {"keep": "last", "patience": 0}, "evaluate": {"resamples": 100}}, "doubts")


@dataclass(frozen=True)
class _Features:
    """Values (m, f) of the labelled rows (m,), sorted: what has no label takes no memory."""

    rows: np.ndarray
    values: np.ndarray

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Values of some of these rows, (len(rows), f)."""
        found: np.ndarray = self.values[np.searchsorted(self.rows, rows)]
        return found


def _features(dataset: Dataset, rows: np.ndarray, progress: Progress) -> np.ndarray:
    """(len(rows), f) float32: block means and histograms of oriented gradients of some pictures."""
    parts = []
    progress.start("descriptors for the labels", len(rows), "objects")
    for _, images in dataset.blocks(rows):
        small = shrink(images, _SIDE)
        parts.append(np.concatenate([block_means(small, _VALUES), histograms(small)], axis=1))
        progress.advance(len(images))
    progress.finish()
    return np.asarray(np.nan_to_num(np.concatenate(parts)), np.float32)


def _reduced(values: np.ndarray) -> np.ndarray:
    """Scores of the first principal components of (n, f), each of deviation 1: labels have no part in them."""
    centred = values - values.mean(axis=0)
    centred /= np.maximum(centred.std(axis=0), 1e-6)
    weights, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    kept = np.flatnonzero(weights > 1e-6 * weights.max())[-_COMPONENTS:]
    return np.asarray(centred @ (axes[:, kept] / np.sqrt(weights[kept])), np.float32)


class _Learned:
    """A logistic regression that was fitted on some rows, with the `predict` that cross-validation asks for."""

    def __init__(self, dataset: Dataset, values: _Features, rows: list[np.ndarray]) -> None:
        from sklearn.linear_model import LogisticRegression

        learned = np.concatenate(rows)
        self._values, self._classes = values, len(dataset.classes)
        self._model: Any = LogisticRegression(C=0.01, max_iter=300)
        self._model.fit(values.of(learned), np.asarray(dataset.labels)[learned])

    def predict(self, _: Dataset, *, rows: np.ndarray) -> np.ndarray:
        """(len(rows), classes) probabilities."""
        answer = np.zeros((len(rows), self._classes))
        answer[:, self._model.classes_] = self._model.predict_proba(self._values.of(rows))
        return answer
