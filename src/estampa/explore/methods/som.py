"""Self-organising map: a grid of nodes is laid through the data, neighbours on the grid staying neighbours.

The batch form (Kohonen 2013, Neural Networks 37, 52, section 4.2): each node becomes the mean of the objects, weighted
by how near their best-matching node lies on the grid, while that neighbourhood shrinks. It begins as the plane of the
two main directions, so it draws nothing at random. Own code, since a pass of MiniSom over 10,000 x 75 numbers takes
0.5 s in Python and one of this 0.01 s, ending at a smaller quantisation error (docs/log.md).

A node is a cluster. Where the grid has more nodes than clusters were asked for, nodes are merged by Ward's rule, each
with the weight of its objects (Vesanto & Alhoniemi 2000, IEEE Trans. Neural Netw. 11, 586); a node without objects
joins the cluster of the nearest node that has some. Strength is 1 - distance to the best node / distance to the best
one of another cluster. New objects join the cluster of their best-matching node, which is the rule of the fit itself.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from estampa.errors import InputError
from estampa.explore import distances, trees
from estampa.explore.clustering import Clustering, Evidence, by_size, enough
from estampa.progress import Progress
from estampa.recipe import Count, Record

MEMORY = {"nodes": "f m f", "node_clusters": "i m"}
Side = Annotated[int, Field(ge=1, le=100)]


class Options(Record):
    """Settings of the self-organising map."""

    clusters: Annotated[int, Field(ge=1, le=10_000)] = 12  #: k
    grid: tuple[Side, Side] | None = None  #: rows and columns of nodes; None = as square as k nodes can be laid
    passes: Count = 30  #: over the objects
    narrowest: Annotated[float, Field(gt=0, le=10)] = 0.4  #: deviation of the neighbourhood at the end, in nodes


def fit(x: np.ndarray, options: Options, *, seed: int, progress: Progress) -> Clustering:  # noqa: ARG001 - draws nothing
    """Cluster `x` (n, f) float32.

    Evidence: "nodes" (r, c, f) float32; "node_clusters" (r, c) int64; "hits" (r, c) int64, objects at each node;
    "u_matrix" (r, c) float32, mean distance of a node to its neighbours on the grid (Ultsch & Siemon 1990, INNC, 305);
    "quantisation_error", mean distance of the objects to their node; "topographic_error", share of objects whose two
    best nodes are not neighbours (Kiviluoto 1996, ICNN, 294).
    Raises InputError when there are fewer objects, or nodes, than clusters.
    """
    enough(len(x), options.clusters, "som")
    grid = options.grid or grid_for(options.clusters)
    if grid[0] * grid[1] < options.clusters:
        raise InputError(
            "the grid has fewer nodes than clusters are asked for", where="som", allowed=f"{options.clusters} or more",
            got=f"{grid[0]} x {grid[1]}", cure="Ask for fewer clusters or a larger grid.",
        )  # fmt: skip
    progress.say(f"som: {grid[0]} x {grid[1]} nodes, {options.passes} passes over {len(x):,} objects.")
    nodes = trained(x, grid, options.passes, options.narrowest)
    best, first, _ = distances.two_nearest(x, nodes)
    hits = np.bincount(best, minlength=len(nodes))
    clusters, note = _node_clusters(nodes, hits, options.clusters)
    labels, order = by_size(clusters[best], clusters.max() + 1)
    clusters = np.argsort(order)[clusters]
    evidence: Evidence = {
        "nodes": nodes.reshape(*grid, -1), "node_clusters": clusters.reshape(grid), "hits": hits.reshape(grid),
        "u_matrix": u_matrix(nodes.reshape(*grid, -1)), "quantisation_error": float(first.mean()),
        "topographic_error": _topographic_error(x, nodes, grid),
    }  # fmt: skip
    if note:
        evidence["note"] = note
    centres = distances.means_of(x, labels, len(order))
    memory = {"nodes": nodes, "node_clusters": clusters}
    told = options.model_dump(mode="json")
    bare = Clustering("som", labels, centres, np.ones(len(x), np.float32), evidence, memory, told)
    return Clustering("som", labels, centres, assign(bare, x)[1], evidence, memory, told)


def grid_for(clusters: int) -> tuple[int, int]:
    """Rows and columns of the squarest grid of `clusters` nodes; of the least larger one where it would be a line."""
    rows = max(r for r in range(1, int(clusters**0.5) + 1) if clusters % r == 0)
    if rows == 1 and clusters > 3:
        rows = int(clusters**0.5)
    return rows, -(-clusters // rows)


def trained(x: np.ndarray, grid: tuple[int, int], passes: int, narrowest: float) -> np.ndarray:
    """Weights (r c, f) float32 of the nodes, row by row, after `passes` of the batch rule."""
    places = np.stack(np.meshgrid(*(np.arange(s) for s in grid), indexing="ij"), -1).reshape(-1, 2)
    apart = ((places[:, None] - places) ** 2).sum(-1)
    nodes = _plane(x, grid)
    widest = max(max(grid) / 2, narrowest)
    for width in np.geomspace(widest, narrowest, passes):
        best, _, _ = distances.two_nearest(x, nodes)
        near = np.exp(-apart / (2 * width**2))
        count = np.bincount(best, minlength=len(nodes))
        sums = distances.means_of(x, best, len(nodes)).astype(np.float64) * count[:, None]
        weight = near @ count
        nodes = np.where(weight[:, None] > 1e-12, near @ sums / np.maximum(weight, 1e-12)[:, None], nodes)
        nodes = nodes.astype(np.float32)
    return nodes


def _plane(x: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Nodes on the plane of the two main directions of `x`, from -1 to 1 deviation; the longer side along the first."""
    mean = x.mean(axis=0, dtype=np.float64)
    sample = x[:: max(1, len(x) // 20_000)] - mean
    values, vectors = np.linalg.eigh(sample.T @ sample / len(sample))
    axes = np.sqrt(np.maximum(values[::-1], 0)) * vectors[:, ::-1]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)  # a fixed sign
    long, short = axes[:, 0], axes[:, 1] if axes.shape[1] > 1 else np.zeros(len(axes))
    steps = [np.linspace(-1, 1, s) if s > 1 else np.zeros(1) for s in grid]
    along, across = (steps[0], steps[1]) if grid[0] > grid[1] else (steps[1], steps[0])
    laid: np.ndarray = along[:, None, None] * long + across[None, :, None] * short
    if grid[0] <= grid[1]:
        laid = laid.swapaxes(0, 1)
    nodes: np.ndarray = (mean + laid).reshape(-1, x.shape[1]).astype(np.float32)
    return nodes


def _node_clusters(nodes: np.ndarray, hits: np.ndarray, clusters: int) -> tuple[np.ndarray, str]:
    """Cluster (m,) int64 of each node, 0..k-1 with k at most `clusters`, and what to say of it."""
    held = np.flatnonzero(hits)
    note = f"{len(nodes) - len(held)} of {len(nodes)} nodes hold no objects." if len(held) < len(nodes) else ""
    of = np.arange(len(held))
    if len(held) > clusters:
        linkage = trees.weighted_linkage(nodes[held], hits[held], "ward")
        of, _ = trees.cut(linkage, clusters)
        note += f" {len(held)} nodes were merged into {clusters} clusters by Ward's rule."
    elif len(held) < clusters:
        note += f" So there are {len(held)} clusters, not {clusters}."
    nearest, _, _ = distances.two_nearest(nodes, nodes[held])
    nearest[held] = np.arange(len(held))
    return of[nearest].astype(np.int64), note.strip()


def u_matrix(nodes: np.ndarray) -> np.ndarray:
    """Mean distance (r, c) float32 of each node (r, c, f) to its up to four neighbours on the grid."""
    total, count = np.zeros(nodes.shape[:2]), np.zeros(nodes.shape[:2])
    for axis in (0, 1):
        gap = np.linalg.norm(np.diff(nodes.astype(np.float64), axis=axis), axis=2)
        for side in (slice(None, -1), slice(1, None)):
            where = (side, slice(None)) if axis == 0 else (slice(None), side)
            total[where] += gap
            count[where] += 1
    mean: np.ndarray = (total / np.maximum(count, 1)).astype(np.float32)
    return mean


def _topographic_error(x: np.ndarray, nodes: np.ndarray, grid: tuple[int, int]) -> float:
    if len(nodes) < 2:
        return 0.0
    wrong = 0
    for part in distances.blocks(len(x), len(nodes)):
        first, second = np.argpartition(distances.squared(x[part], nodes), 1, axis=1)[:, :2].T
        steps = np.abs(first // grid[1] - second // grid[1]) + np.abs(first % grid[1] - second % grid[1])
        wrong += int((steps > 1).sum())
    return wrong / len(x)


def assign(clustering: Clustering, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of the best-matching node, and 1 - its distance / that of the best node of another cluster."""
    nodes, of = clustering.memory["nodes"], clustering.memory["node_clusters"]
    labels = np.empty(len(new), np.int64)
    own, other = np.empty(len(new), np.float32), np.full(len(new), np.inf, np.float32)
    for part in distances.blocks(len(new), len(nodes)):
        table = distances.squared(new[part], nodes)
        best = table.argmin(axis=1)
        labels[part] = of[best]
        own[part] = np.sqrt(table[np.arange(len(table)), best])
        table[of[best][:, None] == of] = np.inf
        other[part] = np.sqrt(table.min(axis=1))
    return labels, distances.ratio_strength(own, other)


def check(clustering: Clustering) -> None:
    """Raise InputError when a state's nodes belong to clusters that there are not."""
    of = clustering.memory["node_clusters"]
    if len(of) < 1 or ((of < 0) | (of >= clustering.clusters)).any():
        raise InputError("a node belongs to no cluster", where="state of som")
