"""Small Dataset files for the tests of check and split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from estampa.data.dataset import Dataset, DatasetWriter, Header


def make(path: Path, images: np.ndarray, labels: np.ndarray | None, **given: Any) -> Dataset:
    """Write (n, h, w, c) images as a Dataset; `given`: ids, groups, split, and fields of the header."""
    n = len(images)
    columns = {name: given.pop(name, None) for name in ("groups", "split")}
    ids = given.pop("ids", [f"object {i}" for i in range(n)])
    task = given.pop("task", "unlabelled" if labels is None else "classification")
    classes = tuple("abcdefghij"[: int(labels.max()) + 1]) if task == "classification" else ()
    header = Header(n=n, shape=images.shape[1:], dtype=str(images.dtype), task=task, **({"classes": classes} | given))
    writer = DatasetWriter(path, header, ids=ids, labels=labels, fingerprint="test", **columns)
    writer.write(0, images)
    return writer.finish()


def noise(n: int, seed: int = 0, side: int = 12, channels: int = 1) -> np.ndarray:
    """Different 8-bit pictures."""
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, channels), dtype=np.uint8)
