"""Working points of two classes: misses at a false-positive rate, thresholds for an aim, purity at a prior.

One class is the positive one ("real"); an object's score is its probability, and from a threshold on the answer is
"positive". With P positives and N negatives judged, the false-positive rate (FPR) is the share of the negatives that
are called positive, the false-negative rate (FNR) the share of the positives that are not.

Rule at a stated FPR: the threshold is the smallest score at which the FPR is not above it. No line is drawn between
two scores: where many objects share one (a forest of 100 trees has 101 scores), the FPR that is reached can lie well
below the stated one, and is given beside it. Where not even the largest score stays within it, nothing can be called
positive and the FNR is 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from estampa.errors import InputError

#: False-positive rates at which misses are stated.
RATES = (1e-2, 1e-3, 1e-4)
#: Half width, in deviations, of the stretch of negatives in which a resample's threshold is looked for.
_WIDE = 10.0
_Z2 = 1.959963984540054**2


class Scored:
    """Scores of two classes, sorted once, largest first.

    Parameters
    ----------
    positive : (n,) bool, whether the object is of the positive class.
    scores : (n,) finite, larger = more of the positive class. Equal scores are never parted by a threshold.

    Attributes
    ----------
    order : (n,) object numbers by falling score; `stretch` (n,) number of the stretch of each object.
    lowest : (s,) smallest score of each stretch, falling: the thresholds that are worth a thought.
    above_negative, above_positive : (s,) how many of each side have that score or a larger one.

    A stretch begins with the objects of one score among which is a negative, and goes on to the next such score: within
    it the FPR stays and only the FNR falls.
    """

    def __init__(self, positive: np.ndarray, scores: np.ndarray) -> None:
        positive, scores = np.asarray(positive, bool), np.asarray(scores)
        if positive.ndim != 1 or positive.shape != scores.shape or not len(scores):
            raise InputError(
                "a working point needs one score for each object", got=f"{positive.shape} and {scores.shape}"
            )
        bad = np.flatnonzero(~np.isfinite(scores))
        if len(bad):
            raise InputError(f"{len(bad)} scores are NaN or infinite", got=f"row {bad[0]}")
        self.positive, self.scores, self.n = positive, scores, len(scores)
        self.positives = int(positive.sum())
        self.negatives = self.n - self.positives
        order = np.argsort(-scores, kind="stable")
        sided, ordered = positive[order], scores[order]
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        mixed = np.add.reduceat(~sided, starts) > 0  # ties that hold a negative: there a stretch begins
        mixed[0] = True
        starts = starts[mixed]
        ends = np.append(starts[1:], self.n) - 1
        self.lowest = ordered[ends].astype(np.float64)
        self.above_positive = np.cumsum(sided)[ends]
        self.above_negative = ends + 1 - self.above_positive
        self.stretch = np.empty(self.n, np.int64)
        self.stretch[order] = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, self.n)))

    def within(self, rate: float) -> int:
        """Number of the last stretch whose FPR is not above `rate`; -1 when already the first one's is."""
        return int(np.searchsorted(self.above_negative, rate * self.negatives * (1 + 1e-12), "right")) - 1

    def threshold(self, rate: float) -> float:
        """The smallest score at which the FPR is not above `rate`; infinity when no score is so."""
        last = self.within(rate)
        return float(self.lowest[last]) if last >= 0 else math.inf


