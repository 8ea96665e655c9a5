"""Source `hdf5`: HDF5 files of other programs; what a dataset is, its name and shape tell, as in an .npz.

A dataset's key is the last part of its path, or the whole path where two end alike. Nothing outside of the file is
read: a file with external links, external storage, virtual datasets or dangling links is refused whole. Values are
numbers and texts of fixed length; what a file claims to hold is held against its size on disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from estampa.data.layout import is_foreign
from estampa.data.sources._base import Reading, ReadOptions
from estampa.data.sources._planes import extremes_of
from estampa.data.sources._stack import GROUP_KEYS, ID_KEYS, IMAGE_KEYS, LABEL_KEYS, Found, reading_of, sort_keyed
from estampa.errors import SourceError

SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
_MOST_OBJECTS = 10_000
_LARGEST_CHUNK = 1 << 30  #: bytes that reading one row may unpack
_MOST_UNPACKED = 1100  #: times its size that deflate can unpack to: 1032 and the ends of chunks (RFC 1951)
_ROLES = {*IMAGE_KEYS, *LABEL_KEYS, *ID_KEYS, *GROUP_KEYS}


def is_mine(paths: Sequence[Path], options: ReadOptions) -> str | None:
    """None when every path is an HDF5 file, but no Dataset of estampa; else the reason why not."""
    del options
    for path in paths:
        if not path.is_file() or (path.suffix.lower() not in SUFFIXES and not h5py.is_hdf5(path)):
            return f"{path.name} is not an HDF5 file"
        if h5py.is_hdf5(path) and not is_foreign(path):
            return f"{path.name} is a Dataset of estampa, or damaged"
    return None


def read(paths: Sequence[Path], options: ReadOptions) -> Reading:
    """Understand one file. Memory stays flat: rows are read when blocks are asked for.

    Raises SourceError for a damaged file, one that points outside of itself, values that are no numbers or texts of
    fixed length, filters that are not installed, and lengths or labels that do not fit.
    """
    if len(paths) > 1:
        raise SourceError(
            "several HDF5 files cannot be read as one", where=paths[1], cure="Build each, then build the Datasets."
        )
    path = paths[0]
    try:
        file = h5py.File(path, "r", locking=False)
        datasets = _walk(file, path)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # how h5py tells of damage
        what = "is truncated" if "truncated" in str(error) else "is not a readable HDF5 file"
        raise SourceError(what, where=path, got=str(error)) from error
    found = Found()
    leaves = Counter(name.rsplit("/", 1)[-1] for name in datasets)
    keyed = {}
    for name, dataset in datasets.items():
        leaf = name.rsplit("/", 1)[-1]
        key = leaf if leaves[leaf] == 1 else name
        fault = _fault(dataset)
        if fault and len(dataset.shape or ()) < 2 and key.lower() not in _ROLES and key not in _asked(options):
            found.notes.append(f"{key} is left out: {fault}")
        else:
            keyed[key] = dataset
    if not keyed:
        raise SourceError("holds no datasets of numbers", where=path)
    sort_keyed(found, list(keyed), lambda key: Values(keyed[key], path, key), options, where=path)
    return reading_of("hdf5", paths, found, options)


class Values:
    """A dataset that was found sound, as `Rows`."""

    def __init__(self, dataset: h5py.Dataset, path: Path, key: str) -> None:
        self.name, self.key = f"{path}: {key}", key
        self.bad: Mapping[int, str] = {}
        fault = _fault(dataset)
        if fault:
            raise SourceError(fault, where=self.name, allowed="numbers, or texts of fixed length, in this very file")
        self._dataset = dataset
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype: np.dtype = dataset.dtype

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop; SourceError when they cannot be unpacked."""
        try:
            return np.asarray(self._dataset[start:stop])
        except (OSError, RuntimeError) as error:
            raise SourceError("damaged or truncated", where=self.name, got=str(error)) from error

    def whole(self) -> np.ndarray:
        """All of it, for the small arrays."""
        return self.rows(0, len(self)) if self.shape else np.asarray(self._dataset[()])

    def extremes(self) -> tuple[float, float]:
        """Lowest and highest finite value, read in blocks."""
        return extremes_of(self)


