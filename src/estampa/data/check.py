"""Look for what spoils a result: twins and groups on both sides of a split, missing values, what to leave out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from estampa.data.cleaning import Doubts, cleaning
from estampa.data.dataset import Dataset
from estampa.data.duplicates import Twins, exact_duplicates, near_duplicates
from estampa.data.findings import CheckResult, Finding, all_findings, leaking
from estampa.data.quality import quality
from estampa.data.rawfiles import RawFiles, look_at_files
from estampa.data.read import ReadOptions, open_any, open_reading
from estampa.data.same import copy_hashes, same_objects
from estampa.data.sheet import contact_sheet
from estampa.data.survey import survey
from estampa.files import require_writable, write_atomic
from estampa.progress import SILENT, Progress

__all__ = ["CheckResult", "Finding", "check", "near_across", "near_duplicates"]

_DEFAULT = ReadOptions()


def check(
    source: Dataset | Path | str | Sequence[Path | str],
    *,
    options: ReadOptions = _DEFAULT,
    near: bool = True,
    page: Path | None = None,
    listed: Path | None = None,
    doubts: Callable[[Dataset, Progress], Doubts | None] | None = None,
    progress: Progress = SILENT,
) -> CheckResult:
    """Look through data and say what was found, worst first.

    Exact duplicates or groups on two sides of a split that we made are refused; near duplicates, and whatever a
    published split does, are reported. Every pixel is read once (twice with `near`, once more for the page or the
    list); memory stays flat.

    Parameters
    ----------
    source : what to look through: a Dataset, its file, or whatever `build` reads (built once into the cache). Of
        folders and archives of pictures the files are looked at too: sizes, frames, what cannot be read.
    options : how `source` is read, as in `build`.
    near : look for near duplicates too (see duplicates.py); of a table alone, for rows of one object (see same.py).
    page : where to write the contact sheet, an HTML page with what one may leave out, to be ticked, examples and
        histograms. What is suggested is written beside it, as `listed`.
    listed : where to write the suggestions, a CSV file of id and reason that `build --exclude` takes; None = beside
        the page, its name with -exclude.csv.
    doubts : finds labels that are likely wrong, for the page: `evaluate.doubts.quick_doubts`. None = not looked for.
    progress : where the work is told.

    Raises StorageError before any work, when `page` or `listed` cannot be written.
    """
    began = time.monotonic()
    if page is not None and listed is None:
        listed = page.with_name(f"{page.stem}-exclude.csv")
    for place in (page, listed):
        if place is not None:
            require_writable(place)
    dataset, files = _opened(source, options, listed is not None, progress)
    pictures = dataset.shape is not None
    looked = survey(dataset, progress) if pictures else None
    exact = exact_duplicates(copy_hashes(dataset))
    twins = None
    if near:
        twins = near_duplicates(dataset, progress=progress) if pictures else _same(dataset)
    suspects = None
    if listed is not None:
        measures = None if looked is None else (looked, quality(dataset, looked, progress))
        doubted = doubts(dataset, progress) if doubts is not None else None
        suspects = cleaning(dataset, (exact, twins), measures, files, doubted)
        write_atomic(listed, suspects.to_csv())
    found = all_findings(dataset, exact, twins, looked)
    leaks, seconds = leaking(dataset, exact, twins), time.monotonic() - began
    result = CheckResult(dataset, found, twins, leaks, looked, seconds, suspects, listed)
    if page is not None:
        write_atomic(page, contact_sheet(result))
    return result


def _opened(
    source: Dataset | Path | str | Sequence[Path | str], options: ReadOptions, cleaned: bool, progress: Progress
) -> tuple[Dataset, RawFiles | None]:
    """The Dataset, and what the files behind it say where they are at hand and the page wants to know."""
    if isinstance(source, Dataset):
        return source, None
    dataset = open_any(source, options, progress)
    paths = [Path(source)] if isinstance(source, (str, Path)) else [Path(p) for p in source]
    if not cleaned or dataset.path == paths[0] or dataset.shape is None:
        return dataset, None
    return dataset, look_at_files(open_reading(paths, options), paths, progress)


def _same(dataset: Dataset) -> Twins:
    """Rows of a table alone that are one object, as twins."""
    pairs = same_objects(dataset).pairs
    return Twins(pairs, np.ones(len(pairs), np.float32))


def near_across(dataset: Dataset, *, progress: Progress = SILENT) -> np.ndarray:
    """Return the rows of the test part that have an exact or near twin in the train or validation part, (m,) int64."""
    twins = _same(dataset) if dataset.shape is None else near_duplicates(dataset, progress=progress)
    return leaking(dataset, exact_duplicates(copy_hashes(dataset)), twins)
