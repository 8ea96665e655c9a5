"""The Dataset file as HDF5 sees it: the skeleton that is written, and the inspection of one that comes from outside.

Everything is contiguous, so that a reader needs HDF5 only to learn where things are; pixels and columns are then read,
or mapped, at their byte offsets. Structures are those of HDF5 1.8, which every tool of the last ten years can read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from estampa.data.columns import Columns
from estampa.data.record import FORMAT, Header, faults
from estampa.errors import DatasetError

IMAGES_AT = 1 << 16  #: byte where the pixels of all but the smallest files begin: a multiple of every page size in use
SPLIT_RECORD_BYTES = 1 << 14  #: room for the JSON that says how the split was made
_TEXTS = ("dtype", "task", "units", "release", "licence", "symmetry")
_JSON = ("classes", "display", "channels", "origin", "read", "columns", "shape")
_LATER = ("roles", "column_units")  # JSON that files of an earlier estampa lack
_MARKS = {"format", "task", "read"}  # attributes that tell a Dataset from other HDF5 files
_ATTRIBUTE_LIMIT = 1 << 28


@dataclass(frozen=True)
class Column:
    """Where one array lies in the file."""

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def load(self, path: Path) -> np.ndarray:
        """Read it whole."""
        array = np.fromfile(path, self.dtype, count=int(np.prod(self.shape)), offset=self.offset)
        if array.size != int(np.prod(self.shape)):
            raise DatasetError("is shorter than when it was opened", where=path)
        return array.reshape(self.shape)


@dataclass(frozen=True)
class Layout:
    """What an inspected Dataset file holds, and where."""

    header: Header
    columns: Mapping[str, Column]
    content_sha256: str
    fingerprint: str
    rejected: tuple[tuple[int, str, str], ...]  #: row of the source, name, reason


def write_skeleton(
    path: Path,
    header: Header,
    columns: Columns,
    *,
    hashes: np.ndarray,
    table: np.ndarray | None,
    facts: Mapping[str, str],
) -> int | None:
    """Write a Dataset file that lacks only its pixels; returns the byte offset where they belong.

    Without images it lacks the numbers of its table, float64, unless `table` holds them (then there is no offset). The
    file is sparse: the room is allocated, not filled.
    """
    with h5py.File(
        path, "w", libver=("v108", "v108"), alignment_threshold=IMAGES_AT, alignment_interval=IMAGES_AT
    ) as file:
        images_at: int | None = None
        if header.shape is not None:
            images_at = _allocate(file, b"images", header.dtype, (header.n, *header.shape))
        elif table is None:
            images_at = _allocate(file, b"table", "f8", (header.n, len(header.columns)))
        if table is not None:
            file.create_dataset("table", data=table)
        for name, column in (("ids", columns.ids), ("groups", columns.groups)):
            if column is not None:
                _text_column(file, name, column)
        file.create_dataset("labels", data=columns.labels)
        file.create_dataset("split", data=columns.split)
        file.create_dataset("split_record", data=np.zeros(SPLIT_RECORD_BYTES, np.uint8))
        file.create_dataset("hashes", data=hashes.astype("<u8", copy=False))
        file.attrs["format"] = FORMAT
        for name, value in header.to_json().items():
            if name in (*_JSON, *_LATER):
                text = json.dumps(value, ensure_ascii=False)
                # A path that is not Unicode has lone surrogates; in JSON their escapes say the same.
                file.attrs[name] = text.encode("utf-8", "backslashreplace").decode()
            elif value is not None:
                file.attrs[name] = value
        for name, text in facts.items():
            file.attrs[name] = text
    return images_at


def _text_column(file: h5py.File, name: str, column: np.ndarray) -> None:
    """Store fixed-length bytes under a type that says that they are UTF-8."""
    text = h5py.string_dtype("utf-8", column.dtype.itemsize)
    file.create_dataset(name, data=column.astype(text), dtype=text)


def _allocate(file: h5py.File, name: bytes, dtype: str, shape: tuple[int, ...]) -> int:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    kind = h5py.h5t.py_create(np.dtype(dtype))
    return int(h5py.h5d.create(file.id, name, kind, h5py.h5s.create_simple(shape), plan).get_offset())


def begins_like_hdf5(path: Path) -> bool:
    """Whether a file has the first bytes of HDF5 and is not another program's: most probably a Dataset."""
    with path.open("rb") as stream:
        return stream.read(8) == b"\x89HDF\r\n\x1a\n" and not is_foreign(path)


