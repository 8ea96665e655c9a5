"""How good clusters are: against known classes, by themselves, and when the fit is repeated on other objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from estampa import machine, parts
from estampa.errors import InputError
from estampa.explore.clustering import METHODS, checked, cluster
from estampa.explore.threads import fit_for
from estampa.measure.cells import bootstrap_counts
from estampa.measure.intervals import Interval

SAMPLE = 4_000  #: objects on which silhouettes and stability are taken: their cost grows as n^2
NAMES = ("ari", "nmi", "homogeneity", "purity")


class Agreement:
    """Clusters against classes, from the counts of a table of k clusters by c classes.

    "ari": adjusted Rand index (Hubert & Arabie 1985, J. Classif. 2, 193, eq. 5), 0 by chance, 1 = the same parts.
    "nmi": mutual information / mean of both entropies (Vinh, Epps & Bailey 2010, JMLR 11, 2837, table 2, "sum").
    "homogeneity": 1 - H(class | cluster) / H(class) (Rosenberg & Hirschberg 2007, EMNLP, 410, eq. 1).
    "purity": share of the objects that are of their cluster's commonest class. Purity and homogeneity grow with the
    number of clusters; the other two are corrected for it, or divided by it.
    Where the objects are of one class only, the first three are NaN.
    """

    names: tuple[str, ...] = NAMES

    def __init__(self, clusters: np.ndarray, classes: np.ndarray) -> None:
        _, a = np.unique(clusters, return_inverse=True)
        _, b = np.unique(classes, return_inverse=True)
        self.shape = (int(a.max()) + 1, int(b.max()) + 1)
        self.k = self.shape[0] * self.shape[1]
        self.cells: np.ndarray = a * self.shape[1] + b

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """The four, for any counts (k,) of the table's cells."""
        table = counts.reshape(self.shape)
        by_cluster, by_class, total = table.sum(axis=1), table.sum(axis=0), table.sum()
        purity = table.max(axis=1).sum() / total
        if (by_class > 0).sum() < 2:
            return np.array([np.nan, np.nan, np.nan, purity])
        shared = _entropy(by_cluster) + _entropy(by_class) - _entropy(table.ravel())
        whole = (_entropy(by_cluster) + _entropy(by_class)) / 2
        return np.array([_rand(table), shared / whole, shared / _entropy(by_class), purity])

    def behind(self, units: np.ndarray | None) -> np.ndarray:
        """Objects (or units drawn together) behind the purity."""
        count = len(self.cells) if units is None else int(units.max()) + 1
        return np.array([np.nan, np.nan, np.nan, float(count)])


