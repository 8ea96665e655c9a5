"""Rows that are left out on request: a text or CSV file of ids or content hashes."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from estampa.errors import SourceError
from estampa.plain import csv_plain

_HASH = re.compile(r"[0-9a-f]{16}")
_HEADINGS = {"id", "ids", "name", "hash", "hashes", "content_hash"}


@dataclass(frozen=True)
class Exclusion:
    """What an exclude file asks for, matched against the ids of a Reading."""

    rows: np.ndarray  #: (n,) bool
    hashes: frozenset[int]  #: 64-bit content hashes
    unmatched: tuple[str, ...]  #: entries that are neither an id nor a hash: a typing mistake, or another data set
    facts: tuple[str, ...]  #: sorted entries, for the fingerprint


def read_exclusion(path: Path | None, ids: Sequence[str] | np.ndarray) -> Exclusion:
    """Read a file with one id, or content hash (16 hexadecimal digits), a line.

    A CSV is taken too: the column `id`, `name`, `hash` or `content_hash` when there is such a heading, else the first.
    The guard that our own tables put before an id that a spreadsheet would run is taken off.
    Raises SourceError when the file is missing or not text.
    """
    if path is None:
        return Exclusion(np.zeros(len(ids), bool), frozenset(), (), ())
    entries = _entries(path)
    row_of = {str(name): row for row, name in enumerate(ids)}
    if entries and entries[0] not in row_of and entries[0].strip().lower() in _HEADINGS:
        entries = entries[1:]
    rows = np.zeros(len(ids), bool)
    hashes, unmatched = set(), []
    for entry in entries:
        bare = entry.strip()
        # As it stands first: a folder's name may begin with a blank.
        name = next((n for n in (entry, csv_plain(entry), bare, csv_plain(bare)) if n in row_of), None)
        if name is not None:
            rows[row_of[name]] = True
        elif _HASH.fullmatch(bare):
            hashes.add(int(bare, 16))
        else:
            unmatched.append(bare)
    return Exclusion(rows, frozenset(hashes), tuple(unmatched), tuple(sorted(entries)))


def emptied(before: np.ndarray | None, after: np.ndarray, classes: Sequence[str]) -> list[str]:
    """What to say of classes that lost all of their objects; they stay, since a number that moves is another class.

    `before` and `after` are class numbers of the rows that were found and of those that are left; `classes` is empty
    where labels are no classes.
    """
    if not classes or before is None:
        return []
    gone = set(np.asarray(before).tolist()) - set(after.tolist()) - {-1}
    if not gone:
        return []
    named = ", ".join(f"{classes[c]!r} (number {c})" for c in sorted(gone))
    stay = "class stays" if len(gone) == 1 else "classes stay"
    said = f"no object is left of {named}: the {stay}, so that the others keep their numbers, and a net gets an output"
    return [f"{said} for what it never sees. To be without, build from files that do not have it."]


def _entries(path: Path) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = [line for line in csv.reader(stream) if any(cell.strip() for cell in line)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(
            "the exclude file cannot be read", where=path, allowed="a text or CSV file", got=str(error)
        ) from error
    if not lines:
        return []
    headings = [cell.strip().lower() for cell in lines[0]]
    column = next((i for i, cell in enumerate(headings) if cell in _HEADINGS), 0)
    return [line[column] for line in lines if len(line) > column and line[column].strip()]
