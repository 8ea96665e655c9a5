"""A batch's sums held against the reference: one normal score for each test, for many batches at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estampa.monitor.columns import Group


@dataclass
class Sums:
    """What is kept of a batch in one group: how many objects, the sum and the sum of squares of each column."""

    n: int
    total: np.ndarray
    squares: np.ndarray

    def add(self, rows: np.ndarray) -> None:
        """Count objects in, (n, columns)."""
        self.n += len(rows)
        self.total += rows.sum(axis=0)
        self.squares += np.einsum("ij,ij->j", rows, rows)


@dataclass
class Learned:
    """A group, and what its tests need of the reference.

    Attributes
    ----------
    group : its columns.
    m : objects of the reference.
    mean, variance : of each column.
    shares : which columns are marks.
    deviation : of the principal columns.
    traces : of the covariance, and of its square, of the waves ("mmd") and the principal columns ("principal").
    """

    group: Group
    m: int
    mean: np.ndarray
    variance: np.ndarray
    shares: np.ndarray
    deviation: np.ndarray
    traces: dict[str, tuple[float, float]]

    @property
    def plain(self) -> int:
        """Columns with a test of their own."""
        return len(self.group.columns)

    @property
    def joint(self) -> tuple[str, ...]:
        """Tests over all columns: "mmd" and "principal", as far as there are any."""
        return tuple(self.traces)

    def scores(self, n: int, batch: np.ndarray, m: int, rest: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Normal scores (b, tests) of b batches of n objects, against m others.

        `batch`, `rest`: (b, columns) means; `variance` (b, plain columns) of the others. Tests over all columns come
        last; of these only large scores count, as a batch cannot be too near.
        """
        plain, apart = self.plain, 1 / n + 1 / m
        away = batch - rest
        found = away[:, :plain] / np.sqrt(np.maximum(variance, 1e-12) * apart)
        if self.shares.any():
            found[:, self.shares] = of_shares(n, batch[:, :plain][:, self.shares], m, rest[:, :plain][:, self.shares])
        joint = [self._joint(name, away) / apart for name in self.joint]
        scores = [_from_chi2(value, *self.moments(name)) for name, value in zip(self.joint, joint, strict=True)]
        return np.concatenate([found, *(s[:, None] for s in scores)], axis=1)

    def _joint(self, name: str, away: np.ndarray) -> np.ndarray:
        plain, begin = self.plain, self.group.begin
        reached = away[:, begin:] if name == "mmd" else away[:, plain:begin] / self.deviation
        squared: np.ndarray = (reached**2).sum(axis=1)
        return squared

    def moments(self, name: str) -> tuple[float, float]:
        """Mean of a joint statistic among clean batches, and the degrees of freedom of the chi-squared that fits it."""
        trace, trace2 = self.traces[name]
        return trace, trace**2 / trace2


def learn(group: Group, rows: np.ndarray) -> Learned:
    """Learn from the reference's columns (m, columns)."""
    plain, begin, m = len(group.columns), group.begin, len(rows)
    mean, variance = rows.mean(axis=0), rows.var(axis=0, ddof=min(1, m - 1))
    deviation = np.sqrt(np.maximum(variance[plain:begin], 1e-12))
    traces = {}
    for name, part in (("mmd", rows[:, begin:] - mean[begin:]), ("principal", rows[:, plain:begin] / deviation)):
        if part.shape[1]:
            covariance = np.atleast_2d(np.cov(part, rowvar=False))
            traces[name] = float(np.trace(covariance)), float((covariance**2).sum())
    shares = np.array([column.way == "share" for column in group.columns], bool)
    return Learned(group, m, mean, variance[:plain], shares, deviation, traces)


def _from_chi2(value: np.ndarray, mean: float, freedom: float) -> np.ndarray:
    """Normal scores of chi-squared values with this mean (Wilson and Hilferty 1931, Proc. Natl. Acad. Sci. 17, 684)."""
    third = 2 / (9 * freedom)
    scores: np.ndarray = (np.cbrt(value / mean) - (1 - third)) / np.sqrt(third)
    return scores


def to_chi2(score: float, mean: float, freedom: float) -> float:
    """The value that `_from_chi2` gives this score."""
    third = 2 / (9 * freedom)
    return mean * max(1 - third + score * float(np.sqrt(third)), 0.0) ** 3


def of_shares(n: float, batch: np.ndarray, m: float, rest: np.ndarray) -> np.ndarray:
    """Normal scores of the difference of two shares: the signed root of the likelihood ratio (Wilks 1938, Ann. Math.
    Stat. 9, 60), each count half a step nearer to the other one, as counts are whole (Yates 1934).
    """
    pool = (n * batch + m * rest) / (n + m)
    step = np.minimum(0.5, np.abs(batch - rest) * n * m / (n + m))
    sign = np.sign(batch - rest)
    one, two = np.clip(batch - sign * step / n, 0, 1), np.clip(rest + sign * step / m, 0, 1)
    ratio = n * _divergence(one, pool) + m * _divergence(two, pool)
    scores: np.ndarray = sign * np.sqrt(2 * np.maximum(ratio, 0))
    return scores


def _divergence(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence of shares, 0 log 0 = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.where(one > 0, one * np.log(one / other), 0.0)
        second = np.where(one < 1, (1 - one) * np.log((1 - one) / (1 - other)), 0.0)
    total: np.ndarray = first + second
    return total
