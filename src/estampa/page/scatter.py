"""A map of many objects: points in the plane, coloured in several ways, linked to their pictures and ids.

Drawn as inline SVG, so that it is seen without script, printed, and follows the screen's colours. One inline script
(scatter.js, allowed by its hash) adds what needs a hand: hovering, clicking, a lasso, a list of ids saved as CSV.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa.errors import InputError
from estampa.page.choose import script_json
from estampa.page.sprites import sheets

WIDTH, HEIGHT = 860, 600  # units of the drawing
_MARGIN = 18
_COLOURS, _SHAPES = 8, ("round", "square", "dash")  # the palette, then the palette again in another shape
#: Categories that can be told apart; further ones are grey.
MOST = _COLOURS * len(_SHAPES)


@dataclass(frozen=True)
class Colouring:
    """One way to colour the points.

    Parameters
    ----------
    name : what the colours say: "class", "K-means cluster".
    codes : (n,) whole numbers, index into `names`; -1 = none of them (drawn small and grey, first).
    names : name of each code.
    none : what -1 means: "noise", "no label".
    numbered : write each name at the median of its points.
    """

    name: str
    codes: np.ndarray
    names: Sequence[str]
    none: str = "none"
    numbered: bool = False


@dataclass(frozen=True)
class Scatter:
    """Points that one can look behind.

    Parameters
    ----------
    points : (n, 2) finite numbers; both axes are stretched to fill the drawing.
    ids : name of each point.
    colourings : at least one; the first is shown first, the reader chooses.
    pictures : (m, h, w, 3) uint8 thumbnails, all of one size (`page.thumbnail`); None = no pictures.
    picture_of : (n,) row in `pictures` of each point, -1 = none.
    caption : how to read it, and what to notice.
    axes : what runs to the right and what upwards; empty where the axes mean nothing by themselves.
    file : name of the CSV file that a selection is saved as.
    """

    points: np.ndarray
    ids: Sequence[str]
    colourings: Sequence[Colouring]
    pictures: np.ndarray | None = None
    picture_of: np.ndarray | None = None
    caption: str = ""
    axes: tuple[str, str] = ("", "")
    file: str = "selected.csv"

    def __post_init__(self) -> None:
        points = np.asarray(self.points)
        n = len(self.ids)
        if points.shape != (n, 2) or not np.isfinite(points).all():
            raise InputError("not a map", where="Scatter", allowed=f"{n} finite points of 2 numbers", got=points.shape)
        if not self.colourings:
            raise InputError("needs a colouring", where="Scatter")
        for way in self.colourings:
            codes = np.asarray(way.codes)
            if codes.shape != (n,) or (n and not (codes.min() >= -1 and codes.max() < len(way.names))):
                raise InputError(
                    "codes do not fit", where=f"Scatter, colouring {way.name!r}",
                    allowed=f"{n} numbers from -1 to {len(way.names) - 1}", got=f"{codes.shape} up to {codes.max()}",
                )  # fmt: skip
        of = self.picture_of
        if (self.pictures is None) != (of is None) or (of is not None and np.shape(of) != (n,)):
            raise InputError("pictures and picture_of belong together", where="Scatter", allowed=f"({n},) picture_of")

    def placed(self) -> np.ndarray:
        """(n, 2) int64: tenths of a unit of the drawing; the second axis grows downwards."""
        points = np.asarray(self.points, np.float64)
        if not len(points):
            return np.zeros((0, 2), np.int64)
        low, high = points.min(axis=0), points.max(axis=0)
        share = np.where(high > low, (points - low) / np.where(high > low, high - low, 1.0), 0.5)
        share[:, 1] = 1 - share[:, 1]
        room = np.array([WIDTH, HEIGHT]) - 2 * _MARGIN
        placed: np.ndarray = np.rint(10 * (_MARGIN + share * room)).astype(np.int64)
        return placed


@dataclass(frozen=True)
class _Entry:
    """A category ready to be drawn."""

    code: int
    name: str
    kind: str  # CSS classes
    count: int
    path: str  # d of an SVG path: one stroke of no length a point
    x: str = ""
    y: str = ""  # where its name is written


def kind_of(code: int) -> str:
    """CSS classes of a category's mark: palette colour and shape."""
    if not 0 <= code < MOST:
        return "none"
    return f"c{code % _COLOURS + 1} {_SHAPES[code // _COLOURS]}"


def entries(block: Scatter, way: Colouring) -> list[_Entry]:
    """The categories of a colouring that have points, those without a name first (they are drawn below)."""
    placed, codes = block.placed(), np.asarray(way.codes)
    found = []
    for code in [-1, *range(len(way.names))]:
        mine = placed[codes == code]
        if not len(mine):
            continue
        path = "".join(f"M{_tenths(x)} {_tenths(y)}h0" for x, y in mine.tolist())
        middle = np.median(mine, axis=0) / 10
        x, y = (f"{middle[0]:.1f}", f"{middle[1]:.1f}") if way.numbered and code >= 0 else ("", "")
        found.append(_Entry(code, way.names[code] if code >= 0 else way.none, kind_of(code), len(mine), path, x, y))
    return found


def data(block: Scatter) -> str:
    """What the script reads, as JSON that can stand inside a <script> element."""
    record: dict[str, Any] = {
        "points": block.placed().reshape(-1).tolist(),
        "ids": [str(name) for name in block.ids],
        "ways": [
            {
                "name": way.name, "codes": np.asarray(way.codes).tolist(), "names": list(map(str, way.names)),
                "none": way.none, "kinds": [kind_of(c) for c in range(len(way.names))], "numbered": way.numbered,
            }
            for way in block.colourings
        ],
        "file": block.file,
    }  # fmt: skip
    if block.pictures is not None and block.picture_of is not None and len(block.pictures):
        laid = sheets(np.asarray(block.pictures, np.uint8))
        record["sheets"] = {
            "uris": laid.uris, "width": laid.width, "height": laid.height, "columns": laid.columns, "rows": laid.rows,
            "of": np.asarray(block.picture_of).tolist(),
        }  # fmt: skip
    return script_json(record)


def size_of(count: int) -> int:
    """Width of a dot in screen pixels: smaller where there are many."""
    return 8 if count <= 400 else 6 if count <= 2_000 else 5 if count <= 6_000 else 4


def _tenths(value: int) -> str:
    return f"{value // 10}.{value % 10}" if value % 10 else str(value // 10)
