"""A million pictures through `estampa predict`: images per second, and by how much resident memory grows.

python -m benchmarks.million BUNDLE SCRATCH_FOLDER [--rows 1000000]
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from pathlib import Path


def resident() -> int:
    """Resident memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    import numpy as np

    from estampa.bundle.store import Bundle
    from estampa.data.dataset import DatasetWriter, Header, ReadRecord
    from estampa.predict import predict

    words = argparse.ArgumentParser()
    words.add_argument("bundle", type=Path)
    words.add_argument("folder", type=Path)
    words.add_argument("--rows", type=int, default=1_000_000)
    asked = words.parse_args()
    bundle, n = Bundle.open(asked.bundle), asked.rows
    shape, dtype = bundle.contract.shape, bundle.contract.dtype
    header = Header(
        n=n, shape=shape, dtype=dtype, task="unlabelled", classes=(), channels=bundle.contract.channels,
        read=ReadRecord(source="arrays"), units=bundle.contract.units,
    )  # fmt: skip
    random = np.random.default_rng(0)
    writer = DatasetWriter(
        asked.folder / "million.h5", header, ids=np.char.mod("%07d", np.arange(n)), labels=None, fingerprint="million"
    )
    for start in range(0, n, 10_000):
        writer.write(start, random.integers(0, 256, (min(10_000, n - start), *shape), np.uint8).astype(dtype))
    dataset = writer.finish()
    bundle.score(dataset.take(np.arange(4096)))  # the model itself, its arena and its threads are not growth
    before, highest, stop = resident(), [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            highest[0] = max(highest[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    predict(bundle, dataset, asked.folder / "million.csv")
    seconds = time.perf_counter() - began
    stop.set()
    watcher.join()
    print(json.dumps({
        "rows": n, "seconds": seconds, "images_per_second": n / seconds, "resident_before": before,
        "resident_growth": highest[0] - before, "csv_bytes": (asked.folder / "million.csv").stat().st_size,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
