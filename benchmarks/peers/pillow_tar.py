"""The plain way from a tar of JPEGs to HDF5, as people write it: tarfile, Pillow, numpy, h5py, one after another.

    python pillow_tar.py PICTURES.tar OUT.h5 [--crop SIDE]

Prints one JSON line: pictures, seconds, CPU seconds, peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import tarfile
import time
from pathlib import Path

import h5py
import numpy as np
from PIL import Image


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("archive", type=Path)
    words.add_argument("output", type=Path)
    words.add_argument("--crop", type=int, default=0)
    asked = words.parse_args()
    began, cpu = time.perf_counter(), time.process_time()
    with tarfile.open(asked.archive) as archive, h5py.File(asked.output, "w") as file:
        members = sorted((m for m in archive if m.isfile()), key=lambda m: m.name)
        classes = sorted({m.name.split("/")[0] for m in members})
        with Image.open(archive.extractfile(members[0])) as first:
            height, width = (asked.crop, asked.crop) if asked.crop else (first.height, first.width)
            top, left = (first.height - height) // 2, (first.width - width) // 2
        images = file.create_dataset("images", (len(members), height, width, 3), "uint8")
        labels = file.create_dataset("labels", (len(members),), "int32")
        for row, member in enumerate(members):
            with Image.open(archive.extractfile(member)) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            images[row] = pixels[top : top + height, left : left + width]
            labels[row] = classes.index(member.name.split("/")[0])
    record = {
        "pictures": len(members),
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
