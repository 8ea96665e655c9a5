"""What the model must beat on the same split: the majority, and classical methods on the same objects."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from estampa import machine
from estampa.errors import InputError
from estampa.evaluate.baselines_pictures import featured
from estampa.evaluate.judge import Judgement, judge
from estampa.progress import SILENT, Progress

if TYPE_CHECKING:
    from estampa.data.dataset import Dataset

MOST_ROWS = 10_000  #: training rows that a baseline learns from
MOST_VALUES = 1_024  #: values per object, after reduction by the mean over square blocks
_TREES = 200


@dataclass(frozen=True)
class Baseline:
    """A simple method on the same split."""

    name: str
    judgement: Judgement
    seconds: float
    note: str
    output: np.ndarray  #: (n, k) probabilities or (n,) values, for paired differences

    def to_json(self) -> dict[str, Any]:
        """Plain values; the answers themselves are left out."""
        return {"name": self.name, "seconds": self.seconds, "note": self.note, **self.judgement.to_json()}


def block_means(images: np.ndarray, most: int = MOST_VALUES) -> np.ndarray:
    """Flatten (n, h, w, c) images of any type to (n, values) float32, at most `most`, by the mean over square blocks.

    A block that the edge cuts is averaged over what it holds. NaN pixels stay NaN.
    """
    n, height, width, channels = images.shape
    side = 1
    while -(-height // side) * -(-width // side) * channels > most and side < max(height, width):
        side += 1
    if side == 1:
        return images.reshape(n, -1).astype(np.float32)
    rows, columns = np.arange(0, height, side), np.arange(0, width, side)
    sums = np.add.reduceat(np.add.reduceat(images.astype(np.float32), rows, axis=1), columns, axis=2)
    area = np.outer(np.diff(np.append(rows, height)), np.diff(np.append(columns, width)))
    return np.asarray((sums / area[:, :, None]).reshape(n, -1), np.float32)


def pixels_of(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """(n, values) float32 of the rows, in their order, read by blocks."""
    return np.concatenate([block_means(images) for _, images in dataset.blocks(rows)])


def baselines(
    dataset: Dataset,
    train_rows: np.ndarray,
    test_rows: np.ndarray,
    seed: int = 0,
    *,
    resamples: int = 1000,
    progress: Progress = SILENT,
    values: Callable[[np.ndarray], np.ndarray] | None = None,
) -> list[Baseline]:
    """Majority (or mean), logistic (or ridge) regression and random forest, learned and judged on the given rows.

    Of pictures forests on principal components and on descriptors too (see `baselines_pictures`). The two that learn
    from pixels or `values` see at most 10,000 training rows, drawn with `seed`, and at most 1,024 values an object;
    what was cut is said in `note`. `values` gives the values (m, v) of rows (m,), as those of a table; None = pixels.
    What is not finite among them becomes the training median. Raises InputError when there is nothing to learn from or
    to judge.
    """
    machine.require("train", "sklearn", needed_for="baselines")
    if not len(train_rows) or not len(test_rows):
        raise InputError(
            "baselines need training rows and rows to judge", got=f"{len(train_rows)} and {len(test_rows)}"
        )
    labels = np.asarray(dataset.labels)
    groups = None if dataset.groups is None else np.asarray(dataset.groups)[test_rows]
    classes, task = dataset.classes, dataset.task

    def judged(output: np.ndarray) -> Judgement:
        return judge(
            labels[test_rows], output, task=task, classes=classes, groups=groups, resamples=resamples, seed=seed
        )

    began = time.perf_counter()
    plain = _majority(labels[train_rows], len(test_rows), task, len(classes))
    name, note = ("mean", "always the mean") if task == "regression" else ("majority", "always the commonest class")
    found = [Baseline(name, judged(plain), time.perf_counter() - began, f"{note} of the training part", plain)]
    if values is None and dataset.shape is None:
        return found
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.choice(train_rows, MOST_ROWS, replace=False)) if len(train_rows) > MOST_ROWS else train_rows
    valued = values or partial(pixels_of, dataset)
    learn, test = np.array(valued(kept), np.float32), np.array(valued(test_rows), np.float32)
    _fill(learn, test)
    own = learn.shape[1] if values is not None else int(np.prod(dataset.shape or ()))
    cut = _cut(len(train_rows), len(kept), own, learn.shape[1])
    for title, make in _methods(task, seed):
        progress.say(f"baseline: {title} on {len(kept):,} objects of {learn.shape[1]:,} values")
        began = time.perf_counter()
        output, remark = _learned(make(), learn, labels[kept], test, len(classes))
        seconds = time.perf_counter() - began
        found.append(Baseline(title, judged(output), seconds, "; ".join(x for x in (cut, remark) if x), output))
    if values is None:
        more = featured(dataset, (kept, test_rows), (learn, test), seed, _learned, progress)
        found += [Baseline(title, judged(output), spent, note, output) for title, output, spent, note in more]
    return found


def _majority(labels: np.ndarray, n: int, task: str, classes: int) -> np.ndarray:
    if task == "regression":
        return np.full(n, float(np.mean(labels)))
    shares = np.bincount(labels.astype(np.int64), minlength=classes) / len(labels)
    return np.tile(shares, (n, 1))


def _fill(learn: np.ndarray, test: np.ndarray) -> None:
    """Put the training median (0 where a column is all NaN) in place of NaN and infinity, in both, in place."""
    if np.isfinite(learn).all() and np.isfinite(test).all():
        return
    learn[~np.isfinite(learn)] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column of NaN only: its median is set to 0 below
        middle = np.nan_to_num(np.nanmedian(learn, axis=0))
    for values in (learn, test):
        bad = ~np.isfinite(values)
        values[bad] = np.broadcast_to(middle, values.shape)[bad]


def _cut(rows: int, kept: int, values: int, used: int) -> str:
    said = []
    if kept < rows:
        said.append(f"learned from {kept:,} of {rows:,} objects drawn at random")
    if used < values:
        said.append(f"{values:,} values an object reduced to {used:,} by the mean over blocks")
    return ", ".join(said)


def _methods(task: str, seed: int) -> list[tuple[str, Callable[[], Any]]]:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    jobs = machine.threads()
    if task == "regression":
        return [
            ("ridge regression", lambda: make_pipeline(StandardScaler(), Ridge(alpha=10.0))),
            (
                "random forest",
                lambda: RandomForestRegressor(_TREES, random_state=seed, n_jobs=jobs, max_features=1 / 3),
            ),
        ]
    return [
        (
            "logistic regression",
            lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200, tol=1e-3)),
        ),
        ("random forest", lambda: RandomForestClassifier(_TREES, random_state=seed, n_jobs=jobs)),
    ]


def _learned(
    model: Any, learn: np.ndarray, labels: np.ndarray, test: np.ndarray, classes: int
) -> tuple[np.ndarray, str]:
    """Fit and answer: (output, remark). A class that the training rows lack has probability 0."""
    from sklearn.exceptions import ConvergenceWarning

    remark = ""
    if classes and len(np.unique(labels)) < 2:
        return _majority(labels, len(test), "classification", classes), "one class only was there to learn from"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(learn, labels)
    if any(issubclass(w.category, ConvergenceWarning) for w in caught):
        remark = "stopped after 200 iterations, before it converged"
    if not classes:
        return np.asarray(model.predict(test), np.float64), remark
    output = np.zeros((len(test), classes))
    output[:, np.asarray(model.classes_, np.int64)] = model.predict_proba(test)
    return output, remark
