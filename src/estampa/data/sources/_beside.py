"""A catalogue beside cut-outs: its rows are joined to them by id, or by position on the sky."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from estampa.data.skymatch import match, read_radius
from estampa.data.skytext import column_of_degrees
from estampa.data.sources._anytable import any_table
from estampa.data.sources._base import ReadOptions
from estampa.data.sources._keys import require_exact
from estampa.data.sources._labels import NO_ANSWERS, Answers, from_texts
from estampa.data.sources._tables import (
    GROUP_COLUMNS,
    ID_COLUMNS,
    Measured,
    Table,
    answer_of,
    measured,
    roles_taken,
    split_of,
)
from estampa.errors import SourceError

RA, DEC = ("ra", "radeg", "raj2000", "raicrs"), ("dec", "decdeg", "de", "dej2000", "deicrs", "decl")
#: Columns that may be the key, case and underscores aside.
KEYS = (*ID_COLUMNS, "diasourceid", "alertid", "galaxyid", "name", "objectid")
BY_POSITION = "Match by position: --match-radius 2arcsec (columns ra and dec, in degrees)"


@dataclass(frozen=True)
class Beside:
    """What a catalogue says of n cut-outs. One without a row is unlabelled, alone in its group, and NaN."""

    answers: Answers
    groups: np.ndarray | None
    split: np.ndarray | None
    columns: Measured
    notes: list[str]


def join(
    path: Path, names: Sequence[str], sky: tuple[np.ndarray, np.ndarray] | None, options: ReadOptions, where: object
) -> Beside:
    """Find each cut-out's row in a catalogue.

    Parameters
    ----------
    path : the catalogue, in any format of `any_table`.
    names : (n,) what the catalogue would call each cut-out: its id, or its file's name without folder and ending.
    sky : (n,) right ascension and declination in degrees, NaN where one has none; None where nothing is known.
    options : `match_radius` joins by position, else ids are the key; `label`, `group`, `classes` name columns.
    where : the cut-outs, for messages.

    Raises SourceError when there is no key, when ids look rounded or repeat, and when nothing matches.
    """
    table = any_table(path)
    if not table.n:
        raise SourceError("the catalogue has no rows", where=path)
    asked_group = table.find(GROUP_COLUMNS, options.group)
    label = table.find((), options.label) or answer_of(table)
    notes = []
    if options.match_radius:
        rows, apart, told = _by_position(table, sky, options.match_radius, where)
        notes.append(told)
        key = ""
    else:
        rows, key = _by_id(table, names, where)
        apart = None
    if not (rows >= 0).any():
        raise SourceError(
            "not one row of the catalogue belongs to a cut-out", where=path,
            got=f"{where}: {names[0]!r}" + (f"; column {key!r}: {table.columns[key][0]!r}" if key else ""),
            cure="A wider --match-radius?" if options.match_radius else BY_POSITION,
        )  # fmt: skip
    lacking, unused = int((rows < 0).sum()), table.n - len(set(rows[rows >= 0].tolist()))
    if lacking:
        notes.append(f"{lacking} of {len(rows)} cut-outs have no row in {path.name}: without label and measurements")
    if unused:
        notes.append(f"{unused} of {table.n} rows of {path.name} have no cut-out and were left out")
    answers = NO_ANSWERS
    if label:
        texts = _taken(table.columns[label], rows)
        answers = from_texts(texts, options.classes, f"{path}, column {label!r}", options.record is not None)
    groups = None
    if asked_group and asked_group != key and (options.group or len(set(table.columns[asked_group])) < table.n):
        own = _taken(table.columns[asked_group], rows)
        groups = np.array([group or f"alone:{name}" for group, name in zip(own, names, strict=True)])
    split = split_of(table)
    return Beside(
        answers, groups, None if split is None else np.where(rows >= 0, split[rows], 0).astype(np.uint8),
        _columns(table, rows, apart, {*roles_taken(table, label, options.group), key} - {""}, label), notes,
    )  # fmt: skip


def _by_id(table: Table, names: Sequence[str], where: object) -> tuple[np.ndarray, str]:
    """Row of the catalogue for each name, (n,) int64, -1 = none; and the column that was the key."""
    key = table.find(KEYS)
    if not key:
        raise SourceError(
            "the catalogue has no column of ids", where=table.path, allowed=", ".join(KEYS),
            got=", ".join(table.columns), cure=BY_POSITION,
        )  # fmt: skip
    ids = [text.strip() for text in table.columns[key]]
    require_exact(ids, f"{table.path}, column {key!r}")
    known = set(names)
    twice = [name for name, count in Counter(ids).items() if count > 1 and name in known]
    if twice:
        raise SourceError(
            f"the id {twice[0]!r} stands {ids.count(twice[0])} times in column {key!r}", where=table.path,
            got=f"{len(twice)} such ids that have a cut-out", cure="Keep one row for each object.",
        )  # fmt: skip
    again = [name for name, count in Counter(names).items() if count > 1]
    if again:
        raise SourceError(f"{Counter(names)[again[0]]} cut-outs are called {again[0]!r}", where=where, cure=BY_POSITION)
    rows = {name: row for row, name in enumerate(ids)}
    return np.array([rows.get(name, -1) for name in names], np.int64), key


def _by_position(
    table: Table, sky: tuple[np.ndarray, np.ndarray] | None, text: str, where: object
) -> tuple[np.ndarray, np.ndarray, str]:
    """Row of the catalogue for each cut-out, how far it is in arcsec, and what is to be said."""
    radius = read_radius(text)
    if sky is None or not np.isfinite(sky[0]).any():
        raise SourceError(
            "not one cut-out says where on the sky it lies", where=where, allowed="a celestial WCS in its header",
            cure="Join by id instead: leave --match-radius out.",
        )  # fmt: skip
    columns = [table.find(RA), table.find(DEC)]
    if not all(columns):
        raise SourceError(
            "the catalogue has no positions", where=table.path, allowed="columns ra and dec, in degrees",
            got=", ".join(table.columns),
        )  # fmt: skip
    ra, dec = (
        column_of_degrees(table.columns[name], kind, f"{table.path}, column {name!r}")
        for name, kind in zip(columns, ("ra", "dec"), strict=True)
    )
    found = match(*sky, ra, dec, radius, (f"cut-out of {where}", f"{table.path}, column {columns[1]!r}"))
    return found.index, found.separation, found.note(radius)


def _taken(texts: Sequence[str], rows: np.ndarray) -> list[str]:
    return [texts[row] if row >= 0 else "" for row in rows.tolist()]


def _columns(table: Table, rows: np.ndarray, apart: np.ndarray | None, taken: set[str], label: str) -> Measured:
    """Numbers of the catalogue in the order of the cut-outs, and how far the match lies."""
    found = measured(table, taken, label)
    values = np.where((rows >= 0)[:, None], found.values[rows], np.nan)
    if apart is None:
        return Measured(found.names, values, found.notes)
    return Measured((*found.names, "match_arcsec"), np.column_stack([values, apart]), found.notes)
