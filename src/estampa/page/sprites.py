"""Many small pictures in few files: thumbnails of one size, laid side by side on sheets.

This is the edge of the river: nothing here is ever fed to a model.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from estampa.page import display

#: Pixels on the longer side of a thumbnail; a multiple of 16, so that neighbours on a JPEG sheet share no block.
SIDE = 64
_LOSSLESS = 32  # pixels: thumbnails up to this side are written without loss
_COLUMNS, _ROWS = 25, 20  # of a sheet
_QUALITY = 80  # of JPEG sheets


@dataclass(frozen=True)
class Sheets:
    """Thumbnails on sheets: picture k stands on sheet k // (columns * rows), row by row.

    `width` and `height` are those of one cell in pixels; `uris` are data URIs.
    """

    uris: list[str]
    width: int
    height: int
    columns: int = _COLUMNS
    rows: int = _ROWS


def thumbnail(image: np.ndarray, channels: Sequence[str] = (), stretch: str = "auto", side: int = SIDE) -> np.ndarray:
    """Return (h, w, 3) uint8, at most `side` on the longer side of one channel; channels stand side by side.

    `image`, `channels`, `stretch` as for `page.picture`. Larger pictures are averaged down, smaller ones stay.
    """
    from PIL import Image

    tiles = []
    for _, pixels in display.tiles(image, channels, stretch):
        picture = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
        if max(picture.size) > side:
            picture.thumbnail((side, side), Image.Resampling.BOX)
        tiles.append(np.asarray(picture))
    return np.concatenate(tiles, axis=1)


def sheets(thumbs: np.ndarray) -> Sheets:
    """Lay thumbnails (m, h, w, 3) uint8 on sheets: PNG up to 32 pixels a side, JPEG above (lossy, quality 80)."""
    from PIL import Image

    _, h, w, _ = thumbs.shape
    lossless = max(h, w) <= _LOSSLESS
    grain = 1 if lossless else 16
    height, width = -(-h // grain) * grain, -(-w // grain) * grain
    uris = []
    for start in range(0, len(thumbs), _COLUMNS * _ROWS):
        some = thumbs[start : start + _COLUMNS * _ROWS]
        rows = -(-len(some) // _COLUMNS)
        sheet = np.zeros((rows, _COLUMNS, height, width, 3), np.uint8)
        cells = sheet.reshape(-1, height, width, 3)
        cells[: len(some)] = np.pad(some, [(0, 0), (0, height - h), (0, width - w), (0, 0)], mode="edge")
        flat = cells.reshape(rows, _COLUMNS, height, width, 3).swapaxes(1, 2)
        picture = Image.fromarray(flat.reshape(rows * height, _COLUMNS * width, 3))
        if (some[..., :1] == some).all():
            picture = picture.convert("L")
        stream = io.BytesIO()
        if lossless:
            picture.save(stream, "PNG", optimize=True)
        else:
            picture.save(stream, "JPEG", quality=_QUALITY, optimize=True)
        kind = "png" if lossless else "jpeg"
        uris.append(f"data:image/{kind};base64," + base64.b64encode(stream.getvalue()).decode())
    return Sheets(uris, width, height)
