"""A Reading whose rows come from a function: arrays, text rows and IDX files share it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from estampa.data.record import ReadRecord
from estampa.data.sources._base import Block, Reading, ReadOptions, rows_per_block
from estampa.errors import SourceError
from estampa.pixels import resize

FILL = 1e30  #: what is farther from 0 stands for a missing pixel
Fetch = Callable[[int, int], tuple[np.ndarray, dict[int, str]]]


@dataclass(kw_only=True)
class RowsReading(Reading):
    """Rows fetched a block at a time, then brought to the size of the read record when it names one.

    `fetch(start, stop)` gives (stop - start, height, width, channels) of the header's dtype, and the reason for each
    row of the Reading that could not be read. Rows with an infinite pixel are rejected here: no scale fits them, and
    to call them missing would change what was measured. Values beyond 1e30 either way are no measurement: pipelines
    write the lowest float32, -3.4e38, where a pixel is missing. They become NaN.
    """

    fetch: Fetch

    def blocks(self, start: int = 0, size: int | None = None) -> Iterator[Block]:
        """Yield blocks in order; see Reading."""
        step = rows_per_block(self.header, size)
        for first in range(start, self.header.n, step):
            images, rejected = self.fetch(first, min(self.header.n, first + step))
            if images.dtype.kind == "f":
                rejected = _infinite(images, first) | rejected
                images = unfilled(images)
            if rejected:
                images = images if images.flags.writeable else images.copy()
                images[[row - first for row in rejected]] = 0
            yield Block(first, self._sized(images), rejected)

    def _sized(self, images: np.ndarray) -> np.ndarray:
        record, shape = self.header.read, self.header.shape
        if shape is None or images.shape[1:3] == shape[:2]:
            return np.ascontiguousarray(images)
        out = np.empty((len(images), *shape), images.dtype)
        for row, image in enumerate(images):
            out[row] = resize(image, shape[:2], record.fit, record.resample)
        return out


def record_of(source: str, options: ReadOptions, *, layout: str = "", dtype: str = "") -> ReadRecord:
    """Read record of rows: the size that was asked for, or that of the record that is replayed."""
    replay = options.record
    return ReadRecord(
        source=source,
        size=replay.size if replay else options.size,
        fit=replay.fit if replay else options.fit,
        resample=replay.resample if replay else "area",
        layout=layout,
        reshape=reshape_of(options),
        extra={"dtype": dtype} if dtype else {},
    )


def forbid(options: ReadOptions, where: object, *flags: str) -> None:
    """Raise SourceError when an option was given that means nothing here; silence would hide a mistake."""
    for flag in flags:
        if getattr(options, flag) not in ("", None):
            raise SourceError(f"--{flag} means nothing for this kind of data", where=where, cure="Leave it out")


def reshape_of(options: ReadOptions) -> tuple[int, int, int] | None:
    """Shape that flattened rows have, as asked or as the replayed record says."""
    replay = options.record
    if options.reshape is None and replay is not None and replay.reshape is not None and len(replay.reshape) == 3:
        return replay.reshape[0], replay.reshape[1], replay.reshape[2]
    return options.reshape


def sized(shape: tuple[int, int, int], record: ReadRecord) -> tuple[int, int, int]:
    """Shape of an image after the record's resize."""
    return (*record.size, shape[2]) if record.size else shape


def unfilled(images: np.ndarray) -> np.ndarray:
    """`images` with NaN in place of fill values; the same array where there are none."""
    with np.errstate(invalid="ignore"):
        low, high = np.fmin.reduce(images, axis=None), np.fmax.reduce(images, axis=None)
        return images if max(-low, high) <= FILL else np.where(np.abs(images) > FILL, np.float32(np.nan), images)


def _infinite(images: np.ndarray, first: int) -> dict[int, str]:
    """Reason for each row of (m, ...) that holds an infinite value; the sum is looked at first, since it is cheap."""
    flat = images.reshape(len(images), -1)
    with np.errstate(invalid="ignore", over="ignore"):
        suspects = np.flatnonzero(~np.isfinite(flat.sum(1, dtype=np.float64)))
    counts = {int(i): int(np.isinf(flat[i]).sum()) for i in suspects}
    return {first + i: f"{count} infinite pixel{'s' * (count > 1)}" for i, count in counts.items() if count}
