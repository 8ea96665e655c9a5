"""Labels that people gave to answers of a service: a file of JSON lines beside the log.

Lines are appended, never changed: the last line of an id is its label, one that withdraws it holds null. How an answer
came to be labelled stands beside its label, since that decides what the label may be used for. Answers that were
`chosen` because the model was unsure of them are no fair sample: it is right less often on them than on all, so that
figures of performance rest on the other labels alone (Farquhar, Gal and Rainforth 2021, On Statistical Bias in Active
Learning: How and When to Fix It, section 2). For training all of them are good.

The page draws and chooses from different halves of all answers, by a hash of the id (`drawn_of`). An answer that was
chosen stays so, whoever labels it later. What else is labelled in its half then lacks the hard ones, so where any
answer of a model was chosen, only labels of the random half measure it: that half is a fair sample by itself, whether a
program sends labels of all answers, of some, or of those that people labelled on the page once more.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from estampa.errors import InputError
from estampa.monitor.line import BEGIN, LONGEST_ID, is_model, moment, stamp, tree_with
from estampa.monitor.log import Fault, opened_log, texts

FORMAT = 1  #: raise it when an older estampa would misread a line; go on reading the old ones, with a test of each
KEYS = ("format", "id", "label", "time", "model", "via", "drawn")
API, PAGE = "api", "page"
GIVEN, RANDOM, CHOSEN = "given", "random", "chosen"
VIA, DRAWN = (API, PAGE), (GIVEN, RANDOM, CHOSEN)
LONGEST = 4096  #: bytes of a line; a class's name may take some hundred
_FAULTS = 20  #: faults that are named; all are counted
_LOOK = 20  #: lines at the beginning of a file by which it is told whose it is

Label = str | float | None


@dataclass(frozen=True, slots=True)
class Given:
    """A label, as the file has it.

    Attributes
    ----------
    row : number of the line in its file, from 1.
    id : of the answer.
    label : name of the class, also of one that the model does not know, or the value; None = withdrawn.
    time : when it was given, UTC.
    model : hash of the bundle whose answer it is.
    via : "api" or "page".
    drawn : how the answer came to be labelled. "given": whoever sent it chose; "random": drawn at random from the
        answers; "chosen": because the model was unsure of it.
    """

    row: int
    id: str
    label: Label
    time: datetime
    model: str
    via: str
    drawn: str


def drawn_of(name: str, seed: int = 0) -> str:
    """Which half of all answers an id lies in: "random" or "chosen"."""
    return RANDOM if hash_of(name, seed)[0] % 2 else CHOSEN


def hash_of(name: str, seed: int = 0) -> bytes:
    """What decides of an id which half it lies in, and its place in the random order."""
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=9, salt=seed.to_bytes(8, "big")).digest()


def joined(before: Given | None, now: Given) -> Given:
    """What two lines of one id say together: the later label; an answer that was chosen stays so."""
    return replace(now, drawn=CHOSEN) if before is not None and before.drawn == CHOSEN else now


def models_picked(labels: Iterable[Given]) -> set[str]:
    """Models of whose answers some were chosen, by the labels that hold (see `aside`)."""
    return {given.model for given in labels if given.drawn == CHOSEN and given.label is not None}


def aside(given: Given, picked: Set[str]) -> bool:
    """Whether a sent label is of the half of the answers from which others were chosen (`models_picked`).

    Without those that were chosen, the rest of that half is easier than all answers.
    """
    return given.drawn == GIVEN and given.model in picked and drawn_of(given.id) == CHOSEN


def lines_of_labels(
    labels: Mapping[str, Label], models: Sequence[str], via: str, drawn: str, when: datetime | None = None
) -> list[dict[str, Any]]:
    """Lines for `LogWriter.append`.

    Parameters
    ----------
    labels : label by the id of its answer; None withdraws it.
    models : of each, the hash of the bundle that answered.
    via, drawn : of all of them, see `Given`.
    when : the moment of the labels; now.
    """
    time = stamp(when or datetime.now(UTC))
    return [
        {"format": FORMAT, "id": name, "label": label, "time": time, "model": model, "via": via, "drawn": drawn}
        for (name, label), model in zip(labels.items(), models, strict=True)
    ]


def read_feedback(path: Path | str, on_fault: Callable[[Fault], object] | None = None) -> Iterator[Given]:
    """The lines of a file of labels, one at a time, in flat memory; blank lines (forgotten ones) are passed over.

    `on_fault` is told of each line that was cut or is no label, and reading goes on; without it the first one raises
    InputError, which names its row. So does a file that is not there or is no file.
    """
    where = Path(path)
    with opened_log(where, "rb") as stream:
        for found in given_in(stream):
            if isinstance(found, Given):
                yield found
            elif on_fault is None:
                raise InputError(found.why, where=f"{where}, row {found.row}")
            else:
                on_fault(found)


def given_in(stream: BinaryIO) -> Iterator[Given | Fault]:
    """Labels and faults in what is left of an open file; rows are counted from where it stands."""
    for row, _, text in texts(stream):
        try:
            if text is None or len(text) > LONGEST:
                raise ValueError(f"longer than {LONGEST:,} bytes")
            yield parse_label(text, row)
        except ValueError as error:
            yield Fault(row, str(error))


def parse_label(text: bytes, row: int) -> Given:
    """A line's bytes as a label; ValueError says why it is none."""
    tree = tree_with(text, KEYS, FORMAT, "label of estampa")
    if not all(isinstance(tree[key], str) for key in ("id", "time", "model", "via", "drawn")):
        raise ValueError("id, time, model, via and drawn are texts")
    if not 0 < len(tree["id"]) <= LONGEST_ID or not is_model(tree["model"]):
        raise ValueError("not the id of an answer, or not a model's hash")
    if tree["via"] not in VIA or tree["drawn"] not in DRAWN:
        raise ValueError(f"via is one of {', '.join(VIA)}, drawn one of {', '.join(DRAWN)}")
    label, time = label_of(tree["label"]), moment(tree["time"])
    return Given(row, tree["id"], label, time, tree["model"], tree["via"], tree["drawn"])


