"""HDBSCAN: clusters are the dense regions that persist longest as the demanded density rises; the rest is noise.

Campello, Moulavi & Sander (2013, PAKDD, LNCS 7819, 160), by the hdbscan library (McInnes, Healy & Astels 2017, JOSS 2,
205). Up to `neighbours.FEW` features the library does it all. With more, where its trees of space fail, the
spanning tree is taken from a table of distances made as a matrix product, and the library's own condensing follows.
Above `LIMIT` objects (`LIMIT_WIDE` with many features) the tree is that of the centroids of a fine K-means; the members
hang on their centroid, so every object counts and each can still be noise; the evidence says so.

Strength is the library's: density at which the object joins / the highest density in its cluster. A new object's
nearest fitted one, by mutual reachability, decides: it joins that one's cluster when it lies within the cluster's
reach, the distance at which the cluster parted from its neighbours; otherwise it is noise. This is what
`hdbscan.approximate_predict` does, without its tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from estampa import machine
from estampa.errors import InputError
from estampa.explore import distances, neighbours, trees
from estampa.explore.clustering import Clustering, Evidence, by_size, enough
from estampa.explore.coarse import Coarse, coarse
from estampa.progress import Progress
from estampa.recipe import Count, Record

LIMIT, LIMIT_WIDE = 50_000, 12_000  #: objects; the table of 12,000 takes 1.2 GB
CENTROIDS = 5_000
MEMORY = {"points": "f p f", "cores": "f p", "point_clusters": "i p", "reach": "f k", "peak": "f k"}


class Options(Record):
    """Settings of HDBSCAN."""

    smallest: Annotated[int, Field(ge=2)] | Literal["auto"] = (
        "auto"  #: objects that make a cluster; "auto" = 1 % of all, at least 10
    )
    neighbours: Annotated[int, Field(ge=1, le=1000)] = 10  #: the distance to this neighbour is the density
    selection: Literal["eom", "leaf"] = "eom"  #: clusters that persist longest, or the finest ones
    single: bool = False  #: whether all may be one cluster
    limit: Count | Literal["auto"] = "auto"  #: objects above which the tree is that of centroids; "auto" = by features


@dataclass(frozen=True)
class _Tree:
    """What the library finds: labels and probabilities of all objects, the condensed tree, edges (m, 3)."""

    labels: np.ndarray
    probabilities: np.ndarray
    condensed: np.ndarray
    edges: np.ndarray


def fit(x: np.ndarray, options: Options, *, seed: int, progress: Progress) -> Clustering:
    """Cluster `x` (n, f) float32. There may be no cluster at all: then every label is -1, and a note says so.

    Evidence: "condensed_tree" (t, 4) float64, rows of parent, child, lambda (1 / distance) and size, where a child
    below n is an object; "chosen_nodes" (k,) int64, the tree's node of each cluster; "mst" (m, 3) float64, edges of
    the minimum spanning tree between rows of `x`, with their mutual reachability distance; "noise", a
    share; "smallest", objects that make a cluster.
    """
    machine.require("explore", "hdbscan", needed_for="HDBSCAN")
    smallest = max(10, len(x) // 100) if options.smallest == "auto" else options.smallest
    if len(x) <= options.neighbours:
        enough(len(x), options.neighbours + 1, "hdbscan")
    wide = x.shape[1] > neighbours.FEW
    limit = (LIMIT_WIDE if wide else LIMIT) if options.limit == "auto" else options.limit
    evidence: Evidence = {}
    few: Coarse | None = None
    if len(x) > limit:
        few = coarse(x, min(CENTROIDS, limit), seed)
        evidence["note"] = (
            f"{len(x):,} objects are too many for a tree of all: it is of {len(few.points):,} K-means centroids, on "
            "which their members hang."
        )
        progress.say(f"hdbscan: {evidence['note']}")
    progress.say(f"hdbscan: clusters of at least {smallest:,} of {len(x):,} objects, {x.shape[1]} features.")
    points = x if few is None else few.points
    if few is None and not wide:
        cores, tree = _cores(x, None, options.neighbours), _by_library(x, smallest, options)
    else:
        cores, tree = _by_table(x, few, smallest, options)
    count = int(tree.labels.max(initial=-1)) + 1
    nodes = _chosen(tree, count)
    labels, order = by_size(tree.labels.astype(np.int64), count)
    reach, peak = _extent(tree, nodes[order])
    on = labels if few is None else labels[_nearest_member(few)]
    evidence |= {
        "condensed_tree": tree.condensed, "chosen_nodes": nodes[order], "mst": tree.edges,
        "noise": float((labels < 0).mean()), "smallest": float(smallest),
    }  # fmt: skip
    if not count:
        evidence["note"] = (
            f"{evidence.get('note', '')} No region is denser than its surroundings: all are noise.".strip()
        )
    memory = {"points": points, "cores": cores, "point_clusters": on, "reach": reach, "peak": peak}
    strength = np.where(labels >= 0, np.clip(tree.probabilities, 0, 1), 0).astype(np.float32)
    centres = distances.means_of(x, labels, count) if count else np.zeros((0, x.shape[1]), np.float32)
    return Clustering(
        "hdbscan", labels, centres, strength, evidence, memory, options=options.model_dump(mode="json")
    )  # fmt: skip


def _by_library(x: np.ndarray, smallest: int, options: Options) -> _Tree:
    from hdbscan import HDBSCAN

    model = HDBSCAN(
        min_cluster_size=smallest, min_samples=options.neighbours, cluster_selection_method=options.selection,
        allow_single_cluster=options.single, gen_min_span_tree=True, approx_min_span_tree=False,
        core_dist_n_jobs=1,
    ).fit(x)  # fmt: skip
    return _Tree(model.labels_, model.probabilities_, _plain(model._condensed_tree), model._min_spanning_tree)


def _by_table(x: np.ndarray, few: Coarse | None, smallest: int, options: Options) -> tuple[np.ndarray, _Tree]:
    """Core distances (p,) and the same, from a table of all distances between objects or centroids."""
    from hdbscan._hdbscan_linkage import label, mst_linkage_core
    from hdbscan.hdbscan_ import _tree_to_labels

    table = trees.pair_table(x if few is None else few.points)
    if few is None:
        exact = np.empty(len(x))
        for part in distances.blocks(len(x), 8 * len(x)):
            exact[part] = np.partition(table[part].astype(np.float32), options.neighbours, axis=1)[
                :, options.neighbours
            ]
    else:
        exact = _cores(x, few, options.neighbours).astype(np.float64)
    for row, core in enumerate(exact):
        np.maximum(table[row], np.maximum(exact, core), out=table[row])
    edges = mst_linkage_core(table)
    del table
    if few is not None:
        middle = _nearest_member(few)
        edges[:, :2] = middle[edges[:, :2].astype(np.int64)]
        hanging = np.setdiff1d(np.arange(len(x)), middle)
        on = few.of[hanging]
        star = np.stack([middle[on], hanging, np.maximum(few.away[hanging], exact[on])], axis=1)
        edges = np.concatenate([edges, star])
    edges = edges[np.argsort(edges[:, 2], kind="stable")]
    labels, probabilities, _, condensed, _ = _tree_to_labels(
        x, label(edges), smallest, options.selection, options.single
    )
    return exact.astype(np.float32), _Tree(labels, probabilities, _plain(condensed), edges)


def _plain(condensed: Any) -> np.ndarray:
    """The library's record array as (t, 4) float64."""
    return np.stack([condensed[n].astype(np.float64) for n in ("parent", "child", "lambda_val", "child_size")], axis=1)


