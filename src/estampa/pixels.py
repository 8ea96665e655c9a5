"""Pixels in, pixels out: resize, pad, crop, colour modes, orientation and stretches. No files.

Arrays are (height, width, channels), row 0 at the top of a picture. What is not said to change the dtype keeps it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from estampa.errors import InputError, nearest

Array = NDArray[Any]

#: How a picture of another shape is brought to the asked one.
FITS = ("stretch", "pad", "crop")
#: Resize filters. `area` averages what a new pixel covers when it shrinks an axis, and is bilinear when it enlarges it.
RESAMPLES = ("area", "nearest", "bilinear", "bicubic", "lanczos")
#: Colour modes of pictures and their number of channels.
MODES = {"L": 1, "RGB": 3}
#: Stretches from measured values to 0..1, for people to look at.
STRETCHES = ("linear", "asinh", "zscale", "percentile")
#: dtypes that a Dataset stores.
DTYPES = ("uint8", "uint16", "float32")

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def choice(value: str, allowed: tuple[str, ...], what: str) -> str:
    """Return `value` when it is one of `allowed`; raises InputError, naming the nearest, when it is not."""
    if value not in allowed:
        raise InputError(f"unknown {what} {value!r}", allowed=", ".join(allowed), cure=nearest(value, allowed))
    return value


def resize(
    image: Array, size: tuple[int, int], fit: str = "stretch", resample: str = "area", fill: float | None = None
) -> Array:
    """Bring `image` to `size`.

    Parameters
    ----------
    image : (h, w, c), uint8, uint16 or float32. NaN spreads to every new pixel that covers it.
    size : (height, width) asked for.
    fit : `stretch` changes the aspect; `pad` keeps it and fills the rest; `crop` keeps it and cuts the rest.
    resample : one of RESAMPLES.
    fill : value of the padding; None = the median of the picture's border, per channel (paper stays paper, sky sky).

    Returns
    -------
    (height, width, c) of the same dtype. Integers are rounded to the nearest.

    Raises InputError for an unknown fit or filter, or a size below 1.
    """
    choice(fit, FITS, "fit")
    choice(resample, RESAMPLES, "resize filter")
    height, width = size
    if height < 1 or width < 1:
        raise InputError(f"a size of {height}x{width} holds no pixel", allowed="at least 1x1")
    if image.shape[:2] == (height, width):
        return image
    if fit == "stretch":
        return _resample(image, (height, width), resample)
    ratio_y, ratio_x = height / image.shape[0], width / image.shape[1]
    ratio = min(ratio_y, ratio_x) if fit == "pad" else max(ratio_y, ratio_x)
    # max/min with the asked size: rounding must not leave a line uncovered, nor one too many.
    limit = min if fit == "pad" else max
    inner = (
        max(1, limit(height, round(image.shape[0] * ratio))),
        max(1, limit(width, round(image.shape[1] * ratio))),
    )
    scaled = _resample(image, inner, resample)
    return crop_centre(scaled, size) if fit == "crop" else pad_centre(scaled, size, fill)


def _resample(image: Array, size: tuple[int, int], resample: str) -> Array:
    """Resize without regard to aspect, an axis at a time where the rule differs between the axes."""
    height, width = size
    if resample != "area":
        return _pillow(image, size, _FILTERS[resample])
    shrinks = (height <= image.shape[0], width <= image.shape[1])
    if shrinks[0] == shrinks[1]:
        return _pillow(image, size, Image.Resampling.BOX if shrinks[0] else Image.Resampling.BILINEAR)
    first = (height, image.shape[1]) if shrinks[0] else (image.shape[0], width)
    return _pillow(_pillow(image, first, Image.Resampling.BOX), size, Image.Resampling.BILINEAR)


def _pillow(image: Array, size: tuple[int, int], how: Image.Resampling) -> Array:
    """Resize with Pillow: colour bytes in one go, everything else a plane at a time (alpha would be multiplied in)."""
    target = (size[1], size[0])
    if image.dtype == np.uint8 and image.shape[2] == 3:
        return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(target, how))
    out = np.empty((*size, image.shape[2]), image.dtype)
    for channel in range(image.shape[2]):
        plane = np.ascontiguousarray(image[:, :, channel])
        if image.dtype == np.uint16:
            wide = np.asarray(Image.fromarray(plane.astype(np.float32)).resize(target, how))
            out[:, :, channel] = np.clip(np.rint(wide), 0, 65535)
        else:
            out[:, :, channel] = np.asarray(Image.fromarray(plane).resize(target, how))
    return out


def crop_centre(image: Array, size: tuple[int, int]) -> Array:
    """Cut the central `size` (height, width) out of (h, w, c); an odd remainder leaves the extra line at the end.

    Raises InputError when the image is smaller than `size`.
    """
    height, width = size
    if image.shape[0] < height or image.shape[1] < width:
        raise InputError(
            "the crop is larger than the image",
            allowed=f"at most {image.shape[0]}x{image.shape[1]}",
            got=f"{height}x{width}",
        )
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def pad_centre(image: Array, size: tuple[int, int], fill: float | None = None) -> Array:
    """Put (h, w, c) in the middle of `size` (height, width); None fills with the median of the image's border."""
    height, width = size
    if fill is None:
        border = np.concatenate((image[0], image[-1], image[:, 0], image[:, -1]))
        value = np.median(border, axis=0)
    else:
        value = np.full(image.shape[2], fill, np.float64)
    out = np.empty((height, width, image.shape[2]), image.dtype)
    out[:] = value.astype(image.dtype)
    top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
    out[top : top + image.shape[0], left : left + image.shape[1]] = image
    return out


