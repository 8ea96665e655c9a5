"""The figures of a report, each as (SVG text, PNG bytes). matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from estampa import measure, page
from estampa.evaluate.judge import Judgement, words
from estampa.page import style

_MOST_POINTS = 400  # of a curve: more are not seen and only make the file large
_MOST_LABELS = 5  # lines that are labelled directly
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (7, 1.5, 1.5, 1.5)), (0, (3, 1)))  # so that colour is not alone
_MOST_CELLS = 16  # classes up to which a confusion matrix shows numbers


def _label_ends(axis: Any, ends: Sequence[tuple[float, str, str]], x: float, gap: float) -> None:
    """Write (y, text, colour) labels to the right of x, pushed apart to at least `gap` in data units."""
    placed: list[float] = []
    for y, text, colour in sorted(ends):
        at = y if not placed else max(y, placed[-1] + gap)
        placed.append(at)
        axis.annotate(
            text, (x, y), (8, 0), xycoords="data", textcoords="offset points", va="center", color=colour, fontsize=10
        ).xyann = (8, (at - y) / gap * 13)


def training(history: Sequence[Mapping[str, float]], kept: int, metric: str) -> page.Drawn:
    """Loss above metric over the epochs, a line for each part in the history; the kept epoch and the stages marked."""
    epochs = [row["epoch"] for row in history]
    kinds = [k for k in ("loss", metric) if any(f"{part}_{k}" in row for row in history for part in _PARTS)]
    with style.drawing(len(kinds), 1, size=(8.0, 2.6 * len(kinds) + 0.4), sharex=True, squeeze=False) as (fig, axes):
        for axis, kind in zip(axes[:, 0], kinds, strict=True):
            ends = []
            for part, colour in _PARTS.items():
                values = [row.get(f"{part}_{kind}", np.nan) for row in history]
                if np.isfinite(values).any():
                    axis.plot(epochs, values, color=colour, marker="o" if len(epochs) == 1 else None)
                    ends.append((float(values[-1]), part, colour))
            low, high = axis.get_ylim()
            _label_ends(axis, ends, epochs[-1], (high - low) * 0.1)
            axis.set_ylabel(words(kind))
            _mark_stages(axis, history, named=axis is axes[-1, 0])
            if kept in epochs:
                axis.axvline(kept, color=style.QUIET, linewidth=1, linestyle=(0, (4, 3)))
        top, last = axes[0, 0], axes[-1, 0]
        if kept in epochs:
            side = "right" if kept > epochs[-1] * 0.6 else "left"
            nudge = -5 if side == "right" else 5
            top.annotate(
                f"kept: epoch {kept}", (kept, 1), (nudge, -4), xycoords=("data", "axes fraction"),
                textcoords="offset points", ha=side, va="top", color=style.QUIET, fontsize=10,
            )  # fmt: skip
        last.set_xlabel("epoch")
        last.xaxis.get_major_locator().set_params(integer=True)
        last.set_xlim(min(epochs) - 0.02 * len(epochs), max(epochs) + 0.02 * len(epochs))
        return page.figure(fig)


def _mark_stages(axis: Any, history: Sequence[Mapping[str, float]], *, named: bool) -> None:
    """A line between two stages of a training, and if `named` each one's number; nothing where there is one stage."""
    numbers = [int(row.get("stage", 1)) for row in history]
    begins = [i for i, number in enumerate(numbers) if i == 0 or number != numbers[i - 1]]
    for i in begins if len(begins) > 1 else []:
        place = history[i]["epoch"] - 0.5 if i else history[i]["epoch"]
        if i:
            axis.axvline(place, color=style.QUIET, linewidth=1)
        if named:  # below: the metric ends high, where it would hide them
            axis.annotate(
                f"stage {numbers[i]}", (place, 0), (4, 4), xycoords=("data", "axes fraction"),
                textcoords="offset points", ha="left", va="bottom", color=style.QUIET, fontsize=9,
            )  # fmt: skip


#: "test" is in the history of a study only, where it is drawn and never used.
_PARTS = {"train": style.OKABE_ITO[0], "validation": style.OKABE_ITO[1], "test": style.OKABE_ITO[2]}


