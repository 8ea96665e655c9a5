"""Numbers that depend on order only: areas under curves, rank correlation. Sorted once, then any weights.

A bootstrap resample is a vector of whole-number weights; with the scores sorted once, each resample costs a gather
and a running sum, not a sort.
"""

from __future__ import annotations

import numpy as np

from estampa.errors import InputError


class Ranking:
    """Scores of one class against the rest, sorted once.

    Parameters
    ----------
    positive : (n,) bool, whether the object is of the class.
    scores : (n,) float, larger = more of the class. Equal scores count as ties.
    """

    def __init__(self, positive: np.ndarray, scores: np.ndarray) -> None:
        self.order = np.argsort(scores, kind="stable")
        ordered = np.asarray(scores)[self.order]
        place = np.flatnonzero(np.asarray(positive, bool)[self.order])
        new = np.ones(len(ordered), bool)
        new[1:] = ordered[1:] != ordered[:-1]
        starts = np.flatnonzero(new)
        tie = np.cumsum(new) - 1  # number of the tie that each place belongs to
        self._place = place
        held, self._first = np.unique(tie[place], return_index=True)  # ties that hold a positive, and where they begin
        self._begin = starts[held]
        self._end = np.append(starts, len(ordered))[held + 1]
        self._tied = len(starts) < len(ordered)
        self._ordered = np.empty(
            len(ordered)
        )  # kept between calls: a fresh array of a million costs more than the sums
        self._running = np.zeros(len(ordered) + 1)

    def areas(self, weights: np.ndarray) -> tuple[float, float]:
        """Area under the ROC curve and average precision, under (n,) non-negative weights.

        The first is the Mann-Whitney form, ties counted half (Hanley and McNeil 1982, Radiology 143, 29); the second
        the sum of precision times step of recall, without interpolation. Both are NaN when one side has no weight:
        without positives there is nothing to find, without negatives nothing to confuse them with, and an average
        precision of 1 would be no achievement.
        """
        ordered, running = self._ordered, self._running
        np.take(np.asarray(weights, np.float64), self.order, out=ordered, mode="clip")
        np.cumsum(ordered, out=running[1:])
        total = running[-1]
        held = ordered[self._place]
        if self._tied and len(held):
            held = np.add.reduceat(held, self._first)
        reached = np.cumsum(held)
        positives = float(reached[-1]) if len(reached) else 0.0
        negatives = float(total) - positives
        if positives <= 0 or negatives <= 0:
            return np.nan, np.nan
        below = running[self._begin]
        before = reached - held
        lower = float(held @ below - held @ before)
        if self._tied:
            lower += 0.5 * float(held @ (running[self._end] - below - held))
        area = lower / (positives * negatives)
        np.subtract(total, below, out=below)  # weight at this score or a larger one
        np.subtract(positives, before, out=before)
        precision = np.divide(before, below, out=before, where=below > 0)
        return area, float(held @ precision) / positives


def _rankings(truth: np.ndarray, output: np.ndarray) -> list[Ranking]:
    from estampa.measure.classes import check_labels, check_probabilities

    output = check_probabilities(output)
    truth = check_labels(truth, output.shape[1], len(output))
    return [Ranking(truth == c, output[:, c]) for c in range(output.shape[1])]


def mean_defined(values: np.ndarray) -> float:
    """Mean over the values that are not NaN; NaN when there is none."""
    values = np.asarray(values, float)
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else np.nan


def roc_auc_ovr(truth: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each class against the rest, (k,); NaN for a class that is absent or alone."""
    return np.array([r.areas(np.ones(len(truth)))[0] for r in _rankings(truth, output)])


def pr_auc_ovr(truth: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Average precision of each class against the rest, (k,); NaN for a class that is absent or alone."""
    return np.array([r.areas(np.ones(len(truth)))[1] for r in _rankings(truth, output)])


def roc_curve(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False-positive rate, true-positive rate and threshold at each distinct score, from the largest down.

    `positive` is (n,) bool, `scores` (n,) finite float. The three (m,) arrays begin at (0, 0, inf); a rate is NaN
    throughout when its side is empty.
    """
    positive, scores = np.asarray(positive, bool), np.asarray(scores, float)
    if len(positive) != len(scores) or not np.isfinite(scores).all():
        raise InputError("a ROC curve needs one finite score for each object", got=f"{len(scores)} scores")
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1) if len(ordered) else order
    right = np.cumsum(positive[order])[last]
    wrong = last + 1 - right
    sides = float(positive.sum()), float((~positive).sum())
    true = np.append(0.0, right) / sides[0] if sides[0] else np.full(len(last) + 1, np.nan)
    false = np.append(0.0, wrong) / sides[1] if sides[1] else np.full(len(last) + 1, np.nan)
    return false, true, np.append(np.inf, ordered[last])


class MidRanks:
    """Mid-ranks of values under whole-number weights, as if each object stood there `weight` times."""

    def __init__(self, values: np.ndarray) -> None:
        _, self._tie = np.unique(values, return_inverse=True)
        self._ties = int(self._tie.max()) + 1 if len(self._tie) else 0

    def ranks(self, weights: np.ndarray) -> np.ndarray:
        """Mid-rank of each object, (n,)."""
        held = np.bincount(self._tie, weights=weights, minlength=self._ties)
        ranks: np.ndarray = (np.cumsum(held) - held + (held + 1) / 2)[self._tie]
        return ranks
