"""Dataset files as a source: rows are added by giving several, left out with an exclude file; a new file is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from estampa.data.layout import is_foreign
from estampa.data.record import Header
from estampa.data.sources._base import Block, Reading, ReadOptions, fingerprint_of, rows_per_block, table_rows_per_block
from estampa.data.split import is_published
from estampa.data.view import Dataset
from estampa.errors import SourceError

_OTHERS = 0o077  #: rights of everyone but a file's owner


def is_mine(paths: Sequence[Path], options: ReadOptions) -> str | None:  # noqa: ARG001 - the contract of sources
    """None when every path is a Dataset file, else the reason why not."""
    for path in paths:
        if not path.is_file() or not h5py.is_hdf5(path):
            return f"{path.name} is not an HDF5 file"
        if is_foreign(path):
            return f"{path.name} is an HDF5 file, but not a Dataset of estampa"
    return None


def read(paths: Sequence[Path], options: ReadOptions) -> Reading:
    """Read Datasets, one after the other; SourceError when they do not fit together or cannot be changed as asked."""
    asked = {
        "--size": options.size, "--crop": options.crop, "--layout": options.layout, "--reshape": options.reshape,
        "--label": options.label,
    }  # fmt: skip
    for flag, value in asked.items():
        if value:
            raise SourceError(
                f"a Dataset is taken as it is; {flag} applies to raw files",
                where=paths[0],
                cure="Build it again from the raw files.",
            )
    sets = [Dataset.open(path) for path in paths]
    header = joined_header(sets, options)
    split, record, notes = _joined_split(sets)
    return joined(sets, header, split=split, record=record, notes=notes)


def joined(
    sets: Sequence[Dataset],
    header: Header,
    *,
    kept: Sequence[np.ndarray] | None = None,
    split: np.ndarray | None,
    record: dict[str, Any],
    notes: list[str],
) -> DatasetReading:
    """Return the Reading of `kept` rows of each set (None = all), one set after the other, labelled as `header` says.

    `split`, `record` and `notes` are those of the rows together.
    """
    rows = [np.arange(one.n) for one in sets] if kept is None else list(kept)
    some = list(zip(sets, rows, strict=True))
    groups = joined_groups(some)
    facts = [(one.content_sha256, one.split.tobytes().hex(), len(own)) for one, own in some]
    return DatasetReading(
        header=replace(header, n=sum(map(len, rows))),
        ids=np.concatenate([one.ids[own] for one, own in some]),
        labels=None if header.task == "unlabelled" else np.concatenate([relabelled(o, header)[own] for o, own in some]),
        groups=groups,
        split=split,
        table=np.concatenate([one.table[own] for one, own in some if one.table is not None])
        if header.columns and header.shape is not None
        else None,  # of a table alone rows are read when they are asked for
        fingerprint=fingerprint_of(facts, header.to_json()),
        split_record=record,
        notes=notes,
        private=any(one.path.stat().st_mode & _OTHERS == 0 for one in sets),  # what is copied stays as closed as it was
        sets=list(sets),
        kept=rows,
    )


@dataclass(kw_only=True)
class DatasetReading(Reading):
    """Rows of one Dataset after the other."""

    sets: list[Dataset]
    kept: list[np.ndarray]  #: rows of each that are read

    def blocks(self, start: int = 0, size: int | None = None) -> Iterator[Block]:
        """Yield the images in order; see Reading."""
        step, first = rows_per_block(self.header, size), 0
        for one, rows in zip(self.sets, self.kept, strict=True):
            for begin in range(max(0, start - first), len(rows) if self.header.shape else 0, step):
                yield Block(first + begin, one.take(rows[begin : begin + step]))
            first += len(rows)

    def table_blocks(
        self, start: int = 0, size: int | None = None, names: Sequence[str] | None = None
    ) -> Iterator[tuple[int, np.ndarray, dict[int, str]]]:
        """Yield the rows of the tables in order; see Reading."""
        step, first, places = table_rows_per_block(self.header, size), 0, self.places(names)
        for one, rows in zip(self.sets, self.kept, strict=True):
            for begin in range(max(0, start - first), len(rows) if self.header.columns else 0, step):
                yield first + begin, one.table_rows(rows[begin : begin + step])[:, places], {}
            first += len(rows)


def _require_alike(one: Dataset, other: Dataset) -> None:
    """Refuse to join what was not measured or read in the same way."""
    facts = ("shape", "dtype", "task", "channels", "units", "pixel_scale", "columns", "roles", "column_units")
    pairs = {name: (getattr(one.header, name), getattr(other.header, name)) for name in facts}
    for name in ("mode", "crop", "size", "fit", "resample", "alpha", "exif"):
        pairs[f"read.{name}"] = (getattr(one.header.read, name), getattr(other.header.read, name))
    if one.table is not None and other.table is not None:
        pairs["table type"] = (one.table.dtype, other.table.dtype)
    for name, (here, there) in pairs.items():
        if here != there:
            raise SourceError(
                f"cannot be joined with {one.path.name}: {name} differs", where=other.path, allowed=here, got=there,
                cure="Build both anew from their files, in the same way (--size HxW, --mode).",
            )  # fmt: skip


def joined_groups(some: Sequence[tuple[Dataset, np.ndarray]]) -> np.ndarray | None:
    """Groups (n,) of rows of several sets; None where no set has any. A row of a set without groups is one of its own.

    Such a row's group is its id, under words that make it no other set's group: an added "7" is not the old group "7".
    """
    known = [one.groups[own] for one, own in some if one.groups is not None]
    if not known:
        return None
    taken, alone = {str(name) for names in known for name in np.unique(names)}, ""
    bare = [str(i) for one, own in some if one.groups is None for i in one.ids[own]]
    while not taken.isdisjoint(alone + i for i in bare):
        alone += "alone "
    return np.concatenate(
        [
            np.array([alone + str(i) for i in one.ids[own]]) if one.groups is None else one.groups[own]
            for one, own in some
        ]
    )


def joined_header(sets: Sequence[Dataset], options: ReadOptions) -> Header:
    """Return the first header, with the classes of all in order of appearance (or as asked for).

    Raises SourceError when the sets do not fit together.
    """
    for other in sets[1:]:
        _require_alike(sets[0], other)
    first = sets[0].header
    classes = options.classes or tuple(dict.fromkeys(name for one in sets for name in one.classes))
    display = first.display if classes == first.classes else {}
    origin = dict(first.origin)
    if len(sets) > 1:
        origin["joined"] = [{"path": str(one.path), "n": one.n, "content_sha256": one.content_sha256} for one in sets]
    return replace(
        first,
        n=sum(one.n for one in sets),
        classes=classes,
        display=display,
        origin=origin,
        published_split=all(one.header.published_split for one in sets),
    )


def _joined_split(sets: Sequence[Dataset]) -> tuple[np.ndarray | None, dict[str, Any], list[str]]:
    """The parts of all rows, the record of how they were made, and what to say.

    Parts are kept when every file has them: what was tested on in one must not be learned from in the joined file.
    """
    split = np.concatenate([one.split for one in sets])
    if len(sets) == 1:
        return split, dict(sets[0].split_record), []
    if all(one.header.published_split for one in sets):
        return split, {}, []
    parted = [one.path.name for one in sets if one.split.any()]
    bare = [one.path.name for one in sets if not one.split.any()]
    if not bare:
        record = {"joined": len(sets), "published": all(is_published(one) for one in sets)}
        return split, record, [f"the parts of the {len(sets)} files are kept"]
    if not parted:
        return None, {}, []
    said = f"the parts of {', '.join(parted)} are dropped, as {', '.join(bare)} has none"
    return None, {}, [f"{said}: what was tested on may be learned from when the joined file is parted"]


def relabelled(one: Dataset, header: Header) -> np.ndarray:
    """Return the labels of one Dataset in the class order of the joined header."""
    if header.task != "classification" or one.classes == header.classes:
        return one.labels
    missing = [name for name in one.classes if name not in header.classes]
    if missing:
        raise SourceError(
            f"has the class {missing[0]!r}", where=one.path, allowed=", ".join(header.classes), cure="Name all classes."
        )
    order = np.array([header.classes.index(name) for name in one.classes] + [-1], np.int64)
    found: np.ndarray = order[one.labels]
    return found
