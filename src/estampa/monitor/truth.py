"""Labels for what is watched, from wherever they are: a service's file, a table, any source, the data themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from estampa.bundle.store import Bundle
from estampa.errors import InputError, SourceError
from estampa.monitor.feedback import gathered, is_feedback
from estampa.monitor.labelled import Labels
from estampa.predict.rows import OfReading, Source

_TABLES = (".csv", ".jsonl", ".ndjson", ".parquet", ".h5", ".hdf5")  #: read by their columns id and label

#: Labels by id, what must be known of them, and how many more are of classes that the model does not know.
Known = tuple[Labels | None, list[str], int]


def labels_given(path: Path, bundle: Bundle) -> Known:
    """Those of a file: of a service, of columns id and label, or of a source read as the training files were.

    Raises InputError for labels of unknown classes in a table, SourceError for what cannot be read.
    """
    if is_feedback(path):
        told = gathered(path, bundle.classes, bundle.hash)
        return Labels(told.labels, bundle.classes, path), told.notes(), sum(told.unknown.values())
    if not path.is_file():
        return Labels.read(path, bundle.classes), [], 0  # which says what is wrong
    if path.suffix.lower() not in _TABLES:
        return _of_source(path, bundle)
    try:
        return Labels.read(path, bundle.classes), [], 0
    except SourceError as error:  # it may be a table as the model learned from, its columns under other names
        try:
            return _of_source(path, bundle)
        except (InputError, OSError):
            raise error from None


def labels_within(source: Source, bundle: Bundle) -> Known:
    """Those that the data themselves hold; no Labels where they hold none that the model could be held against."""
    values, theirs = source.labels, source.header.classes
    if values is None or bool(theirs) != bool(bundle.classes):
        return None, [], 0
    values = np.asarray(values)
    known = np.flatnonzero(values >= 0 if theirs else np.isfinite(values))
    ids, told = source.ids[known].tolist(), values[known].tolist()
    if theirs:
        names = [_named(name, theirs, bundle.classes) for name in theirs]
        told = [names[int(value)] for value in told]
    ours = set(bundle.classes)
    labels = {i: v for i, v in zip(ids, told, strict=True) if not theirs or v in ours}
    if not len(known):
        return None, [], 0
    return Labels(labels, bundle.classes, Path(source.name)), [], len(known) - len(labels)


def _named(name: str, theirs: tuple[str, ...], ours: tuple[str, ...]) -> str:
    """A class as the bundle calls it: where the data hold codes alone, the number of the class is meant."""
    codes = all(one.isdecimal() for one in theirs) and not set(theirs) & set(ours)
    return ours[int(name)] if codes and int(name) < len(ours) else name


def _of_source(path: Path, bundle: Bundle) -> Known:
    from estampa.data.read import ReadOptions, open_reading

    try:
        reading = open_reading([path], ReadOptions(record=bundle.contract.read_record))
    except SourceError as error:
        raise SourceError(
            f"no labels could be read from it: {error.what}", where=path, allowed=error.allowed, got=error.got,
            cure="Name a file with columns id and label, or data as the model learned from.",
        ) from error  # fmt: skip
    labels, notes, strange = labels_within(OfReading(reading, str(path)), bundle)
    if labels is None:
        raise InputError(
            "holds no labels that this model could be held against", where=path,
            allowed=", ".join(bundle.classes[:20]) or "numbers", cure="Name a file with columns id and label.",
        )  # fmt: skip
    return labels, notes, strange
