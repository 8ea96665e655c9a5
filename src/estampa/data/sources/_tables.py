"""Small text tables beside images: label files and manifests; and which of their columns are measurements."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from estampa.data.sources._labels import MISSING, part_of
from estampa.errors import SourceError, nearest
from estampa.plain import numbered

LABEL_COLUMNS = ("label", "labels", "class", "classname", "y", "target")
GROUP_COLUMNS = ("group", "groups", "drawer", "objectid", "diaobjectid", "obj")
ID_COLUMNS = ("id", "ids", "candid", "sourceid", "objid")
SPLIT_COLUMNS = ("split", "part", "subset")
_FIELD_LIMIT = 1 << 20
_LONGEST_LINE = 1 << 24  #: of a heading
_COMMENTS = 100  #: lines before the heading
_ID_NAME = re.compile(r"(?i:(^|[_\s.-])ids?|objid|sourceid|galaxyid)$|[a-z]I[dD]s?$")
_ROWS_TOLD = 3  #: of each class, from which on a column that goes with the class is its code
_EXACT = 1 << 53  #: whole numbers beyond it are not all float64


@dataclass(frozen=True)
class Table:
    """Columns of texts, all of the same length, in file order. Names are as in the file."""

    path: Path
    columns: dict[str, list[str]]
    n: int

    def find(self, known: Sequence[str], asked: str = "") -> str:
        """Name of the column `asked` for, else of the first of `known` that there is (case aside), else "".

        Raises SourceError, with the nearest name, when `asked` is not there.
        """
        if asked:
            if asked not in self.columns:
                raise SourceError(
                    f"no column {asked!r}",
                    where=self.path,
                    allowed=", ".join(self.columns),
                    cure=nearest(asked, self.columns),
                )
            return asked
        lower = {name.strip().lower().replace("_", ""): name for name in reversed(self.columns)}
        return next((lower[k] for k in known if k in lower), "")


def read_table(path: Path) -> Table:
    """Read a comma, semicolon or tab separated UTF-8 file with a heading line; every row must have all its fields.

    A single column without a heading (a number in the first line) is named "label".
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            delimiter = delimiter_of(at_heading(stream, path))
            csv.field_size_limit(_FIELD_LIMIT)
            rows = [r for r in csv.reader(stream, delimiter=delimiter, strict=True) if r]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError("not a text table in UTF-8", where=path, got=str(error)) from error
    if not rows:
        raise SourceError("the table is empty", where=path)
    if len(rows[0]) == 1 and _is_number(rows[0][0]):
        rows.insert(0, ["label"])
    heads = [name.strip() for name in rows[0]]
    if len(set(heads)) != len(heads):
        twice = next(name for name in heads if heads.count(name) > 1)
        raise SourceError(f"two columns are called {twice!r}", where=path)
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(heads):
            raise SourceError(
                f"row {number} has {len(row)} fields", where=path, allowed=f"{len(heads)}, as the heading line has"
            )
    columns = {name: [row[i] for row in rows[1:]] for i, name in enumerate(heads)}
    return Table(path, columns, len(rows) - 1)


@dataclass(frozen=True)
class Measured:
    """Columns of numbers: names, values (n, columns) float64 with NaN where a field is empty, and what was left out."""

    names: tuple[str, ...]
    values: np.ndarray
    notes: list[str]


def measured(table: Table, taken: Collection[str], answer: str = "") -> Measured:
    """Every column of a table that holds numbers and is not `taken` by another role; empty fields are NaN.

    Columns of texts are left out, and whole numbers beyond 2^53 too: they are names, and float64 would lose digits. So
    are whole numbers that are plainly no measurements: ids by name (`galaxy_id`) that hardly repeat, and columns that
    say the class in the column `answer` in other words (`class_code`): a model that is fed one learns nothing else.
    """
    numbers: dict[str, np.ndarray] = {}
    left_out, names, codes = [], [], []
    for name, texts in table.columns.items():
        if name in taken:
            continue
        values = _numbers(texts)
        if values is None:
            left_out.append(name)
        elif _names_rows(name, values):
            names.append(name)
        elif answer in table.columns and _tells(values, table.columns[answer]):
            codes.append(name)
        else:
            numbers[name] = values
    notes = []
    if numbers:
        notes.append(f"{table.path.name}: kept {numbered(len(numbers), 'column')} of numbers: {', '.join(numbers)}")
    if left_out:
        notes.append(
            f"{table.path.name}: left out, as texts, empty or longer than float64 keeps: {', '.join(left_out)}"
        )
    if names:
        notes.append(f"{table.path.name}: left out, as names of rows: {', '.join(names)}")
    if codes:
        notes.append(f"{table.path.name}: left out, as {answer!r} in other words: {', '.join(codes)}")
    values = np.stack(list(numbers.values()), 1) if numbers else np.empty((table.n, 0))
    return Measured(tuple(numbers), values, notes)


def _names_rows(name: str, values: np.ndarray) -> bool:
    """Whether a column of numbers holds ids: its name says so, and more than half of its whole numbers are unique."""
    known = values[np.isfinite(values)]
    return bool(_ID_NAME.search(name.strip())) and not (known % 1).any() and len(np.unique(known)) * 2 > len(known)


