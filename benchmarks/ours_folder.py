"""Our side of the folder race: a folder of JPEGs to a Dataset file.

    python -m benchmarks.ours_folder FOLDER OUT.h5 [--size HxW]

Prints one JSON line like the plain loop's: pictures, seconds, CPU seconds, peak memory.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("folder", type=Path)
    words.add_argument("output", type=Path)
    words.add_argument("--size")
    asked = words.parse_args()
    from estampa import machine
    from estampa.data.read import ReadOptions, build

    size = tuple(int(v) for v in asked.size.split("x")) if asked.size else None
    began, cpu = time.perf_counter(), time.process_time()
    dataset = build(asked.folder, asked.output, ReadOptions(size=size))
    record = {
        "pictures": dataset.n,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "peak_memory_bytes": machine.peak_memory(),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
