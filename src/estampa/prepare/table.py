"""From a table's raw columns to what a classical model reads: failed measurements, derived columns, scale.

Fitted on the training part only, numpy alone, and the same code when the model is fitted and when it answers: the
estimator, and the graph that the bundle holds, see nothing but its float32 output, in which every value is finite.

In order: values that mark a failed measurement become missing, by the rules of `data/sentinels.py` that were drawn up
from the training part; measurements are derived (`prepare/derived.py`); what is missing takes the median of its column,
and, with `invalid="impute"`, one more column `missing:NAME` per raw column that has failed in training says where;
columns that tell nothing (all failed, or constant) are left out; of the others the median is taken off, the robust
deviation divided by, and the arcsinh taken, which leaves values within a deviation nearly as they are and makes those
far out logarithmic, so that no single wild value rules a distance or a sum. Trees ask the same questions either way.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estampa.data import sentinels
from estampa.errors import BundleError, ContractError, DatasetError, InputError
from estampa.prepare.derived import Derived, compute, found_in

Array = NDArray[Any]
FORMAT = 1
#: Names of the fitted arrays: what `prepare.safetensors` holds.
STATE = ("fill", "offset", "factor", "kept", "flagged")
#: The distance of the quartiles of a normal distribution, in standard deviations.
QUARTILES = 1.3489795003921634
MISSING = "missing:"
_LARGEST, _WIDEST = float(np.finfo(np.float32).max), float(np.finfo(np.float64).max)


@dataclass(frozen=True, eq=False)
class TablePreparation:
    """The fitted rule from raw columns (n, c) to features (n, k) float32 without NaN. Make one with `fit`.

    Attributes
    ----------
    columns : names of the raw columns, in the order in which `transform` reads them.
    names : names of the prepared features, in the order in which the model reads them.
    how : what happens to failed measurements: "impute", or "drop" (the caller leaves such rows out; see `invalid`).
    scaled : whether features are centred, scaled and compressed: arcsinh((x - offset) * factor).
    rules : what marks a failed measurement (`data/sentinels.py`).
    made : the derived columns.
    fill : (m,) medians of the raw and derived columns, in their units: what a missing value becomes.
    offset, factor : (m,) the scale of the same.
    kept : (j,) which of those m columns are features.
    flagged : (f,) which raw columns have a `missing:` feature.
    """

    columns: tuple[str, ...]
    names: tuple[str, ...]
    how: str
    scaled: bool
    rules: tuple[sentinels.Rule, ...]
    made: tuple[Derived, ...]
    fill: Array
    offset: Array
    factor: Array
    kept: Array
    flagged: Array

    @classmethod
    def fit(
        cls,
        values: Array,
        columns: Sequence[str],
        *,
        units: Sequence[str] = (),
        invalid: str = "impute",
        derive: bool = True,
        scale: bool = True,
    ) -> TablePreparation:
        """Learn the rule from the training part.

        Parameters
        ----------
        values : (n, c) float64, raw, as in the file; NaN = empty.
        columns : (c) names.
        units : (c) units as the file has them, or ().
        invalid : "impute": medians and `missing:` columns; "drop": rows with a failed measurement are not learned from.
        derive : add the measurements of `prepare/derived.py`.
        scale : centre, scale and compress; without it features are in the units of the file.

        Raises DatasetError when no row or no column is left to learn from, InputError for wrong arguments.
        """
        if invalid not in ("impute", "drop"):
            raise InputError("unknown value", where="prepare.invalid", allowed="impute, drop", got=repr(invalid))
        names = tuple(columns)
        values = _checked(values, names)
        rules = sentinels.rules_for(names, values, tuple(units))
        bad = sentinels.invalid(values, names, rules)
        if invalid == "drop":
            whole = ~bad[:, ~bad.all(axis=0)].any(axis=1)
            values, bad = values[whole], bad[whole]
        if not len(values):
            raise DatasetError(
                "every row has a failed measurement", where="table",
                cure='Use prepare.invalid = "impute", or leave the failing columns out with data.without.',
            )  # fmt: skip
        made = found_in(names) if derive else ()
        full = _joined(values, bad, names, made)
        fill, offset, factor = _statistics(full)
        kept = np.flatnonzero((factor > 0) & _telling(full))
        if not len(kept):
            raise DatasetError(
                "no column varies: there is nothing to learn from", where="table",
                got=f"{len(values):,} rows" + " without a failed measurement" * (invalid == "drop"),
                cure='Use prepare.invalid = "impute", or leave the failing columns out with data.without.'
                if invalid == "drop" else "Hand in columns that differ between objects.",
            )  # fmt: skip
        failed = bad.sum(axis=0)
        flagged = np.flatnonzero((failed > 0) & (failed < len(bad))) if invalid == "impute" else np.zeros(0, np.int64)
        every = (*names, *(item.name for item in made))
        prepared = (*(every[i] for i in kept), *(f"{MISSING}{names[i]}" for i in flagged))
        if not scale:
            offset, factor = np.zeros_like(offset), np.ones_like(factor)
        return cls(
            names, prepared, invalid, scale, rules, made, fill, offset, factor,
            kept.astype(np.int64), flagged.astype(np.int64),
        )  # fmt: skip

    def transform(self, values: Array) -> NDArray[np.float32]:
        """(n, k) float32, every value finite, from raw (n, c) float64 in the order of `columns`."""
        values = _checked(values, self.columns)
        bad = self._marks.invalid(values)
        full = _joined(values, bad, self.columns, self.made)[:, self.kept]
        full = np.where(np.isnan(full), self.fill[self.kept], full)
        with np.errstate(over="ignore"):  # what overflows is as far out as can be
            full = np.clip((full - self.offset[self.kept]) * self.factor[self.kept], -_WIDEST, _WIDEST)
        full = np.arcsinh(full) if self.scaled else np.clip(full, -_LARGEST, _LARGEST)
        return np.hstack([full, bad[:, self.flagged]]).astype(np.float32)

    def invalid(self, values: Array) -> NDArray[np.bool_]:
        """(n, c): which raw values mark a failed or missing measurement, by the rules found in training."""
        return self._marks.invalid(_checked(values, self.columns))

    @cached_property
    def _marks(self) -> sentinels.Marks:
        return sentinels.Marks.of(self.columns, self.rules)

    def usable(self, values: Array) -> NDArray[np.bool_]:
        """(n,): the rows that can be learned from and answered; all of them with "impute".

        With "drop" those in which no column that the model reads, or derives from, has failed.
        """
        if self.how == "impute":
            return np.ones(len(values), bool)
        needed = self.needed
        read = [i for i, name in enumerate(self.columns) if name in needed]
        return np.asarray(~self.invalid(values)[:, read].any(axis=1))

    def unanswered(self, values: Array) -> NDArray[np.bool_]:
        """(n,): raw rows (n, columns) that get no answer: those without one valid value, which would be answered from
        medians alone, and those that are not `usable`.
        """
        return np.asarray(self.invalid(values).all(axis=1) | ~self.usable(values))

    @property
    def needed(self) -> frozenset[str]:
        """The raw columns that some feature rests on."""
        every = [(name,) for name in self.columns] + [item.inputs for item in self.made]
        flags = [self.columns[i] for i in self.flagged]
        return frozenset(name for i in self.kept for name in every[i]).union(flags)

    def in_units(self, feature: int, value: float) -> float:
        """A prepared value of feature number `feature` in the column's own unit, as 15.2 mag; flags stay 0 to 1."""
        return float(self.restored(feature, np.array([value]))[0])

    def restored(self, feature: int, values: Array) -> NDArray[np.float64]:
        """Prepared values (n,) of feature number `feature` in the column's own unit; what had failed is the median."""
        plain = np.asarray(values, np.float64)
        if feature >= len(self.kept):
            return plain
        place = self.kept[feature]
        plain = np.sinh(plain) if self.scaled else plain
        return np.asarray(plain / self.factor[place] + self.offset[place])

    def formula(self, feature: int) -> str:
        """How feature number `feature` is had: "" for a raw column, "mag_u - mag_g" for a derived one."""
        if feature >= len(self.kept):
            return f"1 where {self.names[feature].removeprefix(MISSING)} has failed"
        place = int(self.kept[feature]) - len(self.columns)
        return "" if place < 0 else self.made[place].formula

    def inputs(self, feature: int) -> tuple[str, ...]:
        """The raw columns behind feature number `feature`."""
        if feature >= len(self.kept):
            return (self.names[feature].removeprefix(MISSING),)
        place = int(self.kept[feature])
        return (self.columns[place],) if place < len(self.columns) else self.made[place - len(self.columns)].inputs

    # ------------------------------------------------------------------------------------------ kept

    def state(self) -> dict[str, Array]:
        """The fitted arrays by name, as in `STATE`."""
        return {name: getattr(self, name) for name in STATE}

    def record(self) -> dict[str, Any]:
        """Everything else, plain types ready for JSON."""
        return {
            "format": FORMAT, "columns": list(self.columns), "names": list(self.names), "how": self.how,
            "scaled": self.scaled, "rules": [rule.to_json() for rule in self.rules],
            "made": [item.to_json() for item in self.made],
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: Mapping[str, Array], record: Mapping[str, Any]) -> TablePreparation:
        """Read back what `state` and `record` gave; BundleError when the two do not fit together."""
        try:
            if record["format"] != FORMAT:
                raise BundleError("a newer preparation of tables", allowed=f"format {FORMAT}", got=record["format"])
            columns, names = tuple(record["columns"]), tuple(record["names"])
            rules = tuple(sentinels.Rule.from_json(rule) for rule in record["rules"])
            made = tuple(Derived.from_json(item) for item in record["made"])
            arrays = {name: np.asarray(state[name]) for name in STATE}
            loaded = cls(columns, names, str(record["how"]), bool(record["scaled"]), rules, made, **arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError("the preparation of the table is damaged", got=repr(error)[:120]) from error
        loaded._require_whole()
        return loaded

    def _require_whole(self) -> None:
        """BundleError unless the arrays fit the names, so that `transform` cannot go astray."""
        count, known = len(self.columns) + len(self.made), set(self.columns)
        fits = all(a.shape == (count,) and a.dtype == np.float64 for a in (self.fill, self.offset, self.factor))
        fits = fits and all(np.isfinite(a).all() for a in (self.fill, self.offset, self.factor))
        for places, most in ((self.kept, count), (self.flagged, len(self.columns))):
            fits = fits and places.ndim == 1 and places.dtype == np.int64
            fits = fits and bool(((places >= 0) & (places < most)).all())
        fits = fits and len(self.names) == len(self.kept) + len(self.flagged) and self.how in ("impute", "drop")
        if not fits or not all(set(item.inputs) <= known for item in self.made):
            raise BundleError("the preparation of the table contradicts itself", where="prepare.safetensors")


def _checked(values: Array, columns: tuple[str, ...]) -> NDArray[np.float64]:
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or values.shape[1] != len(columns):
        raise ContractError(
            "the table has another shape", where="table", allowed=f"(n, {len(columns)})", got=str(values.shape),
            cure="Give the model's columns, in its order.",
        )  # fmt: skip
    return values


def _joined(values: Array, bad: Array, columns: tuple[str, ...], made: tuple[Derived, ...]) -> NDArray[np.float64]:
    """Raw and derived columns side by side, NaN where a measurement failed."""
    clean = np.where(bad, np.nan, values)
    return np.hstack([clean, compute(clean, columns, made)]) if made else clean


def _statistics(full: Array) -> tuple[Array, Array, Array]:
    """Median, offset and factor of each column; factor 0 for one that does not vary."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column of NaN only: its median becomes 0, its factor 0
        low, middle, high = np.nanquantile(full, (0.25, 0.5, 0.75), axis=0)
        spread = np.nanstd(full, axis=0)
    robust = (high - low) / QUARTILES
    width = np.where((robust > 1e-3 * spread) | ~np.isfinite(spread), robust, spread)
    usable = np.isfinite(width) & (width > 0)
    factor = np.where(usable, 1.0 / np.where(usable, width, 1.0), 0.0)
    return np.nan_to_num(middle), np.nan_to_num(middle), np.nan_to_num(factor, posinf=0.0)


def _telling(full: Array) -> Array:
    """Columns with two different values at least."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmax(full, axis=0, initial=-np.inf) > np.nanmin(full, axis=0, initial=np.inf))
