"""Labels of answers, as clients and the labelling page give them: checked, written, and known to every worker."""

from __future__ import annotations

import io
import os
import re
import stat
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estampa.errors import InputError, StorageError, nearest
from estampa.monitor.candidates import Answered
from estampa.monitor.epoch import epoch_of
from estampa.monitor.feedback import GIVEN, Given, Label, given_in, label_of, lines_of_labels
from estampa.monitor.log import LogWriter
from estampa.monitor.observed import Widths
from estampa.monitor.tail import Tail
from estampa.plain import folded
from estampa.serve.models import Model, Models, Version
from estampa.serve.problems import Problem
from estampa.serve.settings import Settings
from estampa.serve.tally import Counts, Tally

RECENT = 5000  #: newest lines of the log that are remembered
_PIECE = 1 << 18  #: bytes of the file of labels that are taken in at once
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\.\d{1,7}", re.ASCII)
_LONGEST = 64  #: characters of the name of a class that the model does not know
_SHOWN = 80  #: characters of what came that a problem repeats
OFF = "Labels are not taken here: start the service with --log FILE --feedback FILE."


@dataclass(frozen=True)
class Stored:
    """What became of labels: how many were written, and the ids that are not among the last answers."""

    stored: int
    unknown: list[str]


@dataclass(frozen=True)
class Standing:
    """How far labelling is: which of the last answers have a label, and how many labels a version has."""

    ids: frozenset[str]
    counts: Counts

    @property
    def fair(self) -> int:
        """Labels that may measure the model."""
        return self.counts.given + self.counts.random


class Desk:
    """Takes labels, and knows the last answers and every label, of all workers: what others wrote is read on demand.

    Its methods may be called from any thread; they read and write files, so from none that must not wait. Files are
    read while only other readers wait; what is known is locked for moments.

    Attributes
    ----------
    answers : the newest answers of the log, by id.
    """

    def __init__(self, log: Path, path: Path) -> None:
        if log.resolve() == path.resolve() or (log.exists() and path.exists() and log.samefile(path)):
            raise InputError("the log and the labels are two files", where="--feedback", got=path)
        self.path, self.writer, self.answers = path, LogWriter(path, durable=True), dict[str, Answered]()
        self._tail, self._tally = Tail(log, RECENT), Tally()
        self._reading, self._lock = threading.Lock(), threading.Lock()
        self._at, self._file, self._epoch = 0, (0, 0), (0, 0)  #: how far labels were read, of which file, and when

    def refresh(self) -> None:
        """Read what was written since the last look; where something was forgotten, everything."""
        with self._reading:
            anew = self._tail.stale()
            if anew:
                self._tail.close()
            found = [Answered.of(tree) for tree in self._tail.read()]
            with self._lock:
                if anew:
                    self.answers.clear()
                for one in found:
                    self.answers.pop(one.id, None)
                    self.answers[one.id] = one
                for name in list(self.answers)[: max(len(self.answers) - RECENT, 0)]:
                    del self.answers[name]
            try:
                self._read_labels()
            except FileNotFoundError:  # it was moved away: the next label makes a new one
                with self._lock:
                    self._at, self._file, self._tally = 0, (0, 0), Tally()
            except OSError as error:
                raise StorageError("cannot be read", where=self.path, got=error.strerror or "") from error

    def _read_labels(self) -> None:
        epoch = epoch_of(self.path)
        with self.path.open("rb") as stream:
            facts = os.fstat(stream.fileno())
            if not stat.S_ISREG(facts.st_mode):
                return  # a device, from which nothing can be read back
            file, at, tally = (facts.st_dev, facts.st_ino), self._at, self._tally
            if at and at <= facts.st_size:
                stream.seek(at - 1)
            if (file, epoch) != (self._file, self._epoch) or at > facts.st_size or (at and stream.read(1) != b"\n"):
                at, tally = 0, Tally()  # another file, or this one from its new beginning
            stream.seek(at)
            while data := stream.read(_PIECE):
                whole = data.rfind(b"\n") + 1
                if not whole and len(data) < _PIECE:
                    break  # a line that is being written
                at += whole or len(data)
                stream.seek(at)
                found = [one for one in given_in(io.BytesIO(data[:whole])) if isinstance(one, Given)]
                with self._lock:
                    for one in found:  # lines that are none are passed over
                        tally.take(one)
                if tally is self._tally:
                    self._at = at
        with self._lock:
            self._at, self._file, self._epoch, self._tally = at, file, epoch, tally

    def recent(self, version: Version) -> list[Answered]:
        """The last answers of a version, the oldest first."""
        widths = Widths.of(version.bundle)
        wanted = (widths.describe, widths.components, widths.output)
        with self._lock:
            return [
                one
                for one in self.answers.values()
                if one.model == version.hash and (len(one.describe), len(one.components), len(one.output)) == wanted
            ]

    def answer(self, name: str) -> Answered | None:
        """The answer of an id, while it is among the last ones."""
        with self._lock:
            return self.answers.get(name)

    def label(self, name: str) -> tuple[str | float, str] | None:
        """The label of an id, and how its answer was drawn; None where there is none, or it was withdrawn."""
        with self._lock:
            return self._tally.label(name)

    def standing(self, version: Version) -> Standing:
        """How far labelling is."""
        with self._lock:
            counts = self._tally.counts(version.hash, version.bundle.classes)
            return Standing(frozenset(self._tally.labelled(self.answers)), counts)

    def take(self, version: Version, labels: Mapping[str, Label], via: str, drawn: str = GIVEN) -> Stored:
        """Write labels of answers. Raises Problem when the disk is full; then nothing is written."""
        self.refresh()
        known = [self.answer(name) for name in labels]
        hashes = [version.hash if one is None else one.model for one in known]
        try:
            written = self.writer.append(lines_of_labels(labels, hashes, via, drawn))
        except (StorageError, InputError) as error:
            raise Problem("storage", f"No label was stored: {error.what}. {_AGAIN}") from error
        if not written:  # it failed before, too, which was said then
            raise Problem("storage", f"No label was stored: the file cannot be written. {_AGAIN}")
        return Stored(written, [name for name, one in zip(labels, known, strict=True) if one is None])

    def close(self) -> None:
        """Let both files go."""
        self.writer.close()
        with self._lock:
            self._tail.close()


