"""The bootstrap of numbers that depend on counts only: a resample is one multinomial draw.

Where a number needs no more than how many objects lie in each of k cells (a confusion matrix, the positives and
negatives between two thresholds), drawing n objects with replacement and counting them is drawing the k counts at
once from the multinomial distribution with the cells' shares. That is the same bootstrap, not an approximation of it,
and its cost does not grow with n. With groups whole groups are drawn, and their counts in each cell are added.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from estampa.errors import InputError
from estampa.measure.intervals import Interval, bounded, unit_numbers


class OnCells(Protocol):
    """Numbers that follow from counts: `cells` (n,) of 0..k-1, then the values for any counts (k,)."""

    cells: np.ndarray
    k: int
    names: tuple[str, ...]

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Values in the order of `names`, NaN where undefined."""

    def behind(self, units: np.ndarray | None) -> np.ndarray:
        """Objects (or units drawn together) behind each value that is a proportion, NaN for the others."""


def drawn_counts(
    cells: np.ndarray, k: int, units: np.ndarray | None, resamples: int, seed: int
) -> Iterator[np.ndarray]:
    """Counts (k,) float64 of each resample of n objects with these `cells`; `units` as `unit_numbers` gives them."""
    rng = np.random.default_rng(seed)
    counts = np.zeros(k)
    if units is None:
        sizes = np.bincount(cells, minlength=k)
        held = np.flatnonzero(sizes)
        shares = sizes[held] / len(cells)
        shares[-1] = max(0.0, 1.0 - shares[:-1].sum())  # rounding must not add up to more than 1
        for _ in range(resamples):
            counts[held] = rng.multinomial(len(cells), shares)
            yield counts
        return
    many = int(units.max()) + 1
    pairs, times = np.unique(units.astype(np.int64) * k + cells, return_counts=True)
    unit, cell = pairs // k, pairs % k
    for _ in range(resamples):
        weights = np.bincount(rng.integers(0, many, many), minlength=many)[unit] * times
        yield np.bincount(cell, weights=weights, minlength=k)


def bootstrap_counts(
    statistic: OnCells, groups: np.ndarray | None = None, resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Every value with its 95 % percentile bootstrap interval, by the rules of `intervals.bootstrap`."""
    units = unit_numbers(len(statistic.cells), groups)
    point = statistic(np.bincount(statistic.cells, minlength=statistic.k).astype(np.float64))
    draws = np.full((1, len(point)), np.nan)
    if _several(len(statistic.cells), units):
        drawn = drawn_counts(statistic.cells, statistic.k, units, resamples, seed)
        draws = np.stack([statistic(counts) for counts in drawn])
    return bounded(statistic.names, point, draws, statistic.behind(units))


def paired_counts(
    first: OnCells, second: OnCells, groups: np.ndarray | None = None, resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """First minus second, on the same objects, for the names that both have; the resamples are shared by both."""
    if len(first.cells) != len(second.cells):
        raise InputError(
            "a paired difference needs the same objects on both sides",
            allowed=str(len(first.cells)), got=str(len(second.cells)),
        )  # fmt: skip
    names = [name for name in first.names if name in second.names]
    picked = [[s.names.index(name) for name in names] for s in (first, second)]
    joint, cells = np.unique(first.cells.astype(np.int64) * second.k + second.cells, return_inverse=True)
    mine, other = joint // second.k, joint % second.k

    def difference(counts: np.ndarray) -> np.ndarray:
        a = first(np.bincount(mine, weights=counts, minlength=first.k))
        b = second(np.bincount(other, weights=counts, minlength=second.k))
        values: np.ndarray = a[picked[0]] - b[picked[1]]
        return values

    units = unit_numbers(len(cells), groups)
    point = difference(np.bincount(cells, minlength=len(joint)).astype(np.float64))
    draws = np.full((1, len(point)), np.nan)
    if _several(len(cells), units):
        draws = np.stack([difference(c) for c in drawn_counts(cells, len(joint), units, resamples, seed)])
    return bounded(names, point, draws)


def _several(n: int, units: np.ndarray | None) -> bool:
    """Whether there are at least two things to draw from."""
    return (n if units is None else int(units.max(initial=-1)) + 1) > 1
