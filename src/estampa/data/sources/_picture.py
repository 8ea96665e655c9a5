"""One picture in memory: its size from the first bytes, its pixels from all. Bytes are hostile until decoded."""

from __future__ import annotations

import io
import math
import re
import struct
import threading

import numpy as np
import simplejpeg
from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from estampa import pixels
from estampa.data.sources._heads import (
    ORIENTATION,
    Head,
    Unreadable,
    check_parts,
    head_of_gif,
    head_of_jpeg,
    head_of_webp,
)

__all__ = ["HEAD_BYTES", "SUFFIXES", "Head", "Unreadable", "decode", "head_of"]

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".tif", ".tiff", ".webp", ".gif")
_COLOURS = {"L": "GRAY", "RGB": "RGB"}
_MCU = 16  #: rows that a JPEG is cut at: those of its blocks where colours have half the rows or all (ITU-T T.81, A.2)
_LEFT_OVER = re.compile(r"extraneous bytes before marker 0xd9")
_KEPT_BYTES = 1 << 24  #: of scratch memory that a thread keeps
_THREAD = threading.local()
HEAD_BYTES = 1 << 16  #: read for the size; a JPEG whose header is longer is read whole
# What Pillow raises on damaged files; it warns of some damage, which counts as damage where warnings are errors.
_BROKEN = (
    *(OSError, SyntaxError, ValueError, struct.error, EOFError, LookupError, OverflowError, MemoryError, TypeError),
    *(RuntimeError, UserWarning, Image.DecompressionBombError, Image.DecompressionBombWarning),
)


def head_of(data: bytes) -> Head:
    """Read the header of a picture from its first bytes; raises Unreadable (also when the bytes end too early)."""
    if not data:
        raise Unreadable("empty file")
    check_parts(data)
    if data[:2] == b"\xff\xd8":
        return head_of_jpeg(data)
    if _kind(data) in ("WEBP", "GIF"):  # Pillow would set aside memory for what their headers announce
        return head_of_webp(data) if _kind(data) == "WEBP" else head_of_gif(data)
    try:
        with _open(data) as image:
            orientation = _orientation(image)
            tags = getattr(image, "tag_v2", {})  # a TIFF's own size: Pillow's may be turned already
            width, height = (tags[256], tags[257]) if tags else image.size
            grey = image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16")
            deep = _is_deep(image, data)
            moving = _pages(image) > 1
    except _BROKEN as error:
        raise Unreadable("not a picture" if _kind(data) == "" else "damaged picture") from error
    if orientation in (5, 6, 7, 8):
        height, width = width, height
    return Head(height, width, grey, orientation, deep=deep, moving=moving)


def _kind(data: bytes) -> str:
    """Format by the magic number, or "": a name is no proof, and Pillow's other formats are left alone."""
    if data[:2] == b"\xff\xd8":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "TIFF"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    return "WEBP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else ""


