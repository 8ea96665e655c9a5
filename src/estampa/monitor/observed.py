"""What is watched, in blocks of objects: a service's log, predictions, or data that the bundle scores."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import from_json

from estampa.bundle.reference import COMPONENTS
from estampa.bundle.store import Bundle
from estampa.data.summary import STATISTICS, describe
from estampa.errors import InputError
from estampa.monitor.line import FORMAT, KEYS, LONGEST_ID, frame, is_model, moment, parse
from estampa.monitor.log import LONGEST, opened_log, texts
from estampa.plain import numbered
from estampa.predict.answers import UNREADABLE, judged, scored
from estampa.predict.output import Table
from estampa.predict.predictions import prediction_rows
from estampa.predict.run import Source, chunk_size
from estampa.predict.source import Chunk
from estampa.predict.table_source import TableChunk, TableSource

BLOCK = 8192  #: lines that become one block
NAMED = 20  #: faults that are named; all are counted
_READ = ("id", "model", "describe", "components", "output", "flags")
_FLOATS = {float, int}


@dataclass
class Block:
    """Consecutive objects.

    `ids` (n,) str; `times` (n,) seconds since 1970 UTC, None where the source has none; `describe` (n, k),
    `components` (n, 8), `output` (n, classes) or (n, 1): float32 with NaN where there is nothing, None where the
    source does not tell; `flags`: each object's, by name alone.
    """

    ids: np.ndarray
    times: np.ndarray | None
    describe: np.ndarray | None
    components: np.ndarray | None
    output: np.ndarray
    flags: list[tuple[str, ...]]
    inputs: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class Reading:
    """What was met on the way: lines that could not be read, lines of other models, a clock that went back."""

    bad: int = 0
    faults: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    back: int = 0

    def miss(self, where: str, why: str) -> None:
        """Count a line that could not be read; the first ones are named."""
        self.bad += 1
        if len(self.faults) < NAMED:
            self.faults.append(f"{where}: {why}")

    def only(self) -> str:
        """What there was where there was no answer."""
        others = [f"{n:,} answers of {model}" for model, n in self.others.most_common(5)]
        bad = [f"{self.bad:,} lines that are none, the first {self.faults[0]}"] if self.bad else []
        return "; ".join([*others, *bad]) or "nothing"

    def notes(self) -> list[str]:
        """What the reader of the result must know."""
        said = [
            f"{numbered(n, 'line')} of another model, {model}, {'was' if n == 1 else 'were'} left aside"
            for model, n in self.others.most_common(5)
        ]
        if self.back:
            times = numbered(self.back, "time")
            said.append(f"the clock went back {times}; objects are put under the time that was written")
        return said


def from_logs(bundle: Bundle, paths: Sequence[Path], met: Reading) -> Iterator[Block]:
    """The lines of a service's logs that are of this model, in flat memory; `met` is told of what is not."""
    last = -np.inf
    for path in paths:
        with opened_log(path, "rb") as stream:
            lines = texts(stream)
            while group := list(islice(lines, BLOCK)):
                block = _block(bundle, path, group, met)
                if block is not None:
                    assert block.times is not None
                    steps = np.diff(block.times, prepend=last)
                    met.back += int((steps < 0).sum())
                    last = float(block.times[-1])
                    yield block


def _block(bundle: Bundle, path: Path, group: Sequence[tuple[int, int, bytes | None]], met: Reading) -> Block | None:
    """Some lines as a block; None where none of them is of this model."""
    widths = Widths.of(bundle)
    kept: list[dict[str, Any]] = []
    times: list[float] = []
    for row, _, text in group:
        try:
            if text is None:
                raise ValueError(f"longer than {LONGEST:,} bytes")
            tree, when = _line(text, row)
            if tree["model"] != bundle.hash:
                met.others[tree["model"]] += 1
                continue
            widths.check(tree)
        except ValueError as error:
            met.miss(f"{path}, row {row}", str(error))
            continue
        kept.append(tree)
        times.append(when)
    if not kept:
        return None
    told, components, output = (
        np.array([tree[key] for tree in kept], np.float32) for key in ("describe", "components", "output")
    )
    flags = [_names(";".join(tree["flags"])) for tree in kept]
    parts = components if components.shape[1] else None
    return Block(np.array([tree["id"] for tree in kept]), np.array(times), told, parts, output, flags)


@dataclass(frozen=True)
class Widths:
    """How many numbers a line of this bundle has."""

    describe: int
    components: int
    output: int

    @classmethod
    def of(cls, bundle: Bundle) -> Widths:
        """As the bundle would log them."""
        told = len(bundle.preparation.names) if bundle.of_table else len(STATISTICS) * bundle.pictures.shape[2]
        parts = COMPONENTS if bundle.of_table or "embedding" in bundle.manifest.outputs else 0
        return cls(told, parts, max(len(bundle.classes), 1))

    def check(self, tree: dict[str, Any]) -> None:
        """ValueError for a line with other numbers of numbers."""
        for key, width in (("describe", self.describe), ("components", self.components), ("output", self.output)):
            if len(tree[key]) != width:
                raise ValueError(f"{key} holds {len(tree[key]):,} numbers, this model's have {width:,}")


