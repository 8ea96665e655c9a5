"""What is scored, seen in one way: a Dataset or a part of it, any source that `build` reads, or an array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from estampa.bundle.contract import InputContract
from estampa.bundle.contract_table import TableContract
from estampa.data.dataset import Dataset
from estampa.data.layout import is_foreign
from estampa.data.record import Header, ReadRecord
from estampa.errors import InputError
from estampa.predict.rows import OfDataset, OfReading, Part, Source
from estampa.predict.table_source import ArrayTable, DatasetTable, ReadingTable, TableSource

if TYPE_CHECKING:
    from estampa.data.read import Reading

Data = Path | str | Dataset | np.ndarray | Sequence[Path | str]
_SAMPLE = 512  #: pictures whose scale is looked at before the work
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass
class Chunk:
    """Consecutive rows: images (m, h, w, c), and the reason of each row that could not be read (it holds zeros)."""

    start: int
    images: np.ndarray
    rejected: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)


class PictureSource(Source):
    """Pictures to be scored."""

    def chunks(self, start: int, size: int) -> Iterator[Chunk]:
        """Rows from `start` on, in order, `size` at a time."""
        raise NotImplementedError

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The images of some rows, (m, h, w, c), in the order asked for; those before the last are read on the way."""
        wanted, found = np.asarray(rows), np.empty((len(rows), *(self.header.shape or ())), self.header.dtype)
        for chunk in self.chunks(0, _SAMPLE // 8):
            here = np.flatnonzero((wanted >= chunk.start) & (wanted < chunk.start + len(chunk.images)))
            found[here] = chunk.images[wanted[here] - chunk.start]
            if not (wanted >= chunk.start + len(chunk.images)).any():
                break
        return found

    def sample(self, size: int) -> np.ndarray:
        """Some readable pictures, for a look at their scale before the work; `size` rows are read at a time."""
        for chunk in self.chunks(0, min(size, _SAMPLE)):
            good = [i for i in range(len(chunk.images)) if chunk.start + i not in chunk.rejected]
            if good:
                return np.ascontiguousarray(chunk.images[_spread(np.array(good))])
        return np.zeros((0, *(self.header.shape or (1, 1, 1))), self.header.dtype)


class DatasetRows(OfDataset, PictureSource):
    """The pictures of a Dataset, or some of them: row numbers, or the name of a part."""

    def chunks(self, start: int, size: int) -> Iterator[Chunk]:
        """Copies of the images, chunk by chunk; the file's pages are given back."""
        at = start
        for _, images in self.dataset.blocks(self.rows[start:], size):
            yield Chunk(at, images)
            at += len(images)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Only these rows are read."""
        return self.dataset.take(self.rows[rows])

    def sample(self, size: int) -> np.ndarray:  # noqa: ARG002 - rows can be read singly here
        """Pictures spread over all rows, read one by one so that no more of the file is touched."""
        rows = _spread(self.rows)
        return np.concatenate([self.dataset.take(rows[i : i + 1]) for i in range(len(rows))])


class ReadingRows(OfReading, PictureSource):
    """The pictures of a source that is decoded on the way."""

    def chunks(self, start: int, size: int) -> Iterator[Chunk]:
        """Blocks as the source gives them."""
        for block in self.reading.blocks(start, size):
            yield Chunk(block.start, block.images, dict(block.rejected))


class ArrayRows(PictureSource):
    """An array (n, height, width, channels) in memory; its ids are the row numbers."""

    def __init__(self, images: np.ndarray) -> None:
        if images.ndim != 4 or not len(images):
            raise InputError(
                "an array of pictures has four axes, and at least one row", allowed="(n, height, width, channels)",
                got=images.shape,
            )  # fmt: skip
        self.images = images
        _, h, w, c = images.shape
        header = Header(len(images), (h, w, c), str(images.dtype), "unlabelled", read=ReadRecord(source="arrays"))
        digest = sha256(np.ascontiguousarray(images).data).hexdigest()
        super().__init__(header, np.arange(len(images)).astype(np.str_), digest, "the array")

    def chunks(self, start: int, size: int) -> Iterator[Chunk]:
        """Views of the array."""
        for at in range(start, len(self.images), size):
            yield Chunk(at, self.images[at : at + size])


def open_source(data: Data, contract: InputContract, part: Part = "") -> PictureSource:
    """See `data` as pictures; files are read as the training files were (the contract's read record is replayed).

    Raises SourceError or DatasetError when they cannot be read, InputError when `part` is asked of anything but a
    Dataset.
    """
    data = _opened(data, part)
    if isinstance(data, Dataset):
        return DatasetRows(data, part)
    if isinstance(data, np.ndarray):
        return ArrayRows(data)
    reading, name = _reading(data, contract)
    return ReadingRows(reading, name)


def open_table(data: Data, contract: TableContract, part: Part = "") -> TableSource:
    """See `data` as rows of a table, its columns found by name; raises as `open_source` does.

    A missing column, or one in another unit, is a ContractError.
    """
    data = _opened(data, part)
    if isinstance(data, Dataset):
        return DatasetTable(data, part, contract)
    if isinstance(data, np.ndarray):
        return ArrayTable(data, contract)
    reading, name = _reading(data, contract)
    return ReadingTable(reading, name, contract)


def _opened(data: Data, part: Part) -> Data:
    """`data`, or the Dataset that is meant by its path; only Datasets have parts."""
    if isinstance(data, (str, Path)) and _is_hdf5(Path(data)) and not is_foreign(Path(data)):
        data = Dataset.open(data)
    if len(part) and not isinstance(data, Dataset):
        raise InputError("only a Dataset has parts", where="part")
    return data


def _reading(data: Path | str | Sequence[Path | str], contract: InputContract | TableContract) -> tuple[Reading, str]:
    """The source of files, and its name for messages."""
    from estampa.data.read import ReadOptions, open_reading

    paths = [data] if isinstance(data, (str, Path)) else list(data)
    reading = open_reading(paths, ReadOptions(record=contract.read_record))
    return reading, ", ".join(map(str, paths[:3]))


def _is_hdf5(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(_HDF5)) == _HDF5


def _spread(rows: np.ndarray) -> np.ndarray:
    if len(rows) <= _SAMPLE:
        return rows
    spread: np.ndarray = rows[np.linspace(0, len(rows) - 1, _SAMPLE).astype(np.int64)]
    return spread
