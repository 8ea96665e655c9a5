"""Elevation models: heights of a grid of ground cells, read from a file or simulated."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estampa.data.sources._arrayfiles import ArrayFile, members
from estampa.errors import SourceError

Array = NDArray[Any]
HEIGHTS = ("height_m", "height", "elevation", "dem", "dtm")  #: names of an .npz's array of heights, case aside
PIXELS = ("pixel_m", "pixel", "resolution")  #: ... and of its metres per cell
LARGEST = 400_000_000  #: cells of an elevation model; more is refused before anything is read


@dataclass(frozen=True)
class Elevation:
    """Heights (h, w) float64 in metres, NaN = no measurement, of cells `pixel` metres wide; `where` names them."""

    height: Array
    pixel: float
    where: str


def looks_like_elevation(path: Path) -> bool:
    """Whether a file is an elevation model: FITS, TIFF, a plane .npy, or an .npz with an array of heights."""
    name = path.name.lower()
    if name.endswith((".fits", ".fit", ".fits.gz", ".tif", ".tiff")):
        return True
    if name.endswith(".npz"):
        return any(member.lower() in HEIGHTS for member in members(path))
    return name.endswith(".npy") and len(ArrayFile(path).shape) == 2


def read_elevation(path: Path, pixel: float | None = None, nodata: float | None = None) -> Elevation:
    """Read .npz (height_m, pixel_m, nodata), .npy, FITS (first image) or GeoTIFF.

    `pixel` and `nodata` are used in place of what the file says. Raises SourceError when it cannot be read, is not a
    plane of numbers, or when nobody says how wide a cell is.
    """
    if not path.is_file():
        raise SourceError("there is no such file", where=path, cure="Give an elevation model with --option dem=FILE.")
    name = path.name.lower()
    if name.endswith(".npz"):
        height, own, empty = _packed(path)
    elif name.endswith(".npy"):
        height, own, empty = ArrayFile(path).whole(), None, None
    elif name.endswith((".fits", ".fit", ".fits.gz")):
        height, own, empty = _fits(path), None, None
    elif name.endswith((".tif", ".tiff")):
        height, own, empty = _tiff(path)
    else:
        raise SourceError("is no elevation model", where=path, allowed=".npz, .npy, .fits, .tif")
    width = own if pixel is None else pixel
    if width is None:
        raise SourceError("does not say how wide a cell is", where=path, cure="Say it: --option pixel=METRES.")
    return Elevation(_checked(height, empty if nodata is None else nodata, path), _metres(width, path), str(path))


def _metres(width: float, path: Path) -> float:
    if not (math.isfinite(width) and width > 0):
        raise SourceError("a cell's width is no length", where=path, allowed="metres above 0", got=width)
    return float(width)


def _checked(height: Array, nodata: float | None, path: Path) -> Array:
    """Heights as float64 with NaN for no measurement."""
    if height.ndim != 2 or height.dtype.kind not in "iuf" or not height.size:
        raise SourceError(
            "heights are not one plane of numbers", where=path, allowed="(rows, columns)",
            got=f"{height.shape} {height.dtype}",
        )  # fmt: skip
    found = height.astype(np.float64)
    found[~np.isfinite(found)] = np.nan
    if nodata is not None:
        found[height == nodata] = np.nan
    if np.isnan(found).all():
        raise SourceError(
            "holds no measured height", where=path, got=f"nodata {nodata:g}" if nodata is not None else ""
        )
    return found


def _packed(path: Path) -> tuple[Array, float | None, float | None]:
    names = {name.lower(): name for name in members(path)}
    key = next((names[k] for k in HEIGHTS if k in names), None)
    if key is None:
        raise SourceError(
            "holds no array of heights", where=path, allowed=", ".join(HEIGHTS), got=", ".join(names.values())
        )
    pixel = next((_number(path, names[k]) for k in PIXELS if k in names), None)
    nodata = _number(path, names["nodata"]) if "nodata" in names else None
    file = ArrayFile(path, f"{key}.npy")
    _bounded(file.shape, path)
    return file.whole(), pixel, nodata


def _number(path: Path, key: str) -> float:
    value = ArrayFile(path, f"{key}.npy").whole()
    if value.size != 1 or value.dtype.kind not in "iuf":
        raise SourceError(f"{key!r} is not one number", where=path, got=f"{value.shape} {value.dtype}")
    return float(value.reshape(-1)[0])


def _bounded(shape: tuple[int, ...], path: Path) -> None:
    if math.prod(shape) > LARGEST:
        raise SourceError("is too large", where=path, allowed=f"{LARGEST:,} cells", got=f"{math.prod(shape):,}")


def _fits(path: Path) -> Array:
    from estampa.data.builders._cutouts import open_plane

    with open_plane(path, needed_for="an elevation model in FITS") as plane:
        _bounded(plane.shape, path)
        return plane.whole()


#: Tags of a TIFF file: cell size (GeoTIFF 1.1, ModelPixelScaleTag), kind of coordinates, and GDAL's nodata text.
_SCALE, _KEYS, _NODATA = 33550, 34735, 42113
_MODEL_TYPE, _PROJECTED = 1024, 1


def _tiff(path: Path) -> tuple[Array, float | None, float | None]:
    """A GeoTIFF of one band; its cell size counts only where its coordinates are projected, in metres."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("error")
            if picture.format != "TIFF":
                raise SourceError("is no TIFF", where=path, got=str(picture.format))
            _bounded((picture.height, picture.width), path)
            tags = dict(picture.tag_v2)  # type: ignore[attr-defined]
            height = np.asarray(picture)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError) as error:
        raise SourceError("cannot be read as TIFF", where=path, got=str(error)) from error
    keys = list(tags.get(_KEYS, ()))
    entries = [keys[i : i + 4] for i in range(4, len(keys), 4)]
    projected = any(e[0] == _MODEL_TYPE and e[-1] == _PROJECTED for e in entries)
    scale = tags.get(_SCALE)
    try:
        nodata = float(str(tags[_NODATA]).strip("\0 ")) if _NODATA in tags else None
    except ValueError as error:
        raise SourceError("its nodata value is no number", where=path, got=str(error)) from error
    return height, float(scale[0]) if scale and projected else None, nodata


