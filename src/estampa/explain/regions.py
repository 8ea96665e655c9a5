"""Which regions of the picture the answers of a class lean on, added up over its pictures."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from estampa import measure
from estampa.measure import Interval
from estampa.measure.intervals import bounded, unit_numbers

_THREE = (
    "upper left", "top", "upper right", "left", "centre", "right", "lower left", "bottom", "lower right",
)  # fmt: skip


def names(grid: int) -> list[str]:
    """Names of the grid x grid regions, row by row."""
    if grid == 3:
        return list(_THREE)
    return [f"row {y + 1}, column {x + 1}" for y in range(grid) for x in range(grid)]


def borders(side: int, grid: int) -> list[int]:
    """Where regions begin and end along a side of so many pixels: grid + 1 numbers."""
    return [round(i * side / grid) for i in range(grid + 1)]


def evenly(shape: tuple[int, ...], grid: int) -> np.ndarray:
    """(grid * grid,) share of the picture's pixels in each region: what even importance would have."""
    down, across = np.diff(borders(shape[0], grid)), np.diff(borders(shape[1], grid))
    even: np.ndarray = np.outer(down, across).ravel() / (shape[0] * shape[1])
    return even


def weights(maps: np.ndarray) -> np.ndarray:
    """(n, h, w) float64: the positive part of each map, summing to 1; NaN where nothing speaks for the class."""
    positive = np.where(maps > 0, maps, 0).astype(np.float64)
    total = positive.sum(axis=(1, 2), keepdims=True)
    found: np.ndarray = np.divide(positive, total, out=np.full(maps.shape, np.nan), where=total > 0)
    return found


def shares(maps: np.ndarray, grid: int) -> np.ndarray:
    """(n, grid * grid) share of each picture's importance (its map's positive part) in each region."""
    even = weights(maps)
    down, across = borders(maps.shape[1], grid), borders(maps.shape[2], grid)
    rows = np.stack([even[:, a:b].sum(axis=1) for a, b in pairwise(down)], axis=1)
    cells = np.stack([rows[:, :, a:b].sum(axis=2) for a, b in pairwise(across)], axis=2)
    return cells.reshape(len(maps), grid * grid)


def means(
    values: np.ndarray, groups: np.ndarray | None = None, *, resamples: int = 1000, seed: int = 0
) -> list[Interval]:
    """Mean of each column of `values` (n, m), with its 95 % percentile bootstrap interval over rows (or groups).

    Rows with a value that is not defined are left out. The interval is NaN when there are fewer than two units.
    """
    good = np.isfinite(values).all(axis=1)
    values, tied = values[good], None if groups is None else np.asarray(groups)[good]
    if not len(values):
        return [Interval(np.nan, np.nan, np.nan)] * values.shape[1]
    numbers = unit_numbers(len(values), tied)
    units = len(values) if numbers is None else int(numbers.max()) + 1
    point = values.mean(axis=0)
    if units < 2:
        return [Interval(float(v), np.nan, np.nan) for v in point]
    drawn = np.stack([w @ values / w.sum() for w in measure.resampled(len(values), numbers, resamples, seed)])
    columns = [str(i) for i in range(len(point))]
    return list(bounded(columns, point, drawn).values())


def share_of(happened: np.ndarray, groups: np.ndarray | None = None, seed: int = 0) -> Interval:
    """The share of (n,) bool that is True, with its interval (Wilson's at 0 and 1)."""
    if not len(happened):
        return Interval(np.nan, np.nan, np.nan)
    ones = np.ones(len(happened), np.int64)
    return measure.intervals(["accuracy"], ones, happened.astype(np.int64), groups, classes=2, seed=seed)["accuracy"]
