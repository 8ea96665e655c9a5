"""Source `pickled`: arrays that a Python program pickled, read by a machine that can run nothing (`_unpickle.py`).

Two layouts. **Arrays**: a dict, list or tuple of arrays of n rows, or such arrays pickled one after the other or in
several files; pictures may be flattened squares, as the (n, 441) arrays of HiTS. Keys are read as those of an .npz, and
images whose names say what they are go in the order science, template, difference, snr_difference. **Records**: a list
of [target, unused, image, image, ...], one an object, as the navigability set has them: a regression.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from estampa.data.record import Header
from estampa.data.sources._base import Reading, ReadOptions, fingerprint_of, stat_facts
from estampa.data.sources._labels import Answers, encode
from estampa.data.sources._planes import Held, Rows
from estampa.data.sources._rows import RowsReading, forbid, record_of, sized
from estampa.data.sources._stack import LABEL_KEYS, Found, reading_of, sort_keyed
from estampa.data.sources._unpickle import unpickled
from estampa.errors import SourceError
from estampa.pixels import extremes, storable

SUFFIXES = (".pkl", ".pickle", ".pck", ".p")
STAMP_CHANNELS = ("science", "template", "difference", "snr_difference")  #: the order of the HiTS study
STAMP_CLASSES = ("artifact", "real")  #: labels 0 and 1 of the HiTS study
TERRAIN_CHANNELS = ("heights", "gradient", "elevations", "depressions")  #: the order of the navigability study
_WORDS = (("snr", 3), ("diff", 2), ("sci", 0), ("temp", 1), ("ref", 1))  # part of a name -> place in STAMP_CHANNELS
_MOST_ARRAYS = 16  # of a list that is a list of arrays, not of records
_LARGEST_LISTED = 1 << 16  # values of a picture that is written as lists of numbers


def is_mine(paths: Sequence[Path], options: ReadOptions) -> str | None:
    """None when every path is a pickle by its suffix, or has none and begins like one; else the reason why not."""
    del options
    strange = next((p for p in paths if not _is_pickle(p)), None)
    return None if strange is None else f"{strange.name} is no pickle ({', '.join(SUFFIXES)})"


def _is_pickle(path: Path) -> bool:
    if not path.is_file() or path.suffix:
        return path.is_file() and path.suffix.lower() in SUFFIXES
    with path.open("rb") as stream:
        start = stream.read(2)
    return start[:1] == b"\x80" and b"\x02" <= start[1:] <= b"\x05"


def read(paths: Sequence[Path], options: ReadOptions) -> Reading:
    """Understand the files; nothing in them is run.

    Raises SourceError for a pickle that asks for anything but arrays and plain containers (naming what it asks for),
    for a damaged one, and for layouts that are neither arrays nor records.
    """
    objects = {path: unpickled(path) for path in paths}
    values = [value for several in objects.values() for value in several]
    if len(values) == 1 and _is_records(values[0]):
        return _records(paths, values[0], options)
    return _arrays(paths, objects, options)


# ------------------------------------------------------------------------------------------------------ arrays


def _arrays(paths: Sequence[Path], objects: dict[Path, list[Any]], options: ReadOptions) -> Reading:
    keyed: dict[str, Rows] = {}
    for path, values in objects.items():
        whole: Any = values[0] if len(values) == 1 else values
        named = whole if isinstance(whole, dict) else {path.stem: whole}
        if isinstance(whole, list):
            named = {f"array {i}": value for i, value in enumerate(whole)}
        for key, value in named.items():
            array = _as_array(value)
            if array is not None and str(key) in keyed:
                raise SourceError(f"two arrays are called {key!r}", where=path)
            if array is not None:
                keyed[str(key)] = Held(array, f"{path}: {key}", str(key))
    where = paths[0]
    if not any(len(array.shape) > 1 for array in keyed.values()):
        raise SourceError(
            "its pickle holds neither arrays of pictures nor records",
            where=where,
            allowed="a dict, list or tuple of arrays of n rows; or a list of [target, unused, image, image, ...]",
            got=_shapes(objects),
        )
    found = Found()
    keys, channels = _ordered(keyed, found)
    label = _unnamed_label(keyed)
    if label:
        found.put("label", "", keyed[label])
        keys.remove(label)
    sort_keyed(found, keys, keyed.__getitem__, options, where=where, flat=True)
    if _is_stamps(found) and "classes" not in found.facts:
        found.facts["classes"] = Held(np.array(STAMP_CLASSES), str(where), "classes")
    return reading_of("pickled", paths, found, options, square=True, channels=channels)


def _as_array(value: Any) -> np.ndarray | None:
    """An array of numbers or texts; a flat list of them too; None for anything else."""
    if isinstance(value, np.ndarray):
        return value if value.ndim else None
    if isinstance(value, list) and value and all(isinstance(v, (int, float, str, np.generic)) for v in value):
        array = np.array(value)
        return array if array.ndim == 1 and array.dtype.kind in "biufUS" else None
    return None


def _ordered(keyed: dict[str, Rows], found: Found) -> tuple[list[str], tuple[str, ...]]:
    """Keys in stacking order, and the channels' names where every image array's name says what it is."""
    images = [key for key, array in keyed.items() if len(array.shape) > 1 and key.lower() not in LABEL_KEYS]
    kinds = [next((place for word, place in _WORDS if word in key.lower()), -1) for key in images]
    if -1 not in kinds and len(set(kinds)) == len(kinds):
        order = [images[i] for i in np.argsort(kinds)]
        found.notes.append(f"channels are stacked in the order {', '.join(order)}")
        return [*order, *(key for key in keyed if key not in images)], tuple(STAMP_CHANNELS[k] for k in sorted(kinds))
    if len(images) > 1:
        found.notes.append(
            f"the names of the arrays do not say what they show: stacked in the file's order, {', '.join(images)}"
        )
    return list(keyed), ()


def _unnamed_label(keyed: dict[str, Rows]) -> str:
    """The first array of one axis in a list of arrays, which has no names: the labels."""
    if any(not key.startswith("array ") for key in keyed):
        return ""
    return next((key for key, array in keyed.items() if len(array.shape) == 1), "")


def _is_stamps(found: Found) -> bool:
    """Whether these are four arrays of flattened squares with labels 0 and 1, or none: the HiTS layout."""
    shapes = {array.shape for _, array in found.images}
    if len(found.images) != len(STAMP_CHANNELS) or len(shapes) != 1 or len(next(iter(shapes))) != 2:
        return False
    if found.label is None:
        return True
    labels = found.label.whole()
    return labels.dtype.kind in "biuf" and bool(np.isin(labels, (-1, 0, 1)).all())


def _shapes(objects: dict[Path, list[Any]]) -> str:
    kinds = [type(value).__name__ for values in objects.values() for value in values]
    lengths = [f" of {len(v)}" if hasattr(v, "__len__") else "" for values in objects.values() for v in values]
    return ", ".join(kind + length for kind, length in zip(kinds[:8], lengths[:8], strict=True))


# ------------------------------------------------------------------------------------------------------ records


@dataclass(frozen=True)
class _Record:
    """One record: its target and pictures, or why it is left out."""

    target: float
    pictures: tuple[np.ndarray, ...]
    fault: str = ""

    @property
    def form(self) -> tuple[tuple[int, ...], ...]:
        return tuple(picture.shape for picture in self.pictures)


def _is_records(value: Any) -> bool:
    """Whether a list holds lists with pictures in them; some records may be ragged."""
    if not isinstance(value, list) or not value:
        return False
    some = value[:: max(1, len(value) // 64)]
    return sum(isinstance(item, list) and len(item) > 1 and _number(item[0]) is not None for item in some) * 2 > len(
        some
    )


def _records(paths: Sequence[Path], value: list[Any], options: ReadOptions) -> Reading:
    path = paths[0]
    forbid(options, path, "layout", "reshape", "label", "group")
    listed: dict[int, np.ndarray | None] = {}
    records = [_record(item, listed) for item in value]
    forms = Counter(r.form for r in records if r.pictures and not r.fault)
    if not forms:
        raise SourceError(
            "not one record has a target and pictures",
            where=path,
            allowed="[target, unused, image, image, ...], images of one height and width",
            got=f"row 0: {records[0].fault or 'no picture'}",
        )
    form = forms.most_common(1)[0][0]
    bad = {row: fault for row, record in enumerate(records) if (fault := _fault(record, form))}
    good = [record for row, record in enumerate(records) if row not in bad]
    kinds = np.result_type(*{picture.dtype for record in good for picture in record.pictures})
    dtype = storable(kinds, lambda: _range(good), str(path))
    channels = TERRAIN_CHANNELS if len(form) == len(TERRAIN_CHANNELS) else ()
    answers = _targets(records, bad, options, path)
    record = record_of("pickled", options, dtype="" if kinds == dtype else dtype.name)
    header = Header(
        n=len(records),
        shape=sized((*form[0], len(form)), record),  # type: ignore[arg-type]
        dtype=dtype.name,
        task=answers.task,
        classes=answers.classes,
        channels=channels,
        origin={"paths": [p.name for p in paths]},
        read=record,
    )
    names = f", as {', '.join(channels)}" if channels else ""
    return RowsReading(
        header=header,
        ids=np.arange(len(records)).astype(str),
        labels=answers.values,
        fingerprint=fingerprint_of("pickled 1", stat_facts(paths), options),
        notes=[f"records: the first item is the target, the last {len(form)} are stacked on the last axis{names}"],
        fetch=lambda start, stop: _fetch(records, bad, (*form[0], len(form)), dtype, (start, stop)),
    )


def _record(item: Any, listed: dict[int, np.ndarray | None]) -> _Record:
    """Read one record: [target, ..., image, image]; `listed` keeps pictures that are written as lists."""
    target = _number(item[0]) if isinstance(item, list) and item else None
    if target is None:
        return _Record(math.nan, (), f"no record with a target in front, but {_word(item)}")
    pictures: list[np.ndarray] = []
    for part in reversed(item[1:]):
        picture = _picture(part, listed)
        if picture is None:
            break
        pictures.append(picture)
    if len(item) - len(pictures) > 2:
        return _Record(target, (), f"item {len(item) - len(pictures) - 1} is no picture, but {_word(part)}")
    return _Record(target, tuple(reversed(pictures)))


def _number(value: Any) -> float | None:
    """A target as a float: a number, or an array of one; None for anything else, an infinite one too."""
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "biuf":
        value = value.reshape(-1)[0]
    if isinstance(value, (int, float, np.integer, np.floating)) and not math.isinf(float(value)):
        return float(value)
    return None


def _picture(value: Any, listed: dict[int, np.ndarray | None]) -> np.ndarray | None:
    """A picture (h, w): an array, or lists of numbers of one length; each list is converted once."""
    if isinstance(value, np.ndarray):
        return value if value.ndim == 2 and value.size and value.dtype.kind in "biuf" else None
    if not isinstance(value, list) or not value or not isinstance(value[0], list):
        return None
    if id(value) not in listed:
        width = len(value[0])
        fits = 0 < len(value) * width <= _LARGEST_LISTED and all(isinstance(r, list) and len(r) == width for r in value)
        numbers = fits and all(_number(v) is not None for row in value for v in row)
        listed[id(value)] = np.array(value, np.float64) if numbers else None
    return listed[id(value)]


def _fault(record: _Record, form: tuple[tuple[int, ...], ...]) -> str:
    if record.fault or record.form == form:
        return record.fault
    sizes = ", ".join("x".join(map(str, shape)) for shape in record.form) or "none"
    height, width = form[0]
    return f"its pictures are {sizes}; most records have {len(form)} of {height}x{width}"


def _targets(records: list[_Record], bad: dict[int, str], options: ReadOptions, path: Path) -> Answers:
    """Targets of a regression, as the study has them; classes only where --classes names them."""
    values = np.array([math.nan if row in bad else record.target for row, record in enumerate(records)])
    if options.classes:
        return encode(values, options.classes, path, lenient=options.record is not None)
    return Answers(values, (), "unlabelled" if np.isnan(values).all() else "regression")


def _range(records: list[_Record]) -> tuple[float, float]:
    ranges = [extremes(picture) for record in records for picture in record.pictures]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _fetch(
    records: list[_Record], bad: dict[int, str], shape: tuple[int, ...], dtype: np.dtype[Any], rows: tuple[int, int]
) -> tuple[np.ndarray, dict[int, str]]:
    """Rows start..stop, (m, h, w, c): the pictures of a record stacked on the last axis."""
    start, stop = rows
    images = np.zeros((stop - start, *shape), dtype)
    for row in range(start, stop):
        if row not in bad:
            with np.errstate(over="ignore"):
                for channel, picture in enumerate(records[row].pictures):
                    images[row - start, ..., channel] = picture
    return images, {row: f"row {row}: {bad[row]}" for row in range(start, stop) if row in bad}


def _word(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {value.shape}"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, list) else "")
