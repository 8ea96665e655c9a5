"""The first look through a table: which columns hold numbers, what else they are, and the few that are kept whole."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from estampa.data.roles import ColumnFacts
from estampa.data.sources._keys import Rounded
from estampa.data.sources._labels import MISSING
from estampa.data.sources._sheets import Cells, Sheet
from estampa.errors import SourceError

_EXACT = 1 << 53  #: whole numbers beyond it are not all float64
_COMMA = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d+),\d+(?:[eE][+-]?\d+)?")
_QUOTED = re.compile(r'="(.*)"')  #: how spreadsheets are told that a number is a text
_TRUTH = {"true": 1.0, "false": 0.0}
_SAMPLE = 1 << 21  #: numbers of the sample, all columns together
_HELD = 1 << 23  #: numbers of a table that are kept from the first look, so that it is parsed once: 64 MiB
_SAMPLE_ROWS = 100_000
_TEXTS = 64  #: cells without a number after which a column that has few is one of texts

Numbers = tuple[np.ndarray, dict[int, str]]  #: (m,) float64, and the texts that are no numbers by place


@dataclass
class Parsed:
    """A stretch of rows whose cells are parsed."""

    start: int
    rows: int
    numbers: Mapping[str, Numbers]
    bad: Mapping[int, str]


@dataclass
class _Column:
    """What was seen of one column so far."""

    name: str
    keep: bool  #: all of its cells
    numbers: int = 0
    texts: int = 0
    first: tuple[int, str] = (0, "")  #: row and text of the first cell that is no number
    commas: int = 0  #: texts that are numbers with a decimal comma
    comma: tuple[int, str] = (0, "")
    beyond: str = ""  #: a whole number that float64 does not keep
    binary: bool = True
    ones: list[np.ndarray] = field(default_factory=list)  #: uint8, while it is binary
    sample: list[np.ndarray] = field(default_factory=list)
    cells: list[np.ndarray] = field(default_factory=list)  #: kept ones: UTF-8, or numbers as the file has them
    rounded: Rounded | None = None  #: of a column that may name the rows

    @property
    def mixed(self) -> bool:
        """Whether it is a column of numbers with some texts."""
        return 0 < self.texts <= self.numbers

    @property
    def number(self) -> bool:
        return self.texts <= self.numbers and not self.beyond


@dataclass
class Scan:
    """What the first look found."""

    n: int
    columns: dict[str, _Column]
    facts: list[ColumnFacts]
    bad: int  #: rows of another length than the heading line
    first_bad: str = ""
    held: list[Parsed] | None = None  #: all numbers of a table that is small enough

    def texts(self, name: str) -> np.ndarray:
        """All cells of a kept column as (n,) texts, blanks around them off."""
        joined = np.concatenate([_as_bytes(part) for part in self.columns[name].cells])
        try:
            return joined.astype(str)  # ASCII, without an object for each cell
        except UnicodeDecodeError:
            return np.char.decode(joined, "utf-8")

    def kept(self, name: str) -> np.ndarray | None:
        """All cells of a kept column as (n,) numbers; None when some are texts."""
        cells = self.columns[name].cells
        return None if any(part.dtype.kind == "S" for part in cells) else np.concatenate(cells)

    def ones(self, names: Sequence[str]) -> np.ndarray:
        """(n, k) uint8 of binary columns."""
        return np.stack([np.concatenate(self.columns[name].ones) for name in names], 1)


def scan(sheet: Sheet, keep: Collection[str], ids: Collection[str], one_hot: bool) -> Scan:
    """Look through all rows once.

    Parameters
    ----------
    keep : columns of which every cell is kept: answers, groups, parts, positions.
    ids : columns that may name the rows, kept too.
    one_hot : whether columns of 0 and 1 are kept, since they may be the answer together.

    Raises SourceError for a table with decimal commas.
    """
    columns = {
        name: _Column(name, name in keep or name in ids, rounded=Rounded() if name in ids else None)
        for name in sheet.names
    }
    n = bad = 0
    held: list[Parsed] | None = []
    first_bad = ""
    most = max(100, min(_SAMPLE_ROWS, _SAMPLE // max(1, len(columns))))
    for some in sheet.stretches():
        numbers = {name: _look(c, some.cells[name], some.start, most - n, one_hot) for name, c in columns.items()}
        for column in columns.values():
            if some.bad and column.rounded is not None:
                _name_bad(column, some.bad, some.start)
        if held is not None and (n + some.rows) * len(columns) <= _HELD:
            held.append(Parsed(some.start, some.rows, numbers, some.bad))
        else:
            held = None
        n += some.rows
        bad += len(some.bad)
        if some.bad and not first_bad:
            row, why = next(iter(some.bad.items()))
            first_bad = f"row {row + 1}: {why}"
    for column in columns.values():
        _require_points(column, sheet)
    return Scan(n, columns, [_facts(column) for column in columns.values()], bad, first_bad, held)


def _as_bytes(cells: np.ndarray) -> np.ndarray:
    """Kept cells as texts in UTF-8: whole numbers without a point, NaN empty."""
    if cells.dtype.kind != "f":
        return cells if cells.dtype.kind == "S" else cells.astype(bytes)
    whole = ["" if np.isnan(v) else str(int(v)) if np.isfinite(v) and v % 1 == 0 else repr(v) for v in cells.tolist()]
    return np.array(whole, dtype=bytes)


def parsed(sheet: Sheet, start: int, names: Sequence[str]) -> Iterator[Parsed]:
    """Yield the rows from `start` on, parsed again."""
    for some in sheet.stretches(start, names):
        yield Parsed(some.start, some.rows, {name: floats(some.cells[name]) for name in names}, some.bad)


def floats(cells: Cells) -> Numbers:
    """Numbers (m,) float64 of cells, NaN where one is empty or says so, and the texts that are no numbers by place."""
    if isinstance(cells, np.ndarray):
        return cells.astype(np.float64, copy=False), {}
    try:
        values = np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        return _one_by_one(cells)
    if "_" in "".join(cells):  # Python takes 1_000 for a number
        return _one_by_one(cells)
    return values, {}


def bare(text: str) -> str:
    """A cell's text without blanks around it, and without the guard ="..." of spreadsheets."""
    text = text.strip()
    found = _QUOTED.fullmatch(text)
    return found[1] if found else text


