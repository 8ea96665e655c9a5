"""Builder `sdss`: Galaxy Zoo 1's classes of galaxies with SDSS photometry, a table alone.

Galaxy Zoo 1 table 2 (Lintott et al. 2011, MNRAS 410, 166; SkyServer's zooSpec) joined with the photometry of SDSS DR7
(Abazajian et al. 2009, ApJS 182, 543) or of a later release, asked page by page from SkyServer through astroquery; or
the same columns from a file at hand. Needs the extra `astro`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from estampa import machine
from estampa.data.builders._sdss_collect import Collected, collect
from estampa.data.builders._sdss_columns import BANDS, CLASSES, FLAGS, labels_of, role_of, unit_of
from estampa.data.builders._sdss_fetch import SkyServer
from estampa.data.builders._sdss_file import of_file
from estampa.data.builders._sdss_query import RELEASES, Catalogue
from estampa.data.dataset import Dataset
from estampa.data.read import write_reading
from estampa.data.record import Header, ReadRecord
from estampa.data.sources._base import Block, Reading, fingerprint_of, stat_facts
from estampa.errors import InputError, Interrupted, SourceError
from estampa.progress import SILENT, Progress

OPTIONS = {
    "release": "SDSS data release of the photometry (7, as Galaxy Zoo had it)",
    "rows": "galaxies asked for, those with the lowest DR7 ids; 0 = all (0)",
    "bands": "of the photometry, of ugriz (ugriz)",
    "page": "galaxies a page (5000)",
    "rate": "queries a second, at most; SkyServer allows 60 a minute (0.5)",
    "timeout": "seconds without an answer until it is asked again (astroquery's, 60)",
    "url": "address of a SkyServer (astroquery's, https://skyserver.sdss.org)",
    "file": "a CSV, Parquet, FITS or VOTable catalogue at hand, in place of the server",
}
_AFTER = ("page", "rate", "timeout")  #: options that change nothing in the Dataset
_SHOWN = 5
_LICENCE = "SDSS and Galaxy Zoo data, public; cite Lintott et al. 2011 and the data release's paper"
T = TypeVar("T", int, float)


@dataclass(frozen=True)
class _Asked:
    """The options, read."""

    release: int
    rows: int
    bands: str
    page: int
    rate: float
    timeout: float
    url: str
    file: Path | None


@dataclass(kw_only=True)
class _TableReading(Reading):
    """A table without pictures."""

    def blocks(self, start: int = 0, size: int | None = None) -> Iterator[Block]:
        """Nothing: there are no pixels."""
        del start, size
        return iter(())


def is_built(dataset: Dataset, options: Mapping[str, str]) -> bool:
    """Whether `dataset` was built by this builder with the same options from the same server or file."""
    origin = dataset.header.origin
    return origin.get("builder") == "sdss" and origin.get("asked") == _key(options)


def build(output: Path, options: Mapping[str, str], progress: Progress = SILENT) -> Dataset:
    """Ask for what is not at hand, and write the Dataset file `output`: a table of raw numbers, sentinels and all.

    Labels are elliptical and spiral; uncertain galaxies are unlabelled. Ids are Galaxy Zoo's, the DR7 objid, as exact
    texts. A run that was stopped goes on after the pages that came.

    Raises InputError for options, SourceError for what is no table or no such catalogue, DownloadError when the server
    fails, Interrupted on Ctrl-C.
    """
    asked = _read(options)
    if asked.file is not None:
        reading = of_file(asked.file, asked.release if "release" in options else None)
    else:
        reading = _of_server(asked, progress)
    reading.header = replace(reading.header, origin={**reading.header.origin, "asked": _key(options)})
    for note in reading.notes:
        progress.say(note)
    return write_reading(reading, output, progress, skip_bad=asked.file is not None)


# ---------------------------------------------------------------------------------------------- from SkyServer


def _of_server(asked: _Asked, progress: Progress) -> Reading:
    catalogue = Catalogue(asked.release, asked.bands)
    server, found = SkyServer(asked.url, asked.rate, asked.timeout, progress), Collected()
    try:
        with server.held():
            collect(server, catalogue, asked.rows, asked.page, found, progress)
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted; {len(found.ids):,} galaxies are kept in {server.folder}", where=server.address,
            cure="Run the same command again to go on from there.",
        ) from None  # fmt: skip
    if not found.ids:
        raise SourceError(
            "not one galaxy has votes and photometry", where=f"{server.address}, data release {asked.release}",
            got=f"{found.total:,} galaxies with votes", cure="Try another --option release=...",
        )  # fmt: skip
    labels, strange = labels_of(np.concatenate(found.flags))
    notes = [f"{len(found.ids):,} galaxies from {server.address}; {server.asked} queries, the other answers were kept"]
    if strange:
        notes.append(f"{strange:,} galaxies have no flag or several of {', '.join(FLAGS)}: they are left unlabelled")
    if found.missing:
        some = ", ".join(found.missing[:_SHOWN]) + (", ..." if len(found.missing) > _SHOWN else "")
        progress.warn(f"{len(found.missing):,} galaxies have no photometry in DR7, and are left out: {some}")
    origin = {
        "builder": "sdss", "from": server.address, "release": asked.release, "sql": catalogue.sql,
        "votes_release": catalogue.votes_release, "pages": found.pages, "missing": len(found.missing),
        "client": f"astroquery {machine.version_of('astroquery')}",
    }  # fmt: skip
    columns = catalogue.columns
    header = Header(
        n=len(found.ids), shape=None, dtype="", task="classification", classes=CLASSES, origin=origin,
        release=f"SDSS DR{asked.release}; Galaxy Zoo 1 table 2", licence=_LICENCE, read=ReadRecord("sdss"),
        columns=columns, roles=tuple(map(role_of, columns)), column_units=tuple(map(unit_of, columns)),
    )  # fmt: skip
    return _TableReading(
        header=header, ids=np.array(found.ids), labels=labels, table=found.table(), notes=notes,
        fingerprint=fingerprint_of("sdss 1", server.address, catalogue.sql, found.pages),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------- options


def _key(options: Mapping[str, str]) -> str:
    """What tells another request: the options that count, and the file that is named."""
    path = Path(options.get("file", ""))
    counted = sorted((key, value) for key, value in options.items() if key not in _AFTER)
    return fingerprint_of(counted, stat_facts([path] if path.is_file() else []))


def _read(options: Mapping[str, str]) -> _Asked:
    """Read the options; InputError for what is not understood."""
    others = sorted(set(options) - {"file", "release"})
    if options.get("file") and others:
        raise InputError(
            "is for SkyServer, and a file is given", where=f"--option {others[0]}", allowed="file, release",
            cure="Leave it out, or leave --option file out.",
        )  # fmt: skip
    bands = options.get("bands", BANDS)
    if not bands or set(bands) - set(BANDS) or len(set(bands)) < len(bands):
        raise InputError("are no bands", where="--option bands", allowed=f"some of {BANDS}, as gri", got=repr(bands))
    release = _number(options, "release", 7, int, RELEASES[0], RELEASES[-1])
    return _Asked(
        release=release,
        rows=_number(options, "rows", 0, int, 0, 10_000_000),
        bands="".join(band for band in BANDS if band in bands),
        page=_number(options, "page", 5000, int, 1, 20_000),
        rate=_number(options, "rate", 0.5, float, 0.001, 1000.0),
        timeout=_number(options, "timeout", 0.0, float, 0.0, 3600.0),
        url=options.get("url", ""),
        file=Path(options["file"]) if options.get("file") else None,
    )


def _number(options: Mapping[str, str], key: str, default: T, kind: Callable[[str], T], low: T, high: T) -> T:
    """A number of the options within its bounds; InputError for anything else."""
    text = options.get(key, "")
    if not text:
        return default
    try:
        value = kind(text)
    except ValueError:
        value = high + 1
    if not low <= value <= high:
        raise InputError("is not in range", where=f"--option {key}", allowed=f"{low:,} to {high:,}", got=repr(text))
    return value
