"""Sections in, one self-contained HTML file out: no network, light and dark, on screen and on paper.

A page has no script, but for those of a `Scatter` and of `Choices` (scripts.py): inline, and allowed by hash alone.
"""

from __future__ import annotations

import base64
import datetime
import functools
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from estampa.errors import InputError
from estampa.page import display, scatter, scripts, svg
from estampa.page.blocks import (
    Code,
    Details,
    Downloads,
    Facts,
    Figure,
    Figures,
    Headline,
    Note,
    Picture,
    Pictures,
    Section,
    Text,
)
from estampa.page.choose import Choices, ChosenBar
from estampa.page.scatter import Scatter
from estampa.page.table import Table, cell_texts, is_number, number

_ROOT = Path(__file__).parent
_SIDE = 112  # CSS pixels that a picture is enlarged to, about
_STEPS = (1, 2, 5)
_KNOWN = (
    *(Text, Headline, Figure, Figures, Table, Pictures, Facts, Note, Code, Downloads, Details, Scatter),
    *(Choices, ChosenBar),
)


def render(title: str, lead: str, sections: Sequence[Section], *, made_by: Mapping[str, Any]) -> str:
    """Return the whole page as HTML text.

    Parameters
    ----------
    title : str
        What the page is about.
    lead : str
        The answer in one sentence, with its interval.
    sections : sequence of Section
        The evidence, in order; their ids are the page's links and must differ.
    made_by : mapping
        How it was made, shown last: command, versions, hashes. The key "command" is shown as code.
    """
    ids = [section.id for section in sections]
    for name in ids:
        if not name or ids.count(name) > 1 or not all(c.isalnum() or c in "-_" for c in name) or name == "made":
            raise InputError(
                "a section's id must be a word of its own",
                where="page.render",
                allowed="letters, digits, - and _",
                got=repr(name),
            )
    environment = _environment()
    script = scripts.script_of(sections)
    return environment.get_template("page.html.j2").render(
        title=title,
        lead=lead,
        sections=sections,
        facts_block=Facts({k: v for k, v in made_by.items() if k != "command"}),
        command=made_by.get("command", ""),
        css=(_ROOT / "page.css").read_text(encoding="utf-8"),
        show=_Shower(),
        script=script,
        script_hash=scripts.script_hash(script),
        date=datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d"),
    )


def fragment(*blocks: Any) -> str:
    """Return blocks as HTML without the page around them: for `_repr_html_` in a notebook."""
    template = _environment().get_template("fragment.html.j2")
    return template.render(shown=blocks, show=_Shower(), css=(_ROOT / "fragment.css").read_text(encoding="utf-8"))


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_ROOT),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


