"""Metrics and their intervals: arrays in, numbers out; neither torch nor files.

Conventions: `truth` is (n,) class indices 0..k-1 or (n,) float targets; `output` is (n, k) probabilities in class
order, or (n,) class indices where an answer has no probabilities, or (n,) predicted values. NaN and infinity are
refused with InputError. A number that the data leave undefined (the recall of a class that never occurs, the
correlation with a constant) is NaN, never a silent 0 or 1; means over classes are over those where the number exists.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from estampa.errors import InputError, nearest
from estampa.measure.classes import (
    Classification,
    accuracy,
    balanced_accuracy,
    brier,
    check_labels,
    check_probabilities,
    confidence,
    confusion_matrix,
    decide,
    ece,
    log_loss,
    macro_f1,
    precision_recall_f1,
    reliability,
    weighted_f1,
)
from estampa.measure.intervals import Interval, intervals, paired_difference, resampled, wilson
from estampa.measure.ranks import mean_defined, pr_auc_ovr, roc_auc_ovr, roc_curve
from estampa.measure.values import Regression, mae, mse, r2, rmse, spearman

#: Names of the metrics of each task, the leading one first.
METRICS: dict[str, tuple[str, ...]] = {"classification": Classification.OVERALL, "regression": Regression.OVERALL}
#: Names of the metrics that exist once for each class, as in "recall[real]".
PER_CLASS: tuple[str, ...] = Classification.PER_CLASS
_SMALLER = frozenset({"log_loss", "brier", "ece", "mse", "rmse", "mae"})
_ON_LABELS: dict[str, Callable[..., float]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "weighted_f1": weighted_f1,
}
_ON_OUTPUT: dict[str, Callable[..., float]] = {
    "log_loss": log_loss,
    "brier": brier,
    "ece": ece,
    "roc_auc": lambda truth, output: mean_defined(roc_auc_ovr(truth, output)),
    "pr_auc": lambda truth, output: mean_defined(pr_auc_ovr(truth, output)),
    "mse": mse,
    "rmse": rmse,
    "mae": mae,
    "r2": r2,
    "spearman": spearman,
}


def known(task: str = "") -> tuple[str, ...]:
    """Names of the metrics of a task, or of both."""
    return METRICS[task] if task else METRICS["classification"] + METRICS["regression"]


def larger_is_better(name: str) -> bool:
    """Whether a larger value is the better one; InputError, with the nearest name, for an unknown metric."""
    if name not in known():
        raise InputError(f"no metric {name!r}", allowed=", ".join(known()), cure=nearest(name, known()))
    return name not in _SMALLER


def score(name: str, truth: np.ndarray, output: np.ndarray) -> float:
    """One metric by its name in `METRICS`; NaN where the data leave it undefined.

    `truth` is (n,) class indices or targets; `output` is (n, k) probabilities, (n,) class indices (for metrics of
    labels), or (n,) values. Raises InputError for an unknown name or unfit arrays.
    """
    larger_is_better(name)
    if name in _ON_LABELS:
        labels = output
        if np.ndim(output) == 2:
            labels = check_probabilities(output).argmax(axis=1)
        return _ON_LABELS[name](truth, labels)
    return _ON_OUTPUT[name](truth, output)


def worst(name: str) -> float:
    """The value that any other beats: minus or plus infinity."""
    return -math.inf if larger_is_better(name) else math.inf


__all__ = [
    "METRICS", "PER_CLASS", "Classification", "Interval", "Regression", "accuracy", "balanced_accuracy", "brier",
    "check_labels", "check_probabilities", "confidence", "confusion_matrix", "decide", "ece", "intervals", "known",
    "larger_is_better", "log_loss", "macro_f1", "mae", "mse", "paired_difference", "pr_auc_ovr", "precision_recall_f1",
    "r2", "reliability", "resampled", "rmse", "roc_auc_ovr", "roc_curve", "score", "spearman", "weighted_f1", "wilson",
    "worst",
]  # fmt: skip
