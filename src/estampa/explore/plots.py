"""The figures of an exploration, each as (SVG text, PNG bytes). matplotlib and scipy are imported when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from estampa import page
from estampa.page import style

#: Clusters that have a panel of their own; further ones are in the tables only.
MOST_PANELS = 24
#: Classes that have a bar of their own; the rarest others are added up.
MOST_CLASSES = 14
_PANELS = 4  # side by side
_LEAVES = 40  # of a dendrogram
_BLUE, _ORANGE, _GREEN, _RED = style.OKABE_ITO[0], style.OKABE_ITO[1], style.OKABE_ITO[2], style.OKABE_ITO[5]
_WIDTH = 9.2  # inches


def gathered(counts: np.ndarray, classes: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """(k, c) counts and class names with the rarest classes added up as "others", where there are too many to show."""
    if len(classes) <= MOST_CLASSES:
        return counts, list(classes)
    common = np.sort(np.argsort(-counts.sum(axis=0), kind="stable")[: MOST_CLASSES - 1])
    rest = counts.sum(axis=1) - counts[:, common].sum(axis=1)
    return np.column_stack([counts[:, common], rest]), [*(classes[c] for c in common), "others"]


def classes_inside(counts: np.ndarray, classes: Sequence[str], names: Sequence[str]) -> page.Drawn:
    """The histogram of the known classes inside each cluster: bars are shares of its labelled members.

    `counts` (k, c), `names` of the k clusters; text gives count and share; a grey stroke marks each class's share among
    all labelled objects.
    """
    overall = counts.sum(axis=0) / max(counts.sum(), 1)
    counts, names = counts[:MOST_PANELS], names[:MOST_PANELS]
    k, c = counts.shape
    columns = min(_PANELS, k)
    rows = -(-k // columns)
    size = (_WIDTH if columns > 2 else 2.8 * columns + 1.2, rows * (0.2 * c + 0.5) + 0.35)
    with style.drawing(rows, columns, size=size, sharex=True, sharey=True, squeeze=False) as (fig, axes):
        for place, axis in enumerate(axes.flat):
            if place >= k:
                axis.set_visible(False)
                continue
            total = int(counts[place].sum())
            share = counts[place] / max(total, 1)
            axis.barh(range(c), share, height=0.72, color=_BLUE)
            axis.vlines(overall, np.arange(c) - 0.42, np.arange(c) + 0.42, color=style.QUIET, linewidth=1.4)
            for at in np.flatnonzero(counts[place]):
                text = f"{counts[place, at]:,} · {100 * share[at]:.0f} %"
                inside = share[at] > 0.6  # else at the panel's edge, clear of the strokes
                axis.annotate(
                    text, (share[at] if inside else 1, at), (-3 if inside else 0, 0), textcoords="offset points",
                    va="center", ha="right", fontsize=8, color="#ffffff" if inside else style.TEXT,
                )  # fmt: skip
            axis.set_title(f"{names[place]}: {total:,}", fontsize=10)
            axis.set_xlim(0, 1)
            axis.set_ylim(c - 0.4, -0.6)
            axis.set_yticks(range(c), classes, fontsize=9)
            axis.set_xticks([0, 0.25, 0.5, 0.75], ["0", "", "50 %", ""], fontsize=9)
            axis.tick_params(axis="y", length=0)
            axis.tick_params(axis="x", labelbottom=place + columns >= k)
            axis.grid(visible=False, axis="y")
        return page.figure(fig)


def sizes(counts: Sequence[int], names: Sequence[str], noise: int) -> page.Drawn:
    """How many objects each cluster has, noise in grey at the end."""
    many = len(counts) > MOST_PANELS * 2
    with style.drawing(size=(_WIDTH, 2.6)) as (fig, axis):
        shown = [*counts, noise] if noise else list(counts)
        labels = [*names, "noise"] if noise else list(names)
        axis.bar(range(len(shown)), shown, color=[_BLUE] * len(counts) + [style.GREY] * bool(noise), width=0.78)
        if not many:
            for at, count in enumerate(shown):
                axis.annotate(f"{count:,}", (at, count), (0, 2), textcoords="offset points", ha="center", fontsize=9)
            axis.set_xticks(range(len(shown)), labels, fontsize=9)
        axis.set_xlabel("cluster")
        axis.set_ylabel("objects")
        axis.margins(x=0.01, y=0.14)
        axis.grid(visible=False, axis="x")
        return page.figure(fig)


def dendrogram(linkage: np.ndarray, cut: float, points: str = "objects") -> page.Drawn:
    """The tree of merges from its top down to 40 branches, and the height where it was cut.

    `linkage` (m-1, 4) as scipy writes it; numbers below count what hangs there (`points`).
    """
    from scipy.cluster.hierarchy import dendrogram as laid_out

    count = len(linkage) + 1
    # the cut must be seen: at least as many branches as it makes clusters
    branches = min(count, max(_LEAVES, int((linkage[:, 2] > cut).sum()) + 1))
    tree = laid_out(linkage, p=branches, truncate_mode="lastp", no_plot=True, color_threshold=0)
    with style.drawing(size=(_WIDTH, 4.2)) as (fig, axis):
        for x, y in zip(tree["icoord"], tree["dcoord"], strict=True):
            axis.plot(x, y, color=_BLUE if max(y) <= cut else style.GREY, linewidth=1.2, solid_joinstyle="miter")
            if max(y) > cut:  # its stems below the cut belong to clusters
                for side, low in ((0, y[0]), (3, y[3])):
                    if low < cut:
                        axis.plot([x[side]] * 2, [low, cut], color=_BLUE, linewidth=1.2)
        axis.axhline(cut, color=_RED, linewidth=1.2, linestyle=(0, (4, 3)))
        axis.annotate(
            f"cut:\n{int((linkage[:, 2] > cut).sum()) + 1} clusters", (1, cut), (4, 0), va="center",
            xycoords=("axes fraction", "data"), textcoords="offset points", color=_RED, fontsize=10,
        )  # fmt: skip
        places = 10 * np.arange(branches) + 5
        texts = [t.strip("()") if t.startswith("(") else "1" for t in tree["ivl"]]
        axis.set_xticks(places, texts, rotation=90 if branches > 24 else 0, fontsize=8)
        axis.set_xlim(0, 10 * branches)
        axis.set_ylim(0, float(linkage[-1, 2]) * 1.05)
        axis.set_xlabel(f"{points} in each branch")
        axis.set_ylabel("distance at which two merge")
        axis.grid(visible=False, axis="x")
        return page.figure(fig)


def condensed_tree(tree: np.ndarray, chosen: Mapping[int, int]) -> page.Drawn:
    """HDBSCAN's condensed tree as icicles: time runs down as density rises, width is the number of objects left.

    `tree` (m, 4): parent, child, lambda (1 / distance), size; a child of size 1 is an object that falls out. `chosen`
    maps the nodes that became clusters to their labels.
    """
    parents, children = tree[:, 0].astype(np.int64), tree[:, 1].astype(np.int64)
    lambdas, counts = tree[:, 2].astype(np.float64), tree[:, 3].astype(np.int64)
    finite = lambdas[np.isfinite(lambdas)]
    top = float(np.quantile(finite, 0.995)) if len(finite) else 1.0
    lambdas = np.minimum(lambdas, top)
    root = int(parents.min())
    total = int(counts[parents == root].sum())
    with style.drawing(size=(_WIDTH, 4.2)) as (fig, axis):
        waiting: list[tuple[int, float, float, float]] = [(root, 0.0, float(total), 0.0)]
        while waiting:
            node, left, width, born = waiting.pop()
            mine = np.flatnonzero(parents == node)
            order = mine[np.argsort(lambdas[mine], kind="stable")]
            splits = order[counts[order] > 1]
            ends = float(lambdas[splits].min()) if len(splits) else float(lambdas[order].max(initial=born))
            falls = order[counts[order] == 1]
            heights = np.concatenate([[born], lambdas[falls], [ends]])
            left_over = width - np.concatenate([[0], np.arange(1, len(falls) + 1), [len(falls)]])
            label = chosen.get(node)
            colour = style.OKABE_ITO[label % 8] if label is not None else style.GREY
            if len(heights) > 200:  # an outline of some hundred steps looks the same
                kept = np.unique(np.linspace(0, len(heights) - 1, 200).astype(int))
                heights, left_over = heights[kept], left_over[kept]
            middle = left + width / 2
            axis.fill_betweenx(
                heights, middle - left_over / 2, middle + left_over / 2, color=colour, linewidth=0,
                alpha=1 if label is not None else 0.55,
            )  # fmt: skip
            if label is not None:
                axis.annotate(
                    str(label + 1),
                    (middle, ends),
                    (0, -3),
                    textcoords="offset points",
                    ha="center",
                    va="top",
                    fontsize=9,
                )
            remaining, at = float(counts[splits].sum()), left
            gap = (width - remaining) / (len(splits) + 1) if len(splits) else 0.0
            for split in splits:
                at += gap
                waiting.append((int(children[split]), at, float(counts[split]), ends))
                at += float(counts[split])
        axis.set_ylim(top * 1.1, 0)
        axis.set_xlim(0, total)
        axis.set_xlabel("objects (width of a branch)")
        axis.set_ylabel("density (1 / distance)")
        axis.grid(visible=False, axis="x")
        return page.figure(fig)


def spanning_tree(places: np.ndarray, edges: np.ndarray) -> page.Drawn:
    """The minimum spanning tree over the 2-D map: `places` (n, 2), `edges` (m, 3): from, to, distance."""
    import matplotlib as mpl
    from matplotlib.collections import LineCollection

    order = np.argsort(-edges[:, 2], kind="stable")  # long edges below
    length, many = edges[order, 2], len(edges) > 1500
    ends: Any = places[edges[order, :2].astype(np.int64)]
    # without the darkest colours, which a dark screen would swallow
    shades = mpl.colors.ListedColormap(mpl.colormaps[style.SEQUENTIAL](np.linspace(0.95, 0.3, 256)))
    with style.drawing(size=(_WIDTH, 5.6)) as (fig, axis):
        lines = LineCollection(ends, cmap=shades, linewidths=0.9, rasterized=many)
        low, high = np.quantile(length, [0.02, 0.98])
        lines.set_array(length)
        lines.set_clim(low, max(high, low + 1e-9))
        axis.add_collection(lines)
        axis.autoscale_view()
        _bare(axis)
        bar = fig.colorbar(lines, ax=axis, label="distance (mutual reachability)", shrink=0.7, pad=0.02)
        bar.outline.set_visible(False)
        return page.figure(fig)


def u_matrix(values: np.ndarray, hits: np.ndarray, clusters: np.ndarray) -> page.Drawn:
    """Mean distance of each node (r, c) of a self-organising map to its neighbours, its cluster, and its objects."""
    import matplotlib as mpl

    rows, columns = values.shape
    low, high = float(values.min()), float(values.max())
    colours = mpl.colormaps[style.SEQUENTIAL]
    with style.drawing(size=(min(_WIDTH, 1.25 * columns + 2), min(7.0, 1.0 * rows + 0.8))) as (fig, axis):
        shown = axis.imshow(values, cmap=style.SEQUENTIAL, vmin=low, vmax=high, aspect="auto")
        for r in range(rows):
            for c in range(columns):
                ink = style.text_on(colours((values[r, c] - low) / ((high - low) or 1)))
                text = f"{clusters[r, c] + 1}\n{hits[r, c]:,}"
                axis.text(c, r, text, ha="center", va="center", fontsize=9, color=ink)
        _bare(axis)
        fig.colorbar(shown, ax=axis, label="mean distance to neighbours", pad=0.03).outline.set_visible(False)
        return page.figure(fig)


def curves(numbers: Sequence[float], series: Mapping[str, Sequence[float]], chosen: float | None) -> page.Drawn:
    """One panel a measure over the number of clusters, the chosen number marked."""
    shown = {name: np.asarray(values, float) for name, values in series.items() if np.isfinite(values).any()}
    count = max(len(shown), 1)
    size = (min(_WIDTH, 3.2 * count + 1.6), 3.0)
    with style.drawing(1, count, size=size, squeeze=False) as (fig, axes):
        for axis, (name, values) in zip(axes[0], shown.items(), strict=False):
            axis.plot(numbers, values, "o-", color=_BLUE)
            if chosen is not None:
                axis.axvline(chosen, color=_RED, linewidth=1.2, linestyle=(0, (4, 3)))
                axis.annotate(
                    f"{chosen:g}", (chosen, 1), (3, -2), xycoords=("data", "axes fraction"), va="top",
                    textcoords="offset points", color=_RED, fontsize=10,
                )  # fmt: skip
            axis.set_title(name)
            axis.set_xlabel("clusters")
            axis.xaxis.get_major_locator().set_params(integer=True)
        return page.figure(fig)


def _bare(axis: Any) -> None:
    """No ticks, no spines: the axes mean nothing by themselves."""
    axis.grid(visible=False)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)
