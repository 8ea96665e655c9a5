"""Nearest neighbours, exact: a k-d tree in few dimensions, a table of distances in many."""

from __future__ import annotations

import numpy as np

from estampa.explore import distances

FEW = 10  #: dimensions up to which a k-d tree is faster than the table


def nearest(x: np.ndarray, points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances (m, count) float32, ascending, and rows (m, count) int64 of the nearest `points` of each of `x`.

    `count` is cut to the number of points. Memory beside the answer: 32 MiB in many dimensions.
    """
    count = min(count, len(points))
    if x.shape[1] <= FEW:
        from scipy.spatial import cKDTree

        away, rows = cKDTree(points).query(x, k=np.arange(1, count + 1))
        return away.astype(np.float32), rows.astype(np.int64)
    found, order = np.empty((len(x), count), np.float32), np.empty((len(x), count), np.int64)
    for part in distances.blocks(len(x), len(points)):
        table = distances.squared(x[part], points)
        chosen = np.argpartition(table, count - 1, axis=1)[:, :count]
        near = np.take_along_axis(table, chosen, axis=1)
        rank = np.argsort(near, axis=1, kind="stable")
        order[part] = np.take_along_axis(chosen, rank, axis=1)
        found[part] = np.sqrt(np.take_along_axis(near, rank, axis=1))
    return found, order
