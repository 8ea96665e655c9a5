"""What is watched of an object, as columns whose sums over a batch are all that its tests need.

A batch is held against the reference by means alone: of scores that grow with the logarithm far from the middle, so
that no single object decides; of their spread; of marks (0 or 1); and of random Fourier features (Rahimi and Recht
2007, NIPS 20), whose mean is what the maximum mean discrepancy compares (Gretton et al. 2012, J. Mach. Learn. Res. 13,
723). So a period of a million objects is one row of sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

WAVES = 48  #: random directions of a group; each gives a cosine and a sine
_SEED = 20070103
_TIED = 0.5  #: share of the reference at one value from which a feature is also watched as "differs from it"
_FEW = 20  #: objects that differ, from which the size of what differs is watched too
_EDGE = 0.34  #: share between the median and the point that gives the scale on either side, about one deviation
_REACH = 3.0  #: the largest score; a single object cannot decide more than this
_PER_DIRECTION = 25  #: objects of the reference for each principal direction
_LEAST_DIRECTION = 1e-4  #: variance of a direction, of the first one's, below which it is rounding


@dataclass(frozen=True)
class Column:
    """One column: `name` for people, `kind` of its figure, `way` "typical", "spread" or "share", its feature's number.

    `share` marks where the feature is not `usual` (NaN: of flags and classes, where the feature is 1).
    """

    name: str
    kind: str
    way: str
    feature: int
    usual: float = np.nan


@dataclass
class Group:
    """The columns of one group of features: what `describe`, the components or the output say of an object.

    Attributes
    ----------
    kind : of its figures.
    names : of its features.
    middle, left, right : (k,) median of the reference and the scales below and above it.
    columns : what is summed, in order, before the waves.
    centre : (k,) mean score of the reference; `deviation` of those in `spanned`, the features that vary.
    directions : (spanned, r) principal directions of their scores, each scaled to its own spread.
    frequencies : (spanned, WAVES) of the Fourier features.
    """

    kind: str
    names: tuple[str, ...]
    middle: np.ndarray
    left: np.ndarray
    right: np.ndarray
    columns: list[Column] = field(default_factory=list)
    centre: np.ndarray = field(default_factory=lambda: np.zeros(0))
    directions: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    spanned: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    deviation: np.ndarray = field(default_factory=lambda: np.zeros(0))
    frequencies: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def bend(self, values: np.ndarray) -> np.ndarray:
        """Scores (n, k): see `bent`, of the distance from the median in units of the scale on that side."""
        away = values.astype(np.float64) - self.middle
        return bent(away / np.where(away < 0, self.left, self.right))

    def unbend(self, score: float, feature: int) -> float:
        """The value in its own units whose score this is."""
        scale = self.left[feature] if score < 0 else self.right[feature]
        most = 1 - 1e-6
        return float(self.middle[feature] + scale * np.sinh(_REACH * np.arctanh(np.clip(score / _REACH, -most, most))))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """(n, columns + r + 2 WAVES) of features (n, k), all finite."""
        scores = self.bend(values)
        made = np.empty((len(values), self.width))
        for i, column in enumerate(self.columns):
            if column.way == "typical":
                made[:, i] = scores[:, column.feature]
            elif column.way == "spread":
                made[:, i] = np.sqrt(np.abs(scores[:, column.feature] - self.centre[column.feature]))
            else:
                made[:, i] = values[:, column.feature] != np.float32(column.usual)
        if len(self.spanned):
            scaled = (scores[:, self.spanned] - self.centre[self.spanned]) / self.deviation
            phase = scaled @ self.frequencies
            made[:, len(self.columns) : self.begin] = bent(scaled @ self.directions)
            made[:, self.begin : self.begin + WAVES] = np.cos(phase)
            made[:, self.begin + WAVES :] = np.sin(phase)
        return made

    @property
    def begin(self) -> int:
        """The first column of the waves, after the principal directions."""
        return len(self.columns) + int(self.directions.shape[1])

    @property
    def width(self) -> int:
        """Columns in all."""
        return self.begin + (2 * WAVES if len(self.spanned) else 0)


def bent(away: np.ndarray) -> np.ndarray:
    """Distances in deviations as scores: straight near 0, then as the logarithm, and never beyond _REACH."""
    scores: np.ndarray = _REACH * np.tanh(np.arcsinh(away) / _REACH)
    return scores


def fit_group(kind: str, names: Sequence[str], values: np.ndarray) -> Group:
    """Learn a group from the reference's features (m, k), all finite."""
    middle, left, right = _scales(values)
    group = Group(kind, tuple(names), middle, left, right)
    scores = group.bend(values)
    group.centre, deviation = scores.mean(axis=0), scores.std(axis=0)
    whole: list[int] = []
    for i, name in enumerate(names):
        usual, often = _usual(values[:, i])
        if often >= _TIED:
            binary = len(np.unique(values[:, i])) <= 2
            group.columns.append(Column(_differs(name, usual), kind, "share", i, usual))
            if binary or (1 - often) * len(values) < _FEW:
                continue
        if deviation[i] > 0:
            whole.append(i)
            group.columns.append(Column(f"{name}, typical", kind, "typical", i))
            if often < _TIED:
                group.columns.append(Column(f"{name}, spread", kind, "spread", i))
    if len(whole) > 1:
        group.spanned = np.array(whole)
        group.deviation = deviation[group.spanned]
        scaled = (scores[:, group.spanned] - group.centre[group.spanned]) / group.deviation
        group.frequencies, group.directions = _frequencies(scaled), _directions(scaled)
    return group


