"""What the model says of a chunk of rows, with its doubts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from estampa.bundle.contract import out_of_range
from estampa.bundle.store import Bundle
from estampa.measure import confidence, decide
from estampa.predict.source import Chunk

UNREADABLE = "unreadable"


@dataclass
class Answers:
    """Answers to m consecutive rows.

    `predicted` holds class indices, -1 for a bad row (regression: values, NaN for a bad row). `output`:
    probabilities (m, classes), None for regression. `flags`: texts joined by ";", "" = none. `bad`: (m,) bool.
    """

    ids: np.ndarray
    predicted: np.ndarray
    output: np.ndarray | None
    flags: list[str]
    bad: np.ndarray

    def count(self, counts: Counter[str]) -> None:
        """Add to a run's counts: rows, bad ones, and each flag by its name."""
        counts["rows"] += len(self.ids)
        counts["bad"] += int(self.bad.sum())
        for flag in filter(None, self.flags):
            counts.update(f"flag:{name.partition(':')[0]}" for name in flag.split(";"))


def answer(bundle: Bundle, chunk: Chunk, ids: np.ndarray, threads: int | None = None) -> Answers:
    """Score a chunk. A row is bad, and gets no answer, when it could not be read, has no finite pixel, has one that
    is not finite where the model refuses those, or when the model's answer is not a number.
    """
    images, contract = chunk.images, bundle.contract
    output = bundle.score(images, threads=threads, wanted=("output",)).output
    flags = [""] * len(images)
    reasons = {row - chunk.start: reason for row, reason in chunk.rejected.items()}
    read = np.ones(len(images), bool)
    read[list(reasons)] = False
    holes = np.zeros(len(images), bool)
    if images.dtype.kind == "f":
        finite = np.isfinite(images)
        holes = ~finite.all(axis=(1, 2, 3)) & read
        empty = ~finite.any(axis=(1, 2, 3))
        for i in np.flatnonzero(holes).tolist():
            if empty[i]:
                reasons[i] = "no finite pixel"
            elif contract.nan == "refuse":
                reasons[i] = "pixels that are not finite, which this model refuses"
    answered = np.isfinite(output).reshape(len(output), -1).all(axis=1)
    for i in np.flatnonzero(~answered & read).tolist():
        reasons.setdefault(i, "the model gives no finite answer")
    marks = [("not_finite", holes), ("out_of_range", out_of_range(contract, images))]
    predicted: np.ndarray = output.astype(np.float32)
    if bundle.task == "classification":
        predicted = decide(output, bundle.thresholds.decision)
        if bundle.thresholds.confidence is not None:
            marks.append(("low_confidence", confidence(output, predicted) < bundle.thresholds.confidence))
    for name, marked in marks:
        for i in np.flatnonzero(marked).tolist():
            flags[i] = f"{flags[i]};{name}" if flags[i] else name
    bad = np.zeros(len(images), bool)
    for i, reason in reasons.items():
        bad[i], flags[i] = True, f"{UNREADABLE}:{' '.join(reason.split()).replace(';', ',')}"
    predicted[bad] = -1 if bundle.task == "classification" else np.nan
    return Answers(ids, predicted, output if bundle.task == "classification" else None, flags, bad)
