"""Twins: rows that are the same to the last bit, and pictures that are the same to the eye.

**Exact** duplicates have equal content hashes (64 bits of SHA-256 over the stored bytes).

**Near** duplicates are one picture stored twice: encoded again, made brighter, resized, with a little noise. Both
reduced to at most 64 x 64 pixels, they must agree, channel by channel, in three ways, fixed before any data were seen:

1. The shapes: one explains 95 % of the other's variance, whatever gain and offset (r >= sqrt(.95)).
2. The noise, that is the fine detail (each pixel minus the mean of its 3 x 3 neighbourhood) in the half of the pixels
   that has least of it: r >= 0.5, eight standard deviations from chance in 21 x 21 pixels. Two bright stars have the
   same shape and different skies. In 8-bit pictures there is noise when it spreads by more than 2 levels.
3. The fine detail: 80 % of the variance where the noise is a copy, since an encoder smooths grain away; 95 % where
   there is no noise to compare. Two pairs of trousers have the same outline, not the same seams.

Candidates come from locality-sensitive hashing: 256 signs of random projections (Charikar 2002, STOC, doi
10.1145/509907.509965) of a mean-free 16 x 16 thumbnail on the set's principal components, sorted in 16 random orders
of the bits, each row compared with the 8 next ones. Time grows as n log n, memory by 32 bytes a row. Shifted, turned
and mirrored copies are not looked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from estampa.data.survey import measured
from estampa.progress import SILENT, Progress

SHARED = 0.95  # share of the variance that twins have in common
_NOISE = 0.5  # least correlation of the noise
_DETAIL = 0.8**0.5  # least correlation of the fine detail where the noise is a copy
_QUIET_LEVELS = 2.0  # of 255: a JPEG's own noise
_BITS, _ORDERS, _WINDOW, _KEY_BITS = 256, 16, 8, 64
_HAMMING = 40  # of 256 differing signs, beyond which no pair is looked at: 28 degrees between two thumbnails
_THUMB, _SIDE = 16, 64
_SAMPLE = 4096
_COMPONENTS = 64
_CONFIRM_BYTES = 32 << 20
_FOUND: dict[tuple[str, int], Twins] = {}
_POPCOUNT = np.array([bin(i).count("1") for i in range(1 << 16)], np.uint8)


class Pictures(Protocol):
    """What is asked of a Dataset here, and of several that are looked through together."""

    @property
    def content_sha256(self) -> str:
        """Names the contents."""

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Height, width, channels."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""

    @property
    def hashes(self) -> np.ndarray:
        """(n,) uint64 content hashes."""

    def blocks(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(row numbers, their images), a block at a time."""

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Images of `rows`."""


@dataclass(frozen=True)
class Twins:
    """Pairs of rows, (m, 2) int64 with the smaller row first, and the smaller of their correlations, (m,) float32."""

    pairs: np.ndarray
    correlation: np.ndarray

    def __len__(self) -> int:
        return len(self.pairs)


def exact_duplicates(hashes: np.ndarray) -> list[np.ndarray]:
    """Return the sets of rows with equal hashes, each sorted, two rows or more, by first row."""
    order = np.argsort(hashes, kind="stable")
    edges = np.flatnonzero(np.diff(hashes[order])) + 1
    sizes = np.diff(np.concatenate(([0], edges, [len(order)])))
    starts = np.concatenate(([0], edges))[sizes > 1]
    sets = [order[s : s + k] for s, k in zip(starts, sizes[sizes > 1], strict=True)]
    return sorted(sets, key=lambda rows: int(rows[0]))


def near_duplicates(dataset: Pictures, *, seed: int = 0, progress: Progress = SILENT) -> Twins:
    """Return the near duplicates of a Dataset's images; of exact duplicates only the first row takes part.

    See the top of this file for what counts. Rows without contrast are left out. Memory: 32 bytes a row and a few
    blocks. DatasetError when the file holds a table alone. What was found last is kept: parting a Dataset and checking
    it ask for the same.
    """
    key = (dataset.content_sha256, seed)
    if key not in _FOUND:
        found = _search(dataset, seed, progress)
        _FOUND.clear()
        _FOUND[key] = found
    return _FOUND[key]


def _search(dataset: Pictures, seed: int, progress: Progress) -> Twins:
    _, first = np.unique(dataset.hashes, return_index=True)
    rows = np.sort(first).astype(np.int64)
    projection = _projection(dataset, rows, seed)
    signatures = np.zeros((len(rows), _BITS // 8), np.uint8)
    usable = np.zeros(len(rows), bool)
    at = 0
    progress.start("fingerprints of the pictures", len(rows), "objects")
    for _, images in dataset.blocks(rows):
        thumbs, contrast = thumbnails(images)
        signatures[at : at + len(images)] = projection.sign(thumbs)
        usable[at : at + len(images)] = contrast
        at += len(images)
        progress.advance(len(images))
    progress.finish()
    rows, signatures = rows[usable], signatures[usable]
    return _confirmed(dataset, rows, _candidates(signatures, seed), progress)


@dataclass(frozen=True)
class _Projection:
    mean: np.ndarray  # (d,)
    matrix: np.ndarray  # (d, bits)

    def sign(self, thumbs: np.ndarray) -> np.ndarray:
        """(m, d) -> (m, bits / 8) packed signs."""
        return np.packbits((thumbs - self.mean) @ self.matrix > 0, axis=1)


def _projection(dataset: Pictures, rows: np.ndarray, seed: int) -> _Projection:
    """Random directions among the principal components of a sample, each component scaled to its root deviation.

    The components come from a randomised range finder with two power iterations (Halko et al. 2011, SIAM Review 53,
    217, algorithm 4.4): linear in the thumbnail's size.
    """
    sample = rows[np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(np.int64)]
    thumbs = np.concatenate([thumbnails(images)[0] for _, images in dataset.blocks(sample)])
    mean = thumbs.mean(axis=0)
    centred = thumbs - mean
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(thumbs.shape[1], min(_COMPONENTS, *thumbs.shape))).astype(np.float32)
    for _ in range(3):
        basis, _ = np.linalg.qr(centred.T @ (centred @ basis))
    reduced = centred @ basis
    values, vectors = np.linalg.eigh(reduced.T @ reduced / len(thumbs))
    best = values > 1e-6 * max(float(values.max()), 1e-12)
    axes = basis @ vectors[:, best] * values[best] ** -0.25
    directions = rng.normal(size=(axes.shape[1], _BITS))
    return _Projection(mean.astype(np.float32), (axes @ directions).astype(np.float32))


def shrink(images: np.ndarray, side: int) -> np.ndarray:
    """(n, h, w, c) of any type -> float32 (n, min(h, side), min(w, side), c) area means.

    Float pictures are scaled to a largest value of 1, channel by channel, so that no sum overflows; a pixel that was
    not measured (see survey.py) takes the mean of its picture's channel.
    """
    values: np.ndarray = images.astype(np.float32)
    if images.dtype.kind == "f":
        good = measured(values)
        values = np.where(good, values, 0)
        values /= np.maximum(np.abs(values).max(axis=(1, 2), keepdims=True), 1e-30)
        mean = values.sum(axis=(1, 2), keepdims=True) / np.maximum(good.sum(axis=(1, 2), keepdims=True), 1)
        values = np.where(good, values, mean)
    for axis in (1, 2):
        length = values.shape[axis]
        if length > side:
            edges = np.arange(side) * length // side
            widths = np.diff(np.append(edges, length)).astype(np.float32)
            shape = [1, 1, 1, 1]
            shape[axis] = side
            values = np.add.reduceat(values, edges, axis=axis) / widths.reshape(shape)
    return values


def thumbnails(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean-free thumbnails of unit length, (n, 16 * 16 * c) float32, and which have any contrast, (n,) bool."""
    small = shrink(images, _THUMB)
    small -= small.mean(axis=(1, 2), keepdims=True)
    length = np.sqrt((small**2).sum(axis=(1, 2), keepdims=True))
    small /= np.where(length > 0, length, 1)
    flat = small.reshape(len(small), -1)
    total = np.sqrt((flat**2).sum(axis=1, keepdims=True))
    return flat / np.where(total > 0, total, 1), total[:, 0] > 0


