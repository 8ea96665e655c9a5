"""Rows of a table to be scored: columns found by name in a Dataset, in any source of tables, or in an array."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from estampa.bundle.contract_table import TableContract, places
from estampa.data.dataset import Dataset
from estampa.data.record import Header, ReadRecord, row_digests, short_hashes
from estampa.errors import ContractError, InputError
from estampa.predict.rows import OfDataset, OfReading, Part, Source

if TYPE_CHECKING:
    from estampa.data.read import Reading


@dataclass
class TableChunk:
    """Consecutive rows: the contract's columns (m, columns) float64 in its order, raw; the reason of each bad row."""

    start: int
    values: np.ndarray
    rejected: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)


class TableSource(Source):
    """Rows of a table. `place` (columns,) says where the contract's columns stand in the data."""

    place: np.ndarray

    def table_chunks(self, start: int, size: int) -> Iterator[TableChunk]:
        """Rows from `start` on, in order, `size` at a time."""
        raise NotImplementedError

    def take_rows(self, rows: np.ndarray) -> np.ndarray:
        """Raw values (m, columns) of some rows in the order asked for; those before the last are read on the way.

        A row that cannot be read is NaN.
        """
        wanted, found = np.asarray(rows), np.full((len(rows), len(self.place)), np.nan)
        for chunk in self.table_chunks(0, 1 << 14):
            chunk.values[[row - chunk.start for row in chunk.rejected]] = np.nan
            here = np.flatnonzero((wanted >= chunk.start) & (wanted < chunk.start + len(chunk)))
            found[here] = chunk.values[wanted[here] - chunk.start]
            if not (wanted >= chunk.start + len(chunk)).any():
                break
        return found

    def hashes(self) -> np.ndarray:
        """(n,) uint64 content hashes of the rows, as a Dataset made of them would hold."""
        found = [short_hashes(row_digests(None, chunk.values)) for chunk in self.table_chunks(0, 1 << 14)]
        return np.concatenate(found)


class DatasetTable(OfDataset, TableSource):
    """The table of a Dataset, or some of its rows: row numbers, or the name of a part."""

    def __init__(self, dataset: Dataset, part: Part, contract: TableContract) -> None:
        super().__init__(dataset, part)
        self.place = places(contract, dataset.header.columns, dataset.header.column_units, self.name)

    def table_chunks(self, start: int, size: int) -> Iterator[TableChunk]:
        """Copies of the rows, chunk by chunk."""
        for at in range(start, len(self.rows), size):
            yield TableChunk(at, self.take_rows(np.arange(at, min(at + size, len(self.rows)))))

    def take_rows(self, rows: np.ndarray) -> np.ndarray:
        """Only these rows are read."""
        values: np.ndarray = np.asarray(self.dataset.table_rows(self.rows[rows]), np.float64)[:, self.place]
        return values

    def hashes(self) -> np.ndarray:
        """As the Dataset holds them."""
        found: np.ndarray = self.dataset.hashes[self.rows]
        return found


class ReadingTable(OfReading, TableSource):
    """The rows of a file that is read on the way, never whole."""

    def __init__(self, reading: Reading, name: str, contract: TableContract) -> None:
        super().__init__(reading, name)
        self.place = places(contract, reading.header.columns, reading.header.column_units, name)

    def table_chunks(self, start: int, size: int) -> Iterator[TableChunk]:
        """Blocks as the source gives them."""
        names = [self.reading.header.columns[place] for place in self.place]  # what others hold rejects no row
        for at, values, rejected in self.reading.table_blocks(start, size, names):
            yield TableChunk(at, values, {row: _why(reason) for row, reason in rejected.items()})

    def hashes(self) -> np.ndarray:
        """Of all columns of the file, whether the model reads them or not."""
        blocks = self.reading.table_blocks(0, 1 << 14)
        return np.concatenate(
            [short_hashes(row_digests(None, np.asarray(values, np.float64))) for _, values, _ in blocks]
        )


class ArrayTable(TableSource):
    """A structured array (n,), whose columns are found by name, or (n, columns) in the contract's order."""

    def __init__(self, array: np.ndarray, contract: TableContract) -> None:
        names = array.dtype.names or contract.column_names
        if array.dtype.names is None and (array.ndim != 2 or array.shape[1] != len(names)):
            raise ContractError(
                "an array without names of columns has the contract's columns in its order",
                allowed=f"(n, {len(names)})", got=array.shape, cure="Hand in a structured array, or a file with names.",
            )  # fmt: skip
        if not len(array) or array.ndim > 2 or (array.dtype.names is not None and array.ndim != 1):
            raise InputError("a table has at least one row, and one axis of rows", got=array.shape)
        self.array = array
        header = Header(len(array), None, "", "unlabelled", columns=names, read=ReadRecord(source="arrays"))
        digest = sha256(np.ascontiguousarray(array).data).hexdigest() if not array.dtype.hasobject else ""
        super().__init__(header, np.arange(len(array)).astype(np.str_), digest, "the array")
        self.place = places(contract, names, (), self.name)
        self._names = contract.column_names
        odd = [n for n in self._names if array.dtype.names and array.dtype[n].kind not in "biuf"]
        if odd or (array.dtype.names is None and array.dtype.kind not in "biuf"):
            raise ContractError(
                f"the column {odd[0] if odd else names[0]!r} does not hold numbers", where=self.name,
                got=array.dtype[odd[0]] if odd else array.dtype,
            )  # fmt: skip

    def table_chunks(self, start: int, size: int) -> Iterator[TableChunk]:
        """Copies of the array's rows."""
        for at in range(start, len(self.array), size):
            some = self.array[at : at + size]
            named = self.array.dtype.names is not None
            values = np.stack([some[name] for name in self._names], axis=1) if named else some
            yield TableChunk(at, values.astype(np.float64))


def _why(reason: str) -> str:
    return reason or "cannot be read"
