"""Small made-up data that a net learns in a second."""

import numpy as np

from estampa.recipe import parse
from estampa.train.feed import ArraySet

TINY = {
    "model": {"name": "convnet", "filters": [6], "pool_after": [1], "dense": [8]},
    "train": {"epochs": 4, "batch": 16, "threads": 1, "dtype": "float32", "memory_format": "channels_last"},
}


def recipe(**changes):
    """The tiny recipe with dotted keys set (a double underscore for the dot)."""
    return parse(TINY, "test").with_values({k.replace("__", "."): v for k, v in changes.items()})


def bars(n=160, seed=0, channels=2, dtype="uint8"):
    """Horizontal (0), vertical (1) and no bars (2) in noise, 10 x 10."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    x = rng.integers(0, 90, (n, 10, 10, channels))
    for i, label in enumerate(labels):
        at = rng.integers(1, 8)
        if label == 0:
            x[i, at : at + 2] += 120
        elif label == 1:
            x[i, :, at : at + 2] += 120
    return ArraySet(x.astype(dtype), labels, "classification", ("flat", "upright", "none"))


def brightness(n=160, seed=0):
    """A number to be told: 50 plus 10 times the mean of one channel."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.3, (n, 8, 8, 1)) + rng.normal(0, 1, (n, 1, 1, 1))
    return ArraySet(x.astype(np.float32), 50 + 10 * x.mean((1, 2, 3)), "regression")


def halves(data):
    """(training rows, validation rows)."""
    cut = data.n * 3 // 4
    return np.arange(cut), np.arange(cut, data.n)


def weights(fitted):
    """Every number of the network as one vector."""
    return np.concatenate([v.numpy(force=True).ravel() for v in fitted.network.state_dict().values()])