def agreement(
    classes: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Agreement of known classes (n,) with clusters (n,), each with its 95 % bootstrap interval over objects or groups.

    Objects without a class (-1) are left out. Noise (-1 among the clusters) counts as a cluster of its own, so that
    calling objects noise does not pay. Returns the four of `Agreement`, or nothing where no object has a class.
    """
    labels, classes = np.asarray(labels), np.asarray(classes)
    if len(labels) != len(classes):
        raise InputError("clusters and classes must be of the same objects", allowed=str(len(labels)), got=len(classes))
    known = classes >= 0
    if not known.any():
        return {}
    tied = None if groups is None else np.asarray(groups)[known]
    return bootstrap_counts(Agreement(labels[known], classes[known]), tied, resamples, seed)


def adjusted_rand(a: np.ndarray, b: np.ndarray) -> float:
    """Adjusted Rand index of two labellings of the same objects; 1 where both make a single part."""
    made = Agreement(a, b)
    return _rand(np.bincount(made.cells, minlength=made.k).reshape(made.shape).astype(np.float64))


def inner(x: np.ndarray, labels: np.ndarray, *, sample: int = SAMPLE, seed: int = 0) -> dict[str, float]:
    """Quality of clusters (n,) in the features x (n, f), which need not be those that they were found in.

    "silhouette": mean of (b - a) / max(a, b), a the mean distance within the own cluster, b that to the nearest other
    one (Rousseeuw 1987, J. Comput. Appl. Math. 20, 53), on a sample: -1 to 1, larger is better. "davies_bouldin": mean
    over clusters of the worst ratio of spreads to distance (Davies & Bouldin 1979, IEEE Trans. Pattern Anal. Mach.
    Intell. 1, 224): smaller is better. Noise is left out; both are NaN where fewer than two clusters are left.
    """
    machine.require("explore", "sklearn", needed_for="quality of clusters")
    from sklearn.metrics import davies_bouldin_score

    x = checked(x)
    inside = np.flatnonzero(np.asarray(labels) >= 0)
    if not 2 <= len(np.unique(labels[inside])) < len(inside):
        return {"silhouette": float("nan"), "davies_bouldin": float("nan")}
    values = silhouettes(x[inside], labels[inside], sample, seed)
    return {
        "silhouette": float(values.mean()),
        "davies_bouldin": float(davies_bouldin_score(x[inside], labels[inside])),
    }


def silhouettes(x: np.ndarray, labels: np.ndarray, sample: int, seed: int) -> np.ndarray:
    """Silhouette of each of at most `sample` objects drawn at random, within that sample; NaN-free, at least two."""
    from sklearn.metrics import silhouette_samples

    if len(x) > sample:
        drawn = np.random.default_rng(seed).choice(len(x), sample, replace=False)
        x, labels = x[drawn], labels[drawn]
    count = len(np.unique(labels))
    if not 2 <= count < len(x):  # one cluster, or each object its own
        return np.zeros(max(2, len(x)))
    values: np.ndarray = silhouette_samples(x, labels)
    return values


def stability(
    x: np.ndarray, method: str, *, options: Mapping[str, Any] | None = None, pairs: int = 8, sample: int = SAMPLE,
    seed: int = 0,
) -> Interval:  # fmt: skip
    """How far the clusters depend on which objects happened to be there.

    Two subsamples of 80 % are clustered apart, and their parts compared on the objects that both hold, by the adjusted
    Rand index (Ben-Hur, Elisseeff & Guyon 2002, Pac. Symp. Biocomput. 7, 6). Value: the mean over `pairs`; interval:
    their 2.5 and 97.5 % points. 1 = the same clusters each time, 0 = chance. At most `sample` objects are used. A
    clustering without any cluster counts as one part. NaN where a subsample has too few objects.
    """
    x = checked(x)
    rng, whole = np.random.default_rng(seed), len(x)
    if len(x) > sample:
        x = x[np.sort(rng.choice(len(x), sample, replace=False))]
    asked = dict(options or {})
    if isinstance(asked.get("smallest"), int):  # a size in objects, of which there are fewer now
        asked["smallest"] = max(2, round(asked["smallest"] * 0.8 * len(x) / whole))
    count = round(0.8 * len(x))
    least = max(2, int(asked.get("clusters", parts.load(METHODS, method).Options().model_dump().get("clusters", 2))))
    if count < least:
        return Interval(np.nan, np.nan, np.nan)
    scores = np.empty(pairs)
    with fit_for(0):  # many small fits
        for number in range(pairs):
            labels = np.full((2, len(x)), -2, np.int64)
            for side in range(2):
                drawn = np.sort(rng.choice(len(x), count, replace=False))
                labels[side, drawn] = cluster(method, x[drawn], options=asked, seed=seed + number).labels
            both = (labels > -2).all(axis=0)
            scores[number] = adjusted_rand(*labels[:, both])
    low, high = np.percentile(scores, (2.5, 97.5))
    return Interval(float(scores.mean()), float(low), float(high))


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _rand(table: np.ndarray) -> float:
    """Adjusted Rand index of a table of counts."""
    total = table.sum()
    together = float((table * (table - 1)).sum() / 2)
    first = float((table.sum(axis=1) * (table.sum(axis=1) - 1)).sum() / 2)
    second = float((table.sum(axis=0) * (table.sum(axis=0) - 1)).sum() / 2)
    chance = first * second / max(1.0, total * (total - 1) / 2)
    most = (first + second) / 2
    return 1.0 if most == chance else (together - chance) / (most - chance)
