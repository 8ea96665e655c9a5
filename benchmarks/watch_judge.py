"""What is said of many batches: the figures that `estampa monitor` makes of one, their ranges learned once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa import Bundle
from estampa.bundle.reference import flagged, flags_of
from estampa.measure import confidence, decide
from estampa.monitor.against import Sums
from estampa.monitor.estimate import NAME, Estimate
from estampa.monitor.figures import Figure
from estampa.monitor.flags import flag_figures
from estampa.monitor.labelled import Performance
from estampa.monitor.observed import Block, block_of
from estampa.monitor.ranges import RATE, Ranges
from estampa.predict.run import chunk_size
from estampa.predict.source import Chunk
from estampa.predict.table_source import TableChunk


class Redealt:
    """A bundle whose reference holds other objects: what a training with another validation part would have kept."""

    def __init__(self, bundle: Bundle, reference: dict[str, np.ndarray]) -> None:
        self._bundle, self._reference = bundle, reference

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bundle, name)

    def tensors(self, name: str) -> dict[str, np.ndarray]:
        """The other reference; all else as it is."""
        return self._reference if name == "reference" else self._bundle.tensors(name)


@dataclass
class Objects:
    """What the service would log of some objects, and the columns that are watched of them."""

    block: Block
    rows: dict[str, np.ndarray]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


class Judge:
    """Everything that is said of a batch; ranges are learned once."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.ranges = bundle, Ranges(bundle)
        self.estimate = Estimate(self.ranges)
        self.performance = Performance(self.ranges, RATE / 2, resamples=2)  # their own intervals are not asked for

    def objects(self, block: Block, labels: np.ndarray) -> Objects:
        """Columns of objects, NaN where there is nothing to make them from."""
        given = {"input": block.describe, "embedding": block.components, "output": block.output}
        rows = {}
        for kind, values in given.items():
            if values is not None and kind in self.ranges.learned:
                rows[kind] = np.full((len(block), self.ranges.learned[kind].group.width), np.nan)
                rows[kind][np.isfinite(values).all(axis=1)] = self.ranges.rows(kind, values)
        return Objects(block, rows, labels)

    def figures(self, objects: Objects, chosen: np.ndarray, *, labelled: bool = False) -> list[Figure]:
        """The figures of a batch as `Periods` makes them."""
        self.ranges.rate = RATE / 2 if labelled else RATE
        sums = {}
        for kind, rows in objects.rows.items():
            some = rows[chosen]
            some = some[np.isfinite(some[:, 0])]
            sums[kind] = Sums(len(some), some.sum(axis=0), (some**2).sum(axis=0))
        found = self.ranges.figures(sums)
        bound = self.ranges.threshold(len(chosen), [kind for kind, one in sums.items() if one.n] or ["output"])
        flags = Counter(flag for i in chosen.tolist() for flag in objects.block.flags[i])
        found += flag_figures(flags, len(chosen), self.ranges, bound)
        estimated = self.estimate.figure(
            self.estimate.counts(objects.block.output[chosen]), [f for f in found if f.alert]
        )
        found += [estimated] if estimated is not None else []
        if labelled:
            found += self.performance.figures(objects.labels[chosen], objects.block.output[chosen])[0]
        return found


def block_of_raw(bundle: Bundle, raw: np.ndarray) -> Block:
    """Objects as the service would log them, in pieces that memory holds."""
    size, blocks = chunk_size(bundle.contract), []
    for start in range(0, len(raw), size):
        piece = raw[start : start + size]
        chunk = TableChunk(start, piece) if bundle.of_table else Chunk(start, piece)
        blocks.append(block_of(bundle, chunk, np.arange(start, start + len(piece)).astype(str)))
    parts = [b.components for b in blocks if b.components is not None]
    told = [b.describe for b in blocks if b.describe is not None]
    return Block(
        np.concatenate([b.ids for b in blocks]), None, np.concatenate(told), np.concatenate(parts) if parts else None,
        np.concatenate([b.output for b in blocks]), [f for b in blocks for f in b.flags],
    )  # fmt: skip


def flags_of_reference(bundle: Bundle, own: dict[str, np.ndarray]) -> list[tuple[str, ...]]:
    """The flags of the reference's own objects."""
    kept = flags_of(own)
    least = bundle.thresholds.confidence
    if least is not None:
        output = own["output"]
        kept["low_confidence"] = confidence(output, decide(output, bundle.thresholds.decision)) < least
    return [tuple(name for name, marked in kept.items() if marked[i]) for i in range(len(own["output"]))]


def dealt(
    own: dict[str, np.ndarray], every: dict[str, np.ndarray], flags: Sequence[tuple[str, ...]], chosen: np.ndarray
) -> dict[str, np.ndarray]:
    """A reference of these objects."""
    marks = {name: np.array([name in flags[i] for i in chosen.tolist()]) for name in flags_of(own)}
    return {name: values[chosen] for name, values in every.items()} | flagged(marks) | {"projection": own["projection"]}


def true_accuracy(judge: Judge, objects: Objects, batch: np.ndarray) -> float:
    """The share of answers that are right, of those that were given."""
    output = objects.block.output[batch]
    good = np.isfinite(output).all(axis=1)
    predicted = decide(output[good], judge.ranges.decision)
    return float((predicted == objects.labels[batch][good]).mean())


@dataclass
class Estimates:
    """Batches of one kind, and what the accuracy estimated without labels said of them.

    Attributes
    ----------
    relied : batches where it said nothing against itself; `within` those of them whose true accuracy lay inside.
    off, warned : batches whose true accuracy lay outside, and those of them where it said not to rely on it.
    """

    case: str
    what: str
    batches: int = 0
    inside: int = 0
    relied: int = 0
    within: int = 0
    off: int = 0
    warned: int = 0

    def count(self, figures: Sequence[Figure], true: float) -> None:
        """Take a batch in."""
        figure = next(f for f in figures if f.name == NAME)
        inside = figure.low <= true <= figure.high
        self.batches += 1
        self.inside += inside
        self.relied += not figure.why
        self.within += inside and not figure.why
        self.off += not inside
        self.warned += not inside and bool(figure.why)
