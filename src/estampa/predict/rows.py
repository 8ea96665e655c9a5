"""What every kind of data to be scored is seen as: rows with ids, in order."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from estampa.data.dataset import Dataset
from estampa.data.record import Header
from estampa.errors import InputError

if TYPE_CHECKING:
    from estampa.data.read import Reading

Part = str | np.ndarray  #: the name of a part, row numbers, or "" for all rows


class Source:
    """Rows to be scored. `fingerprint` changes when the data do; `name` is how messages call them."""

    def __init__(self, header: Header, ids: np.ndarray, fingerprint: str, name: str) -> None:
        self.header, self.ids, self.fingerprint, self.name = header, ids, fingerprint, name

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> np.ndarray | None:
        """(n,) as the data state them, class numbers in the order of `header.classes`; None where they do not."""
        return None

    @property
    def groups(self) -> np.ndarray | None:
        """(n,) what belongs together; None where the data do not say."""
        return None


class OfDataset(Source):
    """The rows of a Dataset, or some of them: row numbers, or the name of a part."""

    def __init__(self, dataset: Dataset, part: Part) -> None:
        self.dataset = dataset
        self.rows, marked, ids = part_rows(dataset, part)
        super().__init__(dataset.header, ids, f"{dataset.content_sha256}{marked}", str(dataset.path))

    @property
    def labels(self) -> np.ndarray | None:
        """The labels of these rows; None where the Dataset has none."""
        return None if self.dataset.task == "unlabelled" else np.asarray(self.dataset.labels)[self.rows]

    @property
    def groups(self) -> np.ndarray | None:
        """The groups of these rows."""
        return None if self.dataset.groups is None else np.asarray(self.dataset.groups)[self.rows]


class OfReading(Source):
    """The rows of a source that is read on the way, never whole."""

    def __init__(self, reading: Reading, name: str) -> None:
        self.reading = reading
        super().__init__(reading.header, np.asarray(reading.ids, dtype=np.str_), reading.fingerprint, name)

    @property
    def labels(self) -> np.ndarray | None:
        """As folders, a manifest or a column tell them."""
        return self.reading.labels

    @property
    def groups(self) -> np.ndarray | None:
        """As a manifest or a column tells them."""
        return self.reading.groups


def part_rows(dataset: Dataset, part: Part) -> tuple[np.ndarray, str, np.ndarray]:
    """Row numbers of a part of a Dataset, what marks them in a fingerprint, and their ids; InputError for none."""
    if isinstance(part, str):
        rows: np.ndarray = dataset.rows(part) if part else np.arange(dataset.n)
    else:
        rows = part.astype(np.int64)
    if not len(rows):
        raise InputError(f"its part {part!r} is empty", where=dataset.path, cure="`estampa split` makes the parts.")
    if not len(part):
        return rows, "", dataset.ids
    return rows, f":{sha256(rows.tobytes()).hexdigest()}", dataset.ids[rows]
