"""Planes of FITS files, opened without reading them, and the cut-outs of one exposure.

Pixels are counted as numpy counts them: (x, y) = (0, 0) is the middle of the first pixel, x along columns (FITS's first
axis), y along rows. A cut-out's middle pixel, index size // 2, is the one that the position falls in.
"""

from __future__ import annotations

import contextlib
import math
import re
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estampa import machine
from estampa.errors import SourceError

Array = NDArray[Any]
#: Pixels of an image; a header that announces more is refused before anything is read.
LARGEST = 1_000_000_000
#: How far, in pixels, the same sky position may lie apart in two images of one grid.
SAME_GRID = 0.1
_SCALED = ("BSCALE", "BZERO", "BLANK")
_EXTENSION = re.compile(r"^(?P<path>.+)\[(?P<which>[^\[\]]+)\]$")
_DAMAGE = (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, zlib.error)


class Plane:
    """One image of a FITS file: its shape (rows, columns) and header are known, its pixels are read when asked for."""

    def __init__(self, hdu: Any, where: str, lazy: bool) -> None:
        self.header, self.where = hdu.header, where
        self.shape: tuple[int, int] = tuple(hdu.shape)
        self._pixels = hdu.section if lazy else hdu.data

    def cut(self, position: tuple[float, float], size: int) -> Array:
        """The (size, size) float32 pixels around a position (x, y); NaN for a pixel that is not finite.

        Raises SourceError when the cut-out is not whole inside, or the file ends before its pixels.
        """
        from astropy.nddata import Cutout2D, NoOverlapError, PartialOverlapError

        try:
            pixels = Cutout2D(self._pixels, position, size, mode="strict").data
        except (NoOverlapError, PartialOverlapError) as error:
            raise SourceError("a cut-out leaves the image", where=self.where, got=f"x, y = {position}") from error
        except _DAMAGE as error:
            raise SourceError("damaged or truncated", where=self.where, got=str(error)) from error
        found = np.asarray(pixels, np.float32)
        return np.where(np.isfinite(found), found, np.float32(np.nan))

    def whole(self) -> Array:
        """Every pixel, (rows, columns), as stored."""
        try:
            return np.asarray(self._pixels[:, :])
        except _DAMAGE as error:
            raise SourceError("damaged or truncated", where=self.where, got=str(error)) from error

    def sky(self) -> Any | None:
        """The celestial WCS (astropy), or None when the header has none."""
        from astropy.wcs import WCS

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old keywords, which astropy mends and says so
            try:
                found = WCS(self.header)
            except (ValueError, KeyError, TypeError, MemoryError) as error:
                raise SourceError("its WCS cannot be understood", where=self.where, got=str(error)) from error
        return found.celestial if found.has_celestial else None


@contextlib.contextmanager
def open_plane(path: Path | str, needed_for: str) -> Iterator[Plane]:
    """Open an image of a FITS file (gzip or not): `file.fits`, or `file.fits[1]`, `file.fits[SCI]`; else the first.

    Plain files are memory-mapped; scaled, compressed and gzipped ones are read piece by piece as astropy can. Raises
    SourceError for what is no FITS file, has no such image, is not a plane, is truncated, or announces too many pixels.
    """
    machine.require("astro", "astropy", needed_for=needed_for)
    from astropy.io import fits

    name, which = split_extension(path)
    if not name.is_file():
        raise SourceError("there is no such file", where=name)
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # what astropy warns of is checked below, and said in one way
        stream = stack.enter_context(name.open("rb"))
        try:
            mapped = stream.read(2) != b"\x1f\x8b"
            stream.seek(0)
            files = stack.enter_context(fits.open(stream, memmap=mapped))
            hdu = _chosen(files, which, name)
            lazy = not mapped or isinstance(hdu, fits.CompImageHDU)
            if not lazy and any(key in hdu.header for key in _SCALED):
                files = stack.enter_context(fits.open(name, memmap=False))
                hdu, lazy = _chosen(files, which, name), True
            packed = not mapped or isinstance(hdu, fits.CompImageHDU)
            _require_sound(hdu, name, None if packed else hdu.fileinfo()["datLoc"] + hdu.size)
            plane = Plane(hdu, str(path), lazy)
        except _DAMAGE as error:
            raise SourceError("not a FITS file, or damaged", where=name, got=str(error)) from error
        yield plane


