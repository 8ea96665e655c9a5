"""One pass over the pixels: what is missing, what is constant, how values spread; in flat memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estampa.data.dataset import Dataset
from estampa.progress import SILENT, Progress

BINS = 64
#: Finite values beyond this are no measurements: surveys write the largest float32 where a pixel is missing.
FILL = 1e30
_SAMPLE = 2048  # objects whose values go into the histograms


@dataclass(frozen=True)
class Survey:
    """What one pass over the images found. Rows are row numbers; arrays over channels are (c,)."""

    missing: np.ndarray  #: rows with NaN or infinite pixels
    missing_pixels: int
    filled: np.ndarray  #: rows with finite values beyond FILL, in the place of missing ones
    empty: np.ndarray  #: rows without one measured pixel
    constant: np.ndarray  #: rows whose measured pixels are all equal in each channel
    flat: np.ndarray  #: (n, c) bool: which channel of which object has one value only, or none
    low: np.ndarray  #: smallest measured value (finite, within FILL)
    high: np.ndarray  #: largest measured value
    mean: np.ndarray  #: mean of the measured values
    histograms: np.ndarray  #: (c, BINS) counts of measured values between `edges`, of evenly spaced objects
    edges: np.ndarray  #: (c, 2) the ends of the histograms
    sampled: int  #: objects in the histograms


def survey(dataset: Dataset, progress: Progress = SILENT) -> Survey:
    """Look at every pixel once, and at evenly spaced objects twice."""
    assert dataset.shape is not None
    channels = dataset.shape[2]
    missing, filled, empty = (np.zeros(dataset.n, bool) for _ in range(3))
    flat = np.zeros((dataset.n, channels), bool)
    low, high = np.full(channels, np.inf), np.full(channels, -np.inf)
    total, count, missing_pixels = np.zeros(channels), np.zeros(channels), 0
    progress.start("pixels looked at", dataset.n, "objects")
    for rows, images in dataset.blocks():
        floats = images.dtype.kind == "f"
        good = measured(images) if floats else None
        if good is not None and not good.all():
            finite = np.isfinite(images)
            missing[rows] = ~finite.all(axis=(1, 2, 3))
            missing_pixels += int((~finite).sum())
            filled[rows] = (finite & ~good).any(axis=(1, 2, 3))
            bottom = np.where(good, images, np.inf).min(axis=(1, 2))
            top = np.where(good, images, -np.inf).max(axis=(1, 2))
            total += np.where(good, images, 0).sum(axis=(0, 1, 2), dtype=np.float64)
            count += good.sum(axis=(0, 1, 2))
        else:
            bottom, top = images.min(axis=(1, 2)), images.max(axis=(1, 2))
            total += images.sum(axis=(0, 1, 2), dtype=np.float64)
            count += images[..., 0].size
        flat[rows] = bottom >= top  # inf >= -inf where nothing was measured
        empty[rows] = (bottom > top).all(axis=1)
        low, high = np.minimum(low, bottom.min(axis=0)), np.maximum(high, top.max(axis=0))
        progress.advance(len(rows))
    progress.finish()
    mean = np.divide(total, count, out=np.full(channels, np.nan), where=count > 0)
    edges = _edges(dataset, low, high)
    histograms, sampled = _histograms(dataset, edges)
    return Survey(
        np.flatnonzero(missing), missing_pixels, np.flatnonzero(filled), np.flatnonzero(empty),
        np.flatnonzero(flat.all(axis=1) & ~empty), flat, low, high, mean, histograms,
        edges, sampled,
    )  # fmt: skip


def measured(values: np.ndarray) -> np.ndarray:
    """Which values are measurements: finite and within FILL. Same shape, bool."""
    return np.asarray(np.abs(values) <= FILL)  # False for NaN and infinity


def _sample(dataset: Dataset) -> np.ndarray:
    return np.unique(np.linspace(0, dataset.n - 1, min(_SAMPLE, dataset.n)).astype(np.int64))


def _edges(dataset: Dataset, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(c, 2) ends of the histograms: 0 and the largest value of 8-bit pictures, else the middle 99.8 % of a sample."""
    if dataset.dtype == np.uint8:
        return np.tile([0.0, max(float(high.max()), 1.0) + 1.0], (len(low), 1))
    sample = _sample(dataset)
    values = dataset.take(sample[:: max(1, len(sample) // 64)]).astype(np.float64)
    edges = np.zeros((len(low), 2))
    for c in range(len(low)):
        finite = values[..., c][measured(values[..., c])]
        edges[c] = np.percentile(finite, [0.1, 99.9]) if len(finite) else (0.0, 1.0)
        if edges[c, 0] >= edges[c, 1]:
            edges[c] = (low[c], high[c]) if low[c] < high[c] else (edges[c, 0] - 0.5, edges[c, 0] + 0.5)
    return edges


def _histograms(dataset: Dataset, edges: np.ndarray) -> tuple[np.ndarray, int]:
    """(c, BINS) counts; values beyond the ends are counted in the end bins."""
    sample = _sample(dataset)
    counts = np.zeros((len(edges), BINS), np.int64)
    for _, images in dataset.blocks(sample):
        for c, (start, end) in enumerate(edges):
            values = images[..., c]
            values = values[measured(values)] if values.dtype.kind == "f" else values.ravel()
            bins = ((values.astype(np.float64) - start) * (BINS / (end - start))).clip(0, BINS - 1).astype(np.int64)
            counts[c] += np.bincount(bins, minlength=BINS)
    return counts, len(sample)
