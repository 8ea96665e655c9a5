"""Working points of two classes in a judgement: misses at stated false-positive rates, the threshold, purity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from estampa.errors import InputError, nearest
from estampa.evaluate.slices import Column
from estampa.measure import Interval
from estampa.measure.aims import Aim, Choice, choose
from estampa.measure.cells import bootstrap_counts, paired_counts
from estampa.measure.intervals import unit_numbers
from estampa.measure.operating import RATES, Operating, Scored

#: Names of the numbers of two classes that a gate can ask for beside the metrics.
NAMES = (*(f"fnr_at_fpr_{rate:g}" for rate in RATES), "fpr", "fnr", "completeness", "purity")


@dataclass(frozen=True)
class Terms:
    """On what terms answers are judged, beyond truth and output.

    Attributes
    ----------
    decision : of two classes, the probability of the second from which on it is answered; None = the more probable one.
    predicted : (n,) class numbers answered, where neither the largest probability nor `decision` says; None = they do.
    aim : what `decision` was chosen for; told beside the figures.
    positive : of two classes the one that is looked for; "" = the second.
    prior : share of the positive class where the model will work; None = no purity is stated.
    by : columns by which the figures are also given.
    """

    decision: float | None = None
    predicted: np.ndarray | None = None
    aim: str = ""
    positive: str = ""
    prior: float | None = None
    by: Sequence[Column] = ()

    def of_two_classes(self) -> bool:
        """Whether something is asked for that only two classes have."""
        return bool(self.aim or self.positive) or self.decision is not None or self.prior is not None


@dataclass(frozen=True)
class Point:
    """Misses at one false-positive rate.

    `threshold`: probability of the positive class from which it is answered there; infinite when no score keeps to the
    rate. `false_positives`: the negatives that set it. `fnr` is NaN when fewer than one negative stands for the rate.
    """

    fpr: float
    fnr: Interval
    threshold: float
    false_positives: int
    negatives: int

    @property
    def name(self) -> str:
        """As a gate calls it: "fnr_at_fpr_0.01"."""
        return f"fnr_at_fpr_{self.fpr:g}"

    @property
    def note(self) -> str:
        """Why there is no figure, or why it is worth little; "" when there is nothing to say."""
        if self.fpr * self.negatives < 1:
            needed = math.ceil(1 / self.fpr - 1e-9)
            return f"undefined: {self.negatives:,} negatives, at least {needed:,} are needed"
        if math.isinf(self.threshold):
            return "no score keeps to this rate: nothing could be called positive"
        few = "1 negative sets" if self.false_positives == 1 else f"{self.false_positives} negatives set"
        return f"rough: {few} it" if self.false_positives < 10 else ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "fpr": self.fpr, "fnr": self.fnr.to_json(), "negatives": self.negatives,
            "false_positives": self.false_positives,
            "threshold": self.threshold if math.isfinite(self.threshold) else None, "note": self.note,
        }  # fmt: skip

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Point:
        """Read back what `to_json` wrote."""
        threshold = math.inf if record["threshold"] is None else record["threshold"]
        found = Interval.from_json(record["fnr"])
        return cls(record["fpr"], found, threshold, record["false_positives"], record["negatives"])


@dataclass(frozen=True)
class Working:
    """Two classes at work.

    Attributes
    ----------
    positive : name of the positive class; `threshold` of classes[1], None = the more probable class; `aim` it serves.
    points : misses at 1e-2, 1e-3 and 1e-4.
    rates : "fpr", "fnr", "completeness" of the answers as given, with a prior also "purity".
    prior : share of positives that purity is stated for; None = not asked.
    """

    positive: str
    threshold: float | None = None
    aim: str = ""
    points: Sequence[Point] = ()
    rates: dict[str, Interval] = field(default_factory=dict)
    prior: float | None = None

    def terms(self) -> Terms:
        """The terms on which it was judged, without columns."""
        return Terms(self.threshold, aim=self.aim, positive=self.positive, prior=self.prior)

    def numbers(self) -> dict[str, Interval]:
        """Every figure by the name that a gate asks for."""
        return {point.name: point.fnr for point in self.points} | self.rates

    def told(self) -> str:
        """The threshold as the end of a headline; "" where the more probable class is answered."""
        if self.threshold is None:
            return ""
        return f" at threshold {self.threshold:.4g}" + (f" (chosen for {self.aim})" if self.aim else "")

    def to_json(self) -> dict[str, Any]:
        """The keys that it adds to a judgement's."""
        rates = {name: found.to_json() for name, found in self.rates.items()}
        record: dict[str, Any] = {
            "positive": self.positive, "threshold": self.threshold, "aim": self.aim,
            "operating": [point.to_json() for point in self.points],
            "at_threshold": {name: rates[name] for name in ("fpr", "fnr") if name in rates},
            "prior": None,
        }  # fmt: skip
        if self.prior is not None:
            record["prior"] = {"share": self.prior, "purity": rates["purity"], "completeness": rates["completeness"]}
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Working | None:
        """Read back what `to_json` wrote; None for a judgement that has none of it."""
        if "operating" not in record:
            return None
        prior = record["prior"]
        rates = {name: Interval.from_json(found) for name, found in record["at_threshold"].items()}
        if "fnr" in rates:
            missed = rates["fnr"]
            rates["completeness"] = Interval(1 - missed.value, 1 - missed.high, 1 - missed.low)
        if prior:
            rates |= {name: Interval.from_json(prior[name]) for name in ("completeness", "purity")}
        return cls(
            record["positive"], record["threshold"], record["aim"],
            [Point.from_json(p) for p in record["operating"]], rates, prior["share"] if prior else None,
        )  # fmt: skip


