"""Truth and answers in, every metric with its interval out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from estampa import measure, page
from estampa.errors import InputError
from estampa.evaluate.operating import Terms, Working, positive_index, working
from estampa.evaluate.slices import Slices, sliced
from estampa.measure import Interval
from estampa.measure.intervals import bootstrap, unit_numbers
from estampa.prepare.balance import IMBALANCE, imbalance_of


@dataclass(frozen=True)
class Judgement:
    """How good a set of answers is.

    Attributes
    ----------
    n : objects judged.
    task : "classification" or "regression".
    classes : class names in declared order; empty for regression.
    metrics : name -> value with its 95 % interval.
    per_class : one record a class: "class", "n", then precision, recall, f1 and, with probabilities, roc_auc and pr_auc
        against the rest, each an Interval.
    confusion : (k, k) counts, rows are truth; None for regression.
    groups : how many groups the resamples drew from; 0 = they drew objects.
    working : of two classes, misses at stated false-positive rates, the threshold and purity; None for other answers.
    slices : the figures by columns.
    """

    n: int
    task: str
    classes: tuple[str, ...]
    metrics: dict[str, Interval]
    per_class: list[dict[str, Any]] = field(default_factory=list)
    confusion: np.ndarray | None = None
    groups: int = 0
    resamples: int = 1000
    seed: int = 0
    working: Working | None = None
    slices: tuple[Slices, ...] = ()

    def numbers(self) -> dict[str, Interval]:
        """Every figure over all classes, by the name that a gate asks for: metrics, and of two classes rates."""
        return self.metrics | (self.working.numbers() if self.working else {})

    @property
    def leading(self) -> str:
        """Name of the metric that a headline quotes: accuracy, or mean squared error.

        Of uneven classes it is balanced accuracy: there accuracy is mostly that of the commonest class.
        """
        return "balanced_accuracy" if self.uneven else measure.METRICS[self.task][0]

    @property
    def uneven(self) -> bool:
        """Whether the largest class judged has at least IMBALANCE times the objects of the smallest."""
        if self.confusion is None:
            return False
        return imbalance_of(self.confusion.sum(axis=1)) >= IMBALANCE

    def to_json(self) -> dict[str, Any]:
        """{"n", "metrics": {name: {"value", "low", "high"}}, ...}; null where the data leave a number undefined."""
        record: dict[str, Any] = {
            "n": self.n,
            "task": self.task,
            "metrics": {name: found.to_json() for name, found in self.metrics.items()},
            "intervals": {
                "level": 0.95,
                "method": "percentile bootstrap; Wilson at 0 and 1",
                "resamples": self.resamples,
                "seed": self.seed,
                "over": "groups" if self.groups else "objects",
                "units": self.groups or self.n,
            },
        }
        if self.confusion is not None:
            record["classes"] = list(self.classes)
            record["per_class"] = [
                {k: v.to_json() if isinstance(v, Interval) else v for k, v in row.items()} for row in self.per_class
            ]
            record["confusion"] = self.confusion.tolist()
        if self.working is not None:
            record |= self.working.to_json()
        if self.slices:
            record["slices"] = [found.to_json() for found in self.slices]
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Judgement:
        """Read back what `to_json` wrote."""
        rows = [
            {k: Interval.from_json(v) if isinstance(v, dict) else v for k, v in row.items()}
            for row in record.get("per_class", [])
        ]
        how = record["intervals"]
        return cls(
            n=record["n"],
            task=record["task"],
            classes=tuple(record.get("classes", ())),
            metrics={name: Interval.from_json(found) for name, found in record["metrics"].items()},
            per_class=rows,
            confusion=np.array(record["confusion"]) if "confusion" in record else None,
            groups=how["units"] if how["over"] == "groups" else 0,
            resamples=how["resamples"],
            seed=how["seed"],
            working=Working.from_json(record),
            slices=tuple(Slices.from_json(found) for found in record.get("slices", [])),
        )

    def headline(self, metric: str = "") -> str:
        """One line: "accuracy 0.912 [0.905, 0.918] on 10,000 objects"."""
        name = metric or self.leading
        found = self.metrics[name]
        over = f", intervals over {self.groups:,} groups" if self.groups else ""
        at = self.working.told() if self.working and name in measure.Classification.ON_LABELS else ""
        plain = f", accuracy {spelled(self.metrics['accuracy'])}" if not metric and self.uneven else ""
        return f"{words(name)} {spelled(found)}{plain} on {self.n:,} objects{at}{over}"

    def lines(self) -> list[str]:
        """The metrics, the classes, working points and slices, as lines for a terminal."""
        from estampa.evaluate import tables_operating

        width = max(len(words(name)) for name in self.metrics)
        lines = [self.headline(), ""]
        lines += [f"  {words(name):<{width}}  {spelled(found)}" for name, found in self.metrics.items()]
        if self.per_class:
            longest = max(5, *(len(row["class"]) for row in self.per_class))
            lines += ["", f"  {'class':<{longest}}  {'n':>7}  {'precision':<22}  {'recall':<22}  f1"]
            lines += [
                f"  {row['class']:<{longest}}  {row['n']:>7,}  {spelled(row['precision']):<22}  "
                f"{spelled(row['recall']):<22}  {spelled(row['f1'])}"
                for row in self.per_class
            ]
        return lines + tables_operating.lines(self)

    def _repr_html_(self) -> str:
        from estampa.evaluate import tables, tables_operating

        blocks: list[Any] = [tables.metrics(self)]
        if self.per_class:
            blocks.append(tables.per_class(self))
        if self.working is not None:
            blocks.append(tables_operating.points(self.working))
        blocks += [tables_operating.slices(found) for found in self.slices]
        return page.fragment(*blocks)


_WORDS = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error (ECE)",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "f1": "F1",
    "mse": "mean squared error",
    "rmse": "root mean squared error",
    "mae": "mean absolute error",
    "r2": "R²",
    "spearman": "Spearman correlation",
}


def words(name: str) -> str:
    """A metric's name as people write it."""
    return _WORDS.get(name, name.replace("_", " "))


