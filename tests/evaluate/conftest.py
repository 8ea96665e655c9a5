"""Small Datasets written directly, and stand-in models, so that judging is tested apart from training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estampa.data.dataset import Dataset, DatasetWriter, Header, ReadRecord

Maker = Callable[..., Dataset]


@pytest.fixture
def make_dataset(tmp_path: Path) -> Maker:
    """Write images and labels into a Dataset file and open it."""

    def make(
        images: np.ndarray,
        labels: np.ndarray,
        *,
        classes: tuple[str, ...] = (),
        split: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        ids: np.ndarray | None = None,
        name: str = "set",
        **header: Any,
    ) -> Dataset:
        task = "classification" if classes else "regression"
        made = Header(
            n=len(images),
            shape=images.shape[1:],
            dtype=str(images.dtype),
            task=task,
            classes=classes,
            read=ReadRecord(source="arrays"),
            **header,
        )
        names = np.array([f"row {i}" for i in range(len(images))]) if ids is None else ids
        writer = DatasetWriter(
            tmp_path / f"{name}.h5", made, ids=names, labels=labels, groups=groups, split=split, fingerprint=name
        )
        writer.write(0, images, {})
        return writer.finish()

    return make


@pytest.fixture
def blobs(make_dataset: Maker) -> Dataset:
    """240 pictures of 6 x 6, three classes told by which third is bright; train 120, validation 30, test 90."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 240)
    images = rng.integers(0, 120, (240, 6, 6, 1))
    for c in range(3):
        images[labels == c, 2 * c : 2 * c + 2] += rng.integers(0, 100, (int((labels == c).sum()), 2, 6, 1))
    split = np.repeat([1, 2, 3], [120, 30, 90]).astype(np.uint8)
    return make_dataset(images.astype(np.uint8), labels, classes=("low", "middle", "high"), split=split)
