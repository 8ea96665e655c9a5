"""Small text tables beside images: label files and manifests."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from estampa.errors import SourceError, nearest

LABEL_COLUMNS = ("label", "labels", "class", "classname", "y", "target")
GROUP_COLUMNS = ("group", "groups", "drawer", "objectid")
ID_COLUMNS = ("id", "ids", "candid", "sourceid", "objid")
SPLIT_COLUMNS = ("split", "part", "subset")
_FIELD_LIMIT = 1 << 20


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
            delimiter = _delimiter(stream.readline())
            stream.seek(0)
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


def heading(path: Path) -> list[str]:
    """Names in the first line of a text table; [] when it is not text or its first line has no end."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline(_FIELD_LIMIT)
    except (UnicodeDecodeError, OSError):
        return []
    return [name.strip().strip('"') for name in first.strip().split(_delimiter(first))]


def _delimiter(first: str) -> str:
    return max(",;\t", key=first.count)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