def _asked(options: ReadOptions) -> tuple[str, str]:
    return options.label, options.group


def _walk(file: h5py.File, path: Path) -> dict[str, h5py.Dataset]:
    """Every dataset of the file by its path, each object once; SourceError when the file points outside of itself."""
    found: dict[str, h5py.Dataset] = {}
    soft: list[tuple[str, str]] = []
    seen = {_address(file)}
    groups: list[tuple[str, h5py.Group]] = [("", file)]
    while groups:
        prefix, group = groups.pop(0)
        for name in group:
            link, whole = group.get(name, getlink=True), prefix + name
            if isinstance(link, h5py.ExternalLink):
                raise SourceError(
                    f"{whole!r} is a link to another file, {link.filename!r}",
                    where=path,
                    allowed="data in this very file",
                    cure="Copy it in: h5py.File.copy, or h5copy with -f ext.",
                )
            if not isinstance(link, h5py.HardLink):
                soft.append((whole, getattr(link, "path", "?")))
                continue
            thing = group[name]
            if _address(thing) in seen:
                continue
            seen.add(_address(thing))
            if len(seen) > _MOST_OBJECTS:
                raise SourceError(f"holds more than {_MOST_OBJECTS:,} objects", where=path)
            if isinstance(thing, h5py.Group):
                groups.append((whole + "/", thing))
            elif isinstance(thing, h5py.Dataset):
                _require_inside(thing, path, whole)
                found[whole] = thing
    for name, target in soft:  # the objects that they name are found by their own names; what names none is refused
        if file.get(name) is None:
            raise SourceError(f"{name!r} is a link to {target!r}, which is not there", where=path)
    return found


def _address(thing: h5py.HLObject) -> int:
    return int(h5py.h5o.get_info(thing.id).addr)


def _require_inside(dataset: h5py.Dataset, path: Path, name: str) -> None:
    """Refuse values that lie in other files: a file from outside must not choose what is read here."""
    plan = dataset.id.get_create_plist()
    if plan.get_external_count():
        outside = f"its values in another file, {plan.get_external(0)[0]!r}"
    elif plan.get_layout() == h5py.h5d.VIRTUAL:
        outside = "a virtual dataset, whose values lie elsewhere"
    else:
        return
    raise SourceError(
        f"{name!r} has {outside}", where=path, allowed="data in this very file",
        cure="Copy the values in: read them with h5py where they belong, and write them as a plain dataset.",
    )  # fmt: skip


def _fault(dataset: h5py.Dataset) -> str:
    """Why a dataset cannot be read; "" when it can."""
    kind, shape = dataset.dtype, dataset.shape
    if kind.hasobject or h5py.check_dtype(vlen=kind) is not None:
        return "values of varying length or references, which are objects and not numbers"
    if kind.names is not None:
        return f"records with the fields {', '.join(kind.names[:8])}; write each field as a dataset of its own"
    if kind.kind not in "biufS":
        return f"values of type {kind}"
    if shape is None:
        return "an empty dataset"
    plan = dataset.id.get_create_plist()
    for i in range(plan.get_nfilters()):
        code, _, _, name = plan.get_filter(i)
        if not h5py.h5z.filter_avail(code):
            title = name.decode("utf-8", "replace") or "?"
            return f"packed with a filter that is not installed: {title} ({code}). Write it again with gzip: h5repack"
    if dataset.chunks and int(np.prod(dataset.chunks, dtype=object)) * kind.itemsize > _LARGEST_CHUNK:
        return f"chunks of {dataset.chunks}, more than 1 GiB to unpack for one row"
    claimed, stored = int(np.prod(shape, dtype=object)) * kind.itemsize, dataset.id.get_storage_size()
    most = stored * _MOST_UNPACKED if plan.get_nfilters() else stored
    if claimed > most:
        return f"shape {shape} claims {claimed:,} bytes, and {stored:,} are stored: truncated, or never written"
    return ""
