"""Drawings of a watch without matplotlib: figures over periods with their ranges shaded, and how far each is out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from estampa.monitor.figures import Figure
from estampa.page.style import LINE, OKABE_ITO, QUIET, TEXT
from estampa.page.table import number

_WIDTH, _LEFT, _RIGHT = 760, 78, 14
_LOUD, _BAND = OKABE_ITO[5], OKABE_ITO[4]
_QUIET = f'style="fill: {QUIET}; font-size: 12px"'


def over_time(names: Sequence[str], figures: Sequence[Figure | None]) -> str:
    """Return SVG text: one figure over the periods `names`, its range shaded, its 95 % interval as a line; a value that
    left its range is a full triangle, others are dots. None = the period does not have it.
    """
    height, top, base = 170, 10, 140
    ends = [e for f in figures if f for e in (f.value, f.expected_low, f.expected_high) if math.isfinite(e)]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    pad = 0.08 * (high - low) or abs(high) * 0.1 or 1.0
    low, high = low - pad, high + pad
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(figures), 1)

    def x(i: float) -> float:
        return _LEFT + step * (i + 0.5)

    def y(value: float) -> float:
        return base - (base - top) * (min(max(value, low), high) - low) / (high - low)

    parts = []
    for tick in (low + pad, (low + high) / 2, high - pad):
        parts.append(f'<path d="M{_LEFT} {y(tick):.1f}H{_WIDTH - _RIGHT}" style="stroke: {LINE}; fill: none"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end" {_QUIET}>{number(tick, 3)}</text>')
    for i, figure in enumerate(figures):
        if figure is None or not (math.isfinite(figure.expected_low) and math.isfinite(figure.expected_high)):
            continue
        bottom, peak = y(figure.expected_low), y(figure.expected_high)
        parts.append(
            f'<rect x="{x(i) - step / 2:.1f}" y="{peak:.1f}" width="{step + 0.2:.1f}" height="{bottom - peak:.1f}" '
            f'style="fill: {_BAND}; opacity: 0.28"/>'
        )
    for i, figure in enumerate(figures):
        if figure is not None and math.isfinite(figure.value):
            parts += _mark(x(i), y, figure)
    shown = sorted({0, len(names) // 2, len(names) - 1}) if len(names) > 2 else range(len(names))
    for i in shown:
        side = "start" if i == 0 and len(names) > 2 else "end" if i == len(names) - 1 and len(names) > 2 else "middle"
        parts.append(f'<text x="{x(i):.1f}" y="{base + 20}" text-anchor="{side}" {_QUIET}>{escape(names[i])}</text>')
    return _svg(parts, height)


def _mark(x: float, y: Callable[[float], float], figure: Figure) -> list[str]:
    """A value with its interval."""
    colour = _LOUD if figure.alert else TEXT
    parts = []
    if math.isfinite(figure.low) and math.isfinite(figure.high):
        parts.append(
            f'<path d="M{x:.1f} {y(figure.low):.1f}V{y(figure.high):.1f}" style="stroke: {colour}; stroke-width: 1.2"/>'
        )
    at = y(figure.value)
    if figure.alert:
        points = f"{x - 6:.1f},{at + 5:.1f} {x + 6:.1f},{at + 5:.1f} {x:.1f},{at - 6:.1f}"
        return [*parts, f'<polygon points="{points}" style="fill: {colour}"/>']
    return [*parts, f'<circle cx="{x:.1f}" cy="{at:.1f}" r="3" style="fill: {colour}"/>']


def how_far(figures: Sequence[Figure]) -> str:
    """Return SVG text: a row for each figure, how far its value lies from the reference in units of its range: the
    range is shaded from 0 to 1, a triangle beyond it left the range. Beyond 4 it is drawn at 4, with its number.
    """
    row, top, left, most = 20, 24, 300, 4.0
    base = top + row * len(figures)

    def x(score: float) -> float:
        return left + (_WIDTH - _RIGHT - 44 - left) * min(max(score, 0.0), most) / most

    shade = (
        f'<rect x="{x(0):.1f}" y="{top}" width="{x(1) - x(0):.1f}" height="{base - top}" '
        f'style="fill: {_BAND}; opacity: 0.28"/>'
    )
    parts = [
        shade,
        f'<text x="{x(0):.1f}" y="{top - 8}" {_QUIET}>in its range</text>',
        f'<text x="{x(1) + 8:.1f}" y="{top - 8}" {_QUIET}>left its range</text>',
    ]
    for i, figure in enumerate(figures):
        at, colour = top + row * (i + 0.5), _LOUD if figure.alert else TEXT
        name = figure.name if len(figure.name) <= 46 else figure.name[:45] + "…"
        parts.append(
            f'<text x="{left - 10}" y="{at + 4:.1f}" text-anchor="end" style="fill: {TEXT}; font-size: 12px">'
            f"{escape(name)}</text>"
        )
        place = x(figure.score)
        parts.append(f'<path d="M{x(0):.1f} {at}H{place:.1f}" style="stroke: {colour}; stroke-width: 1.6"/>')
        if figure.alert:
            points = f"{place:.1f},{at - 6} {place:.1f},{at + 6} {place + 9:.1f},{at}"
            parts.append(f'<polygon points="{points}" style="fill: {colour}"/>')
        else:
            parts.append(f'<circle cx="{place:.1f}" cy="{at}" r="3.5" style="fill: {colour}"/>')
        parts.append(f'<text x="{place + 13:.1f}" y="{at + 4:.1f}" {_QUIET}>{figure.score:.2f}</text>')
    return _svg(parts, base + 8)


def _svg(parts: Sequence[str], height: float) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
