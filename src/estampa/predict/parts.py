"""What a bundle remembers of the data: which rows are of which part, and which of its classes a label is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from estampa.bundle.store import Bundle
from estampa.data.dataset import PARTS, Dataset


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


def in_class_order(labels: np.ndarray, theirs: Sequence[str], ours: Sequence[str]) -> np.ndarray:
    """Class numbers `labels` (n,) among `theirs` as numbers among `ours`, matched by name; -1 = unlabelled, or unknown
    to us.
    """
    place = {name: c for c, name in enumerate(ours)}
    table = np.array([*(place.get(name, -1) for name in theirs), -1], np.int64)
    found: np.ndarray = table[np.asarray(labels, np.int64)]  # -1 takes the last
    return found
