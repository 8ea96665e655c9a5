"""Whether pictures are cut-outs of the sky: one object in the middle of a dark ground, any way round.

Surveys and citizen-science projects publish such cut-outs as ordinary colour pictures, wide enough for the largest
object. Most of each is sky: what matters is the square that the objects fill, which is measured here, from the pixels
alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
#: Pictures that are looked at, evenly spread over a set; with fewer than the second number nothing is said.
LOOKED_AT, ENOUGH = 192, 20
#: Pixels a side that a net sees of much larger cut-outs, and how much of them is kept around for turned copies.
NET_SIDE, MARGIN = 80, 1.5
#: Shortest side, in pixels, of what is taken for a cut-out.
SMALLEST = 40
#: Where the median picture's light, along a square round the centre, falls below this share of its peak, objects end.
FAINT = 0.015
_RINGS = 40
_BRIGHT = 0.9  #: share of the pictures whose middle must be brighter than the ground, by
_ABOVE = 5.0  #: so many robust deviations of the ground
_HALFWAY = 0.45  #: most that the profile may be, of its peak, halfway to the edge
_ROUND = 0.6  #: most that the median picture may differ from its own quarter turn, as a share of its light


@dataclass(frozen=True)
class Framing:
    """How objects fill their cut-outs."""

    side: int  #: pixels of the central square that holds them; the median object's light is below FAINT outside
    bright: float  #: share of pictures whose middle is brighter than the ground


def spread(n: int, most: int = LOOKED_AT) -> NDArray[np.int64]:
    """At most `most` row numbers, evenly spread over n."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))


def framing_of(n: int, take: Callable[[Array], Array]) -> Framing | None:
    """The framing of n pictures, of which `take` gives those of some rows; None when they are no such cut-outs."""
    return framing(take(spread(n))) if n >= ENOUGH else None


def framing(images: Array) -> Framing | None:
    """The framing of pictures (m, height, width, c) of integer type, at least ENOUGH; None = no cut-outs of the sky.

    They are when nearly every picture is brighter in the middle than its border, by several deviations of the border;
    when the median picture's light falls off from the centre, to less than half on the way to the edge; and when that
    picture is round: turned by a quarter it is the same. The sky has no up and down; photographs of things have.
    """
    m, height, width = images.shape[:3]
    if m < ENOUGH or height != width or height < SMALLEST or images.dtype.kind != "u":
        return None
    grey = images.mean(axis=3, dtype=np.float32)
    middle = (height - 1) / 2
    away = np.abs(np.arange(height) - middle) / (height / 2)
    ring = np.maximum(away[:, None], away[None, :])  # 0 in the centre, 1 at the edge, along squares
    border = grey[:, ring > 0.85]
    ground = np.median(border, axis=1)
    noise = np.maximum(1.4826 * np.median(np.abs(border - ground[:, None]), axis=1), 1)
    bright = float(np.mean(grey[:, ring < 0.12].mean(axis=1) - ground > _ABOVE * noise))
    light = np.median(grey - ground[:, None, None], axis=0)
    rings = np.minimum((ring * _RINGS).astype(np.int64), _RINGS - 1)
    held = np.bincount(rings.ravel(), minlength=_RINGS)
    profile = np.bincount(rings.ravel(), weights=light.ravel(), minlength=_RINGS)[held > 0] / held[held > 0]
    if bright < _BRIGHT or profile[0] <= 0 or profile[len(profile) // 2] > _HALFWAY * profile[0]:
        return None
    if np.abs(light - np.rot90(light)).sum() > _ROUND * np.abs(light).sum():
        return None
    faint = np.flatnonzero(profile < FAINT * profile[0])
    share = (faint[0] if len(faint) else len(profile)) / len(profile)
    return Framing(side=min(height, max(1, round(share * height))), bright=bright)
