"""Source `table`: a CSV, TSV, Parquet, VOTable, FITS or ECSV table whose rows are the objects.

Either **pixels in columns** (pixel0, pixel1, ...; px_0_0; several words are channels), or a **manifest** with a column
of file names (`file`, `filename`, `path`, `image`) relative to its folder: of .npy arrays, one picture each; of
pictures, where it is a TSV or Parquet file (the source `folder` takes a CSV of pictures). Other columns are labels,
groups, ids, parts, and numbers for the Dataset's table. Cells of a VOTable, FITS or ECSV table may hold a picture each.
Any other table is a **catalogue**, a Dataset without images: what its columns are for is said by `data/roles.py`.
Parquet needs the extra `tables`, the astronomers' formats the extra `astro`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from estampa import machine
from estampa.data.sources import fits, folder, text
from estampa.data.sources._anytable import ECSV, TEXTS, VOTABLE, kind_of
from estampa.data.sources._arrayfiles import ArrayFile
from estampa.data.sources._base import Reading, ReadOptions
from estampa.data.sources._cells import Cells
from estampa.data.sources._fitsfile import SUFFIXES as FITS
from estampa.data.sources._planes import Held, extremes_of
from estampa.data.sources._rowplan import MANIFEST_IDS, file_column, from_manifest, require_inside
from estampa.data.sources._rows import forbid, reshape_of
from estampa.data.sources._sheetreading import reading_of_sheet
from estampa.data.sources._sheets import sheet_of
from estampa.data.sources._stack import Found, reading_of
from estampa.data.sources._tables import Table, heading, read_table
from estampa.data.sources._wide import PARQUET, WideCsv, WideParquet, open_parquet, parquet_table, pixel_columns
from estampa.errors import SourceError

SUFFIXES = (*TEXTS, *PARQUET, *VOTABLE, *FITS, *ECSV)


def is_mine(paths: Sequence[Path], options: ReadOptions) -> str | None:
    """None for one table that no other source reads; else why not."""
    if len(paths) != 1 or not paths[0].is_file() or not paths[0].name.lower().endswith(SUFFIXES):
        return f"not one file that ends in {', '.join(SUFFIXES)}"
    path = paths[0]
    for name, other in (("text", text), ("folder", folder), ("fits", fits)):
        if other.is_mine(paths, options) is None:
            return f"the source {name} reads it"
    if kind_of(path) and machine.version_of("astropy") is None:
        return None if kind_of(path) != "fits" else "the source fits reads it"  # `read` says what is lacking
    return None


def read(paths: Sequence[Path], options: ReadOptions) -> Reading:
    """Understand the table; pixels are parsed, and files opened, when blocks are asked for.

    Raises SourceError for a table that fits neither form, MissingExtra for Parquet without pyarrow. A row that cannot
    be read is rejected by its number.
    """
    path = paths[0]
    if kind_of(path):
        return _of_cells(paths, options)
    heads = _heads(path)
    forbid(options, path, "layout")
    pixels = pixel_columns(heads, reshape_of(options))
    found = Found()
    if pixels is None and not file_column(heads):
        return reading_of_sheet("table", paths, sheet_of(path), options)
    if pixels is not None:
        wide = WideParquet(path, pixels) if _is_parquet(path) else WideCsv(path, heads, pixels)
        if len(wide.bad) == len(wide) > 0:
            raise SourceError("not one row can be read", where=path, got=f"row 0: {wide.bad[0]}")
        found.put("images", path.stem, wide)
        found.tables.append(wide.table)
        return reading_of("table", paths, found, replace(options, reshape=pixels.shape), channels=pixels.channels)
    return _of_files(paths, parquet_table(path, heads) if _is_parquet(path) else read_table(path), options)


def _of_cells(paths: Sequence[Path], options: ReadOptions) -> Reading:
    """A VOTable, FITS table or ECSV: pictures in cells, pixels in columns, or names of files."""
    path, found = paths[0], Found()
    cells = Cells(path)
    arrays = cells.pictures(reshape_of(options) is not None)
    if arrays:
        for name in arrays:
            found.put("images", name, cells.picture(name))
        found.tables.append(cells.texts(arrays))
        return reading_of("table", paths, found, options)
    flat = cells.pictures(True)
    if flat:
        raise SourceError(
            f"column {flat[0]!r} holds many numbers a row, which may be a flattened picture", where=path,
            cure="Say its shape with --reshape HxW, or export the table without it.",
        )  # fmt: skip
    forbid(options, path, "layout")
    pixels = pixel_columns(cells.heads, reshape_of(options))
    if pixels is None and not file_column(cells.heads):
        return reading_of_sheet("table", paths, sheet_of(path), options)
    if pixels is None:
        return _of_files(paths, cells.texts(), options)
    found.put("images", path.stem, cells.wide(pixels.names, pixels.shape))
    found.tables.append(cells.texts(pixels.names))
    return reading_of("table", paths, found, replace(options, reshape=pixels.shape), channels=pixels.channels)


def _of_files(paths: Sequence[Path], table: Table, options: ReadOptions) -> Reading:
    """A manifest: a row for each file."""
    path, found = paths[0], Found()
    column = file_column(list(table.columns))
    if table.n == 0:
        raise SourceError("no rows", where=path)
    names = table.columns[column]
    if not any(name.lower().endswith(".npy") for name in names):
        forbid(options, path, "reshape")
        return folder.reading_of_plan(paths, from_manifest(path, options, table), options)
    require_inside(names, path)
    found.put("images", path.stem, _Files(path, names))
    found.tables.append(Table(path, {name: texts for name, texts in table.columns.items() if name != column}, table.n))
    if not table.find(MANIFEST_IDS) and len(set(names)) == table.n:
        found.put("ids", "", Held(np.array(names), str(path), column))
    return reading_of("table", paths, found, options)


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in PARQUET


def _heads(path: Path) -> list[str]:
    return list(open_parquet(path).schema_arrow.names) if _is_parquet(path) else heading(path)


class _Files:
    """One .npy file a row, as `Rows`: all of the shape that most have; others are in `bad`."""

    def __init__(self, manifest: Path, names: Sequence[str]) -> None:
        self.name, self.key, self._paths = str(manifest), "", [manifest.parent / name for name in names]
        bad: dict[int, str] = {}
        heads: dict[int, ArrayFile] = {}
        for row, path in enumerate(self._paths):
            try:
                heads[row] = ArrayFile(path)
            except FileNotFoundError:
                bad[row] = "file not found"
            except SourceError as error:
                bad[row] = error.what
        if not heads:
            raise SourceError("not one of the named files can be read", where=manifest, got=f"row 0: {bad[0]}")
        shape = Counter(head.shape for head in heads.values()).most_common(1)[0][0]
        for row, head in heads.items():
            if head.shape != shape:
                bad[row] = f"an array of shape {head.shape}, most are {shape}"
        self.dtype: np.dtype[Any] = np.result_type(*{h.dtype for row, h in heads.items() if row not in bad})
        self.bad: Mapping[int, str] = bad
        self.shape: tuple[int, ...] = (len(names), *shape)

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop; zeros where a row is bad."""
        out = np.zeros((stop - start, *self.shape[1:]), self.dtype)
        for row in range(start, stop):
            if row not in self.bad:
                out[row - start] = ArrayFile(self._paths[row]).whole()
        return out

    def whole(self) -> np.ndarray:
        """All of it."""
        return self.rows(0, len(self))

    def extremes(self) -> tuple[float, float]:
        """Lowest and highest finite value, read in blocks."""
        return extremes_of(self)