def _cores(x: np.ndarray, few: Coarse | None, count: int) -> np.ndarray:
    """Distance (p,) float32 of each point to its `count`-th neighbour among all objects.

    Of a centroid: among its own members where it has as many, else to the centroid with which they become as many.
    """
    if few is None:
        away, _ = neighbours.nearest(x, x, count + 1)
        last: np.ndarray = away[:, -1]
        return last
    order = np.lexsort((few.away, few.of))
    size = few.weights.astype(np.int64)
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    cores = few.away[order][np.minimum(start + count, start + size - 1)]
    thin = np.flatnonzero(size <= count)
    if len(thin):
        away, rows = neighbours.nearest(few.points[thin], few.points, count + 1)
        reached = (np.cumsum(size[rows], axis=1) > count).argmax(axis=1)
        cores[thin] = np.maximum(cores[thin], away[np.arange(len(thin)), reached])
    found: np.ndarray = cores.astype(np.float32)
    return found


def _nearest_member(few: Coarse) -> np.ndarray:
    """(p,) int64: the object nearest to each centroid among its members."""
    order = np.lexsort((few.away, few.of))
    first = np.concatenate([[0], np.cumsum(few.weights.astype(np.int64))[:-1]])
    members: np.ndarray = order[first].astype(np.int64)
    return members


