"""The figures by the values of a column: by SNR, magnitude, filter, field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np

from estampa import measure
from estampa.errors import InputError
from estampa.measure import Interval
from estampa.measure.cells import bootstrap_counts

#: Columns that are used unasked where a data set has them.
USUAL = ("snr", "magnitude", "magpsf", "mag")
FEWEST = 20  #: objects of a slice that is held against others
_BINS, _MOST_NAMES, _MOST_WORST = 6, 12, 3
_UNKNOWN = "not known"


@dataclass(frozen=True)
class Column:
    """A column to slice by: `values` (n,) numbers (NaN = not known) or texts; `edges` between slices of numbers."""

    name: str
    values: np.ndarray
    edges: tuple[float, ...] = ()

    def at(self, rows: np.ndarray) -> Column:
        """The same column of some of its objects: (m,) bool or numbers. Edges are fixed first, on all of them."""
        edges = self.edges
        if not edges and self.values.dtype.kind == "f":
            edges = nice_edges(self.values)
        return Column(self.name, self.values[rows], edges)


@dataclass(frozen=True)
class Slice:
    """Objects of one stretch or value of a column, and their figures."""

    label: str
    n: int
    metrics: dict[str, Interval]


@dataclass(frozen=True)
class Slices:
    """A column's slices in order. `worst`: labels of those that are worse beyond chance, the worst first."""

    by: str
    edges: tuple[float, ...]
    slices: tuple[Slice, ...]
    worst: tuple[str, ...] = ()

    @property
    def leading(self) -> str:
        """The metric by which slices are called worse: accuracy, or the root mean squared error."""
        return next(iter(self.slices[0].metrics))

    def sentence(self, overall: Interval, words: str) -> str:
        """Which slices are worse than all objects together."""
        looks = sum(s.n >= FEWEST for s in self.slices)
        chance = f"beyond chance (95 % over all {looks} slices, Bonferroni)"
        if not self.worst:
            return f"By {self.by} no slice is worse than the whole ({words} {overall.value:.3f}) {chance}."
        held = {s.label: s for s in self.slices}
        named = "; ".join(f"{w} ({held[w].metrics[self.leading].value:.3f}, n = {held[w].n:,})" for w in self.worst)
        return f"By {self.by}, {words} is worse than the whole ({overall.value:.3f}) {chance} at: {named}."

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        rows = [
            {"label": s.label, "n": s.n, "metrics": {k: v.to_json() for k, v in s.metrics.items()}} for s in self.slices
        ]
        return {"by": self.by, "edges": list(self.edges), "slices": rows, "worst": list(self.worst)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Slices:
        """Read back what `to_json` wrote."""
        slices = tuple(
            Slice(s["label"], s["n"], {k: Interval.from_json(v) for k, v in s["metrics"].items()})
            for s in record["slices"]
        )
        return cls(record["by"], tuple(record["edges"]), slices, tuple(record["worst"]))


def read_by(text: str) -> tuple[str, tuple[float, ...]]:
    """Read "snr" or "snr:3,5,7,10,20" as (name, rising edges); InputError says what is wrong."""
    name, colon, listed = text.strip().partition(":")
    if not name or (colon and not listed.strip()):
        raise InputError("not a column to slice by", where=f"by {text!r}", allowed="COLUMN or COLUMN:3,5,7")
    try:
        edges = tuple(float(v) for v in listed.split(",")) if colon else ()
    except ValueError:
        raise InputError("the edges are not numbers", where=f"by {text!r}", allowed="as in snr:3,5,7,10,20") from None
    if not all(map(math.isfinite, edges)) or any(b <= a for a, b in pairwise(edges)):
        raise InputError("the edges must rise", where=f"by {text!r}", got=listed)
    return name.strip(), edges


def nice_edges(values: np.ndarray, bins: int = _BINS) -> tuple[float, ...]:
    """Rising round numbers that part finite `values` into at most `bins` slices of about as many objects each."""
    known = values[np.isfinite(values)]
    if len(np.unique(known)) <= 1:
        return ()
    wanted = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1]))
    wanted = wanted[wanted > known.min()]  # an edge begins a slice: none before the smallest value
    found = []
    for i, edge in enumerate(wanted.tolist()):
        gaps = [abs(edge - other) for other in wanted[max(0, i - 1) : i + 2].tolist() if other != edge]
        found.append(_rounded(edge, min(gaps, default=abs(edge) or 1.0) / 4))
    return tuple(dict.fromkeys(found))


def _rounded(value: float, most: float) -> float:
    """The roundest number within `most` of a value."""
    for power in range(math.floor(math.log10(max(abs(value), most))) + 1, -300, -1):
        for step in (10.0**power, 5 * 10.0 ** (power - 1), 2 * 10.0 ** (power - 1)):
            near = round(value / step) * step
            if abs(near - value) <= most:
                return float(f"{near:.12g}")
    return value


def parted(column: Column) -> tuple[np.ndarray, list[str], tuple[float, ...]]:
    """Slice number (n,) of each object, the labels of the slices, and the edges that were used."""
    values = np.asarray(column.values)
    if values.dtype.kind not in "fiu":
        if column.edges:
            raise InputError("edges are of numbers", where=f"by {column.name}", got="a column of texts")
        names, first, counts = np.unique(values.astype(str), return_inverse=True, return_counts=True)
        kept = np.sort(np.argsort(-counts, kind="stable")[:_MOST_NAMES])
        labels = [str(names[i]) or _UNKNOWN for i in kept]
        place = np.full(len(names), len(kept))
        place[kept] = np.arange(len(kept))
        if len(names) > len(kept):
            labels.append(f"{len(names) - len(kept):,} others")
        return place[first], labels, ()
    numbers = values.astype(np.float64)
    edges = column.edges or nice_edges(numbers)
    texts = [f"{edge:.6g}" for edge in edges]
    labels = [f"below {texts[0]}"] if edges else ["all"]
    labels += [f"{a} to {b}" for a, b in pairwise(texts)] + ([f"from {texts[-1]}"] if edges else [])
    part = np.searchsorted(np.array(edges), numbers, "right")
    unknown = np.isnan(numbers)
    if unknown.any():
        part[unknown] = len(labels)
        labels.append(_UNKNOWN)
    return part, labels, edges


