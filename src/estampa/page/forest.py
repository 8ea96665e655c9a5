"""Differences with their intervals on one axis around 0, drawn without matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise

from estampa.page.style import GROUND, LINE, OKABE_ITO, QUIET, TEXT
from estampa.page.table import number

_BETTER, _WORSE = OKABE_ITO[2], OKABE_ITO[5]
_ROW, _TOP, _BOTTOM, _SPAN, _RIGHT = 22, 22, 38, 320, 40
_LETTER = 6.6  #: CSS pixels of a letter, about
_MOST_LABEL = 42


def forest(rows: Sequence[tuple[str, float, float, float, str]], *, ends: tuple[str, str], unit: str = "") -> str:
    """Return SVG text: a row for each (label, value, low, high, change), its interval as a line, 0 marked.

    `change` is "better" (a full triangle that points up), "worse" (one that points down) or "" (a ring: not beyond
    chance). `ends` say what lies left and right of 0. Rows whose interval is not finite are drawn as their mark alone.
    """
    shown = [r for r in rows if math.isfinite(r[1])]
    edges = [e for r in shown for e in r[1:4] if math.isfinite(e)]
    low, high, ticks = axis(min([0.0, *edges]), max([0.0, *edges]))
    left = 16 + _LETTER * min(_MOST_LABEL, max((len(r[0]) for r in shown), default=4))
    width, height = left + _SPAN + _RIGHT, _TOP + _ROW * len(shown) + _BOTTOM
    base = _TOP + _ROW * len(shown)

    def at(value: float) -> float:
        return left + (width - _RIGHT - left) * (value - low) / (high - low)

    quiet = f'style="fill: {QUIET}; font-size: 12px"'
    parts = [f'<path d="M{at(t):.1f} {_TOP}V{base}" style="stroke: {LINE}; fill: none"/>' for t in ticks]
    for t in ticks:
        text = "+" * (t > 0) + tick(t, ticks)
        parts.append(f'<text x="{at(t):.1f}" y="{base + 15}" text-anchor="middle" {quiet}>{text}</text>')
    parts.append(f'<path d="M{at(0):.1f} {_TOP - 4}V{base}" style="stroke: {TEXT}; stroke-width: 1.2; fill: none"/>')
    sides = ((-6, "end", f"\N{LEFTWARDS ARROW} {ends[0]}"), (6, "start", f"{ends[1]} \N{RIGHTWARDS ARROW}"))
    for shift, anchor, text in sides:
        room = (at(0) if shift < 0 else width - at(0)) / _LETTER
        if len(text) <= room:
            parts.append(f'<text x="{at(0) + shift:.1f}" y="12" text-anchor="{anchor}" {quiet}>{escape(text)}</text>')
    if unit:
        middle = (left + width - _RIGHT) / 2
        parts.append(f'<text x="{middle:.1f}" y="{base + 32}" text-anchor="middle" {quiet}>{escape(unit)}</text>')
    for i, (label, value, bottom, top, change) in enumerate(shown):
        y = _TOP + _ROW * (i + 0.5)
        colour = {"better": _BETTER, "worse": _WORSE}.get(change, TEXT)
        text = label if len(label) <= _MOST_LABEL else label[: _MOST_LABEL - 1] + "…"
        parts.append(
            f'<text x="{left - 10:.1f}" y="{y + 4:.1f}" text-anchor="end" style="fill: {TEXT}; font-size: 12px">'
            f"{escape(text)}</text>"
        )
        if math.isfinite(bottom) and math.isfinite(top):
            line = f"M{at(bottom):.1f} {y}H{at(top):.1f}"
            parts.append(f'<path d="{line}" style="stroke: {colour}; stroke-width: 1.6; fill: none"/>')
        parts.append(_mark(at(value), y, change, colour))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * 0.75:.1f}pt" height="{height * 0.75}pt" '
        f'class="whole" viewBox="0 0 {width:.1f} {height}">{"".join(parts)}</svg>'
    )


def _mark(x: float, y: float, change: str, colour: str) -> str:
    if change:
        tip = -5.5 if change == "better" else 5.5
        return (
            f'<path d="M{x:.1f} {y + tip:.1f}L{x + 5.5:.1f} {y - tip * 0.7:.1f}H{x - 5.5:.1f}Z" '
            f'style="fill: {colour}; stroke: none"/>'
        )
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" style="fill: {GROUND}; stroke: {colour}; stroke-width: 1.6"/>'


def axis(low: float, high: float) -> tuple[float, float, list[float]]:
    """Ends of an axis a little wider than from `low` to `high`, and round ticks between them."""
    span = (high - low) or 1.0
    low, high = low - 0.04 * span, high + 0.04 * span
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= span / 6)
    ticks = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return low, high, ticks


def tick(value: float, ticks: Sequence[float]) -> str:
    """A tick as text, with as many decimals as tell it from its neighbours."""
    gap = min((abs(b - a) for a, b in pairwise(ticks)), default=1.0)
    places = max(0, min(6, math.ceil(-math.log10(gap)) + (1 if f"{gap:.1e}".startswith("2.5") else 0)))
    return number(float(value), places) if value else "0"
