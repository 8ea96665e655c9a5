"""Arrays of images, (n, h, w), (n, h, w, c), (n, c, h, w) or flattened, and how their rows become pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from estampa.data.sources._base import ReadOptions
from estampa.data.sources._rows import reshape_of
from estampa.errors import SourceError
from estampa.pixels import extremes, storable

_SMALL = (4, 16)  # an axis of at most so many is taken for channels when the other two are longer


class Rows(Protocol):
    """One array of n rows, read a stretch at a time."""

    name: str  #: for messages: the file and what in it
    key: str  #: its own name: of the member, dataset or column; "" where it is the whole file
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bad: Mapping[int, str]  #: rows that cannot be read, with the reason; they hold zeros

    def __len__(self) -> int: ...

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop, (stop - start, ...)."""
        ...

    def whole(self) -> np.ndarray:
        """All of it, for the small arrays."""
        ...

    def extremes(self) -> tuple[float, float]:
        """Lowest and highest finite value."""
        ...


class Held:
    """An array that is in memory or mapped already, as `Rows`."""

    def __init__(self, values: np.ndarray, name: str, key: str) -> None:
        self.values, self.name, self.key = values, name, key
        self.shape, self.dtype = values.shape, values.dtype
        self.bad: Mapping[int, str] = {}

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    def rows(self, start: int, stop: int) -> np.ndarray:
        """See Rows."""
        return self.values[start:stop]

    def whole(self) -> np.ndarray:
        """See Rows."""
        return np.array(self.values)

    def extremes(self) -> tuple[float, float]:
        """See Rows."""
        return extremes_of(self)


def extremes_of(array: Rows) -> tuple[float, float]:
    """Lowest and highest finite value, read in blocks of about 16 MiB."""
    step = max(1, (16 << 20) // max(1, int(np.prod(array.shape[1:])) * array.dtype.itemsize))
    ranges = [extremes(array.rows(i, min(len(array), i + step))) for i in range(0, len(array), step)]
    return min((low for low, _ in ranges), default=0.0), max((high for _, high in ranges), default=0.0)


@dataclass(frozen=True)
class Plane:
    """One array of images, and how its rows become (height, width, channels)."""

    array: Rows
    shape: tuple[int, int, int]
    layout: str

    def fill(self, out: np.ndarray, start: int, stop: int) -> dict[int, str]:
        """Put rows start..stop in `out` (m, h, w, c), cast to its dtype; returns the rows that the cast would break."""
        rows = self.array.rows(start, stop)
        placed = rows.transpose(0, 2, 3, 1) if self.layout == "NCHW" else rows
        with np.errstate(over="ignore"):
            out[...] = placed.reshape(stop - start, *self.shape)
        rejected = {row: why for row, why in self.array.bad.items() if start <= row < stop}
        if rows.dtype.kind != "f" or rows.dtype.itemsize <= 4:
            return rejected
        beyond = np.isfinite(rows) & (np.abs(rows) > float(np.finfo(np.float32).max))
        bad = np.flatnonzero(beyond.reshape(len(rows), -1).any(1))
        return {start + int(i): "values beyond the range of float32" for i in bad} | rejected


def plane_of(file: Rows, options: ReadOptions, count: int, square: bool) -> Plane:
    """Shape and layout of one of `count` arrays of images; see `reading_of` for `square`."""
    shape, asked = file.shape, reshape_of(options)
    row = int(np.prod(shape[1:]))
    if asked is not None and len(shape) in (2, 3, 4) and (len(shape) == 2 or options.reshape is not None):
        height, width, channels = asked
        if channels % count == 0 and row == height * width * channels // count:
            return Plane(file, (height, width, channels // count), "")
        if row != height * width * channels:
            raise SourceError(
                f"rows of {row} values", where=file.name, allowed=f"{height * width * channels}, as --reshape says"
            )
        return Plane(file, asked, "")
    if len(shape) == 3:
        return Plane(file, (shape[1], shape[2], 1), "")
    if len(shape) == 4:
        layout = options.layout or (options.record.layout if options.record else "") or _layout(file)
        if layout not in ("NCHW", "NHWC"):
            raise SourceError(f"unknown layout {layout!r}", where="--layout", allowed="NCHW, NHWC")
        a, b, c = shape[1:]
        return Plane(file, (b, c, a) if layout == "NCHW" else (a, b, c), layout)
    side = math.isqrt(row)
    if len(shape) == 2 and square and side > 1 and side * side == row:
        return Plane(file, (side, side, 1), "")
    cure = f"Try --reshape {side}x{side}" if side > 1 and side * side == row else "Say what they are: --reshape HxW"
    if len(shape) == 2:
        raise SourceError(f"flattened rows of {row} values", where=file.name, cure=cure)
    raise SourceError(
        f"an array of shape {shape}", where=file.name, allowed="(n, h, w) or (n, h, w, c) or (n, c, h, w)"
    )


def _layout(file: Rows) -> str:
    """Layout told by the one small axis of (n, a, b, c), or by the two equal ones; SourceError when neither tells."""
    a, b, c = file.shape[1:]
    for small in _SMALL:
        first, last = a <= small < min(b, c), c <= small < min(a, b)
        if first != last:
            return "NCHW" if first else "NHWC"
    if (a == b > c) != (b == c > a):
        return "NHWC" if a == b else "NCHW"
    raise SourceError(
        "which axis is the channels is not clear",
        where=file.name,
        got=str(file.shape),
        cure="Say it with --layout NCHW or --layout NHWC",
    )


def stored_dtype(planes: Sequence[Plane], options: ReadOptions) -> tuple[np.dtype[Any], str]:
    """Stored dtype, and its name when a conversion was needed (kept for replay, where values may span less)."""
    kept = options.record.extra.get("dtype", "") if options.record else ""
    if kept and any(p.array.dtype.kind in "iub" and p.array.dtype.name != kept for p in planes):
        top = {"uint8": 255, "uint16": 65535, "float32": 1 << 24}.get(kept, -1)
        low, high = min(p.array.extremes()[0] for p in planes), max(p.array.extremes()[1] for p in planes)
        if high <= top and low >= (0 if kept.startswith("u") else -top):
            return np.dtype(kept), kept
    stored = [storable(p.array.dtype, p.array.extremes, p.array.name) for p in planes]
    dtype = stored[0]
    for other in stored[1:]:
        dtype = np.promote_types(dtype, other)
    changed = any(p.array.dtype.newbyteorder("=") != dtype for p in planes)
    return dtype, dtype.name if changed else ""


def fetch_of(
    planes: Sequence[Plane], shape: tuple[int, int, int], dtype: np.dtype[Any]
) -> Callable[[int, int], tuple[np.ndarray, dict[int, str]]]:
    """A function that gives rows start..stop of all planes side by side, (m, h, w, c), and the rows it rejects."""

    def fetch(start: int, stop: int) -> tuple[np.ndarray, dict[int, str]]:
        images = np.empty((stop - start, *shape), dtype)
        channel = 0
        rejected: dict[int, str] = {}
        for plane in planes:
            rejected |= plane.fill(images[..., channel : channel + plane.shape[2]], start, stop)
            channel += plane.shape[2]
        return images, rejected

    return fetch
