"""Labelled answers made into a Dataset: inputs that were kept by consent, with the labels that people gave to them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from estampa.bundle.store import Bundle
from estampa.data.dataset import Dataset, DatasetWriter, Header
from estampa.data.record import ReadRecord
from estampa.errors import InputError
from estampa.files import require_writable
from estampa.monitor.feedback import Given, read_feedback
from estampa.monitor.kept import Kept
from estampa.monitor.line import stamp
from estampa.monitor.log import Fault
from estampa.progress import SILENT, Progress

_BLOCK = 256  #: inputs in memory at once


@dataclass(frozen=True)
class Gathered:
    """What became of the labels.

    Attributes
    ----------
    dataset : the labelled inputs, in order of their ids.
    expires : when the first and the last of the kept inputs are to be deleted, UTC.
    left : why labels were left out -> how many.
    faults : lines of the labels that could not be read.
    """

    dataset: Dataset
    expires: tuple[datetime, datetime]
    left: dict[str, int]
    faults: tuple[str, ...] = field(default=())


def gather(
    bundle: Bundle, keep: Path | str, feedback: Path | str, output: Path | str, progress: Progress = SILENT
) -> Gathered:
    """Write the inputs of this bundle that were kept and labelled as a Dataset, in flat memory.

    Labels that were drawn at random and chosen ones both count: all are good to learn from. Classes that the model
    does not know stand after its own. Objects of one request
    are one group. Pixels are those that the model was fed; of a table, its raw columns.

    Raises InputError where nothing is both kept and labelled, or a kept input is damaged or of another shape;
    StorageError when the disk is full.
    """
    require_writable(Path(output))
    store, faults = Kept(keep), list[Fault]()
    last: dict[str, Given] = {}
    for given in read_feedback(feedback, faults.append):
        last[given.id] = given
    left = Counter[str]()
    held, wanted = set(store.ids()), dict[str, str | float]()
    for name, given in sorted(last.items()):
        why = _unfit(bundle, given, held)
        if why:
            left[why] += 1
        elif given.label is not None:
            wanted[name] = given.label
    if not wanted:
        raise InputError(
            "no labelled input is kept", where=f"{keep}, {feedback}", got=_words(left) or "no label",
            allowed=f"inputs of model {bundle.hash} with a label",
            cure="Inputs are kept where the service has --keep and a request consents.",
        )  # fmt: skip
    ends = [end for name, end in store.ends() if name in wanted]
    new = sorted({label for label in wanted.values() if isinstance(label, str)} - set(bundle.classes))
    header = _header(bundle, len(wanted), (min(ends), max(ends)), (*bundle.classes, *new))
    dataset = _written(store, wanted, header, Path(output), progress)
    told = tuple(f"{feedback}, row {fault.row}: {fault.why}" for fault in faults)
    return Gathered(dataset, (min(ends), max(ends)), dict(left), told)


def _unfit(bundle: Bundle, given: Given, held: set[str]) -> str:
    """Why a label cannot be learned from, "" when it can."""
    if given.label is None:
        return "withdrawn"
    if given.model != bundle.hash:
        return f"of model {given.model}"
    if isinstance(given.label, str) != bool(bundle.classes):
        return "no label of such a model"
    return "" if given.id in held else "without a kept input"


def _words(left: Counter[str]) -> str:
    return ", ".join(f"{n:,} {why}" for why, n in left.most_common(5))


def _header(bundle: Bundle, n: int, ends: tuple[datetime, datetime], classes: tuple[str, ...]) -> Header:
    """What the champion was fed, as a Dataset says it."""
    origin = {
        "from": "inputs kept by consent in a service, with the labels that people gave",
        "champion": bundle.hash, "first_expires": stamp(ends[0]), "last_expires": stamp(ends[1]),
    }  # fmt: skip
    common: dict[str, Any] = {
        "n": n, "task": bundle.task, "classes": classes, "origin": origin, "read": ReadRecord(source="dataset"),
    }  # fmt: skip
    if bundle.of_table:
        columns = bundle.table.columns
        return Header(
            shape=None, dtype="float32", columns=tuple(c.name for c in columns),
            column_units=tuple(c.unit for c in columns), **common,
        )  # fmt: skip
    contract = bundle.pictures
    return Header(
        shape=contract.shape, dtype=contract.dtype, channels=contract.channels, units=contract.units,
        pixel_scale=contract.pixel_scale, **common,
    )  # fmt: skip


def _written(store: Kept, wanted: dict[str, str | float], header: Header, output: Path, progress: Progress) -> Dataset:
    place = {name: i for i, name in enumerate(header.classes)}
    labels = np.array([place[str(v)] if place else v for v in wanted.values()], np.int64 if place else np.float64)
    groups = np.array([name.rpartition(".")[0] or name for name in wanted])
    text = "\n".join([str(store.folder), *(f"{name} {label}" for name, label in wanted.items())])
    writer = DatasetWriter(
        output, header, ids=list(wanted), labels=labels, fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        groups=groups if len(set(groups.tolist())) < len(groups) else None,
    )  # fmt: skip
    progress.start("gathering", header.n, "objects")
    try:
        names = list(wanted)[writer.done :]
        start = writer.done
        for rows in _blocks(store, names, header):
            writer.write(start, rows)
            start += len(rows)
            progress.advance(len(rows))
        return writer.finish()
    except BaseException:
        if writer.open:
            writer.abort()
        raise
    finally:
        progress.finish()


def _blocks(store: Kept, names: Sequence[str], header: Header) -> Iterator[np.ndarray]:
    """The kept arrays, some at a time, each of the model's shape."""
    shape = header.shape or (len(header.columns),)
    kind = np.dtype(header.dtype) if header.shape else np.dtype(np.float64)
    inputs = store.each(names)
    while some := list(islice(inputs, _BLOCK)):
        for one in some:
            if one.array.shape != shape or one.array.dtype != kind:
                raise InputError(
                    "a kept input is not what the model was fed", where=f"{store.folder}, {one.id}",
                    allowed=f"{shape} {kind}", got=f"{one.array.shape} {one.array.dtype}",
                )  # fmt: skip
        yield np.stack([one.array for one in some])
