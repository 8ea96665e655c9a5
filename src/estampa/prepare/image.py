"""From stored pixels to a net's input: NaN rule, stretch, scale. Fitted on the training part only.

The rule per channel is `y = (s(x) - offset) * factor`, with `s` the identity or `asinh((x - centre) / softening)`
(Lupton, Gunn & Szalay 1999, AJ 118, 1406, equation 3, with the noise level as softening), and pixels that are not
finite take the value `fill` afterwards. `apply` is the rule in numpy; the net's graph holds the same constants.

Two kinds of channels may follow. `local`: each channel once more, on the scale of its own picture,
`asinh((x - level) / noise)`, for pictures whose backgrounds differ by more than their sources. Level and noise are a
mean and a deviation that give far pixels little weight (see `own_scale`). `mask`: one channel, 1 where a pixel is
missing.

Last come the crop and the size: of the picture so prepared the central square of `crop` pixels is kept, and brought to
`side` pixels by the mean over each new pixel's area. What is stored around the crop is its margin: turned copies in
training take their corners from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estampa.errors import BundleError, DatasetError, InputError

Array = NDArray[Any]

#: Names of the fitted arrays, each (channels,) float64: what `prepare.safetensors` holds.
STATE = ("mean_", "deviation_", "low_", "high_", "median_", "noise_")
#: A sample of at most so many pixels a channel gives medians of float pixels: known to a thousandth of the noise.
SAMPLE = 1 << 18
#: MAD of a normal distribution times this is its standard deviation.
MAD_TO_DEVIATION = 1.4826022185056018
#: Rounds of reweighting, and the distance (deviations) at which a pixel's weight has fallen to a quarter.
ROUNDS, REACH = 6, 2.5


class ImagePreparation:
    """The rule from stored pixels to a net's input, with what it learned from the training part.

    Parameters
    ----------
    nan : "refuse" (a pixel that is not finite is an error), "zero" (0 after scaling) or "median" (of its channel).
    stretch : "linear" or "asinh".
    scale : "raw" (as stored), "unit" (0..1: uint8 by its type, others by the range of the training part) or
        "standard" (mean 0, deviation 1 per channel, after the stretch).
    local : add each channel on its own picture's scale.
    mask : add a channel that is 1 where a pixel of any channel is not finite, else 0.
    crop : side of the central square, in stored pixels, that is kept; 0 = the whole picture.
    side : pixels that the crop (or the whole picture, if square) is brought to; 0 = as it is. Never larger than that.

    Attributes
    ----------
    mean_, deviation_, low_, high_ : (channels,) float64, of the stretched finite pixels within the crop.
    median_, noise_ : (channels,) float64, of the stored pixels; `noise_` is 1.4826 times the median absolute
        deviation, or the standard deviation where that is 0, or 1 for a constant channel.
    """

    def __init__(
        self,
        nan: str = "zero",
        stretch: str = "linear",
        scale: str = "standard",
        *,
        local: bool = False,
        mask: bool = False,
        crop: int = 0,
        side: int = 0,
    ) -> None:
        for value, known, key in (
            (nan, ("refuse", "zero", "median"), "nan"),
            (stretch, ("linear", "asinh"), "stretch"),
            (scale, ("raw", "unit", "standard"), "scale"),
        ):
            if value not in known:
                raise InputError("unknown value", where=f"prepare.{key}", allowed=", ".join(known), got=repr(value))
        self.nan, self.stretch, self.scale, self.local, self.mask = nan, stretch, scale, local, mask
        self.crop, self.side = crop, side
        self.dtype_ = ""

    def shape(self, stored: tuple[int, int, int]) -> tuple[int, int, int]:
        """Height, width, channels that the net is fed for pictures of the shape `stored`.

        Raises DatasetError when the pictures are smaller than the crop, or the crop than `side`.
        """
        height, width = stored[:2]
        if self.crop and self.crop > min(height, width):
            raise DatasetError(
                "the pictures are smaller than the crop", where="prepare.crop",
                allowed=f"at most {min(height, width)} pixels", got=self.crop,
                cure="Set a smaller prepare.crop, or build the Dataset with more of each picture.",
            )  # fmt: skip
        seen = (self.crop, self.crop) if self.crop else (height, width)
        if self.side and (seen[0] != seen[1] or self.side > seen[0]):
            raise DatasetError(
                "what the net sees cannot be brought to that side", where="prepare.side",
                allowed=f"a square of at least {self.side} pixels", got=f"{seen[0]} x {seen[1]}",
                cure="Set prepare.crop to a square of that size or more, or a smaller prepare.side.",
            )  # fmt: skip
        height, width = (self.side, self.side) if self.side else seen
        return height, width, self.channels(stored[2])

    def channels(self, stored: int) -> int:
        """Channels that the net is fed for `stored` channels of the pictures."""
        return stored * (1 + self.local) + self.mask

    def fit(self, blocks: Iterable[Array]) -> ImagePreparation:
        """Learn from blocks of images (m, height, width, channels), read once, in order; returns self.

        Integer pixels are counted value by value, so every constant is exact; of float pixels the mean, deviation
        and range are exact under a linear stretch, and medians come from an even sample of some 100,000 pixels.

        Raises DatasetError when there is no finite pixel in a channel, or when `nan` is "refuse" and one is not finite.
        """
        gauge: _Counts | _Floats | None = None
        for whole in blocks:
            block = whole[inside(whole.shape[1:3], self.crop)]
            if gauge is None:
                self.dtype_ = str(block.dtype)
                gauge = _Counts(block) if block.dtype in (np.uint8, np.uint16) else _Floats(block.shape[-1])
            gauge.add(block)
        if gauge is None:
            raise DatasetError("there are no training images to fit the preparation on", cure="Check the split.")
        if self.nan == "refuse" and gauge.bad:
            raise DatasetError(
                f"{gauge.bad} training pixels are not finite",
                where="prepare.nan",
                allowed="finite pixels only, as prepare.nan is 'refuse'",
                cure="Set prepare.nan to 'zero' or 'median'.",
            )
        values, counts = gauge.sorted_values()
        if any(len(v) == 0 for v in values):
            raise DatasetError("a channel has no finite pixel in the training part", cure="Leave that channel out.")
        self.median_ = np.array([_median(v, n) for v, n in zip(values, counts, strict=True)])
        self.noise_ = np.array(
            [_noise(v, n, m) for v, n, m in zip(values, counts, self.median_, strict=True)], dtype=np.float64
        )
        if self.stretch == "linear":
            self.mean_, self.deviation_, self.low_, self.high_ = gauge.moments()
        else:
            moments = [
                _moments(np.arcsinh((v - m) / s), n)
                for v, n, m, s in zip(values, counts, self.median_, self.noise_, strict=True)
            ]
            self.mean_, self.deviation_ = (np.array([m[k] for m in moments]) for k in (0, 1))
            self.low_, self.high_ = (np.arcsinh((edge - self.median_) / self.noise_) for edge in gauge.moments()[2:])
        return self

    def constants(self) -> dict[str, NDArray[np.float32]]:
        """The rule as arrays (channels,) float32: centre, softening, offset, factor, fill (NaN when refused)."""
        zero, one = np.zeros_like(self.mean_), np.ones_like(self.mean_)
        offset, factor = zero, one
        if self.scale == "standard":
            offset, factor = self.mean_, 1 / np.where(self.deviation_ > 0, self.deviation_, 1)
        elif self.scale == "unit":
            offset, width = self.low_, self.high_ - self.low_
            if self.dtype_ == "uint8" and self.stretch == "linear":
                offset, width = zero, np.full_like(zero, 255)
            factor = 1 / np.where(width > 0, width, 1)
        centre, softening = (self.median_, self.noise_) if self.stretch == "asinh" else (zero, one)
        middle = zero if self.stretch == "asinh" else self.median_
        fill = {"median": (middle - offset) * factor, "zero": zero, "refuse": np.full_like(zero, np.nan)}[self.nan]
        found = {"centre": centre, "softening": softening, "offset": offset, "factor": factor, "fill": fill}
        return {name: value.astype(np.float32) for name, value in found.items()}

    def apply(self, images: Array) -> NDArray[np.float32]:
        """Prepare images (m, height, width, channels) of any stored type; returns (m, h, w, c) float32.

        h, w, c are `shape(...)`: the scaled channels, then those on their own scale, then the mask.
        """
        c = self.constants()
        x = images.astype(np.float32)
        bad = ~np.isfinite(x)
        x = np.where(bad, np.float32(0), x)
        y = np.arcsinh((x - c["centre"]) / c["softening"]) if self.stretch == "asinh" else x
        y = (y - c["offset"]) * c["factor"]
        planes: list[Array] = [np.where(bad, c["fill"], y)]
        if self.local:
            planes.append(own_scale(x, ~bad))
        if self.mask:
            planes.append(np.max(bad, axis=3, keepdims=True))
        done = np.concatenate([p.astype(np.float32) for p in planes], axis=3)[inside(images.shape[1:3], self.crop)]
        if self.side:
            area = area_matrix(done.shape[1], self.side)
            done = np.einsum("ij,njkc,lk->nilc", area, done, area, optimize=True)
        return done

    def state(self) -> dict[str, Array]:
        """The fitted arrays, as `prepare.safetensors` holds them."""
        return {name: getattr(self, name) for name in STATE}

    def to_record(self) -> dict[str, Any]:
        """What is not an array: the rule's names and the stored type, for JSON."""
        return {
            "nan": self.nan, "stretch": self.stretch, "scale": self.scale, "local": self.local, "mask": self.mask,
            "crop": self.crop, "side": self.side, "dtype": self.dtype_,
        }  # fmt: skip

    @classmethod
    def from_record(cls, record: Mapping[str, Any], state: Mapping[str, Array]) -> ImagePreparation:
        """Rebuild from `to_record` and `state`; raises BundleError when an array is missing."""
        made = cls(
            record["nan"], record["stretch"], record["scale"], local=record.get("local", False),
            mask=record.get("mask", False), crop=record.get("crop", 0), side=record.get("side", 0),
        )  # fmt: skip
        made.dtype_ = record["dtype"]
        for name in STATE:
            if name not in state:
                raise BundleError(f"the preparation lacks {name!r}", allowed=", ".join(STATE), got=", ".join(state))
            setattr(made, name, np.asarray(state[name], dtype=np.float64))
        return made


