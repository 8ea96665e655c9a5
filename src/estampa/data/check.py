"""Look for what spoils a result: twins and groups on both sides of a split, missing values, odd labels."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from estampa.data.dataset import Dataset
from estampa.data.duplicates import exact_duplicates, near_duplicates
from estampa.data.findings import CheckResult, Finding, all_findings, leaking
from estampa.data.sheet import contact_sheet
from estampa.data.survey import survey
from estampa.files import require_writable, write_atomic
from estampa.progress import SILENT, Progress

__all__ = ["CheckResult", "Finding", "check", "near_across", "near_duplicates"]


def check(
    source: Dataset | Path | str, *, near: bool = True, page: Path | None = None, progress: Progress = SILENT
) -> CheckResult:
    """Look through a Dataset and say what was found, worst first.

    Exact duplicates or groups on two sides of a split that we made are refused; near duplicates, and whatever a
    published split does, are reported. Every pixel is read once (twice with `near`); memory stays flat.

    Parameters
    ----------
    source : Dataset, Path or str
        What to look through: a Dataset or its file.
    near : bool
        Look for near duplicates too (see duplicates.py).
    page : Path or None
        Where to write the contact sheet, an HTML page with examples, histograms and the findings' pictures.
    progress : Progress
        Where the work is told.

    Raises
    ------
    StorageError
        Before any work, when `page` cannot be written.
    """
    began = time.monotonic()
    dataset = source if isinstance(source, Dataset) else Dataset.open(source)
    if page is not None:
        require_writable(page)
    looked = survey(dataset, progress) if dataset.shape is not None else None
    exact = exact_duplicates(dataset.hashes)
    twins = near_duplicates(dataset, progress=progress) if near and dataset.shape is not None else None
    result = CheckResult(
        dataset,
        all_findings(dataset, exact, twins, looked),
        twins,
        leaking(dataset, exact, twins),
        looked,
        time.monotonic() - began,
    )
    if page is not None:
        write_atomic(page, contact_sheet(result))
    return result


def near_across(dataset: Dataset, *, progress: Progress = SILENT) -> np.ndarray:
    """Return the rows of the test part that have an exact or near twin in the train or validation part, (m,) int64."""
    return leaking(dataset, exact_duplicates(dataset.hashes), near_duplicates(dataset, progress=progress))