def positive_index(classes: Sequence[str], positive: str) -> int:
    """Number of the positive class: the second unless named. InputError for more than two classes, or no such name."""
    if len(classes) != 2:
        raise InputError(
            "a threshold, an aim, a positive class and a prior are of two classes",
            got=f"{len(classes)} classes" if classes else "a regression",
        )
    if positive and positive not in classes:
        raise InputError(
            f"no class {positive!r}", where="positive", allowed=", ".join(classes), cure=nearest(positive, classes)
        )
    return list(classes).index(positive) if positive else 1


def scored(truth: np.ndarray, output: np.ndarray, positive: int) -> Scored:
    """The scores of two classes: (n,) class numbers and (n, 2) probabilities, sorted."""
    return Scored(np.asarray(truth) == positive, np.asarray(output)[:, positive])


def choose_decision(truth: np.ndarray, output: np.ndarray, aim: Aim, positive: int, where: str) -> tuple[float, Choice]:
    """The probability of the second class from which on it is answered, for an aim, and what it comes to.

    `truth` (n,) class numbers and `output` (n, 2) probabilities of objects that are not judged; `where` names them.
    """
    output = np.asarray(output)
    found = choose(scored(truth, output, positive), aim, where)
    if positive == 1:
        return found.threshold, found
    others = output[output[:, 0] < found.threshold, 1]  # what is to be answered by the second class
    return (float(others.min()) if len(others) else 1.0), found


def working(
    labels: tuple[np.ndarray, np.ndarray],
    output: np.ndarray,
    classes: Sequence[str],
    terms: Terms,
    groups: np.ndarray | None,
    how: tuple[int, int],
) -> Working:
    """Working points of two classes: `labels` are truth and answers, (n,) class numbers; `output` (n, 2) probabilities.

    `how` is (resamples, seed). Without probabilities only the rates of the answers exist.
    """
    truth, predicted = labels
    place = positive_index(classes, terms.positive)
    statistic = _statistic(truth, output, predicted, place, terms, groups)
    found = bootstrap_counts(statistic, groups, *how)
    sides = statistic.scored
    points = []
    for rate, name in zip(statistic.rates, statistic.names, strict=False):
        last = sides.within(rate)
        false = int(sides.above_negative[last]) if last >= 0 else 0
        points.append(Point(rate, found[name], sides.threshold(rate), false, sides.negatives))
    rates = {name: found[name] for name in statistic.names[len(statistic.rates) :]}
    return Working(classes[place], terms.decision, terms.aim, points, rates, terms.prior)


def _statistic(
    truth: np.ndarray, output: np.ndarray, predicted: np.ndarray, place: int, terms: Terms, groups: np.ndarray | None
) -> Operating:
    answered = np.asarray(predicted) == place
    units = unit_numbers(len(truth), groups)
    if np.ndim(output) == 2:
        return Operating(scored(truth, output, place), answered, RATES, terms.prior, units)
    return Operating(Scored(np.asarray(truth) == place, answered.astype(float)), answered, (), terms.prior, units)


def paired(
    truth: np.ndarray,
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    place: int,
    prior: float | None,
    groups: np.ndarray | None,
    how: tuple[int, int],
) -> dict[str, Interval]:
    """First minus second (output, predicted) to the same objects: every figure that both have, resamples shared."""
    a, b = (_statistic(truth, *answers, place, Terms(prior=prior), groups) for answers in (first, second))
    return paired_counts(a, b, groups, *how)
