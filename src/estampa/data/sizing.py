"""How large pictures are read from files when nobody says: measured on the pictures, and said with its reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from estampa.data.cutouts import MARGIN, NET_SIDE, Framing, framing_of
from estampa.data.read import Reading, ReadOptions, open_reading
from estampa.progress import SILENT, Progress

LARGEST, READ_SIDE = 96, 64  #: pictures with a longer side than the first are read with the second


def sized(
    source: Path | str,
    options: ReadOptions,
    progress: Progress = SILENT,
    *,
    cutouts: bool = True,
    photographs: int = 0,
) -> ReadOptions:
    """`options` with the crop and size that suit the files of `source`; as they are where they say it, or for arrays.

    Of cut-outs of the sky (`cutouts`: where they are looked for) the central square is read that holds the objects and
    a margin for turned copies, brought to 120 pixels if it is larger. Other pictures with a side of more than 96 pixels
    are brought to 64 on the longer side; colour ones to `photographs` pixels, where that is not 0, and only when they
    are larger: a net that has learned on photographs waits for them.
    """
    if options.size is not None or options.crop or not Path(source).exists():
        return options
    reading = open_reading([Path(source)], options)
    header = reading.header
    if header.shape is None or not header.read.mode or max(header.shape[:2]) <= LARGEST:
        return options  # small ones, and arrays, which have no pictures' resize rule
    height, width = header.shape[:2]
    framed = _framing(reading) if cutouts else None
    if framed is not None:
        crop = min(height, 2 * round(framed.side * MARGIN / 2))
        side = round(NET_SIDE * MARGIN)
        size = (side, side) if crop > side else None
        small = f" and brought to {side} x {side}" if size else ""
        progress.say(
            f"Cut-outs of the sky, {height} x {width}: objects fill about {framed.side} pixels, so the central "
            f"{crop} x {crop} are read{small} (--crop and --size say otherwise)."
        )
        return replace(options, crop=crop, size=size)
    most = photographs if photographs and header.shape[2] == 3 and header.dtype == "uint8" else READ_SIDE
    share = most / max(height, width)
    if most > READ_SIDE and share >= 1:
        return options
    size = max(1, round(height * share)), max(1, round(width * share))
    progress.say(f"Pictures of {height} x {width} are read at {size[0]} x {size[1]} (--size says otherwise).")
    return replace(options, size=size)


def _framing(reading: Reading) -> Framing | None:
    """How objects fill the pictures of a reading, seen on some of them; those that cannot be read are passed over."""

    def take(rows: np.ndarray) -> np.ndarray:
        blocks = [next(iter(reading.blocks(int(row), 1))) for row in rows]
        return np.concatenate([block.images for block in blocks if not block.rejected] or [np.zeros((0, 1, 1, 1))])

    return framing_of(reading.header.n, take)
