"""One side of the PCA race: a Dataset of wide pictures to principal components, in a process of its own.

    python -m benchmarks.ours_pca WAY DATASET COMPONENTS [--crop 174] [--batch 100] [--repeat 1] [--passes N]

WAY is `randomised` (estampa's Reduction) or `incremental` (scikit-learn's IncrementalPCA, fed the same crops in
float32 from the same file, a batch at a time). Prints one JSON line: seconds of the fit with reading, peak memory of
the fit, and the share of the variance that the components found really hold, measured afterwards in the same way for
both. `--repeat` shows every row so many times, for memory at larger n.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from estampa.data.dataset import Dataset


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("way", choices=["randomised", "incremental"])
    words.add_argument("dataset", type=Path)
    words.add_argument("components", type=int)
    words.add_argument("--crop", type=int, default=174)
    words.add_argument("--batch", type=int, default=100)
    words.add_argument("--repeat", type=int, default=1)
    words.add_argument("--passes", type=int, default=None)
    asked = words.parse_args()
    from estampa import machine
    from estampa.data.dataset import Dataset

    dataset = Dataset.open(asked.dataset)
    if asked.way == "randomised":
        from estampa.reduce.pca import PASSES
        from estampa.reduce.reduction import Reduction

        rows = np.tile(np.arange(dataset.n), asked.repeat)
        began = time.perf_counter()
        passes = PASSES if asked.passes is None else asked.passes
        made = Reduction.fit(dataset, rows, components=asked.components, crop=asked.crop, passes=passes)
        seconds = time.perf_counter() - began
        components, mean, said = made.pca.components, made.pca.mean, made.pca.explained
    else:
        from sklearn.decomposition import IncrementalPCA

        began = time.perf_counter()
        fitted = IncrementalPCA(asked.components, batch_size=asked.batch)
        for rows in np.array_split(np.arange(dataset.n), max(1, dataset.n // asked.batch)):
            fitted.partial_fit(central(dataset.take(rows), asked.crop))
        seconds = time.perf_counter() - began
        components, mean, said = fitted.components_, fitted.mean_, float(fitted.explained_variance_ratio_.sum())
    record = {
        "seconds": seconds,
        "said": said,
        "peak_memory_bytes": machine.peak_memory(),
        "rows": dataset.n * asked.repeat,
    }
    print(json.dumps(record | {"held": held(dataset, components, mean, asked.crop)}), flush=True)


def held(dataset: Dataset, components: np.ndarray, mean: np.ndarray, crop: int) -> float:
    """Share of the squared differences from the mean picture that the components hold."""
    whole = inside = 0.0
    components, mean = components.astype(np.float32), mean.astype(np.float32)
    for _, images in dataset.blocks(size=256):
        values = central(images, crop) - mean
        whole += float(np.square(values, dtype=np.float64).sum())
        inside += float(np.square(values @ components.T, dtype=np.float64).sum())
    return inside / whole


def central(images: np.ndarray, crop: int) -> np.ndarray:
    """(m, h, w, c) to its central squares as (m, f) float32."""
    top, left = (images.shape[1] - crop) // 2, (images.shape[2] - crop) // 2
    return images[:, top : top + crop, left : left + crop].reshape(len(images), -1).astype(np.float32)


if __name__ == "__main__":
    main()
