"""Builder `mars`: patches of an elevation model with four channels, and a score of how well a rover can cross each.

The patches are those of the navigability study: 20 x 20 cells of 10 m with heights, gradient, elevations and
depressions. The target, from 1 (cannot be crossed) to 4 (level and smooth), is DERIVED from the heights by
`_navigability.score`; nobody has judged these patches by eye. Without an elevation model a ground is simulated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from estampa.data.builders import _navigability as navigability
from estampa.data.builders._elevation import Elevation, looks_like_elevation, read_elevation, simulate_elevation
from estampa.data.dataset import Dataset
from estampa.data.read import write_reading
from estampa.data.record import Header, ReadRecord
from estampa.data.sources._base import fingerprint_of, stat_facts
from estampa.data.sources._rows import RowsReading
from estampa.errors import InputError, SourceError
from estampa.progress import SILENT, Progress

OPTIONS = {
    "dem": "elevation model: .npz (height_m, pixel_m, nodata), .npy, FITS, GeoTIFF (else a ground is simulated)",
    "pixel": "metres per cell, where the file does not say (10 of the simulated ground)",
    "nodata": "height that means no measurement (what the file says; NaN always does)",
    "size": "cells of a patch's side (20)",
    "stride": "cells from one patch to the next in the same area (10: they overlap by half)",
    "area": "cells of an area's side; its patches share a group (60)",
    "gap": "cells between areas (20)",
    "side": "cells of the simulated ground's side (600)",
    "seed": "of the simulated ground (0)",
}
COLUMNS = ("row", "column", "slope", "roughness", "relief")
_VERSION = 1
_DEFAULTS = {"size": 20, "stride": 10, "area": 60, "gap": 20, "side": 600, "seed": 0}
_ALLOWED = {"size": (4, 512), "stride": (1, 512), "area": (4, 100_000), "gap": (0, 100_000), "side": (40, 5000)}
_BLOCK = 512  #: patches scored at a time


@dataclass(frozen=True)
class _Asked:
    """The options, read and checked."""

    dem: Path | None
    pixel: float | None
    nodata: float | None
    size: int
    stride: int
    area: int
    gap: int
    side: int
    seed: int

    @property
    def key(self) -> str:
        """Names what would be built."""
        file = stat_facts([self.dem]) if self.dem is not None and self.dem.is_file() else str(self.dem)
        facts = {k: v for k, v in vars(self).items() if k != "dem"}
        return fingerprint_of("mars", _VERSION, facts, file)


def is_elevation(path: Path) -> bool:
    """Whether a file is an elevation model that `build` reads: FITS, TIFF, a plane .npy, or an .npz with heights."""
    return looks_like_elevation(path)


def is_built(dataset: Dataset, options: Mapping[str, str]) -> bool:
    """Whether `dataset` is what `build` with these options, and the file as it now is, would write."""
    return dataset.header.origin.get("key") == _asked(options).key


def build(output: Path, options: Mapping[str, str], progress: Progress = SILENT) -> Dataset:
    """Cut an elevation model into patches, and write those without a missing height to the Dataset file `output`.

    Images (n, size, size, 4) float32: heights above the patch's lowest cell (m), gradient (degrees), elevations and
    depressions (m); see `_navigability.channels`. Areas of `area` cells a side, `gap` cells apart, are the groups: no
    cell that enters a patch's channels enters those of a patch of another area. Table: row and column of the patch's
    upper left cell, mean slope (degrees), mean roughness (m), relief (m). Labels: the derived score, 1 to 4.

    Raises SourceError when the model cannot be read or leaves no patch, InputError for an option out of range.
    """
    asked = _asked(options)
    if asked.dem is None:
        ground = simulate_elevation(asked.side, asked.seed, asked.pixel or 10.0)
    else:
        ground = read_elevation(asked.dem, asked.pixel, asked.nodata)
    corners, areas, left_out = _corners(ground.height, asked)
    if not len(corners):
        raise SourceError(
            "leaves no patch without missing heights", where=ground.where,
            allowed=f"at least one square of {asked.size} measured cells",
            got=f"{ground.height.shape[0]} x {ground.height.shape[1]} cells, {left_out:,} patches left out",
        )  # fmt: skip
    progress.say(
        f"{len(corners):,} patches in {len(np.unique(areas))} areas; {left_out:,} left out for missing heights"
    )
    if asked.dem is None:
        progress.warn("a SIMULATED ground, not Mars: give an elevation model with --option dem=FILE for a real one")
    return write_reading(_reading(ground, corners, areas, asked, left_out), output, progress)


def _reading(ground: Elevation, corners: np.ndarray, areas: np.ndarray, asked: _Asked, left_out: int) -> RowsReading:
    planes = navigability.channels(ground.height, ground.pixel)
    targets, table = _judged(ground, corners, asked.size)

    def fetch(start: int, stop: int) -> tuple[np.ndarray, dict[int, str]]:
        images = _patches(planes, corners[start:stop], asked.size)
        images[..., 0] -= images[..., 0].min((1, 2), keepdims=True)
        return images, {}

    header = Header(
        n=len(corners), shape=(asked.size, asked.size, 4), dtype="float32", task="regression",
        channels=navigability.CHANNELS, units="metres; gradient in degrees", pixel_scale=ground.pixel,
        origin={
            "builder": "mars", "simulated": asked.dem is None, "from": ground.where, "key": asked.key,
            "pixel_scale_unit": "metres", "left_out": left_out, "areas": len(np.unique(areas)),
            "target": "navigability from 1 to 4, DERIVED from slope and roughness by the cheapest path across the "
            "patch in the worst of four directions; not judged by people",
            "rule": {k.lower(): getattr(navigability, k) for k in ("STEEPEST", "ROLLING", "ROUGH", "REACH")},
        },
        read=ReadRecord(source="mars"), columns=COLUMNS, symmetry="d4",
    )  # fmt: skip
    return RowsReading(
        header=header,
        ids=np.array([f"r{row:05d}c{column:05d}" for row, column in corners]),
        labels=targets,
        groups=areas,
        table=table,
        fingerprint=asked.key,
        fetch=fetch,
    )


def _corners(height: np.ndarray, asked: _Asked) -> tuple[np.ndarray, np.ndarray, int]:
    """Upper left cells (n, 2) of the patches without a missing height, their areas (n,), and how many had one.

    The cells around a patch that enter its channels must be measured too, as far as the model reaches: beside missing
    heights the measured ones are often wrong, as they were averaged with nothing.
    """
    pitch = asked.area + asked.gap
    within = np.arange(0, asked.area - asked.size + 1, asked.stride)
    starts = []
    for side in height.shape:
        all_starts = (np.arange(0, side, pitch)[:, None] + within).ravel()
        starts.append(all_starts[all_starts + asked.size <= side])
    # Missing heights in any rectangle from four corners of the summed table.
    missing = np.zeros((height.shape[0] + 1, height.shape[1] + 1), np.int64)
    missing[1:, 1:] = np.isnan(height).cumsum(0).cumsum(1)
    rows, columns = (a.ravel() for a in np.meshgrid(*starts, indexing="ij"))
    reach = navigability.CONTEXT
    top, left = np.maximum(rows - reach, 0), np.maximum(columns - reach, 0)
    below = np.minimum(rows + asked.size + reach, height.shape[0])
    right = np.minimum(columns + asked.size + reach, height.shape[1])
    holes = missing[below, right] - missing[top, right] - missing[below, left] + missing[top, left]
    kept = holes == 0
    corners = np.stack([rows, columns], 1)[kept]
    areas = np.array([f"a{row // pitch:03d}-{column // pitch:03d}" for row, column in corners])
    return corners, areas, int((~kept).sum())


def _patches(plane: np.ndarray, corners: np.ndarray, size: int) -> np.ndarray:
    """(n, size, size, ...) copies of the squares at `corners` (n, 2)."""
    return np.stack([plane[row : row + size, column : column + size] for row, column in corners])


def _judged(ground: Elevation, corners: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The derived score (n,) and the table (n, 5) of the patches at `corners`."""
    targets, table = np.empty(len(corners)), np.empty((len(corners), len(COLUMNS)))
    table[:, :2] = corners
    for start in range(0, len(corners), _BLOCK):
        some = slice(start, min(start + _BLOCK, len(corners)))
        patches = _patches(ground.height, corners[some], size)
        targets[some] = navigability.score(patches, ground.pixel)
        table[some, 2] = [navigability.slope(patch, ground.pixel).mean() for patch in patches]
        table[some, 3] = navigability.roughness(patches).mean((1, 2))
        table[some, 4] = np.ptp(patches, axis=(1, 2))
    return targets, table