def to_channels(image: Array, mode: str) -> Array:
    """Bring a picture to a colour mode.

    Parameters
    ----------
    image : (h, w) grey, or (h, w, c) with c = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; uint8, uint16 or
        float32. Alpha is composited on white.
    mode : "L" (one channel, luma of ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B) or "RGB" (three).

    Returns
    -------
    (h, w, 1) or (h, w, 3) of the same dtype.
    """
    choice(mode, tuple(MODES), "colour mode")
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 2, 3, 4):
        raise InputError("not a picture", allowed="(h, w) or (h, w, 1..4)", got=str(image.shape))
    if image.shape[2] in (2, 4):
        image = on_white(image)
    if image.shape[2] == MODES[mode]:
        return image
    if mode == "RGB":
        return np.repeat(image, 3, axis=2)
    luma = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return _back(luma, image.dtype)[:, :, None]


def on_white(image: Array) -> Array:
    """Composite (h, w, 2) grey + alpha or (h, w, 4) RGB + alpha on white; returns (h, w, 1) or (h, w, 3), same dtype.

    White and full opacity are 255, 65535 or 1.0 by dtype.
    """
    top = {"uint8": 255.0, "uint16": 65535.0}.get(image.dtype.name, 1.0)
    alpha = image[:, :, -1:].astype(np.float32) / top
    return _back(image[:, :, :-1] * alpha + top * (1 - alpha), image.dtype)


def _back(values: Array, dtype: np.dtype[Any]) -> Array:
    """Return float values as `dtype`, rounded and kept in range."""
    if dtype.kind != "u":
        return values.astype(dtype)
    return np.clip(np.rint(values), 0, np.iinfo(dtype).max).astype(dtype)


