"""Tables with pixels in columns, CSV or Parquet: which columns they are, and their rows a stretch at a time."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from estampa import machine
from estampa.data.sources._digits import chunks, rows_fit, whole_numbers
from estampa.data.sources._planes import extremes_of
from estampa.data.sources._tables import ID_COLUMNS, Table, at_heading, delimiter_of
from estampa.errors import SourceError
from estampa.pixels import extremes

PARQUET = (".parquet", ".pq")
_PIXEL = re.compile(r"(.*?)[ _-]?(\d+)(?:[_,x-](\d+))?(?:[_,x-](\d+))?", re.IGNORECASE)
_WORDS = ("pixel", "pixels", "pix", "px", "image", "img")  #: that say alone that numbers after them are pixels
_LONGEST_NAME = 64
_FEWEST = 16  #: columns of one picture: 4 x 4
_OTHER_LENGTH = "named in the heading line"


@dataclass(frozen=True)
class Pixels:
    """Which columns hold the pixels: `names` in the order height, width, channels of each picture."""

    names: tuple[str, ...]
    shape: tuple[int, int, int]
    channels: tuple[str, ...] = ()


def pixel_columns(names: Sequence[str], asked: tuple[int, int, int] | None = None) -> Pixels | None:
    """Find pixels among a table's column names: pixel0, pixel1, ...; px_0_0 (row, column); px_0_0_0 (channel last).

    One number after another word (f0, f1, ...) is a feature, unless the shape is `asked` for.

    Columns of one word before the number are one picture; several words with as many columns each are its channels, in
    the order of their first columns. Numbers may begin with 0 or 1, and stand in any order. The shape is that of the
    numbers, else `asked`, else a square. None when no word has 16 columns.

    Raises SourceError when numbers are missing among them, or the shape is neither asked for nor square.
    """
    families: dict[str, dict[tuple[int, ...], str]] = {}
    for name in names:
        match = _PIXEL.fullmatch(name.strip()) if len(name) <= _LONGEST_NAME else None
        if match:
            place = tuple(int(part) for part in match.groups()[1:] if part is not None)
            families.setdefault(match[1], {})[place] = name
    families = {
        word: places
        for word, places in families.items()
        if len(places) >= _FEWEST and (asked or word.lower() in _WORDS or len(next(iter(places))) > 1)
    }
    if not families:
        return None
    grids = {word: _grid(word, places) for word, places in families.items()}
    sizes = {grid.shape for grid in grids.values()}
    if len(sizes) > 1:
        got = ", ".join(f"{word or '(no word)'} {grid.size}" for word, grid in grids.items())
        raise SourceError("pictures in columns of different numbers", got=got)
    first = next(iter(grids.values()))
    if len(grids) > 1 and first.ndim == 3:
        raise SourceError("several words with channels in columns", got=", ".join(grids))
    shape = _shape(first, len(grids), asked)
    if first.ndim == 3 or len(grids) == 1:
        return Pixels(tuple(first.ravel().tolist()), shape)
    stacked = np.stack([grid.ravel() for grid in grids.values()], axis=-1)
    return Pixels(tuple(stacked.ravel().tolist()), shape, tuple(grids))


def _grid(word: str, places: Mapping[tuple[int, ...], str]) -> np.ndarray:
    """Names of one word's columns on their grid, an array of one to three axes; SourceError when it has holes."""
    axes = max(len(place) for place in places)
    numbers = np.array([place for place in places if len(place) == axes])
    low = numbers.min(0)
    sides = tuple((numbers.max(0) - low + 1).tolist())
    if len(numbers) != len(places) or math.prod(sides) != len(places) or (low > 1).any():
        raise SourceError(
            f"pixels in columns {word!r} with gaps in their numbers",
            allowed="0, 1, 2, ... or row_column on a full grid",
            got=f"{len(places)} columns, numbers {low.tolist()} to {numbers.max(0).tolist()}",
        )  # fmt: skip
    grid = np.empty(sides, object)
    for place, name in places.items():
        grid[tuple(np.array(place) - low)] = name
    return grid


def _shape(grid: np.ndarray, words: int, asked: tuple[int, int, int] | None) -> tuple[int, int, int]:
    if grid.ndim > 1:
        return grid.shape[0], grid.shape[1], words if grid.ndim == 2 else grid.shape[2]
    count = grid.size
    if asked is not None:
        height, width, channels = asked
        if words == 1 and height * width * channels == count:
            return asked
        if height * width == count and channels in (1, words):
            return height, width, words
        raise SourceError(
            f"{count} pixels in columns", allowed=f"{height}x{width}x{channels} = {math.prod(asked)}, as --reshape says"
        )
    side = math.isqrt(count)
    if side * side != count:
        raise SourceError(f"{count} pixels in columns are no square", cure="Say what they are: --reshape HxW")
    return side, side, words


