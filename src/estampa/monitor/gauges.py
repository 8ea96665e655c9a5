"""The last answers of a service held against the reference while it runs: numpy alone, for its metrics and its page."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa.bundle.store import Bundle
from estampa.monitor.against import Sums
from estampa.monitor.figures import Figure, alerts_of
from estampa.monitor.flags import flag_figures
from estampa.monitor.observed import Widths
from estampa.monitor.policy import LeastPolicy
from estampa.monitor.ranges import RATE, Ranges

SIZE = 1000  #: answers
LEAST = LeastPolicy().objects  #: answers below which nothing is said
_KEYS = {"input": "describe", "embedding": "components", "output": "output"}


@dataclass(frozen=True)
class State:
    """What the last answers say.

    Attributes
    ----------
    n : how many they are. since, until : times of the oldest and the newest, as the log has them; "" before the first.
    kinds : of the figures that are watched: "input", "embedding" (not of a table), "output", "flags".
    figures : those that have a range; none below LEAST answers.
    """

    n: int
    since: str
    until: str
    kinds: tuple[str, ...]
    figures: tuple[Figure, ...]

    @property
    def farthest(self) -> dict[str, Figure]:
        """The figure of each kind that is farthest from the reference; its score is the kind's: 1 = the edge."""
        found: dict[str, Figure] = {}
        for figure in self.figures:
            if figure.kind not in found or figure.score > found[figure.kind].score:
                found[figure.kind] = figure
        return found

    @property
    def alerts(self) -> tuple[Figure, ...]:
        """The figures that left their range, the farthest first."""
        return alerts_of(self.figures)


class Rolling:
    """The last `size` answers of one model, as the log tells of them.

    Each state is one batch: who looks often sees more false alarms than the rate, which holds for each look by itself.
    A bound is learned when a state first needs it, one for each root of 2 in the number of answers.
    """

    def __init__(self, bundle: Bundle, size: int = SIZE, rate: float = RATE) -> None:
        """Raise BundleError for a bundle whose reference is too small to watch against."""
        self._ranges, self._widths = Ranges(bundle, rate), Widths.of(bundle)
        self._size = size
        self._rows = {kind: np.zeros((0, one.group.width), np.float32) for kind, one in self._ranges.learned.items()}
        self._told: deque[tuple[str, frozenset[str]]] = deque(maxlen=size)  # time and flags of each answer

    def feed(self, lines: Iterable[dict[str, Any]]) -> None:
        """Take answers in, as `lines_of` makes them for the log; the oldest ones beyond `size` go out, and lines with
        other numbers of numbers than this model's are passed over.
        """
        told = [line for line in lines if self._fits(line)][-self._size :]
        if not told:
            return
        for kind, before in self._rows.items():
            values = np.array([line[_KEYS[kind]] for line in told], np.float32)  # None becomes NaN
            made = np.full((len(told), before.shape[1]), np.nan, np.float32)
            made[np.isfinite(values).all(axis=1)] = self._ranges.rows(kind, values)
            self._rows[kind] = np.concatenate([before, made])[-self._size :]
        for line in told:
            self._told.append((line["time"], frozenset(flag.partition(":")[0] for flag in line["flags"])))

    def _fits(self, line: dict[str, Any]) -> bool:
        try:
            self._widths.check(line)
        except ValueError:
            return False
        return True

    def state(self) -> State:
        """What the answers that are held say."""
        n, kinds = len(self._told), (*self._ranges.learned, "flags")
        since, until = (self._told[0][0], self._told[-1][0]) if n else ("", "")
        figures = tuple(f for f in self._figures(n) if math.isfinite(f.score)) if n >= LEAST else ()
        return State(n, since, until, kinds, figures)

    def _figures(self, n: int) -> list[Figure]:
        sums = self._ranges.empty()
        for kind, rows in self._rows.items():
            good = rows[np.isfinite(rows[:, 0])].astype(np.float64)
            sums[kind] = Sums(len(good), good.sum(axis=0), (good**2).sum(axis=0))
        told = [kind for kind, found in sums.items() if found.n] or ["output"]
        counts = Counter(flag for _, flags in self._told for flag in flags)
        bound = self._ranges.threshold(n, told)
        return self._ranges.figures(sums) + flag_figures(counts, n, self._ranges, bound)
