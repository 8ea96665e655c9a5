"""VOTables, FITS tables and ECSV whose rows are pictures: pixels in columns of numbers, or an array in each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from estampa.data.sources._anytable import astropy_table, texts_of
from estampa.data.sources._planes import Held, extremes_of
from estampa.data.sources._tables import Table
from estampa.errors import SourceError

_FLAT = 16  #: numbers in a cell from which on it may be a flattened picture


class Cells:
    """A table of astropy's: names of its columns, arrays in cells, and stretches of columns of numbers."""

    def __init__(self, path: Path) -> None:
        self.path, self._table = path, astropy_table(path)
        self.heads: list[str] = [str(name) for name in self._table.colnames]

    def pictures(self, flat: bool) -> list[str]:
        """Columns with an array in each cell: of two axes or three, or of one where `flat` ones are asked for."""
        found = []
        for name in self.heads:
            column = self._table[name]
            numbers = column.dtype.kind in "biuf" and column.ndim > 1
            if numbers and (column.ndim > 2 or (flat and column.shape[1] >= _FLAT)):
                found.append(name)
        return found

    def picture(self, name: str) -> Held:
        """Arrays of a column, (n, ...); a masked number is NaN."""
        return Held(_plain(self._table[name], f"{self.path}: {name}"), f"{self.path}: {name}", name)

    def wide(self, names: Sequence[str], shape: tuple[int, int, int]) -> Wide:
        """Pixels in columns as `Rows`."""
        columns = [_plain(self._table[name], f"{self.path}: {name}") for name in names]
        return Wide(columns, str(self.path), shape)

    def texts(self, without: Sequence[str] = ()) -> Table:
        """Columns of one value a row, but those, as texts."""
        left = set(without)
        return texts_of(self.path, self._table[[name for name in self.heads if name not in left]])


class Wide:
    """Columns of numbers as `Rows`, (n, height, width, channels): columns stay where they are until rows are asked."""

    def __init__(self, columns: Sequence[np.ndarray], name: str, shape: tuple[int, int, int]) -> None:
        self.name, self.key, self._columns = name, "", columns
        self.bad: Mapping[int, str] = {}
        if any(column.ndim > 1 or column.dtype.kind not in "biuf" for column in columns):
            raise SourceError("pixels in columns that are not numbers", where=name)
        self.dtype: np.dtype[Any] = np.result_type(*{column.dtype.newbyteorder("=") for column in columns})
        self.shape: tuple[int, ...] = (len(columns[0]), *shape)

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop."""
        out = np.empty((stop - start, len(self._columns)), self.dtype)
        for i, column in enumerate(self._columns):
            out[:, i] = column[start:stop]
        return out.reshape(-1, *self.shape[1:])

    def whole(self) -> np.ndarray:
        """All of it."""
        return self.rows(0, len(self))

    def extremes(self) -> tuple[float, float]:
        """Lowest and highest finite value, read in blocks."""
        return extremes_of(self)


def _plain(column: Any, where: str) -> np.ndarray:
    """Numbers of a column; masked ones are NaN, which whole numbers do not have."""
    mask = getattr(column, "mask", None)
    if mask is None or not np.any(mask):
        return np.asarray(column)
    if column.dtype.kind != "f":
        raise SourceError(
            "pixels without a value among whole numbers", where=where, cure="Store them as floating point"
        )
    return np.asarray(column.filled(np.nan))
