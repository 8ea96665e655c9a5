"""Figures of two classes at work, and of figures by a column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from estampa import page
from estampa.evaluate.judge import Judgement, words
from estampa.evaluate.operating import Working
from estampa.evaluate.slices import Slices
from estampa.evaluate.tables_operating import short
from estampa.measure import Interval
from estampa.measure.cells import bootstrap_counts, drawn_counts
from estampa.measure.intervals import percentiles, unit_numbers
from estampa.measure.operating import Operating, Scored
from estampa.page import style

_CURVE, _RESAMPLES = 33, 200  # points of a band, and the resamples behind it
_TICKS = (1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)
#: Negatives above a threshold below which its purity is not drawn.
FEWEST = 5
_MARKS = ("o", "s", "^")


def _band(sides: Scored, groups: np.ndarray | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """False-positive rates (m,) from 1 / N to 1, and value, low and high of the FNR there, (m, 3)."""
    rates = np.geomspace(1 / sides.negatives, 0.99, _CURVE)
    rates[0] *= 1 + 1e-9  # rounding must not leave the one negative that it stands for out
    statistic = Operating(sides, np.zeros(sides.n, bool), tuple(rates), units=unit_numbers(sides.n, groups))
    found = bootstrap_counts(statistic, groups, _RESAMPLES, seed)
    values = [found[name] for name in statistic.names[: len(rates)]]
    return rates, np.array([[v.value, v.low, v.high] for v in values])


def rates(sides: Scored, working: Working, groups: np.ndarray | None, seed: int) -> page.Drawn:
    """ROC and DET curves over a logarithmic false-positive rate, with 95 % bands, stated rates and the answers marked.

    Needs both sides.
    """
    grid, values = _band(sides, groups, seed)
    blue, orange = style.OKABE_ITO[0], style.OKABE_ITO[5]
    floor = 0.5 / sides.positives  # a rate of 0 is drawn here on the logarithmic axis
    with style.drawing(1, 2, size=(10.0, 5.0)) as (fig, (roc, det)):
        for axis, sign in ((roc, -1), (det, 1)):
            shown = 1 - values if sign < 0 else np.maximum(values, floor)
            ends = (shown[:, 2], shown[:, 1]) if sign < 0 else (shown[:, 1], shown[:, 2])
            axis.fill_between(grid, *ends, color=blue, alpha=0.15, linewidth=0, step="post")
            axis.plot(grid, shown[:, 0], color=blue, drawstyle="steps-post")
            chance = np.geomspace(grid[0], 1, 100)
            axis.plot(chance, chance if sign < 0 else np.maximum(1 - chance, floor), color=style.GREY, linewidth=1)
            for point in working.points:
                if np.isfinite(point.fnr.value):
                    y = _side(point.fnr, sign, floor)
                    axis.errorbar(point.fpr, y[0], [[y[0] - y[1]], [y[2] - y[0]]], fmt="o", color=blue, capsize=3)
            _mark(axis, working, sign, (grid[0] / 2, floor), orange)
            axis.set_xscale("log")
            axis.set_xlim(grid[0] / 2, 1)
            axis.set_xlabel("false-positive rate (FPR)")
            axis.set_box_aspect(1)
        roc.set_ylim(0, 1.02)
        roc.set_ylabel("true-positive rate")
        roc.set_title("ROC", loc="left")
        det.set_yscale("log")
        det.set_ylim(floor / 1.3, 1.3)
        det.set_ylabel("false-negative rate (FNR)")
        det.set_title("DET", loc="left")
        return page.figure(fig)


def _side(found: Interval, sign: int, floor: float) -> tuple[float, float, float]:
    """Value and ends to draw: of the FNR, or of the true-positive rate for sign -1."""
    if sign < 0:
        return 1 - found.value, 1 - found.high, 1 - found.low
    return max(found.value, floor), max(found.low, floor), max(found.high, floor)


def _mark(axis: Any, working: Working, sign: int, floors: tuple[float, float], colour: str) -> None:
    """A diamond at the rates of the answers as given."""
    wrong, missed = working.rates["fpr"].value, working.rates["fnr"].value
    if np.isfinite(wrong) and np.isfinite(missed):
        y = 1 - missed if sign < 0 else max(missed, floors[1])
        x = max(wrong, floors[0])
        axis.plot(x, y, "D", color=colour, markersize=7, zorder=5)
        left = x > 0.03  # room for the words is on the other side
        axis.annotate(
            "answers", (x, y), (-9 if left else 9, -9 if sign < 0 else 9), textcoords="offset points", color=colour,
            ha="right" if left else "left", va="top" if sign < 0 else "bottom", fontsize=10,
        )  # fmt: skip


def at_prior(
    sides: Scored, working: Working, groups: np.ndarray | None, seed: int, own: float | None = None
) -> page.Drawn:
    """Purity and completeness against the threshold at the stated prior, with 95 % bands.

    `own`: the probability of the positive class from which it is answered, drawn as a line; None = none.
    """
    assert working.prior is not None
    inner = sides.scores[(sides.scores > 0) & (sides.scores < 1)]
    edge = float(min(inner.min(), 1 - inner.max(), 0.01)) if len(inner) else 0.01
    ends = np.log10(max(edge, 1e-6) / (1 - max(edge, 1e-6)))
    grid = 1 / (1 + 10 ** -np.linspace(ends, -ends, 61))
    part = np.searchsorted(grid, sides.scores, "right") * 2 + sides.positive
    counts = np.bincount(part, minlength=124).astype(float)
    point, above = _purities(counts, working.prior), np.cumsum(counts[0::2][::-1])[::-1][1:]
    drawn = drawn_counts(part, 124, unit_numbers(sides.n, groups), _RESAMPLES, seed)
    draws = np.stack([_purities(counts, working.prior).ravel() for counts in drawn])
    low, high = (found.reshape(2, -1) for found in percentiles(draws))
    colours = style.OKABE_ITO[0], style.OKABE_ITO[5]
    with style.drawing(size=(8.0, 5.0)) as (fig, axis):
        for i, (name, colour, line) in enumerate(
            zip(("completeness", "purity"), colours, ("-", (0, (5, 1.5))), strict=True)
        ):
            known = np.isfinite(point[i]) & ((above >= FEWEST) | (name == "completeness"))
            axis.fill_between(grid[known], low[i][known], high[i][known], color=colour, alpha=0.15, linewidth=0)
            axis.plot(grid[known], point[i][known], color=colour, linestyle=line, label=name)
        if own is not None and 0 < own < 1:
            axis.axvline(own, color=style.QUIET, linewidth=1, linestyle=(0, (4, 3)))
        axis.set_xscale("logit")
        ticks = [t for t in _TICKS if grid[0] <= t <= grid[-1]]
        axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axis.set_xticks([], minor=True)
        axis.set_xlim(grid[0], grid[-1])
        axis.set_ylim(0, 1.02)
        axis.set_xlabel(f"threshold on the probability of {working.positive}, logit scale")
        axis.set_ylabel("share")
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        return page.figure(fig)


def _purities(counts: np.ndarray, prior: float) -> np.ndarray:
    """Completeness and purity, (2, m), at each threshold; purity is NaN where no negative is above it."""
    table = counts.reshape(-1, 2)
    above = np.cumsum(table[::-1], axis=0)[::-1][1:]
    sides = table.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        wrong, right = above[:, 0] / sides[0], above[:, 1] / sides[1]
        pure = np.where(above[:, 0] > 0, prior * right / (prior * right + (1 - prior) * wrong), np.nan)
    return np.stack([right, pure])


def slices(judgement: Judgement, part: Slices) -> page.Drawn:
    """The figures of each slice of a column as dots with 95 % whiskers, those of all objects as lines, counts below."""
    names = list(part.slices[0].metrics)
    panels = [names[:1], names[1:]]
    overall: Mapping[str, Interval] = judgement.numbers()
    places = np.arange(len(part.slices))
    width = min(12.0, max(6.0, 1.15 * len(places) + 1.5))
    with style.drawing(2, 1, size=(width, 5.6), sharex=True) as (fig, axes):
        for axis, shown in zip(axes, panels, strict=True):
            tops: list[float] = []
            for k, name in enumerate(shown):
                number = names.index(name)
                colour = style.OKABE_ITO[(0, 5, 2)[number]]
                found = np.array(
                    [[s.metrics[name].value, s.metrics[name].low, s.metrics[name].high] for s in part.slices]
                )
                whiskers = np.nan_to_num(np.stack([found[:, 0] - found[:, 1], found[:, 2] - found[:, 0]]).clip(0))
                at = places + (k - (len(shown) - 1) / 2) * 0.16
                axis.errorbar(
                    at, found[:, 0], whiskers, fmt=_MARKS[number], color=colour, capsize=3, elinewidth=1,
                    label=short(name) if len(shown) > 1 else None,
                )  # fmt: skip
                tops.append(float(np.nanmax(found[:, 0], initial=0)))
                if name in overall:
                    axis.axhline(overall[name].value, color=colour, linewidth=1, linestyle=(0, (4, 3)), alpha=0.7)
            if len(shown) > 1:
                axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(shown))
                axis.set_ylabel("rate")
                most = max(4 * max(tops), 0.02)  # a slice with few objects must not flatten the others
                if judgement.task == "classification" and axis.get_ylim()[1] > most:
                    axis.set_ylim(-0.04 * most, most)
            else:
                axis.set_ylabel(short(shown[0]) if shown[0] in ("fnr", "fpr") else words(shown[0]))
        axes[-1].set_xticks(places, [f"{s.label}\nn = {s.n:,}" for s in part.slices], fontsize=9)
        axes[-1].set_xlim(-0.6, len(places) - 0.4)
        axes[-1].set_xlabel(part.by)
        return page.figure(fig)