def _candidates(signatures: np.ndarray, seed: int) -> np.ndarray:
    """(m, 2) indices of signatures that stand near each other in one of the sorted orders and differ in few bits."""
    n = len(signatures)
    rng = np.random.default_rng(seed + 1)
    words = signatures.view(np.uint16)
    found = np.zeros(0, np.int64)
    for _ in range(_ORDERS if n > 1 else 0):
        key = np.zeros(n, np.uint64)
        for bit in rng.permutation(_BITS)[:_KEY_BITS].tolist():
            key = (key << np.uint64(1)) | ((signatures[:, bit >> 3] >> (7 - (bit & 7))) & 1)
        order = np.argsort(key, kind="stable")
        new = [found]
        for lag in range(1, min(_WINDOW, n - 1) + 1):
            one, two = order[:-lag], order[lag:]
            for half in (words[:, : _BITS // 32], words):  # most pairs end at the first half of the bits
                near = _hamming(half, one, two) <= _HAMMING
                one, two = one[near], two[near]
            new.append(np.minimum(one, two) * n + np.maximum(one, two))
        found = np.unique(np.concatenate(new))
    return np.stack([found // max(n, 1), found % max(n, 1)], axis=1)


def _hamming(words: np.ndarray, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """(m,) differing bits of rows `one` and `two` of (n, w) uint16 words."""
    count = np.zeros(len(one), np.uint16)
    for w in range(words.shape[1]):
        count += _POPCOUNT[words[one, w] ^ words[two, w]]
    return count


def _confirmed(dataset: Pictures, rows: np.ndarray, candidates: np.ndarray, progress: Progress) -> Twins:
    """The candidates that agree in the three ways; one pass in order of the first row."""
    kept, strength = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.float32)]
    progress.start("candidates for near duplicates", len(candidates), "pairs")
    for pairs in _batches(rows[candidates], dataset):
        named, place = np.unique(pairs, return_inverse=True)
        place = place.reshape(pairs.shape)
        small = shrink(dataset.take(named), _SIDE)
        score = agreement(small[place[:, 0]], small[place[:, 1]], eight_bit=dataset.dtype == np.uint8)
        kept.append(pairs[score > 0])
        strength.append(score[score > 0])
        progress.advance(len(pairs))
    progress.finish()
    return Twins(np.concatenate(kept), np.concatenate(strength))


def _batches(pairs: np.ndarray, dataset: Pictures) -> Iterator[np.ndarray]:
    assert dataset.shape is not None
    height, width, channels = dataset.shape
    one = 4 * channels * (height * width + 6 * min(height, _SIDE) * min(width, _SIDE))
    step = max(1, _CONFIRM_BYTES // (2 * one))
    for start in range(0, len(pairs), step):
        yield pairs[start : start + step]


def agreement(one: np.ndarray, two: np.ndarray, *, eight_bit: bool) -> np.ndarray:
    """Return how alike two stacks of pictures (m, h, w, c) float32 are: the smallest correlation, 0 when not twins.

    `eight_bit`: values are levels 0..255, so that their quiet parts may hold an encoder's noise.
    """
    least = float(np.sqrt(SHARED))
    floor = _QUIET_LEVELS if eight_bit else 0.0
    result = np.zeros(len(one), np.float32)
    score = _correlation(one, two)
    alive = np.flatnonzero((score >= least).all(axis=1))  # most pairs end here, before the dearer comparisons
    one, two = one[alive], two[alive]
    fine_one, fine_two = _detail(one), _detail(two)
    shape, fine = score[alive], _correlation(fine_one, fine_two)
    strength = np.maximum(np.abs(fine_one), np.abs(fine_two))
    quiet = strength <= np.median(strength, axis=(1, 2), keepdims=True) if len(alive) else strength > 0
    noise = _correlation(fine_one, fine_two, weight=quiet, floor=floor)
    copied = (noise >= _NOISE) & (fine >= _DETAIL)
    good = np.where(np.isnan(noise), fine >= least, copied).all(axis=1)
    result[alive[good]] = np.minimum(shape, fine)[good].min(axis=1)
    return result


def _detail(values: np.ndarray) -> np.ndarray:
    """Each pixel minus the mean of its 3 x 3 neighbourhood, edges repeated."""
    around = np.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows = around[:, :-2] + around[:, 1:-1] + around[:, 2:]
    return np.asarray(values - (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / np.float32(9))


def _correlation(
    one: np.ndarray, two: np.ndarray, *, weight: np.ndarray | None = None, floor: float | None = None
) -> np.ndarray:
    """(m, c) Pearson correlation over the pixels (of `weight`).

    Two channels without any spread agree (1); one with and one without do not (0). With a `floor`, the answer is NaN
    where one of the two spreads no more than that: there is nothing to compare.
    """
    where = np.ones(one.shape, np.float32) if weight is None else weight.astype(np.float32)
    count = np.maximum(where.sum(axis=(1, 2)), 1)
    sums, flat = [], []
    for values in (one, two):
        mean = (values * where).sum(axis=(1, 2)) / count
        sums.append((values - mean[:, None, None, :]) * where)
        spread = np.sqrt((sums[-1] ** 2).sum(axis=(1, 2)) / count)
        rounding = 1e-5 * np.abs(values).max(axis=(1, 2), initial=0)
        flat.append(spread <= np.maximum(floor or 0.0, rounding))
    lengths = np.sqrt((sums[0] ** 2).sum(axis=(1, 2)) * (sums[1] ** 2).sum(axis=(1, 2)))
    r = np.minimum((sums[0] * sums[1]).sum(axis=(1, 2)) / np.maximum(lengths, 1e-30), 1.0)
    if floor is not None:
        return np.where(flat[0] | flat[1], np.nan, r)
    return np.where(flat[0] & flat[1], 1.0, np.where(flat[0] | flat[1], 0.0, r))
