"""What can be wrong with a table alone: columns that tell the answer or nothing, and failed measurements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal

import numpy as np

from estampa.data.dataset import Dataset
from estampa.data.measured import ROLE_WORDS, measured
from estampa.data.same import rules_of
from estampa.plain import numbered

_NAMED = 12  #: columns named in a message
Told = tuple[str, Literal["warn", "note"], str, np.ndarray]  #: kind, severity, message, rows


def roles_in_words(dataset: Dataset) -> dict[str, list[str]]:
    """Names of the table's columns by what they are for."""
    header = dataset.header
    found: dict[str, list[str]] = {}
    for name, role in zip(header.columns, header.roles or ("feature",) * len(header.columns), strict=True):
        found.setdefault(ROLE_WORDS[role], []).append(name)
    return found


def table_findings(dataset: Dataset) -> Iterator[Told]:
    """Yield what is found in a table alone; numbers are read a block at a time."""
    nobody = np.zeros(0, np.int64)
    roles = roles_in_words(dataset)
    leaks = roles.get(ROLE_WORDS["leak"], [])
    if leaks:
        message = (
            f"{numbered(len(leaks), 'column')} left out of training, since what they say tells the answer: "
            f"{_listed(leaks)}; --also COLUMN takes one all the same"
        )
        yield "leak_columns", "note", message, nobody
    counts = [
        f"{numbered(len(roles[words]), 'column')} {words} ({_listed(roles[words])})"
        for role, words in ROLE_WORDS.items()
        if role != "leak" and words in roles
    ]
    if counts:
        yield "roles", "note", "; ".join(counts), nobody
    yield from _failed(dataset)


def _failed(dataset: Dataset) -> Iterator[Told]:
    """Failed measurements by column and rule; columns without one measurement, or of one value."""
    names, found = dataset.header.columns, measured(dataset, rules_of(dataset))
    if len(found.rows):
        by_column: dict[str, list[str]] = {}
        for (column, rule), count in found.failed.items():
            by_column.setdefault(column, []).append(f"{rule}: {count:,}")
        told = [f"{name} ({', '.join(by_column[name])})" for name in names if name in by_column]
        more = f" and {len(told) - _NAMED} more columns" if len(told) > _NAMED else ""
        message = f"{numbered(len(found.rows), 'object')} with a failed measurement: {'; '.join(told[:_NAMED])}{more}"
        yield "invalid", "note", message, found.rows
    if len(found.blank):
        message = f"{numbered(len(found.blank), 'object')} without one measurement{_of_classes(dataset, found.blank)}"
        yield "unmeasured", "warn", message, found.blank
    empty = [name for name, count in zip(names, found.valid, strict=True) if not count]
    if empty:
        yield "empty_column", "warn", f"without one measurement: {_listed(empty)}", np.zeros(0, np.int64)
    flat = [names[i] for i in np.flatnonzero((found.valid > 0) & ~(found.low < found.high)).tolist()]
    if flat:
        message = f"one value in every object, which tells nothing: {_listed(flat)}"
        yield "constant_column", "warn", message, np.zeros(0, np.int64)


def _of_classes(dataset: Dataset, rows: np.ndarray) -> str:
    """The classes of some rows, as a clause: ", all of class E", ", of classes E (90), S (3)"."""
    if dataset.task != "classification":
        return ""
    counts = Counter(dataset.labels[rows].tolist())
    known = [(dataset.classes[c] if c >= 0 else "(unlabelled)", count) for c, count in counts.most_common(_NAMED)]
    if len(known) == 1:
        one = "" if len(rows) == 1 else "all "
        return f", {one}of class {known[0][0]}" if next(iter(counts)) >= 0 else f", {one}without a label"
    return ", of classes " + ", ".join(f"{name} ({count:,})" for name, count in known)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
