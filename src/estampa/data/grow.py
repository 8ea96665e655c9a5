"""Adding to a Dataset: its classes, rows and parts stay what they are; copies are left out; new rows get a part.

A score on the old test part stays comparable, so nothing that resembles it may enter the train part. What is added

- and equals a row that is there, to the last bit, is left out;
- and nearly equals one (duplicates.py) takes that one's part; where it resembles rows of two parts, it takes none;
- else, of a class that was there, is learned from (`new_to="train"`), or dealt like a new class ("split");
- else, of a new class, is dealt in the shares of the old parts, stratified.

What comes with parts of its own, one to learn from among them, was dealt already, and not by chance alone (what people
chose to label is learned from and not tested on): it keeps them, or is in none where it resembles old rows of another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from estampa.data.deal import NONE, TEST, TRAIN, VALIDATION, deal_units, strata_of, units
from estampa.data.duplicates import near_duplicates
from estampa.data.layout import begins_like_hdf5
from estampa.data.record import PARTS, Header
from estampa.data.sources._base import Reading, ReadOptions, fingerprint_of
from estampa.data.sources.dataset import joined, joined_groups, joined_header, relabelled
from estampa.data.split import is_published, notes_of
from estampa.data.ties import ignored_in_words, plausible
from estampa.data.view import Dataset
from estampa.errors import InputError, SourceError
from estampa.progress import SILENT, Progress

NEW_TO = ("train", "split")  #: where new rows of old classes go
_NAMED = 5  # ids named in a message


def adds(paths: Sequence[Path]) -> bool:
    """Whether the paths are a Dataset and what is added to it: files, or Datasets without parts to one with parts."""
    mine = [path.is_file() and begins_like_hdf5(path) for path in paths]
    if len(paths) < 2 or not mine[0]:
        return False
    if not all(mine):
        return all(path.exists() for path in paths)
    old, *more = [Dataset.open(path) for path in paths]
    return bool(old.split.any()) and not all(one.split.any() for one in more)


def added(
    paths: Sequence[Path],
    options: ReadOptions,
    opened: Callable[[Path, ReadOptions], Dataset],
    *,
    new_to: str = "train",
    progress: Progress = SILENT,
) -> Reading:
    """Return a Reading of the first path, a Dataset, with the other paths added; see `grown`.

    Files are read as those of the Dataset were, by `opened`. Raises InputError for options that say otherwise.
    """
    old = Dataset.open(paths[0])
    asked = {
        "--size": options.size, "--crop": options.crop, "--layout": options.layout, "--reshape": options.reshape,
        "--mode": options.mode != "auto", "--match-radius": options.match_radius,
    }  # fmt: skip
    for flag, value in asked.items():
        if value:
            raise InputError(
                f"what is added to a Dataset is read as that was; {flag} is for new ones", where=paths[0],
                cure="Leave it out.",
            )  # fmt: skip
    own = replace(options, record=old.header.read, exclude=None, per_class=0, seed=0, classes=())
    sets = []
    for path in paths[1:]:
        if path.is_file() and begins_like_hdf5(path):
            sets.append(Dataset.open(path))
        else:
            progress.say(f"{path} is read as {old.path.name} was")
            sets.append(opened(path, own))
    return grown(old, sets, list(map(named, paths[1:])), options=options, new_to=new_to, progress=progress)


def grown(
    old: Dataset,
    more: Sequence[Dataset],
    names: Sequence[str],
    *,
    options: ReadOptions,
    new_to: str = "train",
    progress: Progress = SILENT,
) -> Reading:
    """Return a Reading of the rows of `old`, then those of `more` that are not in it, each with its part.

    Parameters
    ----------
    old : what is added to. Its parts are kept; without parts none are made.
    more : Datasets that were read as `old` was.
    names : what each of `more` is called; put before an id that another row has already.
    options : `classes` must begin with the old classes; `seed` deals the rows of new classes.
    new_to : one of NEW_TO.

    Raises SourceError when the files do not fit together or nothing new is among them.
    """
    if new_to not in NEW_TO:
        raise InputError(f"unknown {new_to!r}", where="--new-to", allowed=", ".join(NEW_TO))
    _require_order(old, options)
    sets = [old, *more]
    header = replace(joined_header(sets, options), published_split=old.header.published_split)
    kept, notes = _without_copies(sets, header)
    ids, renamed = _unique_ids(sets, kept, names)
    notes += renamed
    many = _Many(sets, kept)
    split = None
    if old.split.any():
        groups = joined_groups(list(zip(sets, kept, strict=True)))
        split, said = _parts(many, header, groups, options.seed, new_to, progress)
        notes += said
    record = {**old.split_record, "added": many.n - old.n, "published": is_published(old)} if old.split_record else {}
    reading = joined(sets, header, kept=kept, split=split, record=record, notes=notes)
    reading.ids = ids
    reading.fingerprint = fingerprint_of(reading.fingerprint, "grown", new_to, options.seed, list(names))
    return reading


def _require_order(old: Dataset, options: ReadOptions) -> None:
    if options.classes and options.classes[: len(old.classes)] != old.classes:
        raise SourceError(
            "the old classes keep their numbers", where="--classes", allowed=", ".join([*old.classes, "..."]),
            got=", ".join(options.classes), cure="Leave --classes out: new classes are appended.",
        )  # fmt: skip


@dataclass
class _Many:
    """Some rows of several Datasets, looked through as one (see duplicates.Pictures)."""

    sets: Sequence[Dataset]
    kept: Sequence[np.ndarray]

    @cached_property
    def starts(self) -> np.ndarray:
        """First row of each set, and the number of all."""
        return np.cumsum([0, *map(len, self.kept)])

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.starts[-1])

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """See Dataset."""
        return self.sets[0].shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """See Dataset."""
        return self.sets[0].dtype

    @property
    def content_sha256(self) -> str:
        """Names the rows."""
        return fingerprint_of([(one.content_sha256, rows.tolist()) for one, rows in self._pairs()])

    @cached_property
    def hashes(self) -> np.ndarray:
        """See Dataset."""
        return np.concatenate([one.hashes[rows] for one, rows in self._pairs()])

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Copy of the images of `rows`."""
        assert self.shape is not None
        images = np.empty((len(rows), *self.shape), self.dtype)
        whose = np.searchsorted(self.starts, rows, side="right") - 1
        for number, (one, own) in enumerate(self._pairs()):
            mine = np.flatnonzero(whose == number)
            if len(mine):
                images[mine] = one.take(own[rows[mine] - self.starts[number]])
        return images

    def blocks(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(row numbers, their images), a block at a time."""
        assert self.shape is not None
        step = max(1, (16 << 20) // (int(np.prod(self.shape)) * self.dtype.itemsize))
        for start in range(0, len(rows), step):
            yield rows[start : start + step], self.take(rows[start : start + step])

    def _pairs(self) -> list[tuple[Dataset, np.ndarray]]:
        return list(zip(self.sets, self.kept, strict=True))


def _without_copies(sets: Sequence[Dataset], header: Header) -> tuple[list[np.ndarray], list[str]]:
    """Rows of each set that are kept: all of the old one, and no copies of its rows; and what is to be said."""
    old = sets[0]
    order = np.argsort(old.hashes, kind="stable")
    hashes, labels = old.hashes[order], relabelled(old, header)[order]
    kept, copies, odd = [np.arange(old.n)], 0, []
    for one in sets[1:]:
        place = np.searchsorted(hashes, one.hashes).clip(max=len(hashes) - 1)
        copy = hashes[place] == one.hashes
        own = relabelled(one, header)
        known = one.labelled() & copy
        odd += one.ids[known & (own != labels[place])].tolist()
        copies += int(copy.sum())
        kept.append(np.flatnonzero(~copy))
    notes = []
    if copies:
        notes.append(
            f"{copies:,} of what is added {_be(copies)} in {old.path.name} already, and {_be(copies)} left out"
        )
    if odd:
        some = ", ".join(map(str, odd[:_NAMED])) + (", ..." if len(odd) > _NAMED else "")
        notes.append(f"{len(odd):,} of these {_be(len(odd))} under another label there, which stays: {some}")
    if not sum(map(len, kept[1:])):
        raise SourceError(
            f"holds nothing that {old.path.name} lacks", where=", ".join(one.path.name for one in sets[1:]),
            got=f"{copies:,} copies",
        )  # fmt: skip
    return kept, notes


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def _unique_ids(
    sets: Sequence[Dataset], kept: Sequence[np.ndarray], names: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """Ids of all rows; one that another row has already is put behind the name of what it came with."""
    ids, renamed = sets[0].ids.tolist(), []
    taken = set(ids)
    for one, rows, name in zip(sets[1:], kept[1:], names, strict=True):
        for found in one.ids[rows].tolist():
            own, tried = found, 1
            while own in taken:  # "new/a.png" is taken too where a folder called new was added before
                own, tried = f"{name}{f' {tried}' if tried > 1 else ''}/{found}", tried + 1
            renamed += [own] if own != found else []
            taken.add(own)
            ids.append(own)
    notes = (
        [f"{len(renamed):,} ids were taken by other objects: what is added is called {renamed[0]!r}"] if renamed else []
    )
    return np.array(ids), notes


def _parts(
    many: _Many, header: Header, groups: np.ndarray | None, seed: int, new_to: str, progress: Progress
) -> tuple[np.ndarray, list[str]]:
    """Parts of all rows, and what is to be said."""
    sets, kept = many.sets, many.kept
    labels = np.concatenate([relabelled(one, header)[rows] for one, rows in zip(sets, kept, strict=True)])
    given = np.concatenate([one.split[rows] for one, rows in zip(sets, kept, strict=True)])
    known = np.concatenate([one.labelled()[rows] for one, rows in zip(sets, kept, strict=True)])
    added = np.arange(many.n) >= sets[0].n
    pairs, ignored = np.zeros((0, 2), np.int64), 0
    if many.shape is not None:
        pairs = near_duplicates(many, progress=progress).pairs
        pairs, ignored = plausible(pairs[added[pairs].any(axis=1)], many.n)
    own = units(groups, many.hashes, many.n, pairs)
    shares = _shares(sets[0])
    stated = np.concatenate([np.full(len(rows), keeps_parts(one)) for one, rows in zip(sets, kept, strict=True)])
    given, strayed = settled(given, own, stated & added, added)
    parts, followed, torn = extended(
        given, labels, own, added & known & ~stated, shares=shares, task=header.task, new_to=new_to, seed=seed
    )
    counts = np.bincount(parts[added], minlength=len(PARTS))
    where = ", ".join(f"{counts[p]:,} to {PARTS[p]}" for p in (TRAIN, VALIDATION, TEST) if counts[p])
    notes = [f"{int(added.sum()):,} added to {sets[0].n:,}, whose parts are kept: {where or 'none to any part'}"]
    if followed:
        notes.append(f"{followed:,} of them belong to old ones (near copies, or the same group) and take their part")
    if strayed:
        notes.append(f"{strayed:,} of them have a part of their own and belong to old ones of another: now in none")
    if torn:
        notes.append(f"{torn:,} of them belong to old ones of two parts, and are in no part")
    if ignored:
        notes.append(ignored_in_words(ignored))
    classes = header.classes if header.task == "classification" else ()
    return parts, notes + notes_of(parts, labels, classes)


def keeps_parts(dataset: Dataset) -> bool:
    """Whether a Dataset has parts of its own, which what is made of it keeps: some are to learn from."""
    return bool(dataset.split_record) and bool((dataset.split == TRAIN).any())


def settled(given: np.ndarray, own: np.ndarray, stated: np.ndarray, added: np.ndarray) -> tuple[np.ndarray, int]:
    """Parts (n,) in which no row that has one of its own (`stated`, bool) stands against old rows of its unit `own`.

    `added` (n,) bool: the rows that are not old. Returns also how many lost their part by that.
    """
    old = ~added & (given != NONE)
    _, code = np.unique(own, return_inverse=True)
    seen = np.zeros((int(code.max()) + 1, len(PARTS)), bool)
    seen[code[old], given[old]] = True
    sides = seen[code]
    sides[np.arange(len(given)), given] = False
    astray = stated & (given != NONE) & sides.any(axis=1)
    return np.where(astray, NONE, given).astype(np.uint8), int(astray.sum())


def _shares(old: Dataset) -> np.ndarray:
    """(4,) shares of the old parts among its rows that are in one."""
    counts = np.bincount(old.split[old.labelled()], minlength=len(PARTS)).astype(float)
    counts[NONE] = 0
    return np.asarray(counts / max(counts.sum(), 1.0))


def extended(
    given: np.ndarray,
    labels: np.ndarray,
    own: np.ndarray,
    new: np.ndarray,
    *,
    shares: np.ndarray,
    task: str,
    new_to: str,
    seed: int,
) -> tuple[np.ndarray, int, int]:
    """Give parts to new rows; those of old rows are not touched.

    Parameters
    ----------
    given : (n,) parts, 0 where none was given yet.
    labels : (n,) class numbers, or targets.
    own : (n,) units (see `deal.units`).
    new : (n,) bool, the labelled rows that may get a part.
    shares : (4,) of the parts, for the rows that are dealt.
    task, new_to, seed : see `grown`.

    Returns
    -------
    parts (n,) uint8; how many new rows follow old ones of their unit; how many are tied to two parts and get none.
    """
    parts = np.asarray(given, np.uint8).copy()
    old = ~new & (parts != NONE)
    _, code = np.unique(own, return_inverse=True)
    seen = np.zeros((int(code.max()) + 1, len(PARTS)), bool)
    seen[code[old], parts[old]] = True
    sides = seen.sum(axis=1)[code]
    follows, torn = new & (sides == 1), new & (sides > 1)
    parts[follows] = seen.argmax(axis=1)[code[follows]]
    parts[torn] = NONE
    free = new & (sides == 0) & (parts == NONE)
    dealt = free
    if new_to == "train":
        fresh = free & ~np.isin(labels, labels[old]) if task == "classification" else np.zeros(len(free), bool)
        dealt = free & np.isin(code, code[fresh])  # with what is tied to a row of a new class
        parts[free & ~dealt] = TRAIN
    rows = np.flatnonzero(dealt)
    if len(rows):
        strata = strata_of(labels, new, task)[rows]
        parts[rows] = deal_units(strata, own[rows], shares, np.random.default_rng(seed))
    return parts, int(follows.sum()), int(torn.sum())


def named(path: Path) -> str:
    """What a file or folder that is added is called."""
    return path.stem if path.is_file() else path.resolve().name
