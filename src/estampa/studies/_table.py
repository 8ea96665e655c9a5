"""What every reproduction prints: published / as published, run here / done right / ours, in one table."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from estampa import machine, page
from estampa.errors import InputError, StorageError
from estampa.evaluate.judge import Judgement, spelled, words
from estampa.files import write_atomic
from estampa.measure import Interval
from estampa.plain import duration, table
from estampa.progress import Progress

#: The four ways of the first paragraph of every study, in order.
WAYS = ("published", "as published, run here", "done right", "ours")


@dataclass(frozen=True)
class Row:
    """One way of doing the study.

    Attributes
    ----------
    way : one of WAYS.
    how : what exactly, in a few words: split, folds, faults that are kept on purpose.
    metrics : name -> value with interval; the published ones have the interval that their n allows, or none (low and
        high equal the value).
    per_class : class -> recall, where known.
    n : objects judged; 0 = not stated.
    seconds : wall clock of training and judging; None for published rows.
    parameters : trainable parameters.
    fault : what is wrong with this way, in words; "" when nothing is.
    folder : where the run stands; "" when there is none.
    """

    way: str
    how: str
    metrics: Mapping[str, Interval]
    n: int
    per_class: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    parameters: int | None = None
    fault: str = ""
    comparable: bool = True
    folder: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        record = {**self.__dict__, "metrics": {k: v.to_json() for k, v in self.metrics.items()}}
        record["per_class"] = dict(self.per_class)
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Row:
        """Read back what `to_json` wrote."""
        return cls(**{**record, "metrics": {k: Interval.from_json(v) for k, v in record["metrics"].items()}})


def row_of(judgement: Judgement, way: str, how: str, **more: Any) -> Row:
    """A row from a judgement: accuracy, balanced accuracy, macro F1, log loss, ROC AUC and each class's recall."""
    wanted = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "roc_auc", "mse")
    return Row(
        way=way,
        how=how,
        metrics={name: judgement.metrics[name] for name in wanted if name in judgement.metrics},
        per_class={str(r["class"]): float(r["recall"].value) for r in judgement.per_class},
        n=judgement.n,
        **more,
    )


@dataclass(frozen=True)
class Reproduction:
    """A study, reproduced."""

    study: str
    data: str
    rows: list[Row]
    leading: str
    seconds: float
    folder: Path
    notes: tuple[str, ...] = ()
    command: str = ""
    shown: tuple[str, ...] = ()  #: metrics of the table; () = the leading one

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that the table shows, the leading one first."""
        return tuple(dict.fromkeys((self.leading, *self.shown)))

    def to_json(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {
            "study": self.study,
            "data": self.data,
            "leading": self.leading,
            "rows": [row.to_json() for row in self.rows],
            "notes": list(self.notes),
            "seconds": self.seconds,
            "machine": machine.describe(),
            "folder": str(self.folder),
            "report": str(self.folder / "report.html"),
        }

    def table(self) -> page.Table:
        """One row a way; the interval stands beside the value, and is drawn where there is one metric only."""
        alone = len(self.metrics) == 1
        columns = ["way", "how", *(words(m) for m in self.metrics), *(_COST if alone else ())]
        rows = [
            [r.way, r.how + ("" if r.comparable else " (other data, not comparable)"),
             *(_shown(r.metrics.get(m)) for m in self.metrics), *(_cost(r) if alone else ())]
            for r in self.rows
        ]  # fmt: skip
        caption = "Each way of the study with its 95 % interval. Rows marked as faulty are there to show the fault."
        decimals = {words(m): 4 if alone else 3 for m in self.metrics} | ({"seconds": 1} if alone else {})
        drawn = words(self.leading) if alone else ""
        return page.Table(columns, rows, caption=caption, decimals=decimals, drawn=drawn)

    def costs(self) -> page.Table:
        """Objects judged, seconds and parameters of each way."""
        rows = [[f"{r.way}, {r.how}", *_cost(r)] for r in self.rows]
        caption = "Seconds of training and judging on the machine below; parameters are trainable ones."
        return page.Table(["way", *_COST], rows, caption=caption, decimals={"seconds": 1})

    def lines(self) -> list[str]:
        """The table as text, then what is wrong with which way, then where things are."""
        cells = [
            [r.way, r.how, *(_cell(r.metrics.get(m)) for m in self.metrics), f"{r.n:,}" if r.n else "",
             "" if r.seconds is None else duration(r.seconds), "" if r.parameters is None else f"{r.parameters:,}"]
            for r in self.rows
        ]  # fmt: skip
        head = ["way", "how", *(words(m) for m in self.metrics), "n", "time", "parameters"]
        right = list(range(len(head) - 3, len(head)))
        faults = [f"{r.way}, {r.how}: {r.fault}" for r in self.rows if r.fault]
        return [
            f"{self.study} on {self.data}", "", *table(head, cells, right=right), "", *faults, *self.notes, "",
            f"report  {self.folder / 'report.html'}",
        ]  # fmt: skip

    def _repr_html_(self) -> str:
        return page.fragment(self.table())


_COST = ("n", "seconds", "parameters")


def _cost(row: Row) -> list[float | None]:
    return [row.n or None, row.seconds, row.parameters]


def _shown(found: Interval | None) -> Interval | float | None:
    """A value without an interval is shown as a number, not as an interval without width."""
    return found.value if found is not None and found.low == found.high else found


def _cell(found: Interval | None) -> str:
    """A value and its interval: "0.9123 [0.9012, 0.9201]"; alone where it has none; "" for none."""
    if found is None:
        return ""
    return f"{found.value:.4f}" if found.low == found.high else spelled(found, 4)


class Ledger:
    """Keeps each finished row on disk, so that a reproduction that was stopped goes on where it was."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder, self.progress = folder, progress
        self.rows: list[Row] = []
        folder.mkdir(parents=True, exist_ok=True)

    def bind(self, data: str) -> None:
        """Say which data the rows are of (a content hash); a folder that holds rows of other data is refused."""
        path = self.folder / "data.txt"
        if path.is_file() and path.read_text() != data:
            raise InputError("holds rows of other data", where=self.folder, cure="Choose another folder with -o.")
        write_atomic(path, data)

    def add(self, key: str, make: Callable[[], Row]) -> Row:
        """Return the row `key` as kept, or make it now, keep it, and say its figure."""
        path = self.folder / f"{key}.json"
        if path.is_file():
            try:
                row = Row.from_json(json.loads(path.read_text()))
            except (ValueError, KeyError, TypeError) as error:
                raise StorageError(
                    "is damaged", where=path, got=str(error), cure="Remove it; that row is then made again."
                ) from error
        else:
            began = time.monotonic()
            row = make()
            if row.seconds is None and row.way != WAYS[0]:
                row = Row(**{**row.__dict__, "seconds": time.monotonic() - began})
            write_atomic(path, json.dumps(row.to_json(), indent=1))
        self.rows.append(row)
        return row