def inside(size: tuple[int, int], crop: int) -> tuple[slice, slice, slice]:
    """Index of the central `crop` x `crop` of images (m, height, width, ...) of `size`; of all when `crop` is 0.

    Where a margin is odd, the crop lies one pixel nearer to the first row and column, as in `pixels.crop_centre`.
    """
    rows, columns = (slice((side - crop) // 2, (side - crop) // 2 + crop) if crop else slice(None) for side in size)
    return slice(None), rows, columns


def area_matrix(stored: int, side: int) -> NDArray[np.float32]:
    """(side, stored): each row holds the shares that the `stored` pixels of a line have in one new pixel; it sums to 1.

    New pixel i covers the old ones from i * stored / side to (i + 1) * stored / side, cut ones by their part.
    """
    edges = np.arange(side + 1) * (stored / side)
    old = np.arange(stored)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    shares: NDArray[np.float32] = (np.clip(overlap, 0, None) * (side / stored)).astype(np.float32)
    return shares


def own_scale(x: Array, good: Array) -> NDArray[np.float32]:
    """`asinh((x - level) / noise)` with each picture's and channel's own level and noise; 0 where not `good`.

    `x` (m, h, w, c) float32, finite, and `good` (m, h, w, c) bool. Level and noise are the weighted mean and deviation
    after ROUNDS rounds from the plain ones, a pixel d deviations away weighing (1 + (d / REACH)²)⁻²: smooth, so that
    no rounding moves a pixel across a limit, and blind to a source that fills some tenths of the picture. The noise
    comes out at about 0.7 of a normal distribution's deviation. A constant channel gives 0.
    """
    weight = good.astype(np.float32)
    level = noise = np.zeros(())
    for round_ in range(ROUNDS + 1):
        total = np.maximum(weight.sum((1, 2), keepdims=True), np.float32(1e-6))
        level = (weight * x).sum((1, 2), keepdims=True) / total
        square = np.square(x - level)
        noise = np.sqrt((weight * square).sum((1, 2), keepdims=True) / total)
        noise = np.where(noise > 0, noise, np.float32(1))
        if round_ < ROUNDS:
            weight = good / np.square(1 + square / np.square(np.float32(REACH) * noise))
    return np.where(good, np.arcsinh((x - level) / noise), 0).astype(np.float32)


class _Counts:
    """Counts of every value of integer pixels, per channel."""

    bad = 0

    def __init__(self, block: Array) -> None:
        self.counts = np.zeros((block.shape[-1], 1 << (8 * block.dtype.itemsize)), dtype=np.int64)

    def add(self, block: Array) -> None:
        for channel in range(len(self.counts)):
            self.counts[channel] += np.bincount(block[..., channel].ravel(), minlength=self.counts.shape[1])

    def sorted_values(self) -> tuple[list[Array], list[Array]]:
        values = [np.flatnonzero(c) for c in self.counts]
        return [v.astype(np.float64) for v in values], [c[v] for c, v in zip(self.counts, values, strict=True)]

    def moments(self) -> list[Array]:
        found = [_moments(v, n) for v, n in zip(*self.sorted_values(), strict=True)]
        return [np.array(column) for column in zip(*found, strict=True)]


class _Floats:
    """Running moments and an even sample of float pixels, per channel; pixels that are not finite are left out."""

    def __init__(self, channels: int) -> None:
        self.bad, self.stride = 0, 1
        self.n, self.sum, self.square = (np.zeros(channels) for _ in range(3))
        self.shift: Array | None = None
        self.low, self.high = np.full(channels, np.inf), np.full(channels, -np.inf)
        self.sample: list[list[Array]] = [[] for _ in range(channels)]
        self.kept = 0

    def add(self, block: Array) -> None:
        flat = block.reshape(-1, block.shape[-1]).astype(np.float64)
        finite = np.isfinite(flat)
        self.bad += int(flat.size - finite.sum())
        if self.shift is None:  # sums about a typical value keep their digits
            self.shift = np.array([c[f][:1].sum() for c, f in zip(flat.T, finite.T, strict=True)])
        centred = np.where(finite, flat - self.shift, 0)
        self.n += finite.sum(0)
        self.sum += centred.sum(0)
        self.square += (centred**2).sum(0)
        self.low = np.minimum(self.low, np.where(finite, flat, np.inf).min(0, initial=np.inf))
        self.high = np.maximum(self.high, np.where(finite, flat, -np.inf).max(0, initial=-np.inf))
        for kept, column, good in zip(self.sample, flat[:: self.stride].T, finite[:: self.stride].T, strict=True):
            kept.append(column[good])
        self.kept += len(flat[:: self.stride])
        while self.kept > 2 * SAMPLE:  # thinned evenly, so that memory stays flat
            self.sample = [[np.concatenate(kept)[::2]] for kept in self.sample]
            self.stride, self.kept = self.stride * 2, self.kept // 2

    def sorted_values(self) -> tuple[list[Array], list[Array]]:
        values = [np.sort(np.concatenate(kept)) if kept else np.zeros(0) for kept in self.sample]
        return values, [np.ones(len(v), dtype=np.int64) for v in values]

    def moments(self) -> list[Array]:
        mean = self.sum / self.n
        deviation = np.sqrt(np.maximum(self.square / self.n - mean**2, 0))
        return [mean + (0 if self.shift is None else self.shift), deviation, self.low, self.high]


def _moments(values: Array, counts: Array) -> tuple[float, float, float, float]:
    """Mean, deviation, least and greatest of sorted values with counts."""
    total = counts.sum()
    mean = float((values * counts).sum() / total)
    deviation = float(np.sqrt((counts * (values - mean) ** 2).sum() / total))
    return mean, deviation, float(values[0]), float(values[-1])


def _median(values: Array, counts: Array) -> float:
    """Median of values, sorted, each standing `counts` times (the mean of the middle two)."""
    ends = np.cumsum(counts)
    total = int(ends[-1])
    lower, upper = (values[np.searchsorted(ends, k, side="right")] for k in ((total - 1) // 2, total // 2))
    return float((lower + upper) / 2)


def _noise(values: Array, counts: Array, median: float) -> float:
    """Robust deviation; the plain one where more than half of the pixels are equal; 1 for a constant channel."""
    away = np.abs(values - median)
    order = np.argsort(away, kind="stable")
    robust = MAD_TO_DEVIATION * _median(away[order], counts[order])
    return robust or _moments(values, counts)[1] or 1.0
