"""The last answers of a service held against the reference while it runs: numpy alone, for its metrics page."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from estampa.bundle.store import Bundle
from estampa.monitor.against import Sums
from estampa.monitor.figures import Figure
from estampa.monitor.flags import flag_figures, known_shares
from estampa.monitor.ranges import RATE, Ranges

SIZE = 1000


@dataclass(frozen=True)
class State:
    """The last answers: how many they are, each figure's drift score (1 = the edge of its range), which are alerts."""

    n: int
    scores: dict[str, float]
    alerts: tuple[str, ...]


class Rolling:
    """The last `size` answers of one model, as sums that are brought up to date with each one; threads may share it.

    The bounds are learned when they are first asked for, at most one a doubling of the number of answers and then
    once for good (about a second). Every look at the state is one batch: who looks often sees more false alarms than
    the rate, which holds for each look by itself.

    Attributes
    ----------
    size : how many answers.
    """

    def __init__(self, bundle: Bundle, size: int = SIZE, rate: float = RATE) -> None:
        """Raise BundleError for a bundle whose reference is too small to watch against."""
        self.size, self._ranges = size, Ranges(bundle, rate)
        self._shares, self._lock = known_shares(bundle, self._ranges), Lock()
        self._sums, self._flags = self._ranges.empty(), Counter[str]()
        self._held: deque[tuple[dict[str, np.ndarray], tuple[str, ...]]] = deque()

    def feed(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Take answers in, as `lines_of` makes them for the log; the oldest ones beyond `size` go out."""
        told = list(lines)[-self.size :]
        if not told:
            return
        keys = {"input": "describe", "embedding": "components", "output": "output"}
        made: list[dict[str, np.ndarray]] = [{} for _ in told]
        for kind in self._ranges.learned:
            values = np.array([line[keys[kind]] for line in told], np.float32)  # None becomes NaN
            good = np.isfinite(values).all(axis=1) & (values.shape[1] > 0)
            if good.any():
                for i, row in zip(np.flatnonzero(good).tolist(), self._ranges.rows(kind, values[good]), strict=True):
                    made[i][kind] = row
        with self._lock:
            for line, rows in zip(told, made, strict=True):
                flags = tuple(flag.partition(":")[0] for flag in line["flags"])
                self._held.append((rows, flags))
                self._count(rows, flags, 1)
                if len(self._held) > self.size:
                    self._count(*self._held.popleft(), -1)

    def _count(self, rows: Mapping[str, np.ndarray], flags: tuple[str, ...], sign: int) -> None:
        for kind, row in rows.items():
            sums = self._sums[kind]
            sums.n += sign
            sums.total += sign * row
            sums.squares += sign * row**2
        for flag in flags:
            self._flags[flag] += sign

    def figures(self) -> list[Figure]:
        """The figures of the last answers; none before the first."""
        with self._lock:
            n, flags = len(self._held), {name: count for name, count in self._flags.items() if count > 0}
            sums = {k: Sums(s.n, s.total.copy(), s.squares.copy()) for k, s in self._sums.items()}
        if not n:
            return []
        told = [kind for kind, found in sums.items() if found.n] or ["output"]
        made = self._ranges.figures(sums)
        return made + flag_figures(flags, n, self._shares, self._ranges, self._ranges.threshold(n, told))

    def state(self) -> State:
        """The drift score of each figure that has a range, and which figures left theirs."""
        figures = [figure for figure in self.figures() if math.isfinite(figure.score)]
        scores = {figure.name: figure.score for figure in figures}
        return State(len(self._held), scores, tuple(figure.name for figure in figures if figure.alert))
