"""Accuracy without labels: what the reference's objects of the same confidence have reached.

The mean confidence is the expected accuracy of a calibrated model (Hendrycks and Gimpel 2017, ICLR; Guo et al. 2017,
ICML). Instead of trusting the confidence itself, the accuracy of the reference in bins of it, class by class as far as
there are objects for it, is weighted with the batch's share of each bin. That holds while P(right | confidence, class)
stays what it was; where the inputs have left their ranges nobody knows that without labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from estampa.measure import confidence, decide
from estampa.measure.intervals import wilson
from estampa.monitor.figures import Figure
from estampa.monitor.ranges import Ranges

NAME = "accuracy, estimated without labels"
PER_BIN = 40  #: objects of the reference in a bin, at least
MOST_BINS = 10  #: of a class
DRAWS = 1000  #: of an interval
_SEED = 20170806


class Estimate:
    """Bins of confidence for each predicted class, with the reference's accuracy in them.

    Attributes
    ----------
    edges : class -> inner edges of its bins.
    first : class -> number of its first bin.
    right, size : (bins,) objects of the reference that were right, and all.
    """

    def __init__(self, ranges: Ranges) -> None:
        """Learn from the reference's labelled objects; of a regression there is nothing to learn."""
        self.decision, self.classes = ranges.decision, len(ranges.classes)
        known = ranges.labels >= 0 if self.classes else np.zeros(ranges.m, bool)
        known = known & np.isfinite(ranges.output).all(axis=1)
        output, labels = ranges.output[known], ranges.labels[known]
        self.edges: list[np.ndarray] = []
        self.first: list[int] = []
        predicted, sure, count = np.zeros(0, np.int64), np.zeros(0), 0
        if len(output):
            predicted = decide(output, self.decision)
            sure = confidence(output, predicted)
        for c in range(self.classes if len(output) else 0):
            own = sure[predicted == c]
            bins = max(1, min(MOST_BINS, len(own) // PER_BIN))
            self.edges.append(np.unique(np.quantile(own, np.arange(1, bins) / bins)) if bins > 1 else np.zeros(0))
            self.first.append(count)
            count += len(self.edges[-1]) + 1
        self.bins = count
        members = np.bincount(predicted, minlength=len(self.edges))
        self._rare = np.repeat(members < PER_BIN, [len(edges) + 1 for edges in self.edges])  # a class, not a bin
        self._groups: tuple[np.ndarray, np.ndarray] | None = None
        self._wider = ranges.wider(1, 0.05)
        self.right: np.ndarray = np.zeros(count)
        self.size: np.ndarray = np.zeros(count)
        if count:
            place = self.place(output)
            self.size = np.bincount(place, minlength=count).astype(np.float64)
            self.right = np.bincount(place, weights=predicted == labels, minlength=count)
            self._groups = _by_groups(ranges.groups[known], place, predicted == labels, count)

    def place(self, output: np.ndarray) -> np.ndarray:
        """The bin (n,) of each answer (n, classes)."""
        predicted = decide(output, self.decision)
        sure, found = confidence(output, predicted), np.zeros(len(output), np.int64)
        for c in np.unique(predicted).tolist():
            mine = predicted == c
            found[mine] = self.first[c] + np.searchsorted(self.edges[c], sure[mine], side="right")
        return found

    def counts(self, output: np.ndarray) -> np.ndarray:
        """How many answers lie in each bin, (bins,); those that are not finite are left out."""
        good = output[np.isfinite(output).all(axis=1)]
        if not self.bins or not len(good):
            return np.zeros(self.bins)
        return np.bincount(self.place(good), minlength=self.bins).astype(np.float64)

    def _interval(self, counts: np.ndarray) -> tuple[float, float]:
        """95 % interval of the accuracy that this very batch has: drawn with the accuracy of each bin unsure, and which
        of its objects are right by chance.
        """
        draw = np.random.default_rng(_SEED)
        shares = self._of_objects(draw, counts) if self._groups is None else self._of_groups(draw, counts)
        low, high = np.quantile(shares, (0.025, 0.975))
        return float(low), float(high)

    def _of_objects(self, draw: np.random.Generator, counts: np.ndarray) -> np.ndarray:
        """Accuracies (DRAWS,): beta distributions, with one object's worth of the overall accuracy, then binomial."""
        used = counts > 0
        right, size, many = self.right[used], self.size[used], counts[used].astype(np.int64)
        wrong = self.size.sum() - self.right.sum()
        whole = np.clip(draw.beta(self.right.sum() + 0.5, wrong + 0.5, (DRAWS, 1)), 1e-6, 1 - 1e-6)
        reached = draw.beta(right + whole, size - right + 1 - whole)
        found: np.ndarray = draw.binomial(many, reached).sum(axis=1) / counts.sum()
        return found

    def _of_groups(self, draw: np.random.Generator, counts: np.ndarray) -> np.ndarray:
        """The same where objects come in groups: the reference's groups, drawn with replacement, give each bin's
        accuracy; as many as make up the batch give how far its own groups lie from it, chance of objects included.
        """
        assert self._groups is not None
        right, size, n = *self._groups, counts.sum()
        groups, usual = len(size), self._smoothed(self.right, self.size)
        even = np.full(groups, 1 / groups)
        times = draw.multinomial(groups, even, DRAWS)
        reached = self._smoothed(times @ right, times @ size) @ counts / n
        own = draw.multinomial(max(1, round(n * groups / size.sum())), even, DRAWS)
        away = (own @ (right.sum(axis=1) - size @ usual)) / np.maximum(own @ size.sum(axis=1), 1)
        middle = float(usual @ counts / n)
        found: np.ndarray = np.clip(middle + (reached - middle + away) * self._wider, 0, 1)
        return found

    @staticmethod
    def _smoothed(right: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Accuracy of each bin (..., bins), with one object's worth of the overall accuracy."""
        whole = right.sum(axis=-1, keepdims=True) / np.maximum(size.sum(axis=-1, keepdims=True), 1)
        found: np.ndarray = (right + whole) / (size + 1)
        return found

    def figure(self, counts: np.ndarray, alerts: Sequence[Figure]) -> Figure | None:
        """The estimate for a batch with these counts; None where there is nothing to make it from.

        `alerts` of inputs, embedding or answers make it unreliable, and it says so.
        """
        n = float(counts.sum())
        if not n or not self.bins:
            return None
        whole = float(self.right.sum() / self.size.sum())
        value = float(counts @ self._smoothed(self.right, self.size) / n)
        low, high = self._interval(counts)
        low, high = min(low, value), max(high, value)  # of one object the drawn ones are all right, or all wrong
        usual = wilson(whole, 1 / (1 / self.size.sum() + 1 / n))
        moved = [f.name for f in alerts if f.kind in ("input", "embedding", "output", "flags")]
        why = ""
        if moved:
            why = f"not to be relied on: {moved[0]} left its range, and confidence is learned on data as before"
        elif counts[self._rare].sum() > n / 2:
            why = "not to be relied on: most answers are of classes that the reference hardly has"
        return Figure(NAME, value, low, high, *usual, "estimate", False, why, math.nan)


def _by_groups(
    groups: np.ndarray, place: np.ndarray, right: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Right answers and objects of each group in each bin, (groups, bins); None where each object is a group."""
    names, codes = np.unique(groups, return_inverse=True)
    if len(names) == len(groups):
        return None
    cells = codes * bins + place
    counted = (np.bincount(cells, weights=w, minlength=len(names) * bins) for w in (right, None))
    first, second = (found.reshape(len(names), bins).astype(np.float64) for found in counted)
    return first, second
