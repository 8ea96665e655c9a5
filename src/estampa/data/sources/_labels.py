"""Answers as they stand in files -> class indices or float targets; ids; published splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa.data.record import PARTS
from estampa.errors import SourceError, nearest
from estampa.plain import folded

MOST_CODES = 100  #: distinct whole floating-point values up to which they are taken for class codes
MISSING = (
    "",
    "nan",
    "na",
    "n/a",
    "none",
    "null",
    "?",
    "-",
    "--",
)  #: texts that say that there is no answer, in lower case
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Answers:
    """Labels ready for a Reading: (n,) int64 with -1, or (n,) float64 with NaN; None when there are none."""

    values: np.ndarray | None
    classes: tuple[str, ...]
    task: str
    strange: int = 0  #: rows whose answer is none of the given classes, left unlabelled in a lenient reading


NO_ANSWERS = Answers(None, (), "unlabelled")


def spelled_alike(classes: Sequence[str]) -> list[str]:
    """Classes that differ by case or blanks alone, which are one class spelled in two ways: "'SPIRAL', 'Spiral'"."""
    found: dict[str, list[str]] = {}
    for name in classes:
        found.setdefault(folded(name), []).append(repr(name))
    return [", ".join(names) for names in found.values() if len(names) > 1]


def part_of(name: str) -> int | None:
    """Number in PARTS of a part's name as people write it (train, val, valid, validation, dev, test), or None."""
    found = _SPLITS.get(name.strip().lower())
    return None if found is None else PARTS.index(found)


def encode(
    raw: np.ndarray,
    classes: Sequence[str] = (),
    where: object = "",
    lenient: bool = False,
    missing: Sequence[str] = MISSING,
) -> Answers:
    """Turn one answer per row into class indices or targets.

    The rule: texts are class names, sorted unless `classes` gives their order; an empty text (or nan, NA, ?) is
    unlabelled. Whole numbers are class codes, -1 is unlabelled; with `classes` a code is a class's name where all
    names are whole numbers, else its index. Floating-point values are class codes when all are whole and at most 100
    differ, else targets of a regression; NaN is unlabelled. Rows of 0 and a single 1 (one-hot) are class indices.

    Parameters
    ----------
    raw : (n,), (n, 1) or one-hot (n, k).
    classes : names in label order, when they are known.
    where : named in the SourceError that an impossible label raises.
    lenient : leave a row unlabelled, and count it, when its answer is none of `classes` (files that are only scored).
    missing : texts, in lower case, that say that there is no answer; a folder may be called "none" and be a class.
    """
    raw = _flat(np.asarray(raw), where)
    if raw.dtype.kind in "US":
        return _texts([_text(v) for v in raw], tuple(classes), where, lenient, missing)
    if raw.dtype.kind == "b":
        raw = raw.astype(np.int64)
    if raw.dtype.kind == "f":
        known = raw[~np.isnan(raw)]
        if not np.isfinite(known).all():
            raise SourceError("a label is infinite", where=where, got=_row(np.isinf(raw)))
        if not classes and (known.size == 0 or (known % 1 != 0).any() or np.unique(known).size > MOST_CODES):
            return Answers(raw.astype(np.float64), (), "regression" if known.size else "unlabelled")
        if (known % 1 != 0).any():
            raise SourceError(
                "a label is not a whole number", where=where, got=_row(np.isin(raw, known[known % 1 != 0]))
            )
        raw = np.where(np.isnan(raw), -1, raw)
    if raw.dtype.kind not in "iuf":
        raise SourceError(f"labels of type {raw.dtype}", where=where, allowed="texts, whole numbers, floating point")
    return _codes(raw.astype(np.int64), tuple(classes), where, lenient)


def from_texts(
    values: Sequence[str], classes: Sequence[str] = (), where: object = "", lenient: bool = False
) -> Answers:
    """Turn a column of a text table into answers: numbers where all of them are, else class names; see `encode`."""
    for kind in (np.int64, np.float64):
        try:
            column = as_numbers(values, kind)
        except (ValueError, OverflowError):
            continue
        return encode(column, classes, where, lenient)
    return encode(np.array([v.strip() for v in values]), classes, where, lenient)


