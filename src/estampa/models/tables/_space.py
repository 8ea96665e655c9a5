"""Wide ranges from which a search draws settings, and how each is described."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Number:
    """A real number between `low` and `high`, even in its logarithm where `log`."""

    low: float
    high: float
    log: bool = False

    def draw(self, rng: np.random.Generator) -> float:
        """One value, to four significant digits, so that what a report prints is what was used."""
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = rng.uniform(self.low, self.high)
        return float(f"{value:.4g}")

    def words(self) -> str:
        """The range as people read it."""
        return f"{self.low:g} to {self.high:g}{', even in the logarithm' if self.log else ''}"


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`, both included, even in its logarithm where `log`."""

    low: int
    high: int
    log: bool = False

    def draw(self, rng: np.random.Generator) -> int:
        """One value."""
        if not self.log:
            return int(rng.integers(self.low, self.high + 1))
        # Half a step more on both sides gives the ends their full share.
        value = math.exp(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
        return min(self.high, max(self.low, round(value)))

    def words(self) -> str:
        """The range as people read it."""
        return f"{self.low} to {self.high}{', even in the logarithm' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """One of `values`, each as likely as often as it is listed."""

    values: tuple[Any, ...]

    def draw(self, rng: np.random.Generator) -> Any:
        """One value."""
        return self.values[int(rng.integers(len(self.values)))]

    def words(self) -> str:
        """The values as people read them."""
        return ", ".join(str(value) for value in dict.fromkeys(self.values))


Range = Number | Whole | Choice


def draw(space: Mapping[str, Range], rng: np.random.Generator) -> dict[str, Any]:
    """One setting: a value of every key, drawn independently, in the order of `space`."""
    return {key: kind.draw(rng) for key, kind in space.items()}


def class_weights(balance: float, classes: np.ndarray[Any, Any] | None) -> dict[int, float] | None:
    """Weight of each class, (n / (k n_c)) ** balance, by class number; None where all are 1.

    `classes` are the class numbers (n,) of the objects to learn from; the formula is scikit-learn's "balanced", which
    it is with `balance` = 1 (King & Zeng 2001, Political Analysis 9, 137, section 4.2).
    """
    if balance == 0 or classes is None:
        return None
    present, counts = np.unique(classes, return_counts=True)
    weights = (counts.sum() / (len(present) * counts)) ** balance
    return {int(number): float(weight) for number, weight in zip(present, weights, strict=True)}
