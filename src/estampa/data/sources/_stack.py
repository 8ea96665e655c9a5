"""Arrays of n rows each, wherever they lie, sorted by what they are and stacked to images: the same rules for numpy
files, HDF5 files, pickled arrays and tables with pixels in columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from estampa.data.record import Header
from estampa.data.sources._base import ReadOptions, fingerprint_of, stat_facts
from estampa.data.sources._labels import NO_ANSWERS, Answers, encode, from_texts, require_unique
from estampa.data.sources._planes import Plane, Rows, fetch_of, plane_of, stored_dtype
from estampa.data.sources._rows import RowsReading, record_of, reshape_of, sized
from estampa.data.sources._tables import (
    GROUP_COLUMNS,
    ID_COLUMNS,
    LABEL_COLUMNS,
    Measured,
    Table,
    answer_of,
    exact_numbers,
    joined,
    measured,
    roles_taken,
    split_of,
)
from estampa.errors import SourceError, nearest

IMAGE_KEYS = ("images", "x")
LABEL_KEYS = ("label", "labels", "y", "target", "targets")
GROUP_KEYS = ("groups", "group", "drawer", "objectid")
ID_KEYS = ("ids", "id", "candid", "sourceid", "fname", "file", "filename")
FACT_KEYS = ("classes", "channels", "units", "pixel_scale")


@dataclass
class Found:
    """What the files hold, by role."""

    images: list[tuple[str, Rows]] = field(default_factory=list)  # name of the array or file, array
    label: Rows | None = None
    ids: Rows | None = None
    groups: Rows | None = None
    facts: dict[str, Rows] = field(default_factory=dict)
    columns: dict[str, Rows] = field(default_factory=dict)  # (n,) numbers beside the images
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def put(self, role: str, name: str, array: Rows) -> None:
        """Give an array its role: images | label | ids | groups | columns, or a key of FACT_KEYS."""
        if role == "images":
            self.images.append((name, array))
        elif role == "columns":
            self.columns.setdefault(name, array)
        elif role in ("label", "ids", "groups"):
            if getattr(self, role) is not None:
                raise SourceError(f"two arrays of {role}", where=array.name, got=getattr(self, role).name)
            setattr(self, role, array)
        else:
            self.facts[role] = array


def sort_keyed(
    found: Found,
    keys: Sequence[str],
    get: Callable[[str], Rows],
    options: ReadOptions,
    *,
    where: Path,
    flat: bool = False,
) -> None:
    """Give the arrays of one file, by `keys`, their roles; `get` opens one, and raises SourceError when it cannot.

    Images are the key `images` or `x`, else every array of three axes or more (two, when they are
    `flat` or --reshape is given). Arrays of one
    axis with as many numbers as there are images, and no other role, are columns; what cannot be opened is no column,
    and is noted.
    """
    lower = {k.lower(): k for k in reversed(keys)}
    label = options.label if options.label in keys else _first(lower, LABEL_KEYS)
    group = options.group if options.group in keys else _first(lower, GROUP_KEYS)
    roles = {"label": label, "ids": _first(lower, ID_KEYS), "groups": group}
    roles |= {fact: lower.get(fact, "") for fact in FACT_KEYS}
    taken = {key for key in roles.values() if key} | {lower[k] for k in (*LABEL_KEYS, *ID_KEYS) if k in lower}
    named = _first(lower, IMAGE_KEYS)
    others: dict[str, Rows] = {}
    if named:
        found.put("images", where.stem, get(named))
    for key in keys:
        if key in taken or key == named:
            continue
        try:
            others[key] = get(key)
        except SourceError as error:
            if not named:
                raise
            found.notes.append(f"{key} is left out: {error.what}")
    fewest = 2 if flat or reshape_of(options) is not None else 3
    for key, array in others.items():
        if not named and len(array.shape) >= fewest:
            found.put("images", key, array)
    if not found.images:
        raise SourceError(
            "no array of images", where=where, allowed=f"a key named {' or '.join(IMAGE_KEYS)}", got=", ".join(keys)
        )
    for role, key in roles.items():
        if key:
            found.put(role, "", get(key))
    n = len(found.images[0][1])
    for key, array in others.items():
        if array.shape == (n,) and array.dtype.kind in "biuf":
            found.put("columns", key, array)


def _first(lower: dict[str, str], known: Sequence[str]) -> str:
    return next((lower[k] for k in known if k in lower), "")


def reading_of(
    source: str,
    paths: Sequence[Path],
    found: Found,
    options: ReadOptions,
    *,
    square: bool = False,
    channels: tuple[str, ...] = (),
) -> RowsReading:
    """Make a Reading of arrays that have their roles; rows are read when blocks are asked for.

    `square`: flattened rows of a square number of values are taken for square pictures. `channels`: names in stacking
    order, when they are known better than by the arrays' names.

    Raises SourceError when shapes, lengths or labels do not fit, or when the layout is ambiguous.
    """
    where = ", ".join(str(p) for p in paths)
    if not found.images:
        shapes = ", ".join(f"{name}: an array of shape {array.shape}" for name, array in found.columns.items())
        raise SourceError("no images", where=where, allowed=f"a key named {' or '.join(IMAGE_KEYS)}", got=shapes)
    n = _same_length(found)
    planes = [plane_of(array, options, len(found.images), square) for _, array in found.images]
    _require_one_size(planes, where)
    dtype, read_as = stored_dtype(planes, options)
    shape = (*planes[0].shape[:2], sum(p.shape[2] for p in planes))
    answers = _answers(found, n, options)
    record = record_of(source, options, layout=planes[0].layout, dtype=read_as)
    beside = _columns(found, n, options)
    split = next((parts for parts in map(split_of, found.tables) if parts is not None), None)
    notes = [*found.notes, *beside.notes]
    if answers.strange:
        notes.append(f"{answers.strange} answers are none of the model's classes and were left out")
    if read_as:
        notes.append(f"pixels stored as {dtype}, since {planes[0].array.dtype} is not a stored type")
    header = Header(
        n=n,
        shape=sized(shape, record),
        dtype=dtype.name,
        task=answers.task,
        classes=answers.classes,
        channels=channels or _channels(found, planes),
        units=_fact(found, "units", ""),
        pixel_scale=_fact(found, "pixel_scale", None),
        origin={"paths": [p.name for p in paths]},
        read=record,
        columns=beside.names,
        published_split=split is not None,
    )
    files = [*paths, *(t.path for t in found.tables if t.path not in paths)]
    return RowsReading(
        header=header,
        ids=_ids(found, n),
        labels=answers.values,
        groups=_groups(found, n, options),
        split=split,
        table=beside.values if beside.names else None,
        fingerprint=fingerprint_of(f"{source} 2", stat_facts(files), options),
        notes=notes,
        fetch=fetch_of(planes, shape, dtype),
    )


def _same_length(found: Found) -> int:
    arrays = [file for _, file in found.images] + [f for f in (found.label, found.ids, found.groups) if f is not None]
    lengths = {file.name: len(file) for file in arrays} | {str(t.path): t.n for t in found.tables}
    if len(set(lengths.values())) > 1:
        raise SourceError("different numbers of rows", got=", ".join(f"{name} {n}" for name, n in lengths.items()))
    n = len(found.images[0][1])
    if n == 0:
        raise SourceError("no rows", where=found.images[0][1].name)
    return n


def _answers(found: Found, n: int, options: ReadOptions) -> Answers:
    """Labels from a column that was asked for, else an array, else a table's column of a usual name."""
    classes, lenient = options.classes, options.record is not None
    if not classes and "classes" in found.facts:
        classes = tuple(str(c) for c in found.facts["classes"].whole().ravel())
    answers = NO_ANSWERS
    column = _column(
        found, LABEL_COLUMNS, options.label if options.label and _wants(found.label, options.label) else ""
    )
    if found.label is not None and not (options.label and _wants(found.label, options.label)):
        answers = encode(found.label.whole(), classes, found.label.name, lenient)
    elif column is not None:
        answers = from_texts(column[1], classes, f"{column[0]}, column {column[2]!r}", lenient)
    elif classes:
        answers = Answers(np.full(n, -1, np.int64), classes, "classification") if lenient else NO_ANSWERS
    return answers


