"""Figures of a report on tables, each as (SVG text, PNG bytes). matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from estampa import page
from estampa.evaluate.fusion import Fusion
from estampa.evaluate.judge import words
from estampa.evaluate.table_evidence import BINS, Uncertain
from estampa.page import style

_MOST_PANELS = 6
_LEAST_SHOWN = 0.25  #: of the height: settings that fail are cut off below, so that the good ones can be told apart


def search(trials: Sequence[Mapping[str, Any]], chosen: str, metric: str) -> page.Drawn:
    """Score of every setting by method, best first, with its spread over folds; the chosen method is named so."""
    methods = list(dict.fromkeys(str(t["method"]) for t in trials))
    colours = page.colours(methods)
    scores = np.array([float(t["score"]) for t in trials])
    with style.drawing(size=(8.0, 3.6)) as (fig, axis):
        start, ticks = 0.0, []
        for name in methods:
            mine = sorted((t for t in trials if t["method"] == name), key=lambda t: -float(t["score"]))
            width = max(len(mine), 1)
            x = start + (np.arange(len(mine)) + 0.5) / width
            y = np.array([float(t["score"]) for t in mine])
            spread = np.array([float(t.get("spread") or 0) for t in mine])
            axis.errorbar(x * 1.0, y, spread, fmt="o", color=colours[name], elinewidth=0.8, markersize=3.5)
            ticks.append((start + 0.5, f"{name}\n(chosen)" if name == chosen else name))
            start += 1.15
        axis.set_xticks([t[0] for t in ticks], [t[1] for t in ticks])
        axis.grid(visible=False, axis="x")
        low = max(
            float(scores.min()), float(np.quantile(scores, _LEAST_SHOWN)) - 2 * float(np.ptp(scores)) * _LEAST_SHOWN
        )
        top = max(float(t["score"]) + float(t.get("spread") or 0) for t in trials)
        room = 0.06 * (top - low) + 0.002
        axis.set_ylim(low - 3 * room, top + room)
        axis.set_ylabel(words(metric))
        return page.figure(fig)


def unlabelled(found: Uncertain, classes: Sequence[str]) -> page.Drawn:
    """Histogram of each class's probability (of two the second's alone), unlabelled filled, judged as a line."""
    shown = [1] if len(classes) == 2 else list(range(min(len(classes), _MOST_PANELS)))
    colours = page.colours(classes, matter=[classes[c] for c in shown])
    across = min(3, len(shown))
    down = -(-len(shown) // across)
    size = (6.4, 3.4) if len(shown) == 1 else (3.0 * across, 2.6 * down)
    edges = np.linspace(0, 1, BINS + 1)
    with style.drawing(down, across, size=size, squeeze=False, sharey=True) as (fig, axes):
        for axis in axes.ravel()[len(shown) :]:
            axis.set_visible(False)
        for axis, c in zip(axes.ravel(), shown, strict=False):
            own = np.histogram(found.output[:, c], edges)[0] / max(len(found.output), 1)
            other = np.histogram(found.beside[:, c], edges)[0] / max(len(found.beside), 1)
            axis.stairs(own, edges, fill=True, color=colours[classes[c]], alpha=0.75, label="without a label")
            axis.stairs(other, edges, color=style.TEXT, linewidth=1.6, label="judged")
            axis.set_xlim(0, 1)
            axis.set_xlabel(f"p({classes[c]})")
        axes[0, 0].set_ylabel("share of the objects")
        axes[0, 0].legend(fontsize=10, loc="upper center")
        return page.figure(fig)


def weights(found: Fusion) -> page.Drawn:
    """Log loss of the validation part against the weight of the net, the chosen one marked."""
    with style.drawing(size=(5.5, 3.2)) as (fig, axis):
        axis.plot(found.curve[0], found.curve[1], color=style.OKABE_ITO[0])
        axis.axvline(found.weight, color=style.QUIET, linewidth=1, linestyle=(0, (4, 3)))
        axis.annotate(
            f"chosen: {found.weight:.3f}", (found.weight, 1), (5, -4), xycoords=("data", "axes fraction"),
            textcoords="offset points", va="top", color=style.QUIET, fontsize=10,
        )  # fmt: skip
        axis.set_xlabel("weight of the net")
        axis.set_ylabel("log loss (validation)")
        return page.figure(fig)
