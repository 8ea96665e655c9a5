"""Classes that one of two models alone knows: what each makes of them, and of the classes that both know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa import measure
from estampa.bundle.store import Bundle
from estampa.errors import ContractError, nearest
from estampa.measure import Interval
from estampa.measure.intervals import paired

SIDES = ("champion", "challenger")
_NAMED = 3


@dataclass(frozen=True)
class Lone:
    """A class that one model alone knows.

    `known_by` is "champion" or "challenger", `n` objects compared are of it, `recall` is of the model that knows it
    (None without objects), `taken_for` how often the other one answers what, the commonest first.
    """

    name: str
    known_by: str
    n: int
    recall: Interval | None
    taken_for: Mapping[str, int]

    @property
    def other(self) -> str:
        """The side that does not know it."""
        return SIDES[self.known_by == SIDES[0]]

    @property
    def sentence(self) -> str:
        """What each model makes of it."""
        if self.recall is None:
            return f"The {self.known_by} alone knows {self.name}, and no object compared is one: how well is not told."
        found = self.recall
        return (
            f"The {self.known_by} alone knows {self.name}: recall {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
            f" of {self.n:,} objects, which the {self.other} takes for {self.taken()}."
        )

    def taken(self) -> str:
        """What the other side answers, with counts: STAR (101), GALAXY (29)."""
        named = [f"{name} ({count:,})" for name, count in list(self.taken_for.items())[:_NAMED]]
        rest = sum(list(self.taken_for.values())[_NAMED:])
        return ", ".join([*named, *([f"others ({rest:,})"] if rest else [])])

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "class": self.name, "known_by": self.known_by, "n": self.n, "taken_for": dict(self.taken_for),
            "recall": None if self.recall is None else self.recall.to_json(),
        }  # fmt: skip


@dataclass(frozen=True)
class Unshared:
    """What two models of different classes come to beside the figures over all objects.

    `lone`: classes that one alone knows. `n`: objects compared of the classes that both know, and `difference` the
    challenger's minus the champion's `figure` on them (None where there are fewer than two).
    """

    lone: tuple[Lone, ...]
    n: int
    figure: str
    difference: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "classes": [one.to_json() for one in self.lone], "n_shared": self.n, "figure": self.figure,
            "difference_shared": None if self.difference is None else self.difference.to_json(),
        }  # fmt: skip


def all_classes(champion: Bundle, challenger: Bundle) -> tuple[str, ...]:
    """The champion's classes in its order, then those that the challenger alone knows.

    Raises ContractError, naming both sides, where none is shared.
    """
    ours, theirs = champion.classes, challenger.classes
    if ours and not set(ours) & set(theirs):
        cure = "Give the data one name for each class, and retrain."
        raise ContractError(
            "the challenger has no class of the champion's name", where=challenger.folder, allowed=", ".join(ours),
            got=", ".join(theirs), cure=" ".join(filter(None, (nearest(theirs[0], ours), cure))),
        )  # fmt: skip
    return (*ours, *(name for name in theirs if name not in ours))


def unshared(
    known: tuple[Sequence[str], Sequence[str]],
    classes: Sequence[str],
    truth: np.ndarray,
    said: tuple[np.ndarray, np.ndarray],
    *,
    figure: str,
    groups: np.ndarray | None,
    how: tuple[int, int],
) -> Unshared | None:
    """What can be told of two models that `known` other classes; None where they know the same.

    `truth` and each of `said` are (n,) numbers among `classes`; `figure` is "accuracy" or "balanced_accuracy".
    """
    both = set(known[0]) & set(known[1])
    if len(both) == len(classes):
        return None
    lone = [
        _lone(name, c, SIDES[name in known[1]], said, truth, (classes, groups, how))
        for c, name in enumerate(classes)
        if name not in both
    ]
    shared = np.isin(truth, [c for c, name in enumerate(classes) if name in both])
    tied, difference = None if groups is None else groups[shared], None
    if shared.sum() > 1:
        old, new = (measure.Classification(truth[shared], side[shared], len(classes)) for side in said)
        difference = paired(new, old, [figure], tied, resamples=how[0], seed=how[1])[figure]
    return Unshared(tuple(lone), int(shared.sum()), figure, difference)


def _lone(
    name: str,
    number: int,
    known_by: str,
    said: tuple[np.ndarray, np.ndarray],
    truth: np.ndarray,
    terms: tuple[Sequence[str], np.ndarray | None, tuple[int, int]],
) -> Lone:
    classes, groups, how = terms
    own = truth == number
    if not own.any():
        return Lone(name, known_by, 0, None, {})
    mine, theirs = (said[1], said[0]) if known_by == SIDES[1] else said
    tied = None if groups is None else groups[own]
    found = measure.intervals(
        ["accuracy"], truth[own], mine[own], tied, classes=len(classes), resamples=how[0], seed=how[1]
    )
    counts = np.bincount(theirs[own], minlength=len(classes))
    order = np.argsort(-counts, kind="stable")
    taken = {classes[c]: int(counts[c]) for c in order.tolist() if counts[c]}
    return Lone(name, known_by, int(own.sum()), found["accuracy"], taken)
