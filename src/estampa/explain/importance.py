"""Permutation importance: what the answers lose when a column is shuffled among the judged objects.

Breiman 2001 (Mach. Learn. 45, 5, section 10); Fisher, Rudin & Dominici 2019 (J. Mach. Learn. Res. 20, 177).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from estampa import measure
from estampa.errors import InputError
from estampa.explain.asking import CORRELATED, MOST_COLUMNS, Invalid, Score, Units, ask, telling, together
from estampa.measure import Interval
from estampa.measure.intervals import bounded, resampled
from estampa.progress import SILENT, Progress

FEWEST_ROWS, FEWEST_REPEATS = 300, 3  #: that a bound of time leaves
_TINY = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Permuting:
    """How importance is measured.

    `rows`: judged objects at most, drawn with `seed`. `repeats`: how often a column is shuffled. `seconds`: about as
    long as it may take, None = no bound: fewer repeats, then fewer rows. `columns`: at most so many. `correlated`: see
    `asking.together`. `decision`: of two classes the probability from which the second is answered.
    """

    rows: int = 2000
    repeats: int = 10
    resamples: int = 1000
    seconds: float | None = 15.0
    columns: int = MOST_COLUMNS
    correlated: float = CORRELATED
    decision: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Lost:
    """What shuffling a column, or a group of columns together, costs.

    `columns`: their names. `drop`: of balanced accuracy, positive = it was of use. `rise`: of log loss, in nats.
    `recall`: (k,) drop of each class's recall. `sure`: the drop is above 0 beyond chance, all columns looked at
    considered (Bonferroni).
    """

    columns: tuple[str, ...]
    drop: Interval
    rise: Interval
    recall: tuple[float, ...]
    sure: bool

    @property
    def name(self) -> str:
        """The column; of a group its columns after one another."""
        return ", ".join(self.columns)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        recall = [None if np.isnan(r) else float(r) for r in self.recall]
        return {
            "columns": list(self.columns), "drop": self.drop.to_json(), "log_loss_rise": self.rise.to_json(),
            "recall_drop": recall, "sure": self.sure,
        }  # fmt: skip


@dataclass(frozen=True)
class Importance:
    """Columns one by one, and groups of columns that say the same, most important first.

    `base`: balanced accuracy of the answers as they are. `n`: objects, `repeats`: shufflings of each.
    """

    columns: tuple[Lost, ...]
    groups: tuple[Lost, ...]
    base: float
    n: int
    repeats: int
    notes: tuple[str, ...] = field(default=())

    @property
    def order(self) -> tuple[str, ...]:
        """Names of the columns, most important first."""
        return tuple(lost.columns[0] for lost in self.columns)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "metric": "balanced_accuracy", "base": self.base, "n": self.n, "repeats": self.repeats,
            "columns": [lost.to_json() for lost in self.columns], "groups": [lost.to_json() for lost in self.groups],
            "notes": list(self.notes),
        }  # fmt: skip


def importance(
    score: Score,
    values: np.ndarray,
    truth: np.ndarray,
    columns: Sequence[str],
    *,
    groups: np.ndarray | None = None,
    invalid: Invalid | None = None,
    how: Permuting | None = None,
    progress: Progress = SILENT,
) -> Importance:
    """Shuffle each column among the judged objects, ask again, and see what balanced accuracy and log loss lose.

    Parameters
    ----------
    score, values, columns : see `asking`; `values` (n, columns) of objects that were not learned from.
    truth : (n,) class numbers.
    groups : (n,) what must not be torn apart: the resamples draw whole groups.
    invalid : which values are no measurements; they are shuffled as they are and left out of correlations.

    Recall and log loss are means over objects, so that of every object its own loss is kept (the mean over the
    repeats), and the 95 % interval is a percentile bootstrap over objects of those. A column whose fellows say the same
    loses little alone: columns that correlate are shuffled together too (`groups` of the answer), in the same order, so
    that what is between them stays. Objects without an answer are left out. Raises InputError without objects.
    """
    asked = how or Permuting()
    progress.say(f"permutation importance of {len(columns):,} columns")
    values, truth, groups = _drawn(score, values, truth, groups, asked)
    clean = np.where(invalid(values), np.nan, values) if invalid is not None else values
    looked = telling(clean, truth, asked.columns)
    notes = []
    if len(looked) < len(columns):
        notes.append(
            f"Of {len(columns):,} columns the {len(looked)} that tell the classes apart best one by one were shuffled."
        )
    alike = tuple(tuple(int(looked[c]) for c in g) for g in together(clean[:, looked], asked.correlated))
    units: Units = (*((int(c),) for c in looked), *alike)
    values, truth, groups, asked, cut = _bounded_by_time(score, (values, truth, groups), len(units), asked)
    notes += cut
    base = ask(score, values)
    own = _losses(base, truth, asked.decision)
    lost = np.empty((2, len(truth), len(units)))
    rng = np.random.default_rng(asked.seed)
    progress.start("shuffling columns", len(units), "columns")
    for u, unit in enumerate(units):
        total = np.zeros_like(own)
        for _ in range(asked.repeats):
            shuffled, picked = values.copy(), list(unit)
            shuffled[:, picked] = values[rng.permutation(len(values))][:, picked]
            total += _losses(ask(score, shuffled), truth, asked.decision)
        lost[:, :, u] = total / asked.repeats - own
        progress.advance()
    progress.finish()
    found = _told(lost, truth, groups, base.shape[1], [tuple(columns[c] for c in unit) for unit in units], asked)
    single, joined = found[: len(looked)], found[len(looked) :]
    right = 1 - own[0]
    level = float(np.mean([right[truth == c].mean() for c in np.unique(truth)]))
    return Importance(_sorted(single), _sorted(joined), level, len(truth), asked.repeats, tuple(notes))


def _sorted(found: list[Lost]) -> tuple[Lost, ...]:
    return tuple(sorted(found, key=lambda lost: (-lost.drop.value, -lost.rise.value)))


def _drawn(
    score: Score, values: np.ndarray, truth: np.ndarray, groups: np.ndarray | None, asked: Permuting
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """At most so many objects as are asked for, of those that have an answer."""
    values, truth = np.asarray(values, np.float64), np.asarray(truth, np.int64)
    if values.ndim != 2 or len(values) != len(truth):
        raise InputError("values and truth are of other objects", allowed=f"{len(truth)} rows", got=values.shape)
    rng = np.random.default_rng(asked.seed)
    some = (
        np.sort(rng.choice(len(truth), asked.rows, replace=False)) if len(truth) > asked.rows else np.arange(len(truth))
    )
    if len(some):
        some = some[np.isfinite(ask(score, values[some])).all(axis=1)]
    if not len(some):
        raise InputError("there is no answer to objects with a label: nothing to shuffle", where="importance")
    return values[some], truth[some], None if groups is None else np.asarray(groups)[some]


def _bounded_by_time(
    score: Score, some: tuple[np.ndarray, np.ndarray, np.ndarray | None], units: int, asked: Permuting
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, Permuting, list[str]]:
    """Fewer repeats, then fewer objects, where all would take longer than is allowed; and what is said of it."""
    values, truth, groups = some
    if asked.seconds is None:
        return values, truth, groups, asked, []
    began = time.monotonic()
    ask(score, values)
    affordable = asked.seconds / max(time.monotonic() - began, 1e-6) / max(units, 1)  # shufflings of all columns
    repeats = max(min(asked.repeats, FEWEST_REPEATS), min(asked.repeats, int(affordable)))
    n = len(truth)
    kept = n if affordable >= repeats else max(min(n, FEWEST_ROWS), int(n * affordable / repeats))
    notes = []
    if repeats < asked.repeats:
        notes.append(
            f"Shuffled {repeats} times instead of {asked.repeats}, to keep to about {asked.seconds:g} seconds."
        )
    if kept < n:
        notes.append(f"Measured on {kept:,} of {n:,} objects, to keep to about {asked.seconds:g} seconds.")
        at = np.sort(np.random.default_rng(asked.seed + 1).choice(n, kept, replace=False))
        values, truth, groups = values[at], truth[at], None if groups is None else groups[at]
    return values, truth, groups, replace(asked, repeats=repeats), notes


def _losses(output: np.ndarray, truth: np.ndarray, decision: float | None) -> np.ndarray:
    """(2, n): 1 where the answer is wrong; -ln p of the true class."""
    wrong = measure.decide(output, decision) != truth
    return np.stack([wrong, -np.log(np.clip(output[np.arange(len(truth)), truth], _TINY, 1))])


def _told(
    lost: np.ndarray, truth: np.ndarray, groups: np.ndarray | None, classes: int, names: list[tuple[str, ...]],
    asked: Permuting,
) -> list[Lost]:  # fmt: skip
    """The means of losses (2, n, units) with their intervals."""
    weights = np.stack([np.ones(len(truth)), *resampled(len(truth), groups, asked.resamples, asked.seed)])
    recall = np.full((classes, len(weights), len(names)), np.nan)
    for c in np.unique(truth):
        mine = truth == c
        count = weights[:, mine].sum(axis=1, keepdims=True)
        recall[c] = np.where(count > 0, weights[:, mine] @ lost[0, mine] / np.maximum(count, 1), np.nan)
    there = ~np.isnan(recall)
    drop = np.where(there, recall, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    rise = weights @ lost[1] / weights.sum(axis=1, keepdims=True)
    keys = [str(u) for u in range(len(names))]
    drops, rises = bounded(keys, drop[0], drop[1:]), bounded(keys, rise[0], rise[1:])
    least = np.quantile(drop[1:], 0.025 / len(names), axis=0)
    return [
        Lost(name, drops[key], rises[key], tuple(float(r) for r in recall[:, 0, u]), bool(least[u] > 0))
        for u, (key, name) in enumerate(zip(keys, names, strict=True))
    ]
