"""K-means: each object belongs to the nearest of k centres, each centre is the mean of its members.

Lloyd's iteration (Lloyd 1982, IEEE Trans. Inf. Theory 28, 129) from k-means++ starts (Arthur & Vassilvitskii 2007,
SODA, 1027), by scikit-learn. Several starts compete on a sample, and the best goes on with all objects: a start costs
little, and a poor one is what K-means suffers from most. Strength is 1 - distance to the own centre / distance to the
next one. New objects join the nearest centre, which is the rule of the fit itself.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from estampa import machine
from estampa.errors import InputError
from estampa.explore import distances
from estampa.explore.clustering import Clustering, Evidence, by_size, enough
from estampa.explore.threads import fit_for
from estampa.progress import Progress
from estampa.recipe import Count, Record

SAMPLE = 10_000  #: objects on which the starts compete
MEMORY: dict[str, str] = {}


class Options(Record):
    """Settings of K-means."""

    clusters: Annotated[int, Field(ge=1, le=10_000)] = 12  #: k
    starts: Count = 4  #: k-means++ starts that compete
    iterations: Count = 300  #: at most


def fit(x: np.ndarray, options: Options, *, seed: int, progress: Progress) -> Clustering:
    """Cluster `x` (n, f) float32; evidence: "inertia" (sum of squared distances to the own centre), "iterations".

    Raises InputError when there are fewer objects, or fewer different ones, than clusters.
    """
    enough(len(x), options.clusters, "kmeans")
    progress.say(f"K-means: {options.clusters} clusters of {len(x):,} objects.")
    centres, inertia, iterations = centres_of(x, options.clusters, options.starts, options.iterations, seed)
    labels, own, other = distances.two_nearest(x, centres)
    if len(np.unique(labels)) < options.clusters:
        raise InputError(
            "fewer different objects than clusters", where="kmeans", allowed=f"at most {len(np.unique(labels))}",
            got=str(options.clusters), cure="Ask for fewer clusters, or look whether the objects are copies.",
        )  # fmt: skip
    labels, order = by_size(labels, options.clusters)
    evidence: Evidence = {"inertia": float(inertia), "iterations": float(iterations)}
    strength = distances.ratio_strength(own, other)
    return Clustering("kmeans", labels, centres[order], strength, evidence, options=options.model_dump(mode="json"))


def centres_of(
    x: np.ndarray, clusters: int, starts: int, iterations: int, seed: int, weights: np.ndarray | None = None
) -> tuple[np.ndarray, float, int]:
    """Centres (k, f) float32, the sum of squared distances to them, and the iterations that the last fit took."""
    machine.require("explore", "sklearn", needed_for="K-means")
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    sample = max(SAMPLE, 20 * clusters)
    with warnings.catch_warnings(), fit_for(len(x) * x.shape[1] * clusters):
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # fewer different objects than clusters: found by the caller
        if starts > 1 and len(x) > sample:
            drawn = np.random.default_rng(seed).choice(len(x), sample, replace=False)
            given = None if weights is None else weights[drawn]
            first = KMeans(clusters, n_init=starts, max_iter=iterations, random_state=seed).fit(x[drawn], None, given)
            model = KMeans(clusters, init=first.cluster_centers_, n_init=1, max_iter=iterations, random_state=seed)
        else:
            model = KMeans(clusters, n_init=starts, max_iter=iterations, random_state=seed)
        model.fit(x, None, weights)
    return model.cluster_centers_.astype(np.float32), float(model.inertia_), int(model.n_iter_)


def assign(clustering: Clustering, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centre, and 1 - its distance / that of the next one."""
    labels, own, other = distances.two_nearest(new, clustering.centres)
    return labels, distances.ratio_strength(own, other)
