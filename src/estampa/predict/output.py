"""Rows of predictions as text: CSV, JSON lines, labels only; and Parquet made from JSON lines at the end."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from estampa.files import storage_errors
from estampa.plain import csv_plain, csv_safe
from estampa.predict.answers import Answers

FORMATS = {"csv": (".csv",), "jsonl": (".jsonl", ".ndjson"), "parquet": (".parquet",)}
LABELS = "labels"  #: kind of a file that holds the predictions alone
_GROUP = 65536  #: rows of a Parquet row group
_PLAIN = re.compile(r"\w(?:[\w .:/-]*\w)?|")  #: most names: neither a formula nor in need of quotes
_SPECIAL = re.compile(r'[,"\r\n]|^\s|\s$')


@dataclass(frozen=True)
class Table:
    """What the columns are: the classes in order (empty for regression) and the model's hash."""

    classes: tuple[str, ...]
    model: str

    @property
    def columns(self) -> list[str]:
        """id, predicted, p_<class>..., flags, model."""
        return ["id", "predicted", *(f"p_{name}" for name in self.classes), "flags", "model"]


class CsvRows:
    """Comma-separated rows under one header (RFC 4180, but lines end in a line feed alone)."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._classes = [_cell(name) for name in table.classes]
        self._none = "," * len(table.classes)

    def head(self) -> bytes:
        """The header."""
        return (",".join(map(_cell, self._table.columns)) + "\n").encode()

    def rows(self, answers: Answers) -> bytes:
        """The rows of a chunk."""
        predicted, numbers = _predicted(answers, self._classes), _numbers(answers)
        model, lines = self._table.model, []
        for i, name in enumerate(answers.ids.tolist()):
            values = self._none if answers.bad[i] else ",".join(["", *numbers[i]])
            lines.append(f"{_cell(name)},{predicted[i]}{values},{_cell(answers.flags[i])},{model}\n")
        return "".join(lines).encode()


class LabelRows:
    """Nothing but the predicted class (or value), one a line, in row order; an empty line for a bad row."""

    def __init__(self, table: Table) -> None:
        self._classes = [_cell(name) for name in table.classes]

    def head(self) -> bytes:
        """No header."""
        return b""

    def rows(self, answers: Answers) -> bytes:
        """The lines of a chunk."""
        return "".join(f"{p}\n" for p in _predicted(answers, self._classes)).encode()


class JsonRows:
    """JSON lines: id, predicted, probabilities by class, flags as a list, model."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._keys = [json.dumps(name, ensure_ascii=False) for name in table.classes]
        self._model = json.dumps(table.model)

    def head(self) -> bytes:
        """No header."""
        return b""

    def rows(self, answers: Answers) -> bytes:
        """The lines of a chunk."""
        predicted, numbers, lines = _predicted(answers, self._keys), _numbers(answers), []
        for i, name in enumerate(answers.ids.tolist()):
            record = f'{{"id": {json.dumps(name, ensure_ascii=False)}, "predicted": {predicted[i] or "null"}'
            if self._keys:
                pairs = ", ".join(f"{k}: {v}" for k, v in zip(self._keys, numbers[i], strict=True))
                record += ', "probabilities": ' + ("null" if answers.bad[i] else f"{{{pairs}}}")
            flags = json.dumps(answers.flags[i].split(";") if answers.flags[i] else [], ensure_ascii=False)
            lines.append(f'{record}, "flags": {flags}, "model": {self._model}}}\n')
        return "".join(lines).encode()


Rows = CsvRows | JsonRows | LabelRows


def writer_of(kind: str, table: Table, labels_only: bool) -> Rows:
    """Who writes the part file of a format; Parquet is made from JSON lines at the end."""
    if labels_only:
        return LabelRows(table)
    return CsvRows(table) if kind == "csv" else JsonRows(table)


def _cell(text: str) -> str:
    """One cell of a CSV file: safe from formulas, in quotes where needed."""
    if _PLAIN.fullmatch(text):
        return text
    text = csv_safe(text)
    return '"' + text.replace('"', '""') + '"' if _SPECIAL.search(text) else text


def _predicted(answers: Answers, names: Sequence[str]) -> list[str]:
    """Each row's prediction as text, "" for a bad row."""
    if answers.output is None:
        return ["" if bad else text for bad, text in zip(answers.bad, _texts(answers.predicted), strict=True)]
    return [names[c] if c >= 0 else "" for c in answers.predicted.tolist()]


def _numbers(answers: Answers) -> list[list[str]]:
    """Probabilities as text, a list a row."""
    if answers.output is None:
        return [[]] * len(answers.ids)
    width = answers.output.shape[1]
    flat = _texts(answers.output.reshape(-1))
    return [flat[i : i + width] for i in range(0, len(flat), width)]


def _texts(values: np.ndarray) -> list[str]:
    """Float32 numbers with the fewest digits that read back as the same number."""
    found: list[str] = values.astype(np.float32).astype(np.str_).tolist()
    return found


# ---------------------------------------------------------------------------------------------- Parquet, reading


def to_parquet(lines: Path, target: Path, table: Table) -> None:
    """Make a Parquet file with the columns of `table` from JSON lines, one row group at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    answer = pa.string() if table.classes else pa.float32()
    kinds = [pa.string(), answer, *[pa.float32()] * len(table.classes), pa.string(), pa.string()]
    schema = pa.schema(list(zip(table.columns, kinds, strict=True)))
    with storage_errors(target), parquet.ParquetWriter(target, schema, compression="zstd") as writer:
        records = json_rows(lines)
        while group := list(islice(records, _GROUP)):
            columns: list[list[Any]] = [[r["id"] for r in group], [r["predicted"] for r in group]]
            columns += [[(r["probabilities"] or {}).get(name) for r in group] for name in table.classes]
            columns += [[";".join(r["flags"]) for r in group], [r["model"] for r in group]]
            arrays = [pa.array(c, kind) for c, kind in zip(columns, kinds, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def json_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file of JSON lines."""
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


def csv_rows(text: str | TextIO, most: int | None = None) -> tuple[list[str], list[list[str]]]:
    """Header and rows (at most `most`) of a CSV file of predictions, given as text or open; formula guards taken off.

    A file is opened with newline="", so that line breaks in a cell stay what they are.
    """
    reader = csv.reader(io.StringIO(text, newline="") if isinstance(text, str) else text)
    rows = [[csv_plain(cell) for cell in row] for row in islice(reader, None if most is None else most + 1)]
    return (rows[0], rows[1:]) if rows else ([], [])


def label_rows(path: Path, most: int | None = None) -> list[str]:
    """The lines (at most `most`) that `LabelRows` wrote, formula guards taken off."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [csv_plain(row[0]) if row else "" for row in islice(csv.reader(stream), most)]


def kind_of(path: Path) -> str:
    """The format that a file's name says, "" when it says none."""
    return next((name for name, suffixes in FORMATS.items() if path.suffix.lower() in suffixes), "")
