"""What the headers of JPEG, WebP and GIF say, read without a decoder: nothing is set aside for what they announce."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

ORIENTATION = 0x0112  #: EXIF 2.32, table 4
# Start-of-frame markers; C4, C8 and CC are tables (ITU-T T.81, table B.1)
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_EXIF, _ANIMATION = 8, 2  # flags of VP8X; WebP Container Specification, "Extended File Format"


_SEGMENTS = 10_000  #: before a JPEG's frame, fill bytes counted; cameras write some hundred
_SCANS = 100  #: of a JPEG; an encoder writes some ten, and each makes the decoder walk all of the picture
_CHUNK = 512  #: bytes that a PNG's chunks have on average, at least, beyond the first _SEGMENTS


class Unreadable(Exception):  # noqa: N818 - never leaves this room: it becomes the reason of a rejected row
    """Why a picture cannot be read, in a few words."""


@dataclass(frozen=True)
class Head:
    """What a picture's header says, upright: height and width after its EXIF orientation."""

    height: int
    width: int
    grey: bool
    orientation: int = 1
    jpeg: bool = False  #: plain grey or colour JPEG, that the fast decoder reads
    frame: int = 0  #: where the height of a sequential JPEG is written; 0 for others
    deep: bool = False  #: 16 bits a channel
    moving: bool = False  #: several frames or pages, of which the first is read


def head_of_jpeg(data: bytes) -> Head:
    """Walk a JPEG's segments to its frame (ITU-T T.81, B.2.2) and to the EXIF orientation before it."""
    position, orientation, segments = 2, 1, 0
    while position + 4 <= len(data):
        segments += 1
        if segments > _SEGMENTS:
            raise Unreadable("damaged JPEG")
        if data[position] != 0xFF:
            raise Unreadable("damaged JPEG")
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # these stand alone
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker in _FRAMES and position + 10 <= len(data):
            precision, height, width, components = struct.unpack_from(">BHHB", data, position + 4)
            if not height or not width:
                raise Unreadable("damaged JPEG")
            if orientation in (5, 6, 7, 8):
                height, width = width, height
            fast = precision == 8 and components in (1, 3)
            frame = position + 5 if marker in (0xC0, 0xC1) else 0
            return Head(height, width, components == 1, orientation, fast, frame)
        if marker == 0xE1 and data[position + 4 : position + 10] == b"Exif\0\0":
            orientation = exif_orientation(data[position + 10 : position + 2 + length])
        if marker == 0xDA or length < 2:
            break
        position += 2 + length
    raise Unreadable("truncated JPEG")


def check_parts(data: bytes) -> None:
    """Raise Unreadable for a JPEG of far more scans, or a PNG of far more chunks, than a picture has."""
    if data.startswith(b"\xff\xd8"):
        if data.count(b"\xff\xda") > _SCANS:  # within coded data an FF has a zero behind it
            raise Unreadable("JPEG with more scans than a picture has")
    elif data.startswith(b"\x89PNG"):
        position, chunks = 8, 0
        while position + 8 <= len(data):
            position, chunks = position + 12 + int.from_bytes(data[position : position + 4], "big"), chunks + 1
            if chunks > _SEGMENTS + position // _CHUNK:
                raise Unreadable("PNG with more chunks than a picture has")


def exif_orientation(tiff: bytes) -> int:
    """Return the orientation in the first directory of an EXIF block (TIFF 6.0, section 2); 1 when it is not there."""
    order: Any = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 14:
        return 1
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    if start + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(order + "H", tiff, start)
    for i in range(min(count, (len(tiff) - start - 2) // 12)):
        tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * i)
        if tag == ORIENTATION and kind == 3:
            return value if 1 <= value <= 8 else 1
    return 1


def head_of_webp(data: bytes) -> Head:
    """Read a WebP's size, orientation and kind (WebP Container Specification; RFC 6386, 9.1; RFC 9649, 3.4).

    Raises Unreadable, also when the bytes end before the EXIF block that the header announces.
    """
    kind = data[12:16]
    if len(data) < 30:
        raise Unreadable("truncated WebP")
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", data, 26))
        return _upright(height, width)
    if kind == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        return _upright((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1)
    if kind != b"VP8X":
        raise Unreadable("damaged WebP")
    width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    orientation = _webp_orientation(data) if data[20] & _EXIF else 1
    return _upright(height, width, orientation, moving=bool(data[20] & _ANIMATION))


def _webp_orientation(data: bytes) -> int:
    """Orientation in the EXIF chunk, which stands behind the pixels."""
    position, end = 30, 8 + int.from_bytes(data[4:8], "little")
    while position + 8 <= min(len(data), end):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        if position + 8 + size > len(data):
            raise Unreadable("truncated WebP")
        if data[position : position + 4] == b"EXIF":
            return exif_orientation(data[position + 8 : position + 8 + size].removeprefix(b"Exif\0\0"))
        position += 8 + size + size % 2
    if position < end:
        raise Unreadable("truncated WebP")
    return 1


def _upright(height: int, width: int, orientation: int = 1, *, moving: bool = False) -> Head:
    if not height or not width:
        raise Unreadable("damaged picture")
    if orientation in (5, 6, 7, 8):
        height, width = width, height
    return Head(height, width, grey=False, orientation=orientation, moving=moving)


def head_of_gif(data: bytes) -> Head:
    """Read a GIF's size, and whether frames follow the first (GIF89a specification, sections 18 to 23).

    Raises Unreadable when the bytes end before the first frame does.
    """
    if len(data) < 13:
        raise Unreadable("truncated GIF")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + _colours(flags)
    frames, announced = 0, False
    while position < len(data) and frames < 2:
        block = data[position]
        if block == 0x21:  # an extension; 0xF9 stands before a frame
            announced = data[position + 1 : position + 2] == b"\xf9"
            after = _behind(data, position + 2)
        elif block == 0x2C and position + 10 <= len(data):
            left, top, wide, high, own = struct.unpack_from("<HHHHB", data, position + 1)
            if not frames:
                width, height = max(width, left + wide), max(height, top + high)
            frames, announced = frames + 1, False
            after = _behind(data, position + 11 + _colours(own))
        else:
            break
        if after is None:
            break
        position = after
    if not frames or (frames == 1 and after is None and block == 0x2C):
        raise Unreadable("truncated GIF")
    return _upright(height, width, moving=frames > 1 or announced)


def _colours(flags: int) -> int:
    """Bytes of a colour table."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _behind(data: bytes, position: int) -> int | None:
    """Where a chain of sub-blocks ends; None when the bytes end before."""
    while position < len(data):
        if not data[position]:
            return position + 1
        position += 1 + data[position]
    return None
