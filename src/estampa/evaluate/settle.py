"""What is chosen on the validation part once a net is trained, and what it comes to on the judged part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from estampa.errors import BundleError, InputError
from estampa.evaluate.confidence import Threshold, abstention, calibration, choose_threshold
from estampa.evaluate.evidence import Evidence
from estampa.evaluate.terms import asked_of, chosen_decision
from estampa.progress import SILENT, Progress

if TYPE_CHECKING:
    from estampa.bundle.manifest import Int8
    from estampa.data.dataset import Dataset
    from estampa.train.calibrate import Temperature, Tempered


@dataclass(frozen=True)
class Settled:
    """The temperature of the net, and the thresholds of its bundle."""

    temperature: Temperature
    confidence: Threshold | None = None  #: None = no accuracy is to be kept
    decision: float | None = None  #: of two classes, from where on the second is answered; None = the more probable
    int8: Int8 | None = None  #: what rounding the graph costs; None = it was not asked for, or not to be had
    warnings: tuple[str, ...] = ()  #: what was asked and is not to be had

    def thresholds(self) -> dict[str, float]:
        """As `bundle_from` takes them; what is not set is left out."""
        confidence = None if self.confidence is None else self.confidence.value
        given = {"decision": self.decision, "confidence": confidence}
        return {name: value for name, value in given.items() if value is not None}


def settle(
    fitted: Tempered,
    dataset: Dataset,
    validation_rows: np.ndarray,
    progress: Progress = SILENT,
    train_rows: np.ndarray | None = None,
) -> Settled:
    """Find the temperature, put it into the network, then choose the thresholds on its probabilities.

    Before that the graph is rounded where the recipe asks for int8, by what it makes of `train_rows`. Decisions are
    added to `fitted.decisions` and said. The judged part is not looked at.
    """
    from estampa.train.calibrate import calibrate

    warnings: list[str] = []
    int8 = _shrunk(fitted, dataset, train_rows, validation_rows, warnings)
    temperature = calibrate(fitted, dataset, validation_rows)
    said, threshold, decision = [*([int8.sentence()] if int8 else []), temperature.sentence], None, None
    asked, keep = asked_of(fitted.recipe.evaluate), fitted.recipe.evaluate.keep_accuracy
    if asked.aim or keep is not None:
        groups = None if dataset.groups is None else np.asarray(dataset.groups)[validation_rows]
        truth, output = np.asarray(dataset.labels)[validation_rows], fitted.predict(dataset, validation_rows)
    if asked.aim:
        try:
            decision, sentence = chosen_decision(asked, dataset.classes, truth, output, "the validation part")
            said.append(sentence)
        except InputError as error:  # the net is trained: it is kept, with its more probable class
            sentence = f"The aim {asked.aim} is not reached, the more probable class is answered: {error}"
            warnings.append(sentence)
        fitted.decisions.append(sentence)
    if keep is not None:
        threshold = choose_threshold(keep, truth, output, groups, decision)
        fitted.decisions.append(threshold.sentence)
        (said if threshold.value is not None else warnings).append(threshold.sentence)
    for line in filter(None, said):
        progress.say(line)
    for line in warnings:
        progress.warn(line)
    return Settled(temperature, threshold, decision, int8, tuple(warnings))


def _shrunk(
    fitted: Tempered, dataset: Dataset, train: np.ndarray | None, validation: np.ndarray, warnings: list[str]
) -> Int8 | None:
    """What int8 costs, where the recipe asks for it; without it there is a warning, and the model stays float."""
    if not fitted.recipe.train.int8 or train is None:
        return None
    from estampa.bundle.export import shrink
    from estampa.train.fitted import Fitted

    assert isinstance(fitted, Fitted)  # a recipe for tables refuses int8
    try:
        found = shrink(fitted, dataset, train, validation)
    except BundleError as error:  # the net is trained: it is kept, in float
        warnings.append(f"int8 was asked for and the model stays float: {error}")
        fitted.decisions.append(warnings[-1])
        return None
    fitted.decisions.append(found.sentence())
    return found


def witness(evidence: Evidence, settled: Settled, before: np.ndarray | None) -> None:
    """Measure on the judged part what the temperature and the confidence threshold come to.

    `before`: the judged objects' probabilities at temperature 1, None where that is what they have.
    """
    judgement = evidence.judgement
    if judgement.task != "classification":
        return
    output: Any = np.asarray(evidence.output)
    if before is not None:
        own = settled.temperature
        evidence.calibration = calibration(
            own.value, own.n, evidence.truth, output, before, evidence.groups, judgement
        )  # fmt: skip
    evidence.abstention = abstention(
        evidence.truth, output, evidence.groups, judgement, settled.confidence, settled.decision
    )  # fmt: skip
