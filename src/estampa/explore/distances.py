"""Distances in blocks of bounded memory, and the strength that follows from them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK_BYTES = 32 << 20


def squared(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (m, k) float32 of `x` (m, f) to `centres` (k, f), never negative.

    By |x|^2 - 2 x.c + |c|^2, both moved by the centres' mean, which keeps what cancels small.
    """
    middle = centres.mean(axis=0, dtype=np.float64).astype(np.float32)
    a, b = x - middle, centres - middle
    found: np.ndarray = a @ b.T
    found *= -2.0
    found += np.einsum("ij,ij->i", a, a)[:, None]
    found += np.einsum("ij,ij->i", b, b)
    np.maximum(found, 0.0, out=found)
    return found


def blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices of `rows` whose tables of `columns` float32 numbers stay below `BLOCK_BYTES`."""
    step = max(1, BLOCK_BYTES // (4 * max(1, columns)))
    for start in range(0, rows, step):
        yield slice(start, start + step)


def two_nearest(x: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest centre (m,) int64, the distance to it, and that to the second one (infinity where there is none)."""
    labels = np.empty(len(x), np.int64)
    first, second = np.empty(len(x), np.float32), np.full(len(x), np.inf, np.float32)
    for part in blocks(len(x), len(centres)):
        table = squared(x[part], centres)
        rows, best = np.arange(len(table)), table.argmin(axis=1)
        labels[part], first[part] = best, np.sqrt(table[rows, best])
        table[rows, best] = np.inf
        second[part] = np.sqrt(table.min(axis=1))
    return labels, first, second


def own_and_other(x: np.ndarray, centres: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance (m,) to the centre of the own cluster, and to the nearest other one (infinity where there is none)."""
    own, other = np.empty(len(x), np.float32), np.full(len(x), np.inf, np.float32)
    for part in blocks(len(x), len(centres)):
        table = squared(x[part], centres)
        rows = np.arange(len(table))
        own[part] = np.sqrt(table[rows, labels[part]])
        table[rows, labels[part]] = np.inf
        other[part] = np.sqrt(table.min(axis=1))
    return own, other


def ratio_strength(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """1 - own / other, at least 0: the simplified silhouette (Hruschka et al. 2004, ICTAI, 3), (m,) float32.

    1 at the centre, 0 half way to the next one and beyond. Where both distances are 0, 0; without another centre, 1.
    """
    share = np.divide(own, other, out=np.ones_like(own), where=other > 0)
    strength: np.ndarray = np.clip(1.0 - share, 0.0, 1.0).astype(np.float32)
    return strength


def means_of(x: np.ndarray, labels: np.ndarray, clusters: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean of the (weighted) members of each cluster, (k, f) float32; rows of label -1 count nowhere.

    A cluster without members has the mean of all.
    """
    from scipy.sparse import csr_array

    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    w, told = np.where(labels >= 0, w, 0.0), np.maximum(labels, 0)
    sums, everything = np.zeros((clusters, x.shape[1])), np.zeros(x.shape[1])
    for part in blocks(len(x), 2 * x.shape[1]):
        block = x[part].astype(np.float64)
        sums += csr_array((w[part], (told[part], np.arange(len(block)))), shape=(clusters, len(block))) @ block
        everything += block.sum(axis=0)
    total = np.bincount(told, weights=w, minlength=clusters)[:, None]
    found: np.ndarray = np.where(total > 0, sums / np.maximum(total, 1e-300), everything / max(1, len(x)))
    return found.astype(np.float32)
