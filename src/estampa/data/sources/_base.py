"""What every source shares: the options that it is read with, and the Reading that it gives.

A source file `data/sources/x.py` answers two questions::

    def is_mine(paths: Sequence[Path], options: ReadOptions) -> str | None     # None = mine, else the reason why not
    def read(paths: Sequence[Path], options: ReadOptions) -> Reading
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from estampa.data.record import Header, ReadRecord

BLOCK_BYTES = 16 << 20  #: of one block of images: large enough for the disk, small enough for memory


@dataclass(frozen=True)
class ReadOptions:
    """How sources are asked to read. Every default means "as the data say"."""

    as_: str = ""  #: name of the source; "" = ask each
    crop: int = 0  #: side in pixels of the central square that is taken of each picture, before any resize; 0 = whole
    size: tuple[int, int] | None = None  #: height, width that pictures are brought to
    fit: str = "stretch"  #: stretch | pad | crop
    layout: str = ""  #: NCHW | NHWC
    mode: str = "auto"  #: L | RGB | auto
    label: str = ""  #: column of the answer
    group: str = ""  #: column of what must not be torn apart
    reshape: tuple[int, int, int] | None = None  #: height, width, channels of flattened rows
    max_pixels: int = 64_000_000  #: a picture with more is taken for a decompression bomb
    exclude: Path | None = None  #: file of ids or content hashes that are left out
    classes: tuple[str, ...] = ()  #: the classes in order, when they are given
    fast_dct: bool = False  #: decode JPEG by the fast DCT: values differ by up to 5 of 255, and it is recorded
    match_radius: str = ""  #: "2arcsec": join a catalogue that is given beside by position, within this radius
    per_class: int = 0  #: exactly so many objects of each class, drawn at random; 0 = all
    seed: int = 0  #: of that draw, and of dealing new classes that are added to a Dataset
    record: ReadRecord | None = None  #: replay this, as at prediction; labels are then not needed


@dataclass
class Block:
    """Consecutive rows of a Reading. Rejected rows hold zeros in `images`."""

    start: int  #: row of the Reading that the block begins at
    images: np.ndarray  #: (m, height, width, channels), of the header's shape and dtype
    rejected: dict[int, str] = field(default_factory=dict)  #: row of the Reading -> reason


@dataclass(kw_only=True)
class Reading(ABC):
    """A source that was understood: all that is known before pixels are decoded, and the pixels in blocks.

    `labels` is (n,) int64 (-1 = unlabelled) for classes, (n,) float64 (NaN = unlabelled) for a regression, None
    where there are none. `ids` are n texts, unique. `fingerprint` changes when the files or the options do.
    """

    header: Header
    ids: np.ndarray
    labels: np.ndarray | None = None
    groups: np.ndarray | None = None
    split: np.ndarray | None = None  #: (n,) uint8, see record.PARTS
    table: np.ndarray | None = None  #: (n, columns) float32 or float64
    fingerprint: str = ""
    split_record: Mapping[str, Any] = field(default_factory=dict)  #: how `split` was made, when estampa made it
    notes: list[str] = field(default_factory=list)  #: decisions taken, with reasons, for people to read
    private: bool = False  #: whether only the owner of what is built may read it

    @abstractmethod
    def blocks(self, start: int = 0, size: int | None = None) -> Iterator[Block]:
        """Yield the rows from `start` on, in order and without gaps, `size` rows at a time (None = about 16 MiB)."""

    def table_blocks(
        self, start: int = 0, size: int | None = None, names: Sequence[str] | None = None
    ) -> Iterator[tuple[int, np.ndarray, dict[int, str]]]:
        """Yield (first row, (m, columns) float64, {row: reason it cannot be read}) from `start` on, in order.

        Columns are those of the header, or `names` among them in their order: then what stands in others rejects no
        row. A rejected row holds NaN. Nothing is yielded where there is no table.
        """
        if self.table is None:
            return
        step, places = table_rows_per_block(self.header, size), self.places(names)
        for first in range(start, self.header.n, step):
            yield first, self.table[first : first + step, places].astype(np.float64), {}

    def places(self, names: Sequence[str] | None) -> list[int]:
        """Where columns of the table stand; None = all of them."""
        at = {name: i for i, name in enumerate(self.header.columns)}
        return list(at.values()) if names is None else [at[name] for name in names]


def table_rows_per_block(header: Header, size: int | None = None) -> int:
    """Rows of a block of a table: `size` when given, else as many as fill BLOCK_BYTES, at least one."""
    return max(1, size if size is not None else BLOCK_BYTES // (8 * max(1, len(header.columns))))


def rows_per_block(header: Header, size: int | None = None) -> int:
    """Rows of a block: `size` when given, else as many as fill BLOCK_BYTES, at least one."""
    if size is not None:
        return max(1, size)
    row_bytes = int(np.prod(header.shape or (1,))) * np.dtype(header.dtype or "uint8").itemsize
    return max(1, BLOCK_BYTES // max(1, row_bytes))


def fingerprint_of(*facts: object) -> str:
    """SHA-256 of facts (texts, numbers, paths, lists of them) in hexadecimal."""
    return hashlib.sha256(json.dumps(facts, default=str, sort_keys=True).encode()).hexdigest()


def stat_facts(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """(absolute path, bytes, time of change in ns) of each file: what tells a changed file without reading it."""
    facts = []
    for path in paths:
        status = path.stat()
        facts.append((str(path.absolute()), status.st_size, status.st_mtime_ns))
    return facts
