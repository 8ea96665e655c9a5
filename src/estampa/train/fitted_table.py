"""What a training on a table leaves in memory: the estimator, its preparation, and how they came to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from estampa.errors import ContractError, nearest
from estampa.prepare.table import TablePreparation
from estampa.recipe import Recipe

Array = NDArray[Any]
#: Rows that are prepared and answered at once.
ANSWER_ROWS = 16_384
#: Probabilities are at least this before their logarithm is taken; a forest says 0 where no tree says yes.
LEAST_PROBABILITY = 1e-7


class TableSet(Protocol):
    """What learning from a table needs of a Dataset."""

    @property
    def n(self) -> int:
        """Rows."""

    @property
    def header(self) -> Any:
        """Names, roles and units of the columns."""

    @property
    def task(self) -> str:
        """Classification, regression or unlabelled."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the class numbers."""

    @property
    def labels(self) -> Array:
        """Class numbers (n,), -1 = unlabelled."""

    @property
    def groups(self) -> Array | None:
        """What must not be torn apart."""

    @property
    def content_sha256(self) -> str:
        """What the table and labels are, as one hash."""

    @property
    def table(self) -> Array | None:
        """(n, columns) raw numbers."""


@dataclass(frozen=True)
class HeldOut:
    """Answers to objects by estimators that have not learned from them: the folds' and the validation part's.

    `rows` (m,) are row numbers of the Dataset, `output` (m, classes) probabilities at temperature 1.
    """

    rows: Array
    output: Array


@dataclass
class FittedTable:
    """A fitted classifier of a table's rows, with its whole recipe.

    Attributes
    ----------
    estimator : the fitted scikit-learn classifier; it reads the preparation's float32 output.
    preparation : from raw columns to that.
    recipe : complete: the same recipe on the same data fits the same estimator without a search.
    decisions : a sentence each.
    seconds : of everything, the search included.
    stopped : why learning ended.
    parameters : numbers that the model holds (nodes of trees, weights, stored values); None where meaningless.
    classes : names in label order.
    trials : every setting that was tried: number, method, values, score, spread, folds, seconds, error.
    choice : method by method what the choice rule saw: method, values, score, difference to the best with its interval.
    held : answers to objects not learned from by the chosen setting; None without a search.
    temperature : of the log-probabilities; 1.0 until it is settled.
    """

    estimator: Any
    preparation: TablePreparation
    recipe: Recipe
    decisions: list[str]
    seconds: float
    stopped: str
    parameters: int | None
    classes: tuple[str, ...]
    trials: list[dict[str, Any]] = field(default_factory=list)
    choice: list[dict[str, Any]] = field(default_factory=list)
    held: HeldOut | None = None
    temperature: float = 1.0

    def predict(self, data: TableSet | Array, rows: Array | None = None) -> NDArray[np.float32]:
        """(n, classes) probabilities, float32, for rows of a Dataset (columns found by name) or of an array.

        An array is raw, (n, c) float64 with the columns in the preparation's order. With `prepare.invalid = "drop"` a
        row with a failed measurement is answered as if it were the median: ask `preparation.usable` which those are.
        Raises ContractError, naming it, for a missing column.
        """
        return finished(self.logits(data, rows), self.temperature)

    def logits(self, data: TableSet | Array, rows: Array | None = None) -> NDArray[np.float32]:
        """(n, classes) logarithms of the estimator's probabilities, before the temperature."""
        values = data if isinstance(data, np.ndarray) else raw_rows(data, self.preparation.columns, rows)
        if isinstance(data, np.ndarray) and rows is not None:
            values = data[np.asarray(rows)]
        parts = [np.zeros((0, len(self.classes)), np.float32)]
        for start in range(0, len(values), ANSWER_ROWS):
            features = self.preparation.transform(values[start : start + ANSWER_ROWS])
            output = np.zeros((len(features), len(self.classes)))
            output[:, np.asarray(self.estimator.classes_, np.int64)] = self.estimator.predict_proba(features)
            parts.append(np.log(np.maximum(output, LEAST_PROBABILITY)).astype(np.float32))
        return np.concatenate(parts)

    @property
    def task(self) -> str:
        """Classical models tell classes apart."""
        return "classification"

    @property
    def sigmoid(self) -> bool:
        """Probabilities of all classes sum to 1 by themselves."""
        return False

    def probabilities(self, logits: Array) -> NDArray[np.float32]:
        """(n, classes) from log-probabilities (n, classes) that the temperature has divided."""
        return finished(logits, 1.0)

    def unseen(self, data: TableSet, rows: Array) -> tuple[Array, Array, str]:
        """Logits of the validation part, `rows`, and the folds' answers to the training part after a search.

        See `calibrate.Tempered`.
        """
        logits = self.logits(data, rows)
        if self.held is None:
            return logits, rows, "validation objects"
        others = ~np.isin(self.held.rows, rows)
        folds = np.log(np.maximum(self.held.output[others], LEAST_PROBABILITY)).astype(np.float32)
        what = "objects of the validation part and of the folds, by models that had not learned from them"
        return np.concatenate([logits, folds]), np.concatenate([rows, self.held.rows[others]]), what

    def _repr_html_(self) -> str:
        counted = "" if self.parameters is None else f", {self.parameters:,} numbers"
        return (
            f"<p><b>{self.recipe.model.name}</b>{counted}, {len(self.preparation.names)} columns, "
            f"{self.seconds:.1f} s, {len(self.trials)} settings tried ({self.stopped})</p>"
        )


def finished(logits: Array, temperature: float) -> NDArray[np.float32]:
    """Probabilities (n, k) of log-probabilities at a temperature: softmax(logits / T)."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True, initial=-np.inf)
    powers = np.exp(scaled)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def raw_rows(data: TableSet, columns: Sequence[str], rows: Array | None = None) -> NDArray[np.float64]:
    """(m, c) float64: the named columns of `rows` (None = all), raw; ContractError for a missing one."""
    known = tuple(data.header.columns)
    missing = sorted(set(columns) - set(known), key=columns.index)
    if missing:
        raise ContractError(
            f"lacks the column {missing[0]!r}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""),
            where="table", allowed=", ".join(columns)[:400], got=", ".join(known)[:400],
            cure=nearest(missing[0], known),
        )  # fmt: skip
    chosen = np.arange(data.n) if rows is None else np.asarray(rows, np.int64)
    reader = getattr(data, "table_rows", None)
    table = data.table
    if reader is not None:
        values = np.asarray(reader(chosen), np.float64)
    else:
        values = np.zeros((len(chosen), 0)) if table is None else np.asarray(table[chosen], np.float64)
    place = {name: i for i, name in enumerate(known)}
    return values if tuple(columns) == known else values[:, [place[name] for name in columns]]
