"""Tables of every format that is read: CSV, TSV, Parquet, VOTable, FITS and ECSV, as columns of texts."""

from __future__ import annotations

import io
import re
import warnings
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from estampa import machine
from estampa.data.sources._fitsfile import GZIP, unpacked
from estampa.data.sources._fitsfile import SUFFIXES as FITS
from estampa.data.sources._picture import Unreadable
from estampa.data.sources._tables import Table, read_table
from estampa.data.sources._wide import PARQUET, open_parquet, parquet_table
from estampa.errors import SourceError

VOTABLE = (".vot", ".votable", ".xml")
TEXTS = (".csv", ".tsv")
ECSV = (".ecsv",)
_KINDS = {"votable": VOTABLE, "fits": FITS, "ascii.ecsv": ECSV}
# A VOTable may tell its reader to fetch its data from elsewhere, or define entities: nothing outside of it is read.
_OUTSIDE = re.compile(rb"<\s*(?:\w+:)?STREAM\b[^>]*\bhref\b|<!ENTITY", re.IGNORECASE)


def kind_of(path: Path) -> str:
    """Format that a file's name says, as astropy calls it: votable | fits | ascii.ecsv; "" for any other."""
    return next((kind for kind, endings in _KINDS.items() if path.name.lower().endswith(endings)), "")


def looks_like_table(path: Path) -> bool:
    """Whether a file's name is that of a table beside pictures (a FITS file may be either)."""
    return path.is_file() and (path.suffix.lower() in (*TEXTS, *PARQUET) or kind_of(path) not in ("", "fits"))


def any_table(path: Path) -> Table:
    """Read a table by its name's ending; columns of several numbers a row are left out, masked fields are empty.

    Raises SourceError for what cannot be read, MissingExtra where pyarrow or astropy is needed and is not there.
    """
    if not path.is_file():
        raise SourceError("there is no such catalogue", where=path)
    if kind_of(path):
        return texts_of(path, astropy_table(path))
    if path.suffix.lower() in PARQUET:
        return parquet_table(path, open_parquet(path).schema_arrow.names)
    return read_table(path)


def astropy_table(path: Path) -> Any:
    """A VOTable's first table, a FITS file's first table HDU, or ECSV, as astropy's Table, with texts as str."""
    kind = kind_of(path)
    machine.require("astro", "astropy", needed_for=f"a table in {kind}")
    status = path.stat()
    return _parsed(path, kind, (status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=1)  # a source looks at a table before it reads it, and a VOTable is parsed whole
def _parsed(path: Path, kind: str, changed: tuple[int, int]) -> Any:  # noqa: ARG001 - another file is parsed anew
    from astropy.table import Table as AstropyTable

    with path.open("rb") as stream:
        flat = kind == "fits" and stream.read(2) != GZIP
        try:
            data = b"" if flat else unpacked(path.read_bytes())
        except Unreadable as error:
            raise SourceError(str(error), where=path) from error
        if kind == "votable" and (_OUTSIDE.search(data) or b"\0" in data[:512]):
            raise SourceError(
                "refers to what lies outside of it, or is not in UTF-8", where=path,
                allowed="a VOTable with its data inside (TABLEDATA, BINARY, BINARY2)",
            )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old dialects, which astropy reads and grumbles at
            try:
                if kind == "fits":  # a plain file is mapped: memory stays flat
                    number = _table_hdu(stream if flat else io.BytesIO(data))
                    source: Any = path if flat else io.BytesIO(data)
                    found = AstropyTable.read(source, format=kind, hdu=number, memmap=flat, mask_invalid=False)
                else:
                    source = data.decode("utf-8") if kind == "ascii.ecsv" else io.BytesIO(data)
                    found = AstropyTable.read(source, format=kind)
                found.convert_bytestring_to_unicode()
            except Exception as error:  # each format of astropy fails in its own ways
                told = str(error).split("\n")[0][:200]
                raise SourceError(f"cannot be read as {kind}, or truncated", where=path, got=told) from error
    return found


def _table_hdu(stream: IO[bytes]) -> int:
    """Number of the first HDU that is a table and no packed picture."""
    from astropy.io import fits

    stream.seek(0)
    with fits.open(stream, memmap=False, lazy_load_hdus=True) as files:
        for number, hdu in enumerate(files):
            if isinstance(hdu, (fits.BinTableHDU, fits.TableHDU)) and not isinstance(hdu, fits.CompImageHDU):
                return number
    raise ValueError("it holds no table")


def texts_of(path: Path, found: Any) -> Table:
    """Columns of one value a row of astropy's table, as texts; masked and missing ones are empty."""
    columns = {
        str(name): ["" if v is np.ma.masked else str(v).strip() for v in found[name]]
        for name in found.colnames
        if found[name].ndim == 1
    }
    return Table(path, columns, len(found))
