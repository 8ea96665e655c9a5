"""Part a Dataset into train, validation and test: stratified, grouped, exact duplicates on one side, seeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from estampa.data.dataset import PARTS, Dataset, write_split
from estampa.data.deal import NONE, TEST, TRAIN, VALIDATION, make_split, require_classes, units
from estampa.data.record import whose as name_of
from estampa.data.splitfile import drawn_by
from estampa.data.ties import ignored_in_words, in_words, ties_of
from estampa.errors import DatasetError
from estampa.page import Table, fragment
from estampa.progress import SILENT, Progress

__all__ = ["SplitResult", "make_split", "parted", "split"]


@dataclass(frozen=True)
class SplitResult:
    """What a split came to.

    `counts` has a row per class (one row, "objects", for regression) and a column per part, in the order of PARTS.
    """

    classes: tuple[str, ...]
    counts: np.ndarray
    record: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def totals(self) -> dict[str, int]:
        """Objects in each part."""
        return {name: int(n) for name, n in zip(PARTS, self.counts.sum(axis=0), strict=True)}

    def to_json(self) -> dict[str, Any]:
        """Plain types: totals, counts by class, the record, notes."""
        by_class = {
            name: {part: int(n) for part, n in zip(PARTS, row, strict=True)}
            for name, row in zip(self.classes, self.counts, strict=True)
        }
        return {"parts": self.totals, "classes": by_class, "record": self.record, "notes": list(self.notes)}

    def sentence(self) -> str:
        """How the parts were made, in one line."""
        kind = "the published split is kept" if self.record["published"] else f"dealt with seed {self.record['seed']}"
        return f"{kind}, stratified{', groups kept whole' if self.record['grouped'] else ''}{in_words(self.record)}"

    def table(self) -> Table:
        """Objects by class and part."""
        used = [p for p in (TRAIN, VALIDATION, TEST, NONE) if p != NONE or self.counts[:, p].any()]
        head = ["class", *("no part" if p == NONE else PARTS[p] for p in used), "all"]
        rows: list[list[Any]] = [
            [name, *(int(row[p]) for p in used), int(row.sum())]
            for name, row in zip(self.classes, self.counts, strict=True)
        ]
        if len(rows) > 1:
            sums = self.counts.sum(axis=0)
            rows.append(["all", *(int(sums[p]) for p in used), int(sums.sum())])
        return Table(head, rows)

    def _repr_html_(self) -> str:
        return fragment(self.table())


def split(
    source: Path | str | Dataset,
    *,
    test: float = 0.2,
    validation: float = 0.1,
    group: str | None = None,
    seed: int = 0,
    force: bool = False,
    near: bool = True,
    progress: Progress = SILENT,
) -> SplitResult:
    """Part a Dataset and store the parts in its file.

    Groups of the Dataset are never torn, nor exact and near duplicates. A split that came with the data is kept unless
    `force`: its test part stays, and when it has no validation part, one is taken from its train part.

    Parameters
    ----------
    source : Path, str or Dataset
        The Dataset file.
    test : float
        Share of the labelled objects.
    validation : float
        Share of the labelled objects that are not test.
    group : str or None
        Name of the groups that must not be torn, "groups" or the name that they were built with; or of a column of
        the Dataset, whose equal values are kept together, beside the groups.
    seed : int
        The same seed gives the same parts.
    force : bool
        Replace a split that came with the data.
    near : bool
        Look for near duplicates, and keep them on one side too.
    progress : Progress
        Where decisions are said.

    Raises
    ------
    DatasetError
        See `make_split`; also when groups are asked for and the file has none.
    """
    dataset = source if isinstance(source, Dataset) else Dataset.open(Path(source))
    if dataset.split_record.get("added") and (force or not is_published(dataset)):
        progress.warn(
            f"{dataset.path.name} was added to, and its old parts were kept for that; now all are dealt anew, so "
            "figures on the old test part can be compared no longer, and models that learned from old parts have seen "
            "some of what is tested. To keep the parts, build it again and do not split it."
        )
    parts, record, notes = parted(
        dataset, test=test, validation=validation, group=group, seed=seed, force=force, near=near, progress=progress
    )
    for note in notes:
        progress.warn(note)
    classes = dataset.classes if dataset.task == "classification" else ()
    counts = _counts(parts, dataset.labels, classes)
    names = (*(classes or ("objects",)), "(unlabelled)")[: len(counts)]
    write_split(dataset.path, parts, record)
    return SplitResult(names, counts, record, notes)


def parted(
    dataset: Dataset,
    *,
    test: float = 0.2,
    validation: float = 0.1,
    group: str | None = None,
    seed: int = 0,
    force: bool = False,
    near: bool = True,
    progress: Progress = SILENT,
) -> tuple[np.ndarray, dict[str, Any], tuple[str, ...]]:
    """Return the parts that `split` would store, without storing them: (n,) uint8, the record, and what to warn of."""
    header = dataset.header
    if header.task == "unlabelled":
        texts = ", ".join(map(str, header.origin.get("texts", ())))
        known = f" (columns of texts: {texts})" if texts else ""
        raise DatasetError(
            "has no labels, so there is nothing to part", where=name_of(header) or dataset.path,
            cure=f"Name the column of the answer with --label COLUMN{known}.",
        )  # fmt: skip
    groups = _groups(dataset, group)
    classes = header.classes if header.task == "classification" else ()
    require_classes(dataset.labels, classes)
    published = is_published(dataset) and not force and bool(dataset.split.any())
    labels, keep = _published(dataset) if published else (dataset.labels, None)
    if published:
        whose = drawn_by(dataset.split_record) or "that came with the data"
        progress.say(f"The split {whose} is kept (--force replaces it).")
    tied = ties_of(dataset, groups, near=near, free=None if keep is None else keep == NONE, progress=progress)
    parts = make_split(
        labels, test=test, validation=validation, groups=tied.units, seed=seed, task=header.task, keep=keep
    )
    record: dict[str, Any] = {
        "test": test, "validation": validation, "seed": seed, "grouped": groups is not None, "published": published,
        "tied": tied.to_json(),
    }  # fmt: skip
    if keep is not None and not (keep == VALIDATION).any() and (parts == VALIDATION).any():
        record["taken"] = "validation"
    notes = notes_of(parts, labels, classes)
    if tied.ignored:
        notes.append(ignored_in_words(tied.ignored))
    return parts, record, tuple(notes)


def _groups(dataset: Dataset, group: str | None) -> np.ndarray | None:
    """What must not be torn (n,): the Dataset's groups, and with them those that share a value of a column.

    DatasetError when `group` names neither.
    """
    own, kept = dataset.groups, str(dataset.header.origin.get("group", "")) or "groups"
    if group is None or (own is not None and group in ("groups", "group", kept)):
        return own
    if group in dataset.header.columns:
        return _joined(dataset.column(group), own)
    has = f"it keeps {kept!r}" if own is not None else "it keeps no groups"
    has += f"; its columns are {', '.join(dataset.header.columns)}" if dataset.header.columns else ""
    raise DatasetError(
        f"has no groups called {group!r}", where=dataset.path, got=has,
        cure=f"Build it again with: estampa build SOURCE --group {group}"
        + (f"; or keep its groups whole: --group {kept}" if own is not None else ""),
    )  # fmt: skip


def _joined(values: np.ndarray, own: np.ndarray | None) -> np.ndarray:
    """Groups (n,) texts of objects with equal values (NaN: alone), tied to `own` groups to the end."""
    known = np.isfinite(values)
    texts = np.where(known, np.unique(values, return_inverse=True)[1].astype(str), "")
    if own is None:
        return texts
    _, first = np.unique(texts, return_index=True)
    at = dict(zip(texts[first].tolist(), first.tolist(), strict=True))
    pairs = np.array([(row, at[text]) for row, text in enumerate(texts.tolist()) if text], np.int64).reshape(-1, 2)
    return units(own, None, len(own), pairs).astype(str)


def is_published(dataset: Dataset) -> bool:
    """Whether the test part came with the data; a validation part may have been taken from its train part since."""
    return bool(dataset.header.published_split or dataset.split_record.get("published"))


def _published(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Labels with the rows that the publisher left out masked, and the published parts to keep.

    The train part is kept only when validation and test are both published; else it is dealt anew.
    """
    parts = np.asarray(dataset.split).copy()
    blank = np.nan if dataset.task == "regression" else -1
    labels = np.where(parts == NONE, blank, dataset.labels)
    if dataset.split_record.get("taken") == "validation":  # by an earlier split of ours
        parts[parts == VALIDATION] = TRAIN
    if not (parts == VALIDATION).any() or not (parts == TEST).any():
        parts[parts == TRAIN] = NONE
    return labels, parts


def notes_of(parts: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Return the classes that are missing from a part, in words."""
    used = [p for p in (TRAIN, VALIDATION, TEST) if (parts == p).any()]
    notes = []
    for number, name in enumerate(classes):
        missing = [PARTS[p] for p in used if not (labels[parts == p] == number).any()]
        if missing and (labels == number).any():
            notes.append(
                f"class {name!r} is not in the {' and '.join(missing)} part: too few objects, or too few groups"
            )
    return notes


def _counts(parts: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """(classes, parts) counts; a last row for unlabelled objects when there are any; one row without classes."""
    if not classes:
        return np.bincount(parts, minlength=len(PARTS))[None, :]
    rows = [np.bincount(parts[labels == c], minlength=len(PARTS)) for c in range(len(classes))]
    if (labels < 0).any():
        rows.append(np.bincount(parts[labels < 0], minlength=len(PARTS)))
    return np.stack(rows)