def _tells(values: np.ndarray, answers: Sequence[str]) -> bool:
    """Whether whole numbers and classes go one to one, each class with rows enough that this is no chance."""
    if (values % 1 != 0).any():  # also NaN
        return False
    kinds, said = np.unique([text.strip() for text in answers], return_inverse=True)
    _, code = np.unique(values, return_inverse=True)
    pairs = len(np.unique(said * (int(code.max()) + 1) + code))
    return 1 < len(kinds) == pairs == int(code.max()) + 1 and int(np.bincount(said).min()) >= _ROWS_TOLD


def answer_of(table: Table, label: str = "") -> str:
    """Name of the column of answers: `label` where it is one, else by name; "" where there is none.

    A column y beside a column x is a position, no answer.
    """
    beside_x = bool(table.find(("x",)))
    known = [name for name in LABEL_COLUMNS if not (beside_x and name == "y")]
    return label if label in table.columns else table.find(known)


def roles_taken(table: Table, label: str = "", group: str = "") -> set[str]:
    """Columns that are ids, answers, groups or parts by name, or asked to be: no measurements."""
    known = [answer_of(table), *(table.find(names) for names in (GROUP_COLUMNS, SPLIT_COLUMNS))]
    ids = {name for name in table.columns if name.strip().lower().replace("_", "") in ID_COLUMNS}
    return {*known, *ids, label, group} - {""}


def joined(parts: Sequence[Measured]) -> Measured:
    """Columns of several places side by side; of two that have one name the first stays."""
    names: dict[str, np.ndarray] = {}
    for part in parts:
        for i, name in enumerate(part.names):
            names.setdefault(name, part.values[:, i])
    values = np.stack(list(names.values()), 1) if names else np.empty((0, 0))
    return Measured(tuple(names), values, [note for part in parts for note in part.notes])


def exact_numbers(values: np.ndarray) -> np.ndarray | None:
    """(n,) numbers as float64; None for whole numbers that float64 cannot tell apart."""
    if values.dtype.kind in "iu" and values.size and max(int(values.max()), -int(values.min())) > _EXACT:
        return None
    return values.astype(np.float64)


def _numbers(texts: Sequence[str]) -> np.ndarray | None:
    """Texts as float64, NaN for missing ones; None when one is no number, all are missing, or digits would be lost."""
    filled = ["nan" if text.strip().lower() in MISSING else text for text in texts]
    try:
        values = np.array(filled).astype(np.float64)
    except ValueError:
        return None
    if not len(values) or np.isnan(values).all() or any("_" in text for text in filled):
        return None
    large = np.flatnonzero(np.abs(values) > _EXACT)
    return None if any(filled[i].strip().lstrip("+-").isdigit() for i in large.tolist()) else values


def split_of(table: Table) -> np.ndarray | None:
    """Published parts (n,) uint8 of a table with a column of them, else None; SourceError for an unknown part."""
    column = table.find(SPLIT_COLUMNS)
    if not column:
        return None
    parts = {text: part_of(text) for text in set(table.columns[column])}
    parts |= {text: 0 for text in parts if text.strip().lower() in ("", "none")}
    strange = sorted(text for text, part in parts.items() if part is None)
    if strange:
        raise SourceError(
            f"unknown part {strange[0]!r}",
            where=f"{table.path}, column {column!r}",
            allowed="train, val, valid, validation, dev, test, none",
        )
    return np.array([parts[text] for text in table.columns[column]], np.uint8)


def heading(path: Path) -> list[str]:
    """Names in the first line of a text table; [] when it is not text or its first line has no end."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            first = at_heading(stream)
    except (UnicodeDecodeError, OSError):
        return []
    return [name.strip().strip('"') for name in first.strip().split(delimiter_of(first))]


def at_heading(stream: TextIO, path: Path | None = None) -> str:
    """Return the heading line of a text table that was opened anew, and leave `stream` before it.

    Lines before it that begin with # and have no delimiter are comments (SkyServer's `#Table1`), where a line with
    one follows. With a `path`, for the message, a web page raises SourceError.
    """
    place, line, skipped = 0, stream.readline(_LONGEST_LINE), 0
    if path is not None and line.lstrip().lower().startswith(("<!doctype html", "<html")):
        raise SourceError(
            "a web page, not a table", where=path, got=repr(line.strip()[:60]),
            cure="Download the table itself: the server answered with a page, as it does for errors and log-ins.",
        )  # fmt: skip
    first = line
    while line and skipped < _COMMENTS and not _has_delimiter(line) and (line.startswith("#") or not line.strip()):
        place, line, skipped = stream.tell(), stream.readline(_LONGEST_LINE), skipped + 1
    if not _has_delimiter(line):
        place, line = 0, first
    stream.seek(place)
    return line


def _has_delimiter(line: str) -> bool:
    return any(one in line for one in ",;\t")


def delimiter_of(first: str) -> str:
    """Which of comma, semicolon and tab parts the fields of a heading line."""
    return max(",;\t", key=first.count)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
