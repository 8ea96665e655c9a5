"""The columns beside the pixels: checked before any work is done, and turned to the types that the file stores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from estampa.data.record import PARTS, Header, faults, whose
from estampa.errors import SourceError

LONGEST_TEXT = 4096  #: bytes of an id or group


@dataclass(frozen=True)
class Columns:
    """Columns of n rows in the types that the file stores."""

    ids: np.ndarray  #: (n,) fixed-length bytes, UTF-8
    labels: np.ndarray  #: (n,) int64, -1 = unlabelled; regression: float64, NaN = unlabelled
    split: np.ndarray  #: (n,) uint8, see PARTS
    groups: np.ndarray | None = None  #: (n,) fixed-length bytes, UTF-8

    def take(self, rows: np.ndarray) -> Columns:
        """The columns of `rows` only."""
        return Columns(
            self.ids[rows],
            self.labels[rows],
            self.split[rows],
            None if self.groups is None else self.groups[rows],
        )


def checked(
    header: Header,
    ids: np.ndarray | Iterable[str],
    labels: np.ndarray | None,
    groups: np.ndarray | None,
    split: np.ndarray | None,
) -> Columns:
    """Check the columns of `header.n` rows against each other and the header; SourceError says what does not fit."""
    where = whose(header)
    wrong = faults(header)
    if header.n == 0:
        raise SourceError("holds no rows", where=where, cure="Point to data with at least one object.")
    if wrong:
        raise SourceError("; ".join(wrong), where=where)
    names = [str(i) for i in ids]
    for name, column in (("ids", names), ("labels", labels), ("groups", groups), ("split", split)):
        if column is not None and len(column) != header.n:
            raise SourceError(f"{name} do not fit the rows", where=where, allowed=header.n, got=len(column))
    return Columns(
        ids=_checked_ids(names, where),
        labels=_checked_labels(header, labels, where),
        split=_checked_split(header.n, split, where),
        groups=None if groups is None else _encoded([str(g) for g in groups], "group", where),
    )


def checked_table(header: Header, table: np.ndarray) -> np.ndarray:
    """Check that `table` is (n, columns) float32 or float64; returns it contiguous."""
    wanted = (header.n, len(header.columns))
    if table.shape != wanted or table.dtype not in (np.float32, np.float64):
        raise SourceError(
            "the table does not fit its header",
            where=header.read.source,
            allowed=f"{wanted} float32 or float64",
            got=f"{table.shape} {table.dtype}",
        )
    return np.ascontiguousarray(table)


def _checked_ids(names: list[str], where: str) -> np.ndarray:
    if len(set(names)) != len(names):
        seen: dict[str, int] = {}
        for row, name in enumerate(names):
            if name in seen:
                raise SourceError(
                    f"two rows have the id {name!r}",
                    where=where,
                    got=f"rows {seen[name]} and {row}",
                    cure="Give every object its own id, or leave the ids out.",
                )
            seen[name] = row
    if not all(names):
        raise SourceError("an id is empty", where=f"{where}, row {names.index('')}")
    return _encoded(names, "id", where)


def _encoded(texts: list[str], what: str, where: str) -> np.ndarray:
    encoded = []
    for row, text in enumerate(texts):
        try:
            encoded.append(text.encode())
        except UnicodeEncodeError as error:
            raise SourceError(
                f"the {what} is not valid Unicode", where=f"{where}, row {row}", got=ascii(text), cure="Rename it."
            ) from error
        if "\0" in text or len(encoded[-1]) > LONGEST_TEXT:
            raise SourceError(
                f"the {what} cannot be stored",
                where=f"{where}, row {row}",
                allowed=f"at most {LONGEST_TEXT} bytes without NUL",
                got=ascii(text[:60]),
            )
    return np.array(encoded, dtype=f"S{max(1, *map(len, encoded))}")


def _checked_labels(header: Header, labels: np.ndarray | None, where: str) -> np.ndarray:
    if header.task == "regression":
        if labels is None:
            raise SourceError("a regression needs a value for each row", where=where)
        try:
            values = np.asarray(labels).astype(np.float64)
        except (TypeError, ValueError) as error:
            raise SourceError("labels are not numbers", where=where, got=str(error)) from error
        if np.isinf(values).any():
            raise SourceError("the label is infinite", where=f"{where}, row {int(np.flatnonzero(np.isinf(values))[0])}")
        return values
    if header.task == "unlabelled" or labels is None:
        return np.full(header.n, -1, np.int64)
    given = np.asarray(labels)
    if given.dtype.kind == "f" and np.isfinite(given).all() and (given == np.floor(given)).all():
        given = given.astype(np.int64)
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise SourceError("labels are not whole numbers, one for each row", where=where, got=f"{given.dtype}")
    outside = np.flatnonzero((given < -1) | (given >= len(header.classes)))
    if len(outside):
        raise SourceError(
            "the label is out of range",
            where=f"{where}, row {outside[0]}" + (f" and {len(outside) - 1} more" if len(outside) > 1 else ""),
            allowed=f"0 to {len(header.classes) - 1} for {len(header.classes)} classes, -1 for unlabelled",
            got=int(given[outside[0]]),
        )
    return given.astype(np.int64)


def _checked_split(n: int, split: np.ndarray | None, where: str) -> np.ndarray:
    if split is None:
        return np.zeros(n, np.uint8)
    given = np.asarray(split)
    if (
        given.shape != (n,)
        or given.dtype.kind not in "iu"
        or (given.astype(np.int64) >= len(PARTS)).any()
        or (given.astype(np.int64) < 0).any()
    ):
        raise SourceError(f"a split is {n} numbers: " + ", ".join(f"{i} {p}" for i, p in enumerate(PARTS)), where=where)
    return given.astype(np.uint8)
