"""What a bundle remembers of the data: which rows are of which part, and which of its classes a label is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from estampa.bundle.store import Bundle
from estampa.data.dataset import PARTS, Dataset
from estampa.predict.table_source import DatasetTable, TableSource


def held_of(bundle: Bundle, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Ids and content hashes of a part that the bundle remembers; none when it had no such part."""
    if f"hashes_{part}" not in bundle.tensors("held"):
        return np.array([], np.str_), np.array([], np.uint64)
    return bundle.held(part)


def parts_of(dataset: Dataset, bundle: Bundle | None = None) -> dict[str, np.ndarray]:
    """Rows of "train", "validation" and "test".

    Of the very data that the bundle was made from, the parts are those of its training, which it remembers; of other
    data, those that the file states.
    """
    if bundle is not None and dataset.content_sha256 == bundle.manifest.hashes.data:
        ids = np.asarray(dataset.ids)
        return {name: np.flatnonzero(np.isin(ids, held_of(bundle, name)[0])) for name in PARTS[1:]}
    return {name: np.asarray(dataset.rows(name)) for name in PARTS[1:]}


def rows_in(source: TableSource, bundle: Bundle, part: str) -> np.ndarray:
    """(n,) bool: which rows of a source are of a part that the bundle remembers.

    Within the very Dataset that the bundle was made from by id; in any other data by content hash, and by id where ids
    are names: whole numbers in a row count the rows of a file, and name no object.
    """
    ids, hashes = held_of(bundle, part)
    names = np.asarray(source.ids).astype(np.str_)
    same_id: np.ndarray = np.isin(names, ids)
    if isinstance(source, DatasetTable) and source.dataset.content_sha256 == bundle.manifest.hashes.data:
        return same_id
    same: np.ndarray = np.isin(source.hashes(), hashes)
    return same if _counted(names) else same | same_id


def _counted(ids: np.ndarray) -> bool:
    """Whether ids are the numbers of rows, from 0 or 1 on."""
    return all(name.isdigit() and int(name) - i in (0, 1) for i, name in enumerate(ids.tolist()))


def in_class_order(labels: np.ndarray, theirs: Sequence[str], ours: Sequence[str]) -> np.ndarray:
    """Class numbers `labels` (n,) among `theirs` as numbers among `ours`, matched by name; -1 = unlabelled, or unknown
    to us.
    """
    place = {name: c for c, name in enumerate(ours)}
    table = np.array([*(place.get(name, -1) for name in theirs), -1], np.int64)
    found: np.ndarray = table[np.asarray(labels, np.int64)]  # -1 takes the last
    return found