def as_numbers(values: Sequence[str], kind: type[np.int64] | type[np.float64]) -> np.ndarray:
    """(n,) numbers of texts, -1 or NaN where none is given; ValueError, OverflowError when one is no such number."""
    missing = [v.strip().lower() in MISSING for v in values]
    numbers = [kind(v.strip()) for v, lacks in zip(values, missing, strict=True) if not lacks]
    column: np.ndarray = np.full(len(values), -1 if kind is np.int64 else np.nan, kind)
    column[np.logical_not(missing)] = numbers
    return column


def require_unique(ids: np.ndarray, where: object) -> np.ndarray:
    """Return `ids` (n,); raises SourceError naming the first id that stands twice, with its rows, or an empty one."""
    unique, first, counts = np.unique(ids, return_index=True, return_counts=True)
    if (counts > 1).any():
        twice = unique[np.argmax(counts > 1)]
        rows = np.flatnonzero(ids == twice)[:3].tolist()
        raise SourceError(
            f"the id {str(twice)!r} stands {int(counts.max())} times or more, {int((counts > 1).sum())} ids repeat",
            where=where,
            got=f"rows {', '.join(map(str, rows))}",
            cure="Make ids unique, or leave the column out",
        )
    if len(unique) and str(unique[0]) == "":
        raise SourceError("an id is empty", where=where, got=f"row {int(first[0])}")
    return ids


def _flat(raw: np.ndarray, where: object) -> np.ndarray:
    """(n, 1) and one-hot (n, k) -> (n,)."""
    if raw.ndim == 1:
        return raw
    if raw.ndim == 2 and raw.shape[1] == 1:
        return raw[:, 0]
    if raw.ndim == 2 and raw.dtype.kind in "biuf" and ((raw == 0) | (raw == 1)).all() and (raw.sum(1) == 1).all():
        one_hot: np.ndarray = raw.argmax(1)
        return one_hot
    raise SourceError("labels are not one a row", where=where, allowed="(n,), (n, 1) or one-hot (n, k)", got=raw.shape)


def _texts(
    names: list[str], classes: tuple[str, ...], where: object, lenient: bool, missing: Sequence[str] = MISSING
) -> Answers:
    known = {n for n in names if n.lower() not in missing or n in classes}
    order = classes or tuple(sorted(known))
    index = {name: i for i, name in enumerate(order)}
    strange = known - set(order)
    if strange and not lenient:
        raise SourceError(
            f"unknown class {min(strange)!r}", where=where, allowed=_some(order), cure=nearest(min(strange), order)
        )
    if not order:
        return NO_ANSWERS
    values = np.array([index.get(n, -1) for n in names], np.int64)
    return Answers(values, order, "classification", sum(n in strange for n in names))


def _codes(codes: np.ndarray, classes: tuple[str, ...], where: object, lenient: bool) -> Answers:
    present = np.unique(codes[codes != -1])
    if present.size == 0 and not classes:
        return NO_ANSWERS
    if classes and all(c.lstrip("-").isdigit() for c in classes):
        return _texts(["" if c == -1 else str(c) for c in codes], classes, where, lenient)
    out = (codes < -1) | ((codes >= len(classes)) if classes else False)
    if out.any() and lenient:
        return Answers(np.where(out, -1, codes), classes, "classification", int(out.sum()))
    if out.any():
        allowed = f"0 to {len(classes) - 1}, and -1 for unlabelled" if classes else "0 and above, and -1 for unlabelled"
        raise SourceError(
            "a label is out of range", where=where, allowed=allowed, got=f"{codes[out][0]} in {_row(out)}"
        )
    if classes:
        return Answers(codes, classes, "classification")
    if present.size > MOST_CODES and present.size * 2 > len(codes):
        raise SourceError(
            f"{present.size} different whole numbers in {len(codes)} rows are no classes",
            where=where,
            cure="Name another column with --label; for a regression store the target as floating point",
        )
    values = np.where(codes == -1, -1, np.searchsorted(present, codes))
    return Answers(values, tuple(str(c) for c in present), "classification")


def _text(value: Any) -> str:
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip()


def _row(where: np.ndarray) -> str:
    return f"row {int(np.argmax(where))}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
