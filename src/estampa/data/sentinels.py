"""Values in catalogues that are no measurements: a documented table of them, and what a column itself gives away.

=============== =========================== ====================================================================
value           where                       what it says
=============== =========================== ====================================================================
-9999           every column                SDSS: the quantity could not be measured (Stoughton et al. 2002; CAS)
-1000           every column                SDSS: its error could not be measured
-999, -99       every column                other surveys and joined tables: no measurement
0               magnitudes                  no flux was measured; no SDSS galaxy or star is of magnitude 0
99, 99.9, ...   magnitudes and their errors SExtractor (Bertin & Arnouts 1996) and its heirs: no detection
<= 0            sizes, errors               impossible: a radius, a width or an error is more than 0
< 0 or > 1      axis ratios                 impossible: b/a lies between 0 and 1
infinite, NaN   every column                division by zero, an empty field
a spike         every column                one value far beyond all others, many times: whatever the table calls it
=============== =========================== ====================================================================

A value of this table is left alone in a column where it is plainly a measurement: where more values lie close around
it than upon it. Rules are found on the training part; they travel with the model and are applied as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

EVERYWHERE = {
    -9999.0: "SDSS writes -9999 where a quantity could not be measured",
    -1000.0: "SDSS writes -1000 where an error could not be measured",
    -999.0: "-999 stands for no measurement",
    -99.0: "-99 stands for no measurement",
}  #: value -> why, in any column
MAGNITUDES = {
    0.0: "a magnitude of exactly 0: no flux was measured",
    **dict.fromkeys((99.0, 99.9, 99.99, 99.999), "99 stands for no detection, as SExtractor writes it"),
    -99.99: "-99.99 stands for no measurement",
}  #: value -> why, in magnitudes and (but for 0) their errors
KINDS = ("equal", "at_most", "outside", "spike")
BANDS = ("u", "g", "r", "i", "z", "y", "j", "h", "k", "b", "v")
_CLOSE, _REACH = 0.01, 2.0  #: share of a sentinel, and distance at least, within which others make it a measurement
_BRIGHTEST = 5.0  #: of a column of magnitudes, fainter than which 99 in 100 are
_SPIKE, _SPIKE_SHARE = 3, 0.0005  #: equal values at an extreme that are a spike: so many, and such a share of all
_MAGNITUDE = re.compile(r"(?:\w*_)?(?:[a-z0-9]*mag|magpsf|magap|dered)(?:_?(?:[ugrizyjhkbvw]|w?[1-4]))?")
_ERROR = re.compile(r"(?:.*(?:err|error|sigma|uncertainty)(?:_?[a-z0-9])?)|(?:e_.*)")
_SIZE = re.compile(
    r"(?:.*_)?(?:petror(?:50|90|ad)|devrad|exprad|iso[ab]|fwhm|seeing|r50|r90|radius|mrrcc|psfwidth)(?:_?[ugrizy])?"
)
_RATIO = re.compile(r"(?:.*_)?(?:devab|expab|axis_?ratio|b_?a|ba|ab)(?:_[ugrizy])?")
_COLOUR = re.compile(r"(?:.*[^a-z])?[ugrizyjhkbv]\s*(?:-|_minus_|_m_)\s*[ugrizyjhkbv]")


@dataclass(frozen=True)
class Rule:
    """What marks a failed measurement in one column.

    `kind`: "equal" to one of `values`; "at_most" `values[0]`; "outside" of `values[0]` to `values[1]`; a "spike" at
    `values[0]`.
    """

    column: str
    kind: str
    values: tuple[float, ...]
    why: str

    def hits(self, column: np.ndarray) -> np.ndarray:
        """(n,) bool: which values (n,) the rule calls failed; NaN is not this rule's."""
        if self.kind == "at_most":
            return np.asarray(column <= self.values[0])
        if self.kind == "outside":
            return np.asarray((column < self.values[0]) | (column > self.values[1]))
        found = column == self.values[0]
        for value in self.values[1:]:
            found |= column == value
        return np.asarray(found)

    def words(self) -> str:
        """The rule in a few words, as a table's cell: "-9999, -1000", "<= 0", "beyond 0 to 1"."""
        numbers = [f"{value:g}" for value in self.values]
        if self.kind == "at_most":
            return f"<= {numbers[0]}"
        return f"beyond {numbers[0]} to {numbers[1]}" if self.kind == "outside" else ", ".join(numbers)

    def to_json(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {"column": self.column, "kind": self.kind, "values": list(self.values), "why": self.why}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Rule:
        """Rebuild from `to_json`; ValueError for what is no rule."""
        if set(value) != {"column", "kind", "values", "why"} or value["kind"] not in KINDS:
            raise ValueError("not a rule for invalid values")
        values = value["values"]
        numbers = isinstance(values, (list, tuple)) and all(
            isinstance(v, (int, float)) and not isinstance(v, bool) for v in values
        )
        texts = isinstance(value["column"], str) and isinstance(value["why"], str)
        if not numbers or not texts or len(values) < (2 if value["kind"] == "outside" else 1):
            raise ValueError(f"a rule for {value['column']!r} without its values")
        return cls(value["column"], value["kind"], tuple(float(v) for v in values), value["why"])


@dataclass(frozen=True)
class Tally:
    """How many values of a column one rule calls failed; a value that two rules call so is counted by the first."""

    column: str
    rule: str  #: "missing", "infinite", or the rule in words
    why: str
    count: int

    def to_json(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {"column": self.column, "rule": self.rule, "why": self.why, "count": self.count}


def rules_for(names: Sequence[str], values: np.ndarray, units: Sequence[str] = ()) -> tuple[Rule, ...]:
    """Return the rules for columns by their names and units, and by what `values` (n, columns) float64 give away.

    `units` has one for each column, "" = not stated; () = none is stated.
    """
    found: list[Rule] = []
    bands = [name for name in names if len(name.strip()) == 1]
    for i, name in enumerate(names):
        column = np.asarray(values[:, i], np.float64)
        finite = column[np.isfinite(column)]
        found += _rules_of(name, finite, units[i] if units else "", is_band(name, bands))
    return tuple(found)


def invalid(values: np.ndarray, names: Sequence[str], rules: Sequence[Rule]) -> np.ndarray:
    """Return (n, columns) bool: which of `values` (n, columns) float64 are no measurements.

    NaN and infinite values never are; the others by the rules of their columns. Rules for columns that are not among
    `names` are passed over.
    """
    return Marks.of(names, rules).invalid(values)


@dataclass(frozen=True, eq=False)
class Marks:
    """The rules of all columns at once: a single row is judged in microseconds."""

    equal: np.ndarray  #: (most, columns): values that mark a failure, filled with NaN
    at_most: np.ndarray  #: (columns,): so do values up to this; NaN = none
    low: np.ndarray  #: (columns,): and values below this; NaN = none
    high: np.ndarray  #: (columns,): and values above this

    @classmethod
    def of(cls, names: Sequence[str], rules: Sequence[Rule]) -> Marks:
        """Gather `rules` by column; those for columns that are not among `names` are passed over."""
        at = {name: i for i, name in enumerate(names)}
        equal: list[list[float]] = [[] for _ in names]
        at_most, low, high = np.full((3, len(equal)), np.nan)
        for rule in rules:
            i = at.get(rule.column)
            if i is None:
                continue
            if rule.kind == "at_most":
                at_most[i] = np.fmax(at_most[i], rule.values[0])
            elif rule.kind == "outside":
                low[i], high[i] = np.fmax(low[i], rule.values[0]), np.fmin(high[i], rule.values[1])
            else:
                equal[i] += rule.values
        most = max(map(len, equal), default=0)
        return cls(
            np.array([[*v, *[np.nan] * (most - len(v))] for v in equal]).reshape(len(equal), most).T, at_most, low, high
        )

    def invalid(self, values: np.ndarray) -> np.ndarray:
        """(n, columns) bool, of (n, columns) float64; comparisons with NaN are false."""
        bad: np.ndarray = ~np.isfinite(values)
        for marked in self.equal:
            bad |= values == marked
        bad |= values <= self.at_most
        bad |= values < self.low
        bad |= values > self.high
        return bad


def tally(values: np.ndarray, names: Sequence[str], rules: Sequence[Rule]) -> tuple[Tally, ...]:
    """Count what is invalid in `values` (n, columns) by column and rule, in the order of columns; no zeros."""
    counts: list[Tally] = []
    own: dict[str, list[Rule]] = {}
    for rule in rules:
        own.setdefault(rule.column, []).append(rule)
    for i, name in enumerate(names):
        column = values[:, i]
        seen = np.isnan(column)
        counts.append(Tally(name, "missing", "an empty field, or NaN", int(seen.sum())))
        infinite = np.isinf(column)
        counts.append(Tally(name, "infinite", "an infinite value", int(infinite.sum())))
        seen = seen | infinite
        for rule in own.get(name, ()):
            mine = rule.hits(column) & ~seen
            counts.append(Tally(name, rule.words(), rule.why, int(mine.sum())))
            seen |= mine
    return tuple(one for one in counts if one.count)


def is_band(name: str, names: Sequence[str]) -> bool:
    """Whether a column of one letter is a magnitude: among `names` are three or more of u, g, r, i, z, ..."""
    lower = {other.strip().lower() for other in names if len(other.strip()) == 1}
    return name.strip().lower() in BANDS and len(lower & set(BANDS)) >= 3


def is_magnitude(name: str, unit: str = "", *, band: bool = False) -> bool:
    """Whether a column is a magnitude by name or unit: no colour, which is a difference of two, and no error."""
    lower = name.strip().lower()
    if _COLOUR.fullmatch(lower) or is_error(name):
        return False
    return band or unit.strip().lower() in ("mag", "abmag", "mag(ab)") or bool(_MAGNITUDE.fullmatch(lower))


def is_error(name: str) -> bool:
    """Whether a column is the error of a measurement by name."""
    return bool(_ERROR.fullmatch(name.strip().lower()))


def is_size(name: str) -> bool:
    """Whether a column is a radius or a width on the sky by name."""
    return bool(_SIZE.fullmatch(name.strip().lower()))


def is_ratio(name: str) -> bool:
    """Whether a column is an axis ratio by name."""
    return bool(_RATIO.fullmatch(name.strip().lower()))


def _rules_of(name: str, finite: np.ndarray, unit: str, band: bool) -> list[Rule]:
    """Rules of one column, of which `finite` (n,) are the values that are numbers."""
    found: list[Rule] = []
    known = dict(EVERYWHERE)
    if is_error(name):
        known |= {value: why for value, why in MAGNITUDES.items() if value}
    if is_magnitude(name, unit, band=band) and _faint(finite[~np.isin(finite, list(known))]):
        known |= MAGNITUDES
    by_reason: dict[str, list[float]] = {}
    others = finite[~np.isin(finite, list(known))]
    for value, why in known.items():
        if _stands_apart(others, value, int((finite == value).sum())):
            by_reason.setdefault(why, []).append(value)
    found += [Rule(name, "equal", tuple(values), why) for why, values in by_reason.items()]
    for rule in found:
        finite = finite[~rule.hits(finite)]
    found += (sign := _sign(name, finite))
    for rule in sign:
        finite = finite[~rule.hits(finite)]
    return [*found, *_spikes(name, finite)]


def _faint(finite: np.ndarray) -> bool:
    """Whether values are those of magnitudes of what surveys measure, some sentinels among them."""
    return bool(len(finite) == 0 or np.median(finite) > _BRIGHTEST)


def _stands_apart(others: np.ndarray, value: float, upon: int) -> bool:
    """Whether no more of the `others` lie close around `value` than `upon` it."""
    reach = max(_CLOSE * abs(value), _REACH)
    return int((np.abs(others - value) <= reach).sum()) <= upon


def _sign(name: str, finite: np.ndarray) -> list[Rule]:
    """A rule against impossible signs, where the column keeps to it: most of its values do."""
    if is_size(name) or is_error(name):
        what = "a size" if is_size(name) else "an error"
        rule = Rule(name, "at_most", (0.0,), f"{what} is more than 0")
    elif is_ratio(name):
        rule = Rule(name, "outside", (0.0, 1.0), "an axis ratio lies between 0 and 1")
    else:
        return []
    return [rule] if 2 * int(rule.hits(finite).sum()) <= len(finite) else []


def _spikes(name: str, finite: np.ndarray) -> list[Rule]:
    """Rules for a value at either extreme that stands many times, farther from all others than they lie apart."""
    fewest = max(_SPIKE, _SPIKE_SHARE * len(finite))
    found = []
    for extreme in (np.min, np.max):
        if len(finite) < 2 * _SPIKE:
            break
        value = float(extreme(finite))
        upon = finite == value
        count, rest = int(upon.sum()), finite[~upon]
        if count < fewest or len(rest) <= count:
            continue
        low, high = np.percentile(rest, (1, 99))
        if high > low and np.abs(rest - value).min() > high - low:
            why = f"{count:,} of {len(finite):,} are {value:.10g}, far beyond all others"
            found.append(Rule(name, "spike", (value,), why))
            finite = rest
    return found


__all__ = [
    "EVERYWHERE", "KINDS", "MAGNITUDES", "Marks", "Rule", "Tally", "invalid", "is_band", "is_error", "is_magnitude",
    "is_ratio", "is_size", "rules_for", "tally",
]  # fmt: skip
