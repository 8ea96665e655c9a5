"""A map over its picture, as pixels for people: legible on light and on dark pictures, for any colour vision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from estampa.page import OKABE_ITO
from estampa.page.display import tiles

_SIDE = 224  #: pixels: smaller pictures are enlarged to about this, so that outlines stay thin
_LARGEST = 256
_FOR, _AGAINST = OKABE_ITO[1], OKABE_ITO[0]  #: orange and blue: told apart by lightness alone, too
_DARKEST, _LIGHTEST = 0.12, 0.80  #: range of the grey picture below: neither ink nor paper hides the colours
_STRONGEST = 0.78  #: opacity of the strongest colour
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # Rec. ITU-R BT.601


def overlay(
    image: np.ndarray, importance: np.ndarray, scale: float, *, channels: Sequence[str] = (),
    spot: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """The picture in grey, what speaks for the answer in orange, what speaks against it in blue: (H, W, 3) uint8.

    Parameters
    ----------
    image : (h, w, c) as stored; its channels are averaged after being stretched as `page.picture` does.
    importance : (h, w) map.
    scale : the absolute value that gets the full colour.
    spot : (h, w) bool, outlined by a white line within a black one.
    """
    shown = [np.atleast_3d(pixels).astype(np.float64) / 255 for _, pixels in tiles(image, channels)]
    grey = np.mean([t @ _LUMINANCE if t.shape[2] == 3 else t[..., 0] for t in shown], axis=0)
    side = max(grey.shape)
    factor = max(1, round(_SIDE / side)) if side <= _LARGEST else _LARGEST / side
    size = (round(grey.shape[1] * factor), round(grey.shape[0] * factor))
    how = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BOX
    grey = _sized(_DARKEST + (_LIGHTEST - _DARKEST) * grey, size, how)
    strength = np.clip(_sized(np.nan_to_num(importance) / (scale or 1.0), size, how), -1, 1)
    tint = np.where((strength > 0)[..., None], _rgb(_FOR), _rgb(_AGAINST))
    opacity = _STRONGEST * np.abs(strength)[..., None]
    mixed = grey[..., None] * (1 - opacity) + tint * opacity
    if spot is not None and spot.any():
        inside = _sized(spot.astype(np.float32), size, Image.Resampling.NEAREST) > 0.5
        width = max(1, round(min(size) / 112))
        edge = inside & ~_shrunk(inside, width)
        mixed[_grown(inside, width) & ~inside] = 0.0
        mixed[edge] = 1.0
    shown_over: np.ndarray = np.rint(255 * mixed).astype(np.uint8)
    return shown_over


def _sized(values: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, how), np.float64)


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def _grown(mask: np.ndarray, width: int) -> np.ndarray:
    """The mask and all pixels within `width` rows or columns of it."""
    height, across = mask.shape
    padded = np.pad(mask, width)
    grown = np.zeros_like(mask)
    for y in range(2 * width + 1):
        for x in range(2 * width + 1):
            grown |= padded[y : y + height, x : x + across]
    return grown


def _shrunk(mask: np.ndarray, width: int) -> np.ndarray:
    return ~_grown(~mask, width)


def lined(pixels: np.ndarray, down: Sequence[int], across: Sequence[int], shape: tuple[int, ...]) -> np.ndarray:
    """Regions drawn as lines, black beside white, over an overlay of a picture of `shape`; `down`, `across`: their
    borders in the picture's pixels.
    """
    drawn = pixels.copy()
    for axis, borders in ((0, down), (1, across)):
        view = np.moveaxis(drawn, axis, 0)
        for border in list(borders)[1:-1]:
            at = round(border * len(view) / shape[axis])
            view[at - 1], view[at] = 0, 255
    return drawn