def simulate_elevation(side: int, seed: int, pixel: float = 10.0) -> Elevation:
    """A simulated ground of `side` x `side` cells: fractal relief, ridges, plains, craters and steep-walled pits.

    Relief is a random field whose amplitude falls as frequency^-1.9, that is a Hurst exponent of 0.9; topography is
    near self-affine (Turcotte 1997, Fractals and Chaos in Geology and Geophysics). Ridges fold such a field at
    its zero. Craters are bowls whose depth is a fifth of their diameter when fresh (Pike 1977, Impact and Explosion
    Cratering, p. 489), worn down by up to four fifths, with a rim and ejecta. It is NOT a real place.
    """
    random = np.random.default_rng(seed)
    rugged = _field(side, random, 2.5)  # where it is rugged: from plains to hills
    share = 1 / (1 + np.exp(-2.0 * rugged))
    span = (side / 600) ** 0.9  # relief grows with distance as the exponent says, so slopes stay what they are
    ground = span * (10.0 * _field(side, random, 2.6) + (1 + 12 * share) * _field(side, random, 1.9))
    ground -= span * 12 * share**2 * np.abs(_field(side, random, 1.9))
    ground += random.normal(0, 0.25, ground.shape)  # noise of stereo matching
    for _ in range(max(1, side * side // 2500)):
        _crater(ground, random)
    for _ in range(max(1, side * side // 900)):
        _pit(ground, random)
    return Elevation(ground, pixel, f"simulated, seed {seed}")


def _field(side: int, random: np.random.Generator, power: float) -> Array:
    """Random field (side, side), mean 0 and deviation 1, with amplitude frequency^-power."""
    rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    noise = np.fft.rfft2(random.normal(size=(side, side)))
    field: Array = np.fft.irfft2(noise * frequency**-power, s=(side, side))
    level: Array = (field - field.mean()) / field.std()
    return level


def _around(ground: Array, random: np.random.Generator, radius: float) -> tuple[tuple[slice, slice], Array]:
    """A random place: the part of the ground within three radii, and each cell's distance from it in radii."""
    side = len(ground)
    row, column = random.uniform(0, side, 2)
    reach = 3 * radius
    part = tuple(slice(max(0, int(at - reach)), min(side, int(at + reach) + 1)) for at in (row, column))
    rows, columns = (np.arange(s.start, s.stop) for s in part)
    return (part[0], part[1]), np.hypot(rows[:, None] - row, columns[None] - column) / radius


def _crater(ground: Array, random: np.random.Generator) -> None:
    """Dig one crater: radius 2 to 20 cells with a power law of numbers, cells of 10 m."""
    radius = 2.0 * min(10.0, random.uniform() ** -0.5)
    part, away = _around(ground, random, radius)
    depth = 0.2 * 2 * radius * 10.0 * random.uniform(0.2, 1.0) / (1 + radius / 6)  # large ones are older and flatter
    bowl = np.where(away < 1, depth * (away**2 - 1) + 0.2 * depth, 0.2 * depth * np.maximum(away, 1.0) ** -3.0)
    ground[part] += bowl - np.where(away < 1, 0, 0.2 * depth * 3.0**-3.0)


def _pit(ground: Array, random: np.random.Generator) -> None:
    """Sink one flat-floored pit with walls of about 20 degrees, as in the swiss-cheese terrain of the south pole."""
    radius = random.uniform(4, 12)
    part, away = _around(ground, random, radius)
    ground[part] -= random.uniform(4, 12) / (1 + np.exp((away - 1) * radius / 0.6))
