"""Which answers to label next: those that the model is unsure of and that differ, and as many drawn at random.

Uncertain ones first by the margin between the two likeliest classes (Scheffer, Decomain and Wrobel 2001, Active Hidden
Markov Models for Information Extraction), and among the most uncertain those that differ most, as in Zhdanov 2019
(Diverse mini-batch Active Learning, arXiv:1901.05954: the most informative are taken in advance, and diverse ones of
these), here by the farthest-first traversal of Gonzalez 1985 (Clustering to minimize the maximum intercluster distance,
Theor. Comput. Sci. 38), which begins at what has been labelled (as Sener and Savarese 2018, Active Learning for
Convolutional Neural Networks: A Core-Set Approach, Algorithm 1). Values have no margin: the farthest come first.

Both kinds come from different halves of all answers, by a hash of the id. What is drawn at random is so a fair sample
however many were chosen: it would lack the uncertain ones if these were taken away from it.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa.monitor.feedback import CHOSEN, RANDOM, drawn_of, hash_of
from estampa.predict.answers import UNREADABLE

UNCERTAIN = 0.25  #: share of the answers among which the diverse ones are looked for
LEAST = 50  #: of them at least
KNOWN = 500  #: labelled answers, the newest, from which chosen ones should differ

__all__ = ["CHOSEN", "RANDOM", "Answered", "Candidate", "candidates"]


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as its log line has it, in little memory.

    `describe` (k,), `components` (8,) or (0,), `output` (classes,) or (1,): float32, NaN where there is nothing.
    """

    id: str
    time: str
    model: str
    describe: np.ndarray
    components: np.ndarray
    output: np.ndarray
    flags: tuple[str, ...]

    @classmethod
    def of(cls, tree: dict[str, Any]) -> Answered:
        """Of a log line, as `Tail.read` gives it."""
        told, parts, output = (np.array(tree[key], np.float32) for key in ("describe", "components", "output"))
        return cls(tree["id"], tree["time"], tree["model"], told, parts, output, tuple(tree["flags"]))


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer to label, and how it was drawn: "random" or "chosen"."""

    answer: Answered
    drawn: str


def candidates(
    answers: Sequence[Answered],
    labelled: Container[str],
    *,
    of_table: bool = False,
    seed: int = 0,
    most: int = 2,
) -> list[Candidate]:
    """What to label next, drawn at random and chosen in turn; where one kind has ended, the other alone.

    Parameters
    ----------
    answers : of one model, each id once.
    labelled : ids that need no label any more. Those of `answers` among them are what chosen ones should differ from.
    of_table : distances are those of the prepared features, not of the 8 components of the embedding.
    seed : of the halves and of the random order.
    most : how many are wanted.
    """
    halves: dict[str, list[Answered]] = {RANDOM: [], CHOSEN: []}
    known = []
    for one in answers:
        if one.id in labelled:
            known.append(one)
        elif len(one.output) and np.isfinite(one.output).all() and UNREADABLE not in one.flags:
            halves[drawn_of(one.id, seed)].append(one)
    drawn = sorted(halves[RANDOM], key=lambda one: hash_of(one.id, seed))[:most]
    chosen = _chosen(halves[CHOSEN], known[-KNOWN:], of_table, most)
    both = min(len(drawn), len(chosen))
    paired = [c for pair in zip(drawn, chosen, strict=False) for c in pair]
    rest = [*paired, *drawn[both:], *chosen[both:]]
    return [Candidate(one, drawn_of(one.id, seed)) for one in rest[:most]]


def _chosen(pool: Sequence[Answered], known: Sequence[Answered], of_table: bool, most: int) -> list[Answered]:
    """The most diverse of the most uncertain of a pool, the first one first."""
    if not pool:
        return []
    margin = np.array([_margin(one.output) for one in pool])
    few = np.argsort(margin, kind="stable")
    if len(pool[0].output) > 1:
        few = few[: max(LEAST, round(UNCERTAIN * len(pool)))]
    places = _places([*(pool[i] for i in few), *known], of_table)
    mine, taken = places[: len(few)], places[len(few) :]
    away = np.full(len(mine), np.inf)
    for place in taken:
        away = np.minimum(away, ((mine - place) ** 2).sum(axis=1))
    if not len(taken) and len(pool[0].output) == 1:  # values: the one farthest from the middle begins
        away = ((mine - np.median(mine, axis=0)) ** 2).sum(axis=1)
    order: list[int] = []
    while len(order) < min(most, len(mine)):
        order.append(int(away.argmax()))  # of equals the first: the most uncertain one begins
        away = np.minimum(away, ((mine - mine[order[-1]]) ** 2).sum(axis=1))
        away[order] = -1.0
    return [pool[int(few[i])] for i in order]


def _margin(output: np.ndarray) -> float:
    """How much likelier the likeliest class is than the next; 0 of a value."""
    if len(output) < 2:
        return 0.0
    low, high = np.partition(output, -2)[-2:]
    return float(high - low)


def _places(answers: Sequence[Answered], of_table: bool) -> np.ndarray:
    """(n, k) float64: where answers lie, each column in units of its own spread; what is not known lies in the middle.

    An answer without components lies by its statistics.
    """
    use_parts = not of_table and all(len(one.components) for one in answers)
    raw = np.stack([one.components if use_parts else one.describe for one in answers]).astype(np.float64)
    with np.errstate(all="ignore"):
        raw[~np.isfinite(raw)] = np.nan
        known = np.isfinite(raw).any(axis=0)
        raw = raw[:, known]
        middle = np.nanmedian(raw, axis=0)
        spread = np.nanmedian(np.abs(raw - middle), axis=0)
        spread = np.where(spread > 0, spread, np.nanstd(raw, axis=0))
    scaled = np.where(np.isfinite(raw), raw - middle, 0.0) / np.where(spread > 0, spread, 1.0)
    found: np.ndarray = np.clip(scaled, -10, 10)  # one wild feature must not be all that counts
    return found
