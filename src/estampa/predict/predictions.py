"""The result of a run, in memory or in its file."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from estampa.errors import SourceError
from estampa.files import require_writable, write_atomic
from estampa.plain import csv_plain
from estampa.predict.answers import INVALID, UNREADABLE, Answers
from estampa.predict.output import LABELS, Table, csv_rows, json_rows, kind_of, label_rows, writer_of

_TOLD = 6  #: reasons in a line
_SHOWN = 20  #: rows in a notebook
_BATCH = 65_536  #: rows of a Parquet file read together


class Predictions:
    """Answers to n rows, in their order.

    Attributes
    ----------
    ids : (n,) str.
    predicted : (n,) class names, "" for a bad row; regression: (n,) float32, NaN for a bad row.
    probabilities : (n, classes) float32, NaN for a bad row; None for regression.
    flags : (n,) str, texts joined by ";".
    model : the bundle's hash.
    classes : names in column order; empty for regression.
    n, bad : rows, and how many of them have no answer.
    counts : how often each flag stands.
    failed : of rows with the flag `invalid`, how often for each reason: a column, or "no valid value".
    path : the file they were written to; its rows are read when they are first asked for.
    kind : how that file was written: "csv", "jsonl", "parquet" or "labels" (of these only `predicted` can be read).
    """

    def __init__(
        self,
        table: Table,
        counts: Counter[str],
        *,
        answers: Answers | None = None,
        path: Path | None = None,
        kind: str = "csv",
    ) -> None:
        self.model, self.classes, self.path, self.kind = table.model, table.classes, path, kind
        self.n, self.bad = counts["rows"], counts["bad"]
        self.counts = {k.removeprefix("flag:"): v for k, v in sorted(counts.items()) if k.startswith("flag:")}
        self.failed = {k.removeprefix("failed:"): v for k, v in sorted(counts.items()) if k.startswith("failed:")}
        self._given = answers

    @cached_property
    def _answers(self) -> Answers:
        if self._given is not None:
            return self._given
        return self._file(None)

    def _file(self, most: int | None) -> Answers:
        """The file's rows, at most `most`."""
        assert self.path is not None
        if self.kind == LABELS:
            raise SourceError(
                "holds the predictions alone: no ids, probabilities or flags", where=self.path,
                cure="Predict without labels_only.",
            )  # fmt: skip
        return _read(self.path, self.kind, self.classes, most)[1]

    @property
    def ids(self) -> np.ndarray:
        """(n,) str."""
        return self._answers.ids

    @property
    def predicted(self) -> np.ndarray:
        """(n,) class names, "" for a bad row; regression: float32, NaN for a bad row."""
        if self._given is None and self.kind == LABELS:
            return self._labels
        if not self.classes:
            return self._answers.predicted
        names: np.ndarray = np.array([*self.classes, ""], dtype=np.str_)[self._answers.predicted]
        return names

    @cached_property
    def _labels(self) -> np.ndarray:
        assert self.path is not None
        lines = label_rows(self.path)
        return np.array(lines, np.str_) if self.classes else np.array([a or "nan" for a in lines], np.float32)

    @property
    def probabilities(self) -> np.ndarray | None:
        """(n, classes) float32, NaN for a bad row; None for regression."""
        output = self._answers.output
        return None if output is None else np.where(self._answers.bad[:, None], np.float32(np.nan), output)

    @property
    def flags(self) -> np.ndarray:
        """(n,) str, texts joined by ";"."""
        return np.array(self._answers.flags, dtype=np.str_)

    def to_csv(self, path: Path | str | None = None) -> str:
        """The table as CSV text, which is also written to `path` when one is given."""
        text = self.to_text()
        if path is not None:
            require_writable(Path(path))
            write_atomic(Path(path), text)
        return text

    def to_text(self, format: str = "csv", *, labels_only: bool = False) -> str:
        """The table as text: "csv" or "jsonl", or the labels alone."""
        writer = writer_of(format, Table(self.classes, self.model), labels_only)
        return (writer.head() + writer.rows(self._answers)).decode()

    def flag_words(self) -> str:
        """The flags with their counts: "9 invalid (no valid value: 8, petroR50: 1), 14 out_of_range", or "none"."""
        often = sorted(self.failed.items(), key=lambda pair: -pair[1])
        why = ", ".join([*(f"{name}: {count:,}" for name, count in often[:_TOLD]), *["..."][: len(often) > _TOLD]])
        said = {name: f" ({why})" if name == INVALID else "" for name in self.counts}
        return ", ".join(f"{count:,} {name}{said[name]}" for name, count in self.counts.items()) or "none"

    def summary(self) -> dict[str, Any]:
        """Plain types, ready for JSON: n, bad, flags, failed, model, classes, output."""
        return {
            "n": self.n, "bad": self.bad, "flags": self.counts, "failed": self.failed, "model": self.model,
            "classes": list(self.classes), "output": str(self.path) if self.path else None,
        }  # fmt: skip

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        where = f", {self.path}" if self.path else ""
        return f"Predictions({self.n:,} rows, {self.bad:,} bad, model {self.model}{where})"

    def _repr_html_(self) -> str:
        head, rows = self._first()
        tops = "".join(f"<th>{escape(c)}</th>" for c in head)
        body = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in r) + "</tr>" for r in rows)
        more = f"<p>{self.n - _SHOWN:,} rows more</p>" if self.n > _SHOWN else ""
        return f"<p>{escape(repr(self))}</p><table><tr>{tops}</tr>{body}</table>{more}"

    def _first(self) -> tuple[list[str], list[list[str]]]:
        """Columns and the first rows as text; of a file no more is read than these."""
        if self._given is None and self.kind == LABELS:
            assert self.path is not None
            return ["predicted"], [[line] for line in label_rows(self.path, _SHOWN)]
        found = self._file(_SHOWN) if self._given is None else self._given
        part = slice(0, _SHOWN)
        output = None if found.output is None else found.output[part]
        few = Answers(found.ids[part], found.predicted[part], output, found.flags[part], found.bad[part])
        writer = writer_of("csv", Table(self.classes, self.model), False)
        return csv_rows((writer.head() + writer.rows(few)).decode())


