"""A matplotlib figure as SVG, whose text stays text, and as PNG at twice the screen's resolution."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

from estampa.page import style

SCREEN_DPI = 96


class Drawn(NamedTuple):
    """A figure in both forms; unpacks as (svg, png)."""

    svg: str
    png: bytes


def figure(fig: Any) -> Drawn:
    """Return a figure as SVG text (transparent, no date) and as PNG bytes (white ground, 192 dots per inch).

    The figure should have been drawn inside `style.apply()` or `style.drawing()`. The same figure gives the same bytes.
    """
    with style.apply():
        vector, raster = io.StringIO(), io.BytesIO()
        fig.savefig(vector, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        fig.savefig(raster, format="png", dpi=2 * SCREEN_DPI, facecolor="white", metadata={"Software": None})
    return Drawn(vector.getvalue(), raster.getvalue())
