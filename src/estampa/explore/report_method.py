"""The part of the report that tells one method: its clusters, their classes, sizes and pictures, its own evidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa import measure, page
from estampa.explore import plots
from estampa.explore.exploration import Exploration, Found
from estampa.explore.gather import Gathered, members, pictures
from estampa.measure import Interval
from estampa.page import Kept, Picture, Section, Table

#: Clusters of a method that are shown as pictures, largest first.
MOST_SHOWN = 24
SIDE = 112  # pixels of a picture on the page
_NEAR, _FAR = 3, 2
_MOST_NODES = 64  # of a self-organising map that are shown as pictures
#: What each method does, in one sentence.
ABOUT = {
    "kmeans": "K-means puts each object with the nearest of a given number of centres; its clusters are round and of "
    "alike width.",
    "hierarchical": "Hierarchical clustering merges, step by step, the two clusters whose union costs least, and the "
    "tree of merges is cut at a height.",
    "hdbscan": "HDBSCAN calls a cluster what stays dense over a range of densities, of any shape, and leaves the rest "
    "as noise.",
    "som": "A self-organising map is a sheet of nodes that is drawn over the data; neighbours on the sheet stay alike.",
    "gmm": "A Gaussian mixture explains the data by bells of their own width and direction; an object may lie between "
    "two.",
}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """What the report of a method draws from."""

    exploration: Exploration
    gathered: Gathered | None
    kept: Kept


def sections(shown: Shown) -> Iterator[Section]:
    """A section for each method."""
    for name, one in shown.exploration.found.items():
        blocks = [block for part in _PARTS for block in part(shown, name, one)]
        yield Section(name, one.title, blocks)


def _opening(shown: Shown, name: str, one: Found) -> list[Any]:
    found = one.clustering
    text = f"{ABOUT.get(name, '')} It saw {one.space}."
    blocks: list[Any] = [page.Text(text)]
    note = found.evidence.get("note")
    if isinstance(note, str) and note:
        blocks.append(page.Note("note", note))
    if not found.clusters:
        blocks.append(
            page.Note("warn", "It found no cluster: every object is noise, so there is nothing to show of it.")
        )
    elif one.elsewhere is not None:
        blocks.append(
            page.Note(
                "note",
                f"On {shown.exploration.features.name} themselves it calls {100 * one.elsewhere:.0f} % of the objects "
                f"noise; on {one.space} {100 * found.noise:.0f} %. In many dimensions all distances are alike and no "
                "place is dense, which is why it is given fewer.",
            )
        )
    return blocks


def _classes(shown: Shown, name: str, one: Found) -> list[Any]:
    exploration = shown.exploration
    if not exploration.labelled or not one.clustering.clusters:
        return []
    counts, classes = plots.gathered(exploration.counts(name), exploration.features.classes)
    k = len(counts)
    drawn = plots.classes_inside(counts, classes, [f"cluster {c}" for c in one.names])
    more = f" The {plots.MOST_PANELS} largest of {k} clusters." if k > plots.MOST_PANELS else ""
    caption = (
        "The known classes inside each cluster: number of members and share of the cluster's labelled members. Grey "
        "strokes mark each class's share among all labelled objects; a bar well beyond its stroke is a class that the "
        f"cluster collects.{more}"
    )
    rows = [
        [cluster, int(row.sum()), *row.tolist()]
        for cluster, row in zip(one.names, exploration.counts(name), strict=True)
    ]
    table = Table(["cluster", "labelled members", *exploration.features.classes], rows, "Members by known class.")
    shown.kept.table(f"{name}_classes", table)
    return [shown.kept.figure(f"{name}_classes", drawn, caption, "Known classes inside each cluster")]


def _sizes(shown: Shown, name: str, one: Found) -> list[Any]:
    found = one.clustering
    if not found.clusters:
        return []
    noise = int((found.labels < 0).sum())
    drawn = plots.sizes(found.sizes.tolist(), one.names, noise)
    caption = "Members of each cluster." + (" Grey: objects that belong to none." if noise else "")
    figure = shown.kept.figure(f"{name}_sizes", drawn, caption, "Cluster sizes")
    table = shown.kept.table(f"{name}_clusters", _table(shown.exploration, name, one))
    return [figure, page.Details("Cluster by cluster", [table])]


def _table(exploration: Exploration, name: str, one: Found) -> Table:
    found = one.clustering
    columns = ["cluster", "members", "share", "mean strength"]
    if exploration.labelled:
        columns += ["commonest class", "its share"]
    counts, rows = exploration.counts(name), []
    for k, size in enumerate(found.sizes.tolist()):
        strength = float(found.strength[found.labels == k].mean()) if size else None
        row: list[Any] = [one.names[k], size, size / len(found.labels), strength]
        if exploration.labelled:
            total, top = int(counts[k].sum()), int(counts[k].argmax()) if counts.shape[1] else 0
            share = counts[k, top] / total if total else float("nan")
            inside = Interval(share, *measure.wilson(share, total)) if total else None
            row += [exploration.features.classes[top] if total else None, inside]
        rows.append(row)
    caption = "Strength: 1 at the heart of the cluster, 0 at its border."
    if exploration.labelled:
        caption += " The share of the commonest class has its 95 % Wilson interval."
    return Table(columns, rows, caption, align={"cluster": "right"})


def _pictures(shown: Shown, name: str, one: Found) -> list[Any]:
    if shown.gathered is None or not one.clustering.clusters:
        return []
    exploration, header = shown.exploration, shown.exploration.dataset.header
    means, back = shown.gathered.means[name], _back(exploration, one)
    tiles = exploration.dataset.shape[2] if exploration.dataset.shape and len(header.channels) != 3 else 1
    near, far = (_NEAR, _FAR) if tiles in (1, 3) else (1, 1)
    close = members(one.x, one.clustering.labels, one.clustering.centres, near, far)
    width = 1 + (back is not None) + near + far
    order = np.argsort(-one.clustering.sizes, kind="stable")[:MOST_SHOWN]
    items, heads = [], []
    for k in np.sort(order).tolist():
        if k >= len(means) or len(close[k][0]) < near or len(close[k][1]) < far:
            continue
        row = [Picture(_stored(exploration, means[k]), "mean", f"of {one.clustering.sizes[k]:,} members")]
        if back is not None:
            row.append(Picture(back[k], "reduced", _reduced_words(exploration)))
        for places, word in ((close[k][0], "nearest"), (close[k][1], "farthest")):
            rows = exploration.features.rows[places]
            row += [
                Picture(image, word, _name(exploration, int(place)))
                for image, place in zip(pictures(exploration.dataset, rows, exploration.crop), places, strict=True)
            ]
        items += row
        heads.append(_head(exploration, name, k, one))
    if not items:
        return []
    grid = page.Pictures(
        items, _caption(one, back is not None, len(heads)), columns=width, channels=header.channels,
        pixel_scale=header.pixel_scale, side=SIDE, heads=heads,
    )  # fmt: skip
    return [grid]


def _back(exploration: Exploration, one: Found) -> np.ndarray | None:
    """The centre of each cluster turned back into a picture; in a space of its own, the members' mean features are."""
    inverse = exploration.features.inverse
    if inverse is None:
        return None
    if not one.own_space:
        return inverse(one.clustering.centres)
    values, labels = exploration.features.values, one.clustering.labels
    means = [values[labels == k].mean(axis=0) for k in range(one.clustering.clusters)]
    back: np.ndarray = inverse(np.stack(means).astype(np.float32))
    return back


