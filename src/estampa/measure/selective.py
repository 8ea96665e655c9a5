"""What is gained by answering only where the model is sure: coverage, and the accuracy of what is answered."""

from __future__ import annotations

import numpy as np

from estampa.errors import InputError
from estampa.measure.classes import check_labels
from estampa.measure.intervals import unit_numbers, wilson


class Selective:
    """Coverage and selective accuracy at given thresholds, for any weights (El-Yaniv & Wiener 2010, J. Mach. Learn.
    Res. 11, 1605): an object is answered when its confidence is at least the threshold.

    Parameters
    ----------
    right : (n,) bool, the answer is right.
    confidence : (n,) probability of each answer.
    thresholds : (m,).

    `names` are "coverage[i]" and "accuracy[i]" for each threshold i, as `measure.intervals.bootstrap` takes them. The
    accuracy is NaN where nothing is answered.
    """

    def __init__(self, right: np.ndarray, confidence: np.ndarray, thresholds: np.ndarray) -> None:
        self.right = np.asarray(right, bool)
        self.confidence = np.asarray(confidence, np.float64)
        self.thresholds = np.asarray(thresholds, np.float64)
        if self.right.shape != self.confidence.shape or self.right.ndim != 1 or not len(self.right):
            raise InputError(
                "there must be one confidence for each answer", got=f"{self.right.shape} and {self.confidence.shape}"
            )
        self.n = len(self.right)
        self._order = np.argsort(-self.confidence, kind="stable")
        self._answered = np.searchsorted(-self.confidence[self._order], -self.thresholds, side="right")
        m = range(len(self.thresholds))
        self.names = (*(f"coverage[{i}]" for i in m), *(f"accuracy[{i}]" for i in m))

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Values in the order of `names` under (n,) non-negative weights."""
        drawn = weights[self._order]
        total = np.concatenate([[0.0], np.cumsum(drawn)])[self._answered]
        right = np.concatenate([[0.0], np.cumsum(drawn * self.right[self._order])])[self._answered]
        accuracy = np.divide(right, total, out=np.full(len(total), np.nan), where=total > 0)
        return np.concatenate([total / weights.sum(), accuracy])

    def counts(self, groups: np.ndarray | None) -> np.ndarray:
        """Objects (or groups) behind each value: all of them for the coverage, the answered ones for the accuracy."""
        first = _first_of_group(None if groups is None else np.asarray(groups)[self._order], self.n)
        held = np.concatenate([[0.0], np.cumsum(first)])
        return np.concatenate([np.full(len(self.thresholds), held[-1]), held[self._answered]])


def _first_of_group(groups: np.ndarray | None, n: int) -> np.ndarray:
    """(n,) 1 where a group comes for the first time, 0 elsewhere; 1 throughout without groups."""
    first = np.zeros(n)
    if groups is None:
        return first + 1
    first[np.unique(groups, return_index=True)[1]] = 1
    return first


def confidence_threshold(
    truth: np.ndarray,
    predicted: np.ndarray,
    confidence: np.ndarray,
    keep: float,
    groups: np.ndarray | None = None,
) -> tuple[float | None, float]:
    """The smallest threshold of confidence that keeps an accuracy among the answers at or above it.

    Parameters
    ----------
    truth, predicted : (n,) class numbers.
    confidence : (n,) probabilities of the answers.
    keep : the accuracy to keep, between 0 and 1.
    groups : (n,) what is not independent: with groups their number counts, not that of the objects.

    Returns (threshold, best): the threshold, 0 when all may be answered, or None when there is none; and the highest
    accuracy that some threshold keeps. "Keeps" means that the lower end of Wilson's 95 % interval reaches `keep`: the
    share that is right in a sample falls short of the true one half of the time, and a promise should not. Since the
    smallest of many thresholds is taken, the promise is a little weaker than that; the judged part shows what it is.
    The threshold lies midway to the next lower confidence, so that rounding moves no object across it.
    """
    confidence = np.asarray(confidence, np.float64)
    n = len(confidence)
    classes = int(max(np.max(truth, initial=0), np.max(predicted, initial=0))) + 1
    right = check_labels(truth, classes, n) == check_labels(predicted, classes, n, "prediction")
    order = np.argsort(-confidence, kind="stable")
    sure = confidence[order]
    numbers = unit_numbers(n, groups)
    units = np.cumsum(_first_of_group(None if numbers is None else numbers[order], n))
    share = np.cumsum(right[order]) / np.arange(1, n + 1)
    last = np.flatnonzero(np.append(sure[1:] < sure[:-1], True))  # objects of equal confidence stay together
    low = np.array([wilson(float(share[i]), float(units[i]))[0] for i in last])
    kept = np.flatnonzero(low >= keep)
    if not len(kept):
        return None, float(low.max())
    place = int(last[kept[-1]])
    return (0.0 if place == n - 1 else float((sure[place] + sure[place + 1]) / 2)), float(low.max())


def least_objects(keep: float) -> int:
    """Objects (or groups) that all must be right for the lower end of Wilson's interval to reach `keep`."""
    n = 1
    while wilson(1.0, float(n))[0] < keep:
        n *= 2
    low = n // 2
    while n - low > 1:
        middle = (low + n) // 2
        low, n = (low, middle) if wilson(1.0, float(middle))[0] >= keep else (middle, n)
    return n