def split_extension(path: Path | str) -> tuple[Path, str]:
    """A path and the extension that it ends in ("file.fits[2]" -> file.fits, "2"); "" when it names none."""
    found = _EXTENSION.match(str(path))
    if found is None or Path(path).is_file():
        return Path(path), ""
    return Path(found["path"]), found["which"].strip()


def _chosen(files: Any, which: str, path: Path) -> Any:
    """The image that `which` names by number or name, or the first that holds pixels."""
    names = [f"{i} {h.name}".strip() for i, h in enumerate(files)]
    images = [i for i, h in enumerate(files) if h.is_image and h.header.get("NAXIS", 0) >= 1]
    if not which:
        if not images:
            raise SourceError("holds no image", where=path, got=", ".join(names))
        return files[images[0]]
    number = int(which) if which.isdigit() else next((i for i, h in enumerate(files) if h.name == which.upper()), -1)
    if number not in images:
        raise SourceError(
            f"has no image [{which}]", where=path, allowed=", ".join(names[i] for i in images) or "it holds no image"
        )
    return files[number]


def _require_sound(hdu: Any, path: Path, ends: int | None) -> None:
    """Refuse what is no plane, is too large, or is longer than the file; `ends` is None where packed pixels tell."""
    shape = tuple(hdu.shape)
    if len(shape) != 2 or min(shape) < 1:
        raise SourceError("is not one plane of pixels", where=path, allowed="(rows, columns)", got=shape)
    if math.prod(shape) > LARGEST:
        raise SourceError(
            "announces too many pixels", where=path, allowed=f"{LARGEST:,}", got=f"{shape[0]:,} x {shape[1]:,}"
        )
    if ends is not None and ends > path.stat().st_size:
        raise SourceError(
            "truncated", where=path, allowed=f"{ends:,} bytes, as its header says", got=f"{path.stat().st_size:,}"
        )


def require_same_grid(first: Plane, other: Plane) -> None:
    """Raise SourceError unless both images have one shape and, where both have a WCS, one grid on the sky."""
    if first.shape != other.shape:
        raise SourceError(
            "has another shape", where=other.where, allowed=f"{first.shape[0]} x {first.shape[1]}, as {first.where}",
            got=f"{other.shape[0]} x {other.shape[1]}", cure="Resample it onto that grid first.",
        )  # fmt: skip
    here, there = first.sky(), other.sky()
    if here is None or there is None:
        return
    rows, columns = (np.array([0.0, (s - 1) / 2, s - 1.0]) for s in first.shape)
    x, y = (a.ravel() for a in np.meshgrid(columns, rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = there.world_to_pixel(here.pixel_to_world(x, y))
    apart = np.hypot(seen[0] - x, seen[1] - y)
    if not apart.max() <= SAME_GRID:
        raise SourceError(
            "lies on another grid of the sky", where=other.where, allowed=f"the grid of {first.where}",
            got=f"the same place up to {apart.max():,.2f} pixels away",
            cure="Resample it onto that grid first (astropy's reproject, SWarp).",
        )  # fmt: skip


def whole_inside(x: Array, y: Array, size: int, shape: tuple[int, int]) -> Array:
    """Which cut-outs (n,) bool lie whole inside an image of `shape` (rows, columns); NaN positions do not."""
    low = [np.ceil(a - size / 2) for a in (x, y)]  # the first pixel, as Cutout2D rounds
    with np.errstate(invalid="ignore"):
        inside = [(a >= 0) & (a + size <= side) for a, side in zip(low, shape[::-1], strict=True)]
    both: Array = inside[0] & inside[1]
    return both
