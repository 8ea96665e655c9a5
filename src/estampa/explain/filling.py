"""What stands in the place of hidden pixels: something neutral, which says nothing of any class."""

from __future__ import annotations

import numpy as np

from estampa.bundle.store import Bundle
from estampa.data.summary import STATISTICS
from estampa.errors import InputError

MEDIAN, AROUND = "median", "around"
FILLS = (MEDIAN, AROUND)


def typical(bundle: Bundle) -> np.ndarray:
    """(c,) float32: median over the validation part (the training part where there was none) of each picture's median.

    From the statistics that the bundle keeps of these pictures; missing pixels have no say, nor has a picture in a
    channel that it lacks. NaN, missing, in a channel that every picture lacks. Of photographs it is a middling colour,
    of stamps the sky, where the mean would be brighter than any sky.
    """
    kept = bundle.tensors("reference")["describe"]
    channels = kept.reshape(len(kept), bundle.pictures.shape[2], len(STATISTICS))
    medians, missing = (channels[:, :, STATISTICS.index(name)] for name in ("median", "missing"))
    known = [own[lost < 1] for own, lost in zip(medians.T, missing.T, strict=True)]
    return np.array([np.median(own) if len(own) else np.nan for own in known], np.float32)


def own_mean(images: np.ndarray) -> np.ndarray:
    """(n, 1, 1, c) float32: mean of the finite pixels of each picture and channel, NaN where none is finite."""
    finite = np.isfinite(images)
    total = np.where(finite, images, 0).sum(axis=(1, 2), keepdims=True, dtype=np.float64)
    count = finite.sum(axis=(1, 2), keepdims=True)
    mean: np.ndarray = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
    return mean


def surface(values: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Replace hidden pixels by a smooth surface through those around them.

    Pull-push interpolation (Gortler et al. 1996, The Lumigraph, SIGGRAPH, section 3.4): known pixels are averaged over
    squares of 2, 4, 8 ... pixels until a square knows something, and what it knows is carried back with bilinear
    weights. It has no edges of its own, and knows nothing of what was hidden.

    Parameters
    ----------
    values : (n, h, w, c) float32; pixels that are not finite are not known.
    hidden : (n, h, w) bool.

    Returns
    -------
    (n, h, w, c) float32: `values` with the hidden pixels replaced; where all measured pixels of a channel are hidden,
    they become 0. Missing pixels that are not hidden stay missing, and so does a channel that has no measured pixel.
    """
    measured = np.isfinite(values)
    known = measured & ~hidden[..., None]
    weight = known.astype(np.float32)
    filled = _pulled(np.where(known, values, np.float32(0)), weight)
    return np.where(hidden[..., None] & measured.any(axis=(1, 2), keepdims=True), filled, values)


def _pulled(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """One level of pull-push: what is known here, completed by what the next coarser level knows."""
    height, width = values.shape[1:3]
    if (height == 1 and width == 1) or weight.all():
        return values
    margin = [(0, 0), (0, height % 2), (0, width % 2), (0, 0)]
    total = _squares(np.pad(weight, margin))
    mean = _squares(np.pad(values * weight, margin)) / np.maximum(total, np.float32(1e-12))
    coarse = _pulled(mean, np.minimum(total, np.float32(1)))
    fine = _twice(_twice(coarse, 1), 2)[:, :height, :width]
    completed: np.ndarray = weight * values + (1 - weight) * fine
    return completed


def _squares(values: np.ndarray) -> np.ndarray:
    """Sums over squares of 2 x 2."""
    summed: np.ndarray = values[:, ::2] + values[:, 1::2]
    across: np.ndarray = summed[:, :, ::2] + summed[:, :, 1::2]
    return across


def _twice(values: np.ndarray, axis: int) -> np.ndarray:
    """Twice as many samples along an axis, bilinear: each lies a quarter of a step from its old one."""
    moved = np.moveaxis(values, axis, 0)
    before, after = np.concatenate([moved[:1], moved[:-1]]), np.concatenate([moved[1:], moved[-1:]])
    out = np.empty((2 * len(moved), *moved.shape[1:]), np.float32)
    out[0::2], out[1::2] = 0.75 * moved + 0.25 * before, 0.75 * moved + 0.25 * after
    return np.moveaxis(out, 0, axis)


def stored(values: np.ndarray, dtype: np.dtype | str) -> np.ndarray:
    """Float values as pixels of the stored type: whole numbers are rounded and kept within the type's range."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return values.astype(kind, copy=False)
    limits = np.iinfo(kind)
    rounded: np.ndarray = np.clip(np.rint(np.nan_to_num(values)), limits.min, limits.max).astype(kind)
    return rounded


def constant(fill: object, shape: tuple[int, ...]) -> np.ndarray:
    """A number, (c,) numbers or an array as the (h, w, c) float32 pixels that stand in place of hidden ones."""
    try:
        pixels = np.broadcast_to(np.asarray(fill, np.float32), shape)
    except (ValueError, TypeError) as error:
        raise InputError(
            "cannot stand in the place of hidden pixels", where="fill", got=repr(fill)[:60],
            allowed=f"{', '.join(FILLS)}, a number, one number a channel, or an array of {shape}",
        ) from error  # fmt: skip
    return pixels