def label_of(value: Any) -> Label:
    """What JSON holds, as a label; ValueError where it is none."""
    if value is None or isinstance(value, str):
        return value
    if type(value) not in (int, float):
        raise ValueError("a label is the name of a class, a number or null")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("a label that is no finite number")
    return number


@dataclass(frozen=True)
class Feedback:
    """What a file of labels says by now.

    Attributes
    ----------
    labels : label by id, of those that may measure a model: given, or of answers drawn at random.
    unknown : of the same answers, class -> how many labels are of it though the model does not know it.
    chosen : how many more there are of answers that were chosen because the model was unsure.
    aside : how many more there are in their half of all answers, where any of the model's answers were chosen.
    foreign : how many more there are that are no label of such a model: texts for values, numbers for classes.
    bad : lines that could not be read. faults : the first of them, named.
    """

    labels: dict[str, str | float]
    unknown: dict[str, int]
    chosen: int
    aside: int
    foreign: int
    bad: int
    faults: tuple[str, ...]

    def notes(self) -> list[str]:
        """What must be known of them."""
        said = [f"labels, {fault}" for fault in self.faults]
        if self.bad > len(self.faults):
            said.append(f"and {self.bad - len(self.faults):,} more lines of labels that could not be read")
        if self.chosen:
            said.append(
                f"{self.chosen:,} more labels are of answers that were chosen because the model was unsure of them: "
                "good for retraining, but no fair sample, so that no figure rests on them"
            )
        if self.aside:
            said.append(
                f"{self.aside:,} more labels are of the half of all answers from which those were chosen: without them "
                "it is the easier part, so that figures rest on the other half, a fair sample by itself"
            )
        if self.unknown:
            count = sum(self.unknown.values())
            some = ", ".join(f"{name} {n:,}" for name, n in sorted(self.unknown.items(), key=lambda c: -c[1])[:5])
            said.append(
                f"{count:,} labels are of classes that this model does not know ({some}): there every answer is wrong. "
                "The figures are of the other objects, so that it does worse than they say"
            )
        if self.foreign:
            said.append(f"{self.foreign:,} labels are no labels of such a model: they were left aside")
        return said


def is_feedback(path: Path) -> bool:
    """Whether a file is one of labels that a service wrote; one without a line yet is, if its name does not say
    otherwise.
    """
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        empty = True
        for _, _, text in islice(texts(stream), _LOOK):  # the first of them may have been cut
            if text is not None and text.startswith(BEGIN):
                return True
            empty = False
    return empty and path.suffix in (".jsonl", ".log", "")


def gathered(path: Path, classes: Sequence[str], model: str = "") -> Feedback:
    """What a file of labels says by now, the last label of each id, for a model of these classes (() = of values).

    `model`: its hash; what is left out of answers of other models is not counted ("" = of all).
    Raises InputError for a file in which no line is a label.
    """
    last: dict[str, Given] = {}
    faults: list[Fault] = []
    for found in read_feedback(path, faults.append):
        last[found.id] = joined(last.get(found.id), found)
    if faults and not last:
        raise InputError(
            f"no line is a label: {faults[0].why}", where=f"{path}, row {faults[0].row}",
            cure="Name the file of `estampa serve --feedback`, or one with columns id and label.",
        )  # fmt: skip
    known, labels, unknown, counts = set(classes), dict[str, str | float](), Counter[str](), Counter[str]()
    picked = models_picked(last.values())
    for name, given in last.items():
        if given.label is None:
            continue
        own = given.model == model or not model
        if isinstance(given.label, str) != bool(classes):
            counts["foreign"] += own
        elif given.drawn == CHOSEN:
            counts["chosen"] += own
        elif aside(given, picked):
            counts["aside"] += own
        elif isinstance(given.label, str) and given.label not in known:
            unknown[given.label] += own
        else:
            labels[name] = given.label
    named = tuple(f"{path}, row {fault.row}: {fault.why}" for fault in faults[:_FAULTS])
    return Feedback(
        labels, dict(+unknown), counts["chosen"], counts["aside"], counts["foreign"], len(faults), named
    )  # fmt: skip
