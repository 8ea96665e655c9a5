"""Galaxy Zoo's tables, read line by line: the catalogue of classes, and the map from objects to picture files.

Both are CSV, gzipped or not; of a catalogue's 231 columns four are kept. Files from outside are hostile until read:
lines and rows have limits, so that a small .gz cannot fill the memory.
"""

from __future__ import annotations

import csv
import gzip
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from estampa.data.skytext import degrees
from estampa.data.sources._keys import require_exact
from estampa.errors import SourceError

IDS = ("dr7objid", "objid", "dr8objid")
CLASSES = ("gz2class", "gz2_class")
MOST_ROWS = 5_000_000  #: the largest published table has 356,000
_LINE = 1 << 20  #: characters of a line at most
_FIELD = 64  #: characters at most of what is kept of a row: an id, a class, a sample
_CURE = "Or match by position: --option match-radius=2arcsec (columns ra and dec, in degrees, in both tables)"


@dataclass(frozen=True)
class Objects:
    """Rows of one table, in its order; n of each. Positions are degrees, NaN where the table has none."""

    path: Path
    ids: list[str]
    values: list[str]  #: the catalogue's gz2class, or the map's asset id
    ra: np.ndarray
    dec: np.ndarray
    samples: list[str]  #: the map's sample of each row, "" where it has none

    def __len__(self) -> int:
        return len(self.ids)


def read_catalogue(path: Path, exact: bool) -> Objects:
    """Read ids, classes and positions. `exact`: ids are a key; SourceError when they went through a spreadsheet."""
    return _read(path, CLASSES, exact)


def read_map(path: Path, exact: bool) -> Objects:
    """Read the map of objects to asset ids, the names of picture files without `.jpg`."""
    return _read(path, ("asset_id", "assetid"), exact)


def _read(path: Path, wanted: Sequence[str], exact: bool) -> Objects:
    lines = _rows(path)
    head = [name.strip().strip('"').lower() for name in next(lines, [])]
    id_at, value_at = _column(head, IDS, path), _column(head, wanted, path)
    ra_at, dec_at, sample_at = (head.index(name) if name in head else -1 for name in ("ra", "dec", "sample"))
    ids, values, samples = [], [], []
    places: list[tuple[float, float]] = []
    for number, row in enumerate(lines, 1):
        if len(row) != len(head):
            raise SourceError(
                f"row {number} has {len(row)} fields", where=path, allowed=f"{len(head)}, as the heading line has"
            )
        if number > MOST_ROWS:
            raise SourceError("too many rows", where=path, allowed=f"{MOST_ROWS:,}")
        kept = [row[at].strip() if at >= 0 else "" for at in (id_at, value_at, sample_at)]
        if max(map(len, kept)) > _FIELD:
            raise SourceError(
                f"row {number} has an id, class or sample without end", where=path, allowed=f"{_FIELD} characters",
                got=f"{max(map(len, kept)):,}",
            )  # fmt: skip
        ids.append(kept[0])
        values.append(kept[1])
        samples.append(sys.intern(kept[2]))
        if ra_at >= 0 and dec_at >= 0:
            where = f"{path}, row {number}"
            places.append((degrees(row[ra_at], "ra", where), degrees(row[dec_at], "dec", where)))
    if not ids:
        raise SourceError("the table has no rows", where=path)
    if exact:
        require_exact(ids, f"{path}, column {head[id_at]!r}", _CURE)
    positions = np.array(places, np.float64) if places else np.full((len(ids), 2), np.nan)
    return Objects(path, ids, values, positions[:, 0], positions[:, 1], samples)


def _column(head: Sequence[str], names: Sequence[str], path: Path) -> int:
    for name in names:
        if name in head:
            return head.index(name)
    shown = ", ".join(head[:8]) + (", ..." if len(head) > 8 else "")
    raise SourceError(f"no column {names[0]!r}", where=path, allowed=" or ".join(names), got=shown or "an empty file")


def _rows(path: Path) -> Iterator[list[str]]:
    """Fields line by line; SourceError when the file is not there, cut off, no text, or a line has no end."""
    if not path.is_file():
        raise SourceError("there is no such table", where=path)
    try:
        with _opened(path) as stream:
            yield from csv.reader(_lines(stream, path), strict=True)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SourceError("truncated or damaged gzip file", where=path, got=str(error)) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError("not a CSV table in UTF-8", where=path, got=str(error)) from error


def _opened(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _lines(stream: IO[str], path: Path) -> Iterator[str]:
    while line := stream.readline(_LINE):
        if len(line) == _LINE:
            raise SourceError("a line has no end", where=path, allowed=f"lines of less than {_LINE:,} characters")
        yield line