def _open(data: bytes) -> Image.Image:
    """Open with the format's own class: `Image.open` would warn or raise by a limit that is not ours."""
    kind = _kind(data)
    stream = io.BytesIO(data)
    if kind == "JPEG":
        return JpegImagePlugin.JpegImageFile(stream)
    if kind == "PNG":
        return PngImagePlugin.PngImageFile(stream)
    if kind == "TIFF":
        return TiffImagePlugin.TiffImageFile(stream)
    if kind == "WEBP":
        return WebPImagePlugin.WebPImageFile(stream)
    if kind == "GIF":
        return GifImagePlugin.GifImageFile(stream)
    raise Unreadable("not a picture")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation. A PNG's is looked for in what was read: asking Pillow for it would unpack a bomb's pixels."""
    if isinstance(image, PngImagePlugin.PngImageFile) and "exif" not in image.info:
        return 1
    return int(image.getexif().get(ORIENTATION, 1))


def _pages(image: Image.Image) -> int:
    """Frames of a PNG, or 2 where a TIFF names a second page (its first directory says where; TIFF 6.0, section 2)."""
    if isinstance(image, PngImagePlugin.PngImageFile):
        return image.n_frames
    return 2 if getattr(getattr(image, "tag_v2", None), "next", 0) else 1


def _is_deep(image: Image.Image, data: bytes) -> bool:
    """Whether a channel has more than 8 bits; Pillow would cut 16-bit colour to 8 without a word."""
    if data[:4] == b"\x89PNG":
        return data[24] == 16  # bit depth of IHDR; PNG 1.2, 11.2.2
    bits = getattr(image, "tag_v2", {}).get(258, (8,))  # BitsPerSample; TIFF 6.0
    return bool(max(bits if isinstance(bits, tuple) else (bits,)) > 8)


def decode(
    data: bytes, mode: str, max_pixels: int, out: np.ndarray | None = None, *,
    crop: int = 0, fast: bool = False, sound: bool = False,
) -> np.ndarray:  # fmt: skip
    """Decode a picture, or the central square of it.

    Parameters
    ----------
    data : the whole file.
    mode : "L" or "RGB"; colours become luma, alpha is laid on white, 16-bit stays 16-bit.
    max_pixels : more than so many pixels are refused before anything is unpacked.
    out : (h, w, c) uint8, C-contiguous; filled in place when the picture fits it as it is.
    crop : side of the square in pixels; 0 = the whole picture.
    fast : decode JPEG by the fast DCT in place of the accurate one.
    sound : `data` are known to be whole and undamaged (a checksum says so). Then what lies below the square is not
        decoded, a fifth of the work; the pixels are the same. Damage shows most often as bytes that run out, or are
        left over, at the end: so without a checksum the end must be reached.

    Returns
    -------
    (h, w, 1) or (h, w, 3), uint8 or uint16, upright. With `crop`, a view of memory that the next call of this thread
    uses again, unless it is `out`.

    Raises Unreadable.
    """
    head = head_of(data)
    if head.height * head.width > max_pixels:
        raise Unreadable(f"{head.height}x{head.width} pixels are more than the limit of {max_pixels}")
    if crop > min(head.height, head.width):
        raise Unreadable(f"{head.height}x{head.width} is smaller than the crop of {crop}")
    if head.deep and not head.grey:
        raise Unreadable("colour or alpha of 16 bits a channel")
    if not head.jpeg:
        image = pixels.to_channels(_decode_slowly(data), mode)
    elif crop and head.orientation == 1:
        image = _upper(data, head, mode, (head.height - crop) // 2 + crop if sound else head.height, fast)
        top, left = (head.height - crop) // 2, (head.width - crop) // 2
        return image[top : top + crop, left : left + crop]
    else:
        fits = out is not None and not crop and head.orientation == 1 and out.shape[:2] == (head.height, head.width)
        image = pixels.orient(_decode_jpeg(data, mode, fast, out if fits else None), head.orientation)
    return pixels.crop_centre(image, (crop, crop)) if crop else image


def _decode_jpeg(data: bytes, mode: str, fast: bool, out: np.ndarray | None) -> np.ndarray:
    try:
        image: np.ndarray = simplejpeg.decode_jpeg(data, _COLOURS[mode], fastdct=fast, buffer=out)
    except ValueError as error:
        cut = "premature end" in str(error).lower() or b"\xff\xd9" not in data[-64:]
        raise Unreadable("truncated JPEG" if cut else "damaged JPEG") from error
    return image


def _upper(data: bytes, head: Head, mode: str, rows: int, fast: bool) -> np.ndarray:
    """Decode at least the first `rows` rows of a JPEG, (h, w, c), into memory that this thread keeps.

    A sequential JPEG is told to be as high as is needed: rows are coded from top to bottom, so that the decoder stops
    there, and complains only of the bytes that are left. One row more is decoded than is used, since a row's colours
    are mixed with the next one's. Whatever else the decoder says, the whole picture is decoded and judged.
    """
    height = -(-(rows + 1) // _MCU) * _MCU
    if head.frame and height < head.height:
        shorter = data[: head.frame] + struct.pack(">H", height) + data[head.frame + 2 :]
        out = _scratch((height, head.width, pixels.MODES[mode]))
        try:
            simplejpeg.decode_jpeg(shorter, _COLOURS[mode], fastdct=fast, buffer=out)
        except ValueError as error:
            if _LEFT_OVER.search(str(error)):
                return out
    return _decode_jpeg(data, mode, fast, _scratch((head.height, head.width, pixels.MODES[mode])))


def _scratch(shape: tuple[int, int, int]) -> np.ndarray:
    """Memory of one thread, used again: fresh pages cost as much as half of the decoding."""
    size = math.prod(shape)
    kept: np.ndarray | None = getattr(_THREAD, "kept", None)
    if kept is None or kept.size < size:
        kept = np.empty(size, np.uint8)
        if size <= _KEPT_BYTES:
            _THREAD.kept = kept
    return kept[:size].reshape(shape)


def _decode_slowly(data: bytes) -> np.ndarray:
    """Decode (the first frame) with Pillow: PNG, TIFF, WebP, GIF, CMYK JPEG.

    Returns (h, w) or (h, w, 1..4), uint8 or uint16, upright.
    """
    try:
        with _open(data) as image:
            image.load()
            array, orientation = _as_array(image), _orientation(image)
    except _BROKEN as error:
        kind = "truncated" if "truncated" in str(error).lower() or isinstance(error, EOFError) else "damaged"
        raise Unreadable(f"{kind} picture") from error
    return array if _kind(data) == "TIFF" else pixels.orient(array, orientation)  # Pillow turns TIFF itself


def _as_array(image: Image.Image) -> np.ndarray:
    mode = image.mode
    if mode.startswith("I;16") or mode == "I":
        wide = np.asarray(image)
        if wide.size and (int(wide.min()) < 0 or int(wide.max()) > 65535):
            raise Unreadable("values beyond 16 bits")
        return wide.astype(np.uint16)
    if mode == "F":
        raise Unreadable("floating-point picture; store such pixels as .npy")
    if mode == "P" or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = np.asarray(image)[:, :, 3]
        return np.asarray(image if (alpha < 255).any() else image.convert("RGB"))
    if mode in ("1", "CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa", "La"):
        target = {"1": "L", "RGBa": "RGBA", "La": "LA"}.get(mode, "RGB")
        image = image.convert(target)
    return np.asarray(image)
