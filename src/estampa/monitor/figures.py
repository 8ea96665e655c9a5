"""What watching finds, as plain data: figures with their ranges, periods, and the whole, with a JSON round trip."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from estampa.errors import InputError
from estampa.monitor.line import moment, stamp

FORMAT = 1  #: of a watch as JSON
JOINT = ", all together, "  #: in the name of a figure over all features of its kind
COLUMN = "column "  #: what `Watch.by` begins with where its periods are groups
Kind = Literal["input", "embedding", "output", "flags", "performance", "estimate"]
KINDS: tuple[str, ...] = get_args(Kind)
_NUMBERS = ("value", "low", "high", "expected_low", "expected_high", "score")


@dataclass(frozen=True)
class Figure:
    """One number that is watched.

    Attributes
    ----------
    name : what it is, as "g.mean typical", "share of spiral" or "macro_f1".
    value : in the units of what it is; NaN where there was nothing to make it from.
    low, high : 95 % interval of the value; NaN where there is none.
    expected_low, expected_high : the range in which it is expected for a batch of this size; NaN where there is none.
    kind : "input", "embedding", "output", "flags", "performance" or "estimate".
    alert : whether it left its range.
    why : in words, what left which range, or why there is no range; "" where there is nothing to say.
    score : how far out: 0 = as the reference, 1 = at the edge of the range, more = beyond; NaN without a range.
    """

    name: str
    value: float
    low: float
    high: float
    expected_low: float
    expected_high: float
    kind: Kind
    alert: bool
    why: str = ""
    score: float = math.nan

    @property
    def joint(self) -> bool:
        """Whether it is a distance over all features of its kind, which no single one of them explains."""
        return JOINT in self.name

    @property
    def relied(self) -> bool:
        """Whether the value may be relied on: an estimate whose conditions do not hold says so in `why`."""
        return self.kind != "estimate" or not self.why

    def to_json(self) -> dict[str, Any]:
        """Plain types; null where a number is not defined."""
        return {k: _number(v) if k in _NUMBERS else v for k, v in vars(self).items()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Figure:
        """Read back what `to_json` wrote; InputError for anything else."""
        with _Read("a figure"):
            if record["kind"] not in KINDS:
                raise ValueError(f"kind {record['kind']!r}")
            told = {k: math.nan if record[k] is None else float(record[k]) for k in _NUMBERS}
            return cls(
                name=str(record["name"]), kind=record["kind"], alert=bool(record["alert"]), why=str(record["why"]),
                **told,
            )  # fmt: skip


@dataclass(frozen=True)
class Period:
    """The figures of one batch, day, run of N objects or group of a column.

    `start` and `end` are the first and the last moment that was seen in it, UTC; None where the source has no times.
    `n` counts its objects, those without an answer included, `labelled` those whose label was known.
    """

    name: str
    start: datetime | None
    end: datetime | None
    n: int
    figures: tuple[Figure, ...]
    labelled: int = 0

    @property
    def alerts(self) -> tuple[Figure, ...]:
        """The figures that left their range, the farthest first."""
        return alerts_of(self.figures)

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "name": self.name, "start": stamp(self.start) if self.start else None,
            "end": stamp(self.end) if self.end else None, "n": self.n, "labelled": self.labelled,
            "figures": [f.to_json() for f in self.figures],
        }  # fmt: skip

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Period:
        """Read back what `to_json` wrote; InputError for anything else."""
        with _Read("a period"):
            start, end = (moment(record[key]) if record[key] is not None else None for key in ("start", "end"))
            figures = tuple(Figure.from_json(f) for f in record["figures"])
            return cls(str(record["name"]), start, end, int(record["n"]), figures, int(record["labelled"]))


@dataclass(frozen=True)
class Watch:
    """What `watch` found.

    Attributes
    ----------
    model : the bundle's hash.
    n : objects, those without an answer included.
    periods : in order of time, or as they came; of `by="batch"` the one.
    figures : of all objects together.
    rate : false alarms per period that were allowed, over all its tests together; of groups, over all groups together.
    by : "batch", "day", "N objects", or "column NAME" where the periods are its groups.
    reference : objects of the bundle's reference that the ranges rest on.
    labelled : objects whose label was known.
    faults : lines that could not be read, the first of them named.
    bad : how many lines could not be read.
    notes : what else the reader must know: lines of other models, a clock that went back, labels of unknown ids.
    confusion : (k, k) counts, rows are truth, of the labelled objects; () without labels.
    classes : in order of the confusion.
    """

    model: str
    n: int
    periods: tuple[Period, ...]
    figures: tuple[Figure, ...]
    rate: float
    by: str = "batch"
    reference: int = 0
    labelled: int = 0
    faults: tuple[str, ...] = ()
    bad: int = 0
    notes: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    classes: tuple[str, ...] = field(default=())

    @property
    def alerts(self) -> tuple[Figure, ...]:
        """Figures over all objects that left their range, the farthest first."""
        return alerts_of(self.figures)

    @property
    def alarmed(self) -> bool:
        """Whether anything left its range, over all objects or in a period."""
        return bool(self.alerts) or any(period.alerts for period in self.periods)

    @property
    def column(self) -> str:
        """The column whose groups the periods are; "" where they are none."""
        return self.by.removeprefix(COLUMN) if self.by.startswith(COLUMN) else ""

    def figure(self, name: str) -> Figure:
        """The figure of this name over all objects; InputError where there is none."""
        for found in self.figures:
            if found.name == name:
                return found
        raise InputError(f"no figure {name!r}", allowed=", ".join(f.name for f in self.figures[:60]))

    def to_json(self) -> dict[str, Any]:
        """Plain types, with a format number."""
        return {
            "format": FORMAT, "model": self.model, "n": self.n, "rate": self.rate, "by": self.by,
            "reference": self.reference, "labelled": self.labelled, "alarmed": self.alarmed,
            "alerts": [f.name for f in self.alerts], "figures": [f.to_json() for f in self.figures],
            "periods": [p.to_json() for p in self.periods], "faults": list(self.faults), "bad": self.bad,
            "notes": list(self.notes), "classes": list(self.classes), "confusion": [list(r) for r in self.confusion],
        }  # fmt: skip

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Watch:
        """Read back what `to_json` wrote; InputError for anything else."""
        with _Read("a watch"):
            if record["format"] != FORMAT:
                raise ValueError(f"format {record['format']!r}, known is {FORMAT}")
            return cls(
                model=str(record["model"]), n=int(record["n"]), rate=float(record["rate"]), by=str(record["by"]),
                periods=tuple(Period.from_json(p) for p in record["periods"]),
                figures=tuple(Figure.from_json(f) for f in record["figures"]),
                reference=int(record["reference"]), labelled=int(record["labelled"]), bad=int(record["bad"]),
                faults=tuple(map(str, record["faults"])), notes=tuple(map(str, record["notes"])),
                classes=tuple(map(str, record["classes"])),
                confusion=tuple(tuple(map(int, row)) for row in record["confusion"]),
            )  # fmt: skip

    def to_text(self) -> str:
        """`to_json` as text."""
        return json.dumps(self.to_json(), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def alerts_of(figures: tuple[Figure, ...]) -> tuple[Figure, ...]:
    """Those with an alert, the farthest out of its range first."""
    return tuple(sorted((f for f in figures if f.alert), key=lambda f: -f.score if f.score == f.score else 0.0))


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


class _Read:
    """Whatever is wrong with a record as an InputError."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (KeyError, TypeError, ValueError, AttributeError)):
            raise InputError(f"not {self.what} as `estampa monitor --json` writes it", got=str(error)[:120]) from error
