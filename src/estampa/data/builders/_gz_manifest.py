"""Galaxies of a labels.csv beside pictures: every picture named, with its label, in no need of catalogue or map."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from estampa.data.builders._gz_sample import Galaxies
from estampa.data.gz2class import fold, parse
from estampa.data.sources._base import ReadOptions
from estampa.data.sources._keys import looks_rounded
from estampa.data.sources._rowplan import from_manifest
from estampa.data.sources._store import Store
from estampa.data.sources._tables import read_table
from estampa.errors import InputError, SourceError

_IDS = ("dr7objid", "objid", "galaxyid", "assetid")
_CLASSES = ("gz2class",)


def of_manifest(path: Path, folding: str) -> tuple[Galaxies, Store]:
    """Read a manifest (columns file, label, and an id such as objid or galaxy_id) and open its pictures.

    With a column gz2class and a `folding` the class is folded; else the label stands as it is. Names of files are the
    ids where there is no column of ids, or one that repeats or went through a spreadsheet. Raises SourceError when
    there are no labels, InputError for an unknown gz2class or a folding of other labels.
    """
    table = read_table(path)
    plan = from_manifest(path, ReadOptions(), table)
    strings = table.find(_CLASSES)
    unused = plan.beside.notes if plan.beside is not None else []
    notes = [note for note in plan.notes if note not in unused]
    if strings:
        texts = [text.strip() for text in table.columns[strings]]
        labels = list(texts)
        if folding not in ("", "none"):
            folded = [fold(parse(text, f"{path}, row {row}"), folding) for row, text in enumerate(texts, 1)]
            labels = [label or "" for label in folded]
    else:
        if folding not in ("", "none"):
            raise InputError(
                "folds gz2class, and there is no such column", where=f"--option fold={folding}", got=path,
                cure="Leave it out: the labels are taken as they are.",
            )  # fmt: skip
        if plan.answers.values is None or plan.answers.task != "classification":
            raise SourceError("has no column of classes", where=path, got=", ".join(table.columns))
        classes = (*plan.answers.classes, "")  # -1, unlabelled, is the last
        texts = labels = [classes[value] for value in plan.answers.values.tolist()]
    ids = [str(name) for name in plan.ids]
    column = table.find(_IDS)
    if column:
        given = [text.strip() for text in table.columns[column]]
        if looks_rounded(given) or len(set(given)) < len(given) or "" in given:
            notes.append(f"{path.name}: column {column!r} is rounded or repeats; names of files are the ids")
        else:
            ids = given
    places = np.full((table.n, 2), np.nan)
    for at, name in enumerate(("ra", "dec")):
        if plan.beside is not None and name in plan.beside.names:
            places[:, at] = plan.beside.values[:, plan.beside.names.index(name)]
    galaxies = Galaxies(ids, plan.names, texts, labels, places, plan.split, [], notes)
    known = np.flatnonzero([bool(label) for label in labels])
    if len(known) < len(labels):
        notes.append(f"{len(labels) - len(known):,} galaxies without a class are left out")
    return galaxies.rows(known), plan.store