def _line(text: bytes, row: int) -> tuple[dict[str, Any], float]:
    """A line and its moment in seconds since 1970; ValueError says why it is none.

    A line as estampa writes it goes the short way, three times as fast; of any other, `parse` says what it is.
    """
    tree = _swift(text)
    if tree is not None:
        return tree, moment(tree["time"]).timestamp()
    found = parse(text, row)
    return {key: getattr(found, key) for key in _READ}, found.time.timestamp()


def _swift(text: bytes) -> dict[str, Any] | None:
    """A line's tree, if it is one beyond doubt: each key once and in its place, numbers where numbers belong."""
    if text.count(b'":') != len(KEYS) or b"\\" in text:
        return None
    try:
        tree = from_json(text, allow_inf_nan=False)
    except ValueError:
        return None
    if type(tree) is not dict or tuple(tree) != KEYS or type(tree["format"]) is not int or tree["format"] != FORMAT:
        return None
    texts = type(tree["id"]) is type(tree["time"]) is type(tree["model"]) is str
    lists = type(tree["describe"]) is type(tree["components"]) is type(tree["output"]) is type(tree["flags"]) is list
    if not (texts and lists and 0 < len(tree["id"]) <= LONGEST_ID and is_model(tree["model"])):
        return None
    for key in ("describe", "components", "output"):
        if not set(map(type, tree[key])) <= _FLOATS or math.inf in tree[key] or -math.inf in tree[key]:
            return None
    return tree if all(type(flag) is str for flag in tree["flags"]) else None


# ----------------------------------------------------------------------------------------- predictions, scored data


def from_predictions(bundle: Bundle, path: Path, met: Reading) -> Iterator[Block]:
    """The rows of a file of predictions (CSV, JSON lines, Parquet) that are of this model, in flat memory.

    Raises SourceError for a file that is none, InputError for one of other classes.
    """
    rows = prediction_rows(path)
    head = next(rows)
    wanted = Table(bundle.classes, bundle.hash).columns
    if head != wanted:
        raise InputError(
            "predictions of other classes, or in another order", where=path, allowed=",".join(wanted[:20]),
            got=",".join(map(str, head[:20])),
        )  # fmt: skip
    number = 1
    while group := list(islice(rows, BLOCK)):
        kept = []
        for row in group:
            number += 1
            try:
                if len(row) != len(wanted):
                    raise ValueError(f"{len(row)} cells, not {len(wanted)}: the line was cut, or is of something else")
                values = row[2:-2] if bundle.classes else row[1:2]
                numbers = [math.nan if v in ("", None) else float(v) for v in values]
                if math.inf in numbers or -math.inf in numbers:
                    raise ValueError("a number that is not finite")
            except ValueError as error:
                met.miss(f"{path}, row {number}", str(error))
                continue
            if row[-1] != bundle.hash:
                met.others[str(row[-1])[:40]] += 1
                continue
            kept.append((str(row[0]), numbers, _names(row[-2] or "")))
        if kept:
            output = np.array([numbers for _, numbers, _ in kept], np.float32)
            yield Block(np.array([i for i, _, _ in kept]), None, None, None, output, [flags for _, _, flags in kept])


def from_data(bundle: Bundle, source: Source, threads: int | None = None) -> Iterator[Block]:
    """Data that the bundle scores now, as `predict.run.opened` gives them."""
    size = chunk_size(bundle.contract)
    chunks = source.table_chunks(0, size) if isinstance(source, TableSource) else source.chunks(0, size)
    for chunk in chunks:
        yield block_of(bundle, chunk, source.ids[chunk.start : chunk.start + len(chunk)], threads)


def block_of(bundle: Bundle, chunk: Chunk | TableChunk, ids: np.ndarray, threads: int | None = None) -> Block:
    """Consecutive objects, scored now, as a block."""
    scores = scored(bundle, chunk, threads, ("output",) if bundle.of_table else ("output", "embedding"))
    answers = judged(bundle, chunk, ids, scores.output)
    flags = [_names(text) for text in answers.flags]
    output = scores.output.reshape(len(ids), -1).astype(np.float32)
    output[answers.bad] = np.nan
    parts = None
    if isinstance(chunk, TableChunk):
        told = bundle.preparation.transform(chunk.values).astype(np.float32)
    else:
        told = describe(chunk.images)
        if scores.embedding is not None:
            parts = (scores.embedding @ frame(bundle, scores.embedding.shape[1])).astype(np.float32)
    unread = np.array([UNREADABLE in names for names in flags], bool)
    for values in (told, *([] if parts is None else [parts])):
        values[unread] = np.nan
    inputs = chunk.values if isinstance(chunk, TableChunk) else chunk.images
    return Block(np.asarray(ids), None, told, parts, output, flags, inputs)


def _names(flags: str) -> tuple[str, ...]:
    """Flags by name alone."""
    return tuple(flag.partition(":")[0] for flag in flags.split(";")) if flags else ()
