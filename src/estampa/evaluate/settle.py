"""What is chosen on the validation part once a net is trained, and what it comes to on the judged part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from estampa.evaluate.confidence import Threshold, abstention, calibration, choose_threshold
from estampa.evaluate.evidence import Evidence
from estampa.progress import SILENT, Progress

if TYPE_CHECKING:
    from estampa.data.dataset import Dataset
    from estampa.train.calibrate import Temperature
    from estampa.train.fitted import Fitted


@dataclass(frozen=True)
class Settled:
    """The temperature of the net, and the thresholds of its bundle."""

    temperature: Temperature
    confidence: Threshold | None = None  #: None = no accuracy is to be kept

    def thresholds(self) -> dict[str, float]:
        """As `bundle_from` takes them; what is not set is left out."""
        value = None if self.confidence is None else self.confidence.value
        return {} if value is None else {"confidence": value}


def settle(fitted: Fitted, dataset: Dataset, validation_rows: np.ndarray, progress: Progress = SILENT) -> Settled:
    """Find the temperature, put it into the network, then choose the thresholds on its probabilities.

    Decisions are added to `fitted.decisions` and said. The judged part is not looked at.
    """
    from estampa.train.calibrate import calibrate

    temperature = calibrate(fitted, dataset, validation_rows)
    said, threshold = [temperature.sentence], None
    keep = fitted.recipe.evaluate.keep_accuracy
    if keep is not None:
        groups = None if dataset.groups is None else np.asarray(dataset.groups)[validation_rows]
        truth = np.asarray(dataset.labels)[validation_rows]
        threshold = choose_threshold(keep, truth, fitted.predict(dataset, validation_rows), groups)
        fitted.decisions.append(threshold.sentence)
        said.append(threshold.sentence)
    for line in filter(None, said):
        progress.say(line)
    return Settled(temperature, threshold)


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
    evidence.abstention = abstention(evidence.truth, output, evidence.groups, judgement, settled.confidence)
