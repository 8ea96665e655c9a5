"""Exactly n objects of each class, drawn at random by a seed."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from estampa.data.exclude import Exclusion
from estampa.data.record import Header, whose
from estampa.data.sources._base import Reading, ReadOptions
from estampa.errors import InputError

_LISTED = 10  # classes named in a message


def drawn(reading: Reading, exclusion: Exclusion, options: ReadOptions, lost: np.ndarray) -> Exclusion:
    """Return `exclusion` that also leaves out what a draw of `options.per_class` does not take, and the `lost` rows.

    Raises InputError as `left_undrawn`, and where content hashes are excluded: they are not known yet.
    """
    if exclusion.hashes:
        raise InputError(
            "a draw needs to know which rows are left out, and content hashes are known only when all are read",
            where=options.exclude, cure="Build without --per-class first, then draw from that file.",
        )  # fmt: skip
    gone = exclusion.rows | lost
    out = left_undrawn(reading.header, reading.ids, reading.labels, gone, options.per_class, options.seed)
    return replace(exclusion, rows=gone | out)


def left_undrawn(
    header: Header, ids: np.ndarray, labels: np.ndarray | None, gone: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """Return (n,) bool: which rows are left out so that `count` of each class stay; unlabelled ones all are.

    The draw is the seed's and the ids', not the order's: rows that are added or taken away elsewhere change nothing in
    a class. `gone` (n,) bool are rows that cannot be drawn. Raises InputError for a count below 1, for targets in
    place of classes, and for classes with fewer objects, which are named with their counts.
    """
    if count < 1:
        raise InputError("draws no object", where="--per-class", allowed="at least 1", got=str(count))
    if header.task != "classification" or labels is None:
        raise InputError("there are no classes to draw from", where="--per-class", got=header.task)
    here = [np.flatnonzero((labels == c) & ~gone) for c in range(len(header.classes))]
    short = [f"{header.classes[c]!r} has {len(rows):,}" for c, rows in enumerate(here) if len(rows) < count]
    if short:
        more = f" and {len(short) - _LISTED} more" if len(short) > _LISTED else ""
        most = min(map(len, here))
        raise InputError(
            f"{count:,} of each class cannot be drawn: {', '.join(short[:_LISTED])}{more}", where=whose(header),
            allowed=f"--per-class up to {most:,}" if most else "", cure="Draw fewer, or leave a class out.",
        )  # fmt: skip
    out = np.ones(header.n, bool)
    for rows in here:
        keys = [hashlib.sha256(f"{seed}\n{name}".encode()).digest() for name in ids[rows].tolist()]
        out[rows[sorted(range(len(rows)), key=keys.__getitem__)[:count]]] = False
    return out
