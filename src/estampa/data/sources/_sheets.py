"""Tables a stretch of rows at a time, columns by name: CSV, Parquet, VOTable, FITS, ECSV, structured .npy.

Nothing is decided here: cells come as the file holds them, numbers as arrays and texts as lists.
"""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from estampa.data.sources._anytable import astropy_table, kind_of
from estampa.data.sources._arrayfiles import ArrayFile
from estampa.data.sources._tables import at_heading, delimiter_of
from estampa.data.sources._wide import PARQUET, open_parquet
from estampa.errors import SourceError

Cells = np.ndarray | list[str]
_CELLS = 1 << 18  #: of one stretch
_FEWEST, _MOST = 16, 1 << 16  #: rows of one stretch
_FIELD_LIMIT = 1 << 20
OTHER_LENGTH = "fields, where the heading line names"


@dataclass
class Stretch:
    """Consecutive rows: cells of each column, (m,) numbers or m texts, and the rows that are damaged."""

    start: int
    rows: int
    cells: Mapping[str, Cells]
    bad: Mapping[int, str] = field(default_factory=dict)  #: row of the table -> reason; its cells are empty


class Sheet(ABC):
    """A table that was opened. Columns of several values a row are left out, in `nested`."""

    path: Path
    names: tuple[str, ...]
    units: Mapping[str, str]
    nested: tuple[str, ...] = ()

    @abstractmethod
    def stretches(self, start: int = 0, names: Sequence[str] | None = None) -> Iterator[Stretch]:
        """Yield the rows from `start` on in order, the columns `names` (None = all). SourceError for damage."""

    def step(self, names: Sequence[str]) -> int:
        """Rows of a stretch of so many columns."""
        return min(_MOST, max(_FEWEST, _CELLS // max(1, len(names))))


class CsvSheet(Sheet):
    """A comma, semicolon or tab separated text in UTF-8 with a heading line; BOM and comments are skipped."""

    def __init__(self, path: Path) -> None:
        self.path, self.units = path, {}
        rows = self._rows()
        heads = next(rows, [])
        rows.close()
        if not heads:
            raise SourceError("the table is empty", where=path, cure="The first line names the columns.")
        named = [name.strip() or f"unnamed: {i}" for i, name in enumerate(heads)]
        counts = Counter(named)
        twice = next((name for name in named if counts[name] > 1), "")
        if twice:
            raise SourceError(f"two columns are called {twice!r}", where=path, cure="Give each column its own name.")
        if all(_is_number(name) for name in named):
            raise SourceError(
                "the first line holds numbers, no names of columns", where=path, got=", ".join(named[:5]),
                cure="Add a heading line that names the columns.",
            )  # fmt: skip
        self.names = tuple(named)

    def stretches(self, start: int = 0, names: Sequence[str] | None = None) -> Iterator[Stretch]:
        """See Sheet."""
        wanted = self.names if names is None else tuple(names)
        at = {name: i for i, name in enumerate(self.names)}
        places = [at[name] for name in wanted]
        width, step = len(self.names), self.step(self.names)
        rows = self._rows()
        next(rows, None)
        for _ in islice(rows, start):
            pass
        while some := list(islice(rows, step)):
            bad = {}
            if set(map(len, some)) != {width}:
                for i, row in enumerate(some):
                    if len(row) != width:
                        bad[start + i] = f"{len(row)} {OTHER_LENGTH} {width}"
                        some[i] = [""] * width
            columns: list[Any] = list(zip(*some, strict=True))
            yield Stretch(start, len(some), {n: columns[i] for n, i in zip(wanted, places, strict=True)}, bad)
            start += len(some)

    def _rows(self) -> Generator[list[str], None, None]:
        """Rows of the file, the heading first, empty lines left out."""
        csv.field_size_limit(_FIELD_LIMIT)
        with self.path.open(newline="", encoding="utf-8-sig") as stream:
            try:
                delimiter = delimiter_of(at_heading(stream, self.path))
                yield from filter(None, csv.reader(stream, delimiter=delimiter, strict=True))
            except (UnicodeDecodeError, csv.Error) as error:
                raise SourceError("not a text table in UTF-8", where=self.path, got=str(error)) from error


class ParquetSheet(Sheet):
    """A Parquet file, read in batches."""

    def __init__(self, path: Path) -> None:
        self.path = path
        schema = open_parquet(path).schema_arrow
        flat = [name for name in schema.names if not schema.field(name).type.num_fields]
        self.names, self.nested = tuple(flat), tuple(name for name in schema.names if name not in set(flat))
        told = {name: (schema.field(name).metadata or {}).get(b"unit", b"") for name in flat}
        self.units = {name: unit.decode("utf-8", "replace") for name, unit in told.items() if unit}

    def stretches(self, start: int = 0, names: Sequence[str] | None = None) -> Iterator[Stretch]:
        """See Sheet."""
        wanted = list(self.names if names is None else names)
        file, at = open_parquet(self.path), 0
        for number in range(file.metadata.num_row_groups):  # one by one: else all of the file is fetched ahead
            count = file.metadata.row_group(number).num_rows
            if at + count > start:
                yield from self._group(file, number, at, max(start, at), wanted)
            at += count

    def _group(self, file: Any, number: int, at: int, start: int, wanted: list[str]) -> Iterator[Stretch]:
        """Rows of one row group, which begins at row `at`, from `start` on."""
        try:
            for batch in file.iter_batches(batch_size=self.step(wanted), row_groups=[number], columns=wanted):
                some = batch.slice(max(0, min(batch.num_rows, start - at)))
                if some.num_rows:
                    cells = {name: _of_arrow(some.column(name)) for name in wanted}
                    yield Stretch(at + batch.num_rows - some.num_rows, some.num_rows, cells)
                at += batch.num_rows
        except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
            raise SourceError("damaged or truncated", where=self.path, got=str(error)) from error


class AstroSheet(Sheet):
    """A VOTable, FITS table or ECSV. A VOTable and an ECSV are parsed whole, a FITS file is mapped."""

    def __init__(self, path: Path) -> None:
        self.path, self._table = path, astropy_table(path)
        heads = [str(name) for name in self._table.colnames]
        self.names = tuple(name for name in heads if self._table[name].ndim == 1)
        self.nested = tuple(name for name in heads if name not in set(self.names))
        self.units = {name: str(unit) for name in self.names if (unit := self._table[name].unit) is not None}

    def stretches(self, start: int = 0, names: Sequence[str] | None = None) -> Iterator[Stretch]:
        """See Sheet."""
        wanted = self.names if names is None else tuple(names)
        step, n = self.step(wanted), len(self._table)
        for first in range(start, n, step):
            cells = {name: _of_astropy(self._table[name][first : first + step]) for name in wanted}
            yield Stretch(first, min(step, n - first), cells)


class ArraySheet(Sheet):
    """A structured .npy: one record a row."""

    def __init__(self, array: ArrayFile) -> None:
        self.path, self._array, self.units = array.path, array, {}
        kinds = {name: kind[0] for name, kind in (array.dtype.fields or {}).items()}
        self.names = tuple(name for name, kind in kinds.items() if kind.shape == () and kind.kind in "biufUS")
        self.nested = tuple(name for name in kinds if name not in set(self.names))

    def stretches(self, start: int = 0, names: Sequence[str] | None = None) -> Iterator[Stretch]:
        """See Sheet."""
        wanted, n = (self.names if names is None else tuple(names)), len(self._array)
        step = self.step(self.names)
        for first in range(start, n, step):
            some = self._array.rows(first, min(n, first + step))
            yield Stretch(first, len(some), {name: _of_array(some[name]) for name in wanted})


def sheet_of(path: Path) -> Sheet:
    """Open a table by its name's ending.

    Raises SourceError for what cannot be read, MissingExtra where pyarrow or astropy is needed and is not there.
    """
    if kind_of(path):
        return AstroSheet(path)
    return ParquetSheet(path) if path.suffix.lower() in PARQUET else CsvSheet(path)


def _of_array(values: np.ndarray) -> Cells:
    """Numbers of this machine's byte order, or texts."""
    if values.dtype.kind == "b":
        return values.astype(np.int64)
    if values.dtype.kind in "iuf":
        return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="), copy=False))
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.tolist()]


def _of_arrow(column: Any) -> Cells:
    """A column of a batch: whole numbers without nulls and floating point as they are, all else as texts."""
    import pyarrow.types as kinds

    kind = column.type
    if kinds.is_floating(kind):
        return _of_array(column.to_numpy(zero_copy_only=False))
    if (kinds.is_integer(kind) or kinds.is_boolean(kind)) and not column.null_count:
        return _of_array(column.to_numpy(zero_copy_only=False))
    if kinds.is_null(kind):
        return np.full(len(column), np.nan)
    whole = kinds.is_boolean(kind)
    return ["" if v is None else str(int(v) if whole else v) for v in column.to_pylist()]


def _of_astropy(column: Any) -> Cells:
    """A column's stretch: numbers without a mask as they are, masked floats NaN, all else as texts."""
    mask = getattr(column, "mask", None)
    masked = mask is not None and bool(np.any(mask))
    if column.dtype.kind == "f":
        return _of_array(np.asarray(column.filled(np.nan) if masked else column))
    if column.dtype.kind in "biu" and not masked:
        return _of_array(np.asarray(column))
    whole = column.dtype.kind == "b"
    return ["" if v is np.ma.masked or v is None else str(int(v) if whole else v).strip() for v in column]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