def is_foreign(path: Path) -> bool:
    """Whether `path` is an HDF5 file that can be opened and is no Dataset of estampa: some other program's."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return not set(file.attrs) >= _MARKS
    except (OSError, RuntimeError, KeyError, ValueError, TypeError):  # not HDF5, or damaged: `inspect` says what
        return False


def inspect(path: Path) -> Layout:
    """Read the structure of a Dataset file that nobody vouches for. No pixel is read.

    Raises DatasetError when it is missing, not HDF5, truncated, not a Dataset, newer than this estampa, or when a part
    of it is missing, of the wrong type or size, or does not lie in this very file.
    """
    if not path.is_file():
        raise DatasetError("there is no such file" if not path.exists() else "is not a file", where=path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            return _inspect(file, path)
    except OSError as error:
        what = "is truncated" if "truncated" in str(error) else "is not a readable HDF5 file"
        raise DatasetError(what, where=path, got=str(error), cure="Build it again with `estampa build`.") from error
    except (RuntimeError, KeyError, ValueError, TypeError) as error:  # how h5py reports damaged structures
        raise DatasetError("is damaged", where=path, got=str(error), cure="Build it again.") from error


def _inspect(file: h5py.File, path: Path) -> Layout:
    for name in sorted(_MARKS):
        if name not in file.attrs:
            raise DatasetError(
                "is an HDF5 file, but not a Dataset of estampa",
                where=path,
                got=f"no attribute {name!r}",
                cure="Build a Dataset from it with `estampa build`.",
            )
    version = _number(file, "format")
    if version > FORMAT:
        raise DatasetError(
            "was written by a newer estampa",
            where=path,
            allowed=f"format {FORMAT}",
            got=version,
            cure="Update estampa.",
        )
    header = _header(file, path)
    n = header.n
    wanted: dict[str, tuple[tuple[int, ...], str]] = {
        "ids": ((n,), "S"), "labels": ((n,), "f8" if header.task == "regression" else "i8"),
        "split": ((n,), "u1"), "hashes": ((n,), "u8"), "split_record": ((SPLIT_RECORD_BYTES,), "u1"),
    }  # fmt: skip
    if header.shape is not None:
        wanted["images"] = ((n, *header.shape), np.dtype(header.dtype).str[1:])
    if header.columns:
        wanted["table"] = ((n, len(header.columns)), "f")
    if "groups" in file:
        wanted["groups"] = ((n,), "S")
    columns = {name: _column(file, path, name, *expected) for name, expected in wanted.items()}
    rejected = tuple((int(r), str(name), str(why)) for r, name, why in json.loads(_text(file, "rejected", "[]")))
    return Layout(header, columns, _text(file, "content_sha256"), _text(file, "fingerprint", ""), rejected)


def _header(file: h5py.File, path: Path) -> Header:
    fields: dict[str, Any] = {"n": _number(file, "n"), "published_split": bool(_number(file, "published_split", 0))}
    for name in _TEXTS:
        fields[name] = _text(file, name, "")
    for name in _JSON:
        fields[name] = json.loads(_text(file, name))
    for name in _LATER:
        fields[name] = json.loads(_text(file, name, "[]"))
    if "pixel_scale" in file.attrs:
        fields["pixel_scale"] = float(_scalar(file, "pixel_scale"))
    header = Header.from_json(fields)
    wrong = faults(header)
    if wrong:
        raise DatasetError("contradicts itself: " + "; ".join(wrong), where=path)
    return header


def _column(file: h5py.File, path: Path, name: str, shape: tuple[int, ...], kind: str) -> Column:
    """Where the array `name` lies, after everything that could make reading it unsafe has been ruled out."""
    link = file.get(name, getlink=True)
    if link is None:
        raise DatasetError(f"lacks {name!r}", where=path, cure="Build it again with `estampa build`.")
    if not isinstance(link, h5py.HardLink):
        raise DatasetError(f"{name!r} points to another place or file, which is refused", where=path)
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise DatasetError(f"{name!r} is not an array", where=path)
    plan = found.id.get_create_plist()
    if plan.get_external_count() or plan.get_layout() != h5py.h5d.CONTIGUOUS or plan.get_nfilters():
        raise DatasetError(f"{name!r} is not stored contiguously in this file", where=path)
    dtype = found.dtype
    matches = dtype.kind == kind if len(kind) == 1 else dtype == np.dtype("<" + kind)
    if found.shape != shape or not matches or dtype.hasobject or dtype.byteorder == ">":
        raise DatasetError(
            f"{name!r} is not what its header says", where=path, allowed=f"{shape} {kind}", got=f"{found.shape} {dtype}"
        )
    offset = found.id.get_offset()
    if offset is None or offset + found.nbytes > path.stat().st_size:
        raise DatasetError(f"is truncated: {name!r} does not end in it", where=path, cure="Copy or build it again.")
    return Column(int(offset), np.dtype(dtype.str), shape)


def _scalar(file: h5py.File, name: str) -> Any:
    attribute = file.attrs.get_id(name)
    if attribute.shape != () or attribute.get_storage_size() > _ATTRIBUTE_LIMIT:
        raise ValueError(f"attribute {name!r} is not one value")
    return file.attrs[name]


def _number(file: h5py.File, name: str, missing: int | None = None) -> int:
    if missing is not None and name not in file.attrs:
        return missing
    value = _scalar(file, name)
    if isinstance(value, (np.integer, np.bool_)):
        return int(value)
    raise ValueError(f"attribute {name!r} is not a whole number")


def _text(file: h5py.File, name: str, missing: str | None = None) -> str:
    if missing is not None and name not in file.attrs:
        return missing
    value = _scalar(file, name)
    if isinstance(value, str):
        return value
    raise ValueError(f"attribute {name!r} is not a text")
