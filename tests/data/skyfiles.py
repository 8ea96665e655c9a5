"""FITS cut-outs and alert packets in the forms of surveys, made for tests."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

fastavro = pytest.importorskip("fastavro")
fits = pytest.importorskip("astropy.io.fits")
wcs = pytest.importorskip("astropy.wcs")

N, SIDE = 6, 21
STAMPS = ("science", "template", "difference")

CUTOUT = {
    "type": "record",
    "name": "cutout",
    "fields": [
        {"name": "fileName", "type": "string"},
        {"name": "stampData", "type": "bytes", "doc": "fits.gz"},
    ],
}
ZTF = {
    "type": "record", "name": "alert", "namespace": "ztf",
    "fields": [
        {"name": "schemavsn", "type": "string"},
        {"name": "objectId", "type": "string"},
        {"name": "candid", "type": "long"},
        {"name": "candidate", "type": {"type": "record", "name": "candidate", "fields": [
            {"name": "candid", "type": "long"},
            {"name": "magpsf", "type": "float"},
            {"name": "rb", "type": ["float", "null"], "default": None},
            {"name": "drb", "type": ["null", "float"], "default": None},
            {"name": "isdiffpos", "type": "string"},
            {"name": "xpos", "type": ["float", "null"], "default": None},
            {"name": "ypos", "type": ["float", "null"], "default": None},
            {"name": "kind", "type": ["string", "null"], "default": None},
        ]}},
        {"name": "prv_candidates", "type": ["null", {"type": "array", "items": "ztf.candidate"}], "default": None},
        {"name": "cutoutDifference", "type": ["ztf.cutout", "null"], "default": None},
        {"name": "cutoutScience", "type": ["ztf.cutout", "null"], "default": None},
        {"name": "cutoutTemplate", "type": ["ztf.cutout", "null"], "default": None},
    ],
}  # fmt: skip
#: Named types must be known before they are used: the first cut-out spells it out, as in the published schema.
ZTF["fields"][5] = {"name": "cutoutDifference", "type": [CUTOUT, "null"], "default": None}  # type: ignore[index]


def header(ra: float = 150.0, dec: float = 2.0, scale: float = 0.2, turn: float = 0.0, mirrored: bool = False) -> Any:
    """A tangential WCS whose reference lies at the middle of SIDE x SIDE pixels."""
    made = wcs.WCS(naxis=2)
    made.wcs.ctype, made.wcs.crval = ["RA---TAN", "DEC--TAN"], [ra, dec]
    made.wcs.crpix = [(SIDE + 1) / 2] * 2
    a = np.radians(turn)
    made.wcs.cdelt = np.array([scale if mirrored else -scale, scale]) / 3600
    made.wcs.pc = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    return made.to_header()


def encoded(*hdus: Any) -> bytes:
    stream = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(stream)
    return stream.getvalue()


def plane(pixels: np.ndarray, head: Any = None) -> bytes:
    return encoded(fits.PrimaryHDU(pixels, header=head))


def images(n: int = N) -> np.ndarray:
    return np.random.default_rng(8).normal(size=(n, SIDE, SIDE, 3)).astype(np.float32)


def stamp(pixels: np.ndarray, packed: bool = True) -> bytes:
    stream = io.BytesIO()
    if packed:
        fits.PrimaryHDU(pixels).writeto(stream)
        return gzip.compress(stream.getvalue())
    place = wcs.WCS(naxis=2)
    place.wcs.ctype, place.wcs.crval, place.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [10, -30], [-0.2 / 3600, 0.2 / 3600]
    head = place.to_header()
    head["BUNIT"] = "nJy"
    hdus = [fits.PrimaryHDU(pixels, header=head), fits.ImageHDU(pixels * 0 + 1, name="UNCERT")]
    fits.HDUList(hdus).writeto(stream)
    return stream.getvalue()


def ztf(i: int, picture: np.ndarray, **changes: Any) -> dict[str, Any]:
    inside = {"candid": 10**18 + i, "magpsf": 18 + i / 4, "rb": i / 10, "isdiffpos": "t", "kind": "ab"[i % 2]}
    inside |= {k: v for k, v in changes.items() if k in ("drb", "xpos", "ypos")}
    packet = {"schemavsn": "3.3", "objectId": f"ZTF{i // 2}", "candid": 10**18 + i, "candidate": inside}
    for number, role in enumerate(STAMPS):
        packet[f"cutout{role.title()}"] = {"fileName": "a.fits.gz", "stampData": stamp(picture[..., number])}
    return packet | {k: v for k, v in changes.items() if k.startswith("cutout") or k == "candid"}


def written(packets: list[dict[str, Any]], schema: Any = ZTF, codec: str = "null") -> bytes:
    stream = io.BytesIO()
    fastavro.writer(stream, schema, packets, codec=codec, sync_interval=1)
    return stream.getvalue()


def alerts(folder: Path, pixels: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(pixels):
        (folder / f"{i}.avro").write_bytes(written([ztf(i, picture)]))
    return folder
