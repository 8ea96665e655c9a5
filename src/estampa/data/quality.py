"""How good a picture is, by published measures, in one pass and flat memory; and which pictures stand out by them.

- **sharpness**: the variance of the Laplacian (Pech-Pacheco et al. 2000, ICPR, 314, doi 10.1109/ICPR.2000.903548; the
  measure LAP4 of Pertuz, Puig & Garcia 2013, Pattern Recognition 46, 1415), divided by the variance of the picture
  itself, so that a picture of low contrast is not taken for a blurred one.
- **entropy**: Shannon's (1948, Bell Syst. Tech. J. 27, 379) of the histogram of grey, in bits: 0 for one colour.
- **colourfulness**: M3 of Hasler & Suesstrunk (2003, Proc. SPIE 5007, 87), of 8-bit colour; 0 for grey.
- **oddness**: the distance of Mahalanobis (1936, Proc. Nat. Inst. Sci. India 2, 49) from the middle of the set, of the
  statistics that `describe()` takes of every picture.

What stands out is told by the modified z-score (Iglewicz & Hoaglin 1993, How to Detect and Handle Outliers): beyond
3.5, of deviations from the median, whose scale is that of the side on which it lies, since most of these measures
have one long tail.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estampa.data.dataset import Dataset
from estampa.data.summary import describe
from estampa.data.summary import names as describe_names
from estampa.data.survey import Survey, measured
from estampa.progress import SILENT, Progress

CUT = 3.5  #: modified z-score beyond which a picture stands out
_BINS = 64  # of the histogram of grey
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_BLOCK_PIXELS = 1 << 20  # of one step: what stays near the processor


@dataclass(frozen=True)
class Quality:
    """Measures of every row of a Dataset, each (n,) float32; see the top of this file."""

    sharpness: np.ndarray  #: NaN for a picture without contrast, or smaller than 3 pixels
    entropy: np.ndarray  #: bits, at most 6
    colourfulness: np.ndarray  #: NaN unless the pictures are 8-bit colour
    oddness: np.ndarray  #: distance from the middle, in deviations
    odd_by: list[str]  #: the statistic in which each row is farthest from the middle


def quality(dataset: Dataset, looked: Survey, progress: Progress = SILENT) -> Quality:
    """Measure every picture; `looked` gives the range of the values."""
    assert dataset.shape is not None
    n, channels = dataset.n, dataset.shape[2]
    colour = channels == 3 and dataset.dtype == np.uint8
    low, high = float(looked.edges[:, 0].min()), float(looked.edges[:, 1].max())
    sharp, entropy, vivid = (np.full(n, np.nan, np.float32) for _ in range(3))
    described = np.zeros((n, len(describe_names(channels))), np.float32)
    step = max(1, _BLOCK_PIXELS // (dataset.shape[0] * dataset.shape[1]))
    progress.start("sharpness, entropy and colours", n, "objects")
    for rows, images in dataset.blocks():
        for start in range(0, len(images), step):
            some, at = images[start : start + step], rows[start : start + step]
            grey = _grey(some, colour)
            sharp[at] = sharpness(grey)
            entropy[at] = entropy_of(grey, low, high)
            vivid[at] = colourfulness(some) if colour else np.nan
            described[at] = describe(some)
        progress.advance(len(rows))
    progress.finish()
    away, by = oddness(described, _names(dataset))
    return Quality(sharp, entropy, vivid, away, by)


def _names(dataset: Dataset) -> list[str]:
    assert dataset.shape is not None
    return describe_names(dataset.header.channels or dataset.shape[2])


def _grey(images: np.ndarray, colour: bool) -> np.ndarray:
    """(m, h, w, c) of any type -> (m, h, w) float32; what was not measured takes the mean of its picture."""
    values: np.ndarray = images.astype(np.float32)
    if images.dtype.kind == "f":
        good = measured(values)
        if not good.all():
            values = np.where(good, values, 0)
            mean = values.sum((1, 2), keepdims=True) / np.maximum(good.sum((1, 2), keepdims=True), 1)
            values = np.where(good, values, mean)
    if images.shape[3] == 1:
        return values[..., 0]
    return np.asarray(values @ _LUMA) if colour else values.mean(axis=3)


def sharpness(grey: np.ndarray) -> np.ndarray:
    """Variance of the Laplacian over the variance, of (m, h, w) float32: (m,), NaN without contrast."""
    if min(grey.shape[1:]) < 3:
        return np.full(len(grey), np.nan, np.float32)
    inner = grey[:, 1:-1, 1:-1]
    fine = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * inner
    whole = grey.var(axis=(1, 2), dtype=np.float64)
    flat = whole <= 1e-8 * np.maximum(np.abs(grey).max(axis=(1, 2)), 1e-30).astype(np.float64) ** 2
    ratio = fine.var(axis=(1, 2), dtype=np.float64) / np.where(flat, 1, whole)
    return np.where(flat, np.nan, ratio).astype(np.float32)


def entropy_of(grey: np.ndarray, low: float, high: float) -> np.ndarray:
    """Bits of the histogram of (m, h, w) in 64 bins from `low` to `high`: (m,) float32."""
    m = len(grey)
    scale = _BINS / (high - low) if high > low else 0.0
    bins = ((grey.reshape(m, -1) - low) * scale).clip(0, _BINS - 1).astype(np.int32)
    place = (bins + np.arange(m, dtype=np.int32)[:, None] * _BINS).ravel()
    shares = np.bincount(place, minlength=m * _BINS).reshape(m, _BINS) / bins.shape[1]
    return np.asarray(-(shares * np.log2(np.maximum(shares, 1e-12))).sum(axis=1), np.float32)


def colourfulness(images: np.ndarray) -> np.ndarray:
    """M3 of Hasler & Suesstrunk 2003, of (m, h, w, 3) uint8: (m,) float32; 0 grey, 15 slightly, 109 extremely."""
    red, green, blue = (images[..., c].astype(np.float32) for c in range(3))
    one, two = red - green, (red + green) / 2 - blue
    spread = np.hypot(one.std(axis=(1, 2)), two.std(axis=(1, 2)))
    shift = np.hypot(one.mean(axis=(1, 2)), two.mean(axis=(1, 2)))
    return np.asarray(spread + 0.3 * shift, np.float32)


def oddness(described: np.ndarray, names: list[str]) -> tuple[np.ndarray, list[str]]:
    """Distance (n,) of each row of (n, f) from the middle, and the name of the column that is farthest.

    Columns are centred on their medians and scaled by their median absolute deviations, cut at 10, then turned to
    their principal components, of which those that hold noise only are left out.
    """
    values = np.sign(described) * np.log1p(np.abs(described)).astype(np.float64)
    centred = values - np.median(values, axis=0)
    scale = 1.4826 * np.median(np.abs(centred), axis=0)
    scale = np.where(scale > 0, scale, centred.std(axis=0))
    scaled = np.clip(centred / np.where(scale > 0, scale, 1), -10, 10)
    weights, axes = np.linalg.eigh(scaled.T @ scaled / max(1, len(scaled)))
    good = weights > 1e-2 * max(float(weights.max(initial=0)), 1e-12)
    away = np.sqrt(((scaled @ axes[:, good]) ** 2 / weights[good]).sum(axis=1))
    farthest = np.abs(scaled).argmax(axis=1) if len(names) else np.zeros(len(scaled), int)
    return away.astype(np.float32), [names[c] for c in farthest.tolist()]


def standing_out(values: np.ndarray, side: str, cut: float = CUT) -> np.ndarray:
    """Rows of `values` (n,) whose modified z-score on one side ("low" or "high") is beyond `cut`, the farthest first.

    NaN never stands out. Where half of the values are one, the mean absolute deviation takes the median's place.
    """
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 10:
        return np.zeros(0, np.int64)
    away = (values[known] - np.median(values[known])).astype(np.float64) * (-1 if side == "low" else 1)
    mine = away[away >= 0]
    middle = float(np.median(mine))
    scale = 1.4826 * middle if middle > 0 else 1.2533 * float(mine.mean())
    if scale <= 1e-9 * max(1.0, float(np.abs(values[known]).max())):
        return np.zeros(0, np.int64)
    score = away / scale
    far = np.flatnonzero(score > cut)
    return known[far[np.argsort(-score[far], kind="stable")]].astype(np.int64)
