"""Source `text`: rows of numbers, `label pixel pixel ...`, blanks, tabs or commas between (emojis.txt, MNIST's CSV).

The first pass checks every row and keeps labels and row positions; the second gives pixels block by block. A square
picture is inferred from the number of pixels, any other is said with --reshape. A heading line `label,pixel0,...` is
skipped; other tables with headings are not this source's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from estampa.data.record import Header
from estampa.data.sources._base import Reading, ReadOptions, fingerprint_of, stat_facts
from estampa.data.sources._digits import LONGEST_ROW, chunks, rows_fit, whole_numbers
from estampa.data.sources._labels import NO_ANSWERS, encode
from estampa.data.sources._rows import RowsReading, forbid, record_of, reshape_of, sized
from estampa.errors import SourceError
from estampa.pixels import storable

SUFFIXES = (".txt", ".csv", ".tsv", ".dat")
_HEADING = re.compile(r"^\W*(label|class|y|target)\W+(pixel|px|p|x)?[ _-]?\d", re.IGNORECASE)
_FEWEST = 17  #: numbers in a row: a label and a picture of 4 x 4


@dataclass(frozen=True)
class _Form:
    """How the rows of a file are written."""

    comma: bool
    heading: bool
    columns: int
    shape: tuple[int, int, int]
    labelled: bool


@dataclass
class _Scan:
    """What the first pass found."""

    labels: np.ndarray
    marks: list[tuple[int, int]]  #: (first row, byte) of each chunk
    bad: dict[int, str]
    whole: bool = True
    low: float = 0.0
    high: float = 0.0

    @property
    def rows(self) -> int:
        return len(self.labels)


def is_mine(paths: Sequence[Path], options: ReadOptions) -> str | None:
    """None for one text file whose first row is a label and the pixels of a picture; else the reason why not."""
    if len(paths) != 1 or not paths[0].is_file() or paths[0].suffix.lower() not in SUFFIXES:
        return f"not one file that ends in {', '.join(SUFFIXES)}"
    try:
        _form(paths[0], options)
    except SourceError as error:
        return error.what + (f" ({error.cure})" if error.cure else "")
    return None


def read(paths: Sequence[Path], options: ReadOptions) -> Reading:
    """Check every row once; SourceError for a file that is no table of pixels. A bad row is rejected by number."""
    path = paths[0]
    forbid(options, path, "layout", "label", "group")
    form = _form(path, options)
    scan = _scan(path, form)
    if scan.rows == 0:
        raise SourceError("no rows", where=path)
    if len(scan.bad) == scan.rows:
        raise SourceError("not one row can be read", where=path, got=f"row 0: {scan.bad[0]}")
    kind: np.dtype[Any] = np.dtype(np.int64 if scan.whole else np.float32)
    dtype = storable(kind, lambda: (scan.low, scan.high), str(path))
    if options.record is not None and options.record.extra.get("dtype") in ("uint16", "float32"):
        dtype = np.promote_types(dtype, options.record.extra["dtype"])
    answers = NO_ANSWERS
    if form.labelled:
        answers = encode(scan.labels, options.classes, path, lenient=options.record is not None)
    record = record_of("text", options, dtype="" if dtype == np.uint8 else dtype.name)
    header = Header(
        n=scan.rows,
        shape=sized(form.shape, record),
        dtype=dtype.name,
        task=answers.task,
        classes=answers.classes,
        origin={"paths": [path.name]},
        read=record,
    )
    return RowsReading(
        header=header,
        ids=np.arange(scan.rows).astype(str),
        labels=answers.values,
        fingerprint=fingerprint_of("text 1", stat_facts(paths), options),
        fetch=lambda start, stop: _fetch(path, form, scan, dtype, (start, stop)),
    )


def _form(path: Path, options: ReadOptions) -> _Form:
    """Tell the form from the heading and the first row."""
    with path.open("rb") as stream:
        first = stream.readline(LONGEST_ROW)
        heading = bool(_HEADING.match(first.decode("latin-1")))
        if heading:
            first = stream.readline(LONGEST_ROW)
    comma = b"," in first
    try:
        columns = len(_numbers(first, comma))
    except ValueError as error:
        raise SourceError("its first row is not all numbers", where=path) from error
    asked = reshape_of(options)
    if asked is not None:
        count = math.prod(asked)
        if columns not in (count, count + 1):
            raise SourceError(
                f"rows of {columns} numbers",
                where=path,
                allowed=f"{count} pixels as --reshape says, with a label or without",
            )
        return _Form(comma, heading, columns, asked, columns == count + 1)
    side = math.isqrt(columns - 1) if columns >= _FEWEST else 0
    if columns < _FEWEST or side * side != columns - 1:
        raise SourceError(
            f"a row of {columns} numbers is not a label and a square picture",
            where=path,
            cure="If it is a picture, say its size with --reshape HxW",
        )
    return _Form(comma, heading, columns, (side, side, 1), True)


def _numbers(line: bytes, comma: bool) -> np.ndarray:
    """Numbers of one row; ValueError when something else stands there."""
    return np.array(line.replace(b",", b" ").split() if comma else line.split(), dtype=bytes).astype(np.float64)


def _parse(text: bytes, form: _Form) -> tuple[np.ndarray, dict[int, str]]:
    """Numbers (rows, columns) of whole rows of text, and the reason for each row that is none (its numbers are 0)."""
    lines = text.count(b"\n") + (not text.endswith(b"\n"))
    values = whole_numbers(text) if not form.comma or b",," not in text else None
    if values is not None and len(values) == lines * form.columns and rows_fit(text, form.columns):
        return values.reshape(lines, form.columns), {}
    rows: list[np.ndarray] = []
    bad: dict[int, str] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        try:
            row = _numbers(line, form.comma)
        except ValueError:
            bad[len(rows)] = "not all numbers"
        else:
            if len(row) == form.columns:
                rows.append(row)
                continue
            bad[len(rows)] = f"{len(row)} numbers, the first row has {form.columns}"
        rows.append(np.zeros(form.columns))
    return np.array(rows).reshape(-1, form.columns), bad


def _scan(path: Path, form: _Form) -> _Scan:
    scan = _Scan(np.empty(0), [], {})
    labels = []
    rows, low, high = 0, np.inf, -np.inf
    for begin, text in chunks(path, heading=form.heading):
        values, bad = _parse(text, form)
        scan.marks.append((rows, begin))
        scan.bad |= {rows + row: f"row {rows + row}: {why}" for row, why in bad.items()}
        good = np.ones(len(values), bool)
        good[list(bad)] = False
        pixels = values[good, 1:] if form.labelled else values[good]
        if form.labelled:
            labels.append(np.where(good, values[:, 0], -1))
        else:
            labels.append(np.full(len(values), -1.0))
        if pixels.size:
            finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
            whole = pixels.dtype.kind == "i" or (finite.size == pixels.size and bool((finite % 1 == 0).all()))
            scan.whole = scan.whole and whole
            if finite.size:
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
        rows += len(values)
    scan.labels = np.concatenate(labels) if labels else np.empty(0)
    if (scan.labels % 1 == 0).all():
        scan.labels = scan.labels.astype(np.int64)
    scan.low, scan.high = (low, high) if high >= low else (0.0, 0.0)
    return scan


def _fetch(
    path: Path, form: _Form, scan: _Scan, dtype: np.dtype[Any], rows: tuple[int, int]
) -> tuple[np.ndarray, dict[int, str]]:
    """Rows start..stop as (m, h, w, c), parsed from the chunk that holds the first on."""
    start, stop = rows
    first, offset = next(mark for mark in reversed(scan.marks) if mark[0] <= start)
    out = np.zeros((stop - start, *form.shape), dtype)
    for _, text in chunks(path, heading=form.heading, offset=offset):
        values, _ = _parse(text, form)
        begin, end = max(start, first), min(stop, first + len(values))
        if begin < end:
            pixels = values[begin - first : end - first, 1 if form.labelled else 0 :]
            with np.errstate(over="ignore"):
                out[begin - start : end - start] = pixels.reshape(end - begin, *form.shape)
        first += len(values)
        if first >= stop:
            break
    return out, {row: why for row, why in scan.bad.items() if start <= row < stop}
