"""The Dataset: a read-only view of one file, opened in milliseconds however large the file is."""

from __future__ import annotations

import html
import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from estampa.data.layout import Layout, inspect
from estampa.data.record import PARTS, Header
from estampa.data.splitfile import drawn_by, stored_split
from estampa.errors import DatasetError, nearest

BLOCK_BYTES = 16 << 20


class Dataset:
    """Images and / or a table of n objects, with labels, ids, groups, split and content hashes.

    `images` (n, height, width, channels) is mapped, never read whole; the small columns are read on first use.
    Open one with `Dataset.open(path)`.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self._layout = layout
        self._map: mmap.mmap | None = None
        self._file: int | None = None

    @classmethod
    def open(cls, path: Path | str) -> Dataset:
        """Open a Dataset file; DatasetError says why not: not HDF5, truncated, newer format, missing or odd parts."""
        path = Path(path)
        return cls(path, inspect(path))

    # ------------------------------------------------------------------------------------------ what it is

    @cached_property
    def header(self) -> Header:
        """What the objects are. `published_split` is false once we have made another split."""
        header = self._layout.header
        return replace(header, published_split=header.published_split and not self.split_record)

    @property
    def n(self) -> int:
        """Number of rows."""
        return self._layout.header.n

    def __len__(self) -> int:
        return self.n

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Height, width, channels of an image; None for a table alone."""
        return self._layout.header.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return np.dtype(self._layout.header.dtype or "uint8")

    @property
    def task(self) -> str:
        """What is learned: classification | regression | unlabelled."""
        return self._layout.header.task

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self._layout.header.classes

    @property
    def content_sha256(self) -> str:
        """SHA-256 over pixels, table, labels and ids, in hexadecimal."""
        return self._layout.content_sha256

    @property
    def fingerprint(self) -> str:
        """Names the files and options that it was built from."""
        return self._layout.fingerprint

    @property
    def rejected(self) -> list[tuple[str, str]]:
        """(name, reason) of every row of the source that could not be read and is not here."""
        return [(name, reason) for _, name, reason in self._layout.rejected]

    @property
    def rejected_rows(self) -> list[int]:
        """Row in the source of each entry of `rejected`."""
        return [row for row, _, _ in self._layout.rejected]

    # ------------------------------------------------------------------------------------------ columns

    def _load(self, name: str) -> np.ndarray:
        return self._layout.columns[name].load(self.path)

    @cached_property
    def labels(self) -> np.ndarray:
        """(n,) int64, -1 = unlabelled; regression: float64, NaN = unlabelled."""
        return self._load("labels")

    @cached_property
    def ids(self) -> np.ndarray:
        """(n,) texts, unique."""
        return np.char.decode(self._load("ids"), "utf-8")

    @cached_property
    def groups(self) -> np.ndarray | None:
        """(n,) texts: what must not be torn apart by a split; None = every object stands alone."""
        return np.char.decode(self._load("groups"), "utf-8") if "groups" in self._layout.columns else None

    @cached_property
    def hashes(self) -> np.ndarray:
        """(n,) uint64 content hashes: equal rows have equal hashes."""
        return self._load("hashes")

    @cached_property
    def table(self) -> np.ndarray | None:
        """(n, columns) float32 or float64, or None."""
        return self._load("table") if "table" in self._layout.columns else None

    def table_rows(self, rows: np.ndarray | None = None) -> np.ndarray:
        """(m, columns) float64: the table's `rows` (None = all), raw as in the file; memory holds no others.

        DatasetError where there is no table.
        """
        if "table" not in self._layout.columns:
            raise DatasetError("has no table", where=self.path)
        column = self._layout.columns["table"]
        wanted = np.arange(self.n) if rows is None else np.asarray(rows, np.int64)
        out = np.empty((len(wanted), column.shape[1]), np.float64)
        step = max(1, BLOCK_BYTES // max(1, out[:1].nbytes))
        for start in range(0, len(wanted), step):  # mapped anew for each block, so that its pages are given back
            mapped = np.memmap(self.path, column.dtype, "r", column.offset, column.shape)
            out[start : start + step] = mapped[wanted[start : start + step]]
        return out

    def column(self, name: str) -> np.ndarray:
        """(n,) float64: one column of `table`, as "snr"; DatasetError, with the nearest name, where there is none."""
        names, table = self.header.columns, self.table
        if table is None or name not in names:
            allowed = ", ".join(names) or "none: this Dataset has no columns"
            raise DatasetError(
                f"has no column {name!r}", where=self.path, allowed=allowed, cure=nearest(name, names)
            )  # fmt: skip
        return table[:, names.index(name)].astype(np.float64)

    @cached_property
    def _split(self) -> tuple[np.ndarray, dict[str, Any]]:
        return stored_split(self.path, self._layout)

    @property
    def split(self) -> np.ndarray:
        """(n,) uint8: 0 none, 1 train, 2 validation, 3 test."""
        return self._split[0]

    @property
    def split_record(self) -> dict[str, Any]:
        """How the split was made; empty when nobody made one here."""
        return self._split[1]

    def with_split(self, split: np.ndarray, record: Mapping[str, Any]) -> Dataset:
        """The same file seen with other parts, (n,) uint8; nothing is written."""
        seen = Dataset(self.path, self._layout)
        seen.__dict__["_split"] = (np.asarray(split, np.uint8), dict(record))
        return seen

    def rows(self, part: str) -> np.ndarray:
        """Row numbers, int64, of a part: none | train | validation | test."""
        if part not in PARTS:
            raise DatasetError(f"there is no part {part!r}", where=self.path, allowed=", ".join(PARTS))
        return np.flatnonzero(self.split == PARTS.index(part)).astype(np.int64)

    def labelled(self) -> np.ndarray:
        """(n,) bool: which rows have a label."""
        return ~np.isnan(self.labels) if self.task == "regression" else self.labels >= 0

    # ------------------------------------------------------------------------------------------ pixels

    @cached_property
    def images(self) -> np.ndarray | None:
        """(n, height, width, channels), mapped from the file and read-only; None for a table alone."""
        if "images" not in self._layout.columns:
            return None
        column = self._layout.columns["images"]
        with self.path.open("rb") as stream:
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        if column.offset + int(np.prod(column.shape)) * column.dtype.itemsize > len(self._map):
            raise DatasetError("is shorter than when it was opened", where=self.path)
        flat = np.frombuffer(self._map, column.dtype, count=int(np.prod(column.shape)), offset=column.offset)
        return flat.reshape(column.shape)

    def release(self) -> None:
        """Give the pages of `images` back: they no longer count as memory of this process."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def blocks(
        self, rows: np.ndarray | None = None, size: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (row numbers, copy of their images) for `rows` (None = all), `size` rows at a time.

        The default size makes blocks of about 16 MiB. Memory stays flat: consecutive rows are read, not mapped,
        and pages of scattered ones are given back after each block.
        """
        if self.shape is None:
            raise DatasetError("holds a table and no images", where=self.path)
        wanted = np.arange(self.n) if rows is None else np.asarray(rows, np.int64)
        row_bytes = int(np.prod(self.shape)) * self.dtype.itemsize
        step = max(1, BLOCK_BYTES // row_bytes) if size is None else max(1, size)
        for start in range(0, len(wanted), step):
            part = wanted[start : start + step]
            yield part, self.take(part)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Copy of the images of `rows`, (len(rows), height, width, channels)."""
        rows = np.asarray(rows, np.int64)
        consecutive = len(rows) and rows[0] >= 0 and rows[-1] < self.n and (np.diff(rows) == 1).all()
        if not consecutive:
            images = self.images
            if images is None:
                raise DatasetError("holds a table and no images", where=self.path)
            copy: np.ndarray = images[rows]
            self.release()
            return copy
        column = self._layout.columns["images"]
        copy = np.empty((len(rows), *column.shape[1:]), column.dtype)
        if self._file is None:
            self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        view, at = copy.data.cast("B"), column.offset + int(rows[0]) * copy[0].nbytes
        while view:
            read = os.preadv(self._file, [view], at)
            if not read:
                raise DatasetError("is shorter than when it was opened", where=self.path)
            view, at = view[read:], at + read
        return copy

    # ------------------------------------------------------------------------------------------ shown

    def summary(self) -> dict[str, Any]:
        """Counts by class and part, and what the header says: plain types, ready for JSON."""
        header, parts = self.header, {part: int((self.split == i).sum()) for i, part in enumerate(PARTS)}
        counts = {}
        if self.task == "classification":
            found = np.bincount(self.labels[self.labels >= 0], minlength=len(self.classes))
            counts = {name: int(found[i]) for i, name in enumerate(self.classes)}
        return {
            "path": str(self.path),
            "n": self.n,
            "shape": list(self.shape) if self.shape else None,
            "dtype": header.dtype if self.shape else None,
            "columns": list(header.columns),
            "task": self.task,
            "classes": counts,
            "unlabelled": int((~self.labelled()).sum()),
            "groups": None if self.groups is None else len(np.unique(self.groups)),
            "parts": parts,
            "split": self._split_kind(),
            "rejected": len(self.rejected),
            "source": header.read.source,
            "content_sha256": self.content_sha256,
        }

    def _split_kind(self) -> str:
        if self.split_record:
            return drawn_by(self.split_record) or "made"
        return "published" if self.header.published_split else ("given" if self.split.any() else "none")

    def _line(self) -> str:
        shape = " x ".join(map(str, self.shape)) + f" {self.dtype}" if self.shape else ""
        table = f"{len(self.header.columns)} columns" if self.header.columns else ""
        kind = f"{len(self.classes)} classes" if self.task == "classification" else self.task
        return ", ".join(filter(None, [f"{self.n:,} objects", kind, shape, table]))

    def __repr__(self) -> str:
        return f"<Dataset {self.path.name}: {self._line()}>"

    def _repr_html_(self) -> str:
        facts = self.summary()
        classes = "".join(
            f"<tr><td>{html.escape(name)}</td><td style='text-align:right'>{count:,}</td></tr>"
            for name, count in list(facts["classes"].items())[:50]
        )
        parts = ", ".join(f"{part} {count:,}" for part, count in facts["parts"].items() if count)
        return (
            f"<div><b>{html.escape(self.path.name)}</b>: {html.escape(self._line())}"
            f"<br>parts: {parts}<br><code>{self.content_sha256[:12]}</code>"
            f"<table>{classes}</table></div>"
        )

    def close(self) -> None:
        """Let the file go. Arrays taken from `images` keep the mapping alive until they are dropped."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self.__dict__.pop("images", None)
        self._map = None

    def __enter__(self) -> Dataset:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_layout": self._layout, "_map": None, "_file": None}
