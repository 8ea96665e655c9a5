"""Source `arrays`: numpy files, .npy and .npz, one array of n rows each.

Several arrays of images are channels, stacked on the last axis in the order given. Keys of an .npz, case aside:
images `images | x` (else every array of three axes or more, which must agree), labels `label | labels | y | target`,
ids `ids | id | candid | sourceid | fname | file`, groups `groups | group | drawer | objectid`, `classes`, `channels`,
`units`, `pixel_scale`; other arrays of one number a row are columns. A .npy is told by its name: labels, y, ids,
groups, classes; one axis of numbers: a column; all else is images. A .csv given beside them has one line per row.
A folder of such files, with nothing else in it but texts to read, stands for the files in it. A single .npy of records
with named fields is a catalogue, as the source `table` reads one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from estampa.data.sources._arrayfiles import ArrayFile, members
from estampa.data.sources._base import Reading, ReadOptions
from estampa.data.sources._planes import Rows
from estampa.data.sources._sheetreading import reading_of_sheet
from estampa.data.sources._sheets import ArraySheet
from estampa.data.sources._stack import LABEL_KEYS, Found, reading_of, sort_keyed
from estampa.data.sources._tables import Table, read_table
from estampa.errors import SourceError, nearest

_ARRAYS, _TABLES, _TEXTS = (".npy", ".npz"), (".csv", ".tsv"), (".md", ".txt")
_ROLES = {"label": LABEL_KEYS, "ids": ("ids", "id"), "groups": ("groups", "group"), "classes": ("classes",)}


def is_mine(paths: Sequence[Path], options: ReadOptions) -> str | None:
    """None when all paths are .npy, .npz or a table beside them; else the reason why not."""
    del options
    paths = _files(paths)
    kinds = [p.suffix.lower() for p in paths]
    if not any(k in _ARRAYS for k in kinds):
        return "no .npy or .npz file"
    strange = [p for p, k in zip(paths, kinds, strict=True) if k not in _ARRAYS + _TABLES]
    return f"{strange[0].name} is neither an array nor a table beside one" if strange else None


def read(paths: Sequence[Path], options: ReadOptions) -> Reading:
    """Understand the files. Memory stays flat: rows are read when blocks are asked for.

    Raises SourceError when shapes, lengths or labels do not fit, when the layout is ambiguous, or when an array holds
    Python objects.
    """
    paths = _files(paths)
    if len(paths) == 1 and paths[0].suffix.lower() == ".npy":
        array = ArrayFile(paths[0])
        if array.dtype.names and len(array.shape) == 1:
            return reading_of_sheet("arrays", paths, ArraySheet(array), options)
    return reading_of("arrays", paths, _collect(paths, options), options)


def _files(paths: Sequence[Path]) -> Sequence[Path]:
    """The arrays and tables of a folder, in order of name, when that is all there is in it; else `paths`."""
    if len(paths) != 1 or not paths[0].is_dir():
        return paths
    inside = [p for p in sorted(paths[0].iterdir()) if not p.name.startswith(".") and p.suffix.lower() not in _TEXTS]
    return inside if inside and all(p.is_file() and p.suffix.lower() in _ARRAYS + _TABLES for p in inside) else paths


def _collect(paths: Sequence[Path], options: ReadOptions) -> Found:
    found = Found()
    for path in paths:
        suffix = path.suffix.lower()
        if suffix == ".npz":
            sort_keyed(found, members(path), lambda key, path=path: ArrayFile(path, key + ".npy"), options, where=path)  # type: ignore[misc]
        elif suffix == ".npy":
            array = ArrayFile(path)
            words = set(re.split(r"[^a-z]+", path.stem.lower()))
            numbers = "columns" if len(array.shape) == 1 and array.dtype.kind in "biuf" else "images"
            found.put(next((r for r, keys in _ROLES.items() if words & set(keys)), numbers), path.stem, array)
        else:
            found.tables.append(read_table(path))
    if not found.tables and _wants_table(found, options):
        found.tables += _table_beside(paths, found, options)
    return found


def _wants_table(found: Found, options: ReadOptions) -> bool:
    """Whether a column that was asked for is not among the arrays."""

    def lacks(array: Rows | None, key: str) -> bool:
        return bool(key) and (array is None or array.key != key)

    return lacks(found.label, options.label) or lacks(found.groups, options.group)


def _table_beside(paths: Sequence[Path], found: Found, options: ReadOptions) -> list[Table]:
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
