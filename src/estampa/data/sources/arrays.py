"""Source `arrays`: numpy files, .npy and .npz, one array of n rows each.

Several arrays of images are channels, stacked on the last axis in the order given. Keys of an .npz, case aside:
images `images | x` (else every array of three axes or more, which must agree), labels `label | labels | y | target`,
ids `ids | id | candid | sourceid | fname | file`, groups `groups | group | drawer | objectid`, `classes`, `channels`,
`units`, `pixel_scale`. A .npy is told by its name: labels, y, ids, groups, classes; all else is images. A .csv given
beside them has one line per row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from estampa.data.record import Header
from estampa.data.sources._arrayfiles import ArrayFile, members
from estampa.data.sources._base import Reading, ReadOptions, fingerprint_of, stat_facts
from estampa.data.sources._labels import NO_ANSWERS, Answers, encode, from_texts, require_unique
from estampa.data.sources._rows import RowsReading, record_of, reshape_of, sized
from estampa.data.sources._tables import GROUP_COLUMNS, ID_COLUMNS, LABEL_COLUMNS, Table, read_table
from estampa.errors import SourceError, nearest
from estampa.pixels import storable

IMAGE_KEYS = ("images", "x")
LABEL_KEYS = ("label", "labels", "y", "target", "targets")
GROUP_KEYS = ("groups", "group", "drawer", "objectid")
ID_KEYS = ("ids", "id", "candid", "sourceid", "fname", "file", "filename")
FACT_KEYS = ("classes", "channels", "units", "pixel_scale")
_SMALL = (4, 16)  # an axis of at most so many is taken for channels when the other two are longer


@dataclass
class _Found:
    """What the files hold, by role."""

    images: list[tuple[str, ArrayFile]] = field(default_factory=list)  # name of the array or file, array
    label: ArrayFile | None = None
    ids: ArrayFile | None = None
    groups: ArrayFile | None = None
    facts: dict[str, ArrayFile] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)


@dataclass(frozen=True)
class _Plane:
    """One array of images, and how its rows become (height, width, channels)."""

    file: ArrayFile
    shape: tuple[int, int, int]
    layout: str

    def fill(self, out: np.ndarray, start: int, stop: int) -> dict[int, str]:
        """Put rows start..stop in `out` (m, h, w, c), cast to its dtype; returns the rows that the cast would break."""
        rows = self.file.rows(start, stop)
        placed = rows.transpose(0, 2, 3, 1) if self.layout == "NCHW" else rows
        with np.errstate(over="ignore"):
            out[...] = placed.reshape(stop - start, *self.shape)
        if rows.dtype.kind != "f" or rows.dtype.itemsize <= 4:
            return {}
        beyond = np.isfinite(rows) & (np.abs(rows) > float(np.finfo(np.float32).max))
        bad = np.flatnonzero(beyond.reshape(len(rows), -1).any(1))
        return {start + int(i): "values beyond the range of float32" for i in bad}


def is_mine(paths: Sequence[Path], options: ReadOptions) -> str | None:
    """None when all paths are .npy, .npz or a table beside them; else the reason why not."""
    del options
    kinds = [p.suffix.lower() for p in paths]
    if not any(k in (".npy", ".npz") for k in kinds):
        return "no .npy or .npz file"
    strange = [p for p, k in zip(paths, kinds, strict=True) if k not in (".npy", ".npz", ".csv", ".tsv")]
    return f"{strange[0].name} is neither an array nor a table beside one" if strange else None


def read(paths: Sequence[Path], options: ReadOptions) -> Reading:
    """Understand the files. Memory stays flat: rows are read when blocks are asked for.

    Raises SourceError when shapes, lengths or labels do not fit, when the layout is ambiguous, or when an array holds
    Python objects.
    """
    found = _collect(paths, options)
    where = ", ".join(str(p) for p in paths)
    if not found.images:
        raise SourceError("no images", where=where, allowed=f"a key named {' or '.join(IMAGE_KEYS)}")
    n = _same_length(found)
    planes = [_plane(file, options, len(found.images)) for _, file in found.images]
    if len({p.shape[:2] for p in planes}) > 1:
        sizes = ", ".join(f"{p.file.name} {p.shape[0]}x{p.shape[1]}" for p in planes)
        raise SourceError("images of different sizes cannot be stacked", where=where, got=sizes)
    dtype, read_as = _dtype(planes, options)
    height, width = planes[0].shape[:2]
    shape = (height, width, sum(p.shape[2] for p in planes))
    answers, notes = _answers(found, n, options)
    record = record_of("arrays", options, layout=planes[0].layout, dtype=read_as)
    notes += [f"pixels stored as {dtype}, since {planes[0].file.dtype} is not a stored type"] if read_as else []
    header = Header(
        n=n,
        shape=sized(shape, record),
        dtype=dtype.name,
        task=answers.task,
        classes=answers.classes,
        channels=_channels(found, planes),
        units=_fact(found, "units", ""),
        pixel_scale=_fact(found, "pixel_scale", None),
        origin={"paths": [p.name for p in paths]},
        read=record,
    )
    return RowsReading(
        header=header,
        ids=_ids(found, n),
        labels=answers.values,
        groups=_groups(found, n, options),
        fingerprint=fingerprint_of("arrays 1", stat_facts(_read_files(paths, found)), options),
        notes=notes,
        fetch=_fetch(planes, shape, dtype),
    )


def _collect(paths: Sequence[Path], options: ReadOptions) -> _Found:
    found = _Found()
    for path in paths:
        suffix = path.suffix.lower()
        if suffix == ".npz":
            _collect_npz(path, options, found)
        elif suffix == ".npy":
            words = set(re.split(r"[^a-z]+", path.stem.lower()))
            role = next((r for r, keys in _ROLES.items() if words & set(keys)), "images")
            _put(found, role, path.stem, ArrayFile(path))
        else:
            found.tables.append(read_table(path))
    if not found.tables and _wants_table(found, options):
        found.tables += _table_beside(paths, found, options)
    return found


_ROLES = {"label": LABEL_KEYS, "ids": ("ids", "id"), "groups": ("groups", "group"), "classes": ("classes",)}


def _collect_npz(path: Path, options: ReadOptions, found: _Found) -> None:
    keys = members(path)
    lower = {k.lower(): k for k in reversed(keys)}

    def open_first(known: Sequence[str], asked: str = "") -> ArrayFile | None:
        key = asked if asked in keys else next((lower[k] for k in known if k in lower), "")
        return ArrayFile(path, key + ".npy") if key else None

    named = next((lower[k] for k in IMAGE_KEYS if k in lower), "")
    if named:
        _put(found, "images", path.stem, ArrayFile(path, named + ".npy"))
    else:
        opened = [(k, ArrayFile(path, k + ".npy")) for k in keys if k.lower() not in FACT_KEYS]
        flat = reshape_of(options) is not None
        for key, file in opened:
            if len(file.shape) >= (2 if flat else 3):
                _put(found, "images", key, file)
        if not found.images:
            raise SourceError(
                "no array of images", where=path, allowed=f"a key named {' or '.join(IMAGE_KEYS)}", got=", ".join(keys)
            )
    for role, member in (
        ("label", open_first(LABEL_KEYS, options.label)),
        ("ids", open_first(ID_KEYS)),
        ("groups", open_first(GROUP_KEYS, options.group)),
        *((k, open_first((k,))) for k in FACT_KEYS),
    ):
        if member is not None:
            _put(found, role, "", member)


def _put(found: _Found, role: str, name: str, file: ArrayFile) -> None:
    if role == "images":
        found.images.append((name, file))
    elif role in ("label", "ids", "groups"):
        if getattr(found, role) is not None:
            raise SourceError(f"two arrays of {role}", where=file.name, got=getattr(found, role).name)
        setattr(found, role, file)
    else:
        found.facts[role] = file


def _wants_table(found: _Found, options: ReadOptions) -> bool:
    """Whether a column that was asked for is not among the arrays."""
    asked_label = options.label and (found.label is None or not _is_key(found.label, options.label))
    asked_group = options.group and (found.groups is None or not _is_key(found.groups, options.group))
    return bool(asked_label or asked_group)


def _is_key(file: ArrayFile, key: str) -> bool:
    return file.member.removesuffix(".npy") == key


def _table_beside(paths: Sequence[Path], found: _Found, options: ReadOptions) -> list[Table]:
    """The one table in the folder of the arrays that has a line per row and the columns that were asked for."""
    n = len(found.images[0][1]) if found.images else 0
    tables = [read_table(p) for p in sorted(paths[0].parent.glob("*.csv"))]
    asked = [c for c in (options.label, options.group) if c]
    fitting = [t for t in tables if t.n == n and any(c in t.columns for c in asked)]
    if len(fitting) == 1:
        return fitting
    known = {c for t in tables if t.n == n for c in t.columns}
    raise SourceError(
        f"no array and no table beside it has {' and '.join(map(repr, asked))} for {n} rows",
        where=paths[0],
        cure=nearest(asked[0], known) or "Give the table as a second path",
    )


def _same_length(found: _Found) -> int:
    arrays = [file for _, file in found.images] + [f for f in (found.label, found.ids, found.groups) if f is not None]
    lengths = {file.name: len(file) for file in arrays} | {str(t.path): t.n for t in found.tables}
    if len(set(lengths.values())) > 1:
        raise SourceError("different numbers of rows", got=", ".join(f"{name} {n}" for name, n in lengths.items()))
    n = len(found.images[0][1])
    if n == 0:
        raise SourceError("no rows", where=found.images[0][1].name)
    return n


def _plane(file: ArrayFile, options: ReadOptions, count: int) -> _Plane:
    """Shape and layout of one array of images."""
    shape, asked = file.shape, reshape_of(options)
    row = int(np.prod(shape[1:]))
    if asked is not None and len(shape) in (2, 3, 4) and (len(shape) == 2 or options.reshape is not None):
        height, width, channels = asked
        if channels % count == 0 and row == height * width * channels // count:
            return _Plane(file, (height, width, channels // count), "")
        if row != height * width * channels:
            raise SourceError(
                f"rows of {row} values", where=file.name, allowed=f"{height * width * channels}, as --reshape says"
            )
        return _Plane(file, asked, "")
    if len(shape) == 3:
        return _Plane(file, (shape[1], shape[2], 1), "")
    if len(shape) == 4:
        layout = options.layout or (options.record.layout if options.record else "") or _layout(file)
        if layout not in ("NCHW", "NHWC"):
            raise SourceError(f"unknown layout {layout!r}", where="--layout", allowed="NCHW, NHWC")
        a, b, c = shape[1:]
        return _Plane(file, (b, c, a) if layout == "NCHW" else (a, b, c), layout)
    side = round(row**0.5)
    cure = f"Try --reshape {side}x{side}" if side > 1 and side * side == row else "Say what they are: --reshape HxW"
    if len(shape) == 2:
        raise SourceError(f"flattened rows of {row} values", where=file.name, cure=cure)
    raise SourceError(
        f"an array of shape {shape}", where=file.name, allowed="(n, h, w) or (n, h, w, c) or (n, c, h, w)"
    )


def _layout(file: ArrayFile) -> str:
    """Layout told by the one small axis of (n, a, b, c), or by the two equal ones; SourceError when neither tells."""
    a, b, c = file.shape[1:]
    for small in _SMALL:
        first, last = a <= small < min(b, c), c <= small < min(a, b)
        if first != last:
            return "NCHW" if first else "NHWC"
    if (a == b > c) != (b == c > a):
        return "NHWC" if a == b else "NCHW"
    raise SourceError(
        "which axis is the channels is not clear",
        where=file.name,
        got=str(file.shape),
        cure="Say it with --layout NCHW or --layout NHWC",
    )


def _dtype(planes: Sequence[_Plane], options: ReadOptions) -> tuple[np.dtype[Any], str]:
    """Stored dtype, and its name when a conversion was needed (kept for replay, where values may span less)."""
    kept = options.record.extra.get("dtype", "") if options.record else ""
    if kept and any(p.file.dtype.kind in "iub" and p.file.dtype.name != kept for p in planes):
        top = {"uint8": 255, "uint16": 65535, "float32": 1 << 24}.get(kept, -1)
        low, high = min(p.file.extremes()[0] for p in planes), max(p.file.extremes()[1] for p in planes)
        if high <= top and low >= (0 if kept.startswith("u") else -top):
            return np.dtype(kept), kept
    stored = [storable(p.file.dtype, p.file.extremes, p.file.name) for p in planes]
    dtype = stored[0]
    for other in stored[1:]:
        dtype = np.promote_types(dtype, other)
    changed = any(p.file.dtype.newbyteorder("=") != dtype for p in planes)
    return dtype, dtype.name if changed else ""


def _fetch(
    planes: Sequence[_Plane], shape: tuple[int, int, int], dtype: np.dtype[Any]
) -> Callable[[int, int], tuple[np.ndarray, dict[int, str]]]:
    def fetch(start: int, stop: int) -> tuple[np.ndarray, dict[int, str]]:
        images = np.empty((stop - start, *shape), dtype)
        channel = 0
        rejected: dict[int, str] = {}
        for plane in planes:
            rejected |= plane.fill(images[..., channel : channel + plane.shape[2]], start, stop)
            channel += plane.shape[2]
        return images, rejected

    return fetch


def _answers(found: _Found, n: int, options: ReadOptions) -> tuple[Answers, list[str]]:
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
    notes = [f"{answers.strange} answers are none of the model's classes and were left out"] if answers.strange else []
    return answers, notes


def _wants(file: ArrayFile | None, key: str) -> bool:
    return file is None or not _is_key(file, key)


def _column(found: _Found, known: Sequence[str], asked: str) -> tuple[Path, list[str], str] | None:
    for table in found.tables:
        name = table.find(known, asked)
        if name:
            return table.path, table.columns[name], name
    return None


def _ids(found: _Found, n: int) -> np.ndarray:
    """Ids from an array or a table's column, else row numbers. An array called id or ids must be unique."""
    if found.ids is not None:
        ids = found.ids.whole()
        if ids.ndim == 1 and ids.dtype.kind in "USiu":
            texts = np.array([v.decode() if isinstance(v, bytes) else str(v) for v in ids.tolist()])
            must = found.ids.member.removesuffix(".npy").lower() in ("", "ids", "id")
            if must or len(np.unique(texts)) == n:
                return require_unique(texts, found.ids.name)
    column = _column(found, ID_COLUMNS, "")
    if column is not None and len(set(column[1])) == n:
        return np.array(column[1])
    return np.arange(n).astype(str)


