"""What the model says of a chunk of rows, with its doubts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from estampa.bundle.contract import out_of_range
from estampa.bundle.contract_table import out_of_range_rows
from estampa.bundle.session import Scores
from estampa.bundle.store import Bundle
from estampa.measure import confidence, decide
from estampa.predict.source import Chunk
from estampa.predict.table_source import TableChunk

UNREADABLE = "unreadable"
INVALID = "invalid"  #: with the columns that have failed in a row that the model leaves out
NOTHING = "no valid value"  #: the same, where every column has failed
IMPUTED = "imputed"
BETWEEN = "|"  #: names of columns within a flag


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
        """Add to a run's counts: rows, bad ones, each flag by its name, and what failed in rows that are invalid."""
        counts["rows"] += len(self.ids)
        counts["bad"] += int(self.bad.sum())
        for flag in filter(None, self.flags):
            counts.update(f"flag:{name.partition(':')[0]}" for name in flag.split(";"))
            if flag.startswith(f"{INVALID}:"):
                counts.update(f"failed:{name}" for name in flag.partition(":")[2].split(BETWEEN))


def answer(bundle: Bundle, chunk: Chunk | TableChunk, ids: np.ndarray, threads: int | None = None) -> Answers:
    """Score a chunk of pictures, or of a table's rows, and say what is to be said of the answers."""
    return judged(bundle, chunk, ids, scored(bundle, chunk, threads).output)


def scored(
    bundle: Bundle, chunk: Chunk | TableChunk, threads: int | None = None, wanted: tuple[str, ...] = ("output",)
) -> Scores:
    """What the model says of a chunk; a table's rows are all scored, with medians in place of what has failed."""
    if isinstance(chunk, TableChunk):
        return bundle.session.score(bundle.preparation.transform(chunk.values), threads=threads, wanted=wanted)
    return bundle.score(chunk.images, threads=threads, wanted=wanted)


def judged(bundle: Bundle, chunk: Chunk | TableChunk, ids: np.ndarray, output: np.ndarray) -> Answers:
    """The answers to a chunk from the model's output: classes by the thresholds, doubts, rows that get no answer."""
    if isinstance(chunk, TableChunk):
        return _of_table(bundle, chunk, ids, output)
    return _of_pictures(bundle, chunk, ids, output)


def _of_pictures(bundle: Bundle, chunk: Chunk, ids: np.ndarray, output: np.ndarray) -> Answers:
    """A row is bad, and gets no answer, when it could not be read, has no finite pixel, has one that is not finite
    where the model refuses those, or when the model's answer is not a number.
    """
    images, contract = chunk.images, bundle.pictures
    reasons = {row - chunk.start: reason for row, reason in chunk.rejected.items()}
    holes = np.zeros(len(images), bool)
    if images.dtype.kind == "f":
        finite = np.isfinite(images)
        holes = ~finite.all(axis=(1, 2, 3))
        holes[list(reasons)] = False
        empty = ~finite.any(axis=(1, 2, 3))
        for i in np.flatnonzero(holes).tolist():
            if empty[i]:
                reasons[i] = "no finite pixel"
            elif contract.nan == "refuse":
                reasons[i] = "pixels that are not finite, which this model refuses"
    bad = {i: f"{UNREADABLE}:{_word(reason)}" for i, reason in reasons.items()}
    marks = [("not_finite", holes), ("out_of_range", out_of_range(contract, images))]
    return _answers(bundle, ids, output, bad, _flags(marks, [""] * len(images)))


def _of_table(bundle: Bundle, chunk: TableChunk, ids: np.ndarray, output: np.ndarray) -> Answers:
    """A row is bad when it could not be read, holds not one valid value, or has a failed measurement that a model
    needs which leaves such rows out. Where a model puts medians in their place, the flag `imputed` names the columns.
    """
    contract, preparation = bundle.table, bundle.preparation
    failed = preparation.invalid(chunk.values)
    bad = {row - chunk.start: f"{UNREADABLE}:{_word(reason)}" for row, reason in chunk.rejected.items()}
    for i in np.flatnonzero(failed.all(axis=1)).tolist():
        bad.setdefault(i, f"{INVALID}:{NOTHING}")
    needed = np.array([name in preparation.needed for name in contract.column_names])
    named = _named(failed & needed, contract.column_names)
    flags = [""] * len(chunk)
    for i, columns in named.items():
        if contract.invalid == "drop":
            bad.setdefault(i, f"{INVALID}:{columns}")
        else:
            flags[i] = f"{IMPUTED}:{columns}"
    marks = [("out_of_range", out_of_range_rows(contract, chunk.values, failed))]
    return _answers(bundle, ids, output, bad, _flags(marks, flags))


def _named(marked: np.ndarray, names: Sequence[str]) -> dict[int, str]:
    """Row -> the columns that are marked in it, as "u|g", of a (n, columns) bool array."""
    rows = np.flatnonzero(marked.any(axis=1))
    kinds, which = np.unique(np.packbits(marked[rows], axis=1), axis=0, return_inverse=True)
    full = np.unpackbits(kinds, axis=1, count=len(names)).astype(bool)
    words = [BETWEEN.join(_word(names[c]) for c in np.flatnonzero(kind).tolist()) for kind in full]
    return {row: words[k] for row, k in zip(rows.tolist(), which.reshape(-1).tolist(), strict=True)}


def _flags(marks: Sequence[tuple[str, np.ndarray]], flags: list[str]) -> list[str]:
    """The flags with the names of marks, (n,) bool each, added."""
    for name, marked in marks:
        for i in np.flatnonzero(marked).tolist():
            flags[i] = f"{flags[i]};{name}" if flags[i] else name
    return flags


def _answers(bundle: Bundle, ids: np.ndarray, output: np.ndarray, reasons: dict[int, str], flags: list[str]) -> Answers:
    """Answers from the model's output; rows with a reason (a flag) have none."""
    answered = np.isfinite(output).reshape(len(output), -1).all(axis=1)
    for i in np.flatnonzero(~answered).tolist():
        reasons.setdefault(i, f"{UNREADABLE}:the model gives no finite answer")
    predicted: np.ndarray = output.astype(np.float32)
    if bundle.task == "classification":
        predicted = decide(output, bundle.thresholds.decision)
        if bundle.thresholds.confidence is not None:
            _flags([("low_confidence", confidence(output, predicted) < bundle.thresholds.confidence)], flags)
    bad = np.zeros(len(output), bool)
    for i, reason in reasons.items():
        bad[i], flags[i] = True, reason
    predicted[bad] = -1 if bundle.task == "classification" else np.nan
    return Answers(ids, predicted, output if bundle.task == "classification" else None, flags, bad)


def _word(reason: str) -> str:
    """A reason within a flag: on one line, without the sign that parts flags."""
    return " ".join(reason.split()).replace(";", ",")