class WideCsv:
    """Pixels of a CSV as `Rows`, (n, height, width, channels): one pass checks every row, later ones parse stretches.

    `table` holds the other columns. A row that cannot be parsed is in `bad`; of one with too few or too many fields the
    other columns are empty too.
    """

    def __init__(self, path: Path, heads: Sequence[str], pixels: Pixels) -> None:
        self.path, self.name, self.key = path, str(path), ""
        found: dict[int, str] = {}
        order = {name: i for i, name in enumerate(heads)}
        self._columns, self._count = [order[name] for name in pixels.names], len(heads)
        self._others = [i for i, name in enumerate(heads) if name not in set(pixels.names)]
        ids = {i for i in self._others if heads[i].lower().replace("_", "") in ID_COLUMNS}
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            self._delimiter = delimiter_of(at_heading(stream, path))
            if stream.tell():
                raise SourceError(
                    "comments stand before the heading line", where=path, cure="Take these lines out of the file."
                )
        self._marks: list[tuple[int, int]] = []
        self._low, self._high, whole = np.inf, -np.inf, True
        texts: list[list[str]] = []
        for begin, chunk in self._chunks(None):
            self._marks.append((len(texts), begin))
            values, bad = self._parse(chunk)
            found |= {len(texts) + row: why for row, why in bad.items()}
            if values.dtype.kind == "f":
                whole = whole and bool((np.isfinite(values) & (values == np.floor(values))).all())
            low, high = extremes(values)
            self._low, self._high = min(self._low, low), max(self._high, high)
            others = self._other_fields(chunk)
            for row in (row for row, why in bad.items() if why.endswith(_OTHER_LENGTH)):
                others[row] = [f"row {len(texts) + row}" if i in ids else "" for i in self._others]
            texts += others
        self.bad: Mapping[int, str] = found
        columns = {heads[i]: [row[at] for row in texts] for at, i in enumerate(self._others)}
        self.table = Table(path, columns, len(texts))
        self.dtype: np.dtype[Any] = np.dtype(np.int64 if whole else np.float64)
        self.shape: tuple[int, ...] = (len(texts), *pixels.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop, parsed from the chunk that holds the first on."""
        out = np.zeros((stop - start, *self.shape[1:]), self.dtype)
        first, offset = next((mark for mark in reversed(self._marks) if mark[0] <= start), (0, None))
        for _, chunk in self._chunks(offset):
            if first >= stop:
                break
            values, _ = self._parse(chunk)
            begin, end = max(start, first), min(stop, first + len(values))
            if begin < end:
                out[begin - start : end - start] = values[begin - first : end - first].reshape(-1, *self.shape[1:])
            first += len(values)
        return out

    def whole(self) -> np.ndarray:
        """All of it."""
        return self.rows(0, len(self))

    def extremes(self) -> tuple[float, float]:
        """Lowest and highest value, seen in the first pass."""
        return (self._low, self._high) if self._high >= self._low else (0.0, 0.0)

    def _chunks(self, offset: int | None) -> Iterator[tuple[int, bytes]]:
        """The rows of `chunks`, empty lines left out."""
        for begin, text in chunks(self.path, heading=True, offset=offset):
            rows = text.strip(b"\n")
            if b"\r" in rows or b"\n\n" in rows:
                rows = b"\n".join(line for line in rows.splitlines() if line.strip())
            if rows:
                yield begin, rows

    def _parse(self, chunk: bytes) -> tuple[np.ndarray, dict[int, str]]:
        """Pixels (rows, columns) of whole rows, and the reason for each row that has none (its numbers are 0)."""
        comma = self._delimiter.encode()
        numbers, lines = None, chunk.count(b"\n") + 1
        full = chunk.count(comma) == lines * (self._count - 1) and comma + comma not in chunk and b" " not in chunk
        if comma != b"\t" and full:  # else "1 2," would be taken for two numbers
            numbers = whole_numbers(chunk.replace(b";", b",") if comma == b";" else chunk)
        if numbers is not None and len(numbers) == lines * self._count and rows_fit(chunk, self._count):
            return numbers.reshape(lines, self._count)[:, self._columns], {}
        rows = chunk.decode("utf-8", "replace").split("\n")
        fields = {row.count(self._delimiter) for row in rows} if b'"' not in chunk else {self._count - 1}
        if fields != {self._count - 1}:
            return self._one_by_one(rows)
        try:
            return self._numbers(rows), {}
        except ValueError:
            return self._one_by_one(rows)

    def _one_by_one(self, rows: list[str]) -> tuple[np.ndarray, dict[int, str]]:
        """As `_parse`, of rows of which one or more has a fault."""
        values, bad = np.zeros((len(rows), len(self._columns))), {}
        for at, row in enumerate(rows):
            count = len(next(csv.reader([row], delimiter=self._delimiter)))
            try:
                if count == self._count:
                    values[at] = self._numbers([row])[0]
                else:
                    bad[at] = f"{count} fields, where {self._count} are {_OTHER_LENGTH}"
            except ValueError:
                bad[at] = "pixels that are no numbers"
        return values, bad

    def _numbers(self, rows: list[str]) -> np.ndarray:
        """Pixels of rows, (rows, columns) float64; ValueError when one is no number."""
        return np.loadtxt(
            rows, np.float64, comments=None, delimiter=self._delimiter, usecols=self._columns, ndmin=2, quotechar='"'
        )

    def _other_fields(self, chunk: bytes) -> list[list[str]]:
        """Texts of the columns that are no pixels, a list per row; empty ones for a row of another length."""
        rows = chunk.decode("utf-8", "replace").split("\n")
        last = max(self._others, default=-1) + 1
        if b'"' not in chunk and last < self._count:
            split = [row.split(self._delimiter, last) for row in rows]
        else:
            split = list(csv.reader(rows, delimiter=self._delimiter))
        return [[row[i].strip() if i < len(row) else "" for i in self._others] for row in split]


class WideParquet:
    """Pixels of a Parquet file as `Rows`, (n, height, width, channels), read batch by batch; see WideCsv."""

    def __init__(self, path: Path, pixels: Pixels) -> None:
        self.path, self.name, self.key = path, str(path), ""
        self.bad: Mapping[int, str] = {}
        self._names, file = list(pixels.names), open_parquet(path)
        kinds = {file.schema_arrow.field(name).type.to_pandas_dtype() for name in self._names}
        self.dtype: np.dtype[Any] = np.result_type(*kinds)
        if self.dtype.kind not in "biuf":
            raise SourceError(f"pixels of type {self.dtype}", where=path, allowed="numbers")
        others = [name for name in file.schema_arrow.names if name not in set(self._names)]
        self.table = parquet_table(path, others)
        self.shape: tuple[int, ...] = (file.metadata.num_rows, *pixels.shape)
        self._at, self._left = 0, np.empty((0, len(self._names)), self.dtype)
        self._batches: Iterator[Any] = iter(())

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop; going back begins at the file's beginning again."""
        if start < self._at or self._at == 0:
            self._at, self._left = 0, self._left[:0]
            self._batches = open_parquet(self.path).iter_batches(batch_size=1024, columns=self._names)
        parts, wanted = [], stop - start
        while wanted:
            if not len(self._left):
                self._left = self._next()
            skipped = min(max(0, start - self._at), len(self._left))
            part = self._left[skipped : skipped + wanted] if self._at + skipped >= start else self._left[:0]
            parts.append(part)
            self._left = self._left[skipped + len(part) :]
            self._at += skipped + len(part)
            wanted -= len(part)
        return np.concatenate(parts).reshape(-1, *self.shape[1:]) if parts else np.empty((0, *self.shape[1:]))

    def whole(self) -> np.ndarray:
        """All of it."""
        return self.rows(0, len(self))

    def extremes(self) -> tuple[float, float]:
        """Lowest and highest finite value, read in blocks."""
        return extremes_of(self)

    def _next(self) -> np.ndarray:
        try:
            batch = next(self._batches)
        except (StopIteration, OSError, ValueError) as error:
            raise SourceError("damaged or truncated", where=self.path, got=str(error)) from error
        columns = [batch.column(name) for name in self._names]
        if any(column.null_count for column in columns) and self.dtype.kind != "f":
            raise SourceError("pixels without a value among whole numbers", where=self.path, cure="Store them as float")
        out = np.empty((batch.num_rows, len(columns)), self.dtype)
        for i, column in enumerate(columns):
            out[:, i] = column.to_numpy(zero_copy_only=False)
        return out


def open_parquet(path: Path) -> Any:
    """Open a Parquet file; MissingExtra without pyarrow, SourceError when it is none, or two columns have one name."""
    machine.require("tables", "pyarrow", needed_for="reading Parquet")
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise SourceError("not a Parquet file, or truncated", where=path, got=str(error)) from error
    seen: set[str] = set()
    for name in file.schema_arrow.names:
        if name in seen:
            raise SourceError(f"two columns are called {name!r}", where=path, cure="Give each column its own name.")
        seen.add(name)
    return file


def parquet_table(path: Path, names: Sequence[str]) -> Table:
    """Columns of a Parquet file as texts, like those of a CSV; nested ones are left out, nulls are empty."""
    file = open_parquet(path)
    try:
        table = file.read(columns=list(names))
    except (OSError, ValueError) as error:
        raise SourceError("damaged or truncated", where=path, got=str(error)) from error
    flat = [name for name in names if not table.schema.field(name).type.num_fields]
    texts = {name: ["" if v is None else str(v) for v in table.column(name).to_pylist()] for name in flat}
    return Table(path, texts, int(file.metadata.num_rows))
