"""Bodies that nobody sends by mistake: for each form of a request, what a stranger would try."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from served import npy_bytes, npz_bytes, picture_bytes

NPY, NPZ, JSON = "application/x-npy", "application/x-npz", "application/json"
MEBI = 1 << 20
MOST = 32 * MEBI  #: of a body, as the service has it by default


class Body(NamedTuple):
    """A body: what it is, whom it is sent to (see `MODELS`), and its content type."""

    name: str
    model: str
    kind: str
    data: bytes | Callable[[], bytes]  #: the latter where it takes a while to make

    def made(self) -> bytes:
        """Its bytes."""
        return self.data() if callable(self.data) else self.data


#: Models that a body is sent to: stamps of arrays, coloured pictures of files, a table, cut-outs of FITS files.
MODELS = ("stamps", "photos", "table", "fits")


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG, its checksum right."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, data: bytes = b"", extra: bytes = b"", depth: int = 8, colour: int = 0) -> bytes:
    """A PNG that announces any size; `data` is compressed as its pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def _zeros(count: int) -> bytes:
    """`count` zeros, compressed a thousandfold, without making them."""
    packer = zlib.compressobj(9)
    piece = bytes(MEBI)
    parts = [packer.compress(piece) for _ in range(count // MEBI)]
    return b"".join([*parts, packer.compress(bytes(count % MEBI)), packer.flush()])


def cuts(data: bytes, count: int = 12) -> Iterator[tuple[int, bytes]]:
    """A file cut at so many places."""
    for i in range(1, count):
        at = len(data) * i // count
        yield at, data[:at]


def pictures() -> Iterator[Body]:
    """Picture files."""
    draw = np.random.default_rng(0)
    good = draw.integers(0, 255, (40, 40, 3), np.uint8)
    for form in ("png", "jpeg", "webp", "gif", "tiff"):
        whole = picture_bytes(good, form)
        for at, data in cuts(whole):
            yield Body(f"{form} cut at {at}", "photos", f"image/{form}", data)
        spoiled = bytearray(whole)
        spoiled[len(whole) // 2 : len(whole) // 2 + 8] = b"\xff" * 8
        yield Body(f"{form} spoiled in the middle", "photos", f"image/{form}", bytes(spoiled))
        yield Body(f"{form} that is said to be npy", "photos", NPY, whole)
    idat = chunk(b"IDAT", _zeros(90_000_000))
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0))
    yield Body("png that announces 900 million pixels", "photos", "image/png", head + idat + chunk(b"IEND", b""))
    yield Body("png that announces 65,535 x 65,535", "photos", "image/png", png(65_535, 65_535))
    yield Body("png that announces 2^31 - 1 wide", "photos", "image/png", png(2**31 - 1, 1))
    yield Body("png without a size", "photos", "image/png", png(0, 0))
    yield Body("png of an odd depth", "photos", "image/png", png(4, 4, data=bytes(40), depth=7))
    tall = 600
    wide = picture_bytes(np.zeros((tall, 65_535, 1), np.uint8))
    yield Body("png 65,535 wide, 39 million pixels", "photos", "image/png", wide)
    text = chunk(b"zTXt", b"k\0\0" + _zeros(60_000_000))
    yield Body("png with a bomb as its text", "photos", "image/png", png(4, 4, data=b"x", extra=text))
    profile = chunk(b"iCCP", b"k\0\0" + _zeros(60_000_000))
    yield Body("png with a bomb as its colours", "photos", "image/png", png(4, 4, data=b"x", extra=profile))
    yield Body(
        "png of 30 MiB of chunks",
        "photos",
        "image/png",
        png(4, 4, data=b"x", extra=chunk(b"tEXt", b"k\0v") * 1_800_000),
    )
    whole = picture_bytes(good, "jpeg")
    frame = whole.index(b"\xff\xc0")
    vast = whole[: frame + 5] + b"\xff\xff\xff\xff" + whole[frame + 9 :]
    yield Body("jpeg that announces 65,535 x 65,535", "photos", "image/jpeg", vast)
    yield Body("jpeg of nothing but markers", "photos", "image/jpeg", b"\xff\xd8" + b"\xff\xe0\0\2" * 7_000_000)
    stream = io.BytesIO()
    from PIL import Image

    Image.fromarray(np.zeros((4000, 4000), np.uint8)).save(stream, "jpeg", progressive=True)
    scans = stream.getvalue()
    last = scans.rindex(b"\xff\xda")
    for count in (80, 20_000):
        many = scans[:last] + scans[last:-2] * count + b"\xff\xd9"
        yield Body(f"jpeg of {count:,} scans", "photos", "image/jpeg", many)
    yield Body("gif of a vast screen", "photos", "image/gif", b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b";")
    for kind, tag in (("a vast size", 256), ("a vast strip", 279), ("a vast table", 273)):
        entries = {256: (4, 1, 4), 257: (4, 1, 4), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 200),
                   277: (3, 1, 1), 278: (4, 1, 4), 279: (4, 1, 16)}  # fmt: skip
        entries[tag] = (4, 0xFFFFFFF0 if tag == 273 else 1, 0x7FFFFFFF)
        packed = b"".join(struct.pack("<HHII", key, *value) for key, value in sorted(entries.items()))
        directory = struct.pack("<H", len(entries)) + packed
        yield Body(f"tiff of {kind}", "photos", "image/tiff", b"II*\0\x08\0\0\0" + directory + b"\0\0\0\0" + bytes(200))
        yield Body(f"tiff that goes in a circle, {kind}", "photos", "image/tiff",
                   b"II*\0\x08\0\0\0" + directory + b"\x08\0\0\0" + bytes(200))  # fmt: skip
    chunked = b"RIFF" + struct.pack("<I", 100) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\x10\0\0\0" + b"\xff" * 6
    yield Body("webp of a vast canvas", "photos", "image/webp", chunked + bytes(80))
    for name, data in polyglots(good):
        yield Body(name, "photos", "application/octet-stream", data)


