"""Answers that came from elsewhere: a file of predictions beside a file of labels."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from estampa import machine, measure
from estampa.errors import InputError, SourceError, nearest
from estampa.evaluate.judge import Judgement, judge
from estampa.evaluate.operating import Terms
from estampa.evaluate.slices import USUAL, Column, read_by
from estampa.evaluate.terms import AUTO, Asked
from estampa.plain import csv_plain

_LABEL_NAMES = ("label", "labels", "class", "truth", "target", "y")
_PREDICTED_NAMES = ("predicted", "prediction", "label", "class", "y")
_PREFIX = "p_"
_MOST_NAMED = 5


def judge_files(
    predictions: Path | str,
    labels: Path | str,
    *,
    task: str = "",
    classes: Sequence[str] = (),
    group: str = "",
    resamples: int = 1000,
    seed: int = 0,
    asked: Asked | None = None,
) -> Judgement:
    """Judge a file of predictions against a file of labels, joined by `id`.

    Parameters
    ----------
    predictions : .csv, .jsonl or .parquet with columns `id`, `predicted` and, where there are probabilities,
        `p_<class>` for every class; the order of these columns declares the order of the classes. Without
        `predicted`, the class of the largest probability counts.
    labels : the same kinds of file with columns `id` and `label` (or class, truth, target, y), or a Dataset (.h5).
    task : "classification" or "regression"; "" = regression where there are no probabilities
        and some truth is not whole.
    classes : the classes in order, where the files do not declare them; "" = sorted names.
    group : column of `labels` that the bootstrap must not tear apart.
    asked : the threshold, prior and columns of `labels` to slice by; an aim needs `outside_pair.judge_pair`.

    Raises InputError that names ids missing from either file, ids that occur twice, rows without an answer, names
    that are no class.
    """
    files = Files(Path(predictions), Path(labels), task=task, classes=tuple(classes), group=group)
    asked = asked or Asked()
    return read_files(files, asked.by).judged(asked.terms(), resamples, seed)


@dataclass(frozen=True)
class Files:
    """Where answers and truths are.

    Attributes
    ----------
    predictions : as in `judge_files`. labels : likewise; None = the truth stands in `predictions`, as a column `label`,
        where ids may lack: rows then are numbered from 1.
    score : column of `predictions` that is the probability of the second of two classes, instead of `p_<class>`.
    task, classes, group : as in `judge_files`.
    """

    predictions: Path
    labels: Path | None = None
    score: str = ""
    task: str = ""
    classes: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Foreign:
    """Answers read from files, beside the truth: arrays over n objects in the order of the labels.

    `predicted` is (n,) class numbers where the file's own answers are not the more probable classes, else None.
    """

    ids: list[str]
    truth: np.ndarray
    output: np.ndarray
    task: str
    classes: tuple[str, ...] = ()
    predicted: np.ndarray | None = None
    groups: np.ndarray | None = None
    columns: tuple[Column, ...] = ()
    numbered: bool = False  #: the file has no ids, these are row numbers

    def judged(self, terms: Terms, resamples: int = 1000, seed: int = 0) -> Judgement:
        """Judge them; a decision in `terms` goes before the answers of the file."""
        said = self.predicted if terms.decision is None else None
        terms = replace(terms, predicted=said, by=self.columns)
        return judge(
            self.truth, self.output, task=self.task, classes=self.classes, groups=self.groups, resamples=resamples,
            seed=seed, terms=terms,
        )  # fmt: skip

    def answers(self, decision: float | None) -> np.ndarray:
        """(n,) class numbers answered."""
        if decision is None and self.predicted is not None:
            return self.predicted
        return measure.decide(self.output, decision) if self.output.ndim == 2 else self.output


def read_files(files: Files, by: Sequence[str] = ()) -> Foreign:
    """Read answers and truths, joined by id; `by` as in `Asked`, columns of the labels. Raises as `judge_files`."""
    predictions, labels = files.predictions, files.labels or files.predictions
    told, head = _by_id(predictions, numbered=files.labels is None)
    truth, groups, known, table = labels_of(labels, files.group, told if files.labels is None else None)
    _require_same(told, truth, predictions, labels)
    ids = list(truth)
    columns = [c for c in head if c.startswith(_PREFIX)] if not files.score else []
    task = files.task or _task(truth, bool(columns or files.score))
    shared: dict[str, Any] = {
        "ids": ids,
        "task": task,
        "groups": _column(groups, ids),
        "columns": _slicers(table, ids, by, labels),
        "numbered": "id" not in head,
    }
    if task == "regression":
        answers = [_answer(told[i], head, predictions, i) for i in ids]
        wanted = _numbers([truth[i] for i in ids], ids, labels)
        return Foreign(truth=wanted, output=_numbers(answers, ids, predictions), **shared)
    stated = tuple(c.removeprefix(_PREFIX) for c in columns)
    names = _classes(files.classes, stated, known, (truth, {} if files.score else told, head))
    place = {name: c for c, name in enumerate(names)}
    wanted = np.array([class_number(truth[i], place, labels, i) for i in ids])
    shared |= {"truth": wanted, "classes": names}
    if files.score:
        return Foreign(output=_scores(told, head, files, names, ids), **shared)
    given = any(c in head for c in _PREDICTED_NAMES[:2])
    said = None
    if given or not columns:
        answers = [_answer(told[i], head, predictions, i) for i in ids]
        said = np.array([class_number(a, place, predictions, i) for a, i in zip(answers, ids, strict=True)])
    if not columns:
        return Foreign(output=np.asarray(said), **shared)
    order = [f"{_PREFIX}{name}" for name in names]
    output = np.stack([_numbers([told[i][c] for i in ids], ids, predictions) for c in order], axis=1)
    own = said if said is not None and (said != output.argmax(axis=1)).any() else None
    return Foreign(output=output, predicted=own, **shared)


def _scores(
    told: Mapping[str, Mapping[str, Any]], head: Sequence[str], files: Files, names: Sequence[str], ids: Sequence[str]
) -> np.ndarray:
    """(n, 2) probabilities from one column of scores."""
    if files.score not in head:
        raise SourceError(
            f"has no column {files.score!r}", where=files.predictions, got=", ".join(head),
            cure=nearest(files.score, head),
        )  # fmt: skip
    if len(names) != 2:
        raise InputError("a column of scores is of two classes", where=files.predictions, got=", ".join(names[:8]))
    values = _numbers([told[i][files.score] for i in ids], ids, files.predictions)
    wrong = np.flatnonzero((values < 0) | (values > 1))
    if len(wrong):
        raise InputError(
            f"scores are probabilities of {names[1]!r}", where=f"{files.predictions}, column {files.score}",
            allowed="0 to 1", got=f"{values[wrong[0]]:g} at id {ids[wrong[0]]}",
        )  # fmt: skip
    return np.stack([1 - values, values], axis=1)


def _slicers(
    table: Mapping[str, Mapping[str, Any]], ids: Sequence[str], by: Sequence[str], path: Path
) -> tuple[Column, ...]:
    """The columns to slice by: of numbers where every cell that is not empty is one, else of texts."""
    wanted = [read_by(text) for text in by if text != AUTO]
    if AUTO in by:
        wanted += [(name, ()) for name in USUAL if name in table and name not in [n for n, _ in wanted]]
    found = []
    for name, edges in wanted:
        if name not in table:
            raise SourceError(
                f"has no column {name!r}", where=path, allowed=", ".join(table) or "none to slice by",
                cure=nearest(name, table),
            )  # fmt: skip
        cells = [table[name][i] for i in ids]
        numbers = [math.nan if c in ("", None) else _as_number(c) for c in cells]
        values = np.array([str(c) if c is not None else "" for c in cells])
        if None not in numbers:
            values = np.array(numbers, np.float64)
        found.append(Column(name, values, edges))
    return tuple(found)


def _rows(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and rows of a .csv, .jsonl or .parquet file."""
    if not path.is_file():
        raise SourceError("there is no such file", where=path)
    try:
        if path.suffix == ".parquet":
            machine.require("tables", "pyarrow", needed_for=f"reading {path.name}")
            from pyarrow import parquet

            table = parquet.read_table(path)
            return list(table.column_names), table.to_pylist()
        if path.suffix in (".jsonl", ".ndjson"):
            rows = [_flat(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            return list(dict.fromkeys(k for row in rows for k in row)), rows
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            head = list(reader.fieldnames or ())
            return head, [_unguarded(row) for row in reader] if _is_ours(head) else list(reader)
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError, ValueError) as error:
        raise SourceError("cannot be read as a table", where=path, got=str(error)) from error


def _is_ours(head: Sequence[str]) -> bool:
    """Whether a CSV file has the columns that `estampa predict` writes."""
    inner = head[2:-2]
    ends = list(head[:2]) == ["id", "predicted"] and list(head[-2:]) == ["flags", "model"]
    return ends and all(c.startswith(_PREFIX) for c in inner)


def _unguarded(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `estampa predict` without the guards that it puts before what a spreadsheet would run."""
    return {k: csv_plain(v) if isinstance(v, str) else v for k, v in row.items()}


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A JSON line of `predict` with its probabilities as columns."""
    chances = row.pop("probabilities", None) or {}
    return row | {f"{_PREFIX}{name}": value for name, value in chances.items()}


def _by_id(path: Path, *, numbered: bool = False) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Rows by id, and the file's columns; `numbered`: rows without an id are numbered from 1."""
    head, rows = _rows(path)
    if numbered and "id" not in head:
        rows = [row | {"id": number} for number, row in enumerate(rows, 1)]
    elif "id" not in head:
        raise SourceError("has no column 'id'", where=path, got=", ".join(head), cure="Predictions are joined by id.")
    found: dict[str, dict[str, Any]] = {}
    twice = []
    for number, row in enumerate(rows, 2):
        if None in row or (path.suffix == ".csv" and None in row.values()):
            raise SourceError("a line has another number of cells than the first", where=f"{path}, line {number}")
        name = str(row["id"])
        if name in found:
            twice.append(name)
        found[name] = row
    if twice:
        raise InputError(f"{len(twice)} ids occur twice", where=path, got=_named(twice))
    if not found:
        raise SourceError("has no rows", where=path)
    return found, head


def labels_of(
    path: Path, group: str, given: dict[str, dict[str, Any]] | None = None
) -> tuple[dict[str, Any], dict[str, Any] | None, tuple[str, ...], dict[str, dict[str, Any]]]:
    """Truth by id, groups by id (or None), the classes where the file declares their order, other columns by id.

    `given`: the file's rows by id, where they have been read.
    """
    if path.suffix in (".h5", ".hdf5"):
        return _labels_of_dataset(path)
    rows = given or _by_id(path)[0]
    head = list(next(iter(rows.values())))
    column = next((c for c in _LABEL_NAMES if c in head), "")
    if not column:
        raise SourceError("has no column of labels", where=path, allowed=", ".join(_LABEL_NAMES), got=", ".join(head))
    if group and group not in head:
        raise SourceError(f"has no column {group!r}", where=path, got=", ".join(head), cure=nearest(group, head))
    groups = {i: row[group] for i, row in rows.items()} if group else None
    table = {c: {i: row[c] for i, row in rows.items()} for c in head if c not in ("id", column)}
    return {i: row[column] for i, row in rows.items()}, groups, (), table


def _labels_of_dataset(
    path: Path,
) -> tuple[dict[str, Any], dict[str, Any] | None, tuple[str, ...], dict[str, dict[str, Any]]]:
    """As `labels_of`, from a Dataset file."""
    from estampa.data.dataset import Dataset

    with Dataset.open(path) as data:
        kept = np.flatnonzero(data.labelled())
        ids, values = np.asarray(data.ids)[kept].tolist(), np.asarray(data.labels)[kept]
        told = [data.classes[int(v)] for v in values] if data.classes else values.tolist()
        own = None if data.groups is None else dict(zip(ids, np.asarray(data.groups)[kept], strict=True))
        names = data.header.columns if data.table is not None else ()
        table = {name: dict(zip(ids, data.column(name)[kept].tolist(), strict=True)) for name in names}
        return dict(zip(ids, told, strict=True)), own, tuple(data.classes), table


def _require_same(told: Mapping[str, Any], truth: Mapping[str, Any], predictions: Path, labels: Path) -> None:
    missing, extra = [i for i in truth if i not in told], [i for i in told if i not in truth]
    faults = []
    if missing:
        faults.append(f"{len(missing)} ids of {labels.name} have no prediction: {_named(missing)}")
    if extra:
        faults.append(f"{len(extra)} ids have no label in {labels.name}: {_named(extra)}")
    if faults:
        raise InputError("; ".join(faults), where=predictions, cure="Both files must hold the same ids.")


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else ""
    return ", ".join(ids[:_MOST_NAMED]) + more


def _answer(row: Mapping[str, Any], head: Sequence[str], path: Path, name: str) -> Any:
    column = next((c for c in _PREDICTED_NAMES if c in head), "")
    if not column:
        raise SourceError("has no column 'predicted'", where=path, got=", ".join(head))
    if row[column] in ("", None):
        reason = f" ({row['flags']})" if row.get("flags") else ""
        raise InputError(f"has no answer for id {name!r}{reason}", where=path, cure="Leave it out of the labels too.")
    return row[column]


def _task(truth: Mapping[str, Any], probabilities: bool) -> str:
    numbers = [_as_number(v) for v in truth.values()]
    fractional = all(v is not None for v in numbers) and any(v != math.floor(v) for v in numbers if v is not None)
    return "regression" if fractional and not probabilities else "classification"


def _as_number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _numbers(values: Sequence[Any], ids: Sequence[str], path: Path) -> np.ndarray:
    found = [_as_number(v) for v in values]
    for name, number, value in zip(ids, found, values, strict=True):
        if number is None:
            raise InputError("holds something that is no finite number", where=f"{path}, id {name}", got=repr(value))
    return np.array(found, np.float64)


def _classes(
    given: tuple[str, ...],
    columns: tuple[str, ...],
    known: tuple[str, ...],
    files: tuple[Mapping[str, Any], Mapping[str, Mapping[str, Any]], Sequence[str]],
) -> tuple[str, ...]:
    """The classes in order: given, as the columns of probabilities stand, as the Dataset declares, or sorted."""
    if columns:
        lacking = set(given or known) ^ set(columns)
        if (given or known) and lacking:
            raise InputError(
                "probabilities and classes do not match",
                allowed=", ".join(given or known),
                got=", ".join(columns),
                cure=f"One column p_<class> for each class: {', '.join(sorted(lacking))}.",
            )
        return given or columns
    if given or known:
        return given or known
    truth, told, head = files
    column = next((c for c in _PREDICTED_NAMES if c in head), "")
    names = {str(v) for v in truth.values()} | {
        str(row[column]) for row in told.values() if column and row[column] != ""
    }
    numbers = {n: _as_number(n) for n in names}
    if all(v is not None for v in numbers.values()):
        return tuple(sorted(names, key=lambda n: numbers[n] or 0.0))
    return tuple(sorted(names))


def class_number(value: Any, place: Mapping[str, int], path: Path, name: str) -> int:
    """The number of a class by its name; InputError, with the nearest name, for another."""
    if str(value) not in place:
        raise InputError(
            f"{str(value)!r} is no class",
            where=f"{path}, id {name}",
            allowed=", ".join(list(place)[:20]),
            cure=nearest(str(value), place),
        )
    return place[str(value)]


def _column(groups: Mapping[str, Any] | None, ids: Sequence[str]) -> np.ndarray | None:
    return None if groups is None else np.array([str(groups[i]) for i in ids])
