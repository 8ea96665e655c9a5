"""A catalogue of positions: where on which exposure each cut-out lies, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estampa.data.skytext import degrees
from estampa.data.sources._anytable import any_table
from estampa.data.sources._labels import NO_ANSWERS, Answers, from_texts, require_unique
from estampa.data.sources._tables import GROUP_COLUMNS, ID_COLUMNS, LABEL_COLUMNS, measured
from estampa.errors import SourceError

Array = NDArray[Any]
X, Y, RA, DEC = ("x", "xpos", "ximage"), ("y", "ypos", "yimage"), ("ra", "radeg"), ("dec", "decdeg", "de")
#: What an exposure is made of; each may be a column of the catalogue that names files.
ROLES = ("science", "template", "difference", "variance", "template_variance", "mask")
_LABELS = tuple(name for name in LABEL_COLUMNS if name not in Y)  # here y is a position


@dataclass(frozen=True)
class Catalogue:
    """n rows. `first`, `second` (n,) are x, y (0-based pixels) or ra, dec (degrees, `sky` true); NaN = not a number."""

    first: Array
    second: Array
    sky: bool
    ids: Array
    answers: Answers
    groups: Array | None
    columns: tuple[str, ...]
    values: Array  #: (n, columns) float64, NaN where empty
    files: Mapping[str, list[str]]  #: role -> path for each row
    notes: tuple[str, ...]  #: which columns are kept and which not

    def __len__(self) -> int:
        return len(self.first)


def read_catalogue(path: Path, options: Mapping[str, str]) -> Catalogue:
    """Read positions and columns from CSV (comma, semicolon, tab), or VOTable, FITS table or ECSV through astropy.

    Columns, case and underscores aside: x, y in pixels (`options["first"]` is the number of the first one) or ra, dec
    in degrees; id, label, group where there are any (or as `options` name them); science, template, ... name files,
    relative to the catalogue. Every other column of numbers, and the positions, become columns of the Dataset.

    Raises SourceError when there are no positions, both kinds of them, or ids that repeat.
    """
    table = any_table(path)
    if not table.n:
        raise SourceError("the catalogue has no rows", where=path)
    pixels, sky = (tuple(table.find(k) for k in kinds) for kinds in ((X, Y), (RA, DEC)))
    if not all(pixels) and not all(sky):
        raise SourceError(
            "the catalogue has no positions", where=path, allowed="columns x and y (pixels), or ra and dec (degrees)",
            got=", ".join(table.columns),
        )  # fmt: skip
    used = pixels if all(pixels) else sky  # where both are given, pixels need no WCS
    shift = float(options.get("first", "0")) if used is pixels else 0.0
    first, second = (
        _numbers(table.columns[name], "" if used is pixels else kind)
        for name, kind in zip(used, ("ra", "dec"), strict=True)
    )
    id_column = table.find(ID_COLUMNS, options.get("id", ""))
    label = table.find(_LABELS, options.get("label", ""))
    group = table.find(GROUP_COLUMNS, options.get("group", ""))
    ids = np.array(table.columns[id_column] if id_column else [f"c{i:06d}" for i in range(table.n)])
    classes = tuple(c.strip() for c in options.get("classes", "").split(",") if c.strip())
    if classes and not label:
        raise SourceError("has no column of answers for the classes given", where=path, got=", ".join(table.columns))
    answers = from_texts(table.columns[label], classes, path) if label else NO_ANSWERS
    files = {
        role: _paths(table.columns[name], path.parent)
        for role in ROLES
        if (name := table.find((role.replace("_", ""),)))
    }
    taken = {id_column, label, group, *(table.find((role.replace("_", ""),)) for role in ROLES)}
    beside = measured(table, taken, label)
    return Catalogue(
        first=first - shift, second=second - shift, sky=used is not pixels, ids=require_unique(ids, path),
        answers=answers, groups=np.array(table.columns[group]) if group else None, columns=beside.names,
        values=beside.values, files=files, notes=tuple(beside.notes),
    )  # fmt: skip


def _paths(texts: list[str], folder: Path) -> list[str]:
    """Paths for each row, relative ones from the catalogue's folder; "" where none is named."""
    return [str(folder / text.strip()) if text.strip() else "" for text in texts]


def _numbers(texts: list[str], kind: str = "") -> Array:
    """(n,) float64, of `kind` ra or dec in degrees; NaN for what is none: that row is rejected by name."""
    found = np.full(len(texts), np.nan)
    for row, text in enumerate(texts):
        try:
            found[row] = degrees(text, kind, row) if kind else float(text)
        except (ValueError, SourceError):
            continue
    return np.where(np.isfinite(found), found, np.nan)
