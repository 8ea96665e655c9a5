"""Builder `galaxies`: simulated galaxies as a sky survey's colour pictures show them, of seven kinds.

For trying things, for tests and tutorials, and for nets that have few galaxies of their own to learn from first
(`[train] pretrain`). They are NOT observations: figures on them are not comparable with any published ones. What is
simulated, and from which sources: `_galaxy_light.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estampa import machine
from estampa.data.builders._galaxy_light import BATCH, KINDS, VERSION, Frame, draw_batch, kinds_of
from estampa.data.dataset import Dataset
from estampa.data.read import write_reading
from estampa.data.record import Header, ReadRecord
from estampa.data.sources._rows import RowsReading
from estampa.errors import InputError
from estampa.progress import SILENT, Progress

OPTIONS = {
    "n": "galaxies (2000)",
    "size": "pixels of a side, 16 to 1,024 (96)",
    "width": "what a side shows, in radii that hold nine tenths of a galaxy's light, 1 to 20 (4.8)",
    "seed": "seed of everything (0)",
}
SPANISH = ("elíptica", "disco", "de canto", "espiral antihoraria", "espiral horaria", "fusión", "artefacto")
_LARGEST = 100_000_000


def simulate_galaxies(
    n: int, *, seed: int = 0, size: int = 96, width: float = 4.8
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Simulate `n` galaxies in memory: pictures (n, size, size, 3) uint8, and their kinds (n,), places in KINDS.

    `width` is what a side shows, in radii that hold nine tenths of a galaxy's light. The first rows are the same for
    every `n`. Raises InputError for a value out of range.
    """
    frame = _checked(n, seed, size, width)
    images = np.empty((n, size, size, 3), np.uint8)

    def fill(number: int) -> None:
        images[number * BATCH : (number + 1) * BATCH] = draw_batch(seed, number, frame)[: n - number * BATCH]

    with ThreadPoolExecutor(machine.threads()) as pool:
        list(pool.map(fill, range(-(-n // BATCH))))
    return images, _labels(seed, n)


def is_built(dataset: Dataset, options: Mapping[str, str]) -> bool:
    """Whether `dataset` is what `build` with these options would write."""
    return dict(dataset.header.origin) == _origin(*_understood(options))


def build(output: Path, options: Mapping[str, str], progress: Progress = SILENT) -> Dataset:
    """Simulate the set into the Dataset file `output`. See OPTIONS. Raises InputError, StorageError."""
    n, seed, size, width = _understood(options)
    frame = Frame(size, width)

    def fetch(start: int, stop: int) -> tuple[np.ndarray, dict[int, str]]:
        first = start // BATCH
        parts = [draw_batch(seed, number, frame) for number in range(first, -(-stop // BATCH))]
        return np.concatenate(parts)[start - first * BATCH : stop - first * BATCH], {}

    header = Header(
        n=n, shape=(size, size, 3), dtype="uint8", task="classification", classes=KINDS, display={"es": SPANISH},
        channels=("red", "green", "blue"), origin=_origin(n, seed, size, width), licence="CC0-1.0 (simulated)",
        read=ReadRecord(source="galaxies", mode="RGB"), symmetry="d4",
    )  # fmt: skip
    reading = RowsReading(
        header=header, ids=np.char.zfill(np.arange(n).astype(str), 8), labels=_labels(seed, n),
        fingerprint=f"galaxies {VERSION}", fetch=fetch,
    )  # fmt: skip
    return write_reading(reading, output, progress)


def _labels(seed: int, n: int) -> NDArray[np.int64]:
    return np.concatenate([kinds_of(seed, number) for number in range(-(-n // BATCH))])[:n]


def _origin(n: int, seed: int, size: int, width: float) -> dict[str, Any]:
    """Everything that the pixels depend on, as JSON gives it back."""
    return {
        "builder": "galaxies", "simulated": True, "version": VERSION,
        "n": n, "seed": seed, "size": size, "width": width,
    }  # fmt: skip


def _understood(options: Mapping[str, str]) -> tuple[int, int, int, float]:
    """n, seed, size and width that `options` ask for; InputError where they say nothing sensible."""
    found: list[float] = []
    for key, default, kind in (("n", "2000", int), ("seed", "0", int), ("size", "96", int), ("width", "4.8", float)):
        text = options.get(key, default).strip()
        try:
            found.append(kind(text))
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise InputError(f"option {key!r} is not {what}", where="galaxies", got=repr(text)) from None
    n, seed, size = (int(value) for value in found[:3])
    _checked(n, seed, size, found[3])
    return n, seed, size, found[3]


def _checked(n: int, seed: int, size: int, width: float) -> Frame:
    """The frame, when it can be simulated; else InputError."""
    rules = (
        ("n", 1 <= n <= _LARGEST, f"1 to {_LARGEST:,}", n),
        ("seed", seed >= 0, "0 or more", seed),
        ("size", 16 <= size <= 1024, "16 to 1,024 pixels", size),
        ("width", 1 <= width <= 20, "1 to 20", width),
    )  # fmt: skip
    for name, good, allowed, got in rules:
        if not good:
            raise InputError(f"option {name!r} is out of range", where="galaxies", allowed=allowed, got=got)
    return Frame(size, width)
