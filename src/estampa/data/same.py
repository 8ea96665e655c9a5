"""Rows of a catalogue that are one object: at one place on the sky, or with equal measurements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estampa.data.dataset import Dataset, row_digests, short_hashes
from estampa.data.roles import DEC, RA, plain
from estampa.data.sentinels import EVERYWHERE
from estampa.data.skymatch import close_pairs

RADIUS = 1 / 3600  #: degrees within which two rows of a catalogue are one object: 1 arcsec
_FEWEST = 3  #: measurements of a row that must be equal
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Same:
    """Pairs of rows (m, 2) int64, the smaller first."""

    close: np.ndarray  #: within RADIUS of each other
    equal: np.ndarray  #: with equal measurements, in the columns that are learned from

    @property
    def pairs(self) -> np.ndarray:
        """All of them, sorted."""
        return np.unique(np.concatenate([self.close, self.equal]), axis=0)


def same_objects(dataset: Dataset) -> Same:
    """Find the rows of a table alone that are one object; memory holds two columns and a hash of each row.

    Positions are columns `ra` and `dec` (by their usual names), in degrees. Measurements are compared where at least
    three, and half of those in the row, are neither empty, 0 nor a sentinel.
    """
    none = np.zeros((0, 2), np.int64)
    if dataset.header.columns == ():
        return Same(none, none)
    columns = dataset.header.columns
    roles = dataset.header.roles or ("feature",) * len(columns)
    features = [i for i, role in enumerate(roles) if role == "feature"]
    lower = {plain(name): i for i, name in reversed(list(enumerate(columns)))}
    places = [next((lower[name] for name in known if name in lower), -1) for known in (RA, DEC)]
    sky = np.full((dataset.n, 2), np.nan)
    hashes, telling = np.zeros(dataset.n, np.uint64), np.zeros(dataset.n, bool)
    for start in range(0, dataset.n, _BLOCK):
        rows = np.arange(start, min(dataset.n, start + _BLOCK))
        block = dataset.table_rows(rows)
        if min(places) >= 0:
            sky[rows] = block[:, places]
        if len(features) >= _FEWEST:
            measured = np.ascontiguousarray(block[:, features]) + 0.0  # -0 is 0
            empty = ~np.isfinite(measured)
            measured[empty] = np.nan  # one NaN
            count = (~empty & (measured != 0) & ~np.isin(measured, list(EVERYWHERE))).sum(1)
            telling[rows] = count >= max(_FEWEST, len(features) / 2)
            hashes[rows] = short_hashes(row_digests(None, measured))
    known = np.isfinite(sky).all(axis=1) & (np.abs(sky[:, 1]) <= 90)
    sky[~known] = np.nan
    close = close_pairs(sky[:, 0], sky[:, 1], RADIUS) if known.any() else none
    rows = np.flatnonzero(telling)
    order = rows[np.argsort(hashes[rows], kind="stable")]
    alike = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    return Same(close, np.sort(np.stack([order[alike], order[alike + 1]], 1), axis=1).astype(np.int64))