def _stored(exploration: Exploration, mean: np.ndarray) -> np.ndarray:
    """A mean picture in the type of the members, so that it is shown on their scale."""
    if exploration.dataset.dtype.kind == "f":
        return mean
    stored: np.ndarray = np.rint(np.nan_to_num(mean)).astype(exploration.dataset.dtype)
    return stored


def _reduced_words(exploration: Exploration) -> str:
    count = exploration.features.values.shape[1]
    return f"centre, back from {count} number{'s' if count > 1 else ''}"


def _name(exploration: Exploration, place: int) -> str:
    """An object's id, and its class unless the id says it already."""
    features = exploration.features
    label, name = -1 if features.labels is None else int(features.labels[place]), str(features.ids[place])
    known = features.classes[label] if label >= 0 else ""
    return name if not known or known in name.split("/") else f"{name}, {known}"


def _head(exploration: Exploration, name: str, k: int, one: Found) -> str:
    words = f"Cluster {one.names[k]}: {one.clustering.sizes[k]:,} objects"
    counts = exploration.counts(name)[k]
    if not counts.sum():
        return words
    top = np.argsort(-counts, kind="stable")[:2]
    shares = [f"{100 * counts[c] / counts.sum():.0f} % {exploration.features.classes[c]}" for c in top if counts[c]]
    return f"{words}, {', '.join(shares)}"


def _caption(one: Found, reduced: bool, shown: int) -> str:
    text = "For each cluster: the mean picture of its members"
    text += ", its centre as the features see it," if reduced else ""
    text += " and the members nearest to and farthest from the centre. A mean that looks like its nearest members is a "
    text += "cluster of likes; a blur is a cluster by brightness or size."
    if shown < one.clustering.clusters:
        text += f" {shown} of {one.clustering.clusters} clusters are shown, the largest of those with enough members."
    return text


