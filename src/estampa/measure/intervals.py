"""95 % intervals: the percentile bootstrap over objects or groups, and Wilson's interval at 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from estampa.errors import InputError, nearest

_Z = 1.959963984540054  # two-sided 95 % point of the normal distribution


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval. NaN: the data leave it undefined."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        """{"value", "low", "high"}; null where undefined."""
        return {k: v if math.isfinite(v) else None for k, v in vars(self).items()}

    @classmethod
    def from_json(cls, record: dict[str, float | None]) -> Interval:
        """Read back what `to_json` wrote."""
        return cls(*(math.nan if record[k] is None else float(record[k] or 0.0) for k in ("value", "low", "high")))

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


class Statistic(Protocol):
    """Metrics that can be had for any weights: `Classification`, `Regression`."""

    n: int
    names: tuple[str, ...]

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Values in the order of `names`, under (n,) weights."""

    def counts(self, groups: np.ndarray | None) -> np.ndarray:
        """Objects or groups behind each value that is a proportion, NaN for the others."""


def wilson(share: float, count: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion (1927, J. Am. Stat. Assoc. 22, 209). (NaN, NaN) without objects."""
    if not count > 0:
        return math.nan, math.nan
    z2 = _Z**2 / count
    centre = (share + z2 / 2) / (1 + z2)
    half = _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count)) / (1 + z2)
    return (0.0 if share == 0 else max(0.0, centre - half)), (1.0 if share == 1 else min(1.0, centre + half))


def unit_numbers(n: int, groups: np.ndarray | Sequence[Any] | None) -> np.ndarray | None:
    """Number (n,) of what each object is drawn with, 0 to the number of units - 1; None when nothing ties objects.

    The group "" means "not known": such an object is a unit of its own.
    """
    if groups is None:
        return None
    named = np.asarray(groups)
    if len(named) != n:
        raise InputError("groups must name one group for each object", allowed=str(n), got=str(len(named)))
    numbers: np.ndarray = np.unique(named, return_inverse=True)[1]
    alone = np.flatnonzero(named == "") if named.dtype.kind in "UO" else np.zeros(0, np.int64)
    if not len(alone):
        return numbers
    if len(alone) == n:
        return None
    numbers[alone] = n + np.arange(len(alone))
    tied: np.ndarray = np.unique(numbers, return_inverse=True)[1]
    return tied


def resampled(n: int, groups: np.ndarray | None, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Weights of each resample, (n,) float64: how often each object was drawn, one vector at a time.

    With `groups` whole groups are drawn, as many as there are, and every object of a group has its group's count.
    """
    rng = np.random.default_rng(seed)
    numbers = unit_numbers(n, groups)
    units = n if numbers is None else int(numbers.max()) + 1
    kind = np.int32 if units < 2**31 else np.int64
    for _ in range(resamples):
        drawn = np.bincount(rng.integers(0, units, units, dtype=kind), minlength=units).astype(np.float64)
        yield drawn if numbers is None else drawn[numbers]


def bootstrap(
    statistic: Statistic, groups: np.ndarray | None = None, resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Every value of `statistic` with its 95 % percentile bootstrap interval (Efron 1979, Ann. Stat. 7, 1).

    A proportion of exactly 0 or 1 gets Wilson's interval, since its resamples do not vary. The interval always holds
    the value: a bias of the resampled metric (that of ECE is upward) widens it and never shifts it away. It is NaN when
    there are fewer than two objects, or groups, to draw from. Resamples that leave a value undefined are left out.
    """
    numbers = unit_numbers(statistic.n, groups)
    point = statistic(np.ones(statistic.n))
    units = statistic.n if numbers is None else int(numbers.max()) + 1
    draws = np.full((1, len(point)), np.nan)
    if units > 1:
        draws = np.stack([statistic(w) for w in resampled(statistic.n, numbers, resamples, seed)])
    return bounded(statistic.names, point, draws, statistic.counts(numbers))


def bounded(
    names: Sequence[str], point: np.ndarray, draws: np.ndarray, counts: np.ndarray | None = None
) -> dict[str, Interval]:
    """Intervals by the rules of `bootstrap` from the values (m,), their resamples (r, m) and the counts behind (m,).

    Without `counts` nothing is taken for a proportion (differences).
    """
    low, high = percentiles(draws)
    found = {}
    for i, name in enumerate(names):
        value = float(point[i])
        ends = float(np.minimum(low[i], value)), float(np.maximum(high[i], value))
        if counts is not None and value in (0.0, 1.0) and not math.isnan(counts[i]):
            sure = wilson(value, float(counts[i]))
            ends = float(np.fmin(ends[0], sure[0])), float(np.fmax(ends[1], sure[1]))
        found[name] = Interval(value, *ends)
    return found


def percentiles(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """2.5 and 97.5 % points of each column over its defined values, NaN where there is none."""
    bounds = np.full((2, draws.shape[1]), np.nan)
    whole = ~np.isnan(draws).any(axis=0)
    bounds[:, whole] = np.percentile(draws[:, whole], (2.5, 97.5), axis=0)
    for column in np.flatnonzero(~whole):
        kept = draws[~np.isnan(draws[:, column]), column]
        if len(kept):
            bounds[:, column] = np.percentile(kept, (2.5, 97.5))
    return bounds[0], bounds[1]


def statistic_for(names: Sequence[str], truth: np.ndarray, output: np.ndarray, classes: int | None = None) -> Statistic:
    """The statistic that holds all of `names`; InputError, with the nearest name, when there is none."""
    from estampa.measure.classes import Classification
    from estampa.measure.values import Regression

    if set(names) <= set(Regression.OVERALL):
        return Regression(truth, output)
    made = Classification(truth, output, classes, areas=any(n.startswith(("roc_auc", "pr_auc")) for n in names))
    for name in names:
        if name not in made.names:
            known = (*made.names, *Regression.OVERALL)
            raise InputError(f"no metric {name!r} of this output", allowed=", ".join(known), cure=nearest(name, known))
    return made


def intervals(
    names: Sequence[str],
    truth: np.ndarray,
    output: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    classes: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """The named metrics ("accuracy", "recall[3]", "rmse") of one answer, each with its interval; see `bootstrap`."""
    found = bootstrap(statistic_for(names, truth, output, classes), groups, resamples, seed)
    return {name: found[name] for name in names}


def paired_difference(
    names: Sequence[str],
    truth: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    classes: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """First minus second answer to the same objects, with 95 % intervals from resamples that both share."""
    a, b = (statistic_for(names, truth, output, classes) for output in (first, second))
    return paired(a, b, names, groups, resamples=resamples, seed=seed)


def paired(
    first: Statistic,
    second: Statistic,
    names: Sequence[str],
    groups: np.ndarray | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """First minus second statistic of the same objects, by name, with intervals from resamples that both share.

    NaN intervals where there are fewer than two objects, or groups, to draw from.
    """
    picked = [[s.names.index(name) for name in names] for s in (first, second)]

    def difference(weights: np.ndarray) -> np.ndarray:
        values: np.ndarray = first(weights)[picked[0]] - second(weights)[picked[1]]
        return values

    numbers = unit_numbers(first.n, groups)
    point = difference(np.ones(first.n))
    draws = np.full((1, len(point)), np.nan)
    if (first.n if numbers is None else int(numbers.max()) + 1) > 1:
        draws = np.stack([difference(w) for w in resampled(first.n, numbers, resamples, seed)])
    return bounded(names, point, draws)