class Operating:
    """Misses at stated false-positive rates and the rates of the answers as given, for any resample (see cells.py).

    Parameters
    ----------
    scored : the scores of both classes.
    answered : (n,) bool, whether the answer is the positive class.
    rates : false-positive rates. One that fewer than one negative stands for (rate * N < 1) is undefined, NaN.
    prior : share of positives where the model will work; None = purity is left out.
    units : (n,) numbers of what is drawn together, as `intervals.unit_numbers` gives them; None = objects.

    Its names: "fnr_at_fpr_0.01" ..., "fpr", "fnr", "completeness" of the answers and, with a prior, "purity".
    """

    def __init__(
        self,
        scored: Scored,
        answered: np.ndarray,
        rates: Sequence[float] = RATES,
        prior: float | None = None,
        units: np.ndarray | None = None,
    ) -> None:
        self.rates, self.prior = tuple(rates), prior
        self.defined = np.array([scored.positives > 0 and rate * scored.negatives >= 1 for rate in rates], bool)
        names = [f"fnr_at_fpr_{rate:g}" for rate in rates] + ["fpr", "fnr", "completeness"]
        self.names = (*names, *(["purity"] if prior is not None else []))
        part = self._regions(scored, units)[scored.stretch]
        self.k = 4 * (int(part.max()) + 1)
        self._answered = np.asarray(answered, bool)
        self.scored = scored
        self.cells = part * 4 + 2 * scored.positive + self._answered

    def _regions(self, scored: Scored, units: np.ndarray | None) -> np.ndarray:
        """Region of each stretch, (s,): stretches are joined where no resample's threshold can fall.

        In a resample the count of negatives above a score varies with the root of the sum, over the units, of their own
        counts squared (sqrt(rate * N) for single objects), and the count allowed with rate times that of all negatives.
        Ten times both are kept on either side.
        """
        before = np.append(0, scored.above_negative[:-1])
        kept = np.zeros(len(before), bool)
        each = np.arange(scored.n) if units is None else units
        every = _deviation(each[~scored.positive])
        for rate in np.array(self.rates)[self.defined]:
            above = ~scored.positive & (scored.stretch <= max(scored.within(rate), 0))
            spread = _deviation(each[above]) + rate * every
            kept |= np.abs(before - rate * scored.negatives) <= _WIDE * (spread + 3)
        regions: np.ndarray = np.cumsum(kept) - int(kept[0])
        return regions

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Values in the order of `names` for (k,) counts; NaN where undefined."""
        table = counts.reshape(-1, 2, 2)
        (negative, false), (missed, right) = table.sum(axis=0)
        negatives, positives = negative + false, missed + right
        values = np.full(len(self.names), np.nan)
        if positives > 0 and negatives > 0 and len(self.rates):
            above = np.cumsum(table.sum(axis=2), axis=0)
            last = np.searchsorted(above[:, 0], np.array(self.rates) * negatives * (1 + 1e-12), "right")
            found = 1 - np.append(0.0, above[:, 1])[last] / positives
            values[: len(self.rates)] = np.where(self.defined, found, np.nan)
        fixed = len(self.rates)
        values[fixed] = false / negatives if negatives > 0 else np.nan
        values[fixed + 1] = missed / positives if positives > 0 else np.nan
        values[fixed + 2] = right / positives if positives > 0 else np.nan
        if self.prior is not None:
            values[fixed + 3] = purity(values[fixed + 2], values[fixed], self.prior)
        return values

    def behind(self, units: np.ndarray | None) -> np.ndarray:
        """Objects or units behind each value, for Wilson's interval at 0 and 1.

        Purity is 1 when no negative was called positive. Its lower end then comes from the upper end of Wilson's
        interval of the FPR, z^2 / (N + z^2), which is Wilson's lower end of 1 for prior * completeness *
        (N + z^2) / (1 - prior) objects.
        """

        def held(mask: np.ndarray) -> float:
            return float(mask.sum() if units is None else len(np.unique(units[mask])))

        positives, negatives = held(self.scored.positive), held(~self.scored.positive)
        values = [*[positives] * len(self.rates), negatives, positives, positives]
        if self.prior is not None:
            right = float((self._answered & self.scored.positive).sum()) / max(self.scored.positives, 1)
            values.append(self.prior * right * (negatives + _Z2) / max(1 - self.prior, 1e-300))
        return np.array(values)


def _deviation(units: np.ndarray) -> float:
    """Root of the sum of squares of how often each unit number occurs."""
    return float(np.linalg.norm(np.bincount(units))) if len(units) else 0.0


def purity(completeness: float, false_positive_rate: float, prior: float) -> float:
    """Share of the objects called positive that are, where a share `prior` of all is positive (Bayes's rule).

    NaN when nothing is called positive, or a rate is undefined.
    """
    right, wrong = prior * completeness, (1 - prior) * false_positive_rate
    return right / (right + wrong) if right + wrong > 0 else math.nan


def read_prior(text: str | float) -> float:
    """A share of positives from "1:1000" (one positive for 1,000 negatives) or 0.001; InputError says what is wrong."""
    named = str(text).strip()
    first, colon, second = named.partition(":")
    try:
        numbers = [float(v) for v in ((first, second) if colon else (named,))]
    except ValueError:
        numbers = []
    if not numbers or not all(math.isfinite(v) and v > 0 for v in numbers) or (not colon and numbers[0] >= 1):
        raise InputError(
            "not a prior",
            where=f"prior {named!r}",
            allowed="positives:negatives, as 1:1000, or a share between 0 and 1",
        )
    return numbers[0] / sum(numbers) if colon else numbers[0]
