"""Rows of a catalogue that are one object: at one place on the sky, or with equal measurements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estampa.data import sentinels
from estampa.data.dataset import Dataset, row_digests, short_hashes
from estampa.data.roles import DEC, RA, plain
from estampa.data.sentinels import EVERYWHERE
from estampa.data.skymatch import close_pairs

RADIUS = 1 / 3600  #: degrees within which two rows of a catalogue are one object: 1 arcsec
_FEWEST = 3  #: measurements of a row that must be equal
_BLOCK = 1 << 16
_SAMPLE = 1 << 21  #: numbers that the rules are found on


@dataclass(frozen=True)
class Same:
    """Pairs of rows (m, 2) int64, the smaller first."""

    close: np.ndarray  #: within RADIUS of each other
    equal: np.ndarray  #: with equal measurements, in the columns that are learned from

    @property
    def pairs(self) -> np.ndarray:
        """All of them, sorted."""
        return np.unique(np.concatenate([self.close, self.equal]), axis=0)


def rules_of(dataset: Dataset) -> tuple[sentinels.Rule, ...]:
    """What marks a failed measurement in a table alone, found on rows spread over all of it."""
    names = dataset.header.columns
    some = np.linspace(0, dataset.n - 1, max(1, min(dataset.n, _SAMPLE // max(1, len(names))))).astype(np.int64)
    return sentinels.rules_for(names, dataset.table_rows(np.unique(some)), dataset.header.column_units)


def features_at(dataset: Dataset) -> list[int]:
    """Places of the columns that are learned from."""
    roles = dataset.header.roles or ("feature",) * len(dataset.header.columns)
    return [i for i, role in enumerate(roles) if role == "feature"]


def copy_hashes(dataset: Dataset) -> np.ndarray:
    """Content hashes (n,) uint64 by which copies are found: rows without one valid measurement have one each.

    Two objects that were not measured are not one object. Of pictures, and of a table without features, the content
    hashes as they are.
    """
    hashes = np.asarray(dataset.hashes)
    features = features_at(dataset)
    if dataset.shape is not None or not features:
        return hashes
    order = np.argsort(hashes, kind="stable")
    alike = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    if not len(alike):
        return hashes
    rows = np.unique(order[np.concatenate([alike, alike + 1])])
    found, rules = hashes.copy(), rules_of(dataset)
    for start in range(0, len(rows), _BLOCK):
        some = rows[start : start + _BLOCK]
        bad = sentinels.invalid(dataset.table_rows(some), dataset.header.columns, rules)
        blank = some[bad[:, features].all(axis=1)]
        own = np.stack([hashes[blank].astype(np.uint64), blank.astype(np.uint64)], axis=1)
        found[blank] = short_hashes(row_digests(None, own))
    return found


def same_objects(dataset: Dataset) -> Same:
    """Find the rows of a table alone that are one object; memory holds two columns and a hash of each row.

    Positions are columns `ra` and `dec` (by their usual names), in degrees. Measurements are compared where at least
    three, and half of those in the row, are neither empty, 0 nor a sentinel.
    """
    none = np.zeros((0, 2), np.int64)
    if dataset.header.columns == ():
        return Same(none, none)
    columns = dataset.header.columns
    features, rules = features_at(dataset), rules_of(dataset)
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
            measured[~np.isfinite(measured)] = np.nan  # one NaN
            empty = sentinels.invalid(block, columns, rules)[:, features]
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
