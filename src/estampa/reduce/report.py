"""The report of a reduction: what is kept, what the components look like, pictures beside their reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from estampa import files, page
from estampa.data.dataset import Dataset
from estampa.page import style
from estampa.page.kept import Kept
from estampa.reduce.reduction import Fidelity, Reduction

_COMPONENTS, _PICTURES = 12, 8  #: that are shown
_WIDE = 240  #: pixels across that a component picture has at most
_NUMBERS = (1, 2, 5, 10, 20, 50, 75, 100, 147, 200, 500)  #: of components in the table


def write_report(
    lead: str,
    dataset: Dataset,
    reduction: Reduction,
    facts: Mapping[str, Any],
    fidelity: Mapping[str, Fidelity],
    folder: Path,
) -> None:
    """Write report.html, figures/ and tables/ into `folder`; `facts` is how it was made."""
    kept = Kept()
    sections = [
        page.Section("kept", "What is kept", _variance(reduction, fidelity, kept)),
        page.Section("components", "What the components look like", [component_pictures(reduction, dataset)]),
        page.Section("pictures", "Pictures and their reconstructions", _beside(dataset, reduction, fidelity)),
        page.Section("tables", "Tables to take away", [kept.downloads()]),
    ]
    title = f"{dataset.path.stem}: {reduction.components} principal components"
    text = page.render(title, lead, sections, made_by={k: v for k, v in facts.items() if v})
    kept.save(folder)
    files.write_atomic(folder / "report.html", text)


def _variance(reduction: Reduction, fidelity: Mapping[str, Fidelity], kept: Kept) -> list[Any]:
    cumulative = np.cumsum(reduction.pca.explained_ratio)
    fitted = (
        "Components are fitted on the train part; on rows that they have not seen they usually hold less."
        if "train" in fidelity
        else "Components are fitted on all rows: of rows that they have not seen they may hold less."
    )
    parts = page.Table(
        ["part", "objects", "variance kept, %", "difference of a pixel, rms"],
        [[part, f.n, 100 * f.explained, f.rms] for part, f in fidelity.items()],
        caption="Share of the squared differences from the mean picture of the training rows that the components hold, "
        "and the root mean square difference between a pixel and its reconstruction, in pixel values. " + fitted,
        decimals=2,
    )
    rows = [
        [k, 100 * float(reduction.pca.explained_ratio[k - 1]), 100 * float(cumulative[k - 1])]
        for k in sorted({*(k for k in _NUMBERS if k < len(cumulative)), len(cumulative)})
    ]
    by_number = page.Table(
        ["components", "the last of them, %", "all of them, %"], rows, decimals=2,
        caption="Share of the variance of the rows that the components were fitted on.",
    )  # fmt: skip
    caption = (
        "Above: share of the variance that the first components hold together, on the rows of the fit. Below: share "
        "of each, on a logarithmic axis. A straight fall without a bend means that no number of components is natural."
    )
    drawn = variance_curve(reduction)
    return [
        kept.table("fidelity", parts),
        kept.figure("explained-variance", drawn, caption, "explained variance by component"),
        page.Details("By number of components", [kept.table("explained-variance", by_number)]),
    ]


def variance_curve(reduction: Reduction) -> page.Drawn:
    """Explained variance, together above and each below, over the number of components."""
    ratio = 100 * reduction.pca.explained_ratio
    together, numbers = np.cumsum(ratio), np.arange(1, len(ratio) + 1)
    with style.drawing(2, 1, size=(8.0, 5.2), sharex=True) as (figure, (above, below)):
        mark = "o" if len(ratio) < 30 else None
        above.plot(numbers, together, color=style.OKABE_ITO[0], marker=mark)
        above.plot(numbers[-1], together[-1], "o", color=style.OKABE_ITO[0])
        above.annotate(
            f"{together[-1]:.1f} %", (numbers[-1], together[-1]), (-4, -14), textcoords="offset points", ha="right",
            color=style.TEXT,
        )  # fmt: skip
        above.set_ylim(0, 103)
        above.set_ylabel("together, % of the variance")
        below.plot(numbers[ratio > 0], ratio[ratio > 0], color=style.OKABE_ITO[1], marker=mark)
        below.set_yscale("log")
        below.set_ylabel("each, %")
        below.set_xlabel("components")
        below.xaxis.get_major_locator().set_params(integer=True)
        return page.figure(figure)


def component_pictures(reduction: Reduction, dataset: Dataset, count: int = _COMPONENTS) -> page.Pictures:
    """The first components as pictures, diverging colours around zero, channels side by side.

    Each is scaled by the 99.5th percentile of its own size; a component's sign is a convention.
    """
    import matplotlib as mpl

    colours = mpl.colormaps[style.DIVERGING]
    items = []
    for number in range(min(count, reduction.components)):
        shown = _side_by_side(reduction.pca.components[number].reshape(reduction.seen))
        limit = float(np.percentile(np.abs(shown), 99.5)) or 1.0
        rgb = colours(np.clip(0.5 + 0.5 * shown / limit, 0, 1))[:, :, :3]
        share = f"{100 * reduction.pca.explained_ratio[number]:.2f} %"
        items.append(page.Picture(np.rint(255 * rgb).astype(np.uint8), f"component {number + 1}", share))
    named = dataset.header.channels or tuple(str(i + 1) for i in range(reduction.seen[2]))
    sides = f" Channels from left to right: {', '.join(named)}." if reduction.seen[2] > 1 else ""
    caption = (
        "Blue pixels rise and red ones fall with a component's score; white ones do not take part (each component has "
        f"its own scale, and its sign is a convention). Below each: its share of the variance.{sides}"
    )
    return page.Pictures(items, caption, stretch="stored", channels=("R", "G", "B"))


def _side_by_side(values: np.ndarray) -> np.ndarray:
    """(h, w, c) as (h', about c w'): channels beside each other, means of square cells so that they fit the page."""
    height, width, channels = values.shape
    cell = max(1, -(-width * channels // _WIDE))
    height, width = max(1, height // cell), max(1, width // cell)
    cut = values[: height * cell, : width * cell] if cell <= min(values.shape[:2]) else values
    if cut is not values or cell == 1:
        cut = cut.reshape(height, cell, width, cell, channels).mean(axis=(1, 3))
    gap = np.zeros((len(cut), max(1, width // 24)))
    columns = [side for c in range(channels) for side in (cut[:, :, c], gap)][:-1]
    return np.concatenate(columns, axis=1)


def _beside(dataset: Dataset, reduction: Reduction, fidelity: Mapping[str, Fidelity]) -> list[Any]:
    """Some pictures, evenly spread over the least-seen part, each with its reconstruction and its error."""
    part = next(p for p in ("test", "validation", "train", "all rows") if p in fidelity)
    rows = np.arange(dataset.n) if part == "all rows" else dataset.rows(part)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(_PICTURES, len(rows))).round().astype(np.int64))]
    pictures = reduction.squares(dataset, rows)
    made = reduction.inverse(reduction.transform_dataset(dataset, rows))
    difference = np.square(made.astype(np.float64) - pictures.astype(np.float64))
    with np.errstate(invalid="ignore"):
        error = np.sqrt(np.nanmean(difference.reshape(len(rows), -1), axis=1))
    items = []
    for i, row in enumerate(rows):
        label = dataset.classes[dataset.labels[row]] if dataset.classes and dataset.labels[row] >= 0 else ""
        items += [
            page.Picture(pictures[i], label or str(dataset.ids[row]), str(dataset.ids[row]) if label else ""),
            page.Picture(made[i], f"from {reduction.components} numbers", f"rms {error[i]:.3g}"),
        ]
    seen = "rows that the fit has not seen" if part in ("test", "validation") else "rows of the fit"
    caption = (
        f"{seen.capitalize()} ({part}): each picture, and what its {reduction.components} numbers give back; rms: root "
        f"mean square difference of a pixel, in pixel values (all {fidelity[part].n:,}: {fidelity[part].rms:.3g})."
    )
    scale = dataset.header.pixel_scale
    return [page.Pictures(items, caption, channels=dataset.header.channels, paired=True, pixel_scale=scale)]
