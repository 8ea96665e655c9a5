"""Galaxies from SkyServer, page after page, until all that were counted have come."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from estampa.data.builders._sdss_answer import Answer
from estampa.data.builders._sdss_columns import FLAGS
from estampa.data.builders._sdss_fetch import SkyServer
from estampa.data.builders._sdss_query import Catalogue
from estampa.errors import InputError
from estampa.progress import SILENT, Progress

DR7_ROWS = 100_000  #: that the server of DR7 gives at most


@dataclass
class Collected:
    """What came, in the order of the DR7 ids."""

    total: int = 0  #: galaxies with votes that were asked for
    ids: list[str] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)  #: (m, columns of the catalogue) float64, page by page
    flags: list[np.ndarray] = field(default_factory=list)  #: (m, 3) float64, page by page
    missing: list[str] = field(default_factory=list)  #: ids without photometry
    pages: list[dict[str, int]] = field(default_factory=list)  #: numbers of each page's queries, see Catalogue.sql

    def table(self) -> np.ndarray:
        """All values (n, columns) float64; the pages are given up one by one, so that they are not in memory twice."""
        whole = np.empty((len(self.ids), self.values[0].shape[1]), np.float64)
        end = len(whole)
        while self.values:
            page = self.values.pop()
            whole[end - len(page) : end] = page
            end -= len(page)
        return whole


def collect(
    server: SkyServer, catalogue: Catalogue, rows: int, page: int, into: Collected, progress: Progress = SILENT
) -> None:
    """Bring the first `rows` galaxies (0 = all), `page` at a time, into `into`.

    An answer without a row while galaxies are due is a failure, not the end: their number is asked for first. Raises
    what `SkyServer.ask` raises; `into` then holds the pages before.
    """
    into.total = int(server.ask(catalogue.count(), due=True).values[0, 0])
    into.total = min(into.total, rows) if rows else into.total
    came = after = 0
    progress.start("asking SkyServer", into.total, "galaxies")
    try:
        while came < into.total:
            number, most = len(into.pages) + 1, min(page, into.total - came)
            answer = server.ask(catalogue.page(number, after, most), due=True)
            before, after = after, int(answer.ids[-1])
            span = {"most": most, "after": before, "first": int(answer.ids[0]), "last": after}
            came += len(answer.ids)
            progress.advance(len(answer.ids))
            beside = catalogue.beside(number, span["first"], span["last"])
            if beside is not None:
                answer = _joined(answer, _whole(server.ask(beside)), into)
            into.ids += answer.ids
            into.flags.append(answer.take(FLAGS))
            into.values.append(answer.take(catalogue.columns))
            into.pages.append(span)
    finally:
        progress.finish()


def _whole(answer: Answer) -> Answer:
    """Refuse an answer of as many rows as DR7's server gives: it may have had more."""
    if len(answer.ids) >= DR7_ROWS:
        raise InputError(
            "a page is too large for DR7's server, which cuts its answer off", where="--option page",
            allowed=f"so few galaxies that fewer than {DR7_ROWS:,} objects with spectra lie between their ids",
        )  # fmt: skip
    return answer


def _joined(votes: Answer, measured: Answer, into: Collected) -> Answer:
    """Galaxies with both votes and photometry; the ids of the others are kept as missing."""
    at: dict[str, int] = {}
    for row, name in enumerate(measured.ids):  # of several spectra of one object the first counts
        at.setdefault(name, row)
    there = [row for row, name in enumerate(votes.ids) if name in at]
    into.missing += [name for name in votes.ids if name not in at]
    ids = [votes.ids[row] for row in there]
    values = np.concatenate([votes.values[there], measured.values[[at[name] for name in ids]]], axis=1)
    return Answer(ids, (*votes.names, *measured.names), values)
