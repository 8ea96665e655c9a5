"""Which rows of a Dataset belong on one side of a split: groups, copies, and near copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa.data.dataset import Dataset
from estampa.data.deal import units
from estampa.data.duplicates import exact_duplicates, near_duplicates
from estampa.data.same import copy_hashes, same_objects
from estampa.progress import SILENT, Progress

MOST_SHARE = 0.1  #: of the rows that a set of near copies may hold; more are look-alikes, not copies
FEW = 10  #: near copies that are always held for that, up to a quarter of the rows


@dataclass(frozen=True)
class Ties:
    """Units of n rows (see `deal.units`), and what made them."""

    units: np.ndarray  #: (n,) rows that share a number must stay in one part
    copies: int = 0  #: rows with an exact copy
    near: int = 0  #: rows with a near copy
    ignored: int = 0  #: rows in sets of near copies that are too large to be that

    def to_json(self) -> dict[str, int]:
        """Plain counts, for the record of a split."""
        return {"copies": self.copies, "near": self.near, "ignored": self.ignored}


def ties_of(
    dataset: Dataset,
    groups: np.ndarray | None,
    *,
    near: bool = True,
    free: np.ndarray | None = None,
    progress: Progress = SILENT,
) -> Ties:
    """Tie the rows of a group, exact copies, and near copies (see duplicates.py; of a table alone, same.py).

    Parameters
    ----------
    groups : (n,) names of what must not be torn apart.
    near : whether near copies are looked for.
    free : (n,) bool; a near copy ties nothing where one of the two is not free, as in a published part.
    """
    hashes = copy_hashes(dataset)
    exact = exact_duplicates(hashes)
    copies = sum(map(len, exact))
    if not near:
        return Ties(units(groups, hashes, dataset.n), copies)
    alone = dataset.shape is None
    pairs = same_objects(dataset).pairs if alone else near_duplicates(dataset, progress=progress).pairs
    if free is not None:
        pairs = pairs[free[pairs].all(axis=1)]
    pairs, ignored = plausible(pairs, dataset.n)
    own = units(groups, hashes, dataset.n, pairs)
    return Ties(own, copies, len(np.unique(pairs)), ignored)


def plausible(pairs: np.ndarray, n: int) -> tuple[np.ndarray, int]:
    """Pairs (m, 2) of near copies without chains of more than a tenth of the n rows; and the rows left out of such.

    Of few rows a tenth is less than one picture saved three times: chains of FEW are let be, up to a quarter of them.
    Where so many pictures are alike, all of them are: flat drawings, empty sky. To keep them together would leave
    nothing to part.
    """
    if not len(pairs):
        return pairs, 0
    own = units(None, None, n, pairs)
    _, code, size = np.unique(own, return_inverse=True, return_counts=True)
    large = size[code[pairs[:, 0]]] > max(2, min(FEW, n // 4), MOST_SHARE * n)
    return pairs[~large], len(np.unique(pairs[large]))


def ignored_in_words(rows: int) -> str:
    """What is said of rows in sets of near copies that are too large to be that."""
    return f"{rows:,} objects look alike in sets too large to be copies; near copies among them may be torn"


def in_words(record: dict[str, Any]) -> str:
    """What a split's record says of copies, as a clause: ", copies kept on one side (...)"; "" when there are none."""
    tied = record.get("tied") or {}
    kinds = [f"{tied[key]:,} {words}" for key, words in (("copies", "exact"), ("near", "near")) if tied.get(key)]
    return f", copies kept on one side ({' and '.join(kinds)})" if kinds else ""