def _wants(array: Rows | None, key: str) -> bool:
    return array is None or array.key != key


def _column(found: Found, known: Sequence[str], asked: str) -> tuple[Path, list[str], str] | None:
    """A table's column of a role; SourceError when the one that was asked for is nowhere."""
    if asked and not found.tables:
        keys = [array.key for _, array in found.images] + list(found.columns)
        raise SourceError(
            f"no array is called {asked!r}",
            where=found.images[0][1].name,
            allowed=", ".join(keys),
            cure=nearest(asked, keys),
        )
    for table in found.tables:
        name = table.find(known, asked)
        if name:
            return table.path, table.columns[name], name
    return None


def _ids(found: Found, n: int) -> np.ndarray:
    """Ids from an array or a table's column, else row numbers. An array called id or ids must be unique."""
    if found.ids is not None:
        ids = found.ids.whole()
        if ids.ndim == 1 and ids.dtype.kind in "USiu":
            texts = np.array([v.decode() if isinstance(v, bytes) else str(v) for v in ids.tolist()])
            must = found.ids.key.lower() in ("", "ids", "id")
            if must or len(np.unique(texts)) == n:
                return require_unique(texts, found.ids.name)
    column = _column(found, ID_COLUMNS, "")
    if column is not None and len(set(column[1])) == n:
        return np.array(column[1])
    return np.arange(n).astype(str)


