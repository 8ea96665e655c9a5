"""One FITS file in memory: which of its HDUs are pictures, where on the sky they lie, and their pixels.

Bytes are hostile until read: what a header announces is held against a limit, and against the bytes that are there,
before any room is made for it; gzip is unpacked only up to a limit.
"""

from __future__ import annotations

import io
import math
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from estampa.data.sources._picture import Unreadable
from estampa.data.sources._rows import FILL
from estampa.data.sources._store import MOST_BYTES

SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz", ".fits.fz")
NORMAL = ("ICRS", "FK5", "")  #: frames whose longitude and latitude are ra and dec of J2000 to within 0.03 arcsec
GZIP = b"\x1f\x8b"
_BLOCK = 2880  #: bytes; FITS 4.0, section 3.1
_NAXIS = re.compile(rb"(NAXIS[12]?) *= *([0-9]{1,9}) ")
_EXACT = 1 << 24  #: whole numbers up to it are all float32
_MOST_AXES, _MOST_ORDER = 9, 9  #: of a WCS and of its distortion (SIP allows 9): tables grow as their squares
_SMALL = (4, 16)  #: an axis of at most so many is the channels when both others are longer
_DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, IndexError, EOFError, AttributeError, RuntimeError, MemoryError),
    *(zlib.error, OverflowError, AssertionError),
)


@dataclass(frozen=True)
class Sky:
    """Where a cut-out lies: its middle in degrees, its pixels, and how it is turned."""

    ra: float
    dec: float
    angle: float  #: degrees from north towards east, of the direction of growing rows (FITS's second axis)
    scale: float  #: arcsec per pixel, the square root of a pixel's area
    mirrored: bool  #: east is clockwise from north, the reverse of the sky


@dataclass(frozen=True)
class Piece:
    """One HDU with pixels: `count` planes of height x width."""

    name: str  #: EXTNAME, or ""
    height: int
    width: int
    count: int
    layout: str  #: of its three axes, NCHW | NHWC; "" for one plane


@dataclass(frozen=True)
class Look:
    """What the headers of one file say."""

    pieces: tuple[Piece, ...]  #: those as large as the first; the others are in `aside`
    aside: tuple[str, ...]
    unit: str
    sky: Sky | None


def look(data: bytes, layout: str, most: int) -> Look:
    """Read the headers of a file; `layout` is that of cubes, "" = by their shape; at most `most` values are allowed.

    Raises Unreadable.
    """
    with _opened(data, most) as images:
        pieces = [_piece(hdu, layout) for hdu in images]
        first = pieces[0]
        fits = [p.height == first.height and p.width == first.width for p in pieces]
        units = {str(h.header.get("BUNIT", "")).strip() for h, fit in zip(images, fits, strict=True) if fit}
        aside = tuple(
            f"{p.name or 'an HDU'} of {p.height}x{p.width}" for p, fit in zip(pieces, fits, strict=True) if not fit
        )
        kept = tuple(p for p, fit in zip(pieces, fits, strict=True) if fit)
        return Look(kept, aside, units.pop() if len(units) == 1 else "", _sky(images, first))


def planes(data: bytes, wanted: Sequence[Piece], by_name: bool, most: int) -> np.ndarray:
    """Pixels (height, width, channels) float32, native byte order, BSCALE and BZERO applied.

    BLANK, and what lies beyond 1e30 either way, is NaN.

    `wanted` are the HDUs asked for, in order, found by EXTNAME where `by_name`, else by their order. Raises Unreadable.
    """
    with _opened(data, most) as every:
        images = every
        if not by_name:  # as `look` leaves aside those of another size than the first
            sides = [(piece.height, piece.width) for piece in (_piece(hdu, wanted[0].layout) for hdu in every)]
            images = [hdu for hdu, size in zip(every, sides, strict=True) if size == sides[0]]
        names = [_name(hdu) for hdu in images]
        parts: list[np.ndarray] = []
        for number, piece in enumerate(wanted):
            at = (names.index(piece.name) if piece.name in names else -1) if by_name else number
            called = f"HDU {piece.name}" if by_name else f"image HDU {number + 1}"
            if not 0 <= at < len(images):
                raise Unreadable(f"no {called}; it has {', '.join(n or 'one without a name' for n in names)}")
            found = _piece(images[at], piece.layout)
            height, width = parts[0].shape[:2] if parts else (found.height, found.width)
            if (found.height, found.width, found.count) != (height, width, piece.count):
                raise Unreadable(
                    f"{called} is {found.count} of {found.height}x{found.width}, not {piece.count} of {height}x{width}"
                )
            parts.append(_pixels(images[at], found))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, 2)


def first_plane(data: bytes, most: int) -> np.ndarray:
    """Pixels (height, width) float32 of the first HDU with a picture, as `planes`; Unreadable when it is a cube."""
    with _opened(data, most) as images:
        piece = _piece(images[0], "")
        if piece.count != 1:
            raise Unreadable(f"a cube of {piece.count} planes")
        return _pixels(images[0], piece)[..., 0]


