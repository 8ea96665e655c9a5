"""Every label of a service's file, in 20 bytes each, and how many there are of each kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from estampa.monitor.feedback import CHOSEN, GIVEN, RANDOM, Given, Label, drawn_of, hash_of

_FRESH = 4096  #: labels that are held in a dict, at least, before they are put with the others
_NUMBER = 0.0  #: what stands for every label that is a number


class Kind(NamedTuple):
    """What labels have in common. `half`: of all answers, as `drawn_of` tells; `label`: 0.0 for any number."""

    model: str
    drawn: str
    half: str
    label: Label


@dataclass(frozen=True)
class Counts:
    """Labels of one model.

    Attributes
    ----------
    given, random : how many may measure it, by how its answers were drawn.
    chosen : how many more are of answers that were chosen.
    aside : how many more are of their half of all answers, see `monitor/feedback.py`.
    turn : of which half the next answer should be: "random" or "chosen".
    news : class that it does not know -> how many labels are of it, as they came up.
    """

    given: int
    random: int
    chosen: int
    aside: int
    turn: str
    news: dict[str, int]


class Tally:
    """The last label of each id. Ids are known by 8 bytes of their hash. For one thread at a time."""

    def __init__(self) -> None:
        self._keys = np.zeros(0, np.uint64)  # sorted
        self._codes, self._values = np.zeros(0, np.uint32), np.zeros(0, np.float64)
        self._fresh: dict[int, tuple[int, float]] = {}
        self._kinds: dict[Kind, int] = {}
        self._listed: list[Kind] = []
        self._counts: list[int] = []

    def take(self, given: Given) -> None:
        """Take a line in: the later label of an id counts; what was chosen stays so."""
        key = _key(given.id)
        before = self._found(key)
        chosen = before is not None and self._listed[before[0]].drawn == CHOSEN
        label = _NUMBER if isinstance(given.label, float) else given.label
        kind = Kind(given.model, CHOSEN if chosen else given.drawn, drawn_of(given.id), label)
        code = self._kinds.setdefault(kind, len(self._listed))
        if code == len(self._listed):
            self._listed.append(kind)
            self._counts.append(0)
        if before is not None:
            self._counts[before[0]] -= 1
        self._counts[code] += 1
        self._fresh[key] = code, given.label if isinstance(given.label, float) else 0.0
        if len(self._fresh) >= max(_FRESH, len(self._keys) // 4):
            self._settle()

    def label(self, name: str) -> tuple[str | float, str] | None:
        """The label of an id and how its answer was drawn; None where there is none, or it was withdrawn."""
        found = self._found(_key(name))
        kind = self._listed[found[0]] if found is not None else None
        if found is None or kind is None or kind.label is None:
            return None
        return (kind.label if isinstance(kind.label, str) else found[1]), kind.drawn

    def labelled(self, names: Iterable[str]) -> Iterator[str]:
        """Those ids that have a label."""
        return (name for name in names if self.label(name) is not None)

    def counts(self, model: str, classes: tuple[str, ...]) -> Counts:
        """How many labels a model of these classes (() = of values) has."""
        mine = [
            (kind, n)
            for kind, n in zip(self._listed, self._counts, strict=True)
            if n and kind.model == model and kind.label is not None and isinstance(kind.label, str) == bool(classes)
        ]
        some = {drawn: sum(n for kind, n in mine if kind.drawn == drawn) for drawn in (GIVEN, RANDOM, CHOSEN)}
        known, fair, aside, news = set(classes), {GIVEN: 0, RANDOM: 0, CHOSEN: 0}, 0, dict[str, int]()
        for kind, n in mine:
            new = isinstance(kind.label, str) and kind.label not in known
            if new:
                news[str(kind.label)] = news.get(str(kind.label), 0) + n
            if kind.drawn == GIVEN and some[CHOSEN] and kind.half == CHOSEN:
                aside += n
            elif not new:
                fair[kind.drawn] += n
        turn = RANDOM if some[RANDOM] <= some[CHOSEN] else CHOSEN
        return Counts(fair[GIVEN], fair[RANDOM], some[CHOSEN], aside, turn, news)

    def _found(self, key: int) -> tuple[int, float] | None:
        """Place of the kind, and the number, of a key."""
        if key in self._fresh:
            return self._fresh[key]
        i = int(self._keys.searchsorted(np.uint64(key)))
        if i == len(self._keys) or int(self._keys[i]) != key:
            return None
        return int(self._codes[i]), float(self._values[i])

    def _settle(self) -> None:
        """Put what has come with the others."""
        keys = np.array(list(self._fresh), np.uint64)
        codes, values = (np.array(part) for part in zip(*self._fresh.values(), strict=True))
        keep = ~np.isin(self._keys, keys)
        keys = np.concatenate([self._keys[keep], keys])
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._codes = np.concatenate([self._codes[keep], codes.astype(np.uint32)])[order]
        self._values = np.concatenate([self._values[keep], values])[order]
        self._fresh = {}


def _key(name: str) -> int:
    return int.from_bytes(hash_of(name)[1:], "big")  # its first byte tells the half
