"""watch(): a model's answers held against what its bundle knows of clean data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from estampa.bundle.store import Bundle
from estampa.errors import InputError
from estampa.monitor.against import Sums
from estampa.monitor.figures import Figure, Period, Watch
from estampa.monitor.observed import Block, Reading, from_logs
from estampa.monitor.ranges import RATE, Ranges
from estampa.progress import SILENT, Progress

__all__ = ["Figure", "Period", "Watch", "watch"]

MOST_PERIODS = 20_000


@dataclass
class _Held:
    """What is kept of a period."""

    name: str
    sums: dict[str, Sums]
    n: int = 0
    start: float = np.inf
    end: float = -np.inf

    def add(self, block: Block, rows: dict[str, np.ndarray], mine: np.ndarray) -> None:
        """Count in the objects `mine` (n,) bool of a block whose columns are `rows`."""
        self.n += int(mine.sum())
        if block.times is not None and mine.any():
            self.start = min(self.start, float(block.times[mine].min()))
            self.end = max(self.end, float(block.times[mine].max()))
        for kind, made in rows.items():
            some = made[mine]
            self.sums[kind].add(some[np.isfinite(some[:, 0])])

    def period(self, ranges: Ranges) -> Period:
        """The figures of what was counted in."""
        start, end = (_moment(at) for at in (self.start, self.end))
        return Period(self.name, start, end, self.n, tuple(ranges.figures(self.sums)))


def watch(
    bundle: Bundle | Path | str,
    source: Path | str | Sequence[Path | str],
    *,
    by: str | int = "batch",
    rate: float = RATE,
    progress: Progress = SILENT,
) -> Watch:
    """Hold a model's answers against its bundle's reference.

    Parameters
    ----------
    bundle : an open Bundle, its folder, or a run folder.
    source : a service's log, or several.
    by : the granularity at which the model runs: "batch" (all as one), "day" (UTC) or a number of objects.
    rate : false alarms per period, over all its tests together.

    Raises InputError for a source with no answer of this model, BundleError for a bundle without a reference.
    """
    model = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    ranges, met = Ranges(model, rate), Reading()
    paths = [Path(p) for p in ([source] if isinstance(source, (str, Path)) else source)]
    progress.start(f"reading {paths[0]}", None, "objects")
    periods = _Periods(ranges, by)
    for block in from_logs(model, paths, met):
        periods.add(block)
        progress.advance(len(block))
    progress.finish()
    if not periods.whole.n:
        others = ", ".join(met.others) or "none"
        raise InputError(
            "no answer of this model", where=", ".join(map(str, paths[:3])), allowed=f"lines of {model.hash}",
            got=f"lines of other models: {others}; lines that are none: {met.bad:,}",
        )  # fmt: skip
    whole = periods.whole.period(ranges)
    return Watch(
        model.hash, whole.n, periods.found(), whole.figures, rate, periods.by, ranges.m,
        faults=tuple(met.faults), bad=met.bad, notes=tuple(met.notes()), classes=model.classes,
    )  # fmt: skip


@dataclass
class _Periods:
    """Blocks put into periods."""

    ranges: Ranges
    how: str | int
    held: dict[str, _Held] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.how not in ("batch", "day") and (not isinstance(self.how, int) or self.how < 1):
            raise InputError("not a granularity", where="by", allowed="batch, day, a number of objects", got=self.how)
        self.whole = _Held("all", self.ranges.empty())

    @property
    def by(self) -> str:
        """The granularity in words."""
        return f"{self.how:,} objects" if isinstance(self.how, int) else self.how

    def add(self, block: Block) -> None:
        """Count a block in."""
        given = {"input": block.describe, "embedding": block.components, "output": block.output}
        rows = {k: _rows(self.ranges, k, v) for k, v in given.items() if v is not None and k in self.ranges.learned}
        before = self.whole.n
        self.whole.add(block, rows, np.ones(len(block), bool))
        if self.how != "batch":
            for name, mine in self._parts(block, before):
                if name not in self.held and len(self.held) >= MOST_PERIODS:
                    raise InputError(
                        "too many periods", where="by", allowed=f"{MOST_PERIODS:,}", cure="Name longer ones."
                    )
                self.held.setdefault(name, _Held(name, self.ranges.empty())).add(block, rows, mine)

    def _parts(self, block: Block, before: int) -> Iterator[tuple[str, np.ndarray]]:
        if isinstance(self.how, int):
            numbers = (before + np.arange(len(block))) // self.how
            for number in np.unique(numbers).tolist():
                yield f"{number * self.how + 1:,} to {(number + 1) * self.how:,}", numbers == number
            return
        if block.times is None:
            raise InputError("the source has no times", where="by", got="day", cure="Use --by batch or a number.")
        days = np.floor(block.times / 86400)
        for day in np.unique(days).tolist():
            yield f"{datetime.fromtimestamp(day * 86400, UTC):%Y-%m-%d}", days == day

    def found(self) -> tuple[Period, ...]:
        """The periods with their figures, in order."""
        if self.how == "batch":
            return (self.whole.period(self.ranges),)
        return tuple(one.period(self.ranges) for one in sorted(self.held.values(), key=lambda one: one.start))


def _rows(ranges: Ranges, kind: str, values: np.ndarray) -> np.ndarray:
    """The columns of every object of a block, NaN where there is nothing to make them from."""
    made = np.full((len(values), ranges.learned[kind].group.width), np.nan)
    made[np.isfinite(values).all(axis=1)] = ranges.rows(kind, values)
    return made


def _moment(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if np.isfinite(seconds) else None