def read_predictions(path: Path | str) -> Predictions:
    """Read a file that `predict` wrote (.csv, .jsonl, .ndjson or .parquet); raises SourceError when it is not one."""
    kind = kind_of(Path(path)) or "csv"
    model, answers, classes = _read(Path(path), kind, None)
    counts = Counter[str]()
    answers.count(counts)
    return Predictions(Table(classes, model), counts, answers=answers, path=Path(path), kind=kind)


def prediction_rows(path: Path | str) -> Iterator[list[Any]]:
    """The columns, then the rows of a file of predictions, one at a time, values as they stand in it.

    Raises SourceError when it is not one.
    """
    where = Path(path)
    kind = kind_of(where) or "csv"
    try:
        if kind == "csv":
            with where.open(encoding="utf-8", newline="") as stream:
                yield from ([csv_plain(cell) for cell in row] for row in csv.reader(stream))
            return
        head, _ = _records(where, kind, (), 1)
        yield head
        if kind == "parquet":
            from pyarrow import parquet

            with parquet.ParquetFile(where) as table:
                for batch in table.iter_batches(_BATCH):
                    yield from (list(record.values()) for record in batch.to_pylist())
            return
        for record in json_rows(where):
            values = record.get("probabilities") or {}
            answer = [record["id"], record["predicted"], *(values.get(name[2:]) for name in head[2:-2])]
            yield [*answer, ";".join(record["flags"]), record["model"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError("not a file of predictions", where=path, got=str(error)[:200]) from error


def _records(path: Path, kind: str, classes: Sequence[str], most: int | None) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows (at most `most`) of a file of predictions, values as they stand in it."""
    if kind == "parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(path) as table:
            size = table.metadata.num_rows if most is None else most
            batches = table.iter_batches(max(1, min(size, _BATCH)))
            found = islice((r for batch in batches for r in batch.to_pylist()), most)
            return table.schema_arrow.names, [list(r.values()) for r in found]
    if kind == "jsonl":
        records = list(islice(json_rows(path), most))
        names = next((list(r["probabilities"]) for r in records if r.get("probabilities")), list(classes))
        head = ["id", "predicted", *(f"p_{n}" for n in names), "flags", "model"]
        rows = []
        for r in records:
            values = r.get("probabilities") or {}
            rows.append([r["id"], r["predicted"], *map(values.get, names), ";".join(r["flags"]), r["model"]])
        return head, rows
    with path.open(encoding="utf-8", newline="") as stream:
        return csv_rows(stream, most)


def _read(
    path: Path, kind: str, classes: Sequence[str] | None, most: int | None = None
) -> tuple[str, Answers, tuple[str, ...]]:
    """(model, answers, classes) of a file of predictions."""
    try:
        head, rows = _records(path, kind, classes or (), most)
    except (OSError, ValueError, KeyError) as error:
        raise SourceError("not a file of predictions", where=path, got=str(error)) from error
    inner = head[2:-2]
    if head[:2] != ["id", "predicted"] or head[-2:] != ["flags", "model"] or not all(c.startswith("p_") for c in inner):
        raise SourceError(
            "not a file of predictions", where=path, allowed="id,predicted,p_<class>...,flags,model", got=",".join(head)
        )
    names = [c[2:] for c in inner]
    index = {name: i for i, name in enumerate(classes if classes is not None else names)}
    flags = [r[-2] or "" for r in rows]
    bad = np.array([f.startswith((f"{UNREADABLE}:", f"{INVALID}:")) for f in flags], dtype=bool)
    ids, answers = np.array([r[0] for r in rows], dtype=np.str_), [r[1] for r in rows]
    model = rows[0][-1] if rows else ""
    if not names:
        values = np.array([np.nan if a in ("", None) else float(a) for a in answers], dtype=np.float32)
        return model, Answers(ids, values, None, flags, bad), ()
    chosen = np.array([index.get(a, -1) if a else -1 for a in answers], dtype=np.int64)
    output = np.array([[np.nan if v in ("", None) else float(v) for v in r[2:-2]] for r in rows], dtype=np.float32)
    return model, Answers(ids, chosen, output, flags, bad), tuple(names)
