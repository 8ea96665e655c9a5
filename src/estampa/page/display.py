"""Pixels for people: any array becomes a small PNG inside the page, by a stretch that is named.

This is the edge of the river: nothing here is ever fed to a model.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from estampa.errors import InputError

STRETCHES = ("auto", "stored", "full", "percentile", "asinh")
#: 8-bit pictures with fewer grey levels than this (ink of 0 and 1, counts up to 16) are shown over their full range.
FEW_LEVELS = 64
#: Percentiles that become black and white; half a percent on each side keeps a hot pixel from blackening the rest.
LOW, HIGH = 0.5, 99.5
#: Softening of the asinh stretch: values above a tenth of the range are compressed (Lupton et al. 2004, PASP 116, 133).
SOFTENING = 0.1
NAN_COLOUR = (204, 121, 167)  # the palette's purple: a missing pixel is neither dark nor bright
_COLOUR_NAMES = (("r", "g", "b"), ("red", "green", "blue"))
_FILL = 1e30  # no measurement: surveys write the largest float32 where a pixel is missing
_QUALITY = 85  # of a JPEG
_LARGEST = 256  # pixels: larger pictures are reduced for the page


@dataclass(frozen=True)
class Shown:
    """One channel, or one colour picture, ready for an <img>."""

    uri: str
    width: int
    height: int
    name: str = ""
    reduced: bool = False


def picture(
    image: np.ndarray,
    channels: Sequence[str] = (),
    stretch: str = "auto",
    *,
    colour: bool | None = None,
    side: int | None = None,
) -> list[Shown]:
    """Return the picture's data URIs: one for grey or colour, else one per channel, in order, with its name.

    Parameters
    ----------
    image : array
        (height, width) or (height, width, channels), any number type.
    channels : sequence of str
        Channel names in order; three called R, G, B make a colour picture.
    stretch : str
        "stored" shows 8-bit values as they are; "percentile" maps the 0.5 and 99.5 percentiles of the finite
        values of each channel to black and white; "asinh" does that and then compresses with asinh(x / 0.1), so that
        faint structure is seen beside bright cores; "full" maps 0 to black and the largest value to white; "auto" is
        "stored" for uint8 ("full" when all values are below 64) and "asinh" else. A colour picture
        keeps one scale for its three channels.
    colour : bool or None
        Whether three channels are one colour picture; None = by their names, or 8-bit without names.
    side : int or None
        A larger picture is reduced to so many pixels and written as JPEG; None = to 256 pixels, as PNG.
    """
    return [_encoded(pixels, name, side) for name, pixels in tiles(image, channels, stretch, colour=colour)]


def tiles(
    image: np.ndarray, channels: Sequence[str] = (), stretch: str = "auto", *, colour: bool | None = None
) -> list[tuple[str, np.ndarray]]:
    """Return (channel's name, uint8 pixels (h, w) or (h, w, 3)) of what `picture` shows, at full size."""
    pixels = np.asarray(image)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise InputError(
            "not a picture", where="page.picture", allowed="(height, width[, channels])", got=str(np.shape(image))
        )
    used = stretch_name([pixels], stretch)
    if colour is None:
        colour = is_colour(pixels.shape[2], pixels.dtype, channels)
    if colour:
        return [("", _stretched(pixels, used))]
    names = list(channels) if len(channels) == pixels.shape[2] else [""] * pixels.shape[2]
    if pixels.shape[2] == 1:
        names = [""]
    return [(names[c], _stretched(pixels[:, :, c : c + 1], used)) for c in range(pixels.shape[2])]


def is_colour(count: int, dtype: np.dtype, channels: Sequence[str]) -> bool:
    """Whether `count` channels of these names are one colour picture."""
    if count != 3:
        return False
    named = tuple(name.lower() for name in channels)
    return named in _COLOUR_NAMES or (not any(named) and dtype == np.uint8)


def stretch_name(images: Sequence[np.ndarray], stretch: str) -> str:
    """Resolve "auto" for pictures shown together; refuse a stretch that is unknown or does not fit their type."""
    if stretch not in STRETCHES:
        raise InputError(f"unknown stretch {stretch!r}", where="page.picture", allowed=", ".join(STRETCHES))
    dtype = np.asarray(images[0]).dtype
    if stretch == "auto":
        if dtype != np.uint8:
            return "asinh"
        return "full" if max(int(np.max(i)) for i in images) < FEW_LEVELS else "stored"
    if stretch == "stored" and dtype != np.uint8:
        raise InputError("only 8-bit values can be shown as stored", where="page.picture", got=str(dtype))
    return stretch


def stretch_words(used: str) -> str:
    """Say the stretch in a caption."""
    if used == "stored":
        return "Values as stored."
    if used == "full":
        return "Each picture runs from 0 (black) to its largest value (white)."
    between = f"between its {LOW} and {HIGH} percentiles"
    if used == "percentile":
        return f"Each picture and channel is stretched linearly {between}."
    return f"Each picture and channel is stretched by asinh {between}."


def _stretched(pixels: np.ndarray, used: str) -> np.ndarray:
    """(h, w, 1 or 3) of any type -> uint8 (h, w) or (h, w, 3); missing pixels in their own colour."""
    if used == "stored":
        return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    values = pixels.astype(np.float64)
    finite = np.abs(values) < _FILL  # False for NaN, infinity, and what stands in their place
    low, high = np.percentile(values[finite], [LOW, HIGH]) if finite.any() else (0.0, 1.0)
    if used == "full":
        low, high = 0.0, float(values[finite].max(initial=0.0))
    if high <= low:  # nearly constant: the whole range, so that the few other pixels are seen
        low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 1.0)
    share = np.clip((np.where(finite, values, low) - low) / ((high - low) or 1.0), 0.0, 1.0)
    if used == "asinh":
        share = np.arcsinh(share / SOFTENING) / np.arcsinh(1.0 / SOFTENING)
    grey = np.rint(share * 255.0).astype(np.uint8)
    missing = ~finite.all(axis=2)
    if missing.any():
        grey = np.repeat(grey, 3, axis=2) if grey.shape[2] == 1 else grey
        grey[missing] = NAN_COLOUR
    return grey[:, :, 0] if grey.shape[2] == 1 else grey


def _encoded(pixels: np.ndarray, name: str, side: int | None) -> Shown:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    largest = side or _LARGEST
    reduced = max(picture.size) > largest
    if reduced:
        picture.thumbnail((largest, largest), Image.Resampling.BOX)
    stream = io.BytesIO()
    kind = "jpeg" if side and reduced else "png"
    picture.save(stream, kind, optimize=True, **({"quality": _QUALITY} if kind == "jpeg" else {}))
    uri = f"data:image/{kind};base64," + base64.b64encode(stream.getvalue()).decode()
    return Shown(uri, picture.width, picture.height, name, reduced)
