"""Performance where labels came in: every figure with its interval, held against what the reference reached."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from estampa.errors import InputError
from estampa.evaluate.outside import class_number, labels_of
from estampa.measure import Classification, Regression
from estampa.measure.intervals import bootstrap
from estampa.monitor.figures import Figure
from estampa.monitor.ranges import Ranges, quantile

DRAWS = 600  #: pairs of a clean batch and a reference from which the ranges come
RESAMPLES = 400  #: of an interval
MOST = 4000  #: objects of the reference that are drawn from
_SEED = 20110825
_GOOD_LOW = {"log_loss", "brier", "ece", "mse", "rmse", "mae"}


class Labels:
    """Labels by id, in 16 bytes each.

    Attributes
    ----------
    n : how many there are.
    seen : which of them were met.
    """

    def __init__(self, labels: Mapping[str, Any], classes: Sequence[str], where: Path) -> None:
        """Take labels by id; InputError for a class that the model does not know, or what is no number."""
        place = {name: i for i, name in enumerate(classes)}
        values = []
        for name, value in labels.items():
            try:
                values.append(float(class_number(value, place, where, name) if classes else value))
            except (TypeError, ValueError) as error:
                raise InputError("a label that is no number", where=f"{where}, id {name}", got=repr(value)) from error
        keys = keys_of(list(labels))
        order = np.argsort(keys)
        self._keys, self._values = keys[order], np.array(values, np.float64)[order]
        self.n, self.seen = len(keys), np.zeros(len(keys), bool)

    @classmethod
    def read(cls, path: Path, classes: Sequence[str]) -> Labels:
        """Read a file of labels: columns id and label (or class, truth, target, y), or a Dataset."""
        if not path.exists():
            raise InputError("there is no such file of labels", where=path)
        return cls(labels_of(path, "")[0], classes, path)

    def of(self, ids: np.ndarray) -> np.ndarray:
        """The label of each id (n,), NaN where there is none."""
        keys = keys_of(ids.tolist())
        at = np.minimum(np.searchsorted(self._keys, keys), max(self.n - 1, 0))
        found = self._keys[at] == keys if self.n else np.zeros(len(keys), bool)
        self.seen[at[found]] = True
        return np.where(found, self._values[at] if self.n else np.nan, np.nan)


def keys_of(ids: Sequence[str]) -> np.ndarray:
    """(n,) uint64: ids as 8 bytes each of their BLAKE2."""
    digests = b"".join([blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest() for name in ids])
    return np.frombuffer(digests, np.uint64)


class Performance:
    """Ranges of performance, learned from the reference's own answers and labels.

    `rate` is that of false alarms per batch, over all figures of performance together.
    """

    def __init__(self, ranges: Ranges, rate: float) -> None:
        self.classes, self.decision, self.rate = ranges.classes, ranges.decision, rate
        self._wider = ranges.wider
        good = np.isfinite(ranges.output).all(axis=1)
        good &= ranges.labels >= 0 if self.classes else np.isfinite(ranges.labels)
        chosen = np.random.default_rng(_SEED).permutation(np.flatnonzero(good))
        self.m = len(chosen)
        self.known = self.m >= 2
        if self.known:
            self._whole = self._statistic(ranges.labels[chosen], ranges.output[chosen], areas=True)
            few = chosen[:MOST]
            self._alike = np.unique(ranges.groups[few], return_inverse=True)[1]
            self._drawn = self._statistic(ranges.labels[few], ranges.output[few], areas=True)
            self._reached = dict(zip(self._whole.names, self._whole(np.ones(self._whole.n)).tolist(), strict=True))
        self._cache: dict[int, tuple[dict[str, tuple[float, float]], float]] = {}

    def _statistic(self, labels: np.ndarray, output: np.ndarray, *, areas: bool) -> Classification | Regression:
        if not self.classes:
            return Regression(labels, output[:, 0])
        from estampa.measure import decide

        output = output / np.maximum(output.sum(axis=1, keepdims=True), 1e-12)
        return Classification(labels, output, areas=areas, predicted=decide(output, self.decision))

    def _ranges(self, n: int) -> tuple[dict[str, tuple[float, float]], float]:
        """Figure -> (mean, deviation) of what a clean batch of n differs by, and how many deviations are allowed."""
        if n not in self._cache:
            drawn, draw = self._drawn, np.random.default_rng([_SEED, n])
            with np.errstate(all="ignore"):
                away = np.stack(
                    [
                        drawn(_drawn_groups(draw, self._alike, n)) - drawn(_drawn_groups(draw, self._alike, self.m))
                        for _ in range(DRAWS)
                    ]
                )
                mean, deviation = np.nanmean(away, axis=0), np.nanstd(away, axis=0)
                defined = (np.isfinite(away).mean(axis=0) > 0.5) & (deviation > 0)
                worse = np.array([-1 if name in _GOOD_LOW else 1 for name in drawn.names])
                scores = np.where(defined, -worse * (away - mean) / deviation, -np.inf)
            bound = quantile(np.nanmax(np.where(np.isfinite(scores), scores, -np.inf), axis=1), self.rate)
            bound *= self._wider(int(defined.sum()), self.rate)
            told = {name: (float(mean[i]), float(deviation[i])) for i, name in enumerate(drawn.names) if defined[i]}
            self._cache[n] = told, bound
        return self._cache[n]

    def figures(self, labels: np.ndarray, output: np.ndarray) -> tuple[list[Figure], tuple[tuple[int, ...], ...]]:
        """Figures of performance on labelled objects, and their confusion; of answers that are not finite none."""
        good = np.isfinite(output).all(axis=1)
        labels, output = labels[good], output[good]
        if not len(labels):
            return [], ()
        statistic = self._statistic(labels, output, areas=True)
        with np.errstate(all="ignore"):
            found = bootstrap(statistic, None, RESAMPLES)
        ranges, bound = self._ranges(len(labels)) if self.known else ({}, math.nan)
        made = []
        for name, value in found.items():
            if name.startswith("pr_auc"):
                continue
            title, low, high, alert, score = self.title(name), math.nan, math.nan, False, math.nan
            if name in ranges and math.isfinite(self._reached[name]) and math.isfinite(value.value):
                mean, deviation = ranges[name]
                low, high = self._reached[name] + mean - bound * deviation, math.inf
                score = (self._reached[name] + mean - value.value) / (bound * deviation)
                if name in _GOOD_LOW:
                    low, high, score = -math.inf, self._reached[name] + mean + bound * deviation, -score
                alert = score > 1
                low, high = _within(name, low, high)
            side = f"above {high:.4g}" if name in _GOOD_LOW else f"below {low:.4g}"
            why = (
                f"{title} is {value.value:.4g}, {side}: the reference reached {self._reached[name]:.4g}"
                if alert
                else ""
            )
            made.append(Figure(title, value.value, value.low, value.high, low, high, "performance", alert, why, score))
        matrix: tuple[tuple[int, ...], ...] = ()
        if isinstance(statistic, Classification):
            k = len(self.classes)
            cells = np.bincount(statistic.truth * k + statistic.predicted, minlength=k * k).reshape(k, k)
            matrix = tuple(tuple(row) for row in cells.tolist())
        return made, matrix

    def title(self, name: str) -> str:
        """A metric's name with the class's name in place of its number: "recall[spiral]"."""
        kind, cut, number = name.partition("[")
        return f"{kind}[{self.classes[int(number[:-1])]}]" if cut else name


def _drawn_groups(draw: np.random.Generator, groups: np.ndarray, n: int) -> np.ndarray:
    """How often each object (m,) is in a batch of about n of them, drawn with replacement, group by group."""
    count = int(groups.max()) + 1
    many = max(1, round(n * count / len(groups)))
    times: np.ndarray = draw.multinomial(many, np.full(count, 1 / count))[groups].astype(np.float64)
    return times


def _within(name: str, low: float, high: float) -> tuple[float, float]:
    """A range within what the figure can be."""
    if name in ("mse", "rmse", "mae", "log_loss", "brier", "ece"):
        return 0.0, max(high, 0.0)
    top = 1.0
    return (max(low, 0.0) if name not in ("r2", "spearman") else low), top
