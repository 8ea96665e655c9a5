"""Where a challenger got better or worse than the champion: by class, by columns, by what describes an object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from estampa.data.summary import describe, names
from estampa.evaluate.slices import FEWEST, Column, parted, stretched
from estampa.evaluate.terms import columns_of
from estampa.measure import Interval
from estampa.measure.intervals import bounded, resampled
from estampa.measure.pairs import sign_test
from estampa.monitor.comparison import SliceChange
from estampa.predict.source import open_table

if TYPE_CHECKING:
    from estampa.bundle.store import Bundle
    from estampa.data.dataset import Dataset

AUTO = "auto"
_DESCRIBED = ("mean", "deviation", "missing")  #: of each channel of a picture
_MOST = 12  #: columns that are taken unasked
_LEVEL = 0.05
_FEW = 12  #: whole numbers that are names rather than measurements


@dataclass(frozen=True)
class _Cells:
    """One column's slices: (n,) slice number of each object from `first` on, and the labels."""

    by: str
    first: int
    part: np.ndarray
    labels: list[str]


def columns(
    dataset: Dataset,
    rows: np.ndarray,
    champion: Bundle,
    true: tuple[tuple[str, ...], np.ndarray],
    by: Sequence[str] = (AUTO,),
) -> tuple[Column, ...]:
    """The true class, the columns asked for, and with "auto" what describes the objects; each at `rows`.

    `true`: names of the classes, and (m,) which of them each object is.
    """
    asked = columns_of(dataset, rows, by)
    classes, truth = true
    made = [Column("class", np.array(classes)[truth])] if classes else []
    if AUTO in by:
        known = {column.name for column in asked}
        more = _of_table(dataset, rows, champion) if champion.of_table else _of_pictures(dataset, rows)
        made += [c for c in more if c.name not in known and len(np.unique(c.values[np.isfinite(c.values)])) > 1][:_MOST]
    return (*made, *asked)


def _of_table(dataset: Dataset, rows: np.ndarray, champion: Bundle) -> list[Column]:
    """The columns that the champion reads; what failed is NaN, and so a slice of its own."""
    values = open_table(dataset, champion.table, rows).take_rows(np.arange(len(rows)))
    values = np.where(champion.preparation.invalid(values), np.nan, values)
    return [Column(name, values[:, c]) for c, name in enumerate(champion.table.column_names)]


def _of_pictures(dataset: Dataset, rows: np.ndarray) -> list[Column]:
    channels = dataset.header.channels or dataset.header.shape[2] if dataset.header.shape else 0
    if not channels:
        return []
    found = np.concatenate([describe(images) for _, images in dataset.blocks(rows)])
    return [
        Column(name, found[:, c].astype(np.float64))
        for c, name in enumerate(names(channels))
        if name.rpartition(".")[2] in _DESCRIBED
    ]


def changes(
    by: Sequence[Column],
    truth: np.ndarray,
    champion: np.ndarray,
    challenger: np.ndarray,
    *,
    classes: int,
    groups: np.ndarray | None,
    how: tuple[int, int],
) -> tuple[SliceChange, ...]:
    """What changed in each slice of at least 20 objects.

    `truth`, `champion` and `challenger` are (n,) class numbers, or values where `classes` is 0. A slice is called worse
    or better where the paired interval of its difference, stretched for the number of slices looked at (Bonferroni),
    leaves out 0; of answers without groups also McNemar's exact test must say so at that level, since an interval of
    few parted answers is too short.
    """
    pair = [_quality(truth, said, classes) for said in (champion, challenger)]
    cells = _cells(by)
    total = sum(len(c.labels) for c in cells)
    sums = [_summed(cells, values, total) for values in (np.ones(len(truth)), *pair)]
    draws = np.stack([_means(cells, w, pair[1] - pair[0], total) for w in resampled(len(truth), groups, *how)])
    with np.errstate(invalid="ignore", divide="ignore"):
        old, new = sums[1] / sums[0], sums[2] / sums[0]
    found = bounded([str(i) for i in range(total)], new - old, draws)
    looks = int((sums[0] >= FEWEST).sum())
    exact = bool(classes) and groups is None
    told = []
    for cell in cells:
        for i, label in enumerate(cell.labels):
            at = cell.first + i
            if sums[0][at] < FEWEST:
                continue
            one = SliceChange(cell.by, label, int(sums[0][at]), float(old[at]), float(new[at]), found[str(at)])
            inside = cell.part == at
            moved = (pair[1] - pair[0])[inside]
            p = sign_test(int((moved > 0).sum()), int((moved < 0).sum())) if exact else 0.0
            told.append(replace(one, change=_change(one.difference, stretched(looks), p * looks, better=bool(classes))))
    return tuple(told)


def _quality(truth: np.ndarray, said: np.ndarray, classes: int) -> np.ndarray:
    """1 for a right answer; of values the absolute error."""
    return np.asarray((said == truth).astype(np.float64) if classes else np.abs(said - truth))


def _cells(by: Sequence[Column]) -> list[_Cells]:
    cells, first = [], 0
    for column in by:
        part, labels, _ = parted(_by_value(column))
        if len(labels) < 2:
            continue
        cells.append(_Cells(column.name, first, part + first, labels))
        first += len(labels)
    return cells


def _by_value(column: Column) -> Column:
    """A column of a few whole numbers (a camera, a field) as one of names: its stretches would say nothing."""
    values = np.asarray(column.values)
    if column.edges or values.dtype.kind not in "fiu":
        return column
    known = np.unique(values[np.isfinite(values)])
    if not 1 < len(known) <= _FEW or (known != np.floor(known)).any():
        return column
    return replace(column, values=np.array([f"{v:.0f}" if np.isfinite(v) else "" for v in values.tolist()]))


def _summed(cells: Sequence[_Cells], values: np.ndarray, total: int) -> np.ndarray:
    found = np.zeros(total)
    for cell in cells:
        found += np.bincount(cell.part, weights=values, minlength=total)
    return found


def _means(cells: Sequence[_Cells], weights: np.ndarray, values: np.ndarray, total: int) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(_summed(cells, weights * values, total) / _summed(cells, weights, total))


def _change(found: Interval, stretch: float, p: float, *, better: bool) -> str:
    """What a difference is called; `p` is multiplied by the looks, `better`: whether more is better."""
    low, high = (found.value + stretch * (end - found.value) for end in (found.low, found.high))
    if not (low > 0 or high < 0) or p >= _LEVEL:
        return ""
    return "better" if (low > 0) == better else "worse"