def _one_by_one(cells: Sequence[str]) -> tuple[np.ndarray, dict[int, str]]:
    values, bad = np.full(len(cells), np.nan), {}
    for at, cell in enumerate(cells):
        try:
            values[at] = float(cell)
        except ValueError:
            word = cell.strip().lower()
            if word in _TRUTH:
                values[at] = _TRUTH[word]
            elif word not in MISSING:
                bad[at] = cell
            continue
        if "_" in cell:
            values[at], bad[at] = np.nan, cell
    return values, bad


def _look(column: _Column, cells: Cells, start: int, room: int, one_hot: bool) -> Numbers:
    """Take in a stretch of one column's cells, and return its numbers."""
    if column.keep and isinstance(cells, np.ndarray):
        column.cells.append(cells)
    elif column.keep:
        texts = [bare(cell) for cell in cells]
        column.cells.append(np.array([text.encode("utf-8", "replace") for text in texts]))
        if column.rounded is not None:
            column.rounded.add(texts)
    if column.texts > max(_TEXTS, column.numbers):  # texts: there is nothing more to learn of it
        return np.empty(0), {}
    values, bad = floats(cells)
    known = ~np.isnan(values)
    count = int(np.count_nonzero(known))
    column.numbers += count
    if bad:
        _look_at_texts(column, bad, start)
    if count and not column.beyond:
        _look_beyond(column, cells, values)
    if room > 0:
        column.sample.append(values[:room].copy())
    if column.binary:
        column.binary = count == len(values) and bool(((values == 0) | (values == 1)).all())
        column.ones = [*column.ones, values.astype(np.uint8)] if column.binary and one_hot else []
    return values, bad


def _name_bad(column: _Column, bad: Mapping[int, str], start: int) -> None:
    """Name rows that cannot be read, whose cells are empty: a cut line must not take the key from the others."""
    part = column.cells[-1]
    if part.dtype.kind == "S":
        names = part.tolist()
        for row in bad:
            names[row - start] = f"row {row}".encode()
        column.cells[-1] = np.array(names)


def _look_at_texts(column: _Column, bad: dict[int, str], start: int) -> None:
    if not column.texts:
        at, text = next(iter(bad.items()))
        column.first = (start + at, text)
    column.texts += len(bad)
    for at, text in bad.items():
        if _COMMA.fullmatch(text.strip()):
            column.comma = column.comma if column.commas else (start + at, text.strip())
            column.commas += 1


def _look_beyond(column: _Column, cells: Cells, values: np.ndarray) -> None:
    """Find a whole number beyond 2^53; one written with a point or an exponent is a measurement."""
    if isinstance(cells, np.ndarray):
        if cells.dtype.kind in "iu" and cells.size and max(int(cells.max()), -int(cells.min())) > _EXACT:
            column.beyond = str(cells[np.argmax(np.abs(cells.astype(np.float64)))])
        return
    with np.errstate(invalid="ignore"):
        large = np.flatnonzero(np.abs(values) > _EXACT)
    column.beyond = next((c for c in (cells[i].strip() for i in large.tolist()) if c.lstrip("+-").isdigit()), "")


def _require_points(column: _Column, sheet: Sheet) -> None:
    """Refuse decimal commas: to take such a column for texts would lose it."""
    if column.commas and 2 * column.commas > column.texts and 2 * column.texts > column.numbers:
        row, text = column.comma
        raise SourceError(
            "numbers with a decimal comma", where=f"{sheet.path}, row {row + 1}, column {column.name!r}",
            allowed="a decimal point, as in 17.25", got=repr(text),
            cure="Export the table with decimal points, or replace the commas in this column.",
        )  # fmt: skip


def _facts(column: _Column) -> ColumnFacts:
    number, rounded, unique = column.number, "", False
    if column.rounded is not None:
        rounded = column.rounded.sign or _rounded_floats(column.cells)
        number = number and not rounded
        unique = not rounded and _all_differ(column.cells)
    sample = np.concatenate(column.sample) if number and column.sample else None
    binary = column.binary and number and bool(column.numbers)
    return ColumnFacts(column.name, number, column.numbers + column.texts, binary, rounded, unique, sample)


def _rounded_floats(cells: Sequence[np.ndarray]) -> str:
    """A number that shows that a column of floating point held ids that it does not keep, or ""."""
    for part in cells:
        if part.dtype.kind == "f" and part.size:
            large = part[np.abs(np.nan_to_num(part)) > _EXACT]
            if large.size:
                return f"{large[0]:.17g}"
    return ""


def _all_differ(cells: Sequence[np.ndarray]) -> bool:
    """Whether no two cells are alike and none is empty; by hashes, which take little memory."""
    codes = []
    for part in cells:
        if part.dtype.kind == "S":
            if (part == b"").any():
                return False
            codes.append(np.fromiter(map(hash, part.tolist()), np.int64, len(part)))
        elif part.dtype.kind == "f":
            if np.isnan(part).any():
                return False
            codes.append(part.astype(np.float64).view(np.int64))
        else:
            codes.append(part.astype(np.int64))
    joined = np.concatenate(codes) if codes else np.zeros(0, np.int64)
    return len(np.unique(joined)) == len(joined) > 0