def orient(image: Array, orientation: int) -> Array:
    """Turn (h, w, ...) upright by its EXIF orientation, 1 to 8 (EXIF 2.32, tag 0x0112); others change nothing."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image


def limits(image: Array, kind: str = "percentile", percent: tuple[float, float] = (0.5, 99.5)) -> tuple[float, float]:
    """Lowest and highest value to show, from the finite pixels of `image` (any shape).

    `linear`: the extremes. `percentile` and `asinh`: the two percentiles `percent`. `zscale`: IRAF's rule, see
    `zscale_limits`. An image without a finite pixel gives (0, 1); a constant one (v, v + 1).
    """
    choice(kind, STRETCHES, "stretch")
    finite = image[np.isfinite(image)] if image.dtype.kind == "f" else image.ravel()
    if finite.size == 0:
        return 0.0, 1.0
    if kind == "zscale":
        low, high = zscale_limits(finite)
    elif kind == "linear":
        low, high = float(finite.min()), float(finite.max())
    else:
        low, high = (float(v) for v in np.percentile(finite, percent))
    return (low, high) if high > low else (low, low + 1.0)


def zscale_limits(values: Array, contrast: float = 0.25, samples: int = 1000) -> tuple[float, float]:
    """Display range by IRAF's zscale: a line fitted, with rejection, to the sorted sample around its median.

    Source: IRAF images/tv/display/zscale.x (D. Tody, National Optical Astronomy Observatories): 2.5 sigma rejection,
    at most 5 rounds, rejected pixels grow by their neighbours, the full range when more than half are rejected.

    Parameters
    ----------
    values : finite values, any shape.
    contrast : divides the slope of the fitted line; 0.25 widens the range fourfold.
    samples : about how many values are looked at, evenly spaced.
    """
    flat = values.ravel()
    sample = np.sort(flat[:: max(1, flat.size // samples)].astype(np.float64))
    n = sample.size
    low, high, median = float(sample[0]), float(sample[-1]), float(np.median(sample))
    x = np.arange(n, dtype=np.float64)
    good = np.ones(n, bool)
    slope = intercept = 0.0
    least = max(5, n // 2)
    for _ in range(5):
        if good.sum() < least:
            break
        slope, intercept = np.polyfit(x[good], sample[good], 1) if good.sum() > 1 else (0.0, median)
        residual = sample - (slope * x + intercept)
        bad = np.abs(residual) > 2.5 * residual[good].std()
        grow = max(1, int(n * 0.01))
        grown = np.convolve(bad, np.ones(grow), mode="same") > 0
        if not (good & grown).any():
            break
        good &= ~grown
    if good.sum() < least:
        return low, high
    wide = slope / contrast if contrast > 0 else slope
    centre = (n - 1) // 2
    return max(low, median - centre * wide), min(high, median + (n - 1 - centre) * wide)


def stretch(
    image: Array, kind: str = "percentile", low: float | None = None, high: float | None = None, softening: float = 0.1
) -> NDArray[np.float32]:
    """Map measured values to 0..1 for display.

    Parameters
    ----------
    image : any shape, any dtype. NaN stays NaN; what lies outside the range is clipped.
    kind : one of STRETCHES. `asinh` is arcsinh(x / a) / arcsinh(1 / a) on the 0..1 range (Lupton et al. 2004, PASP
        116, 133), which keeps faint and bright parts visible.
    low, high : range in the image's units; None = by `limits(image, kind)`.
    softening : a of the asinh, as a share of the range; above 0.

    Returns
    -------
    float32 array of the same shape, within 0..1.
    """
    choice(kind, STRETCHES, "stretch")
    if low is None or high is None:
        found = limits(image, kind)
        low, high = found[0] if low is None else low, found[1] if high is None else high
    if not high > low:
        raise InputError("the range is empty", where="stretch", allowed="high above low", got=f"{low} to {high}")
    if not softening > 0:
        raise InputError("softening out of range", where="stretch", allowed="above 0", got=str(softening))
    scaled = np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)
    if kind == "asinh":
        scaled = np.arcsinh(scaled / softening) / np.arcsinh(1 / softening)
    return scaled.astype(np.float32)


def to_bytes(values: Array, missing: int = 0) -> NDArray[np.uint8]:
    """Turn 0..1 into 0..255 for display; NaN becomes `missing`. Same shape."""
    scaled = np.rint(np.clip(np.nan_to_num(values.astype(np.float64), nan=-1.0), -1, 1) * 255)
    return np.where(scaled < 0, missing, scaled).astype(np.uint8)


def lossless(array: Array, where: str = "array") -> Array:
    """Bring an array to a dtype that a Dataset stores, by the rule of `storable`; a copy only when it must change.

    Raises InputError for values that no stored dtype holds; for float64, when a finite value lies beyond float32.
    """
    target = storable(array.dtype, lambda: extremes(array), where)
    if array.dtype == target:
        return array
    with np.errstate(over="ignore"):
        converted = array.astype(target)
    if array.dtype.kind == "f" and (np.isinf(converted) & ~np.isinf(array)).any():
        raise InputError("values beyond the range of float32", where=where)
    return converted


def storable(dtype: np.dtype[Any], range_of: Callable[[], tuple[float, float]], where: str = "array") -> np.dtype[Any]:
    """Choose the dtype that values are stored in.

    The rule: uint8, uint16 and float32 stay. bool becomes uint8. Other integers become uint8 when all lie in 0..255,
    else uint16 when all lie in 0..65535, else float32 when none is beyond 2^24, up to which float32 holds every whole
    number. float16 becomes float32; float64 becomes float32 too, the one conversion that rounds (to 24 bits).

    Parameters
    ----------
    dtype : what the values are now.
    range_of : gives their lowest and highest finite value; called for integers only, since it may read a whole file.
    where : named in the InputError that is raised for other kinds of values.
    """
    native = dtype.newbyteorder("=")
    if native.name in DTYPES:
        return native
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f" and dtype.itemsize <= 8:
        return np.dtype(np.float32)
    if dtype.kind not in "iu":
        raise InputError(
            f"holds values of type {dtype}", where=where, allowed="whole numbers or floating point up to 64 bits"
        )
    low, high = range_of()
    for name, top in (("uint8", 255), ("uint16", 65535)):
        if low >= 0 and high <= top:
            return np.dtype(name)
    if max(abs(low), abs(high)) > 1 << 24:
        raise InputError(
            "whole numbers too large to be kept exactly",
            where=where,
            allowed="up to 16,777,216",
            got=f"{low:g} to {high:g}",
            cure="Subtract an offset, or convert to float32 yourself",
        )
    return np.dtype(np.float32)


def extremes(array: Array) -> tuple[float, float]:
    """Lowest and highest finite value of an array of one axis or more, or (0, 0) without one.

    Reads blocks of about 16 MiB, so that an array mapped from disk stays there.
    """
    low, high = np.inf, -np.inf
    step = max(1, (1 << 24) // max(1, array[:1].nbytes))
    for start in range(0, array.shape[0], step):
        block = array[start : start + step]
        if block.dtype.kind == "f":
            block = block[np.isfinite(block)]
        if block.size:
            low, high = min(low, float(block.min())), max(high, float(block.max()))
    return (low, high) if high >= low else (0.0, 0.0)