def _evidence(shown: Shown, name: str, one: Found) -> list[Any]:
    drawn = _DRAWN.get(name)
    return drawn(shown, one) if drawn and one.clustering.clusters else []


def _hierarchical(shown: Shown, one: Found) -> list[Any]:
    evidence = one.clustering.evidence
    tree, cut = np.asarray(evidence["linkage"]), float(np.asarray(evidence["cut"]))
    whole = len(tree) + 1 == len(one.clustering.labels)
    tail = "" if whole else " It joins centroids rather than objects, for there are too many objects."
    drawn = plots.dendrogram(tree, cut, "objects" if whole else "centroids")
    caption = (
        "The tree of merges from the top: a long stem above the cut means clusters far apart, short stems that the "
        f"cut is arbitrary.{tail}"
    )
    return [shown.kept.figure("hierarchical_dendrogram", drawn, caption, "Dendrogram with the cut")]


def _hdbscan(shown: Shown, one: Found) -> list[Any]:
    evidence, blocks = one.clustering.evidence, []
    tree = evidence.get("condensed_tree")
    if isinstance(tree, np.ndarray) and len(tree):
        chosen = {int(node): k for k, node in enumerate(np.asarray(evidence["chosen_nodes"]).tolist())}
        caption = (
            "The condensed tree: from top to bottom the density asked for rises, a branch narrows as objects fall out "
            "of it, and parts where a cluster splits. Coloured: the branches that were taken, with their numbers."
        )
        drawn = plots.condensed_tree(tree, chosen)
        blocks.append(shown.kept.figure("hdbscan_condensed_tree", drawn, caption, "Condensed tree"))
    edges = evidence.get("mst")
    if isinstance(edges, np.ndarray) and len(edges) + 1 == len(one.clustering.labels):
        caption = (
            "The minimum spanning tree over the map: it joins all objects by the shortest links, distance counted so "
            "that sparse places are far. Dark links, the long ones, are cut first."
        )
        drawn = plots.spanning_tree(shown.exploration.places, edges)
        blocks.append(shown.kept.figure("hdbscan_spanning_tree", drawn, caption, "Minimum spanning tree"))
    return blocks


def _som(shown: Shown, one: Found) -> list[Any]:
    evidence = one.clustering.evidence
    values, hits = np.asarray(evidence["u_matrix"], float), np.asarray(evidence["hits"])
    of, nodes = np.asarray(evidence["node_clusters"]), np.asarray(evidence["nodes"], np.float32)
    caption = (
        "The map from above (U-matrix): dark nodes are close to their neighbours, bright ones lie on a ridge between "
        "groups. Upper number: the cluster of the node; lower number: objects that it won."
    )
    drawn = plots.u_matrix(values, hits, of)
    blocks: list[Any] = [shown.kept.figure("som_u_matrix", drawn, caption, "U-matrix")]
    inverse = shown.exploration.features.inverse
    if inverse is not None and not one.own_space and of.size <= _MOST_NODES:
        pictures_of = inverse(nodes.reshape(of.size, -1))
        items = [Picture(image, f"cluster {c + 1}") for image, c in zip(pictures_of, of.ravel().tolist(), strict=True)]
        caption = "The nodes as pictures, in their places on the map; neighbours should look alike."
        channels = shown.exploration.dataset.header.channels
        blocks.append(page.Pictures(items, caption, of.shape[1], channels, side=SIDE))
    return blocks


def _gmm(shown: Shown, _: Found) -> list[Any]:
    choice = shown.exploration.choice
    if choice is None or "bic" not in choice.series:
        return []
    drawn = plots.curves(choice.numbers, {measure_words("bic"): choice.series["bic"]}, choice.number)
    caption = (
        "Bayesian information criterion per object: misfit plus a price for each parameter. A clear minimum says how "
        "many bells the data carry; a curve that only falls, or only rises, says that no number between is natural."
    )
    return [shown.kept.figure("gmm_bic", drawn, caption, "BIC by number of clusters")]


def measure_words(name: str) -> str:
    """A measure's name and its good end."""
    return {"bic": "BIC (low is good)"}.get(name, f"{name} (high is good)")


_DRAWN = {"hierarchical": _hierarchical, "hdbscan": _hdbscan, "som": _som, "gmm": _gmm}
_PARTS = (_opening, _classes, _sizes, _evidence, _pictures)
