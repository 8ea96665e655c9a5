"""What was measured in a Dataset's table and what was not, counted a block at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from estampa.data import sentinels
from estampa.data.dataset import Dataset
from estampa.data.same import features_at

BLOCK = 1 << 16  #: rows in memory at once
#: What a column's role is called where people read it.
ROLE_WORDS = {"feature": "learned from", "leak": "tells the answer", "ignore": "kept aside", "weight": "weight"}


@dataclass(frozen=True)
class Measured:
    """Columns in the order of the header.

    `failed`: (column, rule) -> values that it marks. `valid` (c,) counts the others, `low` and `high` (c,) are their
    ends (infinite where there is none). `rows`: those with a failed value; `blank`: those without one measured feature.
    """

    failed: Counter[tuple[str, str]]
    valid: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rows: np.ndarray
    blank: np.ndarray


def measured(dataset: Dataset, rules: Sequence[sentinels.Rule]) -> Measured:
    """Count what `rules` mark in the whole table; memory holds one block."""
    names, features = dataset.header.columns, features_at(dataset)
    failed: Counter[tuple[str, str]] = Counter()
    valid = np.zeros(len(names), np.int64)
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    rows, blank = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for start in range(0, dataset.n, BLOCK):
        block = dataset.table_rows(np.arange(start, min(dataset.n, start + BLOCK)))
        bad = sentinels.invalid(block, names, rules)
        rows.append(start + np.flatnonzero(bad.any(axis=1)))
        if features:
            blank.append(start + np.flatnonzero(bad[:, features].all(axis=1)))
        valid += (~bad).sum(0)
        low = np.minimum(low, np.where(bad, np.inf, block).min(0))
        high = np.maximum(high, np.where(bad, -np.inf, block).max(0))
        for one in sentinels.tally(block, names, rules):
            failed[one.column, one.rule] += one.count
    return Measured(failed, valid, low, high, np.concatenate(rows), np.concatenate(blank))
