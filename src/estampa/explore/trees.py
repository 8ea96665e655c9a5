"""Trees of merges: weighted agglomerative clustering, and cutting any tree into k clusters.

A linkage is scipy's: row i merges the nodes [i, 0] and [i, 1] (leaves 0..m-1, then earlier merges m + row) at height
[i, 2] into a node of [i, 3] leaves; heights never fall.
"""

from __future__ import annotations

import numpy as np

from estampa.explore import distances

WEIGHTED = ("ward", "average")  #: rules in which it matters for how many objects a leaf stands


def weighted_linkage(points: np.ndarray, weights: np.ndarray, rule: str) -> np.ndarray:
    """Linkage (m-1, 4) float64 of `points` (m, f) that stand for `weights` (m,) objects each; `rule` one of WEIGHTED.

    Nearest-neighbour chains (Murtagh 1983, Comput. J. 26, 354) on a full table of dissimilarities, m^2 numbers, updated
    by the formulas of Lance & Williams (1967, Comput. J. 9, 373) with the weights as sizes. Ward's height is that of
    fastcluster and scipy, sqrt(2 a b / (a + b)) |mean_a - mean_b|, so a leaf of weight w is w objects at one place.
    """
    m = len(points)
    size = np.asarray(weights, np.float64).copy()
    table = pair_table(points)
    if rule == "ward":
        table *= table
        table *= 2 * size[:, None] * size / (size[:, None] + size)
    np.fill_diagonal(table, np.inf)
    merges = np.empty((m - 1, 3))
    chain: list[int] = []
    alive = np.ones(m, bool)
    for row in range(m - 1):
        if not chain:
            chain.append(int(alive.argmax()))
        while True:
            a = chain[-1]
            b = int(table[a].argmin())
            if len(chain) > 1 and table[a, chain[-2]] <= table[a, b]:
                b = chain[-2]  # of equals the one we came from, or the chain might run in circles
                break
            chain.append(b)
        del chain[-2:]
        height = table[a, b]
        merges[row] = a, b, height
        if rule == "ward":
            joined = (size[a] + size) * table[a] + (size[b] + size) * table[b] - size * height
            joined /= size[a] + size[b] + size
        else:
            joined = (size[a] * table[a] + size[b] * table[b]) / (size[a] + size[b])
        alive[a], size[b] = False, size[a] + size[b]
        joined[b] = np.inf
        joined[~alive] = np.inf
        table[b], table[:, b] = joined, joined
        table[a], table[:, a] = np.inf, np.inf
    if rule == "ward":
        merges[:, 2] = np.sqrt(np.maximum(merges[:, 2], 0))
    return _in_order(merges)


def pair_table(points: np.ndarray) -> np.ndarray:
    """Euclidean distances (m, m) float64 between all points; the diagonal is exactly 0."""
    exact = points.astype(np.float64)
    exact -= exact.mean(axis=0)
    norms = np.einsum("ij,ij->i", exact, exact)
    table = np.empty((len(points), len(points)))
    for part in distances.blocks(len(points), 8 * len(points)):  # small enough to stay in the processor's cache
        rows = np.matmul(exact[part], exact.T, out=table[part])
        rows *= -2.0
        rows += norms[part, None]
        rows += norms
        np.maximum(rows, 0.0, out=rows)
        np.sqrt(rows, out=rows)
    np.fill_diagonal(table, 0.0)
    return table


def _in_order(merges: np.ndarray) -> np.ndarray:
    """Merges of leaves that stand for their clusters, by height, as a linkage."""
    m = len(merges) + 1
    above, count, node = list(range(m)), [1] * m, list(range(m))

    def top(leaf: int) -> int:
        while above[leaf] != leaf:
            above[leaf] = above[above[leaf]]
            leaf = above[leaf]
        return leaf

    linkage = np.empty((m - 1, 4))
    for row, (a, b, height) in enumerate(merges[np.argsort(merges[:, 2], kind="stable")]):
        first, second = top(int(a)), top(int(b))
        linkage[row] = *sorted((node[first], node[second])), height, count[first] + count[second]
        above[first] = second
        count[second] += count[first]
        node[second] = m + row
    return linkage


def cut(linkage: np.ndarray, clusters: int) -> tuple[np.ndarray, float]:
    """Cluster (m,) int64 of each leaf when the tree is cut into `clusters`, and the height of the cut.

    The cut lies half way between the last merge below and the first one above it. Numbers run from the root down.
    """
    m = len(linkage) + 1
    below = m - clusters  # merges that stay
    of = np.full(2 * m - 1, -1, np.int64)
    number = 0
    for row in range(m - 2, -1, -1):
        mine = of[m + row]
        for child in linkage[row, :2].astype(np.int64):
            if mine >= 0:
                of[child] = mine
            elif child < m or child - m < below:  # a leaf, or the top of a cluster
                of[child], number = number, number + 1
        if mine < 0 and row < below:  # only the root of a tree that is not cut
            of[: m + row + 1] = 0
            break
    heights = linkage[:, 2]
    above = heights[below] if below < len(heights) else heights[-1] * 1.1
    return of[:m], float(((heights[below - 1] if below > 0 else 0.0) + above) / 2)