def _differs(name: str, usual: float) -> str:
    return f"{name}, share that is not {usual:.4g}"


def _scales(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median, and the distance of the 16 % and 84 % points from it; of ties, the mean distance of what lies there."""
    points = np.quantile(values.astype(np.float64), (0.5 - _EDGE, 0.5, 0.5 + _EDGE), axis=0)
    middle, sides = points[1], [points[1] - points[0], points[2] - points[1]]
    away = values - middle
    for side, there in ((0, -away), (1, away)):
        count = (there > 0).sum(axis=0)
        mean = np.where(there > 0, there, 0).sum(axis=0) / np.maximum(count, 1)
        sides[side] = np.where(sides[side] > 0, sides[side], mean)
    least = 1e-6 * np.maximum(np.abs(middle), 1e-6)
    left = np.where(sides[0] > 0, sides[0], sides[1])
    right = np.where(sides[1] > 0, sides[1], sides[0])
    return middle, np.maximum(left, least), np.maximum(right, least)


def _usual(values: np.ndarray) -> tuple[float, float]:
    """The commonest value and its share."""
    found, counts = np.unique(values, return_counts=True)
    most = int(counts.argmax())
    return float(found[most]), float(counts[most] / len(values))


def _frequencies(scaled: np.ndarray) -> np.ndarray:
    """Directions of Gaussian kernels at half, once and twice the median distance between objects."""
    draw = np.random.Generator(np.random.PCG64(_SEED))
    some = scaled[draw.permutation(len(scaled))[:400]]
    square = (some**2).sum(axis=1)
    distance = np.sqrt(np.maximum(square[:, None] + square - 2 * some @ some.T, 0))
    median = float(np.median(distance[np.triu_indices(len(some), 1)])) if len(some) > 1 else 1.0
    widths = np.repeat(max(median, 1e-6) * np.array([0.5, 1.0, 2.0]), WAVES // 3)
    found: np.ndarray = draw.standard_normal((scaled.shape[1], WAVES)) / widths
    return found


def _directions(scaled: np.ndarray) -> np.ndarray:
    """(k, r): the first principal directions of (m, k), each divided by the distance that holds 68 % of the objects."""
    m, k = scaled.shape
    most = min(k, m // _PER_DIRECTION)
    if most < 2:
        return np.zeros((k, 0))
    values, vectors = np.linalg.eigh(np.cov(scaled, rowvar=False))
    order = np.argsort(values)[::-1][:most]
    kept = order[values[order] > _LEAST_DIRECTION * values[order[0]]]
    spread = np.quantile(np.abs(scaled @ vectors[:, kept]), 2 * _EDGE, axis=0)
    found: np.ndarray = vectors[:, kept] / np.maximum(spread, np.sqrt(values[kept]) / 10)
    return found
