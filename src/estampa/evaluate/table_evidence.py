"""What a report tells of a table beyond any judgement: columns, importance, dependence, reasons, the unlabelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from estampa import measure
from estampa.data import sentinels
from estampa.data.measured import BLOCK, ROLE_WORDS, measured
from estampa.data.same import rules_of
from estampa.explain.asking import Score, ask
from estampa.explain.dependence import Dependence, dependence
from estampa.explain.importance import Importance, Permuting, importance
from estampa.explain.reasons import Reasons, reasons
from estampa.explain.tree import Tree, tree_of
from estampa.progress import SILENT, Progress
from estampa.train.fitted_table import raw_rows

if TYPE_CHECKING:
    from estampa.data.dataset import Dataset
    from estampa.evaluate.fusion import Fusion
    from estampa.train.fitted_table import FittedTable

FOLLOWED = 6  #: columns whose partial dependence is shown
TOLD = 3  #: wrong answers, and right ones, of which the reasons are told
_TYPICAL = 2000  #: training objects that stand for all
_UNLABELLED = 20_000  #: objects without a label that are scored at most
BINS = 20


@dataclass(frozen=True)
class ColumnFacts:
    """One column of the table: what it is for, its range where it was measured, and what was not.

    `low`, `median`, `high`: of the valid values of all rows; NaN where there is none. `invalid`: rule -> how many.
    """

    name: str
    role: str
    unit: str
    low: float
    median: float
    high: float
    invalid: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        ends = {"low": self.low, "median": self.median, "high": self.high}
        numbers = {k: v if np.isfinite(v) else None for k, v in ends.items()}
        return {"name": self.name, "role": self.role, "unit": self.unit, **numbers, "invalid": dict(self.invalid)}


@dataclass(frozen=True)
class Uncertain:
    """Objects without a label, as those that volunteers could not agree on: a group of their own.

    `n`: how many there are; `of`: objects in all; `output` (m, k): their probabilities, of at most 20,000 drawn evenly.
    `beside` (n, k): those of the judged objects.
    """

    n: int
    of: int
    output: np.ndarray
    beside: np.ndarray
    decision: float | None = None

    @property
    def answered(self) -> np.ndarray:
        """(k,) share of them that gets each class as an answer."""
        said = measure.decide(self.output, self.decision)
        found: np.ndarray = np.bincount(said, minlength=self.output.shape[1]) / max(len(said), 1)
        return found

    def unsure(self, output: np.ndarray) -> float:
        """Share of answers whose largest probability is below 0.8."""
        return float((output.max(axis=1) < 0.8).mean()) if len(output) else float("nan")

    def to_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """Plain values; probabilities as a histogram of each class, in equal bins from 0 to 1."""
        bins = {name: np.histogram(self.output[:, c], BINS, (0, 1))[0].tolist() for c, name in enumerate(classes)}
        return {
            "n": self.n, "of": self.of, "scored": len(self.output), "bins": bins,
            "answered": dict(zip(classes, self.answered.tolist(), strict=True)),
            "below_0.8": self.unsure(self.output), "judged_below_0.8": self.unsure(self.beside),
        }  # fmt: skip


@dataclass
class TableEvidence:
    """What is told of a model of a table. Parts that are None or empty are left out.

    `failed`: part -> (rows with a failed measurement in a column that is learned from, rows); where such rows were
    left out, of "labelled" objects alone. `metric`: what ranked settings. `trials`, `choice`: as
    `FittedTable` has them. `names`: prepared features; `dropped`: whether rows with failed measurements were left out.
    """

    columns: Sequence[ColumnFacts] = ()
    failed: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    names: Sequence[str] = ()
    formulas: Sequence[str] = ()
    dropped: bool = False
    method: str = ""
    metric: str = "balanced_accuracy"
    trials: Sequence[Mapping[str, Any]] = ()
    choice: Sequence[Mapping[str, Any]] = ()
    importance: Importance | None = None
    dependence: Sequence[Dependence] = ()
    tree: Tree | None = None
    reasons: Sequence[Reasons] = ()
    uncertain: Uncertain | None = None
    fusion: Fusion | None = None

    def to_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """Plain values, for metrics.json."""
        return {
            "columns": [c.to_json() for c in self.columns],
            "features": list(self.names),
            "method": self.method,
            "importance": None if self.importance is None else self.importance.to_json(),
            "dependence": [d.to_json() for d in self.dependence],
            "reasons": [r.to_json(classes) for r in self.reasons],
            "uncertain": None if self.uncertain is None else self.uncertain.to_json(classes),
            "fusion": None if self.fusion is None else self.fusion.to_json(),
        }


def column_facts(dataset: Dataset, read: Sequence[str], rules: Sequence[sentinels.Rule]) -> list[ColumnFacts]:
    """Every column of a Dataset: those in `read` are learned from; `rules` mark failed measurements.

    Those of the columns that are not learned from are drawn up here, as `estampa check` draws them up. Medians are of
    at most 65,536 rows, evenly spread; the table is never read whole.
    """
    header = dataset.header
    rules = [*rules, *(rule for rule in rules_of(dataset) if rule.column not in read)]
    whole = measured(dataset, rules)
    some = dataset.table_rows(np.linspace(0, dataset.n - 1, min(dataset.n, BLOCK)).astype(np.int64))
    bad = sentinels.invalid(some, header.columns, rules)
    tallies: dict[str, dict[str, int]] = {name: {} for name in header.columns}
    for (name, rule), count in whole.failed.items():
        tallies[name][rule] = count
    found = []
    for c, name in enumerate(header.columns):
        valid = some[~bad[:, c], c]
        middle = float(np.median(valid)) if len(valid) else np.nan
        low, high = (float(end[c]) if whole.valid[c] else np.nan for end in (whole.low, whole.high))
        given = header.roles[c] if header.roles else "feature"
        role = ROLE_WORDS["feature"] if name in read else ROLE_WORDS[given] if given != "feature" else "left out"
        unit = header.column_units[c] if header.column_units else ""
        found.append(ColumnFacts(name, role, unit, low, middle, high, tallies[name]))
    return found


def uncertain(
    score: Score, dataset: Dataset, columns: Sequence[str], beside: np.ndarray, decision: float | None = None
) -> Uncertain | None:
    """Count and score the objects without a label; None where every object has one."""
    rows = np.flatnonzero(~dataset.labelled())
    if not len(rows):
        return None
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), _UNLABELLED)).astype(np.int64)]
    output = ask(score, raw_rows(dataset, columns, some))
    return Uncertain(len(rows), dataset.n, output[np.isfinite(output).all(axis=1)], np.asarray(beside), decision)


def told_places(truth: np.ndarray, output: np.ndarray, decision: float | None, seed: int) -> np.ndarray:
    """Places of a few wrong answers, then of a few right ones, drawn with `seed`."""
    said = measure.decide(output, decision)
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(part))[:TOLD] for part in (said != truth, said == truth)])


def witness_table(
    fitted: FittedTable,
    dataset: Dataset,
    parts: Mapping[str, np.ndarray],
    judged: tuple[np.ndarray, np.ndarray],
    *,
    decision: float | None = None,
    resamples: int = 1000,
    progress: Progress = SILENT,
) -> TableEvidence:
    """Measure what a report tells of a model of a table.

    Parameters
    ----------
    fitted : the model; its temperature settled.
    parts : "train", "validation", "test" -> rows that were used. Typical objects come from "train".
    judged : rows (n,) and their probabilities (n, k).
    decision : of two classes the probability from which the second is answered.
    """
    preparation, rows = fitted.preparation, judged[0]
    columns, seed = preparation.columns, fitted.recipe.train.seed
    found = TableEvidence(
        column_facts(dataset, columns, preparation.rules), _failed(fitted, dataset, parts), preparation.names,
        [preparation.formula(f) for f in range(len(preparation.names))], preparation.how == "drop",
        fitted.recipe.model.name, fitted.recipe.train.monitor, fitted.trials, fitted.choice,
    )  # fmt: skip

    def score(values: np.ndarray) -> np.ndarray:
        return fitted.predict(values)

    values, truth = raw_rows(dataset, columns, rows), np.asarray(dataset.labels)[rows].astype(np.int64)
    groups = None if dataset.groups is None else np.asarray(dataset.groups)[rows]
    how = Permuting(decision=decision, seed=seed, resamples=resamples)
    found.importance = importance(
        score, values, truth, columns, groups=groups, invalid=preparation.invalid, how=how, progress=progress
    )
    units = [next((c.unit for c in found.columns if c.name == name), "") for name in columns]
    found.dependence = dependence(
        score, values, columns, found.importance.order[:FOLLOWED], units=units, invalid=preparation.invalid, seed=seed
    )
    places = told_places(truth, judged[1], decision, seed)
    said = measure.decide(judged[1], decision)
    known = np.asarray(dataset.ids)[rows[places]], said[places], truth[places]
    typical = _some(parts["train"], _TYPICAL, seed)
    found.reasons = reasons(
        score, values[places], raw_rows(dataset, columns, typical), columns, units=_tied(found.importance, columns),
        invalid=preparation.invalid, known=known, seed=seed,
    ) if len(places) else []  # fmt: skip
    found.uncertain = uncertain(score, dataset, columns, judged[1], decision)
    if hasattr(fitted.estimator, "tree_"):
        found.tree = tree_of(
            fitted.estimator, preparation.names, fitted.classes, units=_feature_units(fitted, units),
            formulas=found.formulas, in_units=preparation.in_units,
        )  # fmt: skip
    return found


def _some(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(rows, most, replace=False) if len(rows) > most else np.asarray(rows)


def _tied(found: Importance, columns: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Columns that are replaced together: those that correlate; and of very many, those that were not looked at."""
    names = list(columns)
    tied = [tuple(names.index(name) for name in lost.columns) for lost in found.groups]
    looked = {name for lost in found.columns for name in lost.columns}
    rest = tuple(c for c, name in enumerate(names) if name not in looked)
    return (*tied, rest) if rest else tuple(tied)


def _failed(fitted: FittedTable, dataset: Dataset, parts: Mapping[str, np.ndarray]) -> dict[str, tuple[int, int]]:
    """Part -> (rows with a failed measurement, rows)."""
    found, known = {}, {"labelled": np.flatnonzero(dataset.labelled())}
    for part, rows in (known if fitted.preparation.how == "drop" else parts).items():
        if len(rows):
            bad = fitted.preparation.invalid(raw_rows(dataset, fitted.preparation.columns, rows)).any(axis=1)
            found[part] = int(bad.sum()), len(rows)
    return found


def _feature_units(fitted: FittedTable, units: Sequence[str]) -> list[str]:
    """The unit of each prepared feature: of a column its own, of a difference of columns of one unit the same."""
    own = dict(zip(fitted.preparation.columns, units, strict=True))
    found = []
    for f in range(len(fitted.preparation.names)):
        behind = {own[name] for name in fitted.preparation.inputs(f)}
        formula = fitted.preparation.formula(f)
        found.append(behind.pop() if len(behind) == 1 and ("/" not in formula and "1 " not in formula) else "")
    return found
