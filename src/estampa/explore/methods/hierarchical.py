"""Hierarchical clustering: the two nearest clusters are merged again and again, and the tree is cut at k.

Ward's rule (Ward 1963, J. Am. Stat. Assoc. 58, 236), average, complete or single linkage, by fastcluster (Muellner
2013, J. Stat. Softw. 53, 9) on distances that are computed at once as a matrix product. Cost and memory grow as
n^2: above `LIMIT` objects the tree is that of the centroids of a fine K-means, each with the weight of its members
(Ward and average; the other two rules know no weights), and the evidence says so.

Strength is 1 - distance to the centre of the own cluster / distance to the nearest other centre, at least 0. A new
object joins the nearest centre. That is not how the tree was made: the share of the fitted objects whose own cluster
is the nearest one is the evidence "nearest_is_own".
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from estampa import machine
from estampa.explore import distances, trees
from estampa.explore.clustering import Clustering, Evidence, by_size, enough
from estampa.explore.coarse import coarse
from estampa.progress import Progress
from estampa.recipe import Count, Record

LIMIT = 15_000  #: objects; their distances take 0.9 GB, and fastcluster as much again
CENTROIDS = 4_000
MEMORY: dict[str, str] = {}


class Options(Record):
    """Settings of hierarchical clustering."""

    clusters: Annotated[int, Field(ge=1, le=10_000)] = 12  #: k, at which the tree is cut
    linkage: Literal["ward", "average", "complete", "single"] = "ward"  #: which two clusters count as nearest
    limit: Count = LIMIT  #: objects above which the tree is that of K-means centroids


def fit(x: np.ndarray, options: Options, *, seed: int, progress: Progress) -> Clustering:
    """Cluster `x` (n, f) float32.

    Evidence: "linkage" (m-1, 4) float64 of the m leaves (objects, or centroids); "cut", its height;
    "leaf_clusters" (m,) int64; "leaf_weights" (m,) float64, objects behind each leaf; "nearest_is_own", a share.
    Raises InputError when there are fewer objects than clusters.
    """
    enough(len(x), options.clusters, "hierarchical")
    machine.require("explore", "fastcluster", needed_for="hierarchical clustering")
    evidence: Evidence = {}
    leaves, weights, of = x, np.ones(len(x)), np.arange(len(x))
    if len(x) > options.limit:
        few = coarse(x, max(min(CENTROIDS, options.limit), options.clusters), seed)
        leaves, weights, of = few.points, few.weights, few.of
        enough(len(leaves), options.clusters, "hierarchical")
        kept = "with the weight of its members" if options.linkage in trees.WEIGHTED else "each counted once"
        evidence["note"] = (
            f"{len(x):,} objects are too many for a tree of all: it is of {len(leaves):,} K-means centroids, {kept}."
        )
        progress.say(f"hierarchical: {evidence['note']}")
    progress.say(f"hierarchical: {options.linkage} linkage of {len(leaves):,} leaves, cut into {options.clusters}.")
    linkage = _linkage(leaves, weights, options.linkage)
    leaf_clusters, height = trees.cut(linkage, options.clusters)
    labels, order = by_size(leaf_clusters[of], options.clusters)
    centres = distances.means_of(x, labels, options.clusters)
    own, other = distances.own_and_other(x, centres, labels)
    evidence |= {
        "linkage": linkage, "cut": height, "leaf_clusters": np.argsort(order)[leaf_clusters], "leaf_weights": weights,
        "nearest_is_own": float((own <= other).mean()),
    }  # fmt: skip
    return Clustering(
        "hierarchical", labels, centres, distances.ratio_strength(own, other), evidence,
        options=options.model_dump(mode="json"),
    )  # fmt: skip


def _linkage(leaves: np.ndarray, weights: np.ndarray, rule: str) -> np.ndarray:
    if rule in trees.WEIGHTED and (weights != 1).any():
        return trees.weighted_linkage(leaves, weights, rule)
    import fastcluster

    pairs = _pairs(leaves)
    made: np.ndarray = fastcluster.linkage(pairs, method=rule, preserve_input=False)
    return made


def _pairs(x: np.ndarray) -> np.ndarray:
    """Euclidean distances of all pairs in scipy's condensed order, (n (n-1) / 2,) float64, by blocks of rows."""
    exact = x.astype(np.float64)
    exact -= exact.mean(axis=0)
    norms = np.einsum("ij,ij->i", exact, exact)
    n, at = len(x), 0
    pairs = np.empty(n * (n - 1) // 2)
    for part in distances.blocks(n, 2 * n):
        first, last = part.start, min(part.stop, n)
        table = exact[first:last] @ exact[first:].T
        table *= -2.0
        table += norms[first:last, None]
        table += norms[first:]
        for row in range(last - first):
            line = table[row, row + 1 :]
            pairs[at : at + len(line)] = line
            at += len(line)
    np.maximum(pairs, 0.0, out=pairs)
    np.sqrt(pairs, out=pairs)
    return pairs


def assign(clustering: Clustering, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centre, and 1 - its distance / that of the next one."""
    labels, own, other = distances.two_nearest(new, clustering.centres)
    return labels, distances.ratio_strength(own, other)