def confusion(judgement: Judgement) -> page.Drawn:
    """The confusion matrix: rows are truth, colour and text the share of the row, with the count."""
    import matplotlib as mpl

    counts = np.asarray(judgement.confusion)
    k = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(12.0, max(4.2, 0.62 * k + 1.8))
    with style.drawing(size=(side, side)) as (fig, axis):
        colours = mpl.colormaps[style.SEQUENTIAL]
        axis.grid(visible=False)
        axis.set_xlim(-0.5, k - 0.5)
        axis.set_ylim(k - 0.5, -0.5)
        axis.set_aspect("equal")
        for spine in axis.spines.values():
            spine.set_visible(False)
        for r in range(k):
            for c in range(k):
                filled = colours(shares[r, c])
                if counts[r, c]:
                    axis.add_patch(mpl.patches.Rectangle((c - 0.48, r - 0.48), 0.96, 0.96, facecolor=filled))
                if counts[r, c] and k <= _MOST_CELLS:
                    share = f"{100 * shares[r, c]:.1f}" if k <= 10 else f"{100 * shares[r, c]:.0f}"
                    ink = style.text_on(filled)
                    axis.text(c, r - 0.13, share, ha="center", va="center", color=ink, fontsize=9.5)
                    axis.text(c, r + 0.23, f"{counts[r, c]:,}", ha="center", va="center", color=ink, fontsize=7.5)
        tilted = k * max(map(len, judgement.classes)) > 40
        axis.set_xticks(range(k), judgement.classes, rotation=45 if tilted else 0, ha="right" if tilted else "center")
        axis.set_yticks(range(k), judgement.classes)
        axis.tick_params(length=0)
        axis.set_xlabel("answer")
        axis.set_ylabel("truth")
        return page.figure(fig)