class _Confusions:
    """Figures of every slice from the counts of (slice, truth, answer)."""

    def __init__(self, part: np.ndarray, slices: int, truth: np.ndarray, predicted: np.ndarray, shape: tuple[int, int]):
        self.classes, self.positive = shape
        self.slices = slices
        self.cells = (part * self.classes + truth) * self.classes + predicted
        self.k = slices * self.classes**2
        self.each = ("accuracy", "fnr", "fpr") if self.classes == 2 else ("accuracy", "balanced_accuracy")
        self.names = tuple(f"{name} {i}" for i in range(slices) for name in self.each)
        self._part, self._truth = part, truth

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        table = counts.reshape(self.slices, self.classes, self.classes)
        right, truth = np.diagonal(table, axis1=1, axis2=2), table.sum(axis=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            accuracy = right.sum(axis=1) / truth.sum(axis=1)
            recall = right / truth
            if self.classes == 2:
                rest = 1 - recall
                return np.stack([accuracy, rest[:, self.positive], rest[:, 1 - self.positive]], axis=1).ravel()
            held = (truth > 0).sum(axis=1)
            balanced = np.where(truth > 0, recall, 0).sum(axis=1) / held
            return np.stack([accuracy, balanced], axis=1).ravel()

    def behind(self, units: np.ndarray | None) -> np.ndarray:
        """Objects or units behind each share; of a mean over classes the smallest class counts for all of them."""
        found = []
        for i in range(self.slices):
            mine = self._part == i
            sides = [mine & (self._truth == c) for c in range(self.classes)]
            counts = [float(m.sum() if units is None else len(np.unique(units[m]))) for m in (mine, *sides)]
            if self.classes == 2:
                found += [counts[0], counts[1 + self.positive], counts[2 - self.positive]]
            else:
                some = [c for c in counts[1:] if c]
                found += [counts[0], min(some, default=math.nan) * len(some)]
        return np.array(found)


def sliced(
    column: Column,
    truth: np.ndarray,
    predicted: np.ndarray,
    shape: tuple[int, int],
    overall: Interval,
    groups: np.ndarray | None,
    how: tuple[int, int],
) -> Slices:
    """The figures of one answer by a column.

    `truth` and `predicted` are (n,) class numbers or (n,) values; `shape` is (number of classes, number of the positive
    one), (0, 0) for a regression; `overall` is the leading figure of all objects; `how` is (resamples, seed).
    """
    if len(column.values) != len(truth):
        raise InputError(
            "a column to slice by needs one value for each object", where=f"by {column.name}",
            allowed=str(len(truth)), got=str(len(column.values)),
        )  # fmt: skip
    part, labels, edges = parted(column)
    counts = np.bincount(part, minlength=len(labels))
    if shape[0]:
        statistic = _Confusions(part, len(labels), truth, predicted, shape)
        found = bootstrap_counts(statistic, groups, *how)
        each = [{name: found[f"{name} {i}"] for name in statistic.each} for i in range(len(labels))]
    else:
        each = [_regression(part == i, truth, predicted, groups, how) for i in range(len(labels))]
    slices = tuple(Slice(*row) for row in zip(labels, counts.tolist(), each, strict=True) if row[1])
    return Slices(column.name, edges, slices, _worst(slices, overall))


def _regression(
    mine: np.ndarray, truth: np.ndarray, output: np.ndarray, groups: np.ndarray | None, how: tuple[int, int]
) -> dict[str, Interval]:
    if not mine.any():
        return {}
    tied = None if groups is None else groups[mine]
    return measure.intervals(["rmse", "mae"], truth[mine], output[mine], tied, resamples=how[0], seed=how[1])


def stretched(looks: int) -> float:
    """How much wider than one 95 % interval each of so many must be, so that all hold together (Bonferroni)."""
    normal = NormalDist().inv_cdf
    return normal(1 - 0.025 / max(1, looks)) / normal(0.975)


def _worst(slices: Sequence[Slice], overall: Interval) -> tuple[str, ...]:
    """Labels of slices of at least 20 objects whose interval lies wholly on the worse side of the overall value.

    Many slices are many looks, one of which may lie apart by chance. So each is held to the level 1 - 0.05 / k, k the
    slices looked at (Bonferroni; Dunn 1961, J. Am. Stat. Assoc. 56, 52): its interval's half is stretched by the ratio
    of the normal quantiles.
    """
    if not slices:
        return ()
    name = next(iter(slices[0].metrics))
    sign = 1 if measure.larger_is_better(name) else -1
    large = [s for s in slices if s.n >= FEWEST and name in s.metrics]
    stretch = stretched(len(large))
    clear = []
    for one in large:
        found = one.metrics[name]
        end = found.value + stretch * ((found.high if sign > 0 else found.low) - found.value)
        if sign * (end - overall.value) < 0:
            clear.append(one)
    return tuple(s.label for s in sorted(clear, key=lambda s: sign * s.metrics[name].value)[:_MOST_WORST])