def polyglots(good: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """Files that are two things at once; what is not the picture that it seems to be."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("images.npy", npy_bytes(np.zeros((1, 6, 5, 1), np.uint8)))
    yield "npy with a zip behind", npy_bytes(good) + archive.getvalue()
    yield "zip with a picture before", b"\x89PNG\r\n\x1a\n" + archive.getvalue()
    yield "gif that is a script", b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)//;"
    yield "jpeg that is a page", b"\xff\xd8\xff\xfe\0\x20<script>alert(1)</script>" + bytes(60)
    yield "riff that is no webp", b"RIFF\x10\0\0\0WAVEfmt " + bytes(32)
    yield "page", b"<!doctype html><script>alert(1)</script>"
    yield "svg", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://127.0.0.1/x'/></svg>"
    yield "pdf", b"%PDF-1.7\n" + bytes(100)
    yield "program", b"\x7fELF" + bytes(100)
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w") as opened:
        opened.addfile(tarfile.TarInfo("../../x"))
    yield "tar with traversal", tarred.getvalue()
    yield "gzip bomb", gzip.compress(bytes(30 * MEBI))


def npy_head(text: str, version: int = 1, length: int | None = None) -> bytes:
    """An .npy header of any text."""
    data = text.encode("latin-1")
    size = len(data) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + size.to_bytes(2 if version == 1 else 4, "little") + data


def npys() -> Iterator[Body]:
    """.npy bodies."""
    whole = npy_bytes(np.zeros((2, 6, 5, 1), np.uint8))
    for at, data in cuts(whole):
        yield Body(f"npy cut at {at}", "stamps", NPY, data)
    heads = {
        "vast": "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 6, 5, 1)}",
        "of a shape beyond 64 bits": f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({'9' * 40},)}}",
        "of a shape of 5,000 digits": f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({'9' * 4000},)}}",
        "empty and vast": f"{{'descr': '<f8', 'fortran_order': False, 'shape': (0, {10**18}, {10**18})}}",
        "of a negative shape": "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 6, 5, 1)}",
        "of a shape of truths": "{'descr': '|u1', 'fortran_order': False, 'shape': (True, 6, 5, 1)}",
        "of 32 axes": f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(1,) * 32}}}",
        "of 65 axes": f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(1,) * 65}}}",
        "of objects": "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "of objects in fields": "{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}",
        "of void": "{'descr': '|V8', 'fortran_order': False, 'shape': (1,)}",
        "of times": "{'descr': '<M8[s]', 'fortran_order': False, 'shape': (1,)}",
        "of texts": "{'descr': '<U1000000000', 'fortran_order': False, 'shape': (0,)}",
        "of nothing": "{'descr': [], 'fortran_order': False, 'shape': (5,)}",
        "of a field twice": "{'descr': [('a', 'f4'), ('a', 'f4')], 'fortran_order': False, 'shape': (1,)}",
        "of nested fields": "{'descr': [('a', [('b', 'f4')])], 'fortran_order': False, 'shape': (1,)}",
        "of an array in a field": "{'descr': [('a', 'f4', (1000000, 1000000))], 'fortran_order': False, 'shape': (1,)}",
        "of a comma string": "{'descr': 'f4,O', 'fortran_order': False, 'shape': (1,)}",
        "with code": "__import__('os').system('touch /tmp/owned')",
        "with code as its shape": "{'descr': '|u1', 'fortran_order': False, 'shape': [x for x in (1,)]}",
        "of deep brackets": "(" * 2000 + ")" * 2000,
        "of deep minuses": "-" * 3900 + "1",
        "of a list": "[1, 2]",
        "of no text": "\x00\xff\xfe",
        "without keys": "{}",
        "of a dict as its type": "{'descr': {'names': ['a'], 'formats': ['O']}, 'fortran_order': False, 'shape': (1,)}",
        "of a number as its type": "{'descr': 7, 'fortran_order': False, 'shape': (1,)}",
    }
    for name, text in heads.items():
        for version in (1, 2, 3):
            yield Body(f"npy {name}, version {version}", "stamps", NPY, npy_head(text, version) + bytes(8))
    yield Body("npy of version 9", "stamps", NPY, b"\x93NUMPY\x09\0\x10\0" + bytes(40))
    yield Body("npy whose header is vast", "stamps", NPY, npy_head("{}", 2, 0xFFFFFFFF))
    yield Body("npy whose header is 30 MiB", "stamps", NPY, npy_head("[" * (30 * MEBI), 2))
    yield Body("npy of 30 MiB that is too many", "stamps", NPY, npy_bytes(np.zeros((MEBI, 30, 1, 1), np.uint8)))
    yield Body("npy of complex numbers", "stamps", NPY, npy_bytes(np.zeros((1, 6, 5, 1), np.complex64)))
    yield Body(
        "npy of long doubles, not finite", "stamps", NPY, npy_bytes(np.full((1, 6, 5, 1), np.nan, np.longdouble))
    )
    yield Body("npy of infinities", "stamps", NPY, npy_bytes(np.full((1, 6, 5, 1), np.inf)))


def zipped(*members: tuple[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", how) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


def npzs() -> Iterator[Body]:
    """.npz bodies."""
    good = npy_bytes(np.zeros((1, 6, 5, 1), np.uint8))
    for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        whole = zipped(("images.npy", good), how=how)
        for at, data in cuts(whole):
            yield Body(f"npz of method {how} cut at {at}", "stamps", NPZ, data)
        for place in range(30, 80, 5):
            spoiled = bytearray(whole)
            spoiled[place] ^= 0xFF
            if how or place > 100:
                yield Body(f"npz of method {how} spoiled at {place}", "stamps", NPZ, bytes(spoiled))
    vast = npy_bytes(np.zeros((0, 6, 5, 1), np.uint8))
    yield Body("npz bomb", "stamps", NPZ, zipped(("images.npy", bytes(160 * MEBI))))
    lying = bytearray(zipped(("images.npy", bytes(60 * MEBI))))
    entry = lying.rindex(b"PK\x01\x02")
    lying[entry + 24 : entry + 28] = struct.pack("<I", 100)
    yield Body("npz bomb that says it is small", "stamps", NPZ, bytes(lying))
    yield Body("npz of 40 members", "stamps", NPZ, zipped(*[(f"{i}.npy", good) for i in range(40)]))
    yield Body("npz of 50,000 members", "stamps", NPZ, lambda: zipped(*[(f"{i}", b"") for i in range(50_000)]))
    yield Body("npz with traversal", "stamps", NPZ, zipped(("../../../var/owned.npy", good[:50])))
    yield Body("npz of a folder", "stamps", NPZ, zipped(("a/", b"")))
    yield Body("npz of nothing", "stamps", NPZ, zipped())
    yield Body("npz of two arrays", "stamps", NPZ, zipped(("a.npy", good), ("b.npy", good)))
    yield Body("npz of an npz", "stamps", NPZ, zipped(("images.npy", npz_bytes(images=np.zeros(3)))))
    yield Body("npz of objects", "stamps", NPZ, npz_bytes(images=np.array([{}, []], object)))
    yield Body("npz without rows", "stamps", NPZ, zipped(("images.npy", vast)))
    texts = "{{'descr': '<U{}', 'fortran_order': False, 'shape': (1,)}}"
    yield Body("npz with ids beyond Unicode", "stamps", NPZ, zipped(
        ("images.npy", good), ("ids.npy", npy_head(texts.format(1)) + b"\xff" * 4),
    ))  # fmt: skip
    yield Body("npz with ids of no size", "stamps", NPZ, zipped(
        ("images.npy", good), ("ids.npy", npy_head(texts.format(0))),
    ))  # fmt: skip
    encrypted = bytearray(zipped(("images.npy", good)))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.rindex(mark) + at] |= 1
    yield Body("npz with a password", "stamps", NPZ, bytes(encrypted))
    odd = bytearray(zipped(("images.npy", good)))
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        odd[odd.rindex(mark) + at] = 97
    yield Body("npz of an unknown method", "stamps", NPZ, bytes(odd))
    yield Body("npz of nothing but its end", "stamps", NPZ, b"PK\x05\x06" + bytes(18))
    yield Body("npz that begins far away", "stamps", NPZ, b"PK\x03\x04" + bytes(30 * MEBI) + zipped(("a", b""))[-22:])


def jsons() -> Iterator[Body]:
    """JSON bodies."""
    big = 30 * MEBI
    texts: dict[str, bytes] = {
        "deep lists": b"[" * 100_000, "deep images": b'{"images":' + b"[" * 5000 + b"1" + b"]" * 5000 + b"}",
        "deep objects": b'{"a":' * 100_000, "images of 70 axes": b'{"images":' + b"[" * 70 + b"1" + b"]" * 70 + b"}",
        "images of 40 axes": b'{"images":' + b"[" * 40 + b"1" + b"]" * 40 + b"}",
        "a number beyond floats": b'{"images": [[[1e999]]]}', "a number beneath floats": b'{"images": [[[-1e999]]]}',
        "a number of 400 digits": b'{"images": [[[' + b"9" * 400 + b"]]]}",
        "a number of 5,000 digits": b'{"images": [[[' + b"9" * 5000 + b"]]]}",
        "a number of 30 MiB": b'{"images": [' + b"9" * big + b"]}",
        "a fraction of 30 MiB": b'{"images": [0.' + b"9" * big + b"]}",
        "a text of 30 MiB": b'{"images": "' + b"x" * big + b'"}',
        "a key of 30 MiB": b'{"' + b"x" * big + b'": 1}',
        "escapes of 30 MiB": b'{"' + b"\\u0041" * (big // 6) + b'": 1}',
        "blanks of 30 MiB": b" " * big, "commas": b"," * big,
        "empty lists of 30 MiB": b'{"images":[' + b"[]," * (big // 3) + b"[]]}",
        "empty objects of 30 MiB": b'{"rows":[' + b"{}," * (big // 3) + b"{}]}",
        "objects of 30 MiB": b'{"rows":[' + b'{"a":1},' * (big // 8) + b"{}]}",
        "zeros of 30 MiB": b'{"images":[' + b"0," * (big // 2) + b"0]}",
        "fractions of 30 MiB": b'{"images":[' + b"1.5," * (big // 4) + b"0]}",
        "pixels of 30 MiB": b'{"images":[[' + b"[0]," * (big // 4) + b"[0]]]}",
        "texts of 30 MiB": b'{"pictures":[' + b'"",' * (big // 3) + b'""]}',
        "other keys of 30 MiB": b'{"images":[],' + b",".join(b'"%d":0' % i for i in range(2_000_000)) + b"}",
        "one key again and again": b"{" + b'"images":[1],' * (big // 13) + b'"images":[]}',
        "half a pair of surrogates": b'{"\\ud800": 1}',
        "half a pair as an id": b'{"images":[[[[1]]]],"ids":["\\udfff"]}',
        "NUL": b'{"\\u0000": 1}', "raw NUL": b'{"a\0": 1}', "a mark of order": b"\xef\xbb\xbf{}",
        "UTF-16": '{"images": []}'.encode("utf-16"), "Latin-1": '{"ñ": 1}'.encode("latin-1"),
        "ragged": b'{"images": [[[1, 2], [3]]]}', "ragged in depth": b'{"images": [[[1]], [2]]}',
        "texts as pixels": b'{"images": [[["1"]]]}', "truths as pixels": b'{"images": [[[true]]]}',
        "objects as pixels": b'{"images": [[[{}]]]}', "null": b'{"images": null}', "nulls": b'{"images": [null, null]}',
        "an empty list": b'{"images": []}', "empty lists": b'{"images": [[[]]]}',
        "an object": b'{"images": {"a": 1}}',
        "a proto": b'{"__proto__": {"images": []}, "images": []}', "a comment": b'{/**/"images": []}',
        "two": b"{}{}", "half": b'{"images": [[', "a lone quote": b'"',
        "ids of objects": b'{"images":[[[0]]],"ids":[{}]}',
    }  # fmt: skip
    for name, text in texts.items():
        yield Body(f"json of {name}", "stamps", JSON, text)
    rows = {
        "of other columns": b'{"rows": [{"a": 1}]}', "of 100,000 columns": _row(100_000),
        "of texts": b'{"rows": ["a"]}',
        "of numbers": b'{"rows": [1]}', "of nothing": b'{"rows": []}', "of lists": b'{"rows": [[1, 2, 3, 4, 5, 6]]}',
        "with a text": _named(b'"1"'), "with a truth": _named(b"true"), "with a list": _named(b"[1]"),
        "with an infinity": _named(b"1e999"), "with NaN": _named(b"NaN"),
        "with half a pair": b'{"rows":[{"\\ud83d":1}]}',
        "20,000 of them": b'{"rows":[' + b",".join([_named(b"1")[9:-2]] * 20_000) + b"]}",
    }  # fmt: skip
    for name, text in rows.items():
        yield Body(f"json rows {name}", "table", JSON, text)


def _named(value: bytes) -> bytes:
    names = (b"mag_u", b"mag_g", b"mag_r", b"petroR50", b"petroR90", b"ab")
    return b'{"rows": [{' + b",".join(b'"%s": %s' % (name, value) for name in names) + b"}]}"


def _row(count: int) -> bytes:
    return b'{"rows": [{' + b",".join(b'"c%d": 1' % i for i in range(count)) + b"}]}"


def texts() -> Iterator[Body]:
    """CSV bodies."""
    big = 30 * MEBI
    head = b"mag_u,mag_g,mag_r,petroR50,petroR90,ab\n"
    found: dict[str, bytes] = {
        "one line of 30 MiB": b"x" * big, "one cell of 30 MiB": head + b"1," * 5 + b"9" * big + b"\n",
        "a million columns": b",".join(b"c%d" % i for i in range(1_000_000)) + b"\n" + b"1," * 999_999 + b"1\n",
        "fifteen million columns": b"," * (big // 2) + b"\n" + b"," * (big // 2),
        "a million rows": head + b"1,1,1,1,1,1\n" * 1_000_000,
        "fifteen million rows": b"mag_u\n" + b"1\n" * (big // 2),
        "line breaks alone": b"\n" * big, "carriage returns": head.replace(b"\n", b"\r") + b"\r" * 1000,
        "an open quote": head + b'"' + b"1,\n" * (big // 3), "quotes": head + b'"' * big,
        "NULs": head + b"\0" * 1000, "nothing but NULs": b"\0" * MEBI, "a head alone": head, "half a head": head[:20],
        "no UTF-8": b"\xff\xfe\xfd\n1\n", "a column twice": b"mag_u," + head + b"1,1,1,1,1,1,1\n",
        "formulas": b"=cmd|' /C calc'!A0,mag_g\n1,2\n", "other columns": b"a,b\n1,2\n", "words": b"hello world",
        "ragged rows of words": head + b"a\nb,c\nd,e,f\n", "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "no columns": b"\n\n\n",
    }  # fmt: skip
    for name, text in found.items():
        yield Body(f"csv of {name}", "table", "text/csv", text)
        yield Body(f"csv of {name} for pictures", "stamps", "text/csv", text)


def fitses() -> Iterator[Body]:
    """FITS bodies."""
    from astropy.io import fits

    stream = io.BytesIO()
    fits.PrimaryHDU(np.arange(64, dtype=np.float32).reshape(8, 8)).writeto(stream)
    whole = stream.getvalue()
    kind = "application/fits"
    for at, data in cuts(whole):
        if at < 2880 + 256:
            yield Body(f"fits cut at {at}", "fits", kind, data)
    cards = {
        "a vast picture": ("NAXIS1", 2**31 - 1), "a picture of no width": ("NAXIS1", 0), "minus one": ("NAXIS1", -1),
        "999 axes": ("NAXIS", 999), "a hundred axes": ("NAXIS", 100), "an odd depth": ("BITPIX", 7),
        "a scale of no number": ("BSCALE", "NaN"), "a scale beyond floats": ("BSCALE", "1E999"),
    }  # fmt: skip
    for name, (key, value) in cards.items():
        head = {"SIMPLE": "T", "BITPIX": -32, "NAXIS": 2, "NAXIS1": 8, "NAXIS2": 8, key: value}
        text = "".join(f"{k:8}= {v:>20}".ljust(80) for k, v in head.items()) + "END".ljust(80)
        data = text.encode().ljust(2880) + bytes(2880)
        if "scale" in name:
            yield Body(f"fits of {name}, spoiled", "fits", kind, data)
        else:
            yield Body(f"fits of {name}", "fits", kind, data)
    yield Body(
        "fits whose head never ends", "fits", kind, b"SIMPLE  =                    T".ljust(80) + b" " * (30 * MEBI)
    )
    yield Body("fits of 300,000 cards", "fits", kind, whole[:80] + b"HISTORY x".ljust(80) * 300_000 + whole[80:])
    yield Body("fits of no text", "fits", kind, whole[:80] + b"\xff" * 80 + whole[160:])
    yield Body("fits in a gzip bomb", "fits", kind, lambda: gzip.compress(whole[:2880] + bytes(300 * MEBI), 9))
    yield Body("gzip of nothing", "fits", kind, gzip.compress(b""))
    yield Body("fits that is a zip", "fits", kind, zipped(("a.fits", whole)))
    packed = io.BytesIO()
    fits.HDUList(
        [fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((2000, 2000), np.int16), compression_type="RICE_1")]
    ).writeto(packed)
    told = packed.getvalue()
    for old, new in ((b"ZNAXIS1 =                 2000", b"ZNAXIS1 =           2000000000"),
                     (b"ZTILE1  =                 2000", b"ZTILE1  =           2000000000")):  # fmt: skip
        assert old in told
        yield Body(f"fits of packed tiles with {new[:7].decode()}", "fits", kind, told.replace(old, new))
    for place in range(2880, min(len(told), 12_000), 700):
        spoiled = bytearray(told)
        spoiled[place : place + 4] = b"\xff\x00\xff\x7f"
        yield Body(f"fits of packed tiles spoiled at {place}", "fits", kind, bytes(spoiled))

    def extended() -> bytes:
        stream = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), *[fits.ImageHDU(np.zeros((8, 8))) for _ in range(1000)]]).writeto(stream)
        return stream.getvalue()

    yield Body("fits of 1,000 extensions", "fits", kind, extended)
    yield Body("fits for a table", "table", kind, whole)


def parquets() -> Iterator[Body]:
    """Parquet bodies."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def file(columns: dict[str, Any], **how: Any) -> bytes:
        stream = io.BytesIO()
        pq.write_table(pa.table(columns), stream, **how)
        return stream.getvalue()

    names = ("mag_u", "mag_g", "mag_r", "petroR50", "petroR90", "ab")
    kind = "application/vnd.apache.parquet"
    whole = file({name: np.arange(50.0) for name in names})
    for at, data in cuts(whole):
        yield Body(f"parquet cut at {at}", "table", kind, data)
    for place in range(4, len(whole), len(whole) // 60):
        spoiled = bytearray(whole)
        spoiled[place] ^= 0xFF
        yield Body(f"parquet spoiled at {place}", "table", kind, bytes(spoiled))
    yield Body(
        "parquet of 20 million rows in little",
        "table",
        kind,
        lambda: file(dict.fromkeys(names, np.zeros(20_000_000)), compression="zstd"),
    )
    yield Body("parquet of 5,000 columns", "table", kind, lambda: file({f"c{i}": [1.0] for i in range(5000)}))
    yield Body("parquet of a vast text", "table", kind, lambda: file(
        {name: ["x" * (200 * MEBI)] if name == "ab" else [1.0] for name in names}, compression="zstd"))  # fmt: skip
    yield Body("parquet of lists", "table", kind, lambda: file({name: [[1.0] * 1000] for name in names}))
    yield Body("parquet of vast lists", "table", kind, lambda: file(
        {name: [np.zeros(20_000_000)] if name == "ab" else [1.0] for name in names}, compression="zstd"))  # fmt: skip
    yield Body("parquet of texts", "table", kind, lambda: file({name: ["a"] for name in names}))
    yield Body("parquet of nothing", "table", kind, lambda: file({name: np.zeros(0) for name in names}))
    yield Body("parquet of other columns", "table", kind, lambda: file({"a": [1.0]}))
    yield Body("parquet whose foot is vast", "table", kind, whole[:-8] + b"\xff\xff\xff\x7fPAR1")
    yield Body("parquet of 20 million rows of nothing", "table", kind, lambda: file(
        {name: pa.nulls(20_000_000, pa.float64()) for name in names}, compression="zstd"))  # fmt: skip
    yield Body("parquet for pictures", "stamps", kind, whole)


def form(*parts: bytes, edge: bytes = b"edge", end: bytes = b"--edge--\r\n") -> bytes:
    """A multipart body of parts that hold their own heads."""
    return b"".join(b"--" + edge + b"\r\n" + part + b"\r\n" for part in parts) + end


def part(name: bytes = b"files", file: bytes = b"a.png", data: bytes = b"x", more: bytes = b"") -> bytes:
    """A part of a form."""
    return b'Content-Disposition: form-data; name="%s"; filename="%s"\r\n%s\r\n%s' % (name, file, more, data)


def forms() -> Iterator[Body]:
    """Multipart bodies."""
    kind = "multipart/form-data; boundary=edge"
    png_ = picture_bytes(np.zeros((6, 5, 1), np.uint8))
    good = form(part(data=png_[:30]))
    for at, data in cuts(good):
        yield Body(f"form cut at {at}", "stamps", kind, data)
    heads = {
        "without a boundary": "multipart/form-data", "of an empty boundary": "multipart/form-data; boundary=",
        "of another boundary": "multipart/form-data; boundary=other",
        "of a boundary of 60 KB": "multipart/form-data; boundary=" + "x" * 60_000,
        "of two boundaries": "multipart/form-data; boundary=a; boundary=b",
        "of a charset of no name": kind + "; charset=nothing",
        "of an odd charset": kind + "; charset=utf-7",
    }  # fmt: skip
    for name, head in heads.items():
        yield Body(f"form {name}", "stamps", head, good)
    many = [part(file=b"%d.png" % i) for i in range(10_001)]
    for name, data in {
        "of 10,001 files": form(*many), "of 9,999 files that are none": form(*many[:9_999]),
        "of 5,000 fields": form(*[b'Content-Disposition: form-data; name="a"\r\n\r\n1'] * 5000),
        "of a field of 5 MiB": form(b'Content-Disposition: form-data; name="a"\r\n\r\n' + b"x" * 5 * MEBI),
        "of a file without a name": form(b'Content-Disposition: form-data; name="a"; filename=""\r\n\r\nx'),
        "of a part without a name": form(b"Content-Disposition: form-data\r\n\r\nx"),
        "of a part without a head": form(b"\r\nx"), "of a part of no form": form(b"Content-Type: text/plain\r\n\r\nx"),
        "with a head of 10 MiB": form(part(more=b"X: " + b"y" * 10 * MEBI + b"\r\n")),
        "with 300,000 heads": form(part(more=b"X: y\r\n" * 300_000)),
        "with a name of 5 MiB": form(part(name=b"n" * 5 * MEBI)),
        "with a file name of 5 MiB": form(part(file=b"f" * 5 * MEBI)),
        "after 10 MiB of something": b"x" * 10 * MEBI + good, "before 10 MiB": good + b"x" * 10 * MEBI,
        "of nothing": b"--edge--\r\n", "of edges": b"--edge\r\n" * 100_000, "of line breaks": b"\r\n" * 5 * MEBI,
        "in a form": form(part(more=b"Content-Type: multipart/mixed; boundary=in\r\n", data=form(part(), edge=b"in"))),
        "in base64": form(part(more=b"Content-Transfer-Encoding: base64\r\n", data=b"iVBORw0KGgo=")),
        "without an end": form(part(), end=b""), "with lone line feeds": form(part()).replace(b"\r\n", b"\n"),
        "with NULs": form(part(name=b"\0", file=b"\0.png")),
    }.items():  # fmt: skip
        yield Body(f"form {name}", "stamps", kind, data)
    for name, told in file_names().items():
        yield Body(f"form with a file called {name}", "stamps", kind, form(part(file=told)))


def file_names() -> dict[str, bytes]:
    """Names that a client may give to a file."""
    return {
        "traversal": b"../../../../tmp/owned.png", "its absolute path": b"/etc/passwd", "a drive": b"C:\\x\\owned.png",
        "dots": b"..", "a device": b"NUL", "a header": b"a.png\r\nX-Owned: 1\r\n\r\nbody", "a quote": b'a".png; x="y',
        "no UTF-8": b"\xff\xfe.png", "a right-to-left mark": "\u202egnp.exe".encode(), "NUL": b"a\0.png",
        "a page": b"<img src=x onerror=alert(1)>.png", "a formula": b"=cmd|' /C calc'!A0.png",
        "an escape": b"\x1b[31m.png",
        "a template": b"{{7*7}}${7*7}%s%n.png", "length": b"n" * 100_000 + b".png",
        "an encoded word": b"=?utf-8?q?a?=.png",
        "half a pair": b"\xed\xa0\x80.png", "a format": b"{0.__class__}.png", "a csv": b"x.csv", "a fits": b"x.fits",
        "an npy": b"x.npy", "a parquet": b"x.parquet",
    }  # fmt: skip
