"""What a Dataset says about itself: the header, and the record of how pixels came from files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

FORMAT = 1  #: of the Dataset file; a newer one is refused
PARTS = ("none", "train", "validation", "test")  #: meaning of the numbers in `split`
DTYPES = ("uint8", "uint16", "float32")  #: of images
TASKS = ("classification", "regression", "unlabelled")
#: What a column of the table is for: learned from; kept and not learned from; told the answer, so not learned from
#: unless asked for; the weight of a row.
ROLES = ("feature", "ignore", "leak", "weight")


@dataclass(frozen=True)
class ReadRecord:
    """How pixels came from files. It travels with the model and is replayed when files are scored.

    A value of the wrong kind raises ValueError in `from_json`.
    """

    source: str  #: "folder", "arrays", "text", "idx", ...
    mode: str = ""  #: "L" or "RGB" for pictures, "" for arrays
    crop: int = 0  #: side in pixels of the central square that was taken before any resize; 0 = the whole picture
    size: tuple[int, int] | None = None  #: height, width that files were brought to; None = as they are, all equal
    fit: str = "stretch"  #: stretch | pad | crop
    resample: str = "area"  #: the resize filter, see pixels.py
    alpha: str = "white"  #: the colour that transparent pixels are laid on
    exif: bool = True  #: EXIF orientation applied
    layout: str = ""  #: NCHW | NHWC of the arrays that were read
    reshape: tuple[int, ...] | None = None  #: height, width, channels that flattened rows were reshaped to
    extra: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return dict(_plain(asdict(self)))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ReadRecord:
        """Rebuild from `to_json`; an unknown key or a wrong type raises ValueError."""
        known = _known(cls, value)
        _require_text(known, "source", "mode", "fit", "resample", "alpha", "layout")
        if "size" in known:
            known["size"] = _whole_numbers(known["size"], "size", 2)
        if "reshape" in known:
            known["reshape"] = _whole_numbers(known["reshape"], "reshape", None)
        crop = known.get("crop", 0)
        _require(isinstance(crop, int) and not isinstance(crop, bool) and crop >= 0, "'crop' is not a number of pixels")
        _require(isinstance(known.get("exif", True), bool), "'exif' is not true or false")
        extra = known.get("extra", {})
        texts = isinstance(extra, dict) and all(isinstance(v, str) for v in extra.values())
        _require(texts, "'extra' is not a table of texts")
        return cls(**known)


@dataclass(frozen=True)
class Header:
    """What the objects of a Dataset are. Shapes are height, width, channels."""

    n: int
    shape: tuple[int, int, int] | None  #: of one image; None for a table alone
    dtype: str  #: of the images: "uint8" | "uint16" | "float32"
    task: str  #: "classification" | "regression" | "unlabelled"
    classes: tuple[str, ...] = ()  #: in label order
    display: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  #: language -> names in class order
    channels: tuple[str, ...] = ()  #: names, in order; () = not named
    units: str = ""  #: of a pixel value
    pixel_scale: float | None = None  #: arcsec (or the unit that `origin` states) per pixel
    origin: Mapping[str, Any] = field(default_factory=dict)  #: where the data came from
    release: str = ""  #: data release
    licence: str = ""
    read: ReadRecord = field(default_factory=lambda: ReadRecord(source=""))
    columns: tuple[str, ...] = ()  #: of the table
    roles: tuple[str, ...] = ()  #: of each column, see ROLES; () = every column is a feature
    column_units: tuple[str, ...] = ()  #: of each column, "" = not stated; () = none is
    symmetry: str = "auto"  #: mirrors and turns that keep the label, when a builder knows: none | hflip | d4 | auto
    published_split: bool = False  #: the split came with the data; we did not make it

    def to_json(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return dict(_plain({f.name: getattr(self, f.name) for f in fields(self)} | {"read": self.read.to_json()}))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Header:
        """Rebuild from `to_json`; an unknown key or a wrong type raises ValueError."""
        known = _known(cls, value)
        _require_text(known, "dtype", "task", "units", "release", "licence", "symmetry")
        _require(isinstance(known.get("n"), int), "'n' is not a whole number")
        known["shape"] = _whole_numbers(known.get("shape"), "shape", 3)
        for name in ("classes", "channels", "columns", "roles", "column_units"):
            known[name] = _texts(known.get(name, ()), name)
        display = known.get("display", {})
        _require(isinstance(display, dict), "'display' is not a table")
        _require(isinstance(known.get("origin", {}), dict), "'origin' is not a table")
        known["display"] = {language: _texts(names, "display") for language, names in display.items()}
        scale = known.get("pixel_scale")
        number = isinstance(scale, (int, float)) and not isinstance(scale, bool)
        _require(scale is None or number, "'pixel_scale' is not a number")
        _require(isinstance(known.get("published_split", False), bool), "'published_split' is not true or false")
        _require(isinstance(known.get("read"), dict), "'read' is missing")
        known["read"] = ReadRecord.from_json(known["read"])
        return cls(**known)


def whose(header: Header) -> str:
    """Name of what the rows came from, for messages."""
    paths = header.origin.get("paths") or [header.origin.get("path") or header.read.source]
    return ", ".join(map(str, paths)) if isinstance(paths, (list, tuple)) else str(paths)


def faults(header: Header) -> list[str]:
    """What contradicts itself in `header`, as clauses; empty when nothing does."""
    found = []
    if header.n < 1:
        found.append("it holds no rows")
    if header.task not in TASKS:
        found.append(f"task {header.task!r} is none of {', '.join(TASKS)}")
    if header.shape is None and not header.columns:
        found.append("it holds neither images nor a table")
    if header.shape is not None:
        if header.dtype not in DTYPES:
            found.append(f"pixels of type {header.dtype!r} are none of {', '.join(DTYPES)}")
        if min(header.shape) < 1:
            found.append(f"images of {header.shape} hold no pixels")
        if header.channels and len(header.channels) != header.shape[2]:
            found.append(f"{len(header.channels)} channel names for {header.shape[2]} channels")
    for what, told in (("roles", header.roles), ("units", header.column_units)):
        if told and len(told) != len(header.columns):
            found.append(f"{len(told)} {what} for {len(header.columns)} columns")
    if not set(header.roles) <= set(ROLES):
        found.append(f"a column's role is none of {', '.join(ROLES)}")
    if header.task == "classification" and not header.classes:
        found.append("it has no classes")
    if len(set(header.classes)) != len(header.classes):
        found.append("two classes have the same name")
    if not all(header.classes):
        found.append("a class has an empty name")
    found += [
        f"{len(names)} names in language {language!r} for {len(header.classes)} classes"
        for language, names in header.display.items()
        if len(names) != len(header.classes)
    ]
    return found


def row_digests(images: np.ndarray | None, table: np.ndarray | None = None) -> np.ndarray:
    """SHA-256 of each row as it is stored: (n, 32) uint8.

    Of the pixels' bytes where there are pixels, else of the table row's: the same stamp is the same object with and
    without its columns, in another catalogue's or none. SHA-256 because processors of the last ten years compute it in
    hardware: twice the speed of BLAKE2b here. `images` (n, h, w, c) and `table` (n, f) must have the stored dtypes;
    either may be None.
    """
    given = images if images is not None else table
    if given is None:
        raise ValueError("neither images nor a table to take a digest of")
    return _digests(given)


def _digests(array: np.ndarray) -> np.ndarray:
    sha256, size = hashlib.sha256, array.nbytes // max(1, len(array))
    view = np.ascontiguousarray(array).data.cast("B") if array.size else memoryview(b"")
    joined = b"".join([sha256(view[at : at + size]).digest() for at in range(0, size * len(array), size or 1)])
    return np.frombuffer(joined, np.uint8).reshape(-1, 32)


def short_hashes(digests: np.ndarray) -> np.ndarray:
    """The 64-bit content hash of each row, (n,) uint64: the first 8 bytes of its digest, little-endian."""
    return np.ascontiguousarray(digests[:, :8]).view("<u8").reshape(-1).astype(np.uint64)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _known(cls: type[Any], value: Mapping[str, Any]) -> dict[str, Any]:
    _require(isinstance(value, Mapping), f"{cls.__name__} is not a table")
    unknown = sorted(set(value) - {f.name for f in fields(cls)})
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}")
    return dict(value)


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _require_text(known: dict[str, Any], *names: str) -> None:
    for name in names:
        _require(isinstance(known.get(name, ""), str), f"{name!r} is not a text")


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
        raise ValueError(f"{name!r} is not a list of texts")
    return tuple(value)


def _whole_numbers(value: Any, name: str, count: int | None) -> Any:
    if value is None:
        return None
    good = isinstance(value, (list, tuple)) and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    if not good or (count is not None and len(value) != count):
        raise ValueError(f"{name!r} is not a list of whole numbers")
    return tuple(value)