def _asked(options: Mapping[str, str]) -> _Asked:
    """Read the options; raises InputError for a number that is none or is out of range."""
    counts = {key: _count(key, options.get(key), default) for key, default in _DEFAULTS.items()}
    if counts["area"] < counts["size"]:
        raise InputError(
            "an area is smaller than a patch", where="builder mars", allowed=f"area of at least {counts['size']} cells",
            got=counts["area"],
        )  # fmt: skip
    reach = 2 * navigability.CONTEXT
    if counts["gap"] < reach:
        raise InputError(
            "areas are so near that patches of one enter the channels of another", where="builder mars: gap",
            allowed=f"at least {reach} cells", got=counts["gap"],
        )  # fmt: skip
    if "dem" not in options and "nodata" in options:
        raise InputError("option 'nodata' means nothing for a simulated ground", where="builder mars")
    pixel = _number("pixel", options.get("pixel"))
    if pixel is not None and pixel <= 0:
        raise InputError("option 'pixel' is no length", where="builder mars", allowed="metres above 0", got=pixel)
    dem = Path(options["dem"]) if "dem" in options else None
    return _Asked(dem, pixel, _number("nodata", options.get("nodata")), **counts)


def _count(key: str, text: str | None, default: int) -> int:
    if text is None:
        return default
    low, high = _ALLOWED.get(key, (0, 2**32 - 1))
    if not str(text).isdigit() or not low <= int(text) <= high:
        raise InputError(
            f"option {key!r} is out of range", where="builder mars", allowed=f"{low} to {high:,}", got=repr(text)
        )
    return int(text)


def _number(key: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise InputError(f"option {key!r} is no number", where="builder mars", got=repr(text))
    return value
