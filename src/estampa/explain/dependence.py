"""Partial dependence: the mean answer when a column is set to a value for all objects, and each object's curve.

Friedman 2001 (Ann. Stat. 29, 1189, section 8.2); the curves of single objects: Goldstein, Kapelner, Bleich & Pitkin
2015 (J. Comput. Graph. Stat. 24, 44).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa.errors import InputError, nearest
from estampa.explain.asking import Invalid, Score, ask

POINTS, CURVES = 30, 200
ENDS = (0.02, 0.98)  #: quantiles of the data between which a column is moved
_RUG = 200  #: values of the data that are kept to be drawn


@dataclass(frozen=True)
class Dependence:
    """How the answers follow one column.

    Attributes
    ----------
    column, unit : its name, and its unit ("" = none is known).
    grid : (g,) values that it was set to, ascending, between the 2 % and 98 % quantile of the valid ones.
    curves : (objects, g, k) probabilities of each object at each value.
    rug : (m,) values of the data drawn evenly by rank, ascending, within the grid.
    """

    column: str
    unit: str
    grid: np.ndarray
    curves: np.ndarray
    rug: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """(g, k) the partial dependence."""
        found: np.ndarray = self.curves.mean(axis=0)
        return found

    def spread(self, of: int, shares: tuple[float, float] = (0.1, 0.9)) -> np.ndarray:
        """(2, g) quantiles of the single objects' curves of a class."""
        found: np.ndarray = np.quantile(self.curves[:, :, of], shares, axis=0)
        return found

    @property
    def swing(self) -> np.ndarray:
        """(k,) how far the mean moves over the grid, largest minus smallest."""
        found: np.ndarray = np.ptp(self.mean, axis=0)
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values, of the mean only."""
        return {
            "column": self.column, "unit": self.unit, "grid": self.grid.tolist(), "mean": self.mean.tolist(),
            "objects": len(self.curves),
        }  # fmt: skip


def dependence(
    score: Score,
    values: np.ndarray,
    columns: Sequence[str],
    wanted: Sequence[str],
    *,
    units: Sequence[str] = (),
    invalid: Invalid | None = None,
    seed: int = 0,
) -> list[Dependence]:
    """The partial dependence of the `wanted` columns, in that order.

    `score`, `values` (n, columns), `columns`: see `asking`; `invalid`: which values are no measurements, and so are no
    place to go to. At most 200 objects, drawn with `seed`; 30 values spread evenly between two quantiles, or the values
    that occur where they are fewer. A column with fewer than two valid values is left out. Raises InputError, with the
    nearest name, for a column that is not there.

    Setting a column alone can make objects that do not exist: where columns correlate the ends of a curve are guesses.
    """
    rng = np.random.default_rng(seed)
    some = values[np.sort(rng.choice(len(values), CURVES, replace=False))] if len(values) > CURVES else values
    some = some[np.isfinite(ask(score, some)).all(axis=1)] if len(some) else some
    if not len(some):
        raise InputError("there is no object with an answer", where="partial dependence")
    good = np.isfinite(values) if invalid is None else np.isfinite(values) & ~invalid(values)
    found = []
    for name in wanted:
        if name not in columns:
            raise InputError(f"no column {name!r}", where="partial dependence", cure=nearest(name, columns))
        c = list(columns).index(name)
        valid = np.sort(values[good[:, c], c])
        grid = _grid(valid)
        if len(grid) < 2:
            continue
        moved = np.repeat(some, len(grid), axis=0)
        moved[:, c] = np.tile(grid, len(some))
        curves = ask(score, moved).reshape(len(some), len(grid), -1)
        inside = valid[(valid >= grid[0]) & (valid <= grid[-1])]
        rug = inside[np.linspace(0, len(inside) - 1, min(_RUG, len(inside))).astype(np.int64)]
        found.append(Dependence(name, units[c] if units else "", grid, curves, rug))
    return found


def _grid(valid: np.ndarray) -> np.ndarray:
    """Where a column is set to; empty where it has no two values."""
    if not len(valid):
        return valid
    different = np.unique(valid)
    if len(different) <= POINTS:
        return different
    low, high = np.quantile(valid, ENDS)
    return np.linspace(low, high, POINTS) if high > low else different[[0, -1]]
