"""The race from an archive of galaxy JPEGs to one file, and the memory that 300,000 of them take."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.sides import HERE, found, lines_of, median, peers_python

REAL = HERE.parents[1] / "shared" / "data" / "galaxies_kaggle_gz2" / "images.tar"
PICTURES, SIDE, MARGIN = 4800, 424, 247
MANY, SMALL = 300_000, 64
TURNS = 3


def race(scratch: Path) -> list[str]:
    """Pictures per core and second of the plain loop and of `estampa build`, cropped; peak memory."""
    pictures, what = sources()
    pack(scratch / "galaxies.tar", pictures, PICTURES)
    pack(scratch / "galaxies.zip", pictures, PICTURES)
    plain = [peers_python(), HERE / "peers" / "pillow_tar.py", scratch / "galaxies.tar"]
    ours = [sys.executable, "-m", "benchmarks.ours_folder"]
    tar, packed = scratch / "galaxies.tar", scratch / "galaxies.zip"
    ways: dict[str, list[object]] = {
        "tarfile + Pillow + h5py loop": plain,
        "estampa build, tar": [*ours, tar],
        "estampa build, zip: stops below the crop, as a CRC vouches for the rest": [*ours, packed],
        "estampa build, zip, fast DCT": [*ours, packed],
    }
    made: dict[str, list[dict[str, object]]] = {name: [] for name in ways}
    target = scratch / "galaxies.h5"
    for _ in range(TURNS):  # in turn, so that a change of the machine's speed meets all
        for name, words in ways.items():
            made[name] += lines_of(*words, target, "--crop", MARGIN, *(["--fast-dct"] if "fast" in name else []))
            target.unlink()
    rows = [
        f"## Building: {PICTURES:,} galaxies of {SIDE} x {SIDE} in an archive to one file", "",
        f"{what}. Kept are the central {MARGIN} x {MARGIN} pixels. Pictures per core and second: pictures",
        f"divided by CPU seconds. Medians of {TURNS}, in turn. Pixels are those of libjpeg's accurate DCT on both sides, but in the row that says so.", "",
        "| way | pictures per core and second | ratio | pictures per second (wall) | peak memory |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    base = 0.0
    for name, records in made.items():
        rate, wall = (PICTURES / median([found([r], key) for r in records]) for key in ("cpu_seconds", "seconds"))
        peak = median([found([r], "peak_memory_bytes") for r in records])
        base = base or rate
        rows.append(f"| {name} | {rate:,.0f} | {rate / base:.2f} | {wall:,.0f} | {peak / 1e6:.0f} MB |")
    return [*rows, "", "Goal: at least 2.", "", *memory(scratch)]


def memory(scratch: Path) -> list[str]:
    """Peak memory at a tenth of 300,000 pictures and at all of them; small ones, since what grows is their list."""
    pictures = [drawn(seed, SMALL) for seed in range(100)]
    archive, target = scratch / "many.tar", scratch / "many.h5"
    peaks = []
    for count in (MANY // 10, MANY):
        pack(archive, pictures, count)
        made = lines_of(sys.executable, "-m", "benchmarks.ours_folder", archive, target, "--crop", 48)
        peaks.append(found(made, "peak_memory_bytes"))
        target.unlink()
    each = (peaks[1] - peaks[0]) / (MANY - MANY // 10)
    return [
        f"Peak memory at {MANY // 10:,} and {MANY:,} pictures of {SMALL} x {SMALL}: {peaks[0] / 1e6:.0f} and {peaks[1] / 1e6:.0f} MB,",
        f"{each:.0f} bytes for each further one (its name, id, label, digest and place in the archive); no pixels.", "",
    ]  # fmt: skip


def sources() -> tuple[list[bytes], str]:
    """Real JPEGs where they are at hand, else drawn ones; and which they are."""
    if not REAL.is_file():
        return [drawn(seed, SIDE) for seed in range(200)], "Drawn JPEGs, repeated"
    with tarfile.open(REAL) as archive:
        real = [data.read() for member in archive if (data := archive.extractfile(member)) is not None]
    return real, f"{len(real):,} real SDSS pictures, repeated"


def drawn(seed: int, side: int) -> bytes:
    """A JPEG of a bright ellipse with noise."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - side / 2
    light = 200 * np.exp(-((x / (side / random.uniform(4, 9))) ** 2 + (y / (side / 9)) ** 2))
    picture = light[..., None] * random.uniform(0.5, 1, 3) + random.normal(12, 4, (side, side, 3))
    stream = io.BytesIO()
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(stream, "jpeg", quality=75)
    return stream.getvalue()


def pack(target: Path, pictures: list[bytes], count: int) -> None:
    """Write `count` pictures, repeating them, into a tar or a zip, in two folders of classes."""
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w") as packed:
            for name, data in named(pictures, count):
                packed.writestr(name, data)
        return
    with tarfile.open(target, "w") as archive:
        for name, data in named(pictures, count):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def named(pictures: list[bytes], count: int) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of `count` pictures."""
    for i in range(count):
        yield f"class{i % 2}/{i:06d}.jpg", pictures[i % len(pictures)]
