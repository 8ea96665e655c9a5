"""One temperature for the logits, found on the validation part, so that a probability of 0.8 is right 8 times in 10.

Guo et al. 2017, On Calibration of Modern Neural Networks, ICML, section 4.2: logits / T with the T > 0 that minimises
the log loss of objects that were not learned from. No answer changes, only how sure it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from estampa.recipe import Recipe
from estampa.train.choose import labelled_rows

Array = np.ndarray[Any, Any]
#: Validation objects, and wrong answers among them, below which T stays 1. With as many the deviation of ln T is about
#: 0.2 (docs/log.md, 2026-11-22); without a wrong answer the log loss falls for ever as T goes to 0.
LEAST, LEAST_WRONG = 100, 5
#: Where T is sought. At an end it is kept and said.
LOWEST, HIGHEST = 0.1, 10.0
_GRID = 47


@dataclass(frozen=True)
class Temperature:
    """What was found. `value` 1 with a `reason` = not calibrated; `n`: validation objects that it was found on."""

    value: float
    n: int
    sentence: str  #: for the run's decisions
    reason: str = ""  #: why there is none; "" = there is

    @property
    def fitted(self) -> bool:
        """Whether the temperature was found on data."""
        return not self.reason


class Tempered(Protocol):
    """What a temperature is found for: `Fitted`, a net; `FittedTable`, a classical model."""

    recipe: Recipe
    decisions: list[str]

    @property
    def temperature(self) -> float:
        """Of the logits."""

    @temperature.setter
    def temperature(self, value: float) -> None: ...

    @property
    def task(self) -> str:
        """Classification or regression."""

    @property
    def sigmoid(self) -> bool:
        """Each output is a class's own probability; they are divided by their sum."""

    def predict(self, data: Any, rows: Array | None = None) -> Array:
        """Probabilities (n, classes) or values (n,)."""

    def logits(self, data: Any, rows: Array | None = None) -> Array:
        """(n, classes) before the temperature."""

    def probabilities(self, logits: Array) -> Array:
        """(n, classes) from logits that the temperature has divided."""

    def unseen(self, data: Any, rows: Array) -> tuple[Array, Array, str]:
        """Logits (m, classes) and row numbers (m,) of labelled objects not learned from, `rows` (m',) among them; what
        they are, in words.
        """


def calibrate(fitted: Tempered, dataset: Any, validation_rows: Array) -> Temperature:
    """Find the temperature on the validation part and put it into the model, whose graph the bundle exports.

    The log loss is that of the validation part as it is. With class weights (or balanced drawing) in training the
    probabilities are those of a world with equally frequent classes, and the temperature does not move them back: that
    would take a term per class, which would change the answers and undo the weights. A threshold chosen on validation
    for a stated aim does what such a term would do, where it is wanted.

    A classical model that was searched is calibrated on the folds' answers to the training part too.

    The model is changed, and the decision is added to `fitted.decisions`. Nothing is done, and said, when the recipe
    does not ask for it (`train.calibrate`), for a regression, or when there is too little to find it on. The same
    network and rows give the same temperature.
    """
    found = _found(fitted, dataset, labelled_rows(dataset, np.asarray(validation_rows, np.int64)))
    fitted.temperature = found.value
    if found.sentence:
        fitted.decisions.append(found.sentence)
    return found


def _found(fitted: Tempered, dataset: Any, rows: Array) -> Temperature:
    if fitted.task != "classification":
        return Temperature(1.0, 0, "", "a regression has no probabilities")
    if not fitted.recipe.train.calibrate:
        return Temperature(1.0, 0, "", "the recipe says train.calibrate = false")
    told = fitted.recipe.train.temperature
    if told is not None:
        return Temperature(told, 0, f"Temperature {told:.3f}, as the recipe says.")
    fitted.temperature = 1.0  # from the same place each time, to the last bit
    logits, rows, what = fitted.unseen(dataset, rows)
    if len(rows) < LEAST:
        return _left(len(rows), f"{len(rows):,} {what}, and {LEAST} are needed")
    logits = logits.astype(np.float64)
    truth = np.asarray(dataset.labels)[rows].astype(np.int64)
    wrong = int((logits.argmax(axis=1) != truth).sum())
    if wrong < LEAST_WRONG:
        return _left(len(rows), f"{wrong} wrong answers among {len(rows):,} {what}, and {LEAST_WRONG} are needed")
    value = temperature_of(logits, truth, sigmoid=fitted.sigmoid)
    effect = "the model was too sure of itself" if value > 1 else "the model was not sure enough"
    said = f"Temperature {value:.3f}, found on {len(rows):,} {what}: {effect}."
    if not LOWEST * 1.01 < value < HIGHEST / 1.01:
        said += f" This is the end of the range that is searched ({LOWEST:g} to {HIGHEST:g}): trust no probability."
    if fitted.recipe.train.keep == "best":
        said += " The same objects chose the kept epoch, so they may look a little better answered than others."
    if fitted.recipe.prepare.balance in ("weights", "sampling", "copies"):
        said += " The classes count equally in training, and the probabilities are of such a world; T does not undo it."
    return Temperature(value, len(rows), said)


def _left(n: int, reason: str) -> Temperature:
    return Temperature(1.0, n, f"The probabilities are not calibrated (temperature 1): {reason}.", reason)


def temperature_of(logits: Array, truth: Array, *, sigmoid: bool = False) -> float:
    """The temperature in 0.1..10 with the least mean log loss.

    Parameters
    ----------
    logits : (n, classes), before any temperature.
    truth : (n,) class numbers.
    sigmoid : each output is a class's own probability; they are divided by their sum, as `Network.finish` does.

    A grid in ln T first, then bounded search (Brent 1973) between the neighbours of its best point: for softmax the
    loss has one minimum (it is convex in 1 / T), for sigmoid outputs that is not certain.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_t: float) -> float:
        return _log_loss(logits / np.exp(log_t), truth, sigmoid)

    grid = np.linspace(np.log(LOWEST), np.log(HIGHEST), _GRID)
    best = int(np.argmin([loss(t) for t in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)]
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def _log_loss(scores: Array, truth: Array, sigmoid: bool) -> float:
    """Mean of -ln p(true class), by sums of exponentials that cannot overflow."""
    if sigmoid:
        scores = -np.logaddexp(0.0, -scores)
    top = scores.max(axis=1)
    total = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
    return float((total - scores[np.arange(len(truth)), truth]).mean())


def both_answers(fitted: Tempered, dataset: Any, rows: Array) -> tuple[Array, Array | None]:
    """Answers to `rows` as they are, and as they would be at temperature 1 (None where that is the same), in one pass.

    (n, classes) probabilities or (n,) values, float32, as `predict`.
    """
    if fitted.temperature == 1.0 or not len(rows):
        return fitted.predict(dataset, rows), None
    logits = fitted.logits(dataset, rows)
    return fitted.probabilities(logits / np.float32(fitted.temperature)), fitted.probabilities(logits)
