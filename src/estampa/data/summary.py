"""describe(): the one per-object statistic that training, prediction, the service's log and monitoring share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: What is said of each channel, in the order of the columns of `describe`.
STATISTICS = (
    "mean",
    "deviation",
    "low",  # 1st percentile
    "median",
    "high",  # 99th percentile
    "missing",  # share of pixels that are NaN or infinite
    "extreme",  # share of pixels that sit at the object's own minimum or maximum, whichever is more
    "gradient",  # mean squared difference between neighbouring pixels
    "centre",  # mean of the central half of the rows and columns
    "edge",  # mean of all other pixels
)
_PERCENTILES = (0.01, 0.5, 0.99)
_BLOCK_PIXELS = 1 << 18  #: of one pass: what stays in the processor's cache
_SMALL = 4096  #: pixels of a channel: up to here all channels go in one pass, as calls cost more than pixels


def names(channels: int | Sequence[str]) -> list[str]:
    """Names of the columns of `describe`: "mean", ... for one channel, "g.mean", ... or "0.mean", ... for several."""
    labels = [str(i) for i in range(channels)] if isinstance(channels, int) else list(channels)
    if len(labels) == 1:
        return list(STATISTICS)
    return [f"{label}.{statistic}" for label in labels for statistic in STATISTICS]


def describe(images: np.ndarray) -> np.ndarray:
    """Ten statistics of each object and channel, see STATISTICS: (n, 10 channels) float32, channel by channel.

    `images` is (n, height, width, channels) of any number type; values are in its units, `gradient` in units squared.
    Missing (NaN or infinite) pixels are left out of every statistic but `missing`; an object without a single finite
    pixel gets zeros and `missing` 1. The result is always finite. Percentiles are the nearest ranks.
    """
    if images.ndim != 4 or images.shape[3] < 1:
        raise ValueError(f"images are (n, height, width, channels), not {images.shape}")
    n, height, width, channels = images.shape
    result = np.zeros((n, channels, len(STATISTICS)), np.float32)
    if height * width == 0:
        return result.reshape(n, channels * len(STATISTICS))
    together = channels if height * width <= _SMALL else 1
    step = max(1, _BLOCK_PIXELS // (height * width * together))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, n, step):
            block = images[start : start + step].transpose(0, 3, 1, 2)
            for channel in range(0, channels, together):
                planes = np.ascontiguousarray(block[:, channel : channel + together]).reshape(-1, height, width)
                found = _describe_planes(planes).reshape(-1, together, len(STATISTICS))
                result[start : start + step, channel : channel + together] = found
    return np.nan_to_num(result.reshape(n, channels * len(STATISTICS)), copy=False)


def _describe_planes(planes: np.ndarray) -> np.ndarray:
    """STATISTICS of (n, height, width) pixels: (n, 10) float32."""
    n = len(planes)
    good: np.ndarray | None = None
    values = planes.astype(np.float32)
    flat = values.reshape(n, -1)  # float32 also where the pixels are integers: the type that numpy sorts fastest
    if planes.dtype.kind == "f":
        good = np.isfinite(values)
        if good.all():
            good = None
        else:
            values = np.where(good, values, np.float32(0))
            flat = np.where(good, planes, np.float32(np.inf)).reshape(n, -1)
    count = np.full(n, flat.shape[1]) if good is None else good.reshape(n, -1).sum(1)
    found = np.maximum(count, 1)
    mean = values.sum((1, 2)) / found
    spread = values - mean[:, None, None].astype(np.float32)
    if good is not None:
        spread *= good
    variance = np.einsum("nij,nij->n", spread, spread) / found
    low, median, high, extreme = _ranks(flat, count)
    centre, edge = _centre_and_edge(values, good)
    missing = 1 - count / flat.shape[1]
    statistics = np.stack(
        [mean, np.sqrt(variance), low, median, high, missing, extreme, _gradient(values, good), centre, edge], axis=1
    )
    statistics[count == 0] = np.eye(len(STATISTICS))[STATISTICS.index("missing")]
    return statistics.astype(np.float32)


def _ranks(flat: np.ndarray, count: np.ndarray) -> list[np.ndarray]:
    """Three percentiles and the share at an extreme, of the first `count` values of each sorted row."""
    ordered = np.sort(flat, axis=1)
    rows, last = np.arange(len(flat)), np.maximum(count - 1, 0)
    ranks = [ordered[rows, np.rint(share * last).astype(np.int64)] for share in _PERCENTILES]
    lowest, highest = ordered[:, :1], ordered[rows, last][:, None]
    most = np.maximum((ordered == lowest).sum(1), (ordered == highest).sum(1))
    return [*ranks, np.minimum(most, count) / np.maximum(count, 1)]


def _gradient(values: np.ndarray, good: np.ndarray | None) -> np.ndarray:
    """Mean squared difference between pixels that touch, (n,)."""
    total = np.zeros(len(values))
    pairs = np.zeros(len(values))
    for one, other in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[:, :, 1:], np.s_[:, :, :-1])):
        step = values[one] - values[other]
        if good is not None:
            both = good[one] & good[other]
            step *= both
            pairs += both.sum((1, 2))
        else:
            pairs += step.shape[1] * step.shape[2]
        total += np.einsum("nij,nij->n", step, step)
    return total / np.maximum(pairs, 1)


def _centre_and_edge(values: np.ndarray, good: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the central half of rows and columns, and of all other pixels: (n,), (n,)."""
    _, height, width = values.shape
    top, left = height // 4, width // 4
    inside = np.s_[:, top : height - top, left : width - left]
    sum_all, sum_inside = values.sum((1, 2)), values[inside].sum((1, 2))
    if good is None:
        n_inside = np.full(len(values), (height - 2 * top) * (width - 2 * left))
        n_all = np.full(len(values), height * width)
    else:
        n_inside, n_all = good[inside].sum((1, 2)), good.sum((1, 2))
    n_edge = n_all - n_inside
    edge = np.where(n_edge > 0, (sum_all - sum_inside) / np.maximum(n_edge, 1), 0)
    return sum_inside / np.maximum(n_inside, 1), edge
