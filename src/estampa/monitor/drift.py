"""How well a classifier tells a batch from the reference: the size of a drift in one number between 0.5 and 1."""

from __future__ import annotations

import math

import numpy as np

from estampa.measure.ranks import Ranking
from estampa.monitor.figures import Figure

NAME = "told from the reference, AUC"
MOST = 2000  #: objects of either side
FOLDS = 5
_SEED = 19360906
_RIDGE = 0.05  #: of the mean variance: features may be nearly the same


class Sample:
    """A fair sample of all rows that passed, at most MOST of them (Vitter 1985, ACM Trans. Math. Softw. 11, 37)."""

    def __init__(self) -> None:
        self._draw = np.random.default_rng(_SEED)
        self._keys, self.rows = np.zeros(0), np.zeros((0, 0))

    def add(self, rows: np.ndarray) -> None:
        """Let rows (n, k) pass."""
        if not len(rows):
            return
        keys = np.concatenate([self._keys, self._draw.random(len(rows))])
        rows = np.concatenate([self.rows, rows]) if len(self.rows) else rows
        kept = np.argsort(keys)[:MOST]
        self._keys, self.rows = keys[kept], rows[kept]


def told_apart(reference: np.ndarray, batch: np.ndarray) -> Figure | None:
    """The held-out area under the ROC curve of a linear discriminant (Fisher 1936) between (m, k) and (n, k).

    Each fold is judged by a discriminant that was fitted on the others. The interval is that of Hanley and McNeil
    (1982, Radiology 143, 29). None where either side has fewer than 2 FOLDS objects. It shows the size of a drift;
    alarms are the tests' business.
    """
    draw = np.random.default_rng(_SEED)
    one, two = (rows[draw.permutation(len(rows))[:MOST]] for rows in (reference, batch))
    if min(len(one), len(two)) < 2 * FOLDS:
        return None
    rows = np.concatenate([one, two])
    side = np.repeat([False, True], [len(one), len(two)])
    fold = np.concatenate([np.arange(len(one)) % FOLDS, np.arange(len(two)) % FOLDS])
    areas, sizes = [], []
    for held in range(FOLDS):
        seen = fold != held
        scores = rows[~seen] @ _direction(rows[seen], side[seen])
        areas.append(Ranking(side[~seen], scores).areas(np.ones(len(scores)))[0])
        sizes.append(len(scores))
    area = float(np.average(areas, weights=sizes))
    spread, chance = _deviation(area, len(two), len(one)), _deviation(0.5, len(two), len(one))
    low, high = max(0.0, area - 1.96 * spread), min(1.0, area + 1.96 * spread)
    most = min(1.0, 0.5 + 1.96 * chance)
    return Figure(NAME, area, low, high, max(0.0, 0.5 - 1.96 * chance), most, "embedding", False, "", math.nan)


def _direction(rows: np.ndarray, side: np.ndarray) -> np.ndarray:
    one, two = rows[~side], rows[side]
    scatter = np.atleast_2d(np.cov(one, rowvar=False) + np.cov(two, rowvar=False)) / 2
    ridge = _RIDGE * float(np.trace(scatter)) / len(scatter) + 1e-12
    found: np.ndarray = np.linalg.solve(scatter + ridge * np.eye(len(scatter)), two.mean(axis=0) - one.mean(axis=0))
    return found


def _deviation(area: float, n: int, m: int) -> float:
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    square = area * (1 - area) + (n - 1) * (first - area**2) + (m - 1) * (second - area**2)
    return math.sqrt(max(square, 0.0) / (n * m))
