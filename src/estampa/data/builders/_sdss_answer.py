"""SkyServer's answers: CSV under a line `#Table1`, read strictly; anything else in its place is told, never parsed."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from estampa.data.builders._sdss_query import Query
from estampa.data.sources._labels import MISSING
from estampa.errors import SourceError

#: How SQL Server and SkyServer word that a query cannot be run: no further try would help.
_REFUSED = re.compile(r"error_message|incorrect syntax|invalid (object|column) name|^\s*ERROR\b", re.IGNORECASE)
_NONE = ("no objects have been found", "no entries have been found", "no rows")
_TAG, _SPACE, _UNSEEN = re.compile(r"<[^>]*>"), re.compile(r"\s+"), re.compile(r"(?is)<(script|style|title)\b.*?</\1>")
_ID = re.compile(r"[0-9]{1,20}")
_SHOWN = 200
KEPT = "The pages before it are kept: run the same command again to go on."


@dataclass(frozen=True)
class Answer:
    """Rows of an answer: ids (n,) as texts, and the other columns' values (n, columns) float64, NaN where unknown."""

    ids: list[str]
    names: tuple[str, ...]
    values: np.ndarray

    def take(self, names: Sequence[str]) -> np.ndarray:
        """Values (n, names) of some columns."""
        return self.values[:, [self.names.index(name) for name in names]]


def said(text: str) -> str:
    """What a page of HTML or an error text says, in one line."""
    plain = html.unescape(_TAG.sub(" ", _UNSEEN.sub(" ", text[:20_000])))
    line = _SPACE.sub(" ", plain).strip()
    return line[:_SHOWN] + ("..." if len(line) > _SHOWN else "")


def refuse_html(text: str, where: object, cure: str = "") -> None:
    """Raise SourceError when `text` is a page of HTML, which servers send in a table's place when something failed."""
    start = text.lstrip("\ufeff \t\r\n")[:200].lower()
    if start.startswith(("<!doctype html", "<html", "<head", "<body")):
        title = re.search(r"(?is)<title[^>]*>(.*?)</title>", text[:20_000])
        words = " ".join(filter(None, [title[1].strip() if title else "", said(text)]))
        raise SourceError(
            "an HTML page, where a table should be", where=where, got=repr(words[:_SHOWN]) if words else "", cure=cure
        )


def refuse_error(text: str, where: object) -> None:
    """Raise SourceError when the server says that the query itself is wrong."""
    if _REFUSED.search(text[:20_000]):
        raise SourceError(
            "the server cannot run the query", where=where, got=said(text),
            cure=f"Has this release these tables? Try another --option release=... {KEPT}",
        )  # fmt: skip


def answer_of(text: str, query: Query, where: str) -> Answer:
    """Read an answer to `query`.

    Raises EOFError when the answer breaks off, SourceError when it is an HTML page, an error of the database, or a
    table with other columns, another order, ids that are none, or texts in the place of numbers.
    """
    rows = _rows_of(text, query, where)
    if query.columns[0] != "objid":
        if rows and not rows[0][0].strip().isdecimal():
            raise SourceError("no number of galaxies", where=where, got=repr(rows[0][0][:60]), cure=KEPT)
        return Answer([], query.columns, _numbers(rows, query.columns, where))
    ids = [row[0].strip() for row in rows]
    _check_ids(ids, query, where)
    return Answer(ids, query.columns[1:], _numbers([row[1:] for row in rows], query.columns[1:], where))


def _rows_of(text: str, query: Query, where: str) -> list[list[str]]:
    if text.lstrip("\ufeff \r\n")[:1] == "<" or _REFUSED.search(text[:500]):
        refuse_error(text, where)
        refuse_html(text, where, f"Is it SkyServer's address, and is the server in service? {KEPT}")
    lines = [line for line in text.lstrip("\ufeff").splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise EOFError("the answer is empty")
    if lines[0].strip().lower().startswith(_NONE):
        return []
    try:
        head, *rows = csv.reader(io.StringIO("\n".join(lines)), strict=True)
    except csv.Error as error:
        raise EOFError(f"the answer breaks off ({error})") from error
    found = [name.strip().lower() for name in head]
    if found != [name.lower() for name in query.columns]:
        _refuse_columns(head, query, where)
    if rows and len(rows[-1]) < len(head):
        raise EOFError(f"the answer breaks off after {len(rows) - 1:,} rows")
    for number, row in enumerate(rows, 1):
        if len(row) != len(head):
            raise SourceError(
                f"row {number} has {len(row)} fields", where=where, allowed=f"{len(head)}, as the heading line has",
                cure=KEPT,
            )  # fmt: skip
    return rows


def _numbers(rows: Sequence[Sequence[str]], names: Sequence[str], where: str) -> np.ndarray:
    values = np.empty((len(rows), len(names)), np.float64)
    for number, row in enumerate(rows):
        try:
            values[number] = [float(text) for text in row]
        except ValueError:  # an empty field, "null", or no number at all
            values[number] = [
                _number(text, f"row {number + 1}, column {names[i]!r}", where) for i, text in enumerate(row)
            ]
    return values


def _number(text: str, place: str, where: str) -> float:
    if text.strip().lower() in MISSING:
        return float("nan")
    try:
        return float(text)
    except ValueError as error:
        raise SourceError(f"{place}: no number", where=where, got=repr(text[:60]), cure=KEPT) from error


def _refuse_columns(head: Sequence[str], query: Query, where: str) -> None:
    found, asked = {name.strip().lower() for name in head}, {name.lower() for name in query.columns}
    lacking = [name for name in query.columns if name.lower() not in found]
    strange = [name for name in head if name.strip().lower() not in asked]
    told = [f"{kind}: {', '.join(names[:5])}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            for kind, names in (("lacking", lacking), ("not asked for", strange)) if names]  # fmt: skip
    raise SourceError(
        "the answer has other columns than were asked for",
        where=where,
        got=("; ".join(told) or "another order")[:400],
        cure=f"Is it SkyServer's address, and has this release these columns? {KEPT}",
    )


def _check_ids(ids: Sequence[str], query: Query, where: str) -> None:
    """Ids are whole numbers with all their digits, above the last page's, rising."""
    last = query.after
    for number, text in enumerate(ids, 1):
        if not _ID.fullmatch(text):
            raise SourceError(
                f"row {number}: no SDSS id", where=where, allowed="a whole number with all its digits",
                got=repr(text[:40]), cure=KEPT,
            )  # fmt: skip
        # Of several spectra of one object the photometry repeats; Galaxy Zoo's own ids are unique.
        if int(text) < last or (int(text) == last and (query.most or number == 1)):
            raise SourceError(
                f"row {number}: ids are not in order", where=where, allowed=f"above {last}", got=text, cure=KEPT
            )
        last = int(text)
    if query.most and len(ids) > query.most:
        raise SourceError("more rows than were asked for", where=where, allowed=query.most, got=len(ids), cure=KEPT)
