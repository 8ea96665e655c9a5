"""Many objects as fewer weighted ones: the centroids of a fine K-means, for methods whose cost grows as n squared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estampa import machine
from estampa.explore import distances

ITERATIONS = 3  #: of Lloyd; more move the centroids little, and the clusters of centroids hardly


@dataclass(frozen=True)
class Coarse:
    """`points` (m, f) float32 that stand for `weights` (m,) objects each; `of` (n,) int64: the point of each object;
    `away` (n,) float32: its distance to that point.
    """

    points: np.ndarray
    weights: np.ndarray
    of: np.ndarray
    away: np.ndarray


def coarse(x: np.ndarray, count: int, seed: int) -> Coarse:
    """At most `count` centroids of `x` (n, f): K-means from objects drawn at random, so where there are many objects
    there are many centroids. Memory beside `x`: 32 MiB and m x f numbers.
    """
    machine.require("explore", "sklearn", needed_for="centroids")
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    rng = np.random.default_rng(seed)
    begin = np.unique(x[rng.choice(len(x), min(count, len(x)), replace=False)], axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is not run to its end, on purpose
        model = KMeans(len(begin), init=begin, n_init=1, max_iter=ITERATIONS, random_state=seed).fit(x)
    held, of = np.unique(model.labels_, return_inverse=True)
    points = distances.means_of(x, of, len(held))
    away = np.empty(len(x), np.float32)
    for part in distances.blocks(len(x), x.shape[1]):
        away[part] = np.linalg.norm(x[part] - points[of[part]], axis=1)
    return Coarse(points, np.bincount(of).astype(np.float64), of.astype(np.int64), away)
