"""What is watched, in blocks of objects: a service's log, predictions, or data that the bundle scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from estampa.bundle.reference import COMPONENTS
from estampa.bundle.store import Bundle
from estampa.data.summary import STATISTICS
from estampa.monitor.line import parse
from estampa.monitor.log import LONGEST, opened_log, texts

BLOCK = 8192  #: lines that become one block
NAMED = 20  #: faults that are named; all are counted


@dataclass
class Block:
    """Consecutive objects.

    `ids` (n,) str; `times` (n,) seconds since 1970 UTC, None where the source has none; `describe` (n, k),
    `components` (n, 8), `output` (n, classes) or (n, 1): float64 with NaN where there is nothing, None where the
    source does not tell; `flags`: each object's, by name alone.
    """

    ids: np.ndarray
    times: np.ndarray | None
    describe: np.ndarray | None
    components: np.ndarray | None
    output: np.ndarray
    flags: list[tuple[str, ...]]

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

    def notes(self) -> list[str]:
        """What the reader of the result must know."""
        said = [f"{n:,} lines of another model, {model}, were left aside" for model, n in self.others.most_common(5)]
        if self.back:
            said.append(f"the clock went back {self.back:,} times; objects are put under the time that was written")
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
    describe, components, output = (
        np.array([tree[key] for tree in kept], np.float64) for key in ("describe", "components", "output")
    )
    flags = [tuple([flag.partition(":")[0] for flag in tree["flags"]]) if tree["flags"] else () for tree in kept]
    parts = components if components.shape[1] else None
    return Block(np.array([tree["id"] for tree in kept]), np.array(times), describe, parts, output, flags)


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
    """A line and its moment in seconds; ValueError says why it is none."""
    found = parse(text, row)
    tree = {key: getattr(found, key) for key in ("id", "model", "describe", "components", "output", "flags")}
    return tree, found.time.timestamp()