def side_of(data: bytes, most: int) -> tuple[int, int]:
    """Height and width of the first HDU with a picture, from the first cards where they tell; raises Unreadable."""
    try:
        head = zlib.decompressobj(31).decompress(data, _BLOCK) if data[:2] == GZIP else data[:_BLOCK]
    except zlib.error as error:
        raise Unreadable("damaged gzip") from error
    found = dict(_NAXIS.findall(head))
    if head[:6] == b"SIMPLE" and found.get(b"NAXIS") == b"2" and len(found) == 3:
        return int(found[b"NAXIS2"]), int(found[b"NAXIS1"])
    height, width = first_plane(data, most).shape
    return height, width


def first_sky(data: bytes, most: int) -> tuple[str, Sky | None]:
    """Unit (BUNIT) and place on the sky of the first HDU with a picture; raises Unreadable."""
    with _opened(data, most) as images:
        return str(images[0].header.get("BUNIT", "")).strip(), _sky(images[:1], _piece(images[0], ""))


def holds_image(given: bytes | Path) -> bool:
    """Whether a FITS file has an HDU with a picture; a table alone has none. False for what is no FITS file."""
    from astropy.io import fits

    if isinstance(given, Path):
        with given.open("rb") as stream:
            if stream.read(2) != GZIP:  # the pixels of a large file are not needed to tell
                stream.seek(0)
                return _any_image(fits, stream)
        if given.stat().st_size > MOST_BYTES:
            return False
        given = given.read_bytes()
    try:
        return _any_image(fits, io.BytesIO(unpacked(given)))
    except Unreadable:
        return False


def _any_image(fits: Any, stream: IO[bytes]) -> bool:
    from astropy.io.fits.verify import VerifyError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with fits.open(stream, memmap=False) as files:
                return any(hdu.is_image and len(hdu.shape) > 1 for hdu in files)
        except (*_DAMAGE, VerifyError):
            return False


def unpacked(data: bytes) -> bytes:
    """The bytes of a file, gunzipped where it is gzip; Unreadable when it is torn, or grows beyond 256 MiB."""
    if data[:2] != GZIP:
        return data
    out, rest = [], data
    left = MOST_BYTES
    while rest[:2] == GZIP:  # a gzip file may have several members
        machine = zlib.decompressobj(31)
        try:
            part = machine.decompress(rest, left + 1)
        except zlib.error as error:
            raise Unreadable("damaged gzip") from error
        left -= len(part)
        if left < 0:
            raise Unreadable(f"gzip that unpacks to more than {MOST_BYTES >> 20} MiB")
        if not machine.eof:
            raise Unreadable("truncated gzip")
        out.append(part)
        rest = machine.unused_data.lstrip(b"\0")
    return b"".join(out)


@contextmanager
def _opened(data: bytes, most: int) -> Iterator[list[Any]]:
    """The HDUs with pictures of a file (astropy's), each of at least two axes and all there; Unreadable otherwise."""
    from astropy.io import fits
    from astropy.io.fits.verify import VerifyError

    data = unpacked(data)
    if not data:
        raise Unreadable("empty file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what astropy warns of is checked here, and said in one way
        try:
            files = fits.open(io.BytesIO(data), memmap=False)
        except (*_DAMAGE, VerifyError) as error:
            raise Unreadable("not a FITS file, or truncated in its header") from error
        try:
            with files:
                yield _images(files, len(data), most)
        except Unreadable:
            raise
        except (*_DAMAGE, VerifyError) as error:
            raise Unreadable(
                f"damaged FITS file: {str(error).splitlines()[0][:80] if str(error) else type(error)}"
            ) from error


def _images(files: Any, size: int, most: int) -> list[Any]:
    from astropy.io.fits import CompImageHDU

    images, others = [], []
    for hdu in files:
        shape = tuple(int(side) for side in getattr(hdu, "shape", ()) or ()) if hdu.is_image else ()
        if len(shape) < 2:
            others.append(_name(hdu) or type(hdu).__name__)
            continue
        if min(shape) < 1 or math.prod(shape) > most:
            raise Unreadable(
                f"its header announces {' x '.join(f'{s:,}' for s in shape)} pixels, the limit is {most:,}"
            )
        place, packed = hdu.fileinfo(), isinstance(hdu, CompImageHDU)
        if place and not packed and place["datLoc"] + hdu.size > size:
            missing = place["datLoc"] + hdu.size - size
            raise Unreadable(f"truncated: {missing:,} bytes of its pixels are missing")
        images.append(hdu)
    if not images:
        raise Unreadable(f"no HDU with a picture; it has {', '.join(others) or 'none'}")
    return images


def _name(hdu: Any) -> str:
    return str(hdu.header.get("EXTNAME", "")).strip()


def _piece(hdu: Any, layout: str) -> Piece:
    """Height, width and planes; axes of length 1 in front (FITS's last) are dropped."""
    shape = tuple(hdu.shape)
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) == 2:
        return Piece(_name(hdu), shape[0], shape[1], 1, "")
    if len(shape) != 3:
        raise Unreadable(f"an HDU of {len(shape)} axes: {' x '.join(map(str, shape))}")
    layout = layout or axes_of(shape)
    count, height, width = shape if layout == "NCHW" else (shape[2], shape[0], shape[1])
    return Piece(_name(hdu), height, width, count, layout)


