"""What can be wrong with a Dataset, finding by finding, and the result that holds them. `check.py` runs them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from estampa.data.cleaning import Cleaning
from estampa.data.dataset import PARTS, Dataset
from estampa.data.deal import TEST, TRAIN, VALIDATION
from estampa.data.duplicates import Twins
from estampa.data.findings_table import roles_in_words, table_findings
from estampa.data.sources._labels import spelled_alike
from estampa.data.split import is_published
from estampa.data.survey import FILL, Survey
from estampa.errors import CheckFailed
from estampa.page import Table, fragment

Severity = Literal["refuse", "warn", "note"]
_NAMED = 5  # ids named in a message
_LISTED = 1000  # rows listed in JSON
_IMBALANCE = 10.0  # times more objects in the largest class than in the smallest, from which on it is noted
_FEW = 10  # objects of a class below which no interval says much


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    `kind` is one of exact_across, near_across, group_torn, label_conflict, exact, near, missing_pixels, fill_values,
    missing_table, empty, constant, flat_channel, constant_channel, rejected, unlabelled, small_class, imbalance,
    similar_ids, similar_classes; of a table alone also leak_columns, roles, invalid, unmeasured, empty_column,
    constant_column. `sets` holds the rows that belong together (twins, a torn group); `rows` all rows concerned,
    sorted.
    """

    kind: str
    severity: Severity
    message: str
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    sets: Sequence[np.ndarray] = ()