def _thinned(false: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most some hundred points of a curve, spread over its length, more of them where rates are small."""
    if len(false) <= _MOST_POINTS:
        return false, true
    length = np.cumsum(np.append(0, np.hypot(np.diff(np.log10(false + 1e-4)), np.diff(true))))
    places = np.searchsorted(length, np.linspace(0, length[-1], _MOST_POINTS))
    kept = np.unique(np.append(places.clip(0, len(false) - 1), [0, len(false) - 1]))
    return false[kept], true[kept]


def roc(judgement: Judgement, truth: np.ndarray, output: np.ndarray) -> page.Drawn:
    """One ROC curve a class against the rest; the false-positive axis is logarithmic where the areas are above 0.97.

    A dot marks the decision that is taken (largest probability). More than five classes: the weakest are named.
    """
    areas = {row["class"]: row["roc_auc"].value for row in judgement.per_class}
    defined = [c for c in judgement.classes if np.isfinite(areas[c])]
    weakest = sorted(defined, key=lambda c: areas[c])[:_MOST_LABELS]
    named = defined if len(defined) <= _MOST_LABELS else weakest
    colours = page.colours(judgement.classes, matter=named)
    said = np.asarray(output).argmax(axis=1)
    close = judgement.metrics["roc_auc"].value > 0.97
    floor = 0.5 / len(truth)  # below the smallest rate that can be seen
    shown = judgement.classes[-1:] if len(judgement.classes) == 2 else defined
    with style.drawing(size=(7.6, 5.5)) as (fig, axis):
        axis.set_box_aspect(1)
        grid = np.geomspace(floor, 1, 200) if close else np.array([0, 1])
        axis.plot(grid, grid, color=style.GREY, linewidth=1)
        for c, name in enumerate(judgement.classes):
            if name not in shown or name not in defined:
                continue
            mine = truth == c
            false, true, _ = measure.roc_curve(mine, output[:, c])
            false, true = _thinned(false, true)
            strong = name in named
            colour = colours[name] if strong else style.GREY
            label = f"{name} {areas[name]:.4f}" if strong else None
            axis.plot(
                np.maximum(false, floor) if close else false, true, color=colour, label=label, drawstyle="steps-post",
                zorder=3 if strong else 2, linewidth=1.6 if strong else 1,
                linestyle=_DASHES[named.index(name) % len(_DASHES)] if strong else "-",
            )  # fmt: skip
            point = (said[~mine] == c).mean(), (said[mine] == c).mean()
            axis.plot(max(point[0], floor) if close else point[0], point[1], "o", color=colour, zorder=4)
        if close:
            axis.set_xscale("log")
            axis.set_xlim(floor, 1)
        axis.set_ylim(0, 1.01)
        axis.set_xlabel("false-positive rate" + (", log scale" if close else ""))
        axis.set_ylabel("true-positive rate")
        axis.legend(
            loc="lower left", bbox_to_anchor=(1.02, 0), title="area under the curve", alignment="left", fontsize=10
        )
        return page.figure(fig)


def reliability(truth: np.ndarray, output: np.ndarray, before: np.ndarray | None = None) -> page.Drawn:
    """Accuracy against confidence of the predicted class, and how many objects have that confidence.

    `before`: the probabilities at temperature 1, drawn beside those of `output`.
    """
    series = [(output, style.OKABE_ITO[0], "o-", "after" if before is not None else "")]
    if before is not None:
        series.insert(0, (before, style.OKABE_ITO[1], "s--", "before"))
    ratios = {"height_ratios": [4, 1]}
    with style.drawing(2, 1, size=(5.5, 6.2), sharex=True, gridspec_kw=ratios) as (fig, (axis, below)):
        axis.plot([0, 1], [0, 1], color=style.GREY, linewidth=1)
        lowest = 1 / output.shape[1]
        for place, (answers, colour, mark, label) in enumerate(series):
            found = measure.reliability(truth, answers)
            whiskers = np.stack([found["accuracy"] - found["low"], found["high"] - found["accuracy"]]).clip(0)
            axis.errorbar(
                found["confidence"], found["accuracy"], whiskers, fmt=mark, color=colour, capsize=2.5, elinewidth=1,
                label=label or None, markerfacecolor="none" if mark == "s--" else colour,
            )  # fmt: skip
            aside = 0.0 if before is None else (place - 0.5) * 0.021
            below.bar(
                found["confidence"] + aside, found["count"] / found["count"].sum(),
                width=0.04 if before is None else 0.02, color=colour,
            )  # fmt: skip
            lowest = min(lowest, float(found["confidence"].min()))
        axis.set_ylabel("share that is right")
        axis.set_ylim(0, 1.01)
        if before is not None:
            axis.legend(loc="upper left", fontsize=10)
        below.set_ylabel("share")
        below.set_xlabel("confidence (largest probability)")
        below.set_xlim(lowest - 0.03, 1.03)
        return page.figure(fig)


def coverage(
    curve: np.ndarray, keep: float | None, share: measure.Interval | None, accuracy: measure.Interval | None
) -> page.Drawn:
    """Accuracy of the answered (with a band) against the share that is answered; `curve` as `Abstention` has it.

    `keep`, `share`, `accuracy`: the accuracy to keep and the chosen point, drawn where there is one.
    """
    with style.drawing(size=(8.0, 4.2)) as (fig, axis):
        axis.fill_between(curve[0], curve[2], curve[3], color=style.OKABE_ITO[0], alpha=0.15, linewidth=0)
        axis.plot(curve[0], curve[1], color=style.OKABE_ITO[0])
        lines: list[tuple[float, str, str, Any]] = [(float(curve[1, -1]), "all answered", style.GREY, "-")]
        if keep is not None:
            lines.append((keep, "to keep", style.QUIET, (0, (4, 3))))
        for at, text, colour, dashes in lines:
            axis.axhline(at, color=colour, linewidth=1, linestyle=dashes)
            axis.annotate(
                f"{text}: {at:.4g}", (0, at), (4, -3), xycoords=("axes fraction", "data"), textcoords="offset points",
                va="top", color=style.QUIET, fontsize=10,
            )  # fmt: skip
        if share is not None and accuracy is not None:
            sides = [[[v.value - v.low], [v.high - v.value]] for v in (accuracy, share)]
            axis.errorbar(
                [share.value], [accuracy.value], yerr=sides[0], xerr=sides[1], fmt="o", color=style.OKABE_ITO[5],
                capsize=2.5, elinewidth=1, zorder=4,
            )  # fmt: skip
        axis.set_xlim(0, 1.01)
        half = curve[0] >= 0.5 * curve[0, -1]  # of few answered objects the band is wide and tells little
        low = min([curve[1].min(), curve[2][half].min(), *([] if keep is None else [keep])])
        axis.set_ylim(low - 0.08 * (1 - low) - 1e-3, 1 + 0.04 * (1 - low) + 1e-3)
        axis.set_xlabel("share of the objects that is answered (coverage)")
        axis.set_ylabel("accuracy of the answered")
        return page.figure(fig)


def regression(truth: np.ndarray, output: np.ndarray, unit: str = "") -> page.Drawn:
    """Answer against truth, and the error against truth; counts by hexagon above 3,000 objects."""
    tail = f" ({unit})" if unit else ""
    with style.drawing(1, 2, size=(10.0, 4.8)) as (fig, (left, right)):
        for axis, values in ((left, output), (right, output - truth)):
            if len(truth) > 3000:
                axis.hexbin(truth, values, gridsize=50, cmap=style.SEQUENTIAL, mincnt=1, bins="log", linewidths=0)
            else:
                axis.plot(truth, values, "o", color=style.OKABE_ITO[0], alpha=0.35, markersize=4, markeredgewidth=0)
            axis.set_xlabel("truth" + tail)
        ends = min(truth.min(), output.min()), max(truth.max(), output.max())
        left.plot(ends, ends, color=style.GREY, linewidth=1)
        left.set_ylabel("answer" + tail)
        right.axhline(0, color=style.GREY, linewidth=1)
        right.set_ylabel("answer minus truth" + tail)
        return page.figure(fig)


def folds(values: Sequence[float], pooled: measure.Interval, metric: str) -> page.Drawn:
    """The metric of each fold as dots, and the interval of all folds pooled as a band."""
    with style.drawing(size=(8.0, 2.4)) as (fig, axis):
        axis.axhspan(pooled.low, pooled.high, color=style.OKABE_ITO[0], alpha=0.15)
        axis.axhline(pooled.value, color=style.OKABE_ITO[0], linewidth=1)
        axis.plot(np.arange(1, len(values) + 1), values, "o", color=style.OKABE_ITO[0])
        axis.set_xlabel("fold")
        axis.set_ylabel(words(metric))
        axis.xaxis.get_major_locator().set_params(integer=True)
        return page.figure(fig)
