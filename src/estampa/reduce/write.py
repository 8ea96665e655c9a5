"""Reduced objects as a Dataset: a table of scores with the same ids, labels, groups and parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from estampa.data.dataset import Dataset, DatasetWriter, ReadRecord, write_split
from estampa.progress import SILENT, Progress
from estampa.reduce.reduction import Reduction


def write_reduced(dataset: Dataset, reduction: Reduction, path: Path, progress: Progress = SILENT) -> Dataset:
    """Write the scaled scores of every row of `dataset` to `path`, columns pc_001, pc_002, ..., and open it.

    Its header says which Dataset and which reduction it came from. Raises ContractError when the pictures are not what
    the reduction was fitted on, StorageError when the disk is full.
    """
    scores = reduction.transform_dataset(dataset, progress=progress)
    origin = {
        **dataset.header.origin, "reduced_from": dataset.content_sha256, "reduction": reduction.fingerprint,
        "crop": reduction.crop,
    }  # fmt: skip
    header = replace(
        dataset.header, shape=None, channels=(), units="", pixel_scale=None, symmetry="auto", origin=origin,
        columns=column_names(reduction.components), read=ReadRecord(source="reduced"),
    )  # fmt: skip
    writer = DatasetWriter(
        path, header, ids=dataset.ids, labels=dataset.labels, groups=dataset.groups, split=dataset.split,
        fingerprint=f"reduced {dataset.content_sha256} {reduction.fingerprint}",
    )  # fmt: skip
    try:
        writer.put_table(scores)
        made = writer.finish()
    finally:
        if writer.open:
            writer.abort()
    if dataset.split_record:
        write_split(path, dataset.split, {**dataset.split_record, "carried_over": True})
        made = Dataset.open(path)
    return made


def column_names(components: int) -> tuple[str, ...]:
    """pc_001, pc_002, ...: as many digits as the last needs, at least three."""
    digits = max(3, len(str(components)))
    return tuple(f"pc_{i:0{digits}d}" for i in np.arange(1, components + 1))
