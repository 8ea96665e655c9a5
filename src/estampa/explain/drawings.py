"""Figures of what columns count for, each as (SVG text, PNG bytes). matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from estampa import page
from estampa.explain.dependence import Dependence
from estampa.explain.importance import Importance, Lost
from estampa.page import style

MOST_BARS = 20  #: columns that a figure shows
_LONGEST = 34  #: letters of a name
_CURVES = 40  #: single objects that are drawn
_RUG = 80


def _short(lost: Lost) -> str:
    many = len(lost.columns) > 1 and (len(lost.columns) > 3 or len(lost.name) > _LONGEST)
    name = f"{lost.columns[0]} … {lost.columns[-1]} ({len(lost.columns)})" if many else lost.name
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def importance(found: Importance) -> page.Drawn:
    """The drop of balanced accuracy of each column with its interval, groups below; at most 20 and 8."""
    rows: list[tuple[Lost, str]] = [(lost, style.OKABE_ITO[0]) for lost in found.columns[:MOST_BARS]]
    rows += [(lost, style.OKABE_ITO[1]) for lost in found.groups[:8]]
    with style.drawing(size=(6.6, 0.27 * len(rows) + 1.0)) as (fig, axis):
        axis.axvline(0, color=style.GREY, linewidth=1)
        for place, (lost, colour) in enumerate(rows):
            drop = lost.drop
            whiskers = [[drop.value - drop.low], [drop.high - drop.value]]
            axis.errorbar(
                [drop.value], [place], xerr=whiskers, fmt="o" if len(lost.columns) == 1 else "s", color=colour,
                capsize=2.5, elinewidth=1.2, markerfacecolor=colour if lost.sure else "none",
            )  # fmt: skip
        axis.set_yticks(range(len(rows)), [_short(lost) for lost, _ in rows])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.grid(visible=False, axis="y")
        axis.set_xlabel("drop of balanced accuracy when shuffled")
        return page.figure(fig)


def dependence(found: Dependence, classes: Sequence[str], shown: Sequence[int]) -> page.Drawn:
    """The mean probability of the `shown` classes (numbers) as the column moves; of one class single objects too."""
    colours = page.colours(classes, matter=[classes[c] for c in shown])
    with style.drawing(size=(4.3, 3.0)) as (fig, axis):
        if len(shown) == 1:
            colour, of = colours[classes[shown[0]]], shown[0]
            low, high = found.spread(of)
            axis.fill_between(found.grid, low, high, color=colour, alpha=0.18, linewidth=0)
            some = np.linspace(0, len(found.curves) - 1, min(_CURVES, len(found.curves))).astype(np.int64)
            axis.plot(found.grid, found.curves[some, :, of].T, color=style.GREY, linewidth=0.5, alpha=0.5)
        for c in shown:
            axis.plot(found.grid, found.mean[:, c], color=colours[classes[c]], linewidth=2.2, zorder=4)
        if len(shown) > 1:
            _named(axis, found, classes, shown, colours)
        rug = found.rug[np.linspace(0, len(found.rug) - 1, min(_RUG, len(found.rug))).astype(np.int64)]
        axis.plot(rug, np.zeros(len(rug)), "|", color=style.QUIET, markersize=6, clip_on=False, alpha=0.6)
        axis.set_ylim(0, 1)
        span = float(np.ptp(found.grid))
        axis.set_xlim(found.grid[0] - 0.01 * span, found.grid[-1] + (0.3 if len(shown) > 1 else 0.01) * span)
        axis.set_xlabel(f"{found.column} ({found.unit})" if found.unit else found.column)
        axis.set_ylabel("probability" if len(shown) > 1 else f"p({classes[shown[0]]})")
        return page.figure(fig)


def _named(axis: Any, found: Dependence, classes: Sequence[str], shown: Sequence[int], colours: dict[str, str]) -> None:
    """Each class's name at its line's end, pushed apart."""
    placed = -1.0
    for c in sorted(shown, key=lambda k: float(found.mean[-1, k])):
        y = max(float(found.mean[-1, c]), placed + 0.09)
        placed = y
        axis.annotate(
            classes[c], (found.grid[-1], found.mean[-1, c]), (found.grid[-1] + 0.03 * np.ptp(found.grid), y),
            textcoords="data", va="center", color=colours[classes[c]], fontsize=9.5,
        )  # fmt: skip


def shown_classes(found: Sequence[Dependence], classes: Sequence[str]) -> list[int]:
    """Which classes a dependence shows: of two the second, of more the (at most four) that move most."""
    if len(classes) == 2:
        return [1]
    swing = np.max([one.swing for one in found], axis=0) if found else np.zeros(len(classes))
    return sorted(int(c) for c in np.argsort(-swing, kind="stable")[:4])