def _groups(found: _Found, n: int, options: ReadOptions) -> np.ndarray | None:
    asked = options.group if options.group and _wants(found.groups, options.group) else ""
    if found.groups is not None and not asked:
        values = found.groups.whole()
        if values.ndim != 1 or values.dtype.kind not in "USiu":
            raise SourceError("groups are not one text or whole number a row", where=found.groups.name)
        return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()])
    column = _column(found, GROUP_COLUMNS, asked)
    # A column of which every row differs ties nothing together.
    return np.array(column[1]) if column is not None and (asked or len(set(column[1])) < n) else None


def _channels(found: _Found, planes: Sequence[_Plane]) -> tuple[str, ...]:
    total = sum(p.shape[2] for p in planes)
    if "channels" in found.facts:
        names = tuple(str(c) for c in found.facts["channels"].whole().ravel())
        if len(names) == total:
            return names
    if len(planes) > 1 and total == len(planes):
        return tuple(name for name, _ in found.images)
    return ()


def _fact(found: _Found, key: str, default: Any) -> Any:
    if key not in found.facts:
        return default
    value = found.facts[key].whole().ravel()
    wanted = "US" if isinstance(default, str) else "iuf"
    return default if value.size != 1 or value.dtype.kind not in wanted else value[0].item()


def _read_files(paths: Sequence[Path], found: _Found) -> list[Path]:
    return [*paths, *(t.path for t in found.tables if t.path not in paths)]
