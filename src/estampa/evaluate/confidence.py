"""What the probabilities are worth: before and after the temperature, and when they are too low to answer on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa import measure
from estampa.errors import CheckFailed, RecipeError
from estampa.evaluate.judge import Judgement
from estampa.measure import Interval
from estampa.measure.intervals import bootstrap, unit_numbers
from estampa.measure.selective import Selective, confidence_threshold, least_objects

#: Metrics of probabilities; accuracy and areas under curves do not change with the temperature.
CALIBRATED = ("ece", "brier", "log_loss")
_POINTS, _LEAST_ANSWERED = 100, 10


@dataclass(frozen=True)
class Calibration:
    """The same answers at temperature 1 and at the temperature found, judged on the same objects.

    Attributes
    ----------
    temperature, n : the temperature, and how many validation objects it was found on.
    output : (m, k) probabilities of the judged objects at temperature 1.
    before, after, difference : ece, brier, log_loss; the difference is after minus before, over shared resamples.
    """

    temperature: float
    n: int
    output: np.ndarray
    before: dict[str, Interval]
    after: dict[str, Interval]
    difference: dict[str, Interval]

    def to_json(self) -> dict[str, Any]:
        """Plain values; the answers are left out."""
        found = {k: {m: v.to_json() for m, v in getattr(self, k).items()} for k in ("before", "after", "difference")}
        return {"temperature": self.temperature, "n": self.n, **found}


def calibration(
    temperature: float,
    n: int,
    truth: np.ndarray,
    output: np.ndarray,
    before: np.ndarray,
    groups: np.ndarray | None,
    judgement: Judgement,
) -> Calibration:
    """Judge `before` (m, k), the probabilities at temperature 1, beside `output`, which `judgement` is of."""
    how: dict[str, Any] = {"classes": len(judgement.classes), "resamples": judgement.resamples, "seed": judgement.seed}
    return Calibration(
        temperature,
        n,
        before,
        before=measure.intervals(CALIBRATED, truth, before, groups, **how),
        after={name: judgement.metrics[name] for name in CALIBRATED},
        difference=measure.paired_difference(CALIBRATED, truth, output, before, groups, **how),
    )


@dataclass(frozen=True)
class Abstention:
    """Coverage against accuracy on the judged part, and the threshold that was chosen on another.

    Attributes
    ----------
    keep : the accuracy to keep; None = no threshold was asked for, and there is only the curve.
    threshold : probability of the answer below which it is flagged; None = none was asked for or none keeps it.
    chosen_on : objects that the threshold was chosen on.
    best : the highest accuracy that some threshold keeps there.
    coverage, accuracy : share of the judged objects that is answered, and the accuracy among them.
    curve : (4, m) coverage, accuracy, and its 95 % interval, from few answered to all.
    """

    keep: float | None
    threshold: float | None
    chosen_on: int
    best: float | None
    coverage: Interval | None
    accuracy: Interval | None
    curve: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """Plain values; the curve is left out."""
        return {
            "keep_accuracy": self.keep,
            "threshold": self.threshold,
            "chosen_on": self.chosen_on,
            "best_kept": self.best,
            "coverage": None if self.coverage is None else self.coverage.to_json(),
            "accuracy": None if self.accuracy is None else self.accuracy.to_json(),
        }


@dataclass(frozen=True)
class Threshold:
    """The confidence threshold chosen on `n` objects to keep the accuracy `keep`; `value` None = none does."""

    keep: float
    value: float | None
    n: int
    best: float  #: the highest accuracy that some threshold keeps

    @property
    def sentence(self) -> str:
        """What was decided, and why."""
        on = f"on {self.n:,} validation objects"
        if self.value is None:
            return (
                f"No answer is flagged: {on} no threshold keeps an accuracy of {self.keep:g}; the highest that one "
                f"keeps (lower end of its 95 % interval) is {self.best:.4f}."
            )
        kept = f"to keep an accuracy of {self.keep:g} (lower end of the 95 % interval)"
        if self.value == 0:
            return f"No answer need be flagged {kept}: all answers together do, {on}."
        return f"Answers below a probability of {self.value:.4f} are flagged low_confidence {kept}; chosen {on}."


def choose_threshold(
    keep: float, truth: np.ndarray, output: np.ndarray, groups: np.ndarray | None = None, decision: float | None = None
) -> Threshold:
    """The threshold for (n, k) probabilities of objects that were not learned from; see `confidence_threshold`."""
    predicted = measure.decide(output, decision)
    value, best = confidence_threshold(truth, predicted, measure.confidence(output, predicted), keep, groups)
    return Threshold(keep, value, len(truth), best)


def require_enough(keep: float, labels: np.ndarray, groups: np.ndarray | None, task: str) -> None:
    """Raise RecipeError, before any training, when `keep` cannot be shown to hold even if every answer is right."""
    where = "evaluate.keep_accuracy"
    if task != "classification":
        raise RecipeError("an accuracy can only be kept where classes are told", where=where, got=task)
    least, numbers = least_objects(keep), unit_numbers(len(labels), groups)
    units = len(labels) if numbers is None else int(numbers.max(initial=-1)) + 1
    if units < least:
        kind = "objects" if numbers is None else "groups"
        raise RecipeError(
            f"an accuracy of {keep:g} cannot be shown on so few validation {kind}, even if every answer is right",
            where=where, allowed=f"at least {least:,} {kind}", got=f"{units:,}",
            cure="Set data.validation higher, or keep_accuracy lower.",
        )  # fmt: skip


def require_kept(threshold: Threshold) -> float:
    """The threshold's value; CheckFailed (exit 3) when no threshold keeps the accuracy."""
    if threshold.value is None:
        raise CheckFailed(
            f"no threshold of confidence keeps an accuracy of {threshold.keep:g}",
            where=f"{threshold.n:,} validation objects", got=f"at best {threshold.best:.4f}",
            cure="Ask for less, or train a better model.",
        )  # fmt: skip
    return threshold.value


def abstention(
    truth: np.ndarray,
    output: np.ndarray,
    groups: np.ndarray | None,
    judgement: Judgement,
    threshold: Threshold | None = None,
    decision: float | None = None,
) -> Abstention | None:
    """Coverage against accuracy of (n, k) probabilities; None where there are too few objects for a curve."""
    if len(truth) < _LEAST_ANSWERED:
        return None
    predicted = measure.decide(output, decision)
    confidence, right = measure.confidence(output, predicted), predicted == truth
    ranked = np.sort(confidence)[::-1]
    places = np.linspace(_LEAST_ANSWERED - 1, len(ranked) - 1, min(_POINTS, len(ranked))).astype(np.int64)
    grid = np.unique(ranked[places])[::-1]
    chosen = None if threshold is None else threshold.value
    points = grid if chosen is None else np.append(grid, chosen)
    found = bootstrap(Selective(right, confidence, points), groups, judgement.resamples, judgement.seed)
    pairs = [(found[f"coverage[{i}]"], found[f"accuracy[{i}]"]) for i in range(len(points))]
    curve = np.array([[c.value, a.value, a.low, a.high] for c, a in pairs[: len(grid)]]).T
    coverage, accuracy = (None, None) if chosen is None else pairs[-1]
    if threshold is None:
        return Abstention(None, None, 0, None, None, None, curve)
    return Abstention(threshold.keep, chosen, threshold.n, threshold.best, coverage, accuracy, curve)
