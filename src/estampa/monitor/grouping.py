"""Objects put into groups by a column: field, camera, filter, night."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from estampa.bundle.store import Bundle
from estampa.data.dataset import Dataset
from estampa.data.layout import begins_like_hdf5
from estampa.data.read import ReadOptions, open_reading
from estampa.errors import InputError, nearest
from estampa.evaluate.outside import labels_of
from estampa.evaluate.slices import Column, parted, read_by
from estampa.monitor.feedback import is_feedback
from estampa.monitor.labelled import keys_of
from estampa.predict.source import Data

MOST = 60  #: groups; what is rarer is one group of its own
UNKNOWN = "not known"
Cells = dict[str, Sequence[Any] | np.ndarray]
_LONGEST = 80  #: characters of a group's name


class Grouping:
    """Which group each object is of, by its id, in 12 bytes each.

    Attributes
    ----------
    name : of the column.
    names : of the groups, in order; the last one is of objects of which nothing is said.
    """

    def __init__(self, ids: Sequence[str], column: Column) -> None:
        """Part the objects: numbers by the column's edges or into stretches, texts and few whole numbers by value."""
        place, names = _parted(column)
        self.name, self.names = column.name, [*(name for name in names if name != UNKNOWN), UNKNOWN]
        if UNKNOWN in names:  # parted() puts it last, too, but among texts it may be anywhere
            lost = names.index(UNKNOWN)
            place = np.where(place == lost, len(names) - 1, place - (place > lost))
        keys = keys_of(ids)
        order = np.argsort(keys)
        self._keys, self._place = keys[order], place[order].astype(np.int32)

    def of(self, ids: np.ndarray) -> np.ndarray:
        """The number of each id's group, (n,)."""
        keys = keys_of(ids.tolist())
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        found: np.ndarray = np.where(self._keys[at] == keys, self._place[at], len(self.names) - 1)
        return found


def grouping_of(by: str, bundle: Bundle, data: Data | None, labels: Path | None) -> Grouping:
    """The groups by a column, "camera" or "snr:3,5,10", of the file of labels, or else of the data themselves.

    `data` is what is watched where it is data; None = answers alone, which have no columns.

    Raises InputError where neither has the column, SourceError or DatasetError for what cannot be read.
    """
    name, edges = read_by(by)
    known: list[str] = []
    for source in (labels, data):
        if source is None:
            continue
        ids, columns = _of_labels(labels) if source is labels else _of_data(source, bundle, name)
        if name in columns:
            return Grouping(ids, Column(name, _values(columns[name]), edges))
        known += columns
    periods = ("batch", "day")
    raise InputError(
        f"no column {name!r} to group by", where=f"--by {by}",
        allowed=", ".join([*periods, "a number of objects", *known[:40]]),
        cure=nearest(name, (*periods, *known))
        or "The column stands in the file of --labels beside id and label, or in the data of --data.",
    )  # fmt: skip


def _of_labels(path: Path) -> tuple[list[str], Cells]:
    """Ids and columns of a file of labels; that of a service has none."""
    if is_feedback(path):
        return [], {}
    if path.is_file() and begins_like_hdf5(path):
        return _of_dataset(Dataset.open(path))
    truth, _, _, table = labels_of(path, "")
    return list(truth), {name: list(cells.values()) for name, cells in table.items()}


def _of_data(data: Data, bundle: Bundle, name: str) -> tuple[list[str], Cells]:
    """Ids and columns of data to be scored; of files that are read on the way, the column `name` alone."""
    if isinstance(data, np.ndarray):
        raise InputError("an array has no columns", where=f"--by {name}", cure="Hand in a Dataset, or a file.")
    if isinstance(data, Dataset):
        return _of_dataset(data)
    paths = [Path(p) for p in ([data] if isinstance(data, (str, Path)) else data)]
    if len(paths) == 1 and paths[0].is_file() and begins_like_hdf5(paths[0]):
        return _of_dataset(Dataset.open(paths[0]))
    reading = open_reading(paths, ReadOptions(record=bundle.contract.read_record, group=name))
    return list(reading.ids), {} if reading.groups is None else {name: reading.groups}


def _of_dataset(dataset: Dataset) -> tuple[list[str], Cells]:
    """Ids, the columns of the table, and the groups under the name that they had."""
    names = dataset.header.columns if dataset.table is not None else ()
    columns: Cells = {name: dataset.column(name) for name in names}
    if dataset.groups is not None:
        columns[str(dataset.header.origin.get("group") or "group")] = np.asarray(dataset.groups)
    return np.asarray(dataset.ids).tolist(), columns


def _values(cells: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Numbers where every cell that is not empty is one, else texts."""
    texts = ["" if cell is None else str(cell).strip() for cell in cells]
    try:
        return np.array([math.nan if text in ("", "nan", "NaN") else float(text) for text in texts], np.float64)
    except ValueError:
        return np.array(texts)


def _parted(column: Column) -> tuple[np.ndarray, list[str]]:
    """Number (n,) of each object's group and the names: each value, or stretches of what are measurements."""
    values = column.values
    if values.dtype.kind == "f":
        known = np.unique(values[np.isfinite(values)])
        if column.edges or len(known) > MOST or (known != np.floor(known)).any():
            place, names, _ = parted(column)
            return place, names
        found, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        names = [f"{value:.0f}" if math.isfinite(value) else UNKNOWN for value in found.tolist()]
    elif column.edges:
        raise InputError("edges are of numbers", where=f"--by {column.name}", got="a column of texts")
    else:
        found, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        names = [name[:_LONGEST] or UNKNOWN for name in found.tolist()]
    if len(names) <= MOST:
        return place, names
    often = np.sort(np.argsort(-counts, kind="stable")[: MOST - 1])
    new = np.full(len(names), len(often))
    new[often] = np.arange(len(often))
    return new[place], [*(names[i] for i in often), f"{len(names) - len(often):,} others"]
