"""What an exploration shows of the pixels, gathered in one pass over the file: mean pictures and thumbnails.

Memory grows with the number of clusters and thumbnails, not with the number of objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from estampa import page
from estampa.data.dataset import Dataset
from estampa.errors import DatasetError
from estampa.pixels import crop_centre
from estampa.progress import SILENT, Progress

_BLOCK = 64  # pictures at a time


@dataclass(frozen=True)
class Gathered:
    """Mean pictures and thumbnails.

    Attributes
    ----------
    means : name -> (k, h, w, c) float32: the mean picture of each cluster's members; NaN where no member has the pixel.
    thumbs : (m, th, tw, 3) uint8, one for each place that was asked for.
    """

    means: dict[str, np.ndarray]
    thumbs: np.ndarray


def central(images: np.ndarray, crop: int) -> np.ndarray:
    """The central square of pictures (m, h, w, c), a view; 0 = the whole pictures."""
    if not crop:
        return images
    return np.moveaxis(crop_centre(np.moveaxis(images, 0, 2), (crop, crop)), 2, 0)


def pictures(dataset: Dataset, rows: Sequence[int] | np.ndarray, crop: int) -> list[np.ndarray]:
    """The pictures of some rows, each (h, w, c) of the stored type."""
    return [central(dataset.take(np.array([row])), crop)[0] for row in rows]


def gather(
    dataset: Dataset,
    rows: np.ndarray,
    crop: int,
    labels: Mapping[str, np.ndarray],
    *,
    most: int,
    places: np.ndarray,
    progress: Progress = SILENT,
) -> Gathered:
    """Stream the pictures of `rows` once.

    Parameters
    ----------
    labels : name of a clustering -> (n,) label of each of `rows`, -1 = noise; the first `most` clusters of each have
        their mean picture made.
    places : (m,) indices into `rows`, ascending, whose thumbnails are wanted.
    """
    if dataset.shape is None:
        raise DatasetError("holds a table and no images", where=dataset.path)
    height, width, channels = (crop, crop, dataset.shape[2]) if crop else dataset.shape
    size = height * width * channels
    counts = {name: min(most, int(found.max(initial=-1)) + 1) for name, found in labels.items()}
    total = sum(counts.values())
    sums, seen = np.zeros((total, size)), np.zeros((total, size) if dataset.dtype.kind == "f" else (total, 1))
    wanted = set(places.tolist())
    thumbs: list[np.ndarray] = []
    progress.start("mean pictures and thumbnails", len(rows), "rows")
    for start in range(0, len(rows), _BLOCK):
        block = central(dataset.take(rows[start : start + _BLOCK]), crop)
        flat = block.reshape(len(block), size).astype(np.float32)
        member = np.concatenate(
            [found[start : start + _BLOCK] == np.arange(counts[name])[:, None] for name, found in labels.items()]
            or [np.zeros((0, len(block)), bool)]
        ).astype(np.float32)
        if dataset.dtype.kind == "f":
            finite = np.isfinite(flat)
            seen += member @ finite.astype(np.float32)
            flat[~finite] = 0
        else:
            seen += member.sum(axis=1, keepdims=True)
        sums += member @ flat
        here = [place - start for place in range(start, start + len(block)) if place in wanted]
        thumbs += [page.thumbnail(block[i], dataset.header.channels) for i in here]
        progress.advance(len(block))
    progress.finish()
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (sums / seen).astype(np.float32).reshape(total, height, width, channels)
    ends = np.cumsum([0, *counts.values()])
    parted = {name: means[ends[i] : ends[i + 1]] for i, name in enumerate(counts)}
    return Gathered(parted, np.stack(thumbs) if thumbs else np.zeros((0, 1, 1, 3), np.uint8))


def members(
    x: np.ndarray, labels: np.ndarray, centres: np.ndarray, near: int, far: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each cluster the places of its `near` members nearest to the centre and its `far` farthest ones.

    A cluster of few members has fewer; no member stands in both.
    """
    found = []
    for k, centre in enumerate(centres):
        mine = np.flatnonzero(labels == k)
        order = mine[np.argsort(((x[mine] - centre) ** 2).sum(axis=1), kind="stable")]
        nearest = order[:near]
        found.append((nearest, order[len(nearest) :][::-1][:far]))
    return found
