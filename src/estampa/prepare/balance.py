"""Unequal classes: weights for the loss, and balanced drawing. Arrays in, arrays out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: The largest class this many times the smallest counts as imbalance that is worth mending.
IMBALANCE = 3.0


def counts(labels: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Objects per class (classes,); labels below 0 (unlabelled) are left out."""
    known = labels[labels >= 0].astype(np.int64)
    return np.bincount(known, minlength=classes).astype(np.int64)


def class_weights(labels: NDArray[Any], classes: int, power: float = 1.0) -> NDArray[np.float32]:
    """Weight of each class in the loss, n / (classes present * count), float32 (classes,); 0 where a class is absent.

    The mean weight over the objects is 1, so that the learning rate keeps its meaning (as scikit-learn's "balanced").
    With a `power` of 0.5 the weights' roots are taken, brought to that mean: half way, in logarithms, to equal ones.
    """
    found = counts(labels, classes)
    present = found > 0
    weights = np.zeros(classes)
    weights[present] = (found.sum() / (present.sum() * found[present])) ** power
    weights *= found.sum() / max((weights * found).sum(), 1e-12)
    return weights.astype(np.float32)


def drawing_weights(labels: NDArray[Any], classes: int) -> NDArray[np.float32]:
    """Probability of each object (n,) float32 in one draw such that every class present is drawn equally often."""
    weights = class_weights(labels, classes)
    chosen = np.where(labels >= 0, weights[np.maximum(labels, 0).astype(np.int64)], 0)
    shares: NDArray[np.float32] = (chosen / chosen.sum()).astype(np.float32)
    return shares


def copies(
    labels: NDArray[Any], classes: int, count: int = 0, *, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Exactly `count` objects of each class (0 = as many as the largest has): some left out, or some copied.

    A class with more gives a random draw without repeats; one with fewer gives all, and copies of objects drawn evenly,
    each turned by an angle of its own. Only objects handed in are copied: hand in the training part alone, so that no
    copy can stand in another part.

    Returns places in `labels` (k,) int64, and the angle of each in degrees (k,) float32, 0 for an original. A class
    without an object stays empty.
    """
    random = np.random.default_rng([seed, 0xC0])
    found = counts(labels, classes)
    wanted = count or int(found.max(initial=0))
    places: list[NDArray[Any]] = [np.zeros(0, np.int64)]
    angles: list[NDArray[Any]] = [np.zeros(0, np.float32)]
    for number in np.flatnonzero(found):
        own = random.permutation(np.flatnonzero(labels == number))
        more = max(0, wanted - len(own))
        again = np.concatenate([random.permutation(own) for _ in range(-(-more // len(own)))] or [own[:0]])[:more]
        places += [own[:wanted], again]
        angles += [np.zeros(min(wanted, len(own))), random.uniform(0, 360, more)]
    return np.concatenate(places), np.concatenate(angles).astype(np.float32)


def imbalance(labels: NDArray[Any], classes: int) -> float:
    """Count of the largest class over that of the smallest that is present; 1 with one class."""
    return imbalance_of(counts(labels, classes))


def imbalance_of(found: NDArray[Any]) -> float:
    """The same of counts (classes,)."""
    present = found[found > 0]
    return float(present.max() / present.min()) if len(present) else 1.0
