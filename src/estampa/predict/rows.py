"""What every kind of data to be scored is seen as: rows with ids, in order."""

from __future__ import annotations

from hashlib import sha256

import numpy as np

from estampa.data.dataset import Dataset
from estampa.data.record import Header
from estampa.errors import InputError

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