_AGAIN = "Try again when its operator has made room."


def desk_of(settings: Settings) -> Desk | None:
    """The desk of a service; None where it takes no labels. InputError without the log whose answers are labelled."""
    if settings.feedback is None:
        return None
    if settings.log is None:
        raise InputError(
            "labels are of answers in the log", where="--feedback", cure="Name the log too: --log FILE --feedback FILE."
        )
    return Desk(settings.log, settings.feedback)


def sent(tree: Any, model: Model, models: Models, desk: Desk, most: int) -> dict[str, Label]:
    """The labels of a JSON body, checked whole before one is stored. Raises Problem that names the first wrong one."""
    if not isinstance(tree, dict) or (("labels" in tree) == ("id" in tree)):
        raise Problem(
            "not-understood", 'Send {"labels": [{"id": ..., "label": ...}, ...]}, or one {"id": ..., "label": ...}.'
        )
    listed, place = (tree["labels"], "labels") if "labels" in tree else ([tree], "")
    if "labels" in tree and set(tree) != {"labels"}:
        raise Problem("not-understood", f"Unknown key {min(set(tree) - {'labels'})[:_SHOWN]!r}. Allowed: labels.")
    if not isinstance(listed, list) or not listed:
        raise Problem("not-understood", "'labels' is a list of at least one object with the keys id and label.")
    if len(listed) > most:
        raise Problem("too-large", f"{len(listed):,} labels are more than {most:,}, the limit here. Send several.")
    version, found = model.version, dict[str, Label]()
    for i, one in enumerate(listed):
        where = f"{place}[{i}]: " if place else ""
        if not isinstance(one, dict) or set(one) - {"new"} != {"id", "label"} or type(one.get("new", True)) is not bool:
            raise Problem(
                "not-understood", f"{where}An object with the keys id and label is wanted; beside them only "
                '"new": true, for a class that the model does not know.',
            )  # fmt: skip
        name = one["id"]
        if id_of_answer(name, where) in found:
            raise Problem("label", f"{where}The id {name} occurs twice. Nothing was stored.")
        found[name] = checked(version, one["label"], where, new=one.get("new", False))
    require_own(found, model, models, desk)
    return found


def id_of_answer(value: Any, where: str = "") -> str:
    """An id as the log gives them; Problem for what is none."""
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    raise Problem(
        "label", f"{where}{repr(value)[:_SHOWN]} is no id of an answer. It is the answer's request_id, a point and the "
        "number of the object in the request, from 0. Nothing was stored.",
    )  # fmt: skip


def checked(version: Version, value: Any, where: str = "", *, new: bool = False) -> Label:
    """A label that an object can have; null withdraws one. `new`: a class, also one that the model does not know.

    Raises Problem.
    """
    classes = version.bundle.classes
    if value is None or (isinstance(value, str) and value in classes):
        return value
    told = f"{where}{repr(value)[:_SHOWN]}"
    if classes and new and isinstance(value, str) and len(value) <= _LONGEST:
        name = " ".join(value.split())
        alike = next((one for one in classes if folded(one) == folded(name)), "")
        if name in classes:
            return name
        if alike:
            raise Problem("label", f"{told} is no new class: send {alike!r}, as the model has it. Nothing was stored.")
        if name and name.isprintable():
            return name
    if classes and new:
        raise Problem("label", f"{told} is no name of a class: up to {_LONGEST} characters. Nothing was stored.")
    if classes:
        some = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
        cure = f"{nearest(value[:_SHOWN], classes)} " if isinstance(value, str) else ""
        raise Problem(
            "label", f"{told} is no class of this model. Allowed: {some}, or null to withdraw a label; of a class "
            f'that it does not know send "new": true, too. {cure}Nothing was stored.',
        )  # fmt: skip
    try:
        label = label_of(value)
    except ValueError:
        label = None
    if not isinstance(label, float):
        raise Problem("label", f"{told} is no finite number, nor null to withdraw one. Nothing was stored.")
    return label


def require_own(labels: Mapping[str, Label], model: Model, models: Models, desk: Desk) -> None:
    """Refuse labels of answers that another of the served models gave, also a version of it that was swapped out."""
    desk.refresh()
    others = {known: one.name for one in models.all() for known in one.hashes if known not in model.hashes}
    for name in labels:
        answer = desk.answer(name)
        if answer is not None and answer.model in others:
            other = others[answer.model]
            raise Problem("label", f"{name} is an answer of {other}: send it with ?model={other}. Nothing was stored.")