def _groups(found: Found, n: int, options: ReadOptions) -> np.ndarray | None:
    asked = options.group if options.group and _wants(found.groups, options.group) else ""
    if found.groups is not None and not asked:
        values = found.groups.whole()
        if values.ndim != 1 or values.dtype.kind not in "USiu":
            raise SourceError("groups are not one text or whole number a row", where=found.groups.name)
        return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()])
    column = _column(found, GROUP_COLUMNS, asked)
    # A column of which every row differs ties nothing together.
    return np.array(column[1]) if column is not None and (asked or len(set(column[1])) < n) else None


def _require_one_size(planes: Sequence[Plane], where: str) -> None:
    if len({p.shape[:2] for p in planes}) > 1:
        sizes = ", ".join(f"{p.array.name} {p.shape[0]}x{p.shape[1]}" for p in planes)
        raise SourceError("images of different sizes cannot be stacked", where=where, got=sizes)


def _columns(found: Found, n: int, options: ReadOptions) -> Measured:
    """Numbers beside the images: arrays of one axis, then the tables' numeric columns without a role."""
    arrays = {}
    for name, array in found.columns.items():
        if len(array) == n:
            values = exact_numbers(array.whole())
            if values is None:
                found.notes.append(f"{name} is left out: whole numbers beyond 2^53 are names, not measurements")
            else:
                arrays[name] = values
    tables = [
        measured(table, roles_taken(table, options.label, options.group), answer_of(table, options.label))
        for table in found.tables
    ]
    return joined([Measured(tuple(arrays), np.stack(list(arrays.values()), 1), []), *tables] if arrays else tables)


def _channels(found: Found, planes: Sequence[Plane]) -> tuple[str, ...]:
    total = sum(p.shape[2] for p in planes)
    if "channels" in found.facts:
        names = tuple(str(c) for c in found.facts["channels"].whole().ravel())
        if len(names) == total:
            return names
    if len(planes) > 1 and total == len(planes):
        return tuple(name for name, _ in found.images)
    return ()


def _fact(found: Found, key: str, default: Any) -> Any:
    if key not in found.facts:
        return default
    value = found.facts[key].whole().ravel()
    wanted = "US" if isinstance(default, str) else "iuf"
    return default if value.size != 1 or value.dtype.kind not in wanted else value[0].item()
