"""Two answers to the same objects: on which they part, and whether that is more than chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa.errors import InputError


@dataclass(frozen=True)
class Discordance:
    """How often both, one, or none of two answers was right.

    Attributes
    ----------
    both, neither : objects on which the two agree in being right, or in being wrong.
    only_first, only_second : objects that one alone had right.
    p : of McNemar's exact test (1947, Psychometrika 12, 153): how probable so unequal a parting, or a more unequal one,
        is where both are equally good. 1 where they never part.
    """

    both: int
    only_first: int
    only_second: int
    neither: int

    @property
    def p(self) -> float:
        """Two-sided, by the binomial distribution of the parted objects."""
        return sign_test(self.only_first, self.only_second)

    def to_json(self) -> dict[str, Any]:
        """Counts and p."""
        return {**vars(self), "p": self.p}


def discordance(first: np.ndarray, second: np.ndarray) -> Discordance:
    """Count from two (n,) bool: which answers of the first, and of the second, were right."""
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape or first.ndim != 1 or first.dtype != bool or second.dtype != bool:
        raise InputError(
            "two answers to the same objects are two rows of truth values", allowed="(n,) bool",
            got=f"{first.dtype} {first.shape} and {second.dtype} {second.shape}",
        )  # fmt: skip
    both = int((first & second).sum())
    one, two = int(first.sum()) - both, int(second.sum()) - both
    return Discordance(both, one, two, len(first) - both - one - two)


def sign_test(one: int, two: int) -> float:
    """Two-sided p of `one` against `two` where either was as probable: twice the binomial tail, at most 1."""
    n, least = one + two, min(one, two)
    if n == 0:
        return 1.0
    whole = math.lgamma(n + 1) - n * math.log(2)
    tail = math.fsum(math.exp(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1)) for k in range(least + 1))
    return min(1.0, 2 * tail)
