"""What a model of a table was fed: its columns by name, with their units and the range of their valid values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from estampa.data.record import Header, ReadRecord
from estampa.errors import ContractError, nearest
from estampa.plain import numbered
from estampa.recipe import Record

#: A value is out of range when it lies beyond every valid training value by this share of the column's span.
MARGIN = 0.5
#: Rows scored together by a graph that keeps no rows of its own: a tree stays in the cache while many pass ...
BATCH, FEWEST = 16_384, 64
#: ... as long as they hold no more values than this.
_VALUES = 1 << 20
_SHOWN = 8  #: names that a message holds


class Column(Record):
    """One raw column. The numbers are of the valid training values; None where training had none."""

    name: Annotated[str, Field(min_length=1)]
    unit: str = ""  #: "" = not stated
    low: float | None = None  #: 0.1 % quantile
    high: float | None = None  #: 99.9 % quantile
    minimum: float | None = None
    maximum: float | None = None


class TableContract(Record):
    """What one row of input is: raw numbers of these columns, found by name, in this order.

    What the graph reads is made of them by the preparation (prepare/table.py), which travels in the bundle: `names`
    are its features, float32 without NaN.
    """

    kind: Literal["table"] = "table"
    columns: Annotated[tuple[Column, ...], Field(min_length=1)]
    names: Annotated[tuple[str, ...], Field(min_length=1)]  #: of the prepared features, in the graph's order
    invalid: Literal["impute", "drop"] = "impute"  #: a failed measurement: its median, or no answer
    batch: Annotated[int, Field(ge=1, le=1 << 20)] = BATCH  #: rows that the graph takes at once
    read: dict[str, Any]  #: ReadRecord.to_json(): how the training file was read

    @field_validator("read")
    @classmethod
    def _readable(cls, value: dict[str, Any]) -> dict[str, Any]:
        return ReadRecord.from_json(value).to_json()

    @field_validator("columns")
    @classmethod
    def _different(cls, value: tuple[Column, ...]) -> tuple[Column, ...]:
        if len({column.name for column in value}) != len(value):
            raise ValueError("two columns have the same name")
        return value

    @property
    def read_record(self) -> ReadRecord:
        """How the training file was read."""
        return ReadRecord.from_json(self.read)

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the raw columns in order."""
        return tuple(column.name for column in self.columns)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one prepared row: (features,)."""
        return (len(self.names),)

    @property
    def dtype(self) -> str:
        """Of prepared values."""
        return "float32"

    def words(self) -> str:
        """The contract in a few words: "a table of 12 columns (u, g, r, ...)"."""
        return f"a table of {numbered(len(self.columns), 'column')} ({_some(self.column_names)})"


def _some(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def batch_of(columns: int, features: int) -> int:
    """Rows that a graph takes at once, by the width of a row before and after preparation."""
    return int(np.clip(_VALUES // max(columns, features), FEWEST, BATCH))


def table_contract_of(
    header: Header, columns: Sequence[str], names: Sequence[str], values: np.ndarray, invalid: np.ndarray, **how: Any
) -> TableContract:
    """The contract of a model trained on rows of a table.

    Parameters
    ----------
    header : of the Dataset: units and read record.
    columns, names : the raw columns in order, and the prepared features.
    values, invalid : (n, columns) raw float64 of the training part, and which of them mark a failed measurement.
    how : `invalid_rule` ("impute" | "drop") and `batch`.
    """
    units = dict(zip(header.columns, header.column_units, strict=True)) if header.column_units else {}
    told = [
        Column(name=name, unit=units.get(name, ""), **own)
        for name, own in zip(columns, _ranges(np.where(invalid, np.nan, values)), strict=True)
    ]
    return TableContract(
        columns=tuple(told), names=tuple(names), invalid=how.get("invalid_rule", "impute"),
        batch=how.get("batch", BATCH), read=header.read.to_json(),
    )  # fmt: skip


def _ranges(values: np.ndarray) -> list[dict[str, float]]:
    """low, high (nearest ranks), minimum and maximum of each column's values that are not NaN; {} where all are."""
    ordered = np.sort(values, axis=0)  # NaN comes last
    last = (~np.isnan(values)).sum(axis=0) - 1
    ranks = {"low": np.rint(0.001 * last), "high": np.rint(0.999 * last), "minimum": 0 * last, "maximum": last}
    found = {
        key: np.take_along_axis(ordered, np.maximum(rank, 0).astype(np.int64)[None], axis=0)[0].tolist()
        for key, rank in ranks.items()
    }
    return [{k: found[k][i] for k in ranks} if last[i] >= 0 else {} for i in range(values.shape[1])]


def places(contract: TableContract, names: Sequence[str], units: Sequence[str], where: object) -> np.ndarray:
    """Where the contract's columns stand among `names`, (columns,) int64: order does not matter, others are left.

    `units` are those of `names`, "" or () where they are not stated. Raises ContractError, naming both sides, for a
    column that is missing and for one in another unit.
    """
    known = {name: i for i, name in enumerate(names)}
    missing = [name for name in contract.column_names if name not in known]
    if missing:
        others = f", and {numbered(len(missing) - 1, 'other')}" if len(missing) > 1 else ""
        raise ContractError(
            f"the column {missing[0]!r} that the model was fed is missing{others}", where=where,
            allowed=_some(contract.column_names), got=_some(names) or "no columns of numbers",
            cure=_but_for_case(missing[0], names)
            or nearest(missing[0], names)
            or "Hand in the columns under the names that they had in training.",
        )  # fmt: skip
    found = np.array([known[name] for name in contract.column_names], np.int64)
    for column, place in zip(contract.columns, found.tolist(), strict=True):
        theirs = units[place] if units else ""
        if column.unit and theirs and _plain(column.unit) != _plain(theirs):
            raise ContractError(
                f"the column {column.name!r} is in another unit than the model was fed", where=where,
                allowed=column.unit, got=theirs, cure="Hand it in in the unit of the training set.",
            )  # fmt: skip
    return found


def _but_for_case(name: str, names: Sequence[str]) -> str:
    """A cure that names the column that differs from `name` by case or blanks alone; "" where there is none."""
    same = [other for other in names if other.strip().casefold() == name.strip().casefold()]
    return f"Call {same[0]!r} {name!r}, as in training: case counts." if same else ""


def _plain(unit: str) -> str:
    """A unit without what people spell differently: blanks, brackets, case of its words."""
    return "".join(unit.strip("[]() \t").split()).casefold()


def out_of_range_rows(contract: TableContract, values: np.ndarray, invalid: np.ndarray) -> np.ndarray:
    """Which rows lie far from what training had, (n,) bool; they are scored all the same, and flagged.

    A valid value lies beyond every valid training value of its column by more than half of the column's span (from
    the 0.1 % to the 99.9 % quantile), or training had not one valid value there.
    """
    far = np.zeros(len(values), bool)
    for i, column in enumerate(contract.columns):
        valid, here = ~invalid[:, i], values[:, i]
        if column.minimum is None or column.maximum is None or column.low is None or column.high is None:
            far |= valid
            continue
        margin = MARGIN * (column.high - column.low)
        with np.errstate(invalid="ignore"):
            far |= valid & ((here < column.minimum - margin) | (here > column.maximum + margin))
    return far
