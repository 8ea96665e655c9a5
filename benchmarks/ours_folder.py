"""Our side of the races from pictures to a file: a folder, tar or zip of JPEGs to a Dataset file.

    python -m benchmarks.ours_folder PATH OUT.h5 [--size HxW] [--crop SIDE] [--fast-dct]

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
    words.add_argument("--crop", type=int, default=0)
    words.add_argument("--fast-dct", action="store_true")
    asked = words.parse_args()
    from estampa import machine, parts
    from estampa.data.read import ReadOptions, build

    for name in parts.names("data/sources"):  # imports are apart, as the plain loop's are
        parts.load("data/sources", name)
    size = tuple(int(v) for v in asked.size.split("x")) if asked.size else None
    began, cpu = time.perf_counter(), time.process_time()
    dataset = build(asked.folder, asked.output, ReadOptions(size=size, crop=asked.crop, fast_dct=asked.fast_dct))
    record = {
        "pictures": dataset.n,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "peak_memory_bytes": machine.peak_memory(),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
