"""The report of an exploration: one HTML file, with its figures and tables also as files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from estampa import files, machine, page
from estampa.explore import plots, report_method
from estampa.explore.exploration import Exploration, Found
from estampa.explore.gather import Gathered, gather, members, pictures
from estampa.measure import Interval
from estampa.page import Colouring, Kept, Picture, Scatter, Section, Table
from estampa.plain import duration
from estampa.progress import SILENT, Progress

PAGE = "report.html"
#: Points of the map, and those of them with a picture.
MOST_POINTS, MOST_PICTURES = 10_000, 3_000
_STRANGE = 24
CHANCE = 0.2  #: stability below which other objects would have given other clusters
_SEED = 0  # of the drawing of points for the map, which changes no figure
#: Adjusted Rand index from which on the words hold; our own scale, for orientation.
_WORDS = ((0.8, "almost entirely"), (0.6, "well"), (0.3, "partly"), (0.1, "weakly"), (-1.0, "hardly at all"))


def write_report(folder: Path, exploration: Exploration, command: str = "", progress: Progress = SILENT) -> Path:
    """Write report.html, figures/*.svg and *.png, tables/*.csv and *.tex into `folder`; returns the report's path.

    The pictures are read once, in order; memory does not depend on the number of objects. Raises StorageError when the
    place cannot be written.
    """
    files.require_writable(folder / PAGE)
    kept = Kept()
    drawn = _points(exploration)
    gathered = _gathered(exploration, drawn, progress)
    sections = [s for s in _sections(exploration, gathered, drawn, kept) if s.blocks]
    text = page.render(_title(exploration), lead(exploration), sections, made_by=_made_by(exploration, command))
    kept.save(folder)
    files.write_atomic(folder / PAGE, text)
    return folder / PAGE


def _title(exploration: Exploration) -> str:
    return f"{exploration.dataset.path.stem}, explored"


def lead(exploration: Exploration) -> str:
    """The answer in one sentence: which clustering agrees most with the classes, or holds together best."""
    best = exploration.found[exploration.best()]
    n, name = len(exploration.features), exploration.features.name
    what = f"{n:,} objects, seen as {name}"
    if not exploration.comparable:
        tail = f"a silhouette of {_number(best.silhouette)}" if np.isfinite(best.silhouette) else "no silhouette"
        return (
            f"{what}: the clusters of {best.title} hold together best, with {tail} (1 = far apart, 0 = they touch)."
            f"{_doubt(best)}"
        )
    found = best.agreement["ari"]
    return (
        f"{what}: clusters found without labels agree {agreement_words(found.value)} with the known classes. "
        f"{best.title} agrees most, with an adjusted Rand index of {_spelled(found)} (0 chance, 1 the same grouping)."
        f"{_doubt(best)}"
    )


def _doubt(one: Found) -> str:
    """A caution where a method's clusters change with the objects."""
    return " Its clusters are not stable: other samples of the objects give others." if _stability(one) < CHANCE else ""


def agreement_words(ari: float) -> str:
    """How well an adjusted Rand index says that two groupings agree, in words."""
    return next(words for least, words in _WORDS if not ari < least)


def _share(part: float) -> str:
    """A share in percent, so that few are not called none."""
    return "less than 1 %" if 0 < part < 0.005 else f"{100 * part:.0f} %"


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def _spelled(found: Interval) -> str:
    text = f"{found.value:.3f}"
    if np.isfinite(found.low):
        text += f" [{found.low:.3f}, {found.high:.3f}]"
    return text.replace("-", "\N{MINUS SIGN}")


def _sections(
    exploration: Exploration, gathered: Gathered | None, drawn: tuple[np.ndarray, np.ndarray], kept: Kept
) -> Iterator[Section]:
    yield Section("result", "The methods side by side", _result(exploration, kept))
    yield Section("map", "Map of the objects", [_map(exploration, gathered, drawn)])
    yield Section("number", "How many clusters", _number_of_clusters(exploration, kept))
    yield Section("strange", "The strangest objects", _strange(exploration))
    yield from report_method.sections(report_method.Shown(exploration, gathered, kept))
    yield Section("features", "What was looked at", _features(exploration))
    yield Section("ways", "Other ways to look", _ways(exploration, kept))
    yield Section("terms", "How to read the figures", [page.Text(_TERMS)])
    text = "Every table of this page, as CSV and as LaTeX (booktabs). Figures are beside this file as SVG and PNG."
    yield Section("tables", "Tables to take away", [page.Text(text), kept.downloads()])


def _result(exploration: Exploration, kept: Kept) -> list[Any]:
    blocks: list[Any] = [page.Note("warn", line) for line in exploration.warnings]
    blocks.append(page.Text("\n\n".join(_sentence(exploration, one) for one in exploration.found.values())))
    blocks.append(kept.table("comparison", comparison(exploration)))
    return blocks


def _sentence(exploration: Exploration, one: Found) -> str:
    """What one method found, in plain words."""
    found = one.clustering
    if not found.clusters:
        return f"{one.title} found no cluster: it calls every object noise."
    few = f"{found.clusters} cluster{'s' if found.clusters > 1 else ''}"
    text = f"{one.title} made {few}"
    text += f" and left {_share(found.noise)} of the objects as noise." if found.noise else " of all objects."
    top = found.sizes.max() / len(found.labels)
    if top > 0.5 and found.clusters > 1:
        text += f" One of them holds {100 * top:.0f} %."
    if exploration.comparable:
        ari, purity = one.agreement["ari"].value, one.agreement["purity"].value
        known = np.bincount(exploration.truth[exploration.truth >= 0])
        commonest = known.max() / known.sum()
        apart = ", noise taken as one more cluster" if found.noise else ""
        text += (
            f" They agree {agreement_words(ari)} with the known classes: naming each cluster by its commonest class is "
            f"right for {100 * purity:.0f} % of the objects{apart}; calling all by the commonest class, for "
            f"{100 * commonest:.0f} %."
        )
    elif np.isfinite(one.silhouette):
        text += f" Silhouette {_number(one.silhouette)}."
    stability = _stability(one)
    if np.isfinite(stability):
        text += f" {_stability_words(stability)}"
    return text


def _stability(one: Found) -> float:
    """Stability of a method's clusters, NaN where it has none."""
    value = one.stability.value if isinstance(one.stability, Interval) else one.stability
    return np.nan if value is None else float(value)


def _stability_words(stability: float) -> str:
    number = _number(stability)
    if stability < CHANCE:
        return (
            f"Other samples of the objects give quite other clusters (stability {number}, where 0 is chance): do not "
            "build on them."
        )
    how = "nearly the same" if stability >= 0.8 else "partly the same" if stability >= 0.5 else "other"
    return f"Other samples of the objects give {how} clusters (stability {number})."


def comparison(exploration: Exploration) -> Table:
    """The table of the methods, side by side."""
    agreement = {"ari": "ARI", "nmi": "NMI", "homogeneity": "homogeneity", "purity": "purity"}
    columns = ["method", "clusters", "noise"]
    columns += list(agreement.values()) if exploration.labelled else []
    columns += ["silhouette", "Davies-Bouldin", "stability", "seconds"]
    rows = []
    for one in exploration.found.values():
        row: list[Any] = [one.title, one.clustering.clusters, one.clustering.noise]
        row += [one.agreement[key] for key in agreement] if exploration.labelled else []
        row += [one.silhouette, one.davies_bouldin, one.stability, one.seconds]
        rows.append([None if isinstance(c, float) and not np.isfinite(c) else c for c in row])
    caption = (
        "Best values are marked. Silhouette and Davies-Bouldin are of the features, noise left out, for every method"
    )
    caption += "; a method that leaves much as noise has it easier. Seconds: the fit alone."
    if exploration.labelled:
        caption += " In the agreement with classes noise counts as a cluster of its own."
    best: dict[str, Any] = {"silhouette": "max", "Davies-Bouldin": "min", "stability": "max"}
    best |= dict.fromkeys(agreement.values(), "max") if exploration.labelled else {}
    decimals = {"noise": 2, "silhouette": 2, "Davies-Bouldin": 2, "stability": 2, "seconds": 1}
    decimals |= dict.fromkeys(agreement.values(), 2)
    return Table(columns, rows, caption, best=best, decimals={k: v for k, v in decimals.items() if k in columns})


# ---------------------------------------------------------------------------------------------- the map


def _points(exploration: Exploration) -> tuple[np.ndarray, np.ndarray]:
    """Places of the points of the map, ascending, and of those of them that have a picture."""
    n, rng = len(exploration.features), np.random.default_rng(_SEED)
    special = [exploration.strangest]
    for one in exploration.found.values():
        for near, far in members(one.x, one.clustering.labels, one.clustering.centres, 3, 2)[
            : report_method.MOST_SHOWN
        ]:
            special += [near, far]
    must = np.unique(np.concatenate(special).astype(np.int64))[:MOST_PICTURES]

    def filled(pool: np.ndarray, most: int) -> np.ndarray:
        rest = np.setdiff1d(pool, must)
        more = rng.choice(rest, min(len(rest), max(0, most - len(must))), replace=False)
        return np.sort(np.concatenate([must, more]))

    points = filled(np.arange(n), MOST_POINTS)
    return points, (filled(points, MOST_PICTURES) if exploration.dataset.shape is not None else points[:0])


def _gathered(exploration: Exploration, drawn: tuple[np.ndarray, np.ndarray], progress: Progress) -> Gathered | None:
    if exploration.dataset.shape is None:
        return None
    labels = {name: one.clustering.labels for name, one in exploration.found.items()}
    return gather(
        exploration.dataset, exploration.features.rows, exploration.crop, labels, most=report_method.MOST_SHOWN,
        places=drawn[1], progress=progress,
    )  # fmt: skip


def _map(exploration: Exploration, gathered: Gathered | None, drawn: tuple[np.ndarray, np.ndarray]) -> Scatter:
    points, seen = drawn
    features = exploration.features
    ways = [
        Colouring(f"{one.title} cluster", one.clustering.labels[points], one.names, "noise", numbered=True)
        for one in exploration.found.values()
    ]
    if exploration.labelled and features.labels is not None:
        ways.append(Colouring("known class", features.labels[points], features.classes, "no label"))
    of = None
    if gathered is not None:
        at = np.searchsorted(seen, points)
        of = np.where((at < len(seen)) & (seen[np.minimum(at, len(seen) - 1)] == points), at, -1)
    n = len(features)
    text = f"Each point is an object, placed by {exploration.map_name}; near points are alike. Numbers stand at the "
    text += (
        "middle of each cluster's points. The map is for looking: clusters were found in more dimensions than two, so "
    )
    text += "what overlaps here may be apart, and distances between groups mean little."
    text += (
        f" {len(points):,} of {n:,} objects are drawn, chosen at random; counts are of them." if len(points) < n else ""
    )
    text += f" {len(seen):,} of them have their picture." if gathered is not None and len(seen) < len(points) else ""
    pictures_of = None if gathered is None else gathered.thumbs
    return Scatter(exploration.places[points], features.ids[points].tolist(), ways, pictures_of, of, text)


# ---------------------------------------------------------------------------------------------- the rest


def _number_of_clusters(exploration: Exploration, kept: Kept) -> list[Any]:
    choice = exploration.choice
    if choice is None:
        return []
    columns = ["clusters", *choice.series]
    rows = [[r[c] if np.isfinite(r[c]) else None for c in columns] for r in choice.table()]
    table = kept.table("number", Table(columns, rows, "Each number that was tried, on a sample of the objects."))
    series = {report_method.measure_words(name): values for name, values in choice.series.items()}
    drawn = plots.curves(choice.numbers, series, choice.number)
    caption = (
        f"The evidence for {choice.number} clusters; the dashed line is the number taken. Silhouette and stability are "
        "of K-means, BIC of a Gaussian mixture per object. Flat curves say that no number is better than the next."
    )
    figure = kept.figure("number", drawn, caption, "Evidence for the number of clusters")
    return [page.Text(choice.reason), figure, page.Details("Number by number", [table])]


def _strange(exploration: Exploration) -> list[Any]:
    places, features, dataset = exploration.strangest[:_STRANGE], exploration.features, exploration.dataset
    if not len(places):
        return []
    caption = (
        "Strangest first: objects that lie farthest from all others in what was looked at. Among them are faults of "
        "the camera, wrong cut-outs, and now and then a discovery."
    )
    if dataset.shape is None:
        rows = [[features.ids[p], float(exploration.strangeness[p])] for p in places]
        return [Table(["id", "strangeness"], rows, caption)]
    images = pictures(dataset, features.rows[places], exploration.crop)
    items = []
    for image, place in zip(images, places, strict=True):
        label = -1 if features.labels is None else int(features.labels[place])
        name = features.classes[label] if label >= 0 else str(features.ids[place])
        note = f"{features.ids[place]}: " if label >= 0 else ""
        items.append(Picture(image, name, f"{note}strangeness {_number(float(exploration.strangeness[place]))}"))
    header = dataset.header
    colour = len(header.channels) in (0, 3) or dataset.shape[2] == 1
    return [
        page.Pictures(
            items, caption, 6 if colour else None, header.channels, pixel_scale=header.pixel_scale,
            side=report_method.SIDE,
        )
    ]  # fmt: skip


def _features(exploration: Exploration) -> list[Any]:
    features = exploration.features
    facts: dict[str, Any] = {"Objects": f"{len(features):,}", "Seen as": features.name}
    if features.explained is not None:
        facts["Variance of the pixels held"] = f"{100 * features.explained:.1f} %"
    if features.record.get("fitted_on"):
        facts["Fitted on"] = f"{features.record['fitted_rows']:,} rows: {features.record['fitted_on']}"
    if exploration.dataset.shape is not None:
        height, width, channels = exploration.dataset.shape
        facts["Pictures"] = f"{height} x {width} pixels, {channels} channels, {exploration.dataset.dtype}"
    if exploration.labelled and features.labels is not None:
        count = np.bincount(features.labels[features.labels >= 0], minlength=len(features.classes))
        facts["Known classes"] = [f"{name}: {n:,}" for name, n in zip(features.classes, count, strict=True)]
        facts["Use of the classes"] = "none in the fits; only to judge what was found"
    return [page.Facts(facts)]


def _ways(exploration: Exploration, kept: Kept) -> list[Any]:
    """The same objects seen in other ways, where that was asked for."""
    blocks: list[Any] = []
    if exploration.comparison:
        columns = list(exploration.comparison[0])
        rows = [[row.get(c) for c in columns] for row in exploration.comparison]
        best: dict[str, Any] = {c: "max" for c in ("ARI", "NMI", "silhouette") if c in columns}
        decimals = {c: 1 if c == "seconds" else 3 for c in columns}
        caption = (
            "The same objects seen in other ways; agreement is of K-means with the same number of clusters. Seconds: "
            "of the features; fewer components are the first of the widest fit of that crop, and share its seconds."
        )
        blocks.append(kept.table("features", Table(columns, rows, caption, best=best, decimals=decimals)))
    return blocks


_TERMS = """\
Adjusted Rand index (ARI; Hubert and Arabie 1985, Journal of Classification 2, 193): share of the pairs of objects
on which two groupings agree, corrected so that chance gives 0 and the same grouping 1. Normalised mutual
information (NMI): what one grouping says about the other, from 0 to 1; it is not corrected for chance and grows
with the number of clusters.

Homogeneity (Rosenberg and Hirschberg 2007): 1 where each cluster holds one class only. Purity: share of the
objects that belong to the commonest class of their cluster. Both rise with the number of clusters, so compare
them at like numbers.

Silhouette (Rousseeuw 1987): how much nearer an object is to its own cluster than to the next one, mean over
objects, from \N{MINUS SIGN}1 to 1. Davies-Bouldin (1979): width of the clusters over their distance; small is
good. Both favour round clusters.

Stability: clusters are found anew in random samples of the objects; the agreement (ARI) of the clusterings on
common objects, 1 = the same each time. Intervals are 95 % percentile bootstrap over objects, the clusters held as
they are."""


def _made_by(exploration: Exploration, command: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"command": command} if command else {}
    facts["Data"] = [str(exploration.dataset.path.name), exploration.dataset.content_sha256]
    facts["Settings"] = {k: v for k, v in exploration.settings.items() if v not in (None, "", 0)}
    facts["Features"] = exploration.features.record
    for name, one in exploration.found.items():
        facts[f"Options of {name}"] = one.clustering.options
    facts["Seconds"] = [f"{stage}: {duration(seconds)}" for stage, seconds in exploration.seconds.items()]
    described = machine.describe()
    versions, processor = described["versions"], described["processor"]
    assert isinstance(versions, dict)
    assert isinstance(processor, dict)
    used = {
        k: versions[k] for k in ("estampa", "numpy", "scipy", "sklearn", "hdbscan", "umap", "minisom") if k in versions
    }
    facts["Machine"] = f"{processor['model']}, {described['threads']} threads"
    facts["Versions"] = ", ".join(f"{k} {v}" for k, v in used.items())
    return {k: v for k, v in facts.items() if v}