def axes_of(shape: Sequence[int]) -> str:
    """Layout of a cube (a, b, c), numpy order: its one short axis is the channels; where none is, FITS's third axis."""
    a, b, c = shape
    for small in _SMALL:
        first, last = a <= small < min(b, c), c <= small < min(a, b)
        if first != last:
            return "NCHW" if first else "NHWC"
    return "NCHW"


def _pixels(hdu: Any, piece: Piece) -> np.ndarray:
    try:
        values = np.asarray(hdu.data)
    except Exception as error:  # each packing of astropy fails in its own ways
        raise Unreadable("damaged pixels") from error
    if values.dtype.kind in "iu":
        blank = _blank(hdu.header)
        held = values if blank is None else values[values != blank]
        if held.size and max(int(held.max()), -int(held.min())) > _EXACT:
            raise Unreadable("whole numbers beyond 2^24, which float32 would round")
        missing = None if blank is None else values == blank
        values = values.astype(np.float32)
        if missing is not None:
            values[missing] = np.nan
    elif values.dtype.kind == "f":
        missing = np.isfinite(values) & (np.abs(values) > FILL)
        values = np.where(missing, np.nan, values).astype(np.float32)
    else:
        raise Unreadable(f"pixels of type {values.dtype}")
    if piece.layout == "NHWC":
        return values.reshape(piece.height, piece.width, piece.count)
    return np.moveaxis(values.reshape(piece.count, piece.height, piece.width), 0, 2)


def _blank(header: Any) -> int | None:
    """The value that missing whole numbers have after BSCALE and BZERO (FITS 4.0, section 4.4.2.5)."""
    blank = header.get("BLANK")
    if not isinstance(blank, int):
        return None
    return int(blank * header.get("BSCALE", 1) + header.get("BZERO", 0))


def _sky(images: Sequence[Any], piece: Piece) -> Sky | None:
    """From the first HDU with a celestial WCS; None without one, or when it cannot be used."""
    for hdu in images:
        if not str(hdu.header.get("CTYPE1", "")).strip():
            continue
        found = _sky_of(hdu.header, piece)
        if found is not None:
            return found
    return None


def _sky_of(header: Any, piece: Piece) -> Sky | None:
    from astropy.wcs import WCS

    if any(_beyond(header, key, _MOST_AXES) for key in ("NAXIS", "WCSAXES")) or any(
        _beyond(header, f"{key}_ORDER", _MOST_ORDER) for key in ("A", "B", "AP", "BP")
    ):
        return None
    try:
        whole = WCS(header)
        if not whole.has_celestial:
            return None
        wcs = whole.celestial
        x, y = (piece.width - 1) / 2, (piece.height - 1) / 2
        at = np.array([[x, y], [x - 0.5, y], [x + 0.5, y], [x, y - 0.5], [x, y + 0.5]])
        world = _equatorial(wcs, at)
    except _DAMAGE:  # a WCS that astropy cannot make sense of: the pixels are good without
        return None
    if not np.isfinite(world).all():
        return None
    (ra, dec), around = world[0], np.radians(world[1:])
    east = np.cos(around[:, 1]) * np.sin(around[:, 0] - math.radians(ra))
    north = np.sin(around[:, 1]) * math.cos(math.radians(dec)) - np.cos(around[:, 1]) * math.sin(
        math.radians(dec)
    ) * np.cos(around[:, 0] - math.radians(ra))
    along_x, along_y = (np.array([east[i + 1] - east[i], north[i + 1] - north[i]]) for i in (0, 2))
    area = float(along_x[0] * along_y[1] - along_x[1] * along_y[0])
    if area == 0:
        return None
    angle = math.degrees(math.atan2(along_y[0], along_y[1])) % 360
    return Sky(float(ra % 360), float(dec), angle, math.degrees(math.sqrt(abs(area))) * 3600, area > 0)


def _beyond(header: Any, key: str, most: int) -> bool:
    """Whether a header announces more than anyone means; what is no number is astropy's to refuse."""
    value = header.get(key, 0)
    return isinstance(value, (int, float)) and not value <= most


def _equatorial(wcs: Any, at: np.ndarray) -> np.ndarray:
    """Right ascension and declination (n, 2), degrees J2000, of pixels (n, 2) counted from 0."""
    plain = str(wcs.wcs.ctype[0]).startswith("RA") and wcs.wcs.radesys.strip() in NORMAL
    if plain and not (wcs.wcs.equinox > 0 and wcs.wcs.equinox != 2000):
        return np.asarray(wcs.all_pix2world(at, 0), np.float64)
    sky = wcs.pixel_to_world(at[:, 0], at[:, 1]).icrs
    return np.stack([sky.ra.deg, sky.dec.deg], 1)
