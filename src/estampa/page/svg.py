"""SVG inside a page: colours that follow the screen, ids that do not clash. And a histogram without matplotlib."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from estampa.page.style import GREY, GROUND, LINE, OKABE_ITO, QUIET, TEXT
from estampa.page.table import number

_THEMED = {TEXT: "text", QUIET: "quiet", LINE: "line", GROUND: "ground", GREY: "grey"} | {
    colour.lower(): f"series-{i + 1}" for i, colour in enumerate(OKABE_ITO)
}
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_PROLOGUE = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", re.DOTALL)
_SIZE = re.compile(r'(<svg\b[^>]*?)\s+width="([\d.]+)pt"([^>]*>)', re.DOTALL)
_POINT = 96 / 72  # CSS pixels in a point


def embed(svg: str, prefix: str, alt: str = "") -> str:
    """Return an SVG file's text made fit for an HTML page.

    The ink and palette colours of `style.py` become CSS variables with themselves as fallback, so that they follow a
    dark screen; every id gets `prefix`, so that two figures cannot take each other's clip paths; `alt` becomes the
    accessible name.
    """
    svg = _PROLOGUE.sub("", svg).strip()
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}\1)", svg)

    def themed(match: re.Match[str]) -> str:
        name = _THEMED.get(match.group().lower())
        return f"var(--{name}, {match.group()})" if name else match.group()

    # Only inside style attributes: var() is not understood in presentation attributes such as fill="...".
    svg = re.sub(r'style="[^"]*"', lambda m: _COLOUR.sub(themed, m.group()), svg)
    found = _SIZE.search(svg)
    if found:
        pixels = float(found.group(2)) * _POINT
        svg = _SIZE.sub(rf'\1 style="width:{pixels:.0f}px"\3', svg, count=1)
        svg = re.sub(r'(<svg\b[^>]*?)\s+height="[\d.]+pt"', r"\1", svg, count=1)
    return re.sub(r"<svg\b", f'<svg role="img" aria-label="{escape(alt, quote=True)}"', svg, count=1)


def histogram(
    counts: Sequence[float], low: float, high: float, *, unit: str = "", width: int = 320, height: int = 120
) -> str:
    """Return the SVG of a histogram with `counts` in equal bins from `low` to `high`, the ends and the top named.

    Bars are scaled by the square root of the count when the largest bin holds more than fifty times the median bin,
    and the axis says so: else a sky of one value hides everything.
    """
    values = [float(c) for c in counts]
    positive = sorted(v for v in values if v > 0)
    rooted = bool(positive) and positive[-1] > 50 * positive[len(positive) // 2]
    heights = [v**0.5 if rooted else v for v in values]
    top = max(heights, default=0.0) or 1.0
    left, bottom, above = 4, 20, 18
    step = (width - 2 * left) / max(len(values), 1)
    room = height - bottom - above
    bars = "".join(
        f'<rect x="{left + i * step:.2f}" y="{above + room * (1 - h / top):.2f}" width="{max(step - 0.6, 0.4):.2f}" '
        f'height="{room * h / top:.2f}"/>'
        for i, h in enumerate(heights)
        if h > 0
    )
    style = f'style="fill: {TEXT}; font-size: 11px"'
    quiet = f'style="fill: {QUIET}; font-size: 11px"'
    label = f"{number(int(max(values, default=0)))} in the fullest bin" + (", root scale" if rooted else "")
    base = above + room
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * 0.75}pt" height="{height * 0.75}pt" '
        f'viewBox="0 0 {width} {height}"><g style="fill: {OKABE_ITO[0]}">{bars}</g>'
        f'<path d="M{left} {base + 0.5}H{width - left}" style="stroke: {QUIET}; fill: none"/>'
        f'<text x="{left}" y="11" {quiet}>{escape(label)}</text>'
        f'<text x="{left}" y="{height - 5}" {style}>{escape(_short(low))}</text>'
        f'<text x="{width / 2}" y="{height - 5}" text-anchor="middle" {quiet}>{escape(unit)}</text>'
        f'<text x="{width - left}" y="{height - 5}" text-anchor="end" {style}>{escape(_short(high))}</text></svg>'
    )


def _short(value: float) -> str:
    return number(int(value)) if float(value).is_integer() and abs(value) < 1e6 else f"{value:.4g}"