class _Shower:
    """What the template asks about a block; counts figures so that their ids differ."""

    def __init__(self) -> None:
        self._count = itertools.count(1)
        self._grid: Pictures | Choices | None = None  # the grid whose stretch was worked out last
        self._stretch = ""

    def kind(self, block: Any) -> str:
        """Name of the block's macro."""
        for known in _KNOWN:
            if isinstance(block, known):
                return known.__name__.lower()
        raise InputError("not a block of a page", where="page.render", got=type(block).__name__)

    def svg(self, figure: Figure) -> str | None:
        """The figure's SVG made fit for the page, or None for a PNG."""
        if isinstance(figure.content, bytes):
            return None
        return svg.embed(figure.content, f"f{next(self._count)}-", figure.alt or figure.caption)

    def png(self, figure: Figure) -> str:
        """The figure's PNG as a data URI."""
        assert isinstance(figure.content, bytes)
        return "data:image/png;base64," + base64.b64encode(figure.content).decode()

    def map(self, block: Scatter) -> dict[str, Any]:
        """What a map is drawn from: its first colouring, and the data that its script reads."""
        return {
            "entries": scatter.entries(block, block.colourings[0]), "data": scatter.data(block),
            "dot": scatter.size_of(len(block.ids)), "count": number(len(block.ids)),
            "width": scatter.WIDTH, "height": scatter.HEIGHT,
        }  # fmt: skip

    def downloads(self, block: Downloads) -> list[tuple[str, str]]:
        """(file name, data URI) of each file."""
        found = []
        for name, kind, text in block.items:
            found.append((name, f"data:{kind};charset=utf-8;base64,{base64.b64encode(text.encode()).decode()}"))
        return found

    def headline(self, block: Headline) -> list[tuple[str, str, str, str]]:
        """(label, value, interval, note) as text."""
        shown = []
        for label, value, note in block.items:
            text, interval = cell_texts(value, block.decimals)
            shown.append((label, text, interval, note))
        return shown

    def lines(self, value: Any) -> list[str]:
        """Lines of a fact's value."""
        if isinstance(value, Mapping):
            return [f"{k} {self.lines(v)[0] if self.lines(v) else ''}".strip() for k, v in value.items()]
        if isinstance(value, (list, tuple)):
            return [str(v) for v in value]
        return [number(value) if is_number(value) else str(value)]

    def tiles(self, item: Picture, grid: Pictures | Choices) -> list[dict[str, Any]]:
        """One entry per picture side by side: its URI, its size on the page, its channel, its scale bar."""
        shown = display.picture(item.image, grid.channels, self._used(grid), side=grid.side)
        tiles: list[dict[str, Any]] = []
        for one in shown:
            factor = max(1, round(_SIDE / max(one.width, one.height)))
            tile = {"uri": one.uri, "width": one.width * factor, "height": one.height * factor, "name": one.name}
            natural = np.asarray(item.image).shape[1]  # the scale is the same in every channel: one bar is enough
            bar = {} if tiles else _scale_bar(grid, one.width * factor / natural, one.width * factor)
            tiles.append(tile | bar)
        for name, pixels in item.beside:  # made for people already: at the size of the first tile, not stretched
            one = display.picture(pixels, stretch="stored", colour=True, side=grid.side)[0]
            tiles.append({"uri": one.uri, "width": tiles[0]["width"], "height": tiles[0]["height"], "name": name})
        return tiles

    def thumbnail(self, item: Picture) -> dict[str, Any]:
        """A picture inside a table's cell: its first tile at half the size."""
        one = display.picture(item.image)[0]
        factor = max(1, round(_SIDE / 2 / max(one.width, one.height)))
        return {"uri": one.uri, "width": one.width * factor, "height": one.height * factor, "label": item.label}

    def _used(self, grid: Pictures | Choices) -> str:
        """The stretch of all pictures of a grid, so that they can be compared."""
        if self._grid is not grid:
            self._grid = grid
            self._stretch = display.stretch_name([np.asarray(item.image) for item in grid.items], grid.stretch)
        return self._stretch

    def stretch(self, grid: Pictures | Choices) -> str:
        """The sentence that names the stretch."""
        if not grid.items:
            return ""
        kind = np.asarray(grid.items[0].image).dtype
        words = display.stretch_words(self._used(grid))
        if kind.kind == "f" and any(not (np.abs(item.image) < 1e30).all() for item in grid.items):
            words += " Missing pixels are purple."
        return words


def _scale_bar(grid: Pictures | Choices, zoom: float, width: int) -> dict[str, Any]:
    """A bar of a round length, at most half the picture's width: {} when the pixel scale is not known."""
    if not grid.pixel_scale or grid.pixel_scale <= 0:
        return {}
    per_unit = zoom / grid.pixel_scale  # CSS pixels in one unit
    lengths = [step * 10.0**power for power in range(-4, 6) for step in _STEPS]
    fitting = [length for length in lengths if length * per_unit <= width / 2]
    if not fitting:
        return {}
    return {"bar": f"{fitting[-1] * per_unit:.1f}", "bar_text": f"{fitting[-1]:g}{grid.scale_unit}"}