def spelled(found: Interval, places: int = 3) -> str:
    """An interval as text: "0.912 [0.905, 0.918]"; "undefined" where it is."""
    if math.isnan(found.value):
        return "undefined"
    if math.isnan(found.low):
        return f"{found.value:.{places}f} [no interval]"
    return f"{found.value:.{places}f} [{found.low:.{places}f}, {found.high:.{places}f}]"


def judge(
    truth: np.ndarray,
    output: np.ndarray,
    *,
    task: str,
    classes: Sequence[str] = (),
    groups: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    terms: Terms | None = None,
) -> Judgement:
    """Judge answers against the truth.

    Parameters
    ----------
    truth : (n,) class indices, or (n,) targets.
    output : (n, k) probabilities with columns in the order of `classes`, (n,) class indices, or (n,) values.
    task : "classification" or "regression".
    classes : the k class names, in declared order.
    groups : (n,) what must not be torn apart; the resamples then draw whole groups.
    resamples, seed : of the bootstrap.
    terms : the threshold of two classes, which the metrics of labels then follow, the prior, columns to slice by.

    Raises
    ------
    InputError
        Lengths that differ, NaN, a class out of range, probabilities that are none, an unknown task; a threshold, a
        positive class or a prior for anything but two classes.
    """
    if task not in measure.METRICS:
        raise InputError(f"cannot judge the task {task!r}", allowed=", ".join(measure.METRICS))
    terms, how = terms or Terms(), (resamples, seed)
    if task == "regression":
        return _values(np.asarray(truth), np.asarray(output), groups, how, terms)
    names = tuple(str(c) for c in classes)
    if np.ndim(output) == 2 and np.shape(output)[1] != len(names):
        raise InputError(
            "there must be one column of probabilities for each class",
            allowed=f"{len(names)} ({', '.join(names[:8])})",
            got=str(np.shape(output)[1]),
        )
    return _answers(np.asarray(truth), np.asarray(output), names, groups, how, terms)


def _units(n: int, groups: np.ndarray | None) -> int:
    """How many groups the resamples draw from; 0 = they draw objects."""
    numbers = unit_numbers(n, groups)
    return 0 if numbers is None else int(numbers.max(initial=-1)) + 1


def _values(
    truth: np.ndarray, output: np.ndarray, groups: np.ndarray | None, how: tuple[int, int], terms: Terms
) -> Judgement:
    """A regression's judgement."""
    if terms.of_two_classes():
        positive_index((), "")
    units, statistic = _units(len(truth), groups), measure.Regression(truth, output)
    found = bootstrap(statistic, groups, *how)
    values = statistic.truth, statistic.output
    parts = [sliced(column, *values, (0, 0), found["rmse"], groups, how) for column in terms.by]
    return Judgement(
        statistic.n, "regression", (), found, groups=units, resamples=how[0], seed=how[1], slices=tuple(parts)
    )


def _answers(
    truth: np.ndarray,
    output: np.ndarray,
    names: tuple[str, ...],
    groups: np.ndarray | None,
    how: tuple[int, int],
    terms: Terms,
) -> Judgement:
    """A classification's judgement."""
    units = _units(len(truth), groups)
    place = positive_index(names, terms.positive) if len(names) == 2 or terms.of_two_classes() else 1
    predicted = terms.predicted
    if predicted is None and output.ndim == 2:
        predicted = measure.decide(output, terms.decision)
    statistic = measure.Classification(truth, output, len(names), predicted=predicted)
    found = bootstrap(statistic, groups, *how)
    each = [name for name in measure.PER_CLASS if f"{name}[0]" in found]
    confusion = measure.confusion_matrix(statistic.truth, statistic.predicted, len(names))
    labels, shape = (statistic.truth, statistic.predicted), (len(names), place)
    return Judgement(
        n=statistic.n,
        task="classification",
        classes=names,
        metrics={name: found[name] for name in measure.METRICS["classification"] if name in found},
        per_class=[
            {"class": name, "n": int(confusion[c].sum()), **{kind: found[f"{kind}[{c}]"] for kind in each}}
            for c, name in enumerate(names)
        ],
        confusion=confusion,
        groups=units,
        resamples=how[0],
        seed=how[1],
        working=working(labels, output, names, terms, groups, how) if len(names) == 2 else None,
        slices=tuple(sliced(column, *labels, shape, found["accuracy"], groups, how) for column in terms.by),
    )
