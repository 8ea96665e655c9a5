"""Drawings of a watch without matplotlib: figures over periods with their ranges shaded, and how far each is out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from estampa.monitor.figures import Figure
from estampa.page.forest import axis, tick
from estampa.page.style import GREY, GROUND, LINE, OKABE_ITO, QUIET, TEXT

_RIGHT = 14
_SMALL, _LEFT = 400, 62  #: of a drawing that stands beside others
_LOUD, _BAND = OKABE_ITO[5], OKABE_ITO[4]
_QUIET = f'style="fill: {QUIET}; font-size: 12px"'
_SHADE = f'style="fill: {_BAND}; opacity: 0.28"'
_INK = f'style="fill: {TEXT}; font-size: 12px"'
_LETTERS, _LONGEST = 20, 58  #: of a group's and of a figure's name
_LEAST, _MOST = 2.0, 10.0  #: where the axis of how far ends, in units of the range
_NARROW = 5.0  #: CSS pixels for a period, below which its interval is not drawn


def over_time(names: Sequence[str], figures: Sequence[Figure | None]) -> str:
    """Return SVG text: one figure over the periods `names`, its range shaded, its 95 % interval as a line; a value that
    left its range is a full triangle, one that is not to be relied on a grey ring, others are dots; an interval that
    goes on beyond the drawing ends in an arrow head. None = the period does not have it.
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
            size = min(1.0, max(step / _NARROW, 0.4))
            if math.isfinite(figure.low) and math.isfinite(figure.high) and step >= _NARROW:
                across = f"{x(i):.1f}"
                parts.append(_line(figure, f"M{across} {y(figure.low):.1f}V{y(figure.high):.1f}"))
                heads = ((figure.low < low, base, -4), (figure.high > high, top, 4))
                parts += [_line(figure, f"M{x(i) - 3:.1f} {end + d}L{across} {end}L{x(i) + 3:.1f} {end + d}")
                          for cut, end, d in heads if cut]  # fmt: skip
            parts.append(_point(x(i), y(figure.value), figure, size))
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
            if math.isfinite(figure.low) and math.isfinite(figure.high):
                parts.append(_line(figure, f"M{x(figure.low):.1f} {at}H{x(figure.high):.1f}"))
                heads = ((figure.low < low, left, 4), (figure.high > high, _SMALL - _RIGHT, -4))
                parts += [_line(figure, f"M{end + d} {at - 3}L{end} {at}L{end + d} {at + 3}")
                          for cut, end, d in heads if cut]  # fmt: skip
            parts.append(_point(x(figure.value), at, figure))
    return _svg(parts, _SMALL, base + 24)


def _span(figures: Sequence[Figure | None]) -> tuple[float, float]:
    """From the least to the largest of values and ranges."""
    ends = [e for f in figures if f for e in (f.value, f.expected_low, f.expected_high) if math.isfinite(e)]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    return (low, high) if high > low else (low - (abs(low) or 1.0) / 10, high + (abs(high) or 1.0) / 10)


def _ranged(figure: Figure) -> bool:
    return math.isfinite(figure.expected_low) or math.isfinite(figure.expected_high)


def _colour(figure: Figure) -> str:
    return _LOUD if figure.alert else TEXT if figure.relied else GREY


def _line(figure: Figure, path: str) -> str:
    """A line in the figure's colour."""
    return f'<path d="{path}" style="stroke: {_colour(figure)}; stroke-width: 1.2; fill: none"/>'


def _point(x: float, y: float, figure: Figure, size: float = 1.0) -> str:
    """A dot; where the figure left its range a full triangle; a grey ring where it is not to be relied on."""
    if figure.alert:
        a, b = 6 * size, 5 * size
        points = f"{x - a:.1f},{y + b:.1f} {x + a:.1f},{y + b:.1f} {x:.1f},{y - a:.1f}"
        return f'<polygon points="{points}" style="fill: {_LOUD}"/>'
    look = f"fill: {TEXT}" if figure.relied else f"fill: {GROUND}; stroke: {GREY}; stroke-width: 1.4"
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 * size:.1f}" style="{look}"/>'


def how_far(figures: Sequence[Figure], among: Sequence[Figure] = ()) -> str:
    """Return SVG text: two lines for each figure, its name and how far its value lies from the reference in units of
    its range, which is shaded from 0 to 1; a triangle beyond it left the range. A line that is longer than the drawing
    has a break. `among`: figures of several drawings that share one axis.
    """
    row, top, left, room = 36, 22, 4, 48
    scores = [f.score for f in among or figures]
    most = min(max(_LEAST, *scores), _MOST)
    base = top + row * len(figures)

    def x(score: float) -> float:
        return left + (_SMALL - room - left) * min(max(score, 0.0), most) / most

    parts = [f'<text x="{x(1) + 4:.1f}" y="12" {_QUIET}>left its range →</text>']
    if x(1) - left > 80:
        parts.append(f'<text x="{left}" y="12" {_QUIET}>in its range</text>')
    for i, figure in enumerate(figures):
        at, colour = top + row * i + 25, _LOUD if figure.alert else TEXT
        name = figure.name if len(figure.name) <= _LONGEST else figure.name[: _LONGEST - 1] + "…"
        parts.append(f'<text x="{left}" y="{at - 11}" {_INK}>{escape(name)}</text>')
        parts.append(f'<rect x="{left}" y="{at - 7}" width="{x(1) - left:.1f}" height="14" {_SHADE}/>')
        place = x(figure.score)
        lines = f"M{left} {at}H{place:.1f}"
        if figure.score > most:
            gap = left + 0.8 * (place - left)
            lines = f"M{left} {at}H{gap - 3:.1f}M{gap + 3:.1f} {at}H{place:.1f}"
            lines += "".join(f"M{gap + d - 2:.1f} {at + 5}L{gap + d + 2:.1f} {at - 5}" for d in (-3, 3))
        parts.append(f'<path d="{lines}" style="stroke: {colour}; stroke-width: 1.6; fill: none"/>')
        if figure.alert:
            points = f"{place:.1f},{at - 6} {place:.1f},{at + 6} {place + 9:.1f},{at}"
            parts.append(f'<polygon points="{points}" style="fill: {colour}"/>')
        else:
            parts.append(f'<circle cx="{place:.1f}" cy="{at}" r="3.5" style="fill: {colour}"/>')
        parts.append(f'<text x="{place + 12:.1f}" y="{at + 4}" {_QUIET}>{figure.score:.2f}</text>')
    return _svg(parts, _SMALL, base + 4)


def _svg(parts: Sequence[str], width: float, height: float) -> str:
    size = f'width="{width * 0.75:.1f}pt" height="{height * 0.75:.1f}pt" viewBox="0 0 {width:.0f} {height:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(parts)}</svg>'
