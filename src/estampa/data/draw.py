"""Exactly n objects of each class, drawn at random by a seed."""

from __future__ import annotations

import hashlib

import numpy as np

from estampa.data.record import Header, whose
from estampa.errors import InputError

_LISTED = 10  # classes named in a message


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
