"""The plain way from a folder of JPEGs to HDF5, as people write it: Pillow, numpy, h5py, one picture after another.

    python pillow_loop.py FOLDER OUT.h5 [--size HxW]

Prints one JSON line: pictures, seconds, CPU seconds, peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import h5py
import numpy as np
from PIL import Image


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("folder", type=Path)
    words.add_argument("output", type=Path)
    words.add_argument("--size")
    asked = words.parse_args()
    began, cpu = time.perf_counter(), time.process_time()
    classes = sorted(p.name for p in asked.folder.iterdir() if p.is_dir())
    paths = [(p, i) for i, name in enumerate(classes) for p in sorted((asked.folder / name).iterdir())]
    size = tuple(int(v) for v in asked.size.split("x")) if asked.size else None
    with Image.open(paths[0][0]) as first:
        height, width = size or (first.height, first.width)
    with h5py.File(asked.output, "w") as file:
        images = file.create_dataset("images", (len(paths), height, width, 3), "uint8")
        labels = file.create_dataset("labels", (len(paths),), "int32")
        for row, (path, label) in enumerate(paths):
            with Image.open(path) as picture:
                picture = picture.convert("RGB")  # noqa: PLW2901 - as people write it
                if size:
                    picture = picture.resize((width, height))  # noqa: PLW2901
                images[row] = np.asarray(picture)
            labels[row] = label
    record = {
        "pictures": len(paths),
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
