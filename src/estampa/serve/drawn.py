"""What was drawn on a page's canvas, as pixels that a model of drawings takes."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import numpy as np

from estampa.bundle.contract import InputContract
from estampa.bundle.presets import Presets
from estampa.serve.problems import Problem

_EXTREME = 0.1  #: of the range: a pixel this close to an end of it is ink or paper
_SHARE = 0.8  #: of the pixels of a set of drawings are one or the other ...
_PAPER = 0.55  #: ... and so many of them are paper
_EDGE = 0.8  #: of the outermost pixels are paper too
_CANVAS = 336  #: CSS pixels of the canvas's longer side, about
_LARGEST = 64  #: pixels of a side: larger pictures are hardly pen drawings


@dataclass(frozen=True)
class Canvas:
    """A canvas for a set of drawings: the model's width and height, its own, how thick the pen is, in its own pixels.

    `dark`: ink is brighter than paper, as on a blackboard. `low`, `high`: stored values of paper and of ink.
    """

    width: int
    height: int
    canvas_width: int
    canvas_height: int
    pen: float
    dark: bool
    low: float
    high: float
    whole: bool  #: a pixel is ink or paper, nothing between

    def pixels(self, text: str, contract: InputContract) -> np.ndarray:
        """(1, h, w, 1) stored pixels of what the page sent: base64 of (h, w) bytes, 255 = ink. Raises Problem."""
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Problem("unreadable", "The drawing is not base64.") from error
        if len(data) != self.width * self.height:
            raise Problem("contract", f"The drawing must be {self.width} x {self.height} bytes; {len(data)} came.")
        ink = np.frombuffer(data, np.uint8).reshape(1, self.height, self.width, 1) / 255.0
        if not ink.any():
            raise Problem("unreadable", "The canvas is empty.")
        if self.whole:
            ink = (ink >= 0.5).astype(np.float64)
        values = self.low + (self.high - self.low) * ink
        stored = np.rint(values) if np.dtype(contract.dtype).kind == "u" else values
        return np.asarray(stored.astype(contract.dtype))


def canvas_of(contract: InputContract, presets: Presets | None) -> Canvas | None:
    """A canvas, where the model's pictures are like drawings: one channel, small, nearly all ink or paper."""
    height, width, channels = contract.shape
    if channels != 1 or max(height, width) > _LARGEST or min(height, width) < 8:
        return None
    if presets is None or presets.images is None or not len(presets):
        return None
    images = presets.images[..., 0].astype(np.float64)
    least, most = contract.range.minimum[0], contract.range.maximum[0]
    if not np.isfinite(images).all() or most <= least:
        return None
    share = (images - least) / (most - least)
    dim, bright = share <= _EXTREME, share >= 1 - _EXTREME
    dark = bool(dim.mean() >= bright.mean())  # most of a drawing is paper
    paper = dim if dark else bright
    edge = np.concatenate([paper[:, 0], paper[:, -1], paper[:, :, 0], paper[:, :, -1]], axis=1)
    if (dim | bright).mean() < _SHARE or paper.mean() < _PAPER or edge.mean() < _EDGE:
        return None
    zoom = max(1, round(_CANVAS / max(height, width)))
    low, high = (least, most) if dark else (most, least)
    whole = bool(np.isin(images, (least, most)).all())
    return Canvas(
        width, height, zoom * width, zoom * height, round(zoom * max(1.5, max(height, width) / 16), 1), dark, low, high,
        whole,
    )  # fmt: skip
