"""The strangest objects: those that have no others near them.

Strangeness is the mean distance to the nearest neighbours (Angiulli & Pizzuti 2002, PKDD, LNCS 2431, 15). It needs no
clusters. The distance to the nearest centre, the usual choice, calls the outskirts of every wide cluster strange and
depends on how many clusters there are; this does not. What it cannot find: a group of more than `NEIGHBOURS` alike
artifacts, which are near each other, and anything strange that the features do not hold.
"""

from __future__ import annotations

import numpy as np

from estampa.explore import neighbours
from estampa.explore.clustering import checked

NEIGHBOURS = 10
REFERENCE = 20_000  #: objects among which neighbours are sought


def strangeness(x: np.ndarray, *, count: int = NEIGHBOURS, seed: int = 0) -> np.ndarray:
    """Mean distance (n,) float32 of each object of x (n, f) to its `count` nearest others, in the features' units.

    Among more than `REFERENCE` objects, neighbours are sought in that many drawn at random: distances are longer by
    the same factor for all.
    """
    x = checked(x)
    rows = np.arange(len(x))
    if len(x) > REFERENCE:
        rows = np.sort(np.random.default_rng(seed).choice(len(x), REFERENCE, replace=False))
    count = min(count, len(rows) - 1)
    away, found = neighbours.nearest(x, x[rows], count + 1)
    itself = rows[found] == np.arange(len(x))[:, None]
    missing = ~itself.any(axis=1)  # not in the reference, or beyond as many copies of it
    itself[missing, -1] = True
    kept = np.where(itself, 0.0, away).sum(axis=1) / count
    scores: np.ndarray = kept.astype(np.float32)
    return scores


def strangest(x: np.ndarray, most: int, *, count: int = NEIGHBOURS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Places (m,) int64 of the at most `most` strangest objects, strangest first, and the strangeness (n,) of all."""
    scores = strangeness(x, count=count, seed=seed)
    order: np.ndarray = np.argsort(-scores, kind="stable")[:most].astype(np.int64)
    return order, scores
