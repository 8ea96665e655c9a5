"""Objects put into periods, each kept as sums until its figures are made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from estampa.bundle.store import Bundle
from estampa.errors import InputError
from estampa.monitor.against import Sums
from estampa.monitor.drift import Sample, told_apart
from estampa.monitor.estimate import Estimate
from estampa.monitor.figures import COLUMN, Figure, Period
from estampa.monitor.flags import flag_figures
from estampa.monitor.grouping import Grouping
from estampa.monitor.labelled import Labels, Performance, keys_of
from estampa.monitor.observed import Block
from estampa.monitor.ranges import Ranges

MOST = 20_000  #: periods
_DAY = 86400.0
_MIXED = (
    "each group by {} is held against the whole reference, which mixes all of them: one that has always been "
    "different, as another filter, leaves its ranges without any drift"
)

Confusion = tuple[tuple[int, ...], ...]


@dataclass
class Held:
    """What is kept of a period: sums of columns, counts of confidence bins and flags, labelled answers."""

    name: str
    sums: dict[str, Sums]
    bins: np.ndarray
    n: int = 0
    start: float = np.inf
    end: float = -np.inf
    flags: Counter[str] = field(default_factory=Counter)
    labels: list[float] = field(default_factory=list)
    output: list[np.ndarray] = field(default_factory=list)


@dataclass(frozen=True)
class _Made:
    """A block with its columns, NaN where there is nothing to make them from, and its labels, NaN where not known."""

    block: Block
    rows: dict[str, np.ndarray]
    labels: np.ndarray | None


class Periods:
    """Blocks put into periods, or into groups.

    Attributes
    ----------
    ranges : of the bundle. whole : all objects.
    """

    def __init__(self, bundle: Bundle, how: str | int | Grouping, rate: float, labels: Labels | None) -> None:
        if not isinstance(how, Grouping) and how not in ("batch", "day") and (type(how) is not int or how < 1):
            raise InputError("not a granularity", where="by", allowed="batch, day, a number of objects", got=repr(how))
        self.how, self.labels = how, labels
        self.ranges = Ranges(bundle, rate / 2 if labels is not None else rate)
        self.estimate = Estimate(self.ranges)
        self.performance = Performance(self.ranges, rate / 2) if labels is not None else None
        self._own = self.ranges, self.performance  # by which a period is judged
        self._rate = rate
        if isinstance(how, Grouping):  # one look at all groups: their false alarms together keep the rate
            each = rate / len(how.names)
            ranges = Ranges(bundle, each / 2 if labels is not None else each)
            self._own = ranges, Performance(ranges, each / 2) if labels is not None else None
        self._sample = Sample()
        self._keys: list[np.ndarray] = []
        self.whole, self._held = self._empty("all"), dict[str, Held]()

    @property
    def by(self) -> str:
        """The granularity in words."""
        if isinstance(self.how, Grouping):
            return f"{COLUMN}{self.how.name}"
        return f"{self.how:,} objects" if isinstance(self.how, int) else self.how

    def _empty(self, name: str) -> Held:
        return Held(name, self.ranges.empty(), np.zeros(self.estimate.bins))

    def add(self, block: Block) -> None:
        """Count a block in."""
        given = {"input": block.describe, "embedding": block.components, "output": block.output}
        rows = {k: self._rows(k, v) for k, v in given.items() if v is not None and k in self.ranges.learned}
        made = _Made(block, rows, self.labels.of(block.ids) if self.labels is not None else None)
        before = self.whole.n
        self._count(self.whole, made, np.ones(len(block), bool))
        self._sample.add(self._joint(rows))
        self._keys.append(keys_of(block.ids.tolist()))
        if self.how == "batch":
            return
        for name, mine in self._parts(block, before):
            if name not in self._held and len(self._held) >= MOST:
                raise InputError("too many periods", where="by", allowed=f"{MOST:,}", cure="Name longer ones.")
            self._count(self._held.setdefault(name, self._empty(name)), made, mine)

    def _rows(self, kind: str, values: np.ndarray) -> np.ndarray:
        made = np.full((len(values), self.ranges.learned[kind].group.width), np.nan)
        made[np.isfinite(values).all(axis=1)] = self.ranges.rows(kind, values)
        return made

    def _joint(self, rows: dict[str, np.ndarray]) -> np.ndarray:
        """What a classifier between batch and reference reads: the columns of inputs and embedding, without waves."""
        kinds = [kind for kind in ("input", "embedding") if kind in rows]
        if not kinds:
            return np.zeros((0, 0))
        joined = np.concatenate([rows[kind][:, : self.ranges.learned[kind].group.begin] for kind in kinds], axis=1)
        found: np.ndarray = joined[np.isfinite(joined).all(axis=1)]
        return found

    def _count(self, held: Held, made: _Made, mine: np.ndarray) -> None:
        block, whole = made.block, bool(mine.all())
        held.n += int(mine.sum())
        if block.times is not None and mine.any():
            held.start = min(held.start, float(block.times[mine].min()))
            held.end = max(held.end, float(block.times[mine].max()))
        for kind, rows in made.rows.items():
            some = rows if whole else rows[mine]
            held.sums[kind].add(some[np.isfinite(some[:, 0])])
        held.bins += self.estimate.counts(block.output if whole else block.output[mine])
        held.flags.update(flag for i in np.flatnonzero(mine).tolist() for flag in block.flags[i])
        if made.labels is not None:
            known = mine & np.isfinite(made.labels)
            held.labels.extend(made.labels[known].tolist())
            if known.any():
                held.output.append(block.output[known].astype(np.float32))

    def _parts(self, block: Block, before: int) -> Iterator[tuple[str, np.ndarray]]:
        if isinstance(self.how, int):
            numbers = (before + np.arange(len(block))) // self.how
            for number in np.unique(numbers).tolist():
                yield f"{number * self.how + 1:,} to {(number + 1) * self.how:,}", numbers == number
            return
        if isinstance(self.how, Grouping):
            places = self.how.of(block.ids)
            for place in np.unique(places).tolist():
                yield self.how.names[place], places == place
            return
        if block.times is None:
            raise InputError("the source has no times", where="by", got="day", cure="Use --by batch or a number.")
        days = np.floor(block.times / _DAY)
        for day in np.unique(days).tolist():
            yield f"{datetime.fromtimestamp(day * _DAY, UTC):%Y-%m-%d}", days == day

    # ------------------------------------------------------------------------------------------------------ results

    def result(self) -> tuple[Period, tuple[Period, ...], Confusion]:
        """All objects as one period, the periods in order, and the confusion of all that are labelled."""
        if not self.whole.labels:  # no figure of performance: the whole rate is that of the others
            self.ranges.rate = self._rate
            self._own[0].rate = self._rate / (len(self.how.names) if isinstance(self.how, Grouping) else 1)
        whole, confusion = self._period(self.whole, self.ranges, self.performance)
        if self.how == "batch":
            apart = self._apart()
            both = replace(whole, figures=(*whole.figures, *apart))
            return both, (both,), confusion
        held = list(self._held.values())
        if self.how == "day":
            held.sort(key=lambda one: one.start)
        if isinstance(self.how, Grouping):
            held = [self._held[name] for name in self.how.names if name in self._held]
        both = replace(whole, figures=(*whole.figures, *self._apart()))
        return both, tuple(self._period(one, *self._own)[0] for one in held), confusion

    def _apart(self) -> list[Figure]:
        kinds = [k for k in ("input", "embedding") if k in self.ranges.learned and self.whole.sums[k].n]
        if not kinds or not len(self._sample.rows):
            return []
        found = told_apart(self.ranges.sample(kinds), self._sample.rows)
        return [] if found is None else [found]

    def _period(self, held: Held, ranges: Ranges, performance: Performance | None) -> tuple[Period, Confusion]:
        figures = ranges.figures(held.sums)
        told = [kind for kind, sums in held.sums.items() if sums.n]
        bound = ranges.threshold(held.n, told or ["output"])
        figures += flag_figures(held.flags, held.n, ranges, bound)
        estimated = self.estimate.figure(held.bins, [f for f in figures if f.alert])
        figures += [estimated] if estimated is not None else []
        confusion: Confusion = ()
        if performance is not None and held.labels:
            found, confusion = performance.figures(np.array(held.labels), np.concatenate(held.output))
            figures += found
        start, end = (_moment(at) for at in (held.start, held.end))
        return Period(held.name, start, end, held.n, tuple(figures), len(held.labels)), confusion

    def notes(self) -> list[str]:
        """What must be known of the groups and the labels."""
        said = [_MIXED.format(self.how.name)] if isinstance(self.how, Grouping) else []
        said += self._repeats()
        count = int(self.ranges.groups.max()) + 1
        if count < self.ranges.m and self.whole.n >= 2 * self.ranges.m / count:
            said.append(_GROUPED.format(round(self.ranges.m / count)))
        if self.ranges.few_groups:
            said.append(_FEW.format(count))
        if self.labels is None:
            return said
        lost = self.labels.n - int(self.labels.seen.sum())
        said += [f"{lost:,} of {self.labels.n:,} labels are of ids that were not met"] if lost else []
        if self.whole.labels and self.ranges.classes and len(set(self.whole.labels)) == 1:
            said.append("all labels are of one class: what compares classes is not defined")
        return said if self.whole.labels else [*said, "no label belongs to an answer: performance is not known"]

    def _repeats(self) -> list[str]:
        """What is said of ids that were met more than once."""
        keys = np.sort(np.concatenate(self._keys)) if self._keys else np.zeros(0, np.uint64)
        further = keys[1:][keys[1:] == keys[:-1]]
        return [_REPEATED.format(len(np.unique(further)), len(further))] if len(further) else []


_REPEATED = (
    "{:,} ids were met more than once, {:,} answers beyond the first: they are counted as objects of their own, which "
    "they are not where a client asked again or a copy of a file was given, and the figures look surer than they are; "
    "labels count with the first answer alone"
)
_GROUPED = (
    "the ranges take what is watched for groups (exposures, persons, ...) of some {} objects, as the reference's are: "
    "a batch of few, larger groups leaves them more often than at the stated rate"
)
_FEW = (
    "the reference's objects are of {} groups alone (exposures, persons, ...), too few to tell how much groups vary: "
    "the ranges are wide; train on more groups, or with a larger validation part (data.validation of the recipe)"
)


def _moment(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if np.isfinite(seconds) else None
