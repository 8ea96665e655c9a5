"""Drawings of a watch without matplotlib: figures over periods with their ranges shaded, and how far each is out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from estampa.monitor.figures import Figure
from estampa.page.forest import axis, tick
from estampa.page.style import LINE, OKABE_ITO, QUIET, TEXT

_RIGHT = 14
_SMALL, _LEFT = 400, 62  #: of a drawing that stands beside others
_LOUD, _BAND = OKABE_ITO[5], OKABE_ITO[4]
_QUIET = f'style="fill: {QUIET}; font-size: 12px"'
_SHADE = f'style="fill: {_BAND}; opacity: 0.28"'
_INK = f'style="fill: {TEXT}; font-size: 12px"'
_LETTERS, _LONGEST = 20, 46  #: of a group's and of a figure's name
_NARROW = 5.0  #: CSS pixels for a period, below which its interval is not drawn
_LETTER = 6.4  #: CSS pixels of a letter, about


def over_time(names: Sequence[str], figures: Sequence[Figure | None]) -> str:
    """Return SVG text: one figure over the periods `names`, its range shaded, its 95 % interval as a line; a value that
    left its range is a full triangle, others are dots. None = the period does not have it.
    """
    height, top, base = 176, 10, 146
    low, high, ticks = axis(*_span(figures))
    step = (_SMALL - _LEFT - _RIGHT) / max(len(figures), 1)

    def x(i: float) -> float:
        return _LEFT + step * (i + 0.5)

    def y(value: float) -> float:
        return base - (base - top) * (min(max(value, low), high) - low) / (high - low)

    parts = []
    for at in ticks:
        parts.append(f'<path d="M{_LEFT} {y(at):.1f}H{_SMALL - _RIGHT}" style="stroke: {LINE}; fill: none"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(at) + 4:.1f}" text-anchor="end" {_QUIET}>{tick(at, ticks)}</text>')
    for i, figure in enumerate(figures):
        if figure is not None and _ranged(figure):
            bottom, peak = y(figure.expected_low), y(figure.expected_high)
            parts.append(
                f'<rect x="{x(i) - step / 2:.1f}" y="{peak:.1f}" width="{step:.2f}" height="{bottom - peak:.1f}" '
                f"{_SHADE}/>"
            )
    for i, figure in enumerate(figures):
        if figure is not None and math.isfinite(figure.value):
            parts += _mark(x(i), y, figure, step)
    shown = sorted({0, len(names) - 1}) if len(names) > 2 else range(len(names))
    for i in shown:
        side = "start" if i == 0 and len(names) > 2 else "end" if i == len(names) - 1 and len(names) > 2 else "middle"
        place = {"start": _LEFT, "end": _SMALL - _RIGHT}.get(side, x(i))
        parts.append(f'<text x="{place:.1f}" y="{base + 20}" text-anchor="{side}" {_QUIET}>{escape(names[i])}</text>')
    return _svg(parts, _SMALL, height)


def by_group(names: Sequence[str], figures: Sequence[Figure | None]) -> str:
    """Return SVG text: a row for each group with its range shaded, its value and its 95 % interval; marks as above."""
    row, top, left = 22, 8, 150
    low, high, ticks = axis(*_span(figures))
    base = top + row * len(names)

    def x(value: float) -> float:
        return left + (_SMALL - _RIGHT - left) * (min(max(value, low), high) - low) / (high - low)

    parts = []
    for at in ticks[:: max(1, math.ceil(len(ticks) / 4))]:
        parts.append(f'<path d="M{x(at):.1f} {top}V{base}" style="stroke: {LINE}; fill: none"/>')
        parts.append(f'<text x="{x(at):.1f}" y="{base + 16}" text-anchor="middle" {_QUIET}>{tick(at, ticks)}</text>')
    for i, (name, figure) in enumerate(zip(names, figures, strict=True)):
        at = top + row * (i + 0.5)
        text = name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…"
        parts.append(f'<text x="{left - 10}" y="{at + 4:.1f}" text-anchor="end" {_INK}>{escape(text)}</text>')
        if figure is None:
            continue
        if _ranged(figure):
            ends = x(figure.expected_low), x(figure.expected_high)
            parts.append(
                f'<rect x="{ends[0]:.1f}" y="{at - 8:.1f}" width="{ends[1] - ends[0]:.1f}" height="16" {_SHADE}/>'
            )
        if math.isfinite(figure.value):
            colour = _LOUD if figure.alert else TEXT
            if math.isfinite(figure.low) and math.isfinite(figure.high):
                line = f"M{x(figure.low):.1f} {at}H{x(figure.high):.1f}"
                parts.append(f'<path d="{line}" style="stroke: {colour}; stroke-width: 1.2"/>')
            parts.append(_point(x(figure.value), at, figure))
    return _svg(parts, _SMALL, base + 24)


def _span(figures: Sequence[Figure | None]) -> tuple[float, float]:
    """From the least to the largest of values and ranges."""
    ends = [e for f in figures if f for e in (f.value, f.expected_low, f.expected_high) if math.isfinite(e)]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    return (low, high) if high > low else (low - (abs(low) or 1.0) / 10, high + (abs(high) or 1.0) / 10)


def _ranged(figure: Figure) -> bool:
    return math.isfinite(figure.expected_low) or math.isfinite(figure.expected_high)


def _mark(x: float, y: Callable[[float], float], figure: Figure, room: float) -> list[str]:
    """A value with its interval; where there is little room, its mark alone, and smaller."""
    parts = []
    if math.isfinite(figure.low) and math.isfinite(figure.high) and room >= _NARROW:
        colour = _LOUD if figure.alert else TEXT
        parts.append(
            f'<path d="M{x:.1f} {y(figure.low):.1f}V{y(figure.high):.1f}" style="stroke: {colour}; stroke-width: 1.2"/>'
        )
    return [*parts, _point(x, y(figure.value), figure, min(1.0, max(room / _NARROW, 0.4)))]


def _point(x: float, y: float, figure: Figure, size: float = 1.0) -> str:
    """A dot; where the figure left its range a full triangle."""
    if figure.alert:
        a, b = 6 * size, 5 * size
        points = f"{x - a:.1f},{y + b:.1f} {x + a:.1f},{y + b:.1f} {x:.1f},{y - a:.1f}"
        return f'<polygon points="{points}" style="fill: {_LOUD}"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 * size:.1f}" style="fill: {TEXT}"/>'


def how_far(figures: Sequence[Figure]) -> str:
    """Return SVG text: a row for each figure, how far its value lies from the reference in units of its range: the
    range is shaded from 0 to 1, a triangle beyond it left the range. Beyond 4 it is drawn at 4, with its number.
    """
    row, top, most = 20, 24, 4.0
    names = [f.name if len(f.name) <= _LONGEST else f.name[: _LONGEST - 1] + "…" for f in figures]
    left = 16 + _LETTER * max([*map(len, names), 12])
    base, width = top + row * len(figures), left + 440

    def x(score: float) -> float:
        return left + (width - _RIGHT - 44 - left) * min(max(score, 0.0), most) / most

    shade = f'<rect x="{x(0):.1f}" y="{top}" width="{x(1) - x(0):.1f}" height="{base - top}" {_SHADE}/>'
    parts = [
        shade,
        f'<text x="{x(0):.1f}" y="{top - 8}" {_QUIET}>in its range</text>',
        f'<text x="{x(1) + 8:.1f}" y="{top - 8}" {_QUIET}>left its range</text>',
    ]
    for i, figure in enumerate(figures):
        at, colour = top + row * (i + 0.5), _LOUD if figure.alert else TEXT
        parts.append(f'<text x="{left - 10}" y="{at + 4:.1f}" text-anchor="end" {_INK}>{escape(names[i])}</text>')
        place = x(figure.score)
        parts.append(f'<path d="M{x(0):.1f} {at}H{place:.1f}" style="stroke: {colour}; stroke-width: 1.6"/>')
        if figure.alert:
            points = f"{place:.1f},{at - 6} {place:.1f},{at + 6} {place + 9:.1f},{at}"
            parts.append(f'<polygon points="{points}" style="fill: {colour}"/>')
        else:
            parts.append(f'<circle cx="{place:.1f}" cy="{at}" r="3.5" style="fill: {colour}"/>')
        parts.append(f'<text x="{place + 13:.1f}" y="{at + 4:.1f}" {_QUIET}>{figure.score:.2f}</text>')
    return _svg(parts, width, base + 8)


def _svg(parts: Sequence[str], width: float, height: float) -> str:
    size = f'width="{width * 0.75:.1f}pt" height="{height * 0.75:.1f}pt" viewBox="0 0 {width:.0f} {height:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(parts)}</svg>'