def _chosen(tree: _Tree, count: int) -> np.ndarray:
    """(k,) int64: the node of the condensed tree that became each cluster: the lowest one above all its members."""
    n = len(tree.labels)
    parents, children = tree.condensed[:, 0].astype(np.int64), tree.condensed[:, 1].astype(np.int64)
    above = np.full(int(max(parents.max(initial=n), children.max(initial=n))) + 1, -1, np.int64)
    above[children] = parents
    nodes = np.full(count, -1, np.int64)
    for number in range(count):
        starts = np.unique(above[np.flatnonzero(tree.labels == number)])
        while len(starts) > 1:  # parents have smaller numbers: the highest climbs
            starts = np.unique(np.append(starts[:-1], above[starts[-1]]))
        nodes[number] = starts[0]
    return nodes


def _extent(tree: _Tree, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reach (k,) float32, the distance at which each cluster parted from the rest, and its highest density (k,).

    The highest density is that up to which the cluster's own node lasts, by which the library scales its strengths.
    """
    parents, children, lambdas = tree.condensed[:, 0], tree.condensed[:, 1], tree.condensed[:, 2]
    largest = float(np.finfo(np.float32).max)
    reach, peak = np.empty(len(nodes), np.float32), np.empty(len(nodes), np.float32)
    for number, node in enumerate(nodes):
        born = lambdas[children == node]
        reach[number] = min(1 / born[0], largest) if len(born) and born[0] > 0 else largest
        peak[number] = min(float(lambdas[parents == node].max()), largest)
    return reach, peak


def assign(clustering: Clustering, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of the nearest fitted point by mutual reachability, if it is within that cluster's reach; else -1.

    Strength is 1 / that distance as a share of the highest density in the cluster, at most 1.
    """
    memory = clustering.memory
    count = int(clustering.options["neighbours"])
    away, rows = neighbours.nearest(new, memory["points"], 2 * count)
    core = away[:, min(count, away.shape[1]) - 1]
    apart = np.maximum(np.maximum(away, memory["cores"][rows]), core[:, None])
    best = apart.argmin(axis=1)
    distance = apart[np.arange(len(new)), best]
    labels = memory["point_clusters"][rows[np.arange(len(new)), best]].copy()
    labels[(labels >= 0) & (distance > memory["reach"][labels])] = -1
    with np.errstate(divide="ignore", over="ignore"):
        share = np.minimum(1 / (distance * memory["peak"][labels]), 1)
    return labels, np.where(labels >= 0, share, 0)


def check(clustering: Clustering) -> None:
    """Raise InputError when a state's points belong to clusters that there are not, or its lengths are negative."""
    memory, count = clustering.memory, clustering.options.get("neighbours")
    of = memory["point_clusters"]
    if not isinstance(count, int) or not 1 <= count <= 1000:
        raise InputError("the option 'neighbours' is missing or impossible", where="state of hdbscan")
    if len(of) < 1 or ((of < -1) | (of >= clustering.clusters)).any():
        raise InputError("a point belongs to no cluster that there is", where="state of hdbscan")
    if any((memory[name] < 0).any() for name in ("cores", "reach", "peak")):
        raise InputError("a distance is negative", where="state of hdbscan")
