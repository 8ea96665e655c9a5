"""Columns of 0 and 1 that are one answer together: spiral, elliptical, uncertain, of which each row has one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Classes that say that nobody knows: such a row has no label.
UNKNOWN = (
    "uncertain", "unknown", "unlabelled", "unlabeled", "undecided", "unclear", "ambiguous", "dontknow", "notsure",
    "unclassified",
)  # fmt: skip
_MOST_CLASSES = 50  #: of one-hot columns; more columns of 0 and 1 in a row are features
_PREFIX = re.compile(r"(?:(?:class|label|type|target|is|y)_)?(.*)")


@dataclass(frozen=True)
class ColumnFacts:
    """What is known of one column before it is read for good."""

    name: str
    number: bool  #: each filled cell is a number that float64 keeps
    filled: int = 1  #: cells with a value
    binary: bool = False  #: each cell is 0 or 1
    rounded: str = ""  #: a text that shows that ids went through floating point, "" when none does
    unique: bool = False  #: no two cells are alike, none is empty; known of columns that may be ids
    sample: np.ndarray | None = None  #: (s,) float64, the first rows of a column of numbers


def is_unknown(name: str) -> bool:
    """Whether a class's name says that nobody knows the answer."""
    return re.sub(r"[^a-z]", "", name.lower()) in UNKNOWN


def class_of(column: str) -> str:
    """Name of the class that a one-hot column stands for: `class_spiral` is spiral."""
    found = _PREFIX.fullmatch(column.strip())
    return (found[1] if found and found[1] else column).strip()


def asked_one_hot(label: str, names: Sequence[str]) -> tuple[str, ...]:
    """The columns that `--label a,b,c` names, when there is no column of that name and all of them are there."""
    if not label or label in names or "," not in label:
        return ()
    asked = tuple(part.strip() for part in label.split(","))
    return asked if set(asked) <= set(names) and len(set(asked)) == len(asked) > 1 else ()


def one_hot_columns(columns: Sequence[ColumnFacts], classes: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Columns of 0 and 1, side by side, of which (nearly) each row has exactly one; and what is to be said.

    Where several sets of columns are such, or their common first word is no word for an answer (band_g, band_r), none
    is taken.
    """
    sets = sets_of(columns)
    if classes:
        wanted = set(classes)
        sets = [s for s in sets if wanted <= {class_of(name) for name in s} | {c for c in classes if is_unknown(c)}]
    sets = [s for s in sets if not _prefixed(s)]
    if len(sets) == 1:
        return sets[0], []
    said = [f"columns of 0 and 1 that may be the answer: {'; '.join(', '.join(s) for s in sets)}"] if sets else []
    return (), said


def _one_a_row(run: Sequence[ColumnFacts], label: str = "") -> list[tuple[str, ...]]:
    """The longest stretch of neighbouring binary columns, `label` in it, of which nearly each row has exactly one 1."""
    if len(run) > _MOST_CLASSES:
        return []
    for length in range(len(run), 1, -1):
        for first in range(len(run) - length + 1):
            some = run[first : first + length]
            if label and all(one.name != label for one in some):
                continue
            values = np.stack([one.sample for one in some if one.sample is not None], 1)
            if (values.sum(1) == 1).mean() >= 0.99 and (values.sum(0) > 0).sum() > 1:
                return [tuple(one.name for one in some)]
    return []


def siblings(label: str, columns: Sequence[ColumnFacts]) -> tuple[str, ...]:
    """The other columns of the set of 0 and 1 that the column `label` is one of: each row has (nearly) one 1 in it."""
    mine = (run for run in _runs(columns) if any(one.name == label for one in run))
    found = [names for run in mine for names in _one_a_row(run, label)]
    return tuple(name for names in found for name in names if name != label)


def sets_of(columns: Sequence[ColumnFacts]) -> list[tuple[str, ...]]:
    """Sets of columns of 0 and 1, side by side, of which (nearly) each row has exactly one."""
    return [names for run in _runs(columns) for names in _one_a_row(run)]


def _runs(columns: Sequence[ColumnFacts]) -> list[list[ColumnFacts]]:
    """Columns of 0 and 1 that stand side by side."""
    runs: list[list[ColumnFacts]] = [[]]
    for one in columns:
        if one.binary and one.sample is not None:
            runs[-1].append(one)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _prefixed(names: Sequence[str]) -> bool:
    """Whether all names begin with one word that is no word for an answer: a feature taken apart."""
    heads = {name.strip().rpartition("_")[0].lower() for name in names}
    return len(heads) == 1 and heads.isdisjoint(("", "class", "label", "type", "target", "is", "y"))
