"""Groups whose truth is known, for the tests of this room."""

from __future__ import annotations

import numpy as np

CENTRES = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9]], np.float32)


def blobs(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Four round groups that lie far apart, sizes 4 : 3 : 2 : 1, and which group each object is of."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(4), np.array([4, 3, 2, 1]) * n // 10))
    return (CENTRES[truth] + rng.normal(size=(len(truth), 3))).astype(np.float32), truth


def pure(labels: np.ndarray, truth: np.ndarray) -> float:
    """Share of the objects in clusters that are of the cluster's commonest group."""
    counts = np.zeros((labels.max() + 1, truth.max() + 1))
    np.add.at(counts, (labels[labels >= 0], truth[labels >= 0]), 1)
    return counts.max(axis=1).sum() / len(labels)


def moons(n: int = 1500, seed: int = 0, features: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Two bent groups and a fifth of the objects anywhere (group 2)."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, n, p=[0.4, 0.4, 0.2])
    angle = rng.uniform(0, np.pi, n)
    side = np.where(truth == 0, 1, -1)
    x = np.stack([side * np.cos(angle) + (truth == 1), side * np.sin(angle) + 0.5 * (truth == 1)], 1)
    x += rng.normal(0, 0.06, x.shape)
    x[truth == 2] = rng.uniform(-2.5, 3.5, (int((truth == 2).sum()), 2))
    turned, _ = np.linalg.qr(rng.normal(size=(features, features)))
    return (np.hstack([x, np.zeros((n, features - 2))]) @ turned).astype(np.float32), truth
