"""Which objects are explained: by id, or some of each answer, right and wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from estampa.bundle.reference import gallery_rows
from estampa.bundle.store import Bundle
from estampa.errors import InputError, nearest
from estampa.predict.parts import in_class_order
from estampa.predict.rows import Source
from estampa.progress import SILENT, Progress


def truth_of(source: Source, bundle: Bundle, progress: Progress = SILENT) -> np.ndarray | None:
    """Labels of all rows as class numbers of the bundle (-1: none, or a class that it does not know), or as values;
    None where there are none, or those of another task.
    """
    labels = source.labels
    if labels is None or source.header.task != bundle.task:
        return None
    if not bundle.classes:
        return np.asarray(labels, np.float64)
    truth = in_class_order(labels, source.header.classes, bundle.classes)
    strange = sorted({source.header.classes[int(c)] for c in np.unique(labels[(truth < 0) & (labels >= 0)])})
    if strange:
        progress.warn(f"not among the model's classes, so taken for not labelled: {', '.join(strange[:8])}")
    return truth if (truth >= 0).any() else None


def named(source: Source, ids: Sequence[str]) -> np.ndarray:
    """Row numbers of objects by id; InputError, with the nearest id, for one that is not there."""
    place = {str(name): i for i, name in enumerate(source.ids)}
    for name in ids:
        if name not in place:
            raise InputError(f"there is no object {name!r}", where=source.name, cure=nearest(name, place))
    return np.array([place[name] for name in ids])


def good(answers: np.ndarray) -> np.ndarray:
    """(n,) bool: which class numbers (-1: none) or values (NaN: none) are an answer."""
    found: np.ndarray = answers >= 0 if answers.dtype.kind == "i" else np.isfinite(answers)
    return found


def pick(answers: np.ndarray, truth: np.ndarray | None, n: int, *, alike: bool = False, seed: int = 0) -> np.ndarray:
    """Which rows are explained, (at most n,): one of each answer in turn; half of them wrong if there are so many,
    but with `alike` right and wrong as they come.

    `answers` (m,) class numbers (-1: none) or values (NaN: none); `truth` the same, or None.
    """
    answered = np.flatnonzero(good(answers))
    classes = int(answers.max(initial=-1)) + 1 if answers.dtype.kind == "i" else 0
    labels = answers.astype(np.int64) if classes else np.zeros(len(answers), np.int64)

    def dealt(some: np.ndarray, most: int) -> np.ndarray:
        found: np.ndarray = some[gallery_rows(labels[some], classes, seed, most)]
        return found

    if alike or not classes or truth is None:
        return dealt(answered, n)
    known = answered[truth[answered] >= 0]
    wrong, right = known[answers[known] != truth[known]], known[answers[known] == truth[known]]
    if not len(wrong) + len(right):
        return dealt(answered, n)
    errors = dealt(wrong, max(n // 2, n - len(right)))
    return np.sort(np.concatenate([errors, dealt(right, n - len(errors))]))
