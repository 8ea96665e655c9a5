"""Labelled answers made into a Dataset: inputs that were kept by consent, with the labels that people gave to them.

It comes with its parts, since how a label came about decides what it is good for. Answers that were chosen because the
model was unsure of them are learned from and nothing else: a test part with them in it is harder than what comes, so
that each figure on it is too low, and so are ranges that are learned from a validation part with them (Farquhar, Gal
and Rainforth 2021, On Statistical Bias in Active Learning: How and When to Fix It).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from estampa.bundle.store import Bundle
from estampa.data.dataset import Dataset, DatasetWriter, Header
from estampa.data.deal import NONE, TEST, TRAIN, VALIDATION, deal_units, strata_of
from estampa.data.record import PARTS, ReadRecord
from estampa.data.split import notes_of
from estampa.data.splitfile import write_split
from estampa.data.ties import ties_of
from estampa.errors import InputError
from estampa.evaluate.labels import recipe_of
from estampa.files import require_writable
from estampa.monitor.feedback import CHOSEN, Given, aside, joined, models_picked, read_feedback
from estampa.monitor.kept import Kept
from estampa.monitor.line import stamp
from estampa.monitor.log import Fault
from estampa.plain import folded
from estampa.predict.parts import held_of
from estampa.progress import SILENT, Progress

_BLOCK = 256  #: inputs in memory at once


@dataclass(frozen=True)
class Gathered:
    """What became of the labels.

    Attributes
    ----------
    dataset : the labelled inputs, in order of their ids, with their parts.
    unfair : how many of the train part, and of those in none, are no fair draw from the answers: chosen because the
        model was unsure of them, or sent from the half of the answers that choices are made from.
    expires : when the first and the last of the kept inputs are to be deleted, UTC.
    left : why labels were left out -> how many.
    notes : what must be known of the parts.
    faults : lines of the labels that could not be read.
    """

    dataset: Dataset
    unfair: dict[str, int]
    expires: tuple[datetime, datetime]
    left: dict[str, int]
    notes: tuple[str, ...]
    faults: tuple[str, ...] = field(default=())


def gather(
    bundle: Bundle,
    keep: Path | str,
    feedback: Path | str,
    output: Path | str,
    progress: Progress = SILENT,
    *,
    now: datetime | None = None,
) -> Gathered:
    """Write the inputs of this bundle that were kept and labelled as a Dataset that its owner alone may read.

    Objects of one request are one group. Groups are dealt to train, validation and test in the shares of the bundle's
    recipe; what was chosen because the model was unsure of it is in the train part or, where others of its group are
    validated or tested with, in none; so is what was sent from the same half of the answers (see feedback.aside).
    What the bundle was tested on is in the test part. Classes that the model does not know stand after its own. Pixels
    are those that the model was fed; of a table, its raw columns.

    Parameters
    ----------
    bundle : the model that answered.
    keep, feedback : the folder of inputs, and the file of labels, of a service.
    output : the Dataset to be.
    now : the moment at which inputs may still be kept.

    Raises InputError where nothing is both kept and labelled, or a kept input is damaged or of another shape;
    StorageError when the disk is full.
    """
    require_writable(Path(output))
    store, faults = Kept(keep), list[Fault]()
    last = dict[str, Given]()
    for given in read_feedback(feedback, faults.append):
        last[given.id] = joined(last.get(given.id), given)
    picked = models_picked(last.values())
    unfair = [name for name, given in last.items() if given.drawn == CHOSEN or aside(given, picked)]
    left, moment = Counter[str](), now or datetime.now(UTC)
    ends, wanted = dict(store.ends()), dict[str, str | float]()
    for name, given in sorted(last.items()):
        why = _unfit(bundle, given, ends, moment)
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
    new = sorted({label for label in wanted.values() if isinstance(label, str)} - set(bundle.classes))
    until = min(ends[name] for name in wanted), max(ends[name] for name in wanted)
    header = _header(bundle, len(wanted), until, (*bundle.classes, *new))
    dataset = _written(store, wanted, header, Path(output), progress)
    dataset, counts, notes = _parted(bundle, dataset, np.isin(dataset.ids, unfair), progress)
    told = tuple(f"{feedback}, row {fault.row}: {fault.why}" for fault in faults)
    return Gathered(dataset, counts, until, dict(left), notes, told)


def _unfit(bundle: Bundle, given: Given, ends: dict[str, datetime], now: datetime) -> str:
    """Why a label cannot be learned from, "" when it can."""
    if given.label is None:
        return "withdrawn"
    if given.model != bundle.hash:
        return f"of model {given.model}"
    if isinstance(given.label, str) != bool(bundle.classes):
        return "no label of such a model"
    if isinstance(given.label, str) and given.label not in bundle.classes:
        meant = [name for name in bundle.classes if folded(name) == folded(given.label)]
        if meant:
            return f"spelled {given.label!r} in place of {meant[0]!r}"
    if given.id not in ends:
        return "without a kept input"
    return "" if ends[given.id] > now else "expired"


def _parted(
    bundle: Bundle, dataset: Dataset, unfair: np.ndarray, progress: Progress
) -> tuple[Dataset, dict[str, int], tuple[str, ...]]:
    """Deal the objects, of which some are no fair draw (`unfair`, (n,) bool), and store their parts.

    Returns the Dataset with them, how many of the train part and of none are unfair, and what must be known.
    """
    recipe = recipe_of(bundle)
    tied = ties_of(dataset, dataset.groups, progress=progress)
    tested = np.isin(dataset.hashes, held_of(bundle, "test")[1])
    again = np.isin(tied.units, tied.units[tested])
    parts = np.where(again & ~unfair, TEST, NONE).astype(np.uint8)
    free = ~unfair & ~again
    if free.any():
        test, validation = recipe.data.test, recipe.data.validation * (1 - recipe.data.test)
        shares = np.zeros(len(PARTS))
        shares[[TRAIN, VALIDATION, TEST]] = 1 - test - validation, validation, test
        strata = strata_of(dataset.labels, free, dataset.task)[free]
        parts[free] = deal_units(strata, tied.units[free], shares, np.random.default_rng(recipe.train.seed))
    judged = np.isin(tied.units, tied.units[(parts == VALIDATION) | (parts == TEST)])
    parts[unfair & ~again & ~judged] = TRAIN
    counts = {PARTS[part]: int((unfair & (parts == part)).sum()) for part in (TRAIN, NONE)}
    record = {
        "test": recipe.data.test, "validation": recipe.data.validation, "seed": recipe.train.seed,
        "grouped": dataset.groups is not None, "published": False, "tied": tied.to_json(), "gathered": counts,
    }  # fmt: skip
    write_split(dataset.path, parts, record)
    notes = notes_of(parts, dataset.labels, dataset.classes if dataset.task == "classification" else ())
    missing = [PARTS[part] for part in (VALIDATION, TEST) if not (parts == part).any()]
    if missing:
        notes.append(
            f"the {' and '.join(missing)} part holds nothing: too few labels of answers that are a fair draw. "
            "Learn from it with --add OLD, whose parts are kept"
        )
    return Dataset.open(dataset.path), counts, tuple(notes)


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
        groups=groups if len(set(groups.tolist())) < len(groups) else None, private=True,
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
