"""explore(): data in; clusters by several methods, judged, compared, shown on one page, and kept for new data out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from estampa import files, machine, parts
from estampa.data.dataset import Dataset
from estampa.data.read import ReadOptions, Source, open_any
from estampa.errors import InputError, nearest
from estampa.explore import compare as comparing
from estampa.explore import report
from estampa.explore.clustering import METHODS
from estampa.explore.exploration import ALL, Exploration, Settings
from estampa.explore.features import features_of
from estampa.explore.report import PAGE, lead
from estampa.explore.store import Explorer
from estampa.explore.work import Work
from estampa.plain import csv_safe
from estampa.progress import SILENT, Clock, Progress

ASSIGNMENTS, RECORD, EXPLORER = "assignments.csv", "exploration.json", "explorer"
MAPS = ("umap", "first")
LEAST = 10  #: objects below which there is nothing to explore

__all__ = ["ASSIGNMENTS", "PAGE", "Settings", "assign", "explore", "lead", "read_clusters", "read_map", "read_methods"]


def read_clusters(text: str) -> int | None:
    """A number of clusters, or None for "auto"; InputError for anything else."""
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 2:
        raise InputError("the number of clusters", where="--clusters", allowed="auto, or 2 or more", got=text)
    return int(text)


def read_methods(text: str) -> tuple[str, ...]:
    """Names parted by commas, each once; "" = all five. InputError, with the nearest name, for an unknown one."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip())) or ALL
    known = parts.names(METHODS)
    for name in names:
        if name not in known:
            raise InputError(
                f"unknown method {name!r}", where="--methods", allowed=", ".join(known), cure=nearest(name, known)
            )
    return names


def read_map(text: str) -> str:
    """Check the name of a map."""
    if text not in MAPS:
        raise InputError(f"unknown map {text!r}", where="--map", allowed=", ".join(MAPS), cure=nearest(text, MAPS))
    return text


def explore(
    source: Source | Dataset,
    output: Path | str,
    settings: Settings | None = None,
    *,
    command: str = "",
    progress: Progress = SILENT,
) -> Exploration:
    """Explore data without using its labels, and write the findings into a folder.

    `output` (new or empty) gets report.html, figures/, tables/, assignments.csv (id, row, class, and of each method one
    column of clusters and one of strength; -1 = noise), explorer/ (what assigns new data), and exploration.json, which
    is written last: a folder without it is not whole.

    Raises InputError (fewer objects than clusters, an unknown method, nothing to compare by), DatasetError,
    MissingExtra, StorageError.
    """
    asked, folder = settings or Settings(), Path(output)
    read_map(asked.map)
    read_methods(",".join(asked.methods))
    files.require_new_folder(folder)
    ways = comparing.read_ways(asked.compare) if asked.compare else None
    for module in ("sklearn", "scipy", "matplotlib", *(["umap"] if asked.map == "umap" else [])):
        machine.require("explore", module, needed_for="explore")
    dataset = source if isinstance(source, Dataset) else open_any(source, ReadOptions(), progress)
    _require_enough(dataset.n, asked)
    if ways is not None:
        comparing.check(dataset, ways)
    clock = Clock()
    with clock.of("features"):
        features = features_of(
            dataset, asked.features, components=asked.components, crop=asked.crop, seed=asked.seed, progress=progress
        )
    work = Work(dataset, features, asked, clock, progress)
    found = work.explored()
    if ways is not None:
        with clock.of("comparison of ways to look"):
            rows = comparing.compare(dataset, ways, clusters=work.clusters, seed=asked.seed, progress=progress)
        found = replace(found, comparison=rows)
    with clock.of("report and files"):
        _write(folder, found, work, command, progress)
    return found


def assign(folder: Path | str, source: Source | Dataset, output: Path | str, progress: Progress = SILENT) -> int:
    """Assign new data to the clusters of a finished exploration; returns the number of rows written.

    The CSV file has the columns of assignments.csv. Raises InputError (no exploration, a name that is not .csv),
    ContractError (other pictures or columns than it was made of), StorageError.
    """
    folder, output = Path(folder), Path(output)
    if output.suffix.lower() != ".csv":
        raise InputError("its name must end in .csv", where=output)
    if not (folder / RECORD).is_file():
        raise InputError(
            "is not a finished exploration",
            where=folder,
            got=f"no {RECORD}",
            cure="`estampa explore DATA -o DIR` makes one.",
        )
    files.require_writable(output)
    explorer = Explorer.load(folder / EXPLORER)
    dataset = source if isinstance(source, Dataset) else open_any(source, ReadOptions(), progress)
    known = dataset.labels if dataset.task == "classification" else None
    columns = explorer.assign(dataset, progress=progress)
    text = table_of(dataset.ids, np.arange(dataset.n), known, dataset.classes, columns)
    files.write_atomic(output, text)
    return dataset.n


def table_of(
    ids: np.ndarray,
    rows: np.ndarray,
    labels: np.ndarray | None,
    classes: Sequence[str],
    columns: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> str:
    """CSV of id, row, class, then METHOD (number of the cluster from 1 on, -1 = noise) and METHOD_strength.

    Names that a spreadsheet would run are guarded.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["id", "row", "class", *(name for m in columns for name in (m, f"{m}_strength"))])
    told = [csv_safe(classes[c]) if c >= 0 else "" for c in labels.tolist()] if labels is not None else [""] * len(ids)
    values = []
    for found, strength in columns.values():
        values += [np.where(found >= 0, found + 1, -1).tolist(), [f"{s:.4f}" for s in strength.tolist()]]
    safe = [csv_safe(str(name)) for name in ids]
    writer.writerows(zip(safe, rows.tolist(), told, *values, strict=True))
    return out.getvalue()


def _require_enough(n: int, asked: Settings) -> None:
    least = max(LEAST, asked.clusters or 2)
    if n < least:
        raise InputError(
            "too few objects to explore", where="explore", allowed=f"{least} or more", got=f"{n}",
            cure="Ask for fewer clusters." if n >= LEAST else "",
        )  # fmt: skip


def _write(folder: Path, found: Exploration, work: Work, command: str, progress: Progress) -> None:
    """Everything into the folder, the record last."""
    features = found.features
    columns = {name: (one.clustering.labels, one.clustering.strength) for name, one in found.found.items()}
    text = table_of(features.ids, features.rows, features.labels, features.classes, columns)
    report.write_report(folder, found, command, progress)
    files.write_atomic(folder / ASSIGNMENTS, text)
    work.explorer(found).save(folder / EXPLORER)
    record = json.dumps(found.to_json(), ensure_ascii=False, allow_nan=False, indent=1)
    files.write_atomic(folder / RECORD, record + "\n")