@dataclass(frozen=True)
class CheckResult:
    """Everything that `check` found, worst first, and the counts that it found it in."""

    dataset: Dataset
    findings: tuple[Finding, ...]
    near: Twins | None  #: None when not looked for
    near_across: np.ndarray  #: rows of the test part with an exact or near twin among what is learned from
    survey: Survey | None  #: None for a table alone
    seconds: float
    cleaning: Cleaning | None = None  #: what may be left out; None when neither page nor list was asked for
    listed: Path | None = None  #: where the suggestions were written

    @property
    def refused(self) -> bool:
        """Whether a finding makes results from this split worthless."""
        return any(f.severity == "refuse" for f in self.findings)

    def require_sound(self) -> None:
        """Raise CheckFailed, rows named, when `refused`."""
        worst = [f.message for f in self.findings if f.severity == "refuse"]
        if worst:
            raise CheckFailed(
                "; ".join(worst), where=self.dataset.path, cure=f"Part it again: estampa split {self.dataset.path}"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain types. Rows are listed up to a thousand a finding; `count` is the whole number."""
        ids = self.dataset.ids
        findings = [
            {
                "kind": f.kind, "severity": f.severity, "count": len(f.rows), "message": f.message,
                "rows": f.rows[:_LISTED].tolist(), "ids": ids[f.rows[:_LISTED]].tolist(),
            }
            for f in self.findings
        ]  # fmt: skip
        return {
            **self.dataset.summary(),
            "findings": findings,
            "refused": self.refused,
            "near_pairs": None if self.near is None else len(self.near),
            "near_across": self.near_across[:_LISTED].tolist(),
            "roles": roles_in_words(self.dataset),
            "cleaning": None if self.cleaning is None else self.cleaning.counts(),
            "suggested": None if self.cleaning is None else len(self.cleaning.suggested()),
            "listed": None if self.listed is None else str(self.listed),
            "seconds": round(self.seconds, 3),
        }

    def classes_table(self) -> Table:
        """Objects by class and part."""
        return Table(*_class_counts(self.dataset), drawn="all")

    def table(self) -> Table:
        """The findings, worst first."""
        words = {"refuse": "refused", "warn": "warning", "note": "note"}
        return Table(
            ["", "finding", "objects"],
            [[words[f.severity], f.message, len(f.rows) if len(f.rows) else None] for f in self.findings],
        )

    def _repr_html_(self) -> str:
        return fragment(self.table(), self.classes_table())


def _class_counts(dataset: Dataset) -> tuple[list[str], list[list[Any]]]:
    parts = [p for p in (TRAIN, VALIDATION, TEST, 0) if (dataset.split == p).any()]
    names: list[tuple[str, np.ndarray]] = [("objects", dataset.labelled())]
    if dataset.task == "classification":
        names = [(name, dataset.labels == c) for c, name in enumerate(dataset.classes)]
    if not dataset.labelled().all():
        names.append(("(unlabelled)", ~dataset.labelled()))
    head = ["class", *(PARTS[p] if p else "no part" for p in parts), "all"]
    rows = [[name, *(int((mine & (dataset.split == p)).sum()) for p in parts), int(mine.sum())] for name, mine in names]
    return head, rows


def leaking(dataset: Dataset, exact: list[np.ndarray], twins: Twins | None) -> np.ndarray:
    """Rows of test whose picture, or a near twin of it, is in train or validation."""
    first = np.arange(dataset.n)
    for rows in exact:
        first[rows] = rows[0]
    learned, split = np.zeros(dataset.n, bool), dataset.split
    learned[first[(split == TRAIN) | (split == VALIDATION)]] = True
    near = np.zeros(dataset.n, bool)
    if twins is not None and len(twins):
        one, two = twins.pairs[:, 0], twins.pairs[:, 1]
        near[one[learned[two]]] = True
        near[two[learned[one]]] = True
    return np.flatnonzero((split == TEST) & (learned | near)[first]).astype(np.int64)


def _count(things: Sequence[Any] | np.ndarray, noun: str) -> str:
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"


def _noun(dataset: Dataset) -> str:
    return "object" if dataset.shape is None else "picture"


def _named(dataset: Dataset, rows: np.ndarray) -> str:
    """The first few ids of rows, in words."""
    names = [f"{dataset.ids[r]} (row {r})" for r in rows[:_NAMED].tolist()]
    return ", ".join(names) + (f" and {len(rows) - _NAMED:,} more" if len(rows) > _NAMED else "")


def _joined(sets: Sequence[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate(sets)) if sets else np.zeros(0, np.int64)


def _severity(dataset: Dataset) -> Severity:
    """What exact leaks are worth: refused when the split is ours, reported when it came with the data."""
    return "refuse" if dataset.split_record and not is_published(dataset) else "warn"


def _parted(dataset: Dataset, rows: np.ndarray) -> bool:
    """Whether rows stand in more than one of train, validation and test."""
    parts = dataset.split[rows]
    return len(set(parts[parts > 0].tolist())) > 1


def all_findings(
    dataset: Dataset, exact: list[np.ndarray], twins: Twins | None, looked: Survey | None
) -> tuple[Finding, ...]:
    """Return every finding, worst first; `twins` and `looked` are None where they were not looked for."""
    found = [
        *_across(dataset, exact, twins),
        *_groups(dataset),
        *_twins(dataset, exact, twins),
        *_missing(dataset, looked),
        *(Finding(*told) for told in (table_findings(dataset) if dataset.shape is None else ())),
        *_labels(dataset),
        *_ids(dataset),
    ]
    order = {"refuse": 0, "warn": 1, "note": 2}
    return tuple(sorted(found, key=lambda f: order[f.severity]))


def _across(dataset: Dataset, exact: list[np.ndarray], twins: Twins | None) -> Iterator[Finding]:
    torn = [rows for rows in exact if _parted(dataset, rows)]
    if torn:
        rows = _joined(torn)
        whose = "the published split" if _severity(dataset) == "warn" else "the split"
        message = f"{_count(torn, _noun(dataset))} on both sides of {whose}: {_named(dataset, torn[0])}"
        message += "" if len(torn) == 1 else ", …"
        yield Finding("exact_across", _severity(dataset), message, rows, torn)
    if twins is not None and len(twins):
        parts = dataset.split[twins.pairs]
        apart = twins.pairs[(parts[:, 0] != parts[:, 1]) & (parts > 0).all(axis=1)]
        if len(apart):
            message = (
                f"{_count(apart, 'pair')} of near duplicates on two sides of the split: {_named(dataset, apart[0])}"
                f"{', …' if len(apart) > 1 else ''}; scores on the test part are too good by at most their share"
            )
            yield Finding("near_across", "warn", message, _joined(list(apart)), list(apart))


def _groups(dataset: Dataset) -> Iterator[Finding]:
    groups = dataset.groups
    if groups is None or not (dataset.split > 0).any():
        return
    parted = np.flatnonzero((dataset.split > 0) & (groups != ""))
    names, codes = np.unique(groups[parted], return_inverse=True)
    seen = np.zeros((len(names), len(PARTS)), bool)
    seen[codes, dataset.split[parted]] = True
    torn = np.flatnonzero(seen.sum(axis=1) > 1)
    if len(torn):
        sets = [parted[codes == t] for t in torn[:100].tolist()]
        rows = parted[np.isin(codes, torn)]
        some = ", ".join(repr(str(n)) for n in names[torn[:_NAMED]])
        more = f" and {len(torn) - _NAMED:,} more" if len(torn) > _NAMED else ""
        message = f"{_count(torn, 'group')} torn by the split: {some}{more}; first rows {rows[:_NAMED].tolist()}"
        yield Finding("group_torn", _severity(dataset), message, rows, sets)


def _twins(dataset: Dataset, exact: list[np.ndarray], twins: Twins | None) -> Iterator[Finding]:
    labels, known = dataset.labels, dataset.labelled()
    same = [*exact, *([] if twins is None else list(twins.pairs))]
    if dataset.task == "classification":
        odd = [rows for rows in same if len(set(labels[rows[known[rows]]].tolist())) > 1]
        if odd:
            first = odd[0]
            says = ", ".join(
                f"{dataset.ids[r]} is {dataset.classes[labels[r]]!r}" for r in first[:2].tolist() if known[r]
            )
            message = (
                f"{_count(odd, _noun(dataset))} with a twin under another label: {says}{', …' if len(odd) > 1 else ''}"
            )
            yield Finding("label_conflict", "warn", message, _joined(odd), odd)
    if exact:
        extra = sum(len(rows) - 1 for rows in exact)
        message = f"{extra:,} exact {'copy' if extra == 1 else 'copies'} of other objects: {_named(dataset, exact[0])}"
        yield Finding("exact", "note", message, _joined(exact), exact)
    if twins is not None and len(twins):
        what = "near duplicates" if dataset.shape else "one object (within 1 arcsec, or equal measurements)"
        order = np.argsort(-twins.correlation, kind="stable")
        pairs = list(twins.pairs[order])
        message = f"{_count(pairs, 'pair')} of {what}: {_named(dataset, pairs[0])}{', …' if len(pairs) > 1 else ''}"
        yield Finding("near", "note", message, _joined(pairs), pairs)


def _missing(dataset: Dataset, looked: Survey | None) -> Iterator[Finding]:
    if looked is not None and len(looked.missing):
        message = (
            f"{_count(looked.missing, 'picture')} with {looked.missing_pixels:,} missing pixels (NaN, infinite): "
            f"{_named(dataset, looked.missing)}; the recipe's `prepare.nan` says what becomes of them"
        )
        yield Finding("missing_pixels", "warn", message, looked.missing)
    if looked is not None and len(looked.filled):
        message = (
            f"{_count(looked.filled, 'picture')} with values beyond ±{FILL:g}, written where a pixel is missing: "
            f"{_named(dataset, looked.filled)}; make them NaN in the source and build again"
        )
        yield Finding("fill_values", "warn", message, looked.filled)
    if looked is not None and len(looked.empty):
        message = f"{_count(looked.empty, 'picture')} without one measured pixel: {_named(dataset, looked.empty)}"
        yield Finding("empty", "warn", message, looked.empty)
    if looked is not None and len(looked.constant):
        message = f"{_count(looked.constant, 'constant picture')}: {_named(dataset, looked.constant)}"
        yield Finding("constant", "warn", message, looked.constant)
    if looked is not None:
        yield from _channels(dataset, looked)
    if dataset.shape is not None and dataset.table is not None:
        bad = ~np.isfinite(dataset.table)
        rows = np.flatnonzero(bad.any(axis=1))
        if len(rows):
            per = ", ".join(
                f"{dataset.header.columns[c]} {int(bad[:, c].sum()):,}" for c in np.flatnonzero(bad.any(axis=0))
            )
            yield Finding("missing_table", "note", f"{_count(rows, 'object')} without some table values: {per}", rows)
    if dataset.rejected:
        names = ", ".join(f"{name} ({reason})" for name, reason in dataset.rejected[:_NAMED])
        yield Finding("rejected", "warn", f"{_count(dataset.rejected, 'unreadable object')} left out at build: {names}")


def _channels(dataset: Dataset, looked: Survey) -> Iterator[Finding]:
    """Channels of one value: in the whole Dataset, and in single objects of which other channels vary."""
    names = dataset.header.channels or tuple(map(str, range(looked.flat.shape[1])))
    dead = ~(looked.low < looked.high)
    if dead.any() and not dead.all():
        channels = ", ".join(repr(names[c]) for c in np.flatnonzero(dead).tolist())
        message = f"channel {channels} has one value in every object, and tells nothing: leave it out, or look for it"
        yield Finding("constant_channel", "warn", message)
    flat = looked.flat & ~dead
    rows = np.flatnonzero(flat.any(axis=1) & ~looked.flat.all(axis=1))
    if len(rows):
        per = ", ".join(f"{names[c]} {int(flat[rows, c].sum()):,}" for c in np.flatnonzero(flat[rows].any(axis=0)))
        message = f"{_count(rows, 'picture')} with a channel of one value ({per}): {_named(dataset, rows)}"
        yield Finding("flat_channel", "warn", message, rows)


def _labels(dataset: Dataset) -> Iterator[Finding]:
    unknown = np.flatnonzero(~dataset.labelled())
    if len(unknown) and dataset.task != "unlabelled":
        message = f"{_count(unknown, 'object')} without a label, no part of training: {_named(dataset, unknown)}"
        yield Finding("unlabelled", "note", message, unknown)
    if dataset.task != "classification":
        return
    if alike := spelled_alike(dataset.classes):
        message = f"classes that differ by case or blanks alone, and are learned apart: {'; '.join(alike)}"
        yield Finding("similar_classes", "warn", message)
    counts = np.bincount(dataset.labels[dataset.labels >= 0], minlength=len(dataset.classes))
    small = [f"{dataset.classes[c]!r} {counts[c]}" for c in np.flatnonzero(counts < _FEW)]
    if small:
        message = f"classes with fewer than {_FEW} objects, whose scores will say little: {', '.join(small)}"
        yield Finding(
            "small_class", "warn", message, np.flatnonzero(np.isin(dataset.labels, np.flatnonzero(counts < _FEW)))
        )
    present = counts[counts > 0]
    if len(present) > 1 and present.max() / present.min() >= _IMBALANCE:
        most, least = (
            dataset.classes[int(counts.argmax())],
            dataset.classes[int(np.where(counts > 0, counts, counts.max() + 1).argmin())],
        )
        message = (
            f"the largest class, {most!r}, has {present.max() / present.min():.0f} times the objects of {least!r}: "
            "read balanced accuracy, not accuracy"
        )
        yield Finding("imbalance", "note", message)


def _ids(dataset: Dataset) -> Iterator[Finding]:
    """Ids that differ only by case or blanks: one object under two names, or one file on some systems."""
    plain = np.char.lower(np.char.strip(dataset.ids))
    _, inverse, counts = np.unique(plain, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(counts[inverse] > 1)
    if len(rows):
        rows = rows[np.argsort(inverse[rows], kind="stable")]
        message = f"{len(rows):,} ids differ only by case or blanks: {_named(dataset, rows)}"
        yield Finding("similar_ids", "note", message, np.sort(rows))
