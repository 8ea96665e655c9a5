"""Thresholds of two classes for a stated aim: "fpr=0.01", "recall=0.95", "precision=0.9", "f1", "balanced_accuracy"."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from estampa.errors import InputError, nearest
from estampa.measure.operating import Scored

_BOUNDED = ("fpr", "recall", "precision")
_LARGEST = ("f1", "balanced_accuracy")
FORMS = "fpr=0.01, recall=0.95, precision=0.9, f1, balanced_accuracy"


@dataclass(frozen=True)
class Aim:
    """What a threshold is chosen for: `name`, and the `bound` of a rate (NaN for what is made as large as possible)."""

    name: str
    bound: float = math.nan

    def __str__(self) -> str:
        return self.name if math.isnan(self.bound) else f"{self.name}={self.bound:g}"


@dataclass(frozen=True)
class Choice:
    """A threshold, and what it comes to on the objects on which it was chosen.

    Attributes
    ----------
    aim : what it was chosen for.
    threshold : the positive class is answered from this score on.
    reached : FPR, recall, precision, F1 or balanced accuracy at that threshold, there.
    positives, negatives : objects on which it was chosen.
    """

    aim: Aim
    threshold: float
    reached: float
    positives: int
    negatives: int


def read_aim(text: str) -> Aim:
    """Read an aim; InputError, with the nearest real one, for anything else."""
    name, equals, number = (part.strip() for part in text.strip().partition("="))
    known = (*_BOUNDED, *_LARGEST)
    if name not in known:
        raise InputError(f"no aim {text!r}", where="aim", allowed=FORMS, cure=nearest(name, known))
    if name in _LARGEST:
        if equals:
            raise InputError(f"the aim {name} takes no number", where="aim", got=text, allowed=name)
        return Aim(name)
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not 0 < bound < 1:
        raise InputError(
            f"the aim {name} needs a number between 0 and 1", where="aim", got=text, cure=f"As in {name}=0.05."
        )
    return Aim(name, bound)


def require_reachable(aim: Aim, positives: int, negatives: int, where: str = "the validation part") -> None:
    """Raise InputError when an aim cannot be chosen for on so many objects: a side is empty, or too few negatives."""
    for many, side in ((positives, "positives"), (negatives, "negatives")):
        if not many:
            raise InputError(f"has no {side}", where=where, cure=f"A threshold for {aim} needs both classes.")
    if aim.name == "fpr" and aim.bound * negatives < 1:
        raise InputError(
            f"too few negatives to choose a threshold for {aim}", where=where,
            allowed=f"at least {math.ceil(1 / aim.bound - 1e-9):,}", got=f"{negatives:,}",
            cure="Aim at a larger rate, or give a larger validation part.",
        )  # fmt: skip


def choose(scored: Scored, aim: Aim, where: str = "the validation part") -> Choice:
    """The threshold for an aim, a score that occurs.

    fpr, precision: the smallest score at which the FPR is not above, or the precision not below, the bound: the most
    positives are found. recall: the largest score at which the recall is not below it: the fewest negatives are called
    positive. f1, balanced_accuracy: where it is largest, the largest score of equal ones. Precision and F1 are at the
    share of positives of these objects.

    Raises InputError as `require_reachable` does, and when no score reaches the bound.
    """
    require_reachable(aim, scored.positives, scored.negatives, where)
    true, false = scored.above_positive.astype(float), scored.above_negative.astype(float)
    recall, wrong = true / scored.positives, false / scored.negatives
    precision = true / (true + false)
    if aim.name == "recall":
        return _for_recall(scored, aim)
    values = {
        "fpr": wrong, "precision": precision, "f1": 2 * true / (true + false + scored.positives),
        "balanced_accuracy": (recall + 1 - wrong) / 2,
    }[aim.name]  # fmt: skip
    if aim.name in _LARGEST:
        place = int(values.argmax())
    else:
        good = wrong <= aim.bound * (1 + 1e-12) if aim.name == "fpr" else precision >= aim.bound * (1 - 1e-12)
        good &= true > 0
        if not good.any():
            best = values[true > 0].min() if aim.name == "fpr" else values.max()
            raise InputError(
                f"no threshold reaches {aim}", where=where, got=f"{aim.name} {best:.4g} at best",
                cure="Aim at what can be reached.",
            )  # fmt: skip
        place = int(np.flatnonzero(good)[-1])
    return Choice(aim, float(scored.lowest[place]), float(values[place]), scored.positives, scored.negatives)


def _for_recall(scored: Scored, aim: Aim) -> Choice:
    """Here a stretch's inner scores matter: the largest score with enough positives is one of a positive."""
    held = np.sort(scored.scores[scored.positive])[::-1]
    wanted = math.ceil(aim.bound * scored.positives * (1 - 1e-12))
    threshold = held[wanted - 1]
    reached = float((held >= threshold).mean())
    return Choice(aim, float(threshold), reached, scored.positives, scored.negatives)
